"""How well a device's surrogate predicts measurements that it was not fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgetran.api.measures import HARDWARE
from edgetran.profiling import Measurement, Profile, Surrogate, SurrogateError
from edgetran.space import Architecture

_FOLDS: Final = 5


@dataclass(frozen=True)
class Prediction:
    """One measured value and a prediction of it by a surrogate that never saw it.

    Attributes:
        architecture: what was measured.
        measured: the measured value.
        predicted: the prediction.
        stable: whether the measurement was stable.
        finalist: whether it was measured at the end of the run, to compare the finalists.
    """

    architecture: Architecture
    measured: float
    predicted: float
    stable: bool
    finalist: bool

    @property
    def error(self) -> float:
        """The relative error, predicted ÷ measured − 1."""
        return self.predicted / self.measured - 1


@dataclass(frozen=True)
class HeldOut:
    """All predictions of one measure on one device.

    Attributes:
        measure: its name.
        title: its name in words.
        unit: its unit.
        points: the predictions.
    """

    measure: str
    title: str
    unit: str
    points: tuple[Prediction, ...]

    @property
    def mean_error(self) -> float:
        """Mean of |predicted ÷ measured − 1|."""
        return float(np.mean([abs(point.error) for point in self.points]))


def held_out(profile: Profile, final: Profile | None = None, *, seed: int = 0) -> list[HeldOut]:
    """Predictions of each measure that the profile has a surrogate for.

    The profile's own measurements are predicted by shuffled 5-fold cross-validation, those of
    `final` by the profile's surrogate, where the profile does not hold the same architecture.
    A measure with too few measurements to leave a fold out is not there.

    Args:
        profile: the measurements that the surrogate was fitted to.
        final: measurements of the finalists on the same device.
        seed: of the folds.
    """
    found = []
    for measure, title, unit in ((each.name, each.title, each.unit) for each in HARDWARE):
        if measure not in profile.measures:
            continue
        rows = _with(profile.measured, measure)
        try:
            points = _cross_validated(profile, rows, measure, seed)
        except SurrogateError:
            continue
        if final is not None:
            points += _finalists(profile, final, measure)
        found.append(HeldOut(measure, title, unit, tuple(points)))
    return found


def _with(records: Sequence[Measurement], measure: str) -> list[Measurement]:
    return [m for m in records if (getattr(m.figures, measure).value or 0) > 0]


def _values(records: Sequence[Measurement], measure: str) -> NDArray[np.float64]:
    return np.array([getattr(m.figures, measure).value for m in records], dtype=np.float64)


def _cross_validated(
    profile: Profile, rows: Sequence[Measurement], measure: str, seed: int
) -> list[Prediction]:
    architectures, y = [m.architecture for m in rows], _values(rows, measure)
    predicted = np.empty(len(y))
    order = np.random.default_rng(seed).permutation(len(y))
    workload = profile.key.workload
    for fold in np.array_split(order, min(_FOLDS, len(y))):
        rest = np.setdiff1d(order, fold)
        surrogate = Surrogate(
            sequence_length=workload.sequence_length,
            batch_size=workload.batch_size,
            vocab_size=workload.vocab_size,
            seed=seed,
        ).fit([architectures[i] for i in rest], y[rest])
        predicted[fold] = surrogate.predict([architectures[i] for i in fold])[0]
    return _points(rows, y, predicted, finalist=False)


def _finalists(profile: Profile, final: Profile, measure: str) -> list[Prediction]:
    known = {m.architecture.graph_hash for m in profile.measured}
    rows = [m for m in _with(final.measured, measure) if m.architecture.graph_hash not in known]
    if not rows:
        return []
    mean, _ = profile.surrogate.predict([m.architecture for m in rows])
    column = profile.measures.index(measure)
    return _points(rows, _values(rows, measure), mean[:, column], finalist=True)


def _points(
    rows: Sequence[Measurement],
    measured: NDArray[np.float64],
    predicted: NDArray[np.float64],
    *,
    finalist: bool,
) -> list[Prediction]:
    return [
        Prediction(record.architecture, float(value), float(guess), record.stable, finalist)
        for record, value, guess in zip(rows, measured, predicted, strict=True)
    ]
