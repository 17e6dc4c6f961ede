"""Hard constraints: a lower or upper bound on each measure, and the text of a violation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from edgetran.api.field_errors import invalid, unsupported
from edgetran.api.measures import BY_NAME
from edgetran.search.candidates import MEASURES, Measures, SearchError

UNKNOWN_EXCESS: Final = 10.0
"""Excess of a bounded measure that is unknown: far more than any near miss, yet finite, so that a
descent towards feasibility still sees the other bounds."""


@dataclass(frozen=True, slots=True)
class Bound:
    """An interval that a measure must lie in, ends included.

    Raises:
        SearchError: for a bound that is not a finite number, or a minimum above the maximum.
    """

    minimum: float | None = None
    maximum: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("min", self.minimum), ("max", self.maximum)):
            if value is not None and not math.isfinite(value):
                raise SearchError(f"{name}: {invalid(value, 'must be a finite number')}")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            what = f"must be at most max, {self.maximum:g}"
            raise SearchError(f"min: {invalid(self.minimum, what)}")


@dataclass(frozen=True, init=False)
class Constraints:
    """At most one bound per measure, by its name: `Constraints(latency_ms=Bound(maximum=50))`.

    A bounded measure that is unknown violates its bound: a device without an energy reading
    cannot be shown to stay under an energy limit, and must not profit from that.

    Raises:
        SearchError: for a measure that there is not.
    """

    _bounds: Mapping[str, Bound]

    def __init__(self, **bounds: Bound | None) -> None:
        for name in bounds:
            if name not in MEASURES:
                raise SearchError(f"constraints: {unsupported(name, MEASURES)}")
        set_ = {name: bound for name in MEASURES if (bound := bounds.get(name)) is not None}
        object.__setattr__(self, "_bounds", set_)

    @property
    def learned(self) -> tuple[str, ...]:
        """The measures that only an evaluation tells: unknown before it, they violate nothing."""
        return ("accuracy",)

    @classmethod
    def from_mapping(cls, bounds: Mapping[str, Mapping[str, float | None]]) -> Self:
        """Read `{"latency_ms": {"max": 50}, …}`.

        Raises:
            SearchError: naming the measure, the value and what it must be.
        """
        read: dict[str, Bound] = {}
        for name, bound in bounds.items():
            unknown = set(bound) - {"min", "max"}
            if unknown:
                found = unsupported(min(unknown), ("min", "max"))
                raise SearchError(f"constraints.{name}: {found}")
            try:
                read[name] = Bound(bound.get("min"), bound.get("max"))
            except SearchError as error:
                raise SearchError(f"constraints.{name}.{error}") from None
        return cls(**read)

    def bounds(self) -> dict[str, Bound]:
        """The bounds that are set, by measure."""
        return dict(self._bounds)

    def to_dict(self) -> dict[str, dict[str, float | None]]:
        """Plain JSON data, the form that `from_mapping` reads."""
        return {
            name: {"min": bound.minimum, "max": bound.maximum}
            for name, bound in self.bounds().items()
        }

    def violations(self, measures: Measures) -> tuple[str, ...]:
        """One sentence for each bound that `measures` violates; empty where all hold.

        An accuracy that is not known yet (before training) violates nothing.
        """
        return tuple(text for _, text in self._broken(measures))

    def excess(self, measures: Measures) -> float:
        """How far `measures` lies outside the bounds, summed; 0 where all hold.

        Each broken bound adds |value − bound| ÷ max(|bound|, tiny), capped at `UNKNOWN_EXCESS`.
        """
        return sum(excess for excess, _ in self._broken(measures))

    def _broken(self, measures: Measures) -> list[tuple[float, str]]:
        broken: list[tuple[float, str]] = []
        for name, bound in self.bounds().items():
            figure = measures.figure(name)
            if figure.value is None:
                if name not in self.learned:
                    text = f"{name} is bounded but not known ({figure.reason})"
                    broken.append((UNKNOWN_EXCESS, text))
                continue
            measure = BY_NAME.get(name)  # None of a table of the user's own
            unit = f" {measure.unit}" if measure is not None and measure.unit else ""
            if bound.minimum is not None and figure.value < bound.minimum:
                text = f"{name} {figure.value:.6g}{unit} is below the minimum {bound.minimum:g}"
                broken.append((_relative(bound.minimum - figure.value, bound.minimum), text))
            if bound.maximum is not None and figure.value > bound.maximum:
                text = f"{name} {figure.value:.6g}{unit} is above the maximum {bound.maximum:g}"
                broken.append((_relative(figure.value - bound.maximum, bound.maximum), text))
        return broken


def _relative(distance: float, bound: float) -> float:
    return min(distance / max(abs(bound), 1e-12), UNKNOWN_EXCESS)
