"""Gaussian-process regression for tens to hundreds of rows, with a heavy-tailed view of noise.

Kernel: k(x, x') = b² + a² x·x'/d + s² M(|x - x'| / ℓ), M = Matérn 5/2, plus noise σ²/w_i on the
diagonal (Rasmussen and Williams, *Gaussian Processes for Machine Learning*, eq. 4.17 and 5.9).
Hyperparameters maximise the posterior under broad log-normal priors. The weights w_i are those
of a Student-t likelihood, so that a few rows measured in a bad moment do not bend the curve.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize

Array = NDArray[np.float64]

_ROUNDS: Final = 3  # of weighing the rows
_SEARCHES: Final = 2  # of the hyperparameters, in the first rounds
_BIAS_VARIANCE: Final = 10.0  # targets are standardised, so their mean is within ±3 of zero
_JITTER: Final = 1e-8
_MAX_ITERATIONS: Final = 40
_ROWS_FOR_HYPERPARAMETERS: Final = 256  # the cost is cubic; a few numbers need no more rows
_LEAST_FREEDOM: Final = 0.3  # with nearly as many coefficients as rows, residuals tell nothing
_SMALLEST_SCALE: Final = 1e-4  # of log measures: no clock is better
STUDENT_DEGREES: Final = 4.0  # usual for robust regression (Lange, Little and Taylor 1989)


@dataclass(frozen=True)
class GaussianProcess:
    """A fitted process; make one by `fit_gaussian_process`.

    Attributes:
        theta: log a, log s, log ℓ (one, or one per column), log σ, for standardised targets.
        x: training inputs (n, d), columns of comparable scale.
        z: training targets (n,).
        weights: relative precision w_i of each training target (n,).
    """

    theta: Array
    x: Array
    z: Array
    weights: Array

    def __post_init__(self) -> None:
        scale = float(self.z.std()) or 1.0
        standardised = (self.z - self.z.mean()) / scale
        kernel = _kernel(self.x, self.x, self.theta) + _BIAS_VARIANCE
        kernel[np.diag_indices_from(kernel)] += _noise(self.theta, self.weights)
        factor = cho_factor(kernel, lower=True)
        object.__setattr__(self, "_scale", scale)
        object.__setattr__(self, "_centre", float(self.z.mean()))
        object.__setattr__(self, "_factor", factor)
        object.__setattr__(self, "_alpha", cho_solve(factor, standardised))

    _scale: float = 1.0
    _centre: float = 0.0
    _factor: Any = None
    _alpha: Any = None

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Mean (m,) and standard deviation (m,) of new targets, noise included, at `x` (m, d)."""
        cross = _kernel(x, self.x, self.theta) + _BIAS_VARIANCE
        mean = cross @ self._alpha
        half = solve_triangular(self._factor[0], cross.T, lower=True)
        linear, matern = np.exp(2 * self.theta[0]), np.exp(2 * self.theta[1])
        prior = _BIAS_VARIANCE + linear * (x**2).sum(axis=1) / x.shape[1] + matern
        variance = prior - (half**2).sum(axis=0) + np.exp(2 * self.theta[-1])
        floor = np.exp(2 * self.theta[-1])
        return (
            mean * self._scale + self._centre,
            np.sqrt(np.maximum(variance, floor)) * self._scale,
        )

    @property
    def noise(self) -> float:
        """Standard deviation of the noise of a row of weight 1, in the targets' unit."""
        return float(np.exp(self.theta[-1])) * self._scale

    def with_rows(self, x: Array, z: Array) -> GaussianProcess:
        """The same process with further rows `x` (m, d) and targets `z` (m,)."""
        return GaussianProcess(
            self.theta,
            np.vstack([self.x, x]),
            np.concatenate([self.z, z]),
            np.concatenate([self.weights, np.ones(len(z))]),
        )

    def leave_one_out(self) -> tuple[Array, Array]:
        """Residuals (n,) and deviations (n,) when each row is left out (eq. 5.12)."""
        inverse = cho_solve(self._factor, np.eye(len(self.z)))
        diagonal = np.diag(inverse)
        return self._alpha / diagonal * self._scale, np.sqrt(1 / diagonal) * self._scale

    def to_dict(self) -> dict[str, Any]:
        """Hyperparameters and weights; the rows themselves are kept by the owner."""
        return {"theta": self.theta.tolist(), "weights": self.weights.tolist()}


def fit_gaussian_process(
    x: Array,
    z: Array,
    *,
    per_column: bool = False,
    theta: Array | None = None,
    search: bool = True,
    robust: bool = True,
    seed: int = 0,
    rows: int = _ROWS_FOR_HYPERPARAMETERS,
) -> GaussianProcess:
    """Fit hyperparameters and robust weights to inputs `x` (n, d) and targets `z` (n,).

    Args:
        x: inputs, columns of comparable scale.
        z: targets.
        per_column: one length scale per column (automatic relevance determination).
        theta: where the search for hyperparameters starts.
        search: False takes `theta`, where there is one, as it is.
        robust: False takes every row at its word, as is right where costs jump.
        seed: which rows serve the hyperparameters where there are more than enough.
        rows: how many are enough.
    """
    weights = np.ones(len(z))
    if theta is None or search:
        theta = _maximise(x, z, weights, per_column, seed, theta, rows)
    if not robust:
        return GaussianProcess(theta, x, z, weights)
    for round_ in range(_ROUNDS):
        if search and 0 < round_ < _SEARCHES:
            theta = _maximise(x, z, weights, per_column, seed, theta, rows)
        process = GaussianProcess(theta, x, z, weights)
        residuals, deviations = process.leave_one_out()
        # A row's own down-weighted noise must not excuse its residual: compare with w = 1.
        noise = np.exp(2 * theta[-1]) * process._scale**2
        honest = np.sqrt(np.maximum(deviations**2 - noise / weights + noise, noise))
        weights = student_weights(residuals / honest)
    return process


def student_weights(residuals: Array, freedom: float = 1.0) -> Array:
    """Weights in (0, 1] of a Student-t likelihood whose scale is a robust one (MAD).

    Args:
        residuals: (n,), of one scale.
        freedom: share of the rows not used up by fitted coefficients.
    """
    scale = 1.4826 * np.median(np.abs(residuals)) / np.sqrt(max(freedom, _LEAST_FREEDOM))
    scaled = residuals / max(scale, _SMALLEST_SCALE)
    return np.asarray(np.minimum((STUDENT_DEGREES + 1) / (STUDENT_DEGREES + scaled**2), 1.0))


def _noise(theta: Array, weights: Array) -> Array:
    return np.asarray(np.exp(2 * theta[-1]) / weights + _JITTER)


def _distances(a: Array, b: Array) -> Array:
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None, :] - 2 * a @ b.T
    return np.asarray(np.maximum(squares, 0.0))


def _kernel(a: Array, b: Array, theta: Array) -> Array:
    lengths = np.exp(theta[2:-1])
    scaled = np.sqrt(5 * _distances(a / lengths, b / lengths))
    matern = (1 + scaled + scaled**2 / 3) * np.exp(-scaled)
    linear = np.exp(2 * theta[0]) * (a @ b.T) / a.shape[1]
    return np.asarray(linear + np.exp(2 * theta[1]) * matern)


def _prior(columns: int, per_column: bool) -> tuple[Array, Array]:
    """Mean and deviation of the log-normal priors, for standardised columns and targets."""
    lengths = columns if per_column else 1
    typical = np.log(np.sqrt(columns)) + 0.5  # distances of standardised rows grow like √d
    mean = np.array([0.0, -1.0] + [typical] * lengths + [-2.0])
    return mean, np.array([1.5, 1.5] + [1.0] * lengths + [1.5])


def _maximise(
    x: Array,
    z: Array,
    weights: Array,
    per_column: bool,
    seed: int,
    start: Array | None,
    rows: int,
) -> Array:
    """Hyperparameters of the highest posterior density (equations 5.8 and 5.9)."""
    if len(z) > rows:
        chosen = np.random.default_rng(seed).choice(len(z), rows, replace=False)
        x, z, weights = x[chosen], z[chosen], weights[chosen]
    z = (z - z.mean()) / (float(z.std()) or 1.0)
    mean, deviation = _prior(x.shape[1], per_column)
    linear = x @ x.T / x.shape[1]
    isotropic = _distances(x, x)
    identity = np.eye(len(z))

    def loss(theta: Array) -> tuple[float, Array]:
        lengths = np.exp(-2 * theta[2:-1])
        scales = np.sqrt(lengths)
        squares = _distances(x * scales, x * scales) if per_column else lengths[0] * isotropic
        scaled = np.sqrt(5 * squares)
        decay = np.exp(-scaled)
        a2, s2, noise = np.exp(2 * theta[0]), np.exp(2 * theta[1]), np.exp(2 * theta[-1]) / weights
        smooth = s2 * (1 + scaled + scaled**2 / 3) * decay
        kernel = _BIAS_VARIANCE + a2 * linear + smooth
        kernel[np.diag_indices_from(kernel)] += noise + _JITTER
        try:
            factor = cho_factor(kernel, lower=True)
        except LinAlgError:
            return 1e10, np.zeros_like(theta)
        alpha = cho_solve(factor, z)
        outer = np.outer(alpha, alpha) - cho_solve(factor, identity)
        slope = s2 * 5 / 3 * (1 + scaled) * decay
        pulls = outer * slope
        # Σ_ij P_ij (x_ik − x_jk)² for every column k at once, P symmetric
        by_length = (
            lengths * 2 * (pulls.sum(axis=1) @ x**2 - (x * (pulls @ x)).sum(axis=0))
            if per_column
            else [lengths[0] * (pulls * isotropic).sum()]
        )
        gradient = -0.5 * np.array(
            [
                2 * a2 * (outer * linear).sum(),
                2 * (outer * smooth).sum(),
                *by_length,
                2 * (np.diag(outer) * noise).sum(),
            ]
        )
        pull = (theta - mean) / deviation
        value = 0.5 * z @ alpha + np.log(np.diag(factor[0])).sum() + 0.5 * (pull**2).sum()
        return float(value), gradient + pull / deviation

    bounds = list(zip(mean - 4 * deviation, mean + 4 * deviation, strict=True))
    result = minimize(
        loss,
        mean if start is None else start,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": _MAX_ITERATIONS},
    )
    return np.asarray(result.x, dtype=np.float64)
