"""The members of a surrogate's ensemble: one measure as a function of features.

A member is a base (a constant, the additive physical model, a roofline about whose numbers
something is believed beforehand, or other devices' predictions) plus a Gaussian process on
transformed features for what the base leaves over; or a forest, for devices whose cost jumps, as
where a kind of operation falls back to slower code. Most see the logarithm of the measure; those
`…-linear` the measure itself and the features as they are, which is right where noise does not grow
with the measure. Each predicts the logarithm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgetran.profiling.additive import Additive, fit_additive
from edgetran.profiling.board import Board, applies, place
from edgetran.profiling.forest import TREES, Forest, fit_forest
from edgetran.profiling.gaussian_process import GaussianProcess, fit_gaussian_process
from edgetran.space import FEATURE_NAMES, SUMMARY_FEATURES

Array = NDArray[np.float64]

_RAW_UP_TO: Final = 12  # columns: so few are raw sizes, which cost by their products
_REFIT_HYPERPARAMETERS_UP_TO: Final = 24  # rows: in folds of more, a left-out row moves them little
_SMALLEST_DEVIATION: Final = 1e-3  # of a log measure; intervals are calibrated on top of it
_FOREST_UP_TO: Final = 256  # rows: with more the processes know the jumps too, and trees take time
_TREES_IN_FOLDS: Final = 10  # enough to tell how good a forest is
_FAR: Final = 4.0  # robust deviations from the median, beyond which a row is cut off in the mean
_LEAST_SHARE: Final = 0.5  # of the smallest measure: a straight line may go below zero
_SUMMARISED: Final = ("additive", "additive+process", "forest")
_BELIEFS: Final[Mapping[str, float]] = {  # from the published tables; 1 where a kind is not named
    "board": 1.5,
    "board+process": 2.0,
    "process-linear": 2.0,
    "forest": 1.5,
    "forest-linear": 1.5,
    "additive": 0.2,
    "additive+process": 0.2,
    "constant": 0.05,
    "average": 0.1,
}
_PRIOR_RIDGE: Final = 4.0  # rows' worth of belief that devices differ by a factor only


@dataclass(frozen=True)
class Prior:
    """Other devices' log predictions: functions from inputs (n, k) to mean and deviation (n,)."""

    sources: tuple[Callable[[Array], tuple[Array, Array]], ...]

    def __call__(self, x: Array) -> Array:
        """Log predictions (n, number of devices)."""
        return np.stack([source(x)[0] for source in self.sources], axis=1)


@dataclass(frozen=True)
class Scaling:
    """Signed logarithm of each column relative to its typical size, then standardised.

    Without `sizes` the columns are standardised as they are.
    """

    columns: tuple[int, ...]
    sizes: Array | None
    means: Array
    deviations: Array

    def __call__(self, x: Array) -> Array:
        """Inputs (n, k) to comparable columns (n, d)."""
        chosen = x[:, self.columns]
        if self.sizes is not None:
            chosen = _signed_log(chosen, self.sizes)
        return (chosen - self.means) / self.deviations

    @classmethod
    def of(cls, x: Array, *, logarithmic: bool = True) -> Scaling:
        """Fit to the training rows; constant columns are left out."""
        magnitude = np.abs(x)
        varying = np.ptp(x, axis=0) > 1e-9 * magnitude.max(axis=0, initial=0.0)
        columns = tuple(int(j) for j in np.flatnonzero(varying))
        chosen = x[:, columns]
        if not logarithmic:
            return cls(columns, None, chosen.mean(axis=0), chosen.std(axis=0))
        counts = np.count_nonzero(chosen, axis=0)
        sizes = np.abs(chosen).sum(axis=0) / np.maximum(counts, 1)
        logs = _signed_log(chosen, sizes)
        return cls(columns, sizes, logs.mean(axis=0), logs.std(axis=0))

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, for JSON."""
        return {
            "columns": list(self.columns),
            "sizes": None if self.sizes is None else self.sizes.tolist(),
            "means": self.means.tolist(),
            "deviations": self.deviations.tolist(),
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Scaling:
        """The inverse of `to_dict`."""
        return cls(
            tuple(state["columns"]),
            None if state["sizes"] is None else np.array(state["sizes"]),
            np.array(state["means"]),
            np.array(state["deviations"]),
        )


_KNEE: Final = 0.1  # of a typical size: below it the logarithm turns linear, so that 0 stays finite


def _signed_log(x: Array, sizes: Array) -> Array:
    return np.sign(x) * np.log1p(np.abs(x) / (_KNEE * sizes))


@dataclass(frozen=True)
class Transfer:
    """Other devices' log predictions as a linear mean: intercept + Σ slope · prediction."""

    prior: Prior
    intercept: float
    slopes: Array

    def predict(self, x: Array) -> Array:
        """Log mean (n,)."""
        return self.intercept + self.prior(x) @ self.slopes

    @classmethod
    def of(cls, prior: Prior, x: Array, z: Array) -> Transfer:
        """Ridge regression towards equal slopes that add up to one."""
        logs = prior(x)
        believed = np.full(logs.shape[1], 1 / logs.shape[1])
        centre, offset = logs.mean(axis=0), (z - logs @ believed).mean()
        deviations = logs - centre
        strength = _PRIOR_RIDGE * max(float(deviations.var(axis=0).mean()), 1e-12)
        step = np.linalg.solve(
            deviations.T @ deviations + strength * np.eye(len(believed)),
            deviations.T @ (z - logs @ believed - offset),
        )
        slopes = believed + step
        return cls(prior, float(z.mean() - centre @ slopes), slopes)


@dataclass(frozen=True)
class Member:
    """A base plus a process on `scaling(x)`, or a forest as its base; `kind` names the base.

    Attributes:
        kind: its name; those that end in `-linear` see the measure, the others its log.
        base: what is predicted before the process.
        scaling: of the process's inputs.
        process: of what the base leaves over.
        centre: of a constant: what it predicts, log.
        deviation: of a member without a process, log.
        least: a measure is never predicted below it; 0 for members that see the log.
    """

    kind: str
    base: Additive | Board | Transfer | Forest | None
    scaling: Scaling | None
    process: GaussianProcess | None
    centre: float = 0.0
    deviation: float = 0.0
    least: float = 0.0

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Mean and deviation (n,) of the log measure."""
        mean, deviation = self._predict(x[:, : width(self.kind, x)])
        if not self.linear:
            return mean, deviation
        mean = np.maximum(mean, self.least)
        return np.log(mean), deviation / mean

    @property
    def linear(self) -> bool:
        """Whether it sees the measure itself."""
        return self.kind.endswith("-linear")

    def _predict(self, x: Array) -> tuple[Array, Array]:
        if isinstance(self.base, Forest):
            return self.base.predict(x), self.base.deviation(x, relative=self.linear)
        if self.process is None or self.scaling is None:
            mean = self.base.predict(x) if self.base else np.full(len(x), self.centre)
            return mean, np.full(len(x), self.deviation)
        mean, deviation = self.process.predict(self.scaling(x))
        return (mean + self.base.predict(x) if self.base else mean), deviation

    def refit(self, x: Array, z: Array, *, seed: int) -> Member:
        """The same member on other rows, for cross-validation."""
        theta = self.process.theta if self.process is not None else None
        prior = self.base.prior if isinstance(self.base, Transfer) else None
        again = (
            len(z) <= _REFIT_HYPERPARAMETERS_UP_TO
            and not self.linear
            and not isinstance(self.base, Board)  # which leaves little over
        )
        member = _fit(
            self.kind,
            x,
            z,
            prior,
            seed=seed,
            theta=theta,
            search=again,
            trees=_TREES_IN_FOLDS,
            start=self.base if isinstance(self.base, Board) else None,
        )
        return member or constant(z)

    @property
    def belief(self) -> float:
        """What share it deserves, relative to the others, before any row is seen."""
        return _BELIEFS.get(self.kind, 1.0)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the training rows and the prior, for JSON."""
        base: dict[str, Any] | None = None
        if isinstance(self.base, Additive | Board | Forest):
            base = self.base.to_dict()
        elif isinstance(self.base, Transfer):
            base = {"intercept": self.base.intercept, "slopes": self.base.slopes.tolist()}
        return {
            "kind": self.kind,
            "base": base,
            "scaling": self.scaling.to_dict() if self.scaling else None,
            "process": self.process.to_dict() if self.process else None,
            "centre": self.centre,
            "deviation": self.deviation,
            "least": self.least,
        }


def width(kind: str, x: Array) -> int:
    """How many of the first columns of the features (n, k) a member sees.

    What sums up many small costs, or splits by one cost at a time, is led astray by columns that
    say the same again; a process makes one distance of them all.
    """
    every = x.shape[1]
    return SUMMARY_FEATURES if every == len(FEATURE_NAMES) and kind in _SUMMARISED else every


def from_dict(state: Mapping[str, Any], x: Array, z: Array, prior: Prior | None) -> Member:
    """Rebuild a member from `Member.to_dict` and its training rows.

    Nothing is searched for again; a forest is grown again from its rows and its seed.
    """
    kind = state["kind"]
    x = x[:, : width(kind, x)]
    target = np.exp(z) if kind.endswith("-linear") else z
    numbers = (state["centre"], state["deviation"], state["least"])
    if kind.startswith("forest"):
        return Member(kind, fit_forest(x, target, seed=state["base"]["seed"]), None, None, *numbers)
    base: Additive | Board | Transfer | None = None
    if kind.startswith(("additive", "products")):
        base = Additive.from_dict(state["base"])
    elif kind.startswith("board"):
        base = Board.from_dict(state["base"])
    elif kind == "transfer" and prior is not None:
        base = Transfer(prior, state["base"]["intercept"], np.array(state["base"]["slopes"]))
    if state["process"] is None:
        return Member(kind, base, None, None, *numbers)
    scaling = Scaling.from_dict(state["scaling"])
    process = GaussianProcess(
        np.array(state["process"]["theta"]),
        scaling(x),
        target - base.predict(x) if base else target,
        np.array(state["process"]["weights"]),
    )
    return Member(kind, base, scaling, process, *numbers)


def constant(z: Array) -> Member:
    """The same prediction everywhere: the median."""
    return Member("constant", None, None, None, float(np.median(z)), float(z.std()) or 1e-6)


def average(z: Array) -> Member:
    """The same prediction everywhere: the mean without far outliers, right where noise is skew."""
    y = np.exp(z)
    middle = float(np.median(y))
    reach = _FAR * 1.4826 * float(np.median(np.abs(y - middle)))
    kept = np.clip(y, max(middle - reach, float(y.min())), middle + reach)
    return Member("average", None, None, None, float(np.log(kept.mean())), float(z.std()) or 1e-6)


def fit_all(x: Array, z: Array, prior: Prior | None, *, seed: int) -> list[Member]:
    """Every member that these inputs (n, k) and log measures (n,) allow; at least the constant."""
    kinds = ["process", "additive", "additive+process", "process-linear"]
    if x.shape[1] <= _RAW_UP_TO:
        kinds += ["process-per-column", "products", "products+process"]
    elif len(z) <= _FOREST_UP_TO:
        kinds += ["forest", "forest-linear"]
    if applies(x):
        kinds += ["board", "board+process"]
    if prior is not None:
        kinds.append("transfer")
    fitted = [_fit(kind, x, z, prior, seed=seed) for kind in (*kinds, "constant", "average")]
    return [member for member in fitted if member is not None] or [constant(z)]


def _fit(
    kind: str,
    x: Array,
    z: Array,
    prior: Prior | None,
    *,
    seed: int,
    theta: Array | None = None,
    search: bool = True,
    trees: int = TREES,
    start: Board | None = None,
) -> Member | None:
    linear = kind.endswith("-linear")
    x = x[:, : width(kind, x)]
    scaling = Scaling.of(x, logarithmic=not linear)
    if not scaling.columns:
        return None
    if kind in ("constant", "average"):
        return constant(z) if kind == "constant" else average(z)
    target = np.exp(z) if linear else z
    least = _LEAST_SHARE * float(target.min()) if linear else 0.0
    if kind.startswith("forest"):
        return Member(kind, fit_forest(x, target, seed=seed, trees=trees), None, None, least=least)
    base: Additive | Board | Transfer | None = None
    if kind.startswith(("additive", "products", "board")):
        if kind.startswith("board"):
            base = place(x, z, start=start)
        else:
            base = fit_additive(x, np.exp(z), products=kind.startswith("products"))
        if base is None:
            return None
        if not kind.endswith("+process"):
            residuals = z - base.predict(x)
            deviation = max(1.4826 * float(np.median(np.abs(residuals))), _SMALLEST_DEVIATION)
            return Member(kind, base, None, None, deviation=deviation)
    elif kind == "transfer" and prior is not None:
        base = Transfer.of(prior, x, z)
    inputs = scaling(x)
    per_column = kind == "process-per-column"
    if theta is not None and len(theta) != 3 + (inputs.shape[1] if per_column else 1):
        theta = None  # a column became constant in this fold
    process = fit_gaussian_process(
        inputs,
        target - base.predict(x) if base else target,
        per_column=per_column,
        theta=theta,
        search=search or theta is None,
        robust=not linear,
        seed=seed,
    )
    return Member(kind, base, scaling, process, least=least)
