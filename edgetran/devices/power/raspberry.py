"""The Raspberry Pi 5's power-management chip, through `vcgencmd pmic_read_adc`."""

from __future__ import annotations

import re
import subprocess
from typing import Final, Literal

from edgetran.devices.power.source import PowerSource, SensorError, checked_watts

_LINE: Final = re.compile(r"^\s*(\w+)_([AV])\s+\w+\(\d+\)=([-\d.eE+]+)[AV]\s*$", re.MULTILINE)


class RaspberryPiPmic(PowerSource):
    """Sum over the chip's rails of voltage × current.

    It misses what is not behind the chip: USB devices, HATs on 5 V and the chip's own losses.
    The Raspberry Pi 4 senses no current and needs an external meter.
    """

    name = "pi5-pmic"
    quantity: Literal["power", "energy"] = "power"
    scope = "rails of the power-management chip, without USB devices and HATs"

    def __init__(self, command: tuple[str, ...] = ("vcgencmd", "pmic_read_adc")) -> None:
        self._command = command

    def available(self) -> str | None:
        """Needs a Raspberry Pi 5 and its vcgencmd."""
        try:
            self.sample()
        except SensorError as error:
            return str(error)
        return None

    def sample(self) -> float:
        """Watts of all rails that report both a current and a voltage."""
        try:
            process = subprocess.run(
                self._command, capture_output=True, text=True, timeout=2, check=False
            )
        except FileNotFoundError:
            raise SensorError(f"{self.name}: {self._command[0]} is not installed (no Pi)") from None
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SensorError(f"{self.name}: {error}") from None
        return checked_watts(self.name, self._watts(process.stdout))

    def _watts(self, output: str) -> float:
        currents: dict[str, float] = {}
        voltages: dict[str, float] = {}
        for rail, unit, value in _LINE.findall(output):
            try:
                (currents if unit == "A" else voltages)[rail] = float(value)
            except ValueError:
                raise SensorError(f"{self.name}: rail {rail} reads {value!r}") from None
        rails = currents.keys() & voltages.keys()
        if not rails:
            raise SensorError(
                f"{self.name}: this board reports no currents "
                "(a Raspberry Pi 4 needs an external meter)"
            )
        return sum(currents[rail] * voltages[rail] for rail in rails)
