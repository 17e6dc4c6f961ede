"""Predictors: the hardware figures of any architecture on one device, measured or simulated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from edgetran.api.measures import HARDWARE
from edgetran.devices import Figure, HardwareFigures, SimulatedDevice, Workload
from edgetran.profiling.profile import Profile
from edgetran.space import Architecture


class Predictor(Protocol):
    """What predicts the hardware figures of architectures on one device."""

    @property
    def device(self) -> str:
        """The device's name."""

    def predict(self, architectures: Sequence[Architecture]) -> list[HardwareFigures]:
        """One HardwareFigures per architecture, in order, per sequence."""


def predictor(profile: Profile, *, name: str | None = None) -> Predictor:
    """Predict from a profile: measured figures where there are some, else the surrogate's.

    Args:
        profile: of the device.
        name: what to call the device, its name in the profile by default.

    Raises:
        ProfilingError: fewer than four architectures were measured.
    """
    _ = profile.surrogate
    return _ProfilePredictor(profile, name or profile.device)


def simulated_predictor(
    device: SimulatedDevice,
    workload: Workload,
    precision: str = "fp32",
    *,
    name: str | None = None,
) -> Predictor:
    """Predict by a simulated device; `name` is what to call it, the device's own by default."""
    return _SimulatedPredictor(device, workload, precision, name or device.name)


@dataclass(frozen=True)
class _ProfilePredictor:
    profile: Profile
    device: str

    @cached_property
    def _measured(self) -> dict[str, HardwareFigures]:
        return {m.architecture.graph_hash: m.figures for m in self.profile.measurements}

    def predict(self, architectures: Sequence[Architecture]) -> list[HardwareFigures]:
        unknown = [a for a in architectures if a.graph_hash not in self._measured]
        predicted = iter(self._predict(unknown))
        return [
            self._measured[a.graph_hash] if a.graph_hash in self._measured else next(predicted)
            for a in architectures
        ]

    def _predict(self, architectures: Sequence[Architecture]) -> list[HardwareFigures]:
        if not architectures:
            return []
        profile = self.profile
        mean, std = profile.surrogate.predict(architectures)
        columns = {name: index for index, name in enumerate(profile.measures)}
        missing, quality = profile.missing, profile.quality
        rows = []
        for row in range(len(architectures)):
            figures: dict[str, Any] = {}
            for name, unit in ((each.name, each.unit) for each in HARDWARE):
                if name in missing:
                    figures[name] = Figure.missing(unit, "predicted", missing[name])
                else:
                    column = columns[name]
                    figures[name] = Figure(
                        float(mean[row, column]),
                        unit,
                        "predicted",
                        std=float(std[row, column]),
                        reason=quality[name].reason,
                    )
            rows.append(HardwareFigures(**figures))
        return rows


@dataclass(frozen=True)
class _SimulatedPredictor:
    simulated: SimulatedDevice
    workload: Workload
    precision: str
    device: str

    def predict(self, architectures: Sequence[Architecture]) -> list[HardwareFigures]:
        return [
            self.simulated.estimate(architecture, self.workload, self.precision)
            for architecture in architectures
        ]
