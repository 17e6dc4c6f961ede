"""The Raspberry Pi 5's power-management chip, through `vcgencmd pmic_read_adc`."""

from __future__ import annotations

import math
import re
import subprocess
from typing import Final, Literal

from edgetran.devices.power.source import (
    MAX_PLAUSIBLE_W,
    PowerSource,
    SensorError,
    checked_watts,
)

_LINE: Final = re.compile(r"^[ \t]*(\w+)_([AV])\s+\w+\(\d+\)=(\S*?)[AV]?\s*$", re.MULTILINE)

_VOLTAGE_ALONE: Final = ("EXT5V", "BATT")
"""What the chip senses a voltage of and no current."""


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
        self._rails: frozenset[str] | None = None

    def available(self) -> str | None:
        """Needs a Raspberry Pi 5 and its vcgencmd."""
        try:
            rails, bad = self._ask()
        except SensorError as error:
            return str(error)
        if not rails:
            return (
                f"{self.name}: this board reports no currents "
                "(a Raspberry Pi 4 needs an external meter)"
            )
        self._rails = frozenset(rails)
        self.caveats = tuple(f"the power lacks {rail}: {reason}" for rail, reason in bad.items())
        try:
            checked_watts(self.name, sum(rails.values()))
        except SensorError as error:
            return str(error)
        return None

    def sample(self) -> float:
        """Watts of the rails that reported both a current and a voltage when they were asked."""
        rails, bad = self._ask()
        if self._rails is None:
            self._rails = frozenset(rails)
        for rail in self._rails - rails.keys():
            raise SensorError(f"{self.name}: rail {rail}: {bad.get(rail, 'is not reported')}")
        return checked_watts(self.name, sum(rails[rail] for rail in self._rails))

    def _ask(self) -> tuple[dict[str, float], dict[str, str]]:
        """Watts by rail, and why a rail has none."""
        try:
            process = subprocess.run(
                self._command, capture_output=True, text=True, errors="replace", timeout=2,
                check=False,
            )  # fmt: skip
        except FileNotFoundError:
            raise SensorError(f"{self.name}: {self._command[0]} is not installed (no Pi)") from None
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SensorError(f"{self.name}: {error}") from None
        values: dict[str, dict[str, float]] = {}
        bad: dict[str, str] = {}
        for rail, unit, text in _LINE.findall(process.stdout):
            try:
                value = float(text)
            except ValueError:
                value = math.nan
            if not 0 <= value < MAX_PLAUSIBLE_W:
                bad[rail] = f"reads {text[:20]!r} {unit}"
            values.setdefault(rail, {})[unit] = value
        watts = {}
        for rail, read in values.items():
            if rail in bad or rail in _VOLTAGE_ALONE:
                continue
            if len(read) == 2:
                watts[rail] = read["A"] * read["V"]
            else:
                bad[rail] = f"has no {'current' if 'V' in read else 'voltage'}"
        return watts, bad
