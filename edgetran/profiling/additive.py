"""A measure as a sum of non-negative contributions: the physics of latency and energy.

y ≈ Σ_j w_j φ_j(x), w_j ≥ 0: every operation costs something, nothing costs less than nothing
(a roofline with unknown rates). Residuals are relative, y being positive over orders of magnitude,
and weighted as under a Student-t likelihood, so that rows taken in a bad moment do not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from edgetran.profiling.gaussian_process import student_weights

Array = NDArray[np.float64]

_RIDGE: Final = 0.1  # against collinear columns, in units of the typical relative error of 1
_ROUNDS: Final = 15


@dataclass(frozen=True)
class Additive:
    """Coefficients of the sum, per column of `contributions`.

    Attributes:
        columns: indices of the inputs used, those never negative and not constant zero.
        products: whether pairwise products of the columns contribute too.
        scales: what each contribution is divided by (its mean over the training rows).
        coefficients: w_j ≥ 0, in the unit of y.
    """

    columns: tuple[int, ...]
    products: bool
    scales: Array
    coefficients: Array

    def predict(self, x: Array) -> Array:
        """Log of the sum, (m,), for inputs `x` (m, k)."""
        total = (contributions(x, self.columns, self.products) / self.scales) @ self.coefficients
        return np.asarray(np.log(np.maximum(total, 1e-3 * self.coefficients.sum())))

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, for JSON."""
        return {
            "columns": list(self.columns),
            "products": self.products,
            "scales": self.scales.tolist(),
            "coefficients": self.coefficients.tolist(),
        }

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Additive:
        """The inverse of `to_dict`."""
        return cls(
            tuple(state["columns"]),
            state["products"],
            np.array(state["scales"]),
            np.array(state["coefficients"]),
        )


def contributions(x: Array, columns: tuple[int, ...], products: bool) -> Array:
    """One, the chosen columns and, if asked for, their pairwise products: (m, p)."""
    chosen = np.abs(x[:, columns])
    parts = [np.ones((len(x), 1)), chosen]
    if products:
        i, j = np.triu_indices(len(columns))
        parts.append(chosen[:, i] * chosen[:, j])
    return np.concatenate(parts, axis=1)


def fit_additive(x: Array, y: Array, *, products: bool) -> Additive | None:
    """Fit to inputs `x` (n, k) and measures `y` > 0 (n,); None where no column can contribute."""
    varying = np.ptp(x, axis=0) > 1e-9 * np.abs(x).max(axis=0, initial=0.0)
    columns = tuple(int(j) for j in np.flatnonzero((x >= 0).all(axis=0) & varying))
    if not columns:
        return None
    phi = contributions(x, columns, products)
    scales = phi.mean(axis=0)
    phi = phi / scales
    size = phi.shape[1]
    ridge = _RIDGE * np.eye(size) / np.median(y)
    weights = np.ones(len(y))
    for _ in range(_ROUNDS):
        root = np.sqrt(weights)
        left = np.concatenate([phi * (root / y)[:, None], ridge])
        right = np.concatenate([root, np.zeros(size)])
        coefficients, _ = nnls(left, right, maxiter=50 * size)
        residuals = np.log(np.maximum(phi @ coefficients / y, 1e-6))
        freedom = 1 - np.count_nonzero(coefficients) / len(y)
        updated = student_weights(residuals, freedom)
        if np.allclose(updated, weights, atol=1e-3):
            break
        weights = updated
    return Additive(columns, products, scales, coefficients)
