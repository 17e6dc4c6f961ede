"""Apple silicon's own power estimate, streamed from `powermetrics`; model-based, and marked so."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import time
from typing import Final, Literal

from edgetran.devices.power.source import PowerSource, SensorError, checked_watts

_COMBINED: Final = re.compile(r"^Combined Power \(.*\):\s*(\d{1,9}(?:\.\d{0,9})?)\s*mW")
_STALE_S: Final = 2.0


class AppleSilicon(PowerSource):
    """CPU, GPU and Neural Engine together as `powermetrics` estimates them every 100 ms."""

    name = "powermetrics"
    quantity: Literal["power", "energy"] = "power"
    scope = "CPU + GPU + Neural Engine, without memory and display"
    model_based = True

    def __init__(
        self,
        command: tuple[str, ...] = (
            "powermetrics", "--samplers", "cpu_power,gpu_power,ane_power", "-i", "100",
        ),
    ) -> None:  # fmt: skip
        self._command = command
        self._process: subprocess.Popen[str] | None = None
        self._latest: tuple[float, float] | None = None
        self._first_line = threading.Event()

    def available(self) -> str | None:
        """Needs macOS on Apple silicon, and root."""
        if shutil.which(self._command[0]) is None:
            return f"{self._command[0]} is not installed (not macOS)"
        try:
            self.sample()
        except SensorError as error:
            return f"{error} (root may run it)"
        finally:
            self.close()
        return None

    def sample(self) -> float:
        """The newest estimate, W."""
        if self._process is None:
            self._start()
        self._first_line.wait(timeout=_STALE_S)
        if self._latest is None:
            raise SensorError(f"{self.name}: printed no power")
        moment, watts = self._latest
        if time.monotonic() - moment > _STALE_S:
            raise SensorError(f"{self.name}: has printed nothing for {_STALE_S:g} s")
        return checked_watts(self.name, watts)

    def close(self) -> None:
        """End the `powermetrics` process."""
        if self._process is not None:
            process, self._process = self._process, None
            self._latest = None
            self._first_line.clear()
            process.terminate()
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self) -> None:
        try:
            self._process = subprocess.Popen(
                self._command,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                errors="replace",
            )
        except OSError as error:
            raise SensorError(f"{self.name}: {error}") from None
        threading.Thread(target=self._follow, args=(self._process,), daemon=True).start()

    def _follow(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None  # noqa: S101  opened as a pipe above
        with process.stdout as lines:
            for line in lines:
                match = _COMBINED.match(line)
                if match:
                    self._latest = (time.monotonic(), float(match[1]) * 1e-3)
                    self._first_line.set()
        self._first_line.set()
