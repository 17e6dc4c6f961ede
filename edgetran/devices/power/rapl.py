"""RAPL: the processor's own energy counters in the powercap tree (Intel and AMD)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from edgetran.devices.power.source import PowerSource, SensorError, Unwrapper
from edgetran.devices.sysfs import read_int, read_text, why_unreadable


class Rapl(PowerSource):
    """Packages and their DRAM, summed; each wraps at its `max_energy_range_uj`.

    Source: Linux kernel documentation, power/powercap. Core and uncore lie inside the package
    and are not added again.
    """

    name = "rapl"
    quantity: Literal["power", "energy"] = "energy"

    def __init__(self, root: Path | str = "/") -> None:
        zones = Path(root) / "sys/class/powercap"
        self._directory = zones
        self._domains = [
            zone
            for zone in sorted(zones.glob("intel-rapl:*"))
            if (read_text(zone / "name") or "").startswith(("package", "dram"))
        ]
        self._unwrappers = [
            Unwrapper(f"rapl {read_text(zone / 'name')}", _range_j(zone)) for zone in self._domains
        ]
        self.scope = " + ".join(str(read_text(zone / "name")) for zone in self._domains)

    def available(self) -> str | None:
        """Needs the powercap tree, and root since the kernels of late 2020."""
        if not self._domains:
            return f"{self._directory} has no RAPL package (virtual machine, or not x86)"
        for zone in self._domains:
            reason = why_unreadable(zone / "energy_uj")
            if reason is not None:
                return f"{reason} (root may read it)"
        if all(read_int(zone / "energy_uj") == 0 for zone in self._domains):
            return "the RAPL counters stand at zero (a virtual machine that hides them)"
        return None

    def counter(self) -> float:
        """Joules of all packages and their DRAM since the first reading."""
        total_j = 0.0
        for zone, unwrapper in zip(self._domains, self._unwrappers, strict=True):
            energy_uj = read_int(zone / "energy_uj")
            if energy_uj is None:
                raise SensorError(f"rapl: {zone / 'energy_uj'} cannot be read any more")
            total_j += unwrapper.add(energy_uj * 1e-6)
        return total_j


def _range_j(zone: Path) -> float | None:
    range_uj = read_int(zone / "max_energy_range_uj")
    return range_uj * 1e-6 if range_uj else None
