"""INA2xx and INA3221 current sensors on boards, read from hwmon (or Jetson's older iio) files."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from edgetran.devices.power.source import PowerSource, SensorError, checked_watts
from edgetran.devices.sysfs import read_int, read_text

CHIPS: Final = re.compile(r"ina(2\d\d|3221)")
"""The drivers of current sensors: ina219, ina226, ina238, ina3221 and their kin."""

TOTAL_RAILS: Final = ("VDD_IN", "POM_5V_IN", "VIN_SYS", "VDD_TOTAL", "VIN")
"""Rails that feed the whole board: VDD_IN (Orin Nano and NX, Xavier NX), POM_5V_IN (Nano). Other
rails are fed by them; adding both would count twice."""


@dataclass(frozen=True)
class Rail:
    """One supply rail and how to read its power, W."""

    label: str
    read_w: Callable[[], float]


class Hwmon(PowerSource):
    """The board's total rail where one is named, otherwise the sum of all sensed rails."""

    name = "hwmon"
    quantity: Literal["power", "energy"] = "power"

    def __init__(self, root: Path | str = "/", rails: tuple[str, ...] | None = None) -> None:
        """Find the rails; `rails` restricts the sum to the labels given."""
        self._root = Path(root)
        found = _hwmon_rails(self._root) + _iio_rails(self._root)
        if rails is not None:
            self._rails = [rail for rail in found if rail.label in rails]
            self._missing = [label for label in rails if label not in {r.label for r in found}]
        else:
            total = [rail for label in TOTAL_RAILS for rail in found if rail.label == label]
            self._rails = total[:1] or found
            self._missing = []
        self.scope = " + ".join(rail.label for rail in self._rails)

    def available(self) -> str | None:
        """Needs an INA2xx or INA3221 with a driver."""
        if self._missing:
            return f"no rail named {', '.join(self._missing)}"
        if not self._rails:
            return f"{self._root / 'sys/class/hwmon'} has no INA2xx or INA3221 sensor"
        try:
            self.sample()
        except SensorError as error:
            return str(error)
        return None

    def sample(self) -> float:
        """Watts of the rails together."""
        return checked_watts(self.name, sum(rail.read_w() for rail in self._rails))


def _hwmon_rails(root: Path) -> list[Rail]:
    rails = []
    for chip in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        chip_name = read_text(chip / "name") or ""
        if not CHIPS.fullmatch(chip_name):
            continue
        powers = sorted(chip.glob("power*_input"))
        for path in powers:
            label = read_text(path.with_name(path.name.replace("input", "label")))
            rails.append(Rail(label or f"{chip.name}/{path.stem}", _product(path, scale=1e-6)))
        if powers:
            continue
        for current in sorted(chip.glob("curr*_input")):
            channel = current.name.removeprefix("curr").removesuffix("_input")
            voltage = chip / f"in{channel}_input"
            label = read_text(chip / f"in{channel}_label") or f"{chip.name}/{channel}"
            # The INA3221's seventh channel sums the shunts of the others: not a rail.
            if voltage.exists() and "sum of shunt" not in label:
                rails.append(Rail(label, _product(voltage, current, scale=1e-6)))
    return rails


def _iio_rails(root: Path) -> list[Rail]:
    """The INA3221 of JetPack 4 (Jetson Nano), which lies below the i2c driver, in mW."""
    rails = []
    folders = (root / "sys/bus/i2c/drivers/ina3221x").glob("*/iio:device*")
    for folder in sorted(folders):
        for path in sorted(folder.glob("in_power*_input")):
            channel = path.name.removeprefix("in_power").removesuffix("_input")
            label = read_text(folder / f"rail_name_{channel}") or f"{folder.name}/{channel}"
            rails.append(Rail(label, _product(path, scale=1e-3)))
    return rails


def _product(*paths: Path, scale: float) -> Callable[[], float]:
    def read_w() -> float:
        product = scale
        for path in paths:
            value = read_int(path)
            if value is None:
                raise SensorError(f"hwmon: {path} cannot be read as a number")
            product *= value
        return product

    return read_w
