"""The multiple-choice knapsack: one choice of each group, within all limits, at the least loss.

Solved by dynamic programming over the groups. What is kept of the choices made so far are those
that no other beats in loss and in every cost, so that the answer is exact as long as they are at
most `MOST_STATES`; beyond, the best of each cell of a grid over the costs is kept. Costs are never
rounded, so no answer breaks a limit. ZipLM (Kurtic et al., arXiv 2302.04089) does the same for one
cost on a grid of time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

MOST_STATES: Final = 2048
"""Partial choices kept from one group to the next: with a dozen groups the loss given away by the
grid is far below what a calibration set can tell."""

_EXACT_COMPARISONS: Final = 3000
"""Up to so many states, each is compared with every other where there are several costs."""


@dataclass(frozen=True)
class Group:
    """The choices of one part.

    Attributes:
        costs: of every choice in every unit of cost, shape (k, m).
        losses: of every choice, shape (k,).
    """

    costs: Values
    losses: Values


@dataclass(frozen=True)
class _States:
    costs: Values  # (n, m)
    losses: Values  # (n,)
    choices: NDArray[np.int64]  # (n, groups so far)

    def take(self, rows: NDArray[np.int64]) -> _States:
        return _States(self.costs[rows], self.losses[rows], self.choices[rows])


def solve(groups: Sequence[Group], limits: Values) -> tuple[int, ...] | None:
    """The index of the choice of each group, or None where the cheapest break a limit.

    The sum over groups of the losses is the least of all that keep, for each cost, the sum of the
    costs at or below its limit.

    Args:
        groups: at least one choice each, all with the same number m of costs.
        limits: shape (m,).
    """
    cheapest = np.array([group.costs.min(axis=0) for group in groups])
    rest = np.vstack([np.cumsum(cheapest[::-1], axis=0)[::-1], np.zeros(len(limits))])
    slack = 1e-9 * np.maximum(np.abs(limits), 1e-12)  # sums of floats in another order
    states = _States(np.zeros((1, len(limits))), np.zeros(1), np.zeros((1, 0), dtype=np.int64))
    for number, group in enumerate(groups):
        states = _extended(states, group, limits + slack - rest[number + 1])
        if not len(states.losses):
            return None
        states = _unbeaten(states, limits)
    best = int(np.argmin(states.losses))
    return tuple(int(choice) for choice in states.choices[best])


def _extended(states: _States, group: Group, limits: Values) -> _States:
    """Every state with every choice of a group that keeps the limits."""
    costs = states.costs[:, None, :] + group.costs[None, :, :]  # (n, k, m)
    kept, choice = np.nonzero((costs <= limits).all(axis=2))
    return _States(
        costs[kept, choice],
        states.losses[kept] + group.losses[choice],
        np.column_stack([states.choices[kept], choice]),
    )


def _unbeaten(states: _States, limits: Values) -> _States:
    """States that no other beats in everything, thinned by a grid where there are too many."""
    order = np.lexsort((*states.costs.T[::-1], states.losses))  # the least loss first
    states = states.take(order)
    if states.costs.shape[1] == 1:
        cost = states.costs[:, 0]
        lowest = np.minimum.accumulate(cost)
        first = np.concatenate([[True], cost[1:] < lowest[:-1]])
        states = states.take(np.flatnonzero(first))
    elif len(states.losses) <= _EXACT_COMPARISONS:
        states = states.take(_pareto(states.costs))
    if len(states.losses) <= MOST_STATES:
        return states
    return states.take(_thinned(states.costs, limits))


def _pareto(costs: Values) -> NDArray[np.int64]:
    """Rows, given by rising loss, that are not beaten in all costs by an earlier one."""
    kept: list[int] = []
    for row, cost in enumerate(costs):
        if not kept or not (costs[kept] <= cost).all(axis=1).any():
            kept.append(row)
    return np.array(kept, dtype=np.int64)


def _thinned(costs: Values, limits: Values) -> NDArray[np.int64]:
    """The first row, the one of least loss, of each cell of a grid over the costs."""
    size = costs.shape[1]
    cells = max(2, int(MOST_STATES ** (1 / size)))
    low = costs.min(axis=0)
    span = np.maximum(costs.max(axis=0) - low, 1e-12 * np.maximum(np.abs(limits), 1e-12))
    cell = np.minimum((costs - low) / span * cells, cells - 1).astype(np.int64)
    keys = np.ravel_multi_index(tuple(cell.T), (cells,) * size)
    _, first = np.unique(keys, return_index=True)
    cheapest = np.argmin(costs, axis=0)  # never lose what alone may keep the limits
    return np.unique(np.concatenate([first, cheapest]))
