"""Summaries of repeated timings: robust location and spread, tails, drift and outliers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

OUTLIER_DEVIATIONS: Final = 5.0
"""A sample further from the median than this many robust deviations is flagged as an outlier."""

_MOST_WINDOWS: Final = 5
_SMALLEST_WINDOW: Final = 5  # samples: the median of fewer says little


@dataclass(frozen=True)
class Statistics:
    """Of n samples, in their unit.

    Attributes:
        median: 50th percentile.
        iqr: 75th minus 25th percentile.
        p90: 90th percentile.
        p99: 99th percentile.
        mean: arithmetic mean.
        minimum: smallest sample.
        cv: coefficient of variation, standard deviation ÷ mean.
        n: number of samples.
    """

    median: float
    iqr: float
    p90: float
    p99: float
    mean: float
    minimum: float
    cv: float
    n: int

    @classmethod
    def of(cls, samples: ArrayLike) -> Statistics:
        """Summarise samples (n,).

        Raises:
            ValueError: when there are none, or one is not finite.
        """
        values = np.asarray(samples, dtype=np.float64)
        if values.size == 0 or not np.isfinite(values).all():
            raise ValueError(f"samples: {values.size} given, not all finite; allowed is 1 or more")
        quarter, half, three, p90, p99 = np.quantile(values, [0.25, 0.5, 0.75, 0.9, 0.99])
        mean = float(values.mean())
        return cls(
            median=float(half),
            iqr=float(three - quarter),
            p90=float(p90),
            p99=float(p99),
            mean=mean,
            minimum=float(values.min()),
            cv=float(values.std() / mean) if mean else 0.0,
            n=int(values.size),
        )

    def scaled(self, factor: float) -> Statistics:
        """The same samples in another unit, each multiplied by `factor`."""
        return Statistics(
            **{
                field.name: getattr(self, field.name) * (1 if field.name in ("cv", "n") else factor)
                for field in fields(self)
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""
        return dict(vars(self))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Statistics:
        """The inverse of `to_dict`.

        Raises:
            ValueError: naming the entry that is missing or not a finite number.
        """
        for field in fields(cls):
            value = data.get(field.name)
            if (
                isinstance(value, bool)
                or not isinstance(value, int | float)
                or not math.isfinite(value)
            ):
                raise ValueError(f"{field.name}: {value!r} is not a finite number")
        return cls(**{field.name: data[field.name] for field in fields(cls)})


def drift(samples: ArrayLike) -> float:
    """Largest relative difference between the medians of any two of five successive windows.

    Fewer than 25 samples make fewer windows, at least two.
    """
    values = np.asarray(samples, dtype=np.float64)
    windows = max(2, min(_MOST_WINDOWS, len(values) // _SMALLEST_WINDOW))
    parts = np.array_split(values, min(windows, len(values)))
    medians = np.array([np.median(part) for part in parts])
    return float(medians.max() / medians.min() - 1)


def outliers(samples: ArrayLike) -> NDArray[np.intp]:
    """Indices of the samples beyond `OUTLIER_DEVIATIONS` robust deviations (1.4826 · MAD)."""
    values = np.asarray(samples, dtype=np.float64)
    distance = np.abs(values - np.median(values))
    deviation = 1.4826 * np.median(distance)
    return np.flatnonzero(distance > OUTLIER_DEVIATIONS * deviation) if deviation else _none()


def _none() -> NDArray[np.intp]:
    return np.empty(0, dtype=np.intp)
