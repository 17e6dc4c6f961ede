r"""The weighted objective: deterministic given the measures, its uncertainty kept apart.

EdgeTran (arXiv 2303.13745), to be maximised:

    w_a · accuracy + Σ_m w_m · (1 − ln(x_m / low_m) / ln(high_m / low_m)),   m = latency, energy, …

with weights 0.5, 0.2, 0.2, 0.1 of accuracy, latency, energy and peak power. The published form is
linear with low_m = 0 and high_m = 1000 s, 2000 J and 300 W, which makes every edge device look the
same. Here the range [low_m, high_m] is by default that of the design space on the chosen devices,
cut at the constraints (what lies beyond a bound cannot win, so it must not set the scale), and its
scale is logarithmic: where a cost spans decades, half of it is worth the same at either end.

Instead of a sum, the whole front may be asked for: `pareto` names its axes. The sum then says only
which of two candidates leads while the search goes on; the winner is one point of the front, by the
rule `pick` (`edgetran.search.picking`).

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
from typing import Any, Final, Literal, Self, get_args

from edgetran.api.field_errors import invalid, required, unsupported
from edgetran.api.measures import BY_NAME, MEASURES
from edgetran.search.candidates import Measures, SearchError
from edgetran.search.constraints import Constraints

_TERMS: Final = {measure.quantity: measure for measure in MEASURES}

COSTS: Final = tuple(each.name for each in MEASURES if each.kind != "quality")
"""The measures that are known before training, the less the better."""

Scale = Literal["log", "linear"]
SCALES: Final[tuple[str, ...]] = get_args(Scale)

PICKS: Final = ("knee", "weights", "budget")
"""Rules by which one point of the front is picked."""


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
                raise SearchError(f"weights: {unsupported(name, _TERMS)}")
            if not (math.isfinite(value) and value >= 0):
                raise SearchError(f"weights.{name}: {invalid(value, 'must be at least 0')}")
        whole = {name: weights.get(name, measure.weight) for name, measure in _TERMS.items()}
        if sum(whole.values()) <= 0:
            raise SearchError(f"weights: {invalid(0, 'must have at least one above 0')}")
        object.__setattr__(self, "_weights", whole)

    @property
    def accuracy(self) -> float:
        """The weight of the task's metric."""
        return self._weights["accuracy"]

    @property
    def costs(self) -> tuple[str, ...]:
        """The costs with a weight, such as `latency_ms`."""
        return tuple(name for name in COSTS if self.of(name) > 0)

    @classmethod
    def by_measure(cls, weights: Mapping[str, float]) -> Self:
        """Weights by the names of measures, such as `latency_ms`; none for the others."""
        return cls(**{term: weights.get(each.name, 0.0) for term, each in _TERMS.items()})

    def of(self, measure: str) -> float:
        """The weight of a measure, such as `latency_ms`."""
        return self._weights[BY_NAME[measure].quantity]

    def to_dict(self) -> dict[str, float]:
        """Plain JSON data: the keyword arguments of this class."""
        # a search that began before a term was there is to be known again by its weights
        return {name: w for name, w in self._weights.items() if w or _TERMS[name].weight}


@dataclass(frozen=True, slots=True)
class Range:
    """The interval over which a term falls from 1 to 0, in the measure's unit.

    Attributes:
        low: where the term is 1.
        high: where it is 0.
        scale: along which it falls.

    Raises:
        SearchError: unless 0 <= low < high, both finite, and 0 < low on a logarithmic scale.
    """

    low: float
    high: float
    scale: Scale = "linear"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.high) and 0 <= self.low < self.high):
            raise SearchError(
                f"normaliser: from {self.low!r} to {self.high!r}; must be 0 <= low < high"
            )
        if self.scale == "log" and self.low <= 0:
            raise SearchError(f"normaliser: from {self.low!r} on a log scale; must begin above 0")

    def term(self, value: float) -> float:
        """1 at `low`, 0 at `high`, beyond 1 and below 0 outside of them."""
        if self.scale == "linear":
            return 1 - (value - self.low) / (self.high - self.low)
        return 1 - math.log(max(value, self.low * _LEAST_SHARE) / self.low) / self._decades

    def slope(self, value: float) -> float:
        """How fast the term falls at a value, per unit of the measure."""
        if self.scale == "linear":
            return 1 / (self.high - self.low)
        return 1 / (max(value, self.low * _LEAST_SHARE) * self._decades)

    @property
    def _decades(self) -> float:
        return math.log(self.high / self.low)

    def to_list(self) -> list[Any]:
        """Plain JSON data: the arguments of this class; the linear scale goes without saying."""
        return [self.low, self.high] + ([] if self.scale == "linear" else [self.scale])


_LEAST_SHARE: Final = 1e-3
"""Of the lower end of a logarithmic range: no term grows beyond what this gives."""


@dataclass(frozen=True)
class Objective:
    """The objective of one search, the same for every candidate.

    Attributes:
        weights: the weights as asked for; of a front, all of its axes weigh the same.
        ranges: the normaliser of each cost that counts.
        left_out: why each other cost does not count.
        pareto: the axes of the front that is sought; none where it is the sum.
        pick: the rule by which one point of that front wins, one of `PICKS`.
        budget: for rule `budget`, the most of each cost.
    """

    weights: Weights
    ranges: Mapping[str, Range]
    left_out: Mapping[str, str] = field(default_factory=dict)
    pareto: tuple[str, ...] = ()
    pick: str = "knee"
    budget: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.weights.accuracy + sum(self.weights.of(name) for name in self.ranges) <= 0:
            raise SearchError(
                "objective: no weighted term is left, because "
                + "; ".join(f"{name}: {reason}" for name, reason in self.left_out.items())
            )
        if self.pick not in PICKS:
            raise SearchError(f"objective.pick: {unsupported(self.pick, PICKS)}")
        if self.pareto and self.pick == "budget" and not self.budget:
            raise SearchError(f"objective.budget: {required('must be set with pick budget')}")

    @classmethod
    def over(
        cls,
        figures: Mapping[str, Sequence[Measures]],
        *,
        weights: Weights | None = None,
        normalisers: Mapping[str, float] | None = None,
        constraints: Constraints | None = None,
        scale: Scale = "log",
        front: Front | None = None,
    ) -> Self:
        """The objective over a sample of the design space on each device.

        Args:
            figures: per device, the measures of one and the same sample.
            weights: defaults to the published ones.
            normalisers: per measure, the value at which its term is 0. On a linear scale the term
                is 1 at zero, on a logarithmic one at the least of the sample.
            constraints: upper bounds cut the default ranges.
            scale: of the costs; a cost that may be 0 has a linear one in any case.
            front: the front that is sought in place of the weighted sum.

        Raises:
            SearchError: for an unknown or impossible normaliser, or when no term is left.
        """
        weights = weights or Weights()
        normalisers = normalisers or {}
        constraints = constraints or Constraints()
        if scale not in SCALES:
            raise SearchError(f"scale: {unsupported(scale, SCALES)}")
        wanted = weights.costs if front is None else front.costs
        for name in normalisers:
            if name not in (*COSTS, *wanted):
                raise SearchError(f"normalisers: {unsupported(name, COSTS)}")
        usable = {
            device: [row for row in rows if row.hardware.feasible]
            for device, rows in figures.items()
            if any(row.hardware.feasible for row in rows)
        }
        ranges: dict[str, Range] = {}
        left_out: dict[str, str] = {}
        for name in wanted:
            values = {device: _values(rows, name) for device, rows in usable.items()}
            silent = [device for device, known in values.items() if not known]
            if silent or not values:
                left_out[name] = _why_left_out(name, silent, usable)
                continue
            sample = [value for known in values.values() for value in known]
            if name in normalisers:
                ranges[name] = _given_range(sample, float(normalisers[name]), name, scale)
            else:
                ranges[name] = _default_range(sample, constraints, name, scale)
        if front is None:
            return cls(weights, ranges, left_out)
        axes = tuple(name for name in front.axes if name == "accuracy" or name in ranges)
        return cls(weights, ranges, left_out, axes, front.pick, dict(front.budget))

    def effective_weight(self, name: str) -> float:
        """The weight of `accuracy` or a cost, with what left-out terms gave to it."""
        if name != "accuracy" and name not in self.ranges:
            return 0.0
        of = self.weights.of
        total = self.weights.accuracy + sum(of(m) for m in (*self.ranges, *self.left_out))
        counted = self.weights.accuracy + sum(of(m) for m in self.ranges)
        return of(name) * total / counted

    def cost_value(self, measures: Measures) -> float | None:
        """The part of the objective that is known before training; None where a term is not."""
        total = 0.0
        for name, span in self.ranges.items():
            value = measures.value(name)
            if value is None:
                return None
            total += self.effective_weight(name) * span.term(value)
        return total

    def value(self, measures: Measures) -> float | None:
        """The objective, higher is better; None where a measure that counts is not known."""
        known = self.cost_value(measures)
        accuracy = measures.accuracy.value
        if self.weights.accuracy == 0:
            return known
        if known is None or accuracy is None:
            return None
        return self.effective_weight("accuracy") * accuracy + known

    def std(self, measures: Measures) -> float:
        """One standard deviation of the objective, from those of its measures (independent)."""
        variance = (self.effective_weight("accuracy") * (measures.accuracy.std or 0.0)) ** 2
        for name, span in self.ranges.items():
            figure = measures.figure(name)
            spread = (figure.std or 0.0) * span.slope(figure.value or 0.0)
            variance += (self.effective_weight(name) * spread) ** 2
        return math.sqrt(variance)

    def unknown(self, measures: Measures) -> str | None:
        """A sentence when a cost that counts is not known, else None."""
        for name in self.ranges:
            figure = measures.figure(name)
            if figure.value is None:
                return f"{name} counts in the objective but is not known ({figure.reason})"
        return None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        data: dict[str, Any] = {
            "weights": self.weights.to_dict(),
            "ranges": {name: span.to_list() for name, span in self.ranges.items()},
            "left_out": dict(self.left_out),
        }
        if self.pareto:
            data |= {"pareto": list(self.pareto), "pick": self.pick, "budget": dict(self.budget)}
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        return cls(
            Weights(**data["weights"]),
            {name: Range(*span) for name, span in data["ranges"].items()},
            dict(data["left_out"]),
            tuple(data.get("pareto", ())),
            data.get("pick", "knee"),
            dict(data.get("budget", {})),
        )


@dataclass(frozen=True)
class Front:
    """A front to seek in place of a weighted sum.

    Attributes:
        axes: measures, accuracy and at least one cost.
        pick: the rule by which one of its points wins, one of `PICKS`.
        budget: for rule `budget`, the most of each cost.

    Raises:
        SearchError: an axis that is no measure or given twice, or fewer than two.
    """

    axes: tuple[str, ...]
    pick: str = "knee"
    budget: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(set(self.axes)) < len(self.axes) or "accuracy" not in self.axes or not self.costs:
            what = "must have accuracy and one or more costs, each once"
            raise SearchError(f"objective.pareto: {invalid(', '.join(self.axes), what)}")

    @property
    def costs(self) -> tuple[str, ...]:
        """The axes that are known before training."""
        return tuple(name for name in self.axes if name != "accuracy")


def _values(rows: Sequence[Measures], name: str) -> list[float]:
    return [value for row in rows if (value := row.value(name)) is not None]


def _why_left_out(
    name: str, silent: Sequence[str], usable: Mapping[str, Sequence[Measures]]
) -> str:
    if not silent:
        return "no device can run any of the sampled architectures"
    reasons = [f"{device} ({usable[device][0].figure(name).reason})" for device in silent]
    return (
        f"not known on {', '.join(reasons)}, so it counts for no device and its weight goes to the "
        "other terms"
    )


def _given_range(sample: Sequence[float], high: float, name: str, scale: Scale) -> Range:
    low = min(sample)
    if scale == "linear" or low <= 0:
        return Range(0.0, high)
    if high <= low:
        what = f"must be above the least of the design space, {low:.6g}, on a log scale"
        raise SearchError(f"normalisers.{name}: {invalid(high, what)}")
    return Range(low, high, "log")


def _default_range(
    sample: Sequence[float], constraints: Constraints, name: str, scale: Scale
) -> Range:
    low, high = min(sample), max(sample)
    bound = constraints.bounds().get(name)
    if bound is not None and bound.maximum is not None and bound.maximum > low:
        high = min(high, bound.maximum)
    if high <= low:  # a measure that does not vary ranks nothing; any span will do
        return Range(0.0, max(high, 1e-9))
    return Range(low, high, scale if low > 0 else "linear")
