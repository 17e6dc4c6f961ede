r"""The weighted objective: deterministic given the measures, its uncertainty kept apart.

EdgeTran (arXiv 2303.13745), to be maximised:

    w_a · accuracy + Σ_m w_m · (1 − (x_m − low_m) / (high_m − low_m)),   m = latency, energy, power

with weights 0.5, 0.2, 0.2, 0.1. The published form has low_m = 0 and high_m = 1000 s, 2000 J and
300 W, which makes every edge device look the same. Here the range [low_m, high_m] is by default
that of the design space on the chosen devices, cut at the constraints (what lies beyond a bound
cannot win, so it must not set the scale).

Measures that are not known. A device may have no energy or power reading. Two rules keep the
comparison fair, and neither depends on the candidate:

1. A term whose measure *any* of the chosen devices lacks is left out for *every* device, and its
   weight goes to the remaining terms in proportion to theirs. All candidates are thus scored by
   one formula, and a device can neither win nor lose by what it does not report.
2. A single candidate that lacks a measure which its device reports for others has no objective
   value and cannot be the winner.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

from edgetran.api.measures import BY_NAME, WEIGHED
from edgetran.devices import HardwareFigures
from edgetran.search.candidates import HARDWARE_MEASURES, Measures, SearchError
from edgetran.search.constraints import Constraints

_TERMS: Final = {measure.quantity: measure for measure in WEIGHED}


@dataclass(frozen=True, init=False)
class Weights:
    """Weight of each term of the objective; defaults are the published ones.

    Args:
        weights: by the measure's name without its unit, such as `peak_power`.

    Raises:
        SearchError: for a negative or infinite weight, for a term that there is not, or when all
            are zero.
    """

    _weights: Mapping[str, float]

    def __init__(self, **weights: float) -> None:
        for name, value in weights.items():
            if name not in _TERMS:
                raise SearchError(f"weights: {name!r} given; allowed are {', '.join(_TERMS)}")
            if not (math.isfinite(value) and value >= 0):
                raise SearchError(f"weights.{name}: {value!r} given; allowed is a number >= 0")
        whole = {name: weights.get(name, measure.weight) for name, measure in _TERMS.items()}
        if sum(whole.values()) <= 0:
            raise SearchError("weights: all are 0; at least one must be positive")
        object.__setattr__(self, "_weights", whole)

    @property
    def accuracy(self) -> float:
        """The weight of the task's metric."""
        return self._weights["accuracy"]

    def of(self, measure: str) -> float:
        """The weight of a measure, such as `latency_ms`."""
        return self._weights[BY_NAME[measure].quantity]

    def to_dict(self) -> dict[str, float]:
        """Plain JSON data: the keyword arguments of this class."""
        return dict(self._weights)


@dataclass(frozen=True, slots=True)
class Range:
    """The interval over which a term falls from 1 to 0, in the measure's unit.

    Raises:
        SearchError: unless 0 <= low < high, both finite.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.high) and 0 <= self.low < self.high):
            raise SearchError(
                f"normaliser: from {self.low!r} to {self.high!r} given; allowed is 0 <= low < high"
            )


@dataclass(frozen=True)
class Objective:
    """The objective of one search, the same for every candidate.

    Attributes:
        weights: the weights as asked for.
        ranges: the normaliser of each hardware measure that counts.
        left_out: why each other hardware measure does not count.
    """

    weights: Weights
    ranges: Mapping[str, Range]
    left_out: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.weights.accuracy + sum(self.weights.of(name) for name in self.ranges) <= 0:
            raise SearchError(
                "objective: no weighted term is left, because "
                + "; ".join(f"{name}: {reason}" for name, reason in self.left_out.items())
            )

    @classmethod
    def over(
        cls,
        figures: Mapping[str, Sequence[HardwareFigures]],
        *,
        weights: Weights | None = None,
        normalisers: Mapping[str, float] | None = None,
        constraints: Constraints | None = None,
    ) -> Self:
        """The objective over a sample of the design space on each device.

        Args:
            figures: per device, the hardware figures of one and the same sample.
            weights: defaults to the published ones.
            normalisers: per measure, the value at which its term is 0; it is 1 at zero then.
            constraints: upper bounds cut the default ranges.

        Raises:
            SearchError: for an unknown or impossible normaliser, or when no term is left.
        """
        weights = weights or Weights()
        normalisers = normalisers or {}
        constraints = constraints or Constraints()
        for name in normalisers:
            if name not in HARDWARE_MEASURES:
                raise SearchError(
                    f"normalisers: {name!r} given; allowed are {', '.join(HARDWARE_MEASURES)}"
                )
        usable = {
            device: [row for row in rows if row.feasible]
            for device, rows in figures.items()
            if any(row.feasible for row in rows)
        }
        ranges: dict[str, Range] = {}
        left_out: dict[str, str] = {}
        for name in HARDWARE_MEASURES:
            if weights.of(name) == 0:
                continue
            values = {device: _values(rows, name) for device, rows in usable.items()}
            silent = [device for device, known in values.items() if not known]
            if silent or not values:
                left_out[name] = _why_left_out(name, silent, usable)
            elif name in normalisers:
                ranges[name] = Range(0.0, float(normalisers[name]))
            else:
                sample = [value for known in values.values() for value in known]
                ranges[name] = _default_range(sample, constraints, name)
        return cls(weights, ranges, left_out)

    def effective_weight(self, name: str) -> float:
        """The weight of `accuracy` or a hardware measure, with what left-out terms gave to it."""
        if name != "accuracy" and name not in self.ranges:
            return 0.0
        total = self.weights.accuracy + sum(self.weights.of(m) for m in HARDWARE_MEASURES)
        counted = self.weights.accuracy + sum(self.weights.of(m) for m in self.ranges)
        return self.weights.of(name) * total / counted

    def hardware_value(self, hardware: HardwareFigures) -> float | None:
        """The part of the objective that is known before training; None where a term is not."""
        total = 0.0
        for name, span in self.ranges.items():
            value = getattr(hardware, name).value
            if value is None:
                return None
            term = 1 - (value - span.low) / (span.high - span.low)
            total += self.effective_weight(name) * term
        return total

    def value(self, measures: Measures) -> float | None:
        """The objective, higher is better; None where a measure that counts is not known."""
        hardware = self.hardware_value(measures.hardware)
        accuracy = measures.accuracy.value
        if self.weights.accuracy == 0:
            return hardware
        if hardware is None or accuracy is None:
            return None
        return self.effective_weight("accuracy") * accuracy + hardware

    def std(self, measures: Measures) -> float:
        """One standard deviation of the objective, from those of its measures (independent)."""
        variance = (self.effective_weight("accuracy") * (measures.accuracy.std or 0.0)) ** 2
        for name, span in self.ranges.items():
            spread = (measures.figure(name).std or 0.0) / (span.high - span.low)
            variance += (self.effective_weight(name) * spread) ** 2
        return math.sqrt(variance)

    def unknown(self, hardware: HardwareFigures) -> str | None:
        """A sentence when a hardware measure that counts is not known, else None."""
        for name in self.ranges:
            figure = getattr(hardware, name)
            if figure.value is None:
                return f"{name} counts in the objective but is not known ({figure.reason})"
        return None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "weights": self.weights.to_dict(),
            "ranges": {name: [span.low, span.high] for name, span in self.ranges.items()},
            "left_out": dict(self.left_out),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        return cls(
            Weights(**data["weights"]),
            {name: Range(*span) for name, span in data["ranges"].items()},
            dict(data["left_out"]),
        )


def _values(rows: Sequence[HardwareFigures], name: str) -> list[float]:
    figures = (getattr(row, name).value for row in rows)
    return [value for value in figures if value is not None]


def _why_left_out(
    name: str, silent: Sequence[str], usable: Mapping[str, Sequence[HardwareFigures]]
) -> str:
    if not silent:
        return "no device can run any of the sampled architectures"
    reasons = [f"{device} ({getattr(usable[device][0], name).reason})" for device in silent]
    return (
        f"not known on {', '.join(reasons)}, so it counts for no device and its weight goes to the "
        "other terms"
    )


def _default_range(sample: Sequence[float], constraints: Constraints, name: str) -> Range:
    low, high = min(sample), max(sample)
    bound = constraints.bounds().get(name)
    if bound is not None and bound.maximum is not None and bound.maximum > low:
        high = min(high, bound.maximum)
    if high <= low:  # a measure that does not vary ranks nothing; any span will do
        low, high = 0.0, max(high, 1e-9)
    return Range(low, high)
