"""Which trial would win with other weights, and so how much the choice hangs on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from edgetran.api.measures import BY_NAME
from edgetran.report.reading import RunRecords
from edgetran.search import Evaluation, Objective, SearchResult, Trial, Weights

_SHARES: Final = (1.0, 0.75, 0.5, 0.25, 0.0)
"""Shares of accuracy; the costs have the rest, in their proportion."""


@dataclass(frozen=True)
class WinnerRow:
    """Who would win with some weights.

    Attributes:
        weights: in words.
        trial: the winner.
        judged: on its device.
        simulated: whether that is simulated.
        same: whether it is the winner of the weights that were asked for.
    """

    weights: str
    trial: Trial
    judged: Evaluation
    simulated: bool
    same: bool


def winner_rows(run: RunRecords) -> list[WinnerRow]:
    """The winner by the weights as asked for, then by others; none where nothing is feasible."""
    search = run.search
    if search is None or not search.objective.ranges or search.best is None:
        return []
    asked = search.best
    rows = []
    for words, objective in _alternatives(search):
        best = asked if objective is None else search.best_by(objective)
        if best is not None:
            trial, judged = best
            same = (trial.number, judged.candidate.device) == (
                asked[0].number,
                asked[1].candidate.device,
            )
            simulated = judged.candidate.device in run.simulated
            rows.append(WinnerRow(words, trial, judged, simulated, same))
    return rows


def _alternatives(search: SearchResult) -> Iterator[tuple[str, Objective | None]]:
    """Weights in words with the objective that has them; None for that of the search."""
    objective = search.objective
    yield (
        (f"as asked for: the front's {objective.pick}" if objective.pareto else "as asked for"),
        None,
    )
    costs = {name: objective.weights.of(name) for name in objective.ranges}
    if not any(costs.values()):
        costs = dict.fromkeys(costs, 1.0)
    whole = sum(costs.values())
    for share in _SHARES:
        words = f"{share:.0%} accuracy" + (f", {1 - share:.0%} costs" if share < 1 else "")
        of_costs = {name: (1 - share) * weight / whole for name, weight in costs.items()}
        yield words, _with(objective, share, of_costs)
    if len(costs) > 1:
        for name in costs:
            yield f"50% accuracy, 50% {BY_NAME[name].words}", _with(objective, 0.5, {name: 0.5})


def _with(objective: Objective, accuracy: float, costs: dict[str, float]) -> Objective:
    """The objective with these weights on the same ranges."""
    return replace(
        objective, weights=Weights.by_measure({"accuracy": accuracy, **costs}), left_out={}
    )
