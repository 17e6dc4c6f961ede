"""What every device reports: Figure with its origin, HardwareFigures, and the Workload."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Final, Literal, Self, get_args

from edgetran.api.field_errors import invalid, required, unsupported
from edgetran.api.measures import BY_NAME, HARDWARE, Measure

Source = Literal["measured", "predicted", "estimated", "simulated", "counted"]
"""Where a figure comes from: measured on hardware, predicted by a surrogate fitted to
measurements, estimated before a full training, simulated by an analytic device, or counted
exactly."""

SOURCES: Final[tuple[str, ...]] = get_args(Source)


class FigureError(ValueError):
    """A figure or workload that cannot exist; the message says what was given and is allowed."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One value with its unit and origin; an unknown value is None and says why.

    Attributes:
        value: the value in `unit`, or None where it is not known.
        unit: for example "ms", "mJ", "W".
        source: where the value comes from.
        std: one standard deviation in `unit`, where known.
        reason: why the value is None.

    Raises:
        FigureError: for a value that is not finite, a missing reason or an unknown source.
    """

    value: float | None
    unit: str
    source: Source
    std: float | None = None
    reason: str | None = None

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise FigureError(f"source: {unsupported(self.source, SOURCES)}")
        if self.value is None and not self.reason:
            raise FigureError("reason: a figure without a value needs a reason")
        for name in ("value", "std"):
            number = getattr(self, name)
            if number is not None and not math.isfinite(number):
                raise FigureError(
                    f"{name}: {number!r} is not finite; unknown is None with a reason"
                )

    @classmethod
    def missing(cls, unit: str, source: Source, reason: str) -> Self:
        """A figure whose value is not known, for `reason`."""
        return cls(None, unit, source, reason=reason)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data; `std` and `reason` only where they are set."""
        data: dict[str, Any] = {"value": self.value, "unit": self.unit, "source": self.source}
        if self.std is not None:
            data["std"] = self.std
        if self.reason is not None:
            data["reason"] = self.reason
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`.

        Raises:
            FigureError: when value, unit or source is absent or cannot be.
        """
        for key in ("value", "unit", "source"):
            if key not in data:
                raise FigureError(f"{key}: missing from a figure")
        return cls(data["value"], data["unit"], data["source"], data.get("std"), data.get("reason"))


@dataclass(frozen=True, slots=True)
class HardwareFigures:
    """What running one architecture costs on one device, per sequence.

    Attributes:
        latency_ms: time of inference per sequence, ms.
        energy_mj: energy per sequence, mJ.
        peak_power_w: highest power over the averaging window, W.
        feasible: False where the device cannot run the architecture at all.
        infeasible_reason: why not.

    Raises:
        FigureError: for infeasible figures without a reason.
    """

    latency_ms: Figure
    energy_mj: Figure
    peak_power_w: Figure
    feasible: bool = True
    infeasible_reason: str | None = None

    def __post_init__(self) -> None:
        if not self.feasible and not self.infeasible_reason:
            raise FigureError("infeasible_reason: infeasible figures need a reason")

    @classmethod
    def infeasible(cls, source: Source, reason: str) -> Self:
        """Figures of an architecture that the device cannot run, for `reason`."""
        missing: dict[str, Any] = {
            each.name: Figure.missing(each.unit, source, reason) for each in HARDWARE
        }
        return cls(**missing, feasible=False, infeasible_reason=reason)

    def of(self, measure: Measure) -> Figure:
        """The figure of a measure."""
        figure: Figure = getattr(self, measure.name)
        return figure

    def by_alias(self) -> dict[str, Figure]:
        """The figures by the names that results call them by, such as `latencyMs`."""
        return {each.alias: self.of(each) for each in HARDWARE}

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        data: dict[str, Any] = {each.name: self.of(each).to_dict() for each in HARDWARE}
        data["feasible"] = self.feasible
        if self.infeasible_reason is not None:
            data["infeasible_reason"] = self.infeasible_reason
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`; a measure with a default may be absent from older data.

        Raises:
            FigureError: when a figure is absent or cannot be.
        """
        known = {field.name: field.default for field in fields(cls)}
        for name in (each.name for each in HARDWARE):
            if name not in data and known[name] is MISSING:
                raise FigureError(f"{name}: missing from the hardware figures")
        told: dict[str, Any] = {
            name: Figure.from_dict(data[name]) for name in known if name in BY_NAME and name in data
        }
        return cls(
            **told,
            feasible=data.get("feasible", True),
            infeasible_reason=data.get("infeasible_reason"),
        )


@dataclass(frozen=True, slots=True)
class Workload:
    """The batches that a device runs.

    Attributes:
        batch_size: sequences per batch.
        sequence_length: tokens per sequence.
        vocab_size: entries of the word embedding.
        num_labels: outputs of the classifier; 1 for regression.

    Raises:
        FigureError: for a size below 1.
    """

    batch_size: int
    sequence_length: int
    vocab_size: int = 30522
    num_labels: int = 2

    def __post_init__(self) -> None:
        for name in ("batch_size", "sequence_length", "vocab_size", "num_labels"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                what = "must be a whole number of at least 1"
                raise FigureError(f"{name}: {invalid(value, what)}")

    def to_dict(self) -> dict[str, int]:
        """Plain JSON data."""
        return {
            "batch_size": self.batch_size,
            "sequence_length": self.sequence_length,
            "vocab_size": self.vocab_size,
            "num_labels": self.num_labels,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, int]) -> Self:
        """The inverse of `to_dict`.

        Raises:
            FigureError: naming an unknown or missing key.
        """
        allowed = ("batch_size", "sequence_length", "vocab_size", "num_labels")
        for key in data:
            if key not in allowed:
                raise FigureError(f"workload: {unsupported(key, allowed)}")
        for key in allowed[:2]:
            if key not in data:
                raise FigureError(f"workload.{key}: {required('must be set')}")
        return cls(**data)
