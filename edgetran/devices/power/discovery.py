"""Which power sources this machine has, which one is best, and why the others are missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from edgetran.devices.power.apple import AppleSilicon
from edgetran.devices.power.hwmon import Hwmon
from edgetran.devices.power.nvml import NvmlEnergy, NvmlPower
from edgetran.devices.power.rapl import Rapl
from edgetran.devices.power.raspberry import RaspberryPiPmic
from edgetran.devices.power.source import PowerSource, SensorError, why_unavailable


class NoPower(PowerSource):
    """Stands for a machine without any source: energy and peak power are null, and this is why."""

    name = "none"
    quantity: Literal["power", "energy"] = "power"

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def available(self) -> str:
        """The reason given."""
        return self._reason

    def sample(self) -> float:
        """Never succeeds."""
        raise SensorError(self._reason)


def power_sources(
    root: Path | str = "/", *, external: Sequence[PowerSource] = ()
) -> list[PowerSource]:
    """Every known source, available or not, the best for the whole board first.

    An external meter comes first (somebody connected it), then sensors on the supply rails, then
    counters of the processor alone, then model-based estimates, then the GPU's own.
    """
    return [
        *external,
        Hwmon(root),
        RaspberryPiPmic(),
        Rapl(root),
        AppleSilicon(),
        NvmlEnergy(),
        NvmlPower(),
    ]


def best_power_source(
    target: Literal["cpu", "cuda"] = "cpu",
    root: Path | str = "/",
    *,
    external: Sequence[PowerSource] = (),
) -> PowerSource:
    """The first available source that covers `target`; `NoPower` with every reason where none is.

    A discrete GPU's own sensor does not see the processor, nor RAPL the GPU: each stands only for
    its own target. Board rails and external meters see both.
    """
    unfit = ("nvml-energy", "nvml-power") if target == "cpu" else ("rapl", "powermetrics")
    reasons = []
    for source in power_sources(root, external=external):
        if source.name in unfit:
            continue
        reason = why_unavailable(source)
        if reason is None:
            return source
        reasons.append(f"{source.name}: {reason.removeprefix(source.name + ': ')}")
    return NoPower("no power source: " + "; ".join(reasons))
