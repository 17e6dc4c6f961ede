"""INA2xx and INA3221 current sensors on boards, read from hwmon (or Jetson's older iio) files.

Sensors of one board may lie behind one another, so their sum may count the same watt twice. What
counts is therefore, in this order:

1. the rails that the user names, added;
2. a rail whose label says that it is the board's input, alone;
3. the rails that are known to make up a module together, added;
4. the only rail there is.

Anything else cannot be told apart from outside: no figure then, and the rails' names.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, NamedTuple

from edgetran.devices.power.source import (
    MAX_PLAUSIBLE_W,
    PowerSource,
    SensorError,
    checked_watts,
)
from edgetran.devices.sysfs import read_int, read_label, why_no_integer

CHIPS: Final = re.compile(r"ina(2\d\d|3221)")
"""The drivers of current sensors: ina219, ina226, ina238, ina3221 and their kin."""

INPUT_RAILS: Final = (
    "VDD_IN", "POM_5V_IN", "VDD_MUX", "VIN_SYS", "VDD_TOTAL", "VIN", "DC_IN", "TOTAL",
)  # fmt: skip
"""Rails that feed the whole board: VDD_IN (Orin Nano and NX, Xavier NX, TX2), POM_5V_IN (Nano).
VDD_MUX feeds the carrier of a TX2 and comes after the module's own. The other rails are fed by
them. Source: NVIDIA, Jetson Linux Developer Guide, "Power Monitor"."""

MODULES: Final[tuple[tuple[str, ...], ...]] = (
    ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),  # Jetson AGX Xavier
    ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),  # Jetson AGX Orin; the fourth rail of it,
    # VDDQ_VDD2_1V8AO, is fed from VIN_SYS_5V0
    ("VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0"),  # Jetson AGX Thor
)
"""Rails that make up a module together, none of which feeds another (the same source)."""

INPUT_CHIPS: Final[dict[tuple[str, ...], str]] = {MODULES[2]: "ina238"}
"""The chip, without a label, that senses the input of the board with such a module."""

_LOWEST_W: Final = -0.1
"""A rail that is off may read slightly below zero: the chips have an offset."""


@dataclass(frozen=True)
class Rail:
    """One supply rail and how to read its power.

    Attributes:
        label: what the device tree calls it, otherwise its place; unique on the board.
        place: chip, bus address and channel, such as `ina3221@1-0040/2`.
        chip: the driver's name.
        named: whether the device tree has a label for it.
        read_w: its power now, W.
    """

    label: str
    place: str
    chip: str
    named: bool
    read_w: Callable[[], float]

    def watts(self) -> float:
        """Its power where that can be true.

        Raises:
            SensorError: naming the file that cannot be read, or the rail.
        """
        watts = self.read_w()
        if not _LOWEST_W <= watts <= MAX_PLAUSIBLE_W:
            raise SensorError(f"hwmon: {self.label} reads {watts!r} W, which cannot be true")
        return watts


class Hwmon(PowerSource):
    """The board's input where there is one, otherwise the rails that make up its module."""

    name = "hwmon"
    quantity: Literal["power", "energy"] = "power"

    def __init__(self, root: Path | str = "/", rails: Sequence[str] | None = None) -> None:
        """Find the rails; `rails` are the labels or places of those to add."""
        self._root = Path(root)
        self._wanted = None if rails is None else tuple(rails)
        self._rails: tuple[Rail, ...] = ()
        self._reason = self._look()

    def available(self) -> str | None:
        """Needs an INA2xx or INA3221 with a driver, and to know which of its rails to add."""
        self._reason = self._look()
        if self._reason is not None:
            return self._reason
        try:
            self.sample()
        except SensorError as error:
            return str(error)
        return None

    def sample(self) -> float:
        """Watts of the rails together."""
        if not self._rails:
            raise SensorError(f"hwmon: {self._reason}")
        return checked_watts(self.name, sum(rail.watts() for rail in self._rails))

    def _look(self) -> str | None:
        """Choose the rails and leave out those that cannot be read; why there is none to read."""
        found = _unique([*_hwmon_rails(self._root)] or [*_iio_rails(self._root)])
        self._rails, self.caveats = (), ()
        if not found:
            return f"{self._root / 'sys/class/hwmon'} has no INA2xx or INA3221 sensor"
        if self._wanted is None:
            choices = _choices(found)
        else:
            chosen = [rail for rail in found if {rail.label, rail.place} & set(self._wanted)]
            absent = set(self._wanted) - {n for rail in chosen for n in (rail.label, rail.place)}
            if absent:
                return f"no rail named {', '.join(n for n in self._wanted if n in absent)}"
            choices = [_Choice(tuple(chosen))]
        if not choices:
            names = ", ".join(rail.label for rail in found)
            return (
                f"which of {names} feeds the others is not known, so they are not added; name in "
                "energy.rails those that make up the board"
            )
        reasons: list[str] = []
        for choice in choices:
            good, bad = _readable(choice.rails)
            self._rails = tuple(good) or choice.rails
            self.scope = " + ".join(rail.label for rail in self._rails)
            if good:
                lacking = [*reasons, *choice.absent, *bad]
                self.caveats = tuple(f"the power lacks {words}" for words in lacking)
                return None
            reasons += bad
        return "; ".join(reasons)


class _Choice(NamedTuple):
    rails: tuple[Rail, ...]
    absent: tuple[str, ...] = ()


def _choices(found: Sequence[Rail]) -> list[_Choice]:
    """What may stand for the board, the best first; the next one where that cannot be read."""
    by_label = {rail.label: rail for rail in found}
    choices = [_Choice((by_label[name],)) for name in INPUT_RAILS if name in by_label]
    for module in MODULES:
        rails = tuple(by_label[name] for name in module if name in by_label)
        if len(rails) < 2:
            continue
        absent = tuple(f"{name}: it is absent" for name in module if name not in by_label)
        chips = [r for r in found if not r.named and r.chip == INPUT_CHIPS.get(module)]
        if len(chips) == 1:
            choices.append(_Choice((chips[0],)))
        choices.append(_Choice(rails, absent))
    if not choices and len(found) == 1:
        choices.append(_Choice((found[0],)))
    return choices


def _readable(rails: Sequence[Rail]) -> tuple[list[Rail], list[str]]:
    good, bad = [], []
    for rail in rails:
        try:
            watts = rail.watts()
            if len(rails) == 1:
                checked_watts("hwmon", watts)
        except SensorError as error:
            bad.append(f"{rail.label}: {str(error).removeprefix('hwmon: ')}")
        else:
            good.append(rail)
    return good, bad


def _unique(rails: Sequence[Rail]) -> list[Rail]:
    """The rails, those that share a label called by their places."""
    counts = Counter(rail.label for rail in rails)
    return [
        replace(rail, label=rail.place, named=False) if counts[rail.label] > 1 else rail
        for rail in rails
    ]


def _hwmon_rails(root: Path) -> Iterator[Rail]:
    for folder in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        chip = read_label(folder / "name") or ""
        if CHIPS.fullmatch(chip) is None:
            continue
        place = f"{chip}@{_address(folder)}"
        channels = list(_powers(folder)) or list(_products(folder))
        for channel, label, read_w in channels:
            if label.upper() == "NC":  # not connected
                continue
            where = place if len(channels) == 1 else f"{place}/{channel}"
            if not label and len(channels) == 1:
                label = read_label(folder / "label") or ""
            yield Rail(label or where, where, chip, bool(label), read_w)


def _address(folder: Path) -> str:
    """The chip's place on its bus, which stays where hwmon's numbers change; else the number."""
    try:
        return (folder / "device").resolve(strict=True).name
    except (OSError, RuntimeError):
        return folder.name


Channel = tuple[str, str, Callable[[], float]]
"""Number, label and reader of a channel."""


def _powers(folder: Path) -> Iterator[Channel]:
    for path in sorted(folder.glob("power*_input")):
        channel = path.name.removeprefix("power").removesuffix("_input")
        label = read_label(folder / f"power{channel}_label") or ""
        yield channel, label, _product(path, scale=1e-6)


def _products(folder: Path) -> Iterator[Channel]:
    for current in sorted(folder.glob("curr*_input")):
        channel = current.name.removeprefix("curr").removesuffix("_input")
        voltage = folder / f"in{channel}_input"
        label = read_label(folder / f"in{channel}_label") or ""
        off = read_int(folder / f"in{channel}_enable") == 0
        # The INA3221's seventh channel sums the shunts of the others: not a rail.
        if voltage.exists() and not off and "sum of shunt" not in label:
            yield channel, label, _product(voltage, current, scale=1e-6)


def _iio_rails(root: Path) -> Iterator[Rail]:
    """The INA3221 of JetPack 4 (Jetson Nano), which lies below the i2c driver, in mW."""
    for folder in sorted((root / "sys/bus/i2c/drivers/ina3221x").glob("*/iio:device*")):
        for path in sorted(folder.glob("in_power*_input")):
            channel = path.name.removeprefix("in_power").removesuffix("_input")
            label = read_label(folder / f"rail_name_{channel}") or ""
            place = f"ina3221x@{folder.parent.name}/{channel}"
            if label.upper() != "NC":
                yield Rail(
                    label or place, place, "ina3221x", bool(label), _product(path, scale=1e-3)
                )


def _product(*paths: Path, scale: float) -> Callable[[], float]:
    def read_w() -> float:
        product = scale
        for path in paths:
            value = read_int(path)
            if value is None:
                raise SensorError(
                    f"hwmon: {path} cannot be read as a number ({why_no_integer(path)})"
                )
            product *= value
        return product

    return read_w
