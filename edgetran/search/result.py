"""What a search came to: the winner, the Pareto front and how the hypervolume grew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgetran.search.candidates import HARDWARE_MEASURES
from edgetran.search.objective import Objective
from edgetran.search.pareto import costs, hypervolume, pareto_front
from edgetran.search.trials import Evaluation, Trial


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
        """Every trained architecture on every device, with its trial."""
        return [(trial, e) for trial in self.trials for e in trial.evaluations]

    @property
    def best(self) -> tuple[Trial, Evaluation] | None:
        """The feasible evaluation with the highest objective; None where none is feasible.

        Of equals, the one with fewer parameters, then the earlier trial.
        """
        feasible = [pair for pair in self.evaluations if pair[1].feasible]
        return min(feasible, key=_preference, default=None)

    @property
    def front(self) -> list[tuple[Trial, Evaluation]]:
        """The feasible evaluations that no other dominates, by trial.

        Axes: accuracy, latency, energy, peak power and parameters.
        """
        feasible = [pair for pair in self.evaluations if pair[1].feasible]
        points = costs([evaluation.measures for _, evaluation in feasible])
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
    axes = ["accuracy", *(name for name in HARDWARE_MEASURES if name in objective.ranges)]
    spans = [objective.ranges[name] for name in axes[1:]]
    points = costs([evaluation.measures for evaluation in evaluations], axes)
    low = np.array([-1.0, *(span.low for span in spans)])
    high = np.array([0.0, *(span.high for span in spans)])
    return hypervolume((points - low) / (high - low), np.ones(len(axes)))


def _preference(pair: tuple[Trial, Evaluation]) -> tuple[float, int, int]:
    trial, evaluation = pair
    value = -np.inf if evaluation.objective is None else evaluation.objective
    return -value, evaluation.measures.parameters, trial.number
