"""How well a low fidelity foretells a high one, learned from the trials that are known at both.

The high accuracy is taken to be the low one and a difference that is linear in the low one, the
parameters and the share of heads that are no attention: the autoregressive model of Kennedy and
O'Hagan (Biometrika 87, 2000) with a linear discrepancy, since a search trains only a handful.
Before any pair is known the difference is zero, and its doubt is that of the priors below, which
were chosen on the 30 candidates of `benchmarks/elastic.py` that were trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from edgetran.space import Architecture, encoder_parameters

Array = NDArray[np.float64]

_OFFSET: Final = 0.03
"""Prior deviation of the mean difference: training by itself adds about two points."""

_SLOPE: Final = 0.007
"""Prior deviation of the difference per deviation of a feature."""

_NOISE: Final = 0.02
"""Of one difference about the line; 979 validation texts give a standard error of 0.013 alone."""

_NOISE_ROWS: Final = 8.0
"""Pairs that this guess counts for."""


@dataclass(frozen=True)
class Correction:
    """What the high fidelity is expected to be.

    Attributes:
        weights: of the features, (k,).
        covariance: of the weights, (k, k).
        noise: deviation of a difference about the line.
        centre: of the features but the first, (k − 1,).
        scale: their deviations, (k − 1,).
    """

    weights: Array
    covariance: Array
    noise: float
    centre: Array
    scale: Array

    @classmethod
    def fit(
        cls,
        architectures: Sequence[Architecture],
        low: Sequence[float],
        high: Sequence[float | None],
    ) -> Self:
        """Learn from all candidates of a search.

        Args:
            architectures: n of them.
            low: accuracies at the low fidelity, n.
            high: those at the high one, n; None where a candidate is not known there.
        """
        features = _features(architectures, low)
        centre: Array = features.mean(0)
        scale: Array = np.maximum(features.std(0), 1e-9).astype(np.float64)
        rows = [i for i, value in enumerate(high) if value is not None]
        points = _with_one((features[rows] - centre) / scale)
        gains = np.array([float(high[i] or 0.0) - low[i] for i in rows])
        prior = np.diag(1 / np.array([_OFFSET, *[_SLOPE] * features.shape[1]]) ** 2)
        noise = _NOISE
        for _ in range(10):  # the noise and the line in turns
            inverse = points.T @ points / noise**2 + prior
            covariance: Array = np.asarray(np.linalg.inv(inverse), dtype=np.float64)
            weights: Array = covariance @ points.T @ gains / noise**2
            squares = float(((gains - points @ weights) ** 2).sum())
            noise = float(np.sqrt((squares + _NOISE_ROWS * _NOISE**2) / (len(rows) + _NOISE_ROWS)))
        return cls(weights, covariance, noise, centre, scale)

    def predict(
        self, architectures: Sequence[Architecture], low: Sequence[float]
    ) -> tuple[Array, Array]:
        """Mean and standard deviation of the high accuracy, each (m,)."""
        points = _with_one((_features(architectures, low) - self.centre) / self.scale)
        mean = np.asarray(low) + points @ self.weights
        variance = np.einsum("ij,jk,ik->i", points, self.covariance, points) + self.noise**2
        return mean, np.sqrt(variance)

    @property
    def gain(self) -> tuple[float, float]:
        """The difference of a candidate in the middle, and its standard deviation."""
        return float(self.weights[0]), float(np.sqrt(self.covariance[0, 0] + self.noise**2))


def _features(architectures: Sequence[Architecture], low: Sequence[float]) -> Array:
    """(n, 3): the low accuracy, the logarithm of the parameters, the share of other heads."""
    rows = []
    for architecture, value in zip(architectures, low, strict=True):
        heads = [head for layer in architecture.layers for head in layer.head_types]
        others = sum(not head.startswith("sa_") for head in heads) / len(heads)
        rows.append((value, np.log(encoder_parameters(architecture)), others))
    return np.array(rows, dtype=np.float64).reshape(len(rows), 3)


def _with_one(features: Array) -> Array:
    return np.hstack([np.ones((len(features), 1)), features])
