"""What a profile's prediction is made of: shares per operation, interval, nearest measurements.

Shares come from the additive model of the measured rows: what each kind of operation costs by its
MACs, bytes and launches, all ≥ 0, and a fixed cost of a batch. Where two kinds of operation always
grow together nothing can tell their costs apart, so shares say where time goes, not exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgetran.api.measures import BY_NAME
from edgetran.profiling.additive import contributions, fit_additive
from edgetran.profiling.profile import Profile
from edgetran.space import FEATURE_NAMES, OPERATION_KINDS, Architecture, feature_matrix

LEVEL: Final = 0.9
"""Of the interval."""

FIXED: Final = "fixed"
"""The share that no operation has: what each batch costs whatever the model is."""

_COUNTED: Final = ("macs", "bytes", "launches")


@dataclass(frozen=True)
class Share:
    """What one kind of operation adds.

    Attributes:
        operation: one of `edgetran.space.OPERATION_KINDS`, or `FIXED`.
        share: of the measure, 0 to 1.
        value: in the measure's unit.
    """

    operation: str
    share: float
    value: float


@dataclass(frozen=True)
class Neighbour:
    """A measured architecture near the one that is explained.

    Attributes:
        graph_hash: the architecture.
        distance: root mean square over the features' logarithms, each in units of its deviation
            among the measured; 0 is the same.
        value: what was measured, in the measure's unit.
    """

    graph_hash: str
    distance: float
    value: float


@dataclass(frozen=True)
class Explanation:
    """One measure of one architecture.

    Attributes:
        measure: its name, with the unit.
        unit: ms, mJ or W.
        value: the prediction.
        low: of the interval.
        high: of the interval.
        level: share of new measurements that such intervals hold.
        reason: why the measure is not predictable; None where it is.
        shares: largest first; they add up to 1. Empty for a measure that does not add up, such as
            power, or that is not predictable.
        additive_value: what the additive model alone says; far from `value`, the shares tell less.
        members: share of each member of the stack, by kind, largest first.
        nearest: measured architectures, nearest first.
        measured: what was measured of this very architecture; None where it was not.
    """

    measure: str
    unit: str
    value: float
    low: float
    high: float
    level: float
    reason: str | None
    shares: tuple[Share, ...]
    additive_value: float | None
    members: tuple[tuple[str, float], ...]
    nearest: tuple[Neighbour, ...]
    measured: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        data = dict(vars(self))
        data["shares"] = [dict(vars(share)) for share in self.shares]
        data["nearest"] = [dict(vars(neighbour)) for neighbour in self.nearest]
        data["members"] = dict(self.members)
        return data


def explain(
    profile: Profile, architecture: Architecture, *, level: float = LEVEL, nearest: int = 3
) -> list[Explanation]:
    """One explanation per measure that the profile predicts.

    Args:
        profile: of the device.
        architecture: any, measured or not.
        level: of the interval.
        nearest: how many measured architectures to name.

    Raises:
        ProfilingError: fewer than four architectures were measured.
        SurrogateError: a level outside (0, 1).
    """
    surrogate, measured = profile.surrogate, profile.measured
    workload = profile.key.workload
    rows = feature_matrix(
        [*(m.architecture for m in measured), architecture],
        workload.sequence_length,
        workload.batch_size,
        vocab_size=workload.vocab_size,
    )
    mean, _ = surrogate.predict([architecture])
    low, high = surrogate.interval([architecture], level)
    distances = _distances(rows)
    explanations = []
    for j, name in enumerate(profile.measures):
        values = np.array(
            [getattr(m.figures, name).value or np.nan for m in measured], dtype=np.float64
        )
        quality = surrogate.quality[j]
        shares, additive_value = (
            _shares(rows, values, float(mean[0, j]))
            if quality.predictable and BY_NAME[name].summable
            else ((), None)
        )
        order = [i for i in np.argsort(distances, kind="stable") if np.isfinite(values[i])]
        same = [
            value
            for value, m in zip(values, measured, strict=True)
            if m.architecture.graph_hash == architecture.graph_hash and np.isfinite(value)
        ]
        explanations.append(
            Explanation(
                measure=name,
                unit=BY_NAME[name].unit,
                value=float(mean[0, j]),
                low=float(low[0, j]),
                high=float(high[0, j]),
                level=level,
                reason=quality.reason,
                shares=shares,
                additive_value=additive_value,
                members=surrogate.shares(j),
                nearest=tuple(
                    Neighbour(
                        measured[i].architecture.graph_hash, float(distances[i]), float(values[i])
                    )
                    for i in order[:nearest]
                ),
                measured=float(same[0]) if same else None,
            )
        )
    return explanations


def _distances(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each row but the last to the last."""
    logs = np.log1p(rows)
    spread = logs[:-1].std(axis=0)
    varying = spread > 0
    steps = (logs[:-1, varying] - logs[-1, varying]) / spread[varying]
    return np.asarray(np.sqrt((steps**2).mean(axis=1)) if varying.any() else np.zeros(len(steps)))


def _shares(
    rows: NDArray[np.float64], values: NDArray[np.float64], predicted: float
) -> tuple[tuple[Share, ...], float | None]:
    """Shares of the last of `rows` by a model of the others, and what that model says of it."""
    names = [
        (kind, f"{counted}_{kind}")
        for kind in OPERATION_KINDS
        for counted in _COUNTED
        if f"{counted}_{kind}" in FEATURE_NAMES
    ]
    chosen = rows[:, [FEATURE_NAMES.index(name) for _, name in names]]
    present = np.isfinite(values)
    model = fit_additive(chosen[:-1][present], values[present], products=False)
    if model is None:
        return (), None
    parts = (contributions(chosen[-1:], model.columns, False) / model.scales) * model.coefficients
    by_kind: dict[str, float] = {FIXED: float(parts[0, 0])}
    for column, part in zip(model.columns, parts[0, 1:], strict=True):
        kind = names[column][0]
        by_kind[kind] = by_kind.get(kind, 0.0) + float(part)
    total = sum(by_kind.values())
    if not total > 0:
        return (), None
    shares = [Share(kind, part / total, part / total * predicted) for kind, part in by_kind.items()]
    shares = [share for share in shares if share.share > 0]
    return tuple(sorted(shares, key=lambda share: -share.share)), total
