"""A board as a roofline with unknown numbers, and what is believed of boards before measuring.

    y = e^s · (o + Σ_k m_k · (roof(2 MACs_k / r, bytes_k) + l · launches_k))

over kinds of operations k, in bytes that the board could have moved meanwhile: r its ridge
(operations per byte), l a launch, o a batch's fixed cost, m_k what a kind takes beyond its
roofline, e^s seconds (or joules) per byte. The prior of their logarithms is normal, with the spread
of boards like the catalogue's: so a handful of rows places a new one (the maximum of the posterior,
by Gauss and Newton's steps), and what rows do not tell stays as boards usually are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgetran.devices import catalogue
from edgetran.devices.simulated import BYTES_PER_VALUE
from edgetran.profiling.gaussian_process import student_weights
from edgetran.space import FEATURE_NAMES, OPERATION_KINDS

Array = NDArray[np.float64]

_CORNER: Final = 4.0  # of the roof: sum of 4th powers, so that its edge can be differentiated
_BEYOND: Final = 0.7  # deviation of log m_k: kinds differ by up to a factor of four
_WIDER: Final = 1.5  # boards to come differ more than those of the catalogue do
_STEPS: Final = 30
_ROUNDS: Final = 3  # of weighing the rows
_NOISE: Final = 0.08  # of a log measure, until residuals tell
_LEAST_NOISE: Final = 0.02  # the roofline itself is no better
_LONGEST_STEP: Final = 1.5  # of a logarithm
_FIXED_COLUMNS: Final = 4  # scale, ridge, launch, fixed cost

_MACS: Final = [
    FEATURE_NAMES.index(f"macs_{kind}") if f"macs_{kind}" in FEATURE_NAMES else None
    for kind in OPERATION_KINDS
]
_BYTES: Final = [FEATURE_NAMES.index(f"bytes_{kind}") for kind in OPERATION_KINDS]
_LAUNCHES: Final = [FEATURE_NAMES.index(f"launches_{kind}") for kind in OPERATION_KINDS]


@dataclass(frozen=True)
class Board:
    """A placed board.

    Attributes:
        numbers: log of scale, ridge, launch, fixed cost, and of each kind's m (4 + kinds,).
    """

    numbers: Array

    def predict(self, x: Array) -> Array:
        """Log measure (n,) of features (n, k), columns `FEATURE_NAMES`."""
        return _predict(self.numbers, *_counts(x))[0]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {"numbers": self.numbers.tolist()}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Board:
        """The inverse of `to_dict`."""
        return cls(np.array(state["numbers"]))


def applies(x: Array) -> bool:
    """Whether the columns of x (n, k) are the features of architectures."""
    return bool(x.shape[1] == len(FEATURE_NAMES))


def place(x: Array, z: Array, *, start: Board | None = None) -> Board:
    """The most probable board given features (n, k) and log measures (n,); rows may be outliers.

    Args:
        x: features, columns `FEATURE_NAMES`.
        z: log measures.
        start: where the search begins, such as the board of nearly the same rows.
    """
    counts = _counts(x)
    mean, deviation = prior()
    centre = mean.copy()
    centre[0] += np.median(z - _predict(mean, *counts)[0])  # seconds or joules: nothing is known
    if start is None:
        numbers, weights, noise = centre, np.ones(len(z)), _NOISE
    else:
        numbers = start.numbers
        weights, noise = _trust(z - _predict(numbers, *counts)[0])
    for _ in range(_ROUNDS if start is None else 1):
        numbers = _maximise(numbers, centre, deviation, counts, z, weights / noise**2)
        weights, noise = _trust(z - _predict(numbers, *counts)[0])
    return Board(numbers)


def _trust(residuals: Array) -> tuple[Array, float]:
    """Weights of the rows (n,), and the noise of the ordinary ones."""
    noise = 1.4826 * float(np.median(np.abs(residuals)))
    few = _NOISE / np.sqrt(len(residuals) / 4)  # residuals of few rows are smaller than the noise
    return student_weights(residuals), max(noise, few, _LEAST_NOISE)


def design(x: Array, n: int, *, noise: float = _NOISE) -> list[int]:
    """Rows of x (pool, k) to measure so that the others are predicted best, before any is.

    Greedily, each next one lowers the mean variance over the pool the most (integrated variance;
    Cohn 1996, "Neural network exploration using optimal experiment design"), for the roofline
    linearised at what is believed of boards, plus what no roofline explains.
    """
    mean, deviation = prior()
    _, slopes = _predict(mean, *_counts(x))
    scaled = slopes * np.where(np.isfinite(deviation), deviation, 10.0)
    covariance = scaled @ scaled.T + _misfit(x)
    chosen: list[int] = []
    for _ in range(min(n, len(x))):
        variance = np.diag(covariance)
        gain = (covariance**2).mean(axis=0) / (variance + noise**2)
        gain[chosen] = -np.inf
        best = int(np.argmax(gain))
        chosen.append(best)
        column = covariance[:, best]
        covariance = covariance - np.outer(column, column) / (variance[best] + noise**2)
    return chosen


@lru_cache(maxsize=1)
def prior() -> tuple[Array, Array]:
    """Mean and deviation (4 + kinds,) of a board's log numbers; the scale's is infinite."""
    ridges, launches, fixed = [], [], []
    for device in catalogue().values():
        bandwidth = device.bandwidth_gb_s * 1e9 * device.bandwidth_efficiency
        for precision, peak in device.peak_gflops.items():
            rate = peak * 1e9 * device.efficiency
            values = 4 / BYTES_PER_VALUE[precision]  # bytes are counted as of fp32
            ridges.append(np.log(rate / bandwidth / values))
            launches.append(np.log(device.launch_us * 1e-6 * bandwidth * values))
            fixed.append(np.log(device.overhead_ms * 1e-3 * bandwidth * values))
    means = [float(np.mean(logs)) for logs in (ridges, launches, fixed)]
    spreads = [_WIDER * float(np.std(logs)) for logs in (ridges, launches, fixed)]
    kinds = len(OPERATION_KINDS)
    return (
        np.array([0.0, *means, *[0.0] * kinds]),
        np.array([np.inf, *spreads, *[_BEYOND] * kinds]),
    )


def _counts(x: Array) -> tuple[Array, Array, Array]:
    """MACs, bytes and launches by kind, each (n, kinds)."""
    macs = np.stack([np.zeros(len(x)) if j is None else x[:, j] for j in _MACS], axis=1)
    return macs, x[:, _BYTES], x[:, _LAUNCHES]


def _predict(numbers: Array, macs: Array, moved: Array, launches: Array) -> tuple[Array, Array]:
    """Log measure (n,) and its derivatives by the numbers (n, 4 + kinds)."""
    scale, ridge, launch, fixed = numbers[:_FIXED_COLUMNS]
    beyond = np.exp(numbers[_FIXED_COLUMNS:])
    computed = 2 * macs / np.exp(ridge)
    largest = np.maximum(np.maximum(computed, moved), 1e-30)
    a, b = (computed / largest) ** _CORNER, (moved / largest) ** _CORNER
    roof = largest * (a + b) ** (1 / _CORNER)
    dispatched = np.exp(launch) * launches
    each = beyond * (roof + dispatched)
    total = each.sum(axis=1) + np.exp(fixed)
    slopes = np.column_stack(
        (
            np.ones(len(total)),
            -(beyond * roof * a / (a + b + 1e-300)).sum(axis=1) / total,
            (beyond * dispatched).sum(axis=1) / total,
            np.exp(fixed) / total,
            each / total[:, None],
        )
    )
    return scale + np.log(total), slopes


def _maximise(
    numbers: Array,
    centre: Array,
    deviation: Array,
    counts: tuple[Array, Array, Array],
    z: Array,
    precision: Array,
) -> Array:
    """Gauss and Newton's steps to the maximum of the posterior, damped where one goes wrong."""
    believed = 1 / deviation**2

    def loss(at: Array) -> float:
        residuals = z - _predict(at, *counts)[0]
        return float((precision * residuals**2).sum() + (believed * (at - centre) ** 2).sum())

    reached, damping = loss(numbers), 1e-3
    for _ in range(_STEPS):
        predicted, slopes = _predict(numbers, *counts)
        slope = slopes.T @ (precision * (z - predicted)) - believed * (numbers - centre)
        curvature = slopes.T @ (precision[:, None] * slopes) + np.diag(believed)
        step = np.linalg.solve(curvature + damping * np.diag(np.diag(curvature)), slope)
        step = np.clip(step, -_LONGEST_STEP, _LONGEST_STEP)
        now = loss(numbers + step)
        if now > reached:
            damping *= 10
            if damping > 1e6:
                break
            continue
        numbers, damping = numbers + step, max(damping / 10, 1e-6)
        if reached - now < 1e-4 * max(reached, 1.0):
            break
        reached = now
    return numbers


def _misfit(x: Array, *, size: float = 0.1) -> Array:
    """Covariance (n, n) of what no roofline explains: alike for architectures that are alike."""
    logs = np.log1p(x)
    spread = logs.std(axis=0)
    scaled = logs[:, spread > 0] / spread[spread > 0]
    squares = ((scaled[:, None, :] - scaled[None, :, :]) ** 2).mean(axis=2)
    return np.asarray(size**2 * np.exp(-squares / 2))
