"""One point of a front, by a stated rule."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgetran.search.candidates import Measures
from edgetran.search.objective import Objective


def pick(front: Sequence[Measures], objective: Objective) -> int:
    """Index of the point of `front` that the objective's rule picks; of equals the first.

    - `knee`: the point farthest from the plane through the front's ends (Das 1999). Every axis is
      scaled from its worst to its best value on the front, costs on the objective's scale.
    - `weights`: the point with the highest weighted sum.
    - `budget`: the most accurate point within the budget; where none is, the one that exceeds it
      least, costs as multiples of the budget.

    Args:
        front: at least one point; every axis of the objective is known of each.
        objective: axes, rule, weights and budget.
    """
    if objective.pick == "weights":
        values = [objective.value(point) for point in front]
        return int(np.argmax([-np.inf if value is None else value for value in values]))
    if objective.pick == "budget":
        accuracy = np.array([point.accuracy.value or 0.0 for point in front])
        over = np.array([_over(point, objective) for point in front])
        return int(np.lexsort((-accuracy, over))[0])
    gains = _gains(front, objective)
    span = gains.max(axis=0) - gains.min(axis=0)
    scaled = (gains - gains.min(axis=0)) / np.where(span > 0, span, 1.0)
    return int(np.argmax(scaled.sum(axis=1)))


def _over(point: Measures, objective: Objective) -> float:
    excess = [
        np.inf if (value := point.value(name)) is None else max(0.0, value / most - 1)
        for name, most in objective.budget.items()
    ]
    return float(max(excess, default=0.0))


def _gains(front: Sequence[Measures], objective: Objective) -> NDArray[np.float64]:
    """The higher the better, (points, axes)."""
    return np.array(
        [
            [
                (point.accuracy.value or 0.0)
                if axis == "accuracy"
                else objective.ranges[axis].term(point.value(axis) or 0.0)
                for axis in objective.pareto
            ]
            for point in front
        ]
    )
