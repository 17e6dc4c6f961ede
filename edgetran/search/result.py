"""What a search came to: the winner, the Pareto front and how the hypervolume grew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgetran.search.candidates import Measures
from edgetran.search.constraints import UNKNOWN_EXCESS
from edgetran.search.objective import Objective
from edgetran.search.pareto import FRONT_MEASURES, costs, hypervolume, pareto_front
from edgetran.search.picking import pick
from edgetran.search.trials import FULL_TRAINING, Evaluation, Trial


@dataclass(frozen=True)
class SearchResult:
    """The outcome of a search.

    Attributes:
        trials: every finished trial, by number.
        objective: what was maximised.
        notes: sentences that a reader of the result should see, e.g. which term does not count.
    """

    trials: tuple[Trial, ...]
    objective: Objective
    notes: tuple[str, ...] = ()

    @property
    def evaluations(self) -> list[tuple[Trial, Evaluation]]:
        """Every judged architecture on every device, with its trial."""
        return [(trial, e) for trial in self.trials for e in trial.evaluations]

    @property
    def estimated(self) -> bool:
        """Whether every accuracy is an estimate so far, so that the best is too."""
        judged = [trial for trial in self.trials if trial.succeeded]
        return bool(judged) and all(trial.fidelity != FULL_TRAINING for trial in judged)

    @property
    def _contenders(self) -> list[tuple[Trial, Evaluation]]:
        """The feasible evaluations of what is trained for real; of everything while nothing is."""
        estimated = self.estimated
        return [
            pair
            for pair in self.evaluations
            if pair[1].feasible and (estimated or pair[0].fidelity == FULL_TRAINING)
        ]

    @property
    def best(self) -> tuple[Trial, Evaluation] | None:
        """The feasible evaluation with the highest objective; None where none is feasible.

        Of equals, the one with fewer parameters, then the earlier trial. Where a front is sought,
        the point of it that the objective's rule picks.
        """
        if self.objective.pareto:
            front = self.front
            return front[pick([e.measures for _, e in front], self.objective)] if front else None
        return self.best_by(self.objective)

    def best_by(self, objective: Objective) -> tuple[Trial, Evaluation] | None:
        """The feasible evaluation that would win by the weighted sum of another objective."""
        return min(self._contenders, key=lambda pair: _preference(pair, objective), default=None)

    def runners_up(self, count: int) -> list[tuple[Trial, Evaluation]]:
        """The next best on the best one's device, other architectures each, the best of them first.

        Args:
            count: how many at most.
        """
        best = self.best
        if best is None:
            return []
        found: list[tuple[Trial, Evaluation]] = []
        seen = {best[0].candidate.architecture.graph_hash}
        for trial, evaluation in sorted(
            self._contenders, key=lambda pair: _preference(pair, self.objective)
        ):
            graph_hash = trial.candidate.architecture.graph_hash
            if evaluation.candidate.device == best[1].candidate.device and graph_hash not in seen:
                seen.add(graph_hash)
                found.append((trial, evaluation))
        return found[:count]

    @property
    def nearest(self) -> tuple[Trial, Evaluation] | None:
        """The infeasible evaluation that misses its bounds by least; None where there is none."""
        others = [pair for pair in self.evaluations if not pair[1].feasible]
        return min(others, key=lambda pair: (pair[1].excess, pair[0].number), default=None)

    @property
    def front(self) -> list[tuple[Trial, Evaluation]]:
        """The feasible evaluations that no other dominates, by trial.

        Once anything is trained, of what is trained.

        Axes: those of the front that is sought; else every measure.
        """
        feasible = self._contenders
        axes = self.objective.pareto or FRONT_MEASURES
        points = costs([evaluation.measures for _, evaluation in feasible], axes)
        return [feasible[i] for i in pareto_front(points)]

    @property
    def hypervolume_history(self) -> list[float]:
        """Hypervolume of the front after each trial; it never falls. See `front_hypervolume`."""
        history: list[float] = []
        seen: list[Evaluation] = []
        for trial in self.trials:
            fresh = [evaluation for evaluation in trial.evaluations if evaluation.feasible]
            seen += fresh
            unchanged = history and not fresh
            history.append(history[-1] if unchanged else front_hypervolume(seen, self.objective))
        return history

    @property
    def failed(self) -> list[Trial]:
        """The trials that failed."""
        return [trial for trial in self.trials if not trial.succeeded]


def front_hypervolume(evaluations: Sequence[Evaluation], objective: Objective) -> float:
    """Volume dominated in accuracy and the measures that count in the objective.

    Each measure is scaled by its normaliser, accuracy as it is; the reference is accuracy 0 at
    the upper end of every range. A perfect accuracy at the lower end of every range gives 1.
    """
    points = [scaled_costs(evaluation.measures, objective) for evaluation in evaluations]
    axes = 1 + len(objective.ranges)
    return hypervolume(np.array(points).reshape(len(points), axes), np.ones(axes))


def scaled_costs(measures: Measures, objective: Objective) -> list[float]:
    """1 − accuracy and 1 − term of each measure that counts; NaN where one is not known."""
    values = [(span, measures.value(name)) for name, span in objective.ranges.items()]
    accuracy = measures.accuracy.value
    return [
        np.nan if accuracy is None else 1 - accuracy,
        *(np.nan if value is None else 1 - span.term(value) for span, value in values),
    ]


def shortfall(trial: Trial, evaluation: Evaluation) -> str:
    """Which bounds an infeasible evaluation misses, and by how much."""
    place = f"trial {trial.number} on {evaluation.candidate.device}"
    missed = f", missed by {evaluation.excess:.1%}" if evaluation.excess < UNKNOWN_EXCESS else ""
    return f"the nearest is {place}: {evaluation.reason}{missed}"


def _preference(pair: tuple[Trial, Evaluation], objective: Objective) -> tuple[float, int, int]:
    trial, evaluation = pair
    value = objective.value(evaluation.measures)
    return np.inf if value is None else -value, evaluation.measures.parameters, trial.number
