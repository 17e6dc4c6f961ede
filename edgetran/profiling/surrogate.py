"""Predict latency, energy and peak power from features, with intervals that hold.

Per measure, members of different kinds are fitted: Gaussian processes, the additive physical
model, forests, constants; with predictions of other devices at hand also those as a mean. They are
stacked by what each predicted of rows that it had not seen, and intervals are
conformal: quantiles of cross-validated |residual| / deviation (Vovk, Gammerman and Shafer 2005;
Lei et al. 2018, "Distribution-free predictive inference for regression").
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetran.profiling import members
from edgetran.profiling.members import Array, Member
from edgetran.profiling.stacking import Stack, combine
from edgetran.records import write_atomically
from edgetran.space import Architecture, feature_matrix

SCHEMA_VERSION: Final = 2
FEWEST_ROWS: Final = 4
"""With fewer rows nothing can be cross-validated."""

_FOLDS: Final = 10
_FOLDS_OF_MANY: Final = 5
_MANY_ROWS: Final = 100  # a fifth of which is missed by no member
_JUMP: Final = 8.0  # a cost that jumps is no outlier where it can be told: what beats a constant


class SurrogateError(ValueError):
    """Rows that a surrogate cannot be fitted to, or a saved surrogate that cannot be read."""


@dataclass(frozen=True)
class Quality:
    """What cross-validation (shuffled k-fold) says about one measure.

    Attributes:
        mean_error: mean of |predicted / measured - 1|.
        median_error: median of the same.
        p95_error: 95th percentile of the same.
        normalised_mse: mean squared error divided by the square of the largest measure.
        constant_mse: the same for predicting a constant.
        predictable: whether the surrogate beats the constant.
        rows: number of rows.
    """

    mean_error: float
    median_error: float
    p95_error: float
    normalised_mse: float
    constant_mse: float
    predictable: bool
    rows: int

    @property
    def reason(self) -> str | None:
        """Why the measure is not predictable, or None."""
        if self.predictable:
            return None
        return (
            "not predictable: cross-validated error is no better than a constant's "
            f"(normalised MSE {self.normalised_mse:.2g} against {self.constant_mse:.2g}, "
            f"{self.rows} measurements)"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""
        return dict(vars(self))


@dataclass(frozen=True)
class _Model:
    """One fitted measure: its members, how they are stacked and the scores of its calibration."""

    members: tuple[Member, ...]
    stack: Stack
    scores: Array  # sorted cross-validated |residual| / deviation
    quality: Quality

    def predict_log(self, x: Array) -> tuple[Array, Array]:
        both = [member.predict(x) for member in self.members]
        means, deviations = (np.stack(columns, axis=1) for columns in zip(*both, strict=True))
        return self.stack(means), deviations @ self.stack.weights


@dataclass
class Surrogate:
    """Several positive measures as functions of features or architectures.

    Example:
        >>> surrogate = Surrogate().fit(X, Y)           # X (n, k) floats, Y (n,) or (n, m) > 0
        >>> mean, std = surrogate.predict(X_new)        # each (p,) or (p, m), in the unit of Y
        >>> low, high = surrogate.interval(X_new, 0.9)  # holds 90 % of new measurements

    Attributes:
        sequence_length: positions S at which architectures are featurised.
        batch_size: sequences per batch B at which architectures are featurised.
        vocab_size: rows of the word embedding at which architectures are featurised.
        measures: names of the columns of Y, by which priors are matched; () matches by position.
        priors: surrogates of other devices on the same inputs, whose predictions start this one:
            with few rows it leans on them, as far as they help.
        seed: of folds and random subsets.
    """

    sequence_length: int = 128
    batch_size: int = 1
    vocab_size: int = 30522
    measures: tuple[str, ...] = ()
    priors: Sequence[Surrogate] = ()
    seed: int = 0
    _models: tuple[_Model, ...] = field(default=(), repr=False)
    _x: Array = field(default_factory=lambda: np.empty((0, 0)), repr=False)
    _y: Any = field(default=None, repr=False)
    _flat: bool = field(default=True, repr=False)

    def fit(self, x: ArrayLike | Sequence[Architecture], y: ArrayLike) -> Surrogate:
        """Fit to n rows: `x` is (n, k) numbers or n architectures, `y` (n,) or (n, m) > 0.

        Entries of `y` that were not measured may be masked (`numpy.ma`); a measure is fitted on
        the rows that have it.

        Raises:
            SurrogateError: shapes that disagree, NaN or infinity, a measure that is not
                positive, or fewer than four rows.
        """
        matrix = self._matrix(x)
        targets = np.ma.masked_array(y, dtype=np.float64)
        self._flat = targets.ndim == 1
        targets = targets.reshape(len(targets), -1)
        present = ~np.ma.getmaskarray(targets)
        _check(matrix, targets.data, present)
        self._x, self._y = matrix, targets
        self._models = tuple(
            self._fit_measure(matrix[rows], targets.data[rows, j], j)
            for j, rows in enumerate(present.T)
        )
        return self

    def predict(self, x: ArrayLike | Sequence[Architecture]) -> tuple[Array, Array]:
        """Mean and standard deviation of a new measurement, (p,) or (p, m) as `y` was.

        The mean is the median of the predicted log-normal distribution; the deviation is that of
        cross-validated residuals, noise of the measurement included. A measure that is not
        predictable gets the constant that fits best, everywhere.

        Raises:
            SurrogateError: not fitted, or columns that differ from the fitted ones.
        """
        log_mean, deviation = self._log_predictions(x)
        spread = np.stack([_factor(model.scores, 0.6827) for model in self._fitted()])
        mean = np.exp(log_mean)
        return self._shape(mean), self._shape(mean * deviation * spread)

    def interval(
        self, x: ArrayLike | Sequence[Architecture], level: float = 0.9
    ) -> tuple[Array, Array]:
        """Lower and upper bounds, shaped as `predict`'s, that hold a share `level` of new rows.

        Raises:
            SurrogateError: a level outside (0, 1), or as `predict`.
        """
        if not 0 < level < 1:
            raise SurrogateError(f"level: {level!r} is not between 0 and 1")
        log_mean, deviation = self._log_predictions(x)
        half = deviation * np.stack([_factor(model.scores, level) for model in self._fitted()])
        return self._shape(np.exp(log_mean - half)), self._shape(np.exp(log_mean + half))

    def shares(self, measure: int) -> tuple[tuple[str, float], ...]:
        """Kind and share of each member in the stack of one measure (a column of Y), largest first.

        Raises:
            SurrogateError: not fitted.
        """
        model = self._fitted()[measure]
        shares = zip(
            (member.kind for member in model.members), model.stack.weights.tolist(), strict=True
        )
        return tuple(sorted(shares, key=lambda share: -share[1]))

    @property
    def quality(self) -> tuple[Quality, ...]:
        """Cross-validated quality per measure."""
        return tuple(model.quality for model in self._fitted())

    def uncertainty(self, x: ArrayLike | Sequence[Architecture]) -> Array:
        """Mean over the predictable measures of the relative deviation, (p,): what to measure."""
        _, deviation = self._log_predictions(x)
        spread = np.stack([_factor(model.scores, 0.6827) for model in self._fitted()])
        useful = np.array([model.quality.predictable for model in self._fitted()])
        if not useful.any():
            useful[:] = True
        return np.asarray((deviation * spread)[:, useful].mean(axis=1))

    def to_dict(self) -> dict[str, Any]:
        """Everything needed to predict: rows, hyperparameters, shares; plain JSON values."""
        models = self._fitted()
        present = ~np.ma.getmaskarray(self._y)
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": "surrogate",
            "sequence_length": self.sequence_length,
            "batch_size": self.batch_size,
            "vocab_size": self.vocab_size,
            "seed": self.seed,
            "flat": self._flat,
            "measures": list(self.measures),
            "x": self._x.tolist(),
            "y": [
                [value if ok else None for value, ok in zip(row, there, strict=True)]
                for row, there in zip(self._y.data.tolist(), present.tolist(), strict=True)
            ],
            "models": [
                {
                    "members": [member.to_dict() for member in model.members],
                    "stack": model.stack.to_dict(),
                    "scores": model.scores.tolist(),
                    "quality": model.quality.to_dict(),
                }
                for model in models
            ],
            "priors": [prior.to_dict() for prior in self.priors],
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Surrogate:
        """The inverse of `to_dict`: nothing is fitted again.

        Raises:
            SurrogateError: not a surrogate, or one of another schema version.
        """
        version = state.get("schema_version")
        if state.get("kind") != "surrogate" or version != SCHEMA_VERSION:
            raise SurrogateError(
                f"surrogate: kind {state.get('kind')!r} of schema version {version!r} given; "
                f"this version of edgetran reads a surrogate of schema version {SCHEMA_VERSION}"
            )
        surrogate = cls(
            sequence_length=state["sequence_length"],
            batch_size=state["batch_size"],
            vocab_size=state["vocab_size"],
            measures=tuple(state["measures"]),
            priors=tuple(cls.from_dict(prior) for prior in state["priors"]),
            seed=state["seed"],
        )
        x = np.array(state["x"], dtype=np.float64)
        absent = np.array([[value is None for value in row] for row in state["y"]])
        y = np.array([[np.nan if v is None else v for v in row] for row in state["y"]])
        surrogate._x, surrogate._flat = x, state["flat"]
        surrogate._y = np.ma.masked_array(y, mask=absent)
        models = []
        for j, saved in enumerate(state["models"]):
            rows = ~absent[:, j]
            inputs, z, prior = x[rows], np.log(y[rows, j]), surrogate._prior(j)
            models.append(
                _Model(
                    tuple(
                        members.from_dict(member, inputs, z, prior) for member in saved["members"]
                    ),
                    Stack.from_dict(saved["stack"]),
                    np.array(saved["scores"]),
                    Quality(**saved["quality"]),
                )
            )
        surrogate._models = tuple(models)
        return surrogate

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the surrogate to one JSON file, atomically."""
        write_atomically(path, json.dumps(self.to_dict(), allow_nan=False))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Surrogate:
        """Read a file written by `save`.

        Raises:
            SurrogateError: naming the file, where it is not a surrogate of this version.
        """
        try:
            state = json.loads(Path(path).read_text())
            if not isinstance(state, dict):
                raise SurrogateError("not a JSON object")
            return cls.from_dict(state)
        except (KeyError, TypeError, ValueError) as error:
            raise SurrogateError(f"{path}: not a saved surrogate ({error})") from None

    def _matrix(self, x: ArrayLike | Sequence[Architecture]) -> Array:
        if isinstance(x, Sequence) and len(x) > 0 and isinstance(x[0], Architecture):
            return np.asarray(
                feature_matrix(
                    cast(Sequence[Architecture], x),
                    self.sequence_length,
                    self.batch_size,
                    vocab_size=self.vocab_size,
                ),
                dtype=np.float64,
            )
        matrix = np.asarray(x, dtype=np.float64)
        if matrix.ndim != 2:
            raise SurrogateError(f"X: shape {matrix.shape} given, allowed is (rows, columns)")
        return matrix

    def _fitted(self) -> tuple[_Model, ...]:
        if not self._models:
            raise SurrogateError("surrogate: not fitted yet, call fit(X, Y) first")
        return self._models

    def _log_predictions(self, x: ArrayLike | Sequence[Architecture]) -> tuple[Array, Array]:
        models = self._fitted()
        matrix = self._matrix(x)
        if matrix.shape[1] != self._x.shape[1]:
            raise SurrogateError(
                f"X: {matrix.shape[1]} columns given, fitted with {self._x.shape[1]}"
            )
        if not np.isfinite(matrix).all():
            raise SurrogateError("X: holds NaN or infinity")
        both = [model.predict_log(matrix) for model in models]
        return np.stack([m for m, _ in both], axis=1), np.stack([d for _, d in both], axis=1)

    def _shape(self, values: Array) -> Array:
        return values[:, 0] if self._flat else values

    def _prior(self, measure: int) -> members.Prior | None:
        """Log predictions of the other devices' surrogates, (n, number of priors)."""
        sources = []
        for prior in self.priors:
            column = self._column_in(prior, measure)
            if column is not None:
                sources.append(prior._fitted()[column].predict_log)
        return members.Prior(tuple(sources)) if sources else None

    def _column_in(self, prior: Surrogate, measure: int) -> int | None:
        """Which of the prior's measures is this one, None where it has none."""
        if self.measures and prior.measures:
            name = self.measures[measure]
            return prior.measures.index(name) if name in prior.measures else None
        return measure if measure < len(prior._models) else None

    def _fit_measure(self, x: Array, y: Array, measure: int) -> _Model:
        z = np.log(y)
        prior = self._prior(measure)
        fitted = members.fit_all(x, z, prior, seed=self.seed)
        folds = _folds(len(z), self.seed)
        means = np.empty((len(z), len(fitted)))
        deviations = np.empty_like(means)
        constants = np.empty(len(z))
        for fold in folds:
            rest = np.setdiff1d(np.arange(len(z)), fold)
            constants[fold] = np.median(z[rest])
            for k, member in enumerate(fitted):
                again = member.refit(x[rest], z[rest], seed=self.seed)
                means[fold, k], deviations[fold, k] = again.predict(x[fold])
        beliefs = np.array([member.belief for member in fitted])
        stack = combine(means, z, beliefs, constants)
        predicted = stack(means)
        residuals = z - predicted
        if not _beats(residuals, z - constants):
            constant = members.constant(z)
            scores = np.sort(np.abs(z - constants)) / constant.deviation
            quality = _quality(y, predicted, constants, predictable=False)
            return _Model((constant,), Stack("log", np.ones(1)), scores, quality)
        kept = np.flatnonzero(stack.weights)
        stack = Stack(stack.scale, stack.weights[kept])
        deviation = deviations[:, kept] @ stack.weights
        return _Model(
            tuple(fitted[k] for k in kept),
            stack,
            np.sort(np.abs(residuals) / deviation),
            _quality(y, predicted, constants, predictable=True),
        )


def _check(x: Array, y: Array, present: NDArray[np.bool_]) -> None:
    if len(x) != len(y):
        raise SurrogateError(f"Y: {len(y)} rows given for the {len(x)} rows of X")
    bad = np.argwhere(~np.isfinite(x))
    if len(bad):
        row, column = bad[0]
        raise SurrogateError(f"X[{row}, {column}]: {x[row, column]} is not a finite number")
    bad = np.argwhere(present & ~(np.isfinite(y) & (y > 0)))
    if len(bad):
        row, column = bad[0]
        raise SurrogateError(
            f"Y[{row}, {column}]: {y[row, column]} is not a positive number; mask what was not "
            "measured (numpy.ma)"
        )
    rows = int(present.sum(axis=0).min(initial=len(y)))
    if rows < FEWEST_ROWS or y.shape[1] == 0:
        raise SurrogateError(f"Y: {rows} rows given, at least {FEWEST_ROWS} are needed")


def _folds(rows: int, seed: int) -> list[NDArray[np.intp]]:
    order = np.random.default_rng(seed).permutation(rows)
    return np.array_split(order, min(rows, _FOLDS if rows < _MANY_ROWS else _FOLDS_OF_MANY))


def _beats(residuals: Array, constant_residuals: Array) -> bool:
    """Whether squared residuals are smaller than the constant's by more than a standard error."""
    limit = _JUMP * 1.4826 * np.median(np.abs(constant_residuals)) + 1e-12
    gain = (
        np.minimum(np.abs(constant_residuals), limit) ** 2
        - np.minimum(np.abs(residuals), limit) ** 2
    )
    return bool(gain.mean() > gain.std() / np.sqrt(len(gain)))


def _quality(y: Array, log_predicted: Array, constants: Array, *, predictable: bool) -> Quality:
    errors = np.abs(np.exp(log_predicted) / y - 1)
    top = y.max()
    return Quality(
        mean_error=float(errors.mean()),
        median_error=float(np.median(errors)),
        p95_error=float(np.quantile(errors, 0.95)),
        normalised_mse=float((((np.exp(log_predicted) - y) / top) ** 2).mean()),
        constant_mse=float((((np.exp(constants) - y) / top) ** 2).mean()),
        predictable=predictable,
        rows=len(y),
    )


def _factor(scores: Array, level: float) -> float:
    """Conformal factor: the ⌈(n+1)·level⌉-th smallest score, interpolated.

    Beyond the largest score (too few rows for the level) the tail is Student's.
    """
    from scipy.stats import t

    count = len(scores)
    rank = (count + 1) * level
    if rank <= count:
        return float(np.interp(rank, np.arange(1, count + 1), scores))
    reached = count / (count + 1)
    tail = t.ppf((1 + level) / 2, count - 1) / t.ppf((1 + reached) / 2, count - 1)
    return float(scores[-1] * tail)
