"""What a measure is expected to be: two Gaussian processes over the encoding, calibrated.

The processes are those that predict devices (`edgetran.profiling.gaussian_process`). One has a
length scale per column, since many features of a foreign table do not matter; fitted to few rows it
is too sure of itself. The other has one length scale for all. What is expected is their mixture:
where they disagree, that is part of the doubt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from edgetran.search.spaces import Encoding

if TYPE_CHECKING:
    from edgetran.profiling.gaussian_process import GaussianProcess

Array = NDArray[np.float64]

_TAIL: Final = 3.0
"""Values farther from the quartiles than so many interquartile ranges are drawn in to there: how
much a candidate that learned nothing lies below the others is of no use."""

_PRIOR_ROWS: Final = 8.0
"""Rows that the claim of the processes counts for, beside their errors on rows left out."""

_FITTED: Final = 8.0
"""Length scales and variances are fitted too: by n rows so well that the variance of a prediction
grows by the share of this in n. Chosen by the cover of
intervals on tables of `benchmarks/search.py`."""

_LARGEST_ERROR: Final = 3.0
"""Errors count up to so many deviations, so that one row does not widen all intervals."""

_MOST_COLUMNS: Final = 96
"""With more columns than this there is no length scale per column."""


_ROWS: Final = 144
"""Rows that length scales are fitted to: a suggestion has to come in a fraction of a second."""


class MeasureSurrogate:
    """Mean and deviation of a measure at new points.

    Args:
        points: encodings (n, k), n at least 1.
        values: measured values (n,).
    """

    def __init__(self, points: Encoding, values: Array) -> None:
        from edgetran.profiling.gaussian_process import fit_gaussian_process

        values = _drawn_in(values)
        kinds = (True, False) if 1 < points.shape[1] <= _MOST_COLUMNS else (False,)
        self._members: list[GaussianProcess] = [
            fit_gaussian_process(points, values, per_column=kind, robust=False, rows=_ROWS)
            for kind in kinds
        ]
        self._widening = 1.0
        left_out = [member.leave_one_out() for member in self._members]
        mean, spread = _mixture([(values - r, d) for r, d in left_out])
        errors = np.minimum(np.abs(values - mean) / np.maximum(spread, 1e-12), _LARGEST_ERROR)
        total = (errors**2).sum() + _PRIOR_ROWS
        # errors on rows left out are too small: length scales were fitted to these rows too
        claimed = max(1.0, total / (len(values) + _PRIOR_ROWS))
        self._widening = float(np.sqrt(claimed * (1 + _FITTED / len(values))))

    @property
    def noise(self) -> float:
        """Standard deviation of a value about the curve."""
        variances = [member.noise**2 for member in self._members]
        return self._widening * float(np.sqrt(np.mean(variances)))

    def predict(self, points: Encoding) -> tuple[Array, Array]:
        """Mean and standard deviation of the curve itself at points (m, k), each (m,)."""
        told = []
        for member in self._members:
            mean, std = member.predict(points)
            latent = np.sqrt(np.maximum(std**2 - member.noise**2, 0.0))
            told.append((mean, np.maximum(latent, 1e-3 * std)))
        mean, spread = _mixture(told)
        return mean, self._widening * spread

    def believe(self, points: Encoding) -> None:
        """Take the values at points (m, k) to be their predicted means; nothing else changes.

        Source: Ginsbourger et al. 2010 ("kriging believer").
        """
        if len(points):
            mean, _ = self.predict(points)
            self._members = [member.with_rows(points, mean) for member in self._members]


def _mixture(told: list[tuple[Array, Array]]) -> tuple[Array, Array]:
    """Mean and standard deviation of a mixture of equal parts of normal distributions."""
    means, spreads = (np.array(each) for each in zip(*told, strict=True))
    return means.mean(axis=0), np.sqrt((spreads**2).mean(axis=0) + means.var(axis=0))


def _drawn_in(values: Array) -> Array:
    low, high = np.quantile(values, [0.25, 0.75])
    reach = _TAIL * (high - low)
    return np.clip(values, low - reach, high + reach) if reach > 0 else values
