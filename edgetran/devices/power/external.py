"""Meters outside the device: an HTTP address, a serial line or a command that prints watts."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from typing import Any, Final, Literal

from edgetran.devices.names import DeviceError
from edgetran.devices.power.source import PowerSource, SensorError, checked_watts

# No match begins within a number: each digit would be tried as its first otherwise.
_NUMBER: Final = re.compile(r"(?<!\d)([-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)\s*(mW|W|kW)?\b")
_SCALES: Final = {"mW": 1e-3, "W": 1.0, "kW": 1e3, "": 1.0}


def external_source(address: str) -> PowerSource:
    """The meter at an address.

    Args:
        address: `http://…[#json.path]`, `serial:/dev/ttyUSB0[?baud=115200]` or
            `command:PROGRAM ARGUMENTS`.

    Raises:
        DeviceError: for an address of another form.
    """
    scheme, _, rest = address.partition(":")
    if scheme in ("http", "https"):
        url, _, json_path = address.partition("#")
        return HttpMeter(url, json_path)
    if scheme == "serial" and rest:
        path, _, query = rest.partition("?")
        baud = urllib.parse.parse_qs(query).get("baud", ["115200"])[0]
        if not baud.isdecimal():
            raise DeviceError(f"power source: baud {baud!r} given; allowed is a whole number")
        return SerialMeter(path, int(baud))
    if scheme == "command" and rest.strip():
        return CommandMeter(shlex.split(rest))
    raise DeviceError(
        f"power source: {address!r} given; allowed are http://…, https://…, serial:PATH[?baud=N] "
        "and command:PROGRAM ARGUMENTS"
    )


class HttpMeter(PowerSource):
    """A page that answers with watts: a bare number, or JSON and the dotted path to the number."""

    name = "http"
    quantity: Literal["power", "energy"] = "power"
    min_interval_s = 0.1  # spares a meter on a wireless network

    def __init__(self, url: str, json_path: str = "", timeout_s: float = 1.0) -> None:
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise DeviceError(f"power source: {url!r} given; allowed is http://… or https://…")
        self._url, self._json_path, self._timeout_s = url, json_path, timeout_s
        self.scope = f"external meter at {url}"

    def available(self) -> str | None:
        """Needs the meter to answer."""
        return _why_not(self)

    def sample(self) -> float:
        """Watts as the meter answers them."""
        try:
            with urllib.request.urlopen(self._url, timeout=self._timeout_s) as answer:  # noqa: S310
                text = answer.read(65536).decode(errors="replace")
        except (OSError, HTTPException) as error:
            raise SensorError(f"http: {self._url}: {error}") from None
        if not self._json_path:
            return _watts(self.name, text)
        return checked_watts(self.name, _follow(text, self._json_path))


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
        try:
            process = subprocess.run(
                self._command,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=self._timeout_s,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SensorError(f"command: {error}") from None
        if process.returncode != 0:
            raise SensorError(f"command: {self._command[0]} exited with {process.returncode}")
        return _watts(self.name, process.stdout)


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
                self._pending += chunk
        except BlockingIOError:
            pass
        except OSError as error:
            self.close()
            raise SensorError(f"serial: {self._path}: {error}") from None
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
            self._file = os.open(self._path, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError as error:
            raise SensorError(f"serial: {self._path}: {error.strerror}") from None
        if os.isatty(self._file):
            _set_raw(self._file, self._baud)
        return self._file


def _set_raw(file: int, baud: int) -> None:
    import termios
    import tty

    speed = getattr(termios, f"B{baud}", None)
    if speed is None:
        raise SensorError(f"serial: {baud} baud is not a speed of this system")
    tty.setraw(file)
    attributes = termios.tcgetattr(file)
    attributes[4] = attributes[5] = speed
    termios.tcsetattr(file, termios.TCSANOW, attributes)


def _why_not(source: PowerSource) -> str | None:
    try:
        source.sample()
    except SensorError as error:
        return str(error)
    return None


def _watts(name: str, text: str) -> float:
    match = _NUMBER.search(text)
    if match is None:
        raise SensorError(f"{name}: no number in {text[:40]!r}")
    return checked_watts(name, float(match[1]) * _SCALES[match[2] or ""])


def _follow(text: str, path: str) -> float:
    try:
        value: Any = json.loads(text)
        for key in path.split("."):
            value = value[int(key)] if isinstance(value, list) else value[key]
        return float(value)
    except (ValueError, KeyError, IndexError, TypeError, OverflowError, RecursionError):
        raise SensorError(f"http: no number at {path!r} in {text[:40]!r}") from None
