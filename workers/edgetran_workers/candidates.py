"""Candidates in summaries: what a log says of one, and the Pareto front as it grows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from edgetran.api import CandidateSummary, MeasureValue
from edgetran.api.measures import HARDWARE
from edgetran.search import Measures, costs
from edgetran.search.pareto import FRONT_MEASURES, crowding_distances, dominates

SHOWN: Final = 10
"""Candidates of the front that a status shows."""


def candidate(
    number: int,
    graph_hash: str,
    device: str,
    measures: Measures,
    *,
    objective: float | None = None,
) -> CandidateSummary:
    """A trained candidate as a status shows it."""
    values = {
        each.name: MeasureValue.model_validate({"value": figure.value, "source": figure.source})
        for each in HARDWARE
        if (figure := measures.hardware.of(each))
    }
    return CandidateSummary.model_validate(
        {
            "id": number,
            "architecture": graph_hash,
            "device": device,
            "accuracy": measures.accuracy.value,
            "estimated": True if measures.accuracy.source == "estimated" else None,
            "parameters": measures.parameters,
            "objective": objective,
            **values,
        }
    )


def finalist(
    row: Mapping[str, Any], before: CandidateSummary | None, objective: float | None = None
) -> CandidateSummary:
    """A finalist of result.json, which has been tested.

    Args:
        row: the finalist.
        before: what its log said of it; None where it was no trial.
        objective: its objective where `before` does not say it.
    """
    figures, artifact = row["figures"], row.get("artifact")
    values = {
        each.name: MeasureValue(value=figure["value"], source=figure["source"])
        for each in HARDWARE
        if (figure := figures.get(each.alias)) is not None
    }
    return CandidateSummary.model_validate(
        {
            "id": 0 if before is None else before.id,
            "architecture": row["graphHash"],
            "device": row["device"],
            "accuracy": figures["validationAccuracy"]["value"],
            "test_accuracy": figures["accuracy"]["value"],
            "parameters": int(figures["parameters"]["value"]),
            "objective": objective if before is None else before.objective,
            "made_for": None if artifact is None else made_for(artifact),
            "artifact": None if artifact is None else artifact["sha256"],
            **values,
        }
    )


def made_for(artifact: Mapping[str, Any]) -> str:
    """Engine and precision of an artefact."""
    return f"{artifact['engine']} {artifact['precision']}"


class ReportedFront:
    """The candidates that no other dominates; adding one costs one comparison with each of them.

    Args:
        axes: measures; every one where none is named.
    """

    def __init__(self, axes: Sequence[str] = ()) -> None:
        self._axes = tuple(axes) or FRONT_MEASURES
        self.members: list[tuple[CandidateSummary, Measures]] = []
        self._points = np.empty((0, len(self._axes)))
        self._shown: tuple[CandidateSummary, ...] | None = None

    def add(self, candidate: CandidateSummary, measures: Measures) -> None:
        """Take in a candidate, if it belongs there."""
        point = costs([measures], self._axes)
        if len(self._points) and dominates(self._points, point[0]).any():
            return
        stay = [
            index
            for index in range(len(self._points))
            if not dominates(point, self._points[index])[0]
        ]
        self.members = [*(self.members[index] for index in stay), (candidate, measures)]
        self._points = np.concatenate([self._points[stay], point])
        self._shown = None

    def shown(self) -> tuple[CandidateSummary, ...]:
        """At most `SHOWN` candidates, spread along the front, the most accurate first."""
        if self._shown is None:
            distances = crowding_distances(self._points)
            order = sorted(range(len(distances)), key=lambda i: (-distances[i], self._points[i, 0]))
            chosen = sorted(order[:SHOWN], key=lambda i: self._points[i, 0])
            self._shown = tuple(self.members[index][0] for index in chosen)
        return self._shown
