"""What a search decides on and learns: a Candidate (architecture on a device) and its Measures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from edgetran.api.field_errors import unsupported
from edgetran.api.measures import BY_NAME, HARDWARE
from edgetran.devices import Figure, HardwareFigures
from edgetran.space import Architecture

MEASURES: Final = tuple(BY_NAME)
"""Every measure that an objective, a constraint or a Pareto front may name."""

HARDWARE_MEASURES: Final = tuple(each.name for each in HARDWARE)
"""The measures that depend on the device, per sequence."""


class SearchError(ValueError):
    """A search that was asked for wrongly; the message says where and what is allowed."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An architecture on a device, by the device's name."""

    architecture: Architecture
    device: str

    @property
    def identity(self) -> tuple[str, str]:
        """Equal for equal pairs, whatever the order of heads; cheaper than the graph hash."""
        return self.architecture.canonical_json, self.device

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {"architecture": self.architecture.to_model_dict(), "device": self.device}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`.

        Raises:
            ArchitectureError: when the model dict cannot be.
        """
        return cls(Architecture.from_model_dict(data["architecture"]), data["device"])


@dataclass(frozen=True, slots=True)
class Measures:
    """Everything known about a candidate.

    Attributes:
        accuracy: the task's selection metric on validation data, higher is better; its value is
            None before training.
        hardware: latency, energy and peak power on the candidate's device.
        parameters: number of parameters of the model.
    """

    accuracy: Figure
    hardware: HardwareFigures
    parameters: int

    @classmethod
    def untrained(cls, hardware: HardwareFigures, parameters: int) -> Self:
        """What is known before training."""
        return cls(Figure.missing("", "measured", "not trained"), hardware, parameters)

    def with_accuracy(self, accuracy: Figure) -> Measures:
        """The same candidate's measures once it is trained."""
        return replace(self, accuracy=accuracy)

    def figure(self, name: str) -> Figure:
        """The figure of a measure in `MEASURES`.

        Raises:
            SearchError: for an unknown measure.
        """
        if name == "accuracy":
            return self.accuracy
        if name == "parameters":
            return Figure(float(self.parameters), "", "counted")
        if name in HARDWARE_MEASURES:
            figure: Figure = getattr(self.hardware, name)
            return figure
        raise SearchError(f"measure: {unsupported(name, MEASURES)}")

    def value(self, name: str) -> float | None:
        """The value of a measure in `MEASURES`, None where it is not known."""
        return self.figure(name).value

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "accuracy": self.accuracy.to_dict(),
            **self.hardware.to_dict(),
            "parameters": self.parameters,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`.

        Raises:
            FigureError: when a figure is absent or cannot be.
        """
        return cls(
            Figure.from_dict(data["accuracy"]),
            HardwareFigures.from_dict(data),
            int(data["parameters"]),
        )
