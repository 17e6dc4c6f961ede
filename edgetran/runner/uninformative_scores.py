"""Test figures that say little, or that a model without any learning would reach."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from edgetran.training import Task


def uninformative_scores(task: Task, winner: Mapping[str, Any] | None) -> list[str]:
    """Sentences about a test figure that the same answer to every example would reach.

    Args:
        task: the task.
        winner: the winner's row of the result; None where there is none.
    """
    notes = []
    labels = Counter(example.label for example in task.test)
    if len(labels) == 1:
        notes.append(
            f"Every test example has the label {task.label_name(next(iter(labels)) or 0)!r}: its "
            f"{task.selection_metric} says little."
        )
    reached = None if winner is None else winner["figures"]["accuracy"]["value"]
    if reached is None:
        return notes
    constant, words = 0.0, "0"
    if task.selection_metric == "accuracy":
        label, count = labels.most_common(1)[0]
        constant = count / len(task.test)
        words = f"{constant:.3f}, which always answering {task.label_name(label or 0)!r} gives"
    if reached <= constant:
        notes.append(
            f"The winner has learned little: its {task.selection_metric} on the test part is "
            f"{reached:.3f}, no more than {words}."
        )
    return notes
