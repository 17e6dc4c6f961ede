"""Pareto fronts with missing values, non-dominated sorting, crowding and exact hypervolume.

Everything here minimises: arrays of shape (n, m) hold one point per row and one cost per column.
What is better the more there is becomes a cost by its sign (`costs`). A cost that is not known is
NaN and counts as the worst (+∞), so a point is never on the front for want of a reading, and
dominance stays transitive.

Sources: Deb et al. 2002 (NSGA-II: sorting and crowding); While, Bradstreet and Barone 2012 (WFG:
hypervolume by exclusive contributions).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgetran.api.measures import BY_NAME
from edgetran.search.candidates import MEASURES, Measures

FRONT_MEASURES: Final = MEASURES
"""The axes of a search's front: accuracy up; latency, energy, peak power and parameters down."""

Costs = NDArray[np.float64]


def costs(measures: Sequence[Measures], axes: Sequence[str] = FRONT_MEASURES) -> Costs:
    """Costs to minimise, (n, len(axes)); accuracy is negated, unknown values are NaN."""
    rows = [[_cost(row.value(axis), axis) for axis in axes] for row in measures]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(axes))


def dominates(points: Costs, other: Costs) -> NDArray[np.bool_]:
    """Which rows of `points` (n, m) dominate `other` (m,): no cost is higher and one is lower."""
    points, other = _worst_where_unknown(points), _worst_where_unknown(other)
    no_higher: NDArray[np.bool_] = np.all(points <= other, axis=1)
    one_lower: NDArray[np.bool_] = np.any(points < other, axis=1)
    return np.logical_and(no_higher, one_lower)


def pareto_front(points: Costs) -> list[int]:
    """Indices of the rows of `points` (n, m) that no other row dominates, in their order.

    Equal rows do not dominate each other: all of them are on the front.
    """
    return [i for i in range(len(points)) if not dominates(points, points[i]).any()]


def non_dominated_ranks(points: Costs) -> NDArray[np.int64]:
    """Rank of each row of `points` (n, m): 0 on the front, 1 on the front without it, and so on."""
    ranks = np.full(len(points), -1, dtype=np.int64)
    left = np.arange(len(points))
    rank = 0
    while len(left):
        front = left[pareto_front(points[left])]
        ranks[front] = rank
        left = np.setdiff1d(left, front)
        rank += 1
    return ranks


def crowding_distances(points: Costs) -> NDArray[np.float64]:
    """NSGA-II's crowding distance of each row of `points` (n, m); infinite at the extremes."""
    count, axes = points.shape
    distances = np.zeros(count)
    for axis in range(axes):
        column = points[:, axis]
        known = np.flatnonzero(np.isfinite(column))
        if not len(known):
            continue
        order = known[np.argsort(column[known], kind="stable")]
        span = column[order[-1]] - column[order[0]]
        distances[order[[0, -1]]] = np.inf
        if span > 0:
            distances[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / span
    return distances


def hypervolume(points: Costs, reference: Costs) -> float:
    """Exact volume that `points` (n, m) dominate below `reference` (m,); WFG's recursion.

    Points with an unknown cost, or not better than the reference in every cost, add nothing.

    Example:
        >>> hypervolume(np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([2.0, 2.0]))
        3.0
    """
    points = np.asarray(points, dtype=np.float64)
    inside = (points < reference).all(axis=1)  # False for NaN
    kept = np.unique(points[inside], axis=0)
    return _wfg(kept[pareto_front(kept)], np.asarray(reference, dtype=np.float64))


def _wfg(front: Costs, reference: Costs) -> float:
    """Hypervolume of mutually non-dominated rows that lie below `reference`."""
    if len(front) == 0:
        return 0.0
    if front.shape[1] == 1:
        return float(reference[0] - front.min())
    if front.shape[1] == 2:
        return _area(front, reference)
    front = front[np.argsort(-front[:, -1], kind="stable")]  # worst last cost first: small limits
    total = 0.0
    for i, point in enumerate(front):
        limited = np.unique(np.maximum(front[i + 1 :], point), axis=0)
        limited = limited[pareto_front(limited)]
        total += float(np.prod(reference - point)) - _wfg(limited, reference)
    return total


def _area(front: Costs, reference: Costs) -> float:
    order = front[np.lexsort((front[:, 1], front[:, 0]))]
    heights = np.minimum.accumulate(order[:, 1])
    ceilings = np.concatenate(([reference[1]], heights[:-1]))
    return float(((reference[0] - order[:, 0]) * np.maximum(ceilings - heights, 0)).sum())


def _worst_where_unknown(points: Costs) -> Costs:
    return np.where(np.isnan(points), np.inf, points)


def _cost(value: float | None, axis: str) -> float:
    if value is None:
        return float("nan")
    measure = BY_NAME.get(axis)  # a table of the user's own has costs of any name
    return -value if measure is not None and measure.direction == "max" else value
