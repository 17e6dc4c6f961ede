"""What a candidate promises: improvement of the sum or of the front, and feasibility.

All are logarithms, so that they still tell candidates apart where the promise underflows, and a
product with a probability is a sum (Ament et al. 2023, arXiv 2310.20708).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgetran.search.constraints import Bound

Array = NDArray[np.float64]

_SAMPLES: Final = 512
"""Points of the space of costs on which a hypervolume is summed; a power of 2 for Sobol."""

_ROOT_2PI: Final = float(np.sqrt(2 * np.pi))


def log_expected_improvement(mean: Array, std: Array, threshold: float) -> Array:
    """Log of E[max(Y − threshold, 0)] of Y ~ N(mean, std²), (n,)."""
    std = np.maximum(std, 1e-12)
    return np.log(std) + _log_gain((mean - threshold) / std)


def expected_improvement(mean: Array, std: Array, threshold: Array) -> Array:
    """E[max(Y − threshold, 0)] of Y ~ N(mean, std²), by broadcasting."""
    from scipy.special import ndtr

    std = np.maximum(std, 1e-12)
    z = (mean - threshold) / std
    gain: Array = std * (z * ndtr(z) + np.exp(-0.5 * z**2) / _ROOT_2PI)
    return gain


def log_feasibility(
    bounds: Mapping[str, Bound], predictions: Mapping[str, tuple[Array, Array]]
) -> Array | float:
    """Log of the probability that every bound holds, (n,); measures are taken as independent.

    Args:
        bounds: of learned measures.
        predictions: mean and standard deviation of each of them, each (n,).
    """
    from scipy.special import log_ndtr

    total: Array | float = 0.0
    for name, bound in bounds.items():
        mean, std = predictions[name]
        std = np.maximum(std, 1e-12)
        below = -np.inf if bound.minimum is None else bound.minimum
        above = np.inf if bound.maximum is None else bound.maximum
        low, high = (mean - below) / std, (above - mean) / std
        if bound.minimum is None or bound.maximum is None:
            total = total + (log_ndtr(high) if bound.minimum is None else log_ndtr(low))
        else:  # P(within) = Φ(low) − Φ(−high), each of them near 1 or tiny
            total = total + np.log(
                np.maximum(np.exp(log_ndtr(low)) - np.exp(log_ndtr(-high)), 1e-300)
            )
    return total


def log_hypervolume_improvement(
    mean: Array, std: Array, costs: Array, front: Array, front_costs: Array, seed: int
) -> Array:
    """Log of the expected growth of the dominated volume, (n,).

    Only the accuracy of a candidate is uncertain, its costs are known. So at each point of the
    space of costs the growth is an expected improvement over the highest accuracy that the front
    has at no more than these costs, and the volume is their mean over points that the candidate's
    costs dominate, here those of a scrambled Sobol sequence. Of any number of costs.

    Args:
        mean: of accuracy, (n,).
        std: of accuracy, (n,).
        costs: of the candidates, scaled to 0 (best) … 1 (reference), (n, m).
        front: accuracies of the front, (f,).
        front_costs: its costs, scaled alike, (f, m).
        seed: of the sequence.
    """
    from scipy.stats import qmc

    points = qmc.Sobol(costs.shape[1], rng=np.random.default_rng(seed)).random(_SAMPLES)
    thresholds = np.zeros(_SAMPLES)  # the reference has accuracy 0
    for accuracy, place in zip(front, front_costs, strict=True):
        beaten = (place <= points).all(axis=1)
        thresholds[beaten] = np.maximum(thresholds[beaten], accuracy)
    covered = (costs[:, None, :] <= points).all(axis=2)
    gains = expected_improvement(mean[:, None], std[:, None], thresholds)
    growth: Array = np.log(np.maximum((gains * covered).mean(axis=1), 1e-300))
    return growth


def _log_gain(z: Array) -> Array:
    """Log of (φ(z) + z·Φ(z)), (n,), exact where the sum itself underflows."""
    from scipy.special import erfcx, ndtr

    near = np.maximum(z, -1.0)
    direct = np.log(np.exp(-0.5 * near**2) / _ROOT_2PI + near * ndtr(near))
    far = np.clip(z, -1e8, -1.0)
    tail = np.maximum(1 + far * np.sqrt(np.pi / 2) * erfcx(-far / np.sqrt(2)), 0.0)
    tail = np.where(far < -1e4, far**-2.0, tail)
    indirect = -0.5 * far**2 - np.log(_ROOT_2PI) + np.log(np.maximum(tail, 1e-300))
    gain: Array = np.where(z > -1.0, direct, indirect)
    return gain
