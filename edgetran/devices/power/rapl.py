"""RAPL: the processor's own energy counters in the powercap tree (Intel and AMD)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgetran.devices.power.source import PowerSource, SensorError, Unwrapper
from edgetran.devices.sysfs import read_int, read_label, why_no_integer, why_unreadable


@dataclass(frozen=True)
class _Domain:
    name: str
    zone: Path
    unwrapper: Unwrapper

    def energy_uj(self) -> int | None:
        return read_int(self.zone / "energy_uj")

    def why_useless(self) -> str | None:
        """Why its counter cannot be read or believed; None where it can."""
        path = self.zone / "energy_uj"
        reason = why_unreadable(path)
        if reason is not None:
            return f"{reason} (root may read it)"
        energy_uj = self.energy_uj()
        if energy_uj is None:
            return f"{path}: {why_no_integer(path)}"
        if energy_uj < 0:
            return f"{path}: reads {energy_uj} µJ, which cannot be true"
        return "its counter stays at zero" if energy_uj == 0 else None


class Rapl(PowerSource):
    """Packages and their DRAM, summed; each wraps at its `max_energy_range_uj`.

    Source: Linux kernel documentation, power/powercap. Core and uncore lie inside the package, the
    packages inside psys: none of these is added. A package that the kernel shows by two interfaces
    (MSR, MMIO, TPMI) counts once.
    """

    name = "rapl"
    quantity: Literal["power", "energy"] = "energy"

    def __init__(self, root: Path | str = "/") -> None:
        self._directory = Path(root) / "sys/class/powercap"
        self._domains = _domains(self._directory)
        self._read = self._domains
        self.scope = " + ".join(domain.name for domain in self._read)

    def available(self) -> str | None:
        """Needs the powercap tree, and root since the kernels of late 2020."""
        if not self._domains:
            return f"{self._directory} has no RAPL package (virtual machine, or not x86)"
        reasons = [(domain, domain.why_useless()) for domain in self._domains]
        self._read = [domain for domain, reason in reasons if reason is None]
        if not any(domain.name.startswith("package") for domain in self._read):
            if all(domain.energy_uj() == 0 for domain in self._domains):
                return "the RAPL counters stay at zero (a virtual machine that hides them)"
            return next(reason for _, reason in reasons if reason is not None)
        self.scope = " + ".join(domain.name for domain in self._read)
        self.caveats = tuple(
            f"the energy lacks {domain.name}: {reason}"
            for domain, reason in reasons
            if reason is not None
        )
        return None

    def counter(self) -> float:
        """Joules of the packages and their DRAM since the first reading."""
        total_j = 0.0
        for domain in self._read:
            energy_uj = domain.energy_uj()
            if energy_uj is None:
                raise SensorError(f"rapl: {domain.zone / 'energy_uj'} cannot be read any more")
            total_j += domain.unwrapper.add(energy_uj * 1e-6)
        return total_j


def _domains(zones: Path) -> list[_Domain]:
    """Each package and the DRAM beside it, once, in the order of the tree."""
    found: dict[tuple[str, ...], _Domain] = {}
    for zone in sorted(zones.glob("intel-rapl:*")):
        name = read_label(zone / "name") or ""
        parent = zones / zone.name.rpartition(":")[0]
        inside = read_label(parent / "name") or ""
        key = (inside, name) if inside.startswith("package") else (name,)
        if key not in found and (name.startswith("package") or (name == "dram" and key[1:])):
            unwrapper = Unwrapper(f"rapl {name}", _range_j(zone))
            found[key] = _Domain(name, zone, unwrapper)
    return list(found.values())


def _range_j(zone: Path) -> float | None:
    range_uj = read_int(zone / "max_energy_range_uj")
    return range_uj * 1e-6 if range_uj is not None and range_uj > 0 else None
