"""Meters outside the device: an HTTP address, a serial line or a command that prints watts.

A meter is a number: what else a page, a line or a program says is never repeated, since an address
may be of something that is no meter at all.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import select
import shlex
import signal
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, Literal

from edgetran.api.allowances import NO_COMMANDS, MeterAllowance
from edgetran.devices.names import DeviceError
from edgetran.devices.power.source import PowerSource, SensorError, checked_watts

MAX_ANSWER_BYTES: Final = 64 * 1024
"""Most that a meter may say at a time."""

_NUMBER: Final = re.compile(
    r"(?<![\w.])([-+]?\d{1,20}(?:\.\d{0,20})?(?:[eE][-+]?\d{1,3})?)\s{0,8}(mW|W|kW)?(?!\w|\.\d)",
    re.ASCII,
)
"""A number by itself; its parts are bounded, so that searching stays linear whatever is read."""

_SCALES: Final = {"mW": 1e-3, "W": 1.0, "kW": 1e3, "": 1.0}


def external_source(address: str, allowed: MeterAllowance = NO_COMMANDS) -> PowerSource:
    """The meter at an address.

    Args:
        address: `http://…[#json.path]`, `serial:/dev/ttyUSB0[?baud=115200]` or
            `command:PROGRAM ARGUMENTS`.
        allowed: which meters may be read; by default any that is no command.

    Raises:
        DeviceError: for an address of another form, or one that is not allowed.
    """
    scheme, _, rest = address.partition(":")
    refusal = allowed.refusal(address)
    if refusal is not None:
        raise DeviceError(f"power source: {refusal}")
    if scheme in ("http", "https"):
        url, _, json_path = address.partition("#")
        return HttpMeter(url, json_path, allowed=allowed)
    if scheme == "serial" and rest.startswith("/dev/"):
        path, _, query = rest.partition("?")
        baud = urllib.parse.parse_qs(query).get("baud", ["115200"])[0]
        if not (baud.isascii() and baud.isdecimal() and len(baud) < 9):
            raise DeviceError(f"power source: baud {baud!r} given; allowed is a whole number")
        return SerialMeter(path, int(baud))
    if scheme == "command" and rest.strip():
        try:
            return CommandMeter(shlex.split(rest))
        except ValueError as error:
            raise DeviceError(
                f"power source: command: {error}; allowed are words as a shell takes them"
            ) from None
    raise DeviceError(
        "power source: the address given is not a meter's; allowed are http://…, https://…, "
        "serial:/dev/PORT[?baud=N] and command:PROGRAM ARGUMENTS"
    )


class HttpMeter(PowerSource):
    """A page that answers with watts: a bare number, or JSON and the dotted path to the number.

    Args:
        url: the page.
        json_path: keys and indices to the number, such as `emeters.0.power`.
        timeout_s: time that the meter has to answer.
        allowed: pages that it may be sent on to; of other hosts it may be sent to none.
    """

    name = "http"
    quantity: Literal["power", "energy"] = "power"
    min_interval_s = 0.1  # spares a meter on a wireless network

    def __init__(
        self,
        url: str,
        json_path: str = "",
        timeout_s: float = 1.0,
        allowed: MeterAllowance = NO_COMMANDS,
    ) -> None:
        try:
            parts = urllib.parse.urlsplit(url)
            fits = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
        except ValueError:  # brackets that do not close
            fits = False
        if not fits:
            raise DeviceError(
                "power source: the address given is not one of the web; allowed is http://… or "
                "https://…, without a name or password"
            )
        self._url, self._json_path, self._timeout_s = url, json_path, timeout_s
        self._place = f"{parts.scheme}://{parts.netloc}{parts.path}"
        # No proxy: it is the meter itself that is allowed, and it is near.
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), _SamePlace(url, allowed)
        )
        self.scope = f"external meter at {self._place}"

    def available(self) -> str | None:
        """Needs the meter to answer."""
        return _why_not(self)

    def sample(self) -> float:
        """Watts as the meter answers them."""
        try:
            text = self._answer()
        except urllib.error.HTTPError as error:
            error.close()
            raise SensorError(f"http: {self._place} answered with status {error.code}") from None
        except urllib.error.URLError as error:
            reason = error.reason
            said = reason.strerror if isinstance(reason, OSError) else None
            raise SensorError(f"http: {self._place}: {said or 'does not answer'}") from None
        except OSError as error:
            raise SensorError(f"http: {self._place}: {error.strerror or 'no answer'}") from None
        except (http.client.HTTPException, ValueError):
            raise SensorError(f"http: {self._place} cannot be asked over HTTP") from None
        if not self._json_path:
            return _watts(self.name, text)
        return checked_watts(self.name, _follow(text, self._json_path))

    def _answer(self) -> str:
        """The page, of bounded size and within bounded time, however slowly it comes."""
        deadline = time.monotonic() + self._timeout_s
        text = b""
        with self._opener.open(self._url, timeout=self._timeout_s) as answer:
            while chunk := answer.read1(MAX_ANSWER_BYTES):
                text += chunk
                _check_bounds(self.name, text, deadline)
        return text.decode(errors="replace")


class _SamePlace(urllib.request.HTTPRedirectHandler):
    """Follows a meter that sends on to another page of its own, and to nowhere else."""

    max_redirections = 3

    def __init__(self, url: str, allowed: MeterAllowance) -> None:
        self._origin, self._allowed = _origin(url), allowed

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """The next request; None, and so an error, where it leads elsewhere."""
        if _origin(newurl) != self._origin or self._allowed.refusal(newurl) is not None:
            return None
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _origin(url: str) -> tuple[str, str]:
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.netloc


class CommandMeter(PowerSource):
    """A program that prints watts and ends."""

    name = "command"
    quantity: Literal["power", "energy"] = "power"

    def __init__(self, command: Sequence[str], timeout_s: float = 2.0) -> None:
        self._command, self._timeout_s = list(command), timeout_s
        self.scope = f"external meter read by {command[0]}"

    def available(self) -> str | None:
        """Needs the program to run and to print a number."""
        return _why_not(self)

    def sample(self) -> float:
        """Watts as the program prints them."""
        deadline = time.monotonic() + self._timeout_s
        try:
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # so that what it starts can be ended with it
            )
        except (OSError, ValueError) as error:
            said = error.strerror if isinstance(error, OSError) else "cannot be run"
            raise SensorError(f"command: {self._command[0]}: {said}") from None
        with process:
            try:
                assert process.stdout is not None  # noqa: S101 - it is a pipe
                text = _read_all(process.stdout.fileno(), deadline)
                status = process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                raise _too_slow(self.name) from None
            finally:
                if process.poll() is None:
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
        if status != 0:
            raise SensorError(f"command: {self._command[0]} exited with {status}")
        return _watts(self.name, text)


class SerialMeter(PowerSource):
    """A serial line on which a meter prints one reading per line, without being asked."""

    name = "serial"
    quantity: Literal["power", "energy"] = "power"

    def __init__(self, path: str, baud: int = 115200) -> None:
        self._path, self._baud = path, baud
        self._file: int | None = None
        self._pending = b""
        self._latest: str | None = None
        self.scope = f"external meter on {path}"

    def available(self) -> str | None:
        """Needs the line to open; the first reading may come later."""
        try:
            self._open()
        except SensorError as error:
            return str(error)
        return None

    def sample(self) -> float:
        """Watts of the newest whole line."""
        file = self._open()
        try:
            while chunk := os.read(file, 4096):
                self._pending = (self._pending + chunk)[-MAX_ANSWER_BYTES:]
        except BlockingIOError:
            pass
        except OSError as error:
            self.close()
            raise SensorError(f"serial: {self._path}: {error.strerror}") from None
        *lines, self._pending = self._pending.split(b"\n")
        whole = [line for line in lines if line.strip()]
        if whole:
            self._latest = whole[-1].decode(errors="replace")
        if self._latest is None:
            raise SensorError(f"serial: {self._path} has sent no reading yet")
        return _watts(self.name, self._latest)

    def close(self) -> None:
        """Close the line."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self) -> int:
        if self._file is not None:
            return self._file
        try:
            file = os.open(self._path, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
        except (OSError, ValueError) as error:
            said = error.strerror if isinstance(error, OSError) else "no path"
            raise SensorError(f"serial: {self._path}: {said}") from None
        try:
            if not os.isatty(file):
                raise SensorError(f"serial: {self._path} is not a serial line")
            _set_raw(file, self._baud)
        except SensorError:
            os.close(file)
            raise
        self._file = file
        return file


def _set_raw(file: int, baud: int) -> None:
    import termios
    import tty

    speed = getattr(termios, f"B{baud}", None)
    if speed is None:
        raise SensorError(f"serial: {baud} baud is not a speed of this system")
    try:
        tty.setraw(file)
        attributes = termios.tcgetattr(file)
        attributes[4] = attributes[5] = speed
        termios.tcsetattr(file, termios.TCSANOW, attributes)
    except termios.error:
        raise SensorError(f"serial: the line cannot be set to {baud} baud") from None


def _read_all(file: int, deadline: float) -> str:
    """What a pipe holds until its end, of bounded size and within bounded time."""
    text = b""
    while select.select([file], [], [], max(0.0, deadline - time.monotonic()))[0]:
        chunk = os.read(file, MAX_ANSWER_BYTES)
        if not chunk:
            return text.decode(errors="replace")
        text += chunk
        _check_bounds("command", text, deadline)
    raise _too_slow("command")


def _check_bounds(name: str, text: bytes, deadline: float) -> None:
    if len(text) > MAX_ANSWER_BYTES:
        raise SensorError(f"{name}: more than {MAX_ANSWER_BYTES // 1024} KiB in one reading")
    if time.monotonic() > deadline:
        raise _too_slow(name)


def _too_slow(name: str) -> SensorError:
    return SensorError(f"{name}: no whole reading within the time that a meter has")


def _why_not(source: PowerSource) -> str | None:
    try:
        source.sample()
    except SensorError as error:
        return str(error)
    return None


def _watts(name: str, text: str) -> float:
    match = _NUMBER.search(text)
    if match is None:
        raise SensorError(f"{name}: no number in the reading")
    return checked_watts(name, float(match[1]) * _SCALES[match[2] or ""])


def _follow(text: str, path: str) -> float:
    try:
        value: Any = json.loads(text)
        for key in path.split("."):
            value = value[int(key)] if isinstance(value, list) else value[key]
        if isinstance(value, bool):
            raise TypeError
        return float(value)
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError):
        raise SensorError(f"http: no number at {path!r} in the reading") from None
