"""Who of a search by estimates is trained for real: successive halving over fidelities.

Some are trained for a part of the budget, the better half of these to its end (Jamieson and
Talwalkar, arXiv 1502.07943). The first of them are the best by shared weights; what their training
gave says how far estimates are to be trusted (`edgetran.search.fidelities`), and the others are
those that may be the best by what is then expected. Who goes up follows from the trials' records
alone, so a search that was killed goes on with the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from edgetran.devices import Figure
from edgetran.search.fidelities import Correction
from edgetran.search.problem import Problem
from edgetran.search.trials import FULL_TRAINING, SHARED_WEIGHTS, SHORT_TRAINING, Trial
from edgetran.space import Architecture

if TYPE_CHECKING:
    from edgetran.training import TrialOutcome, TrialSpec

SHORT_SHARE: Final = 0.25
"""Of the training's budget, after which the better half goes on."""


_LEAST_FOR_RANKS: Final = 4
"""Trainings, below which a rank correlation says nothing."""


class Pool(Protocol):
    """What runs trials; `edgetran.training.TrialPool` is one."""

    def submit(self, key: str, spec: TrialSpec) -> None:
        """Start a trial, or queue it."""

    def completed(self) -> Iterator[TrialOutcome]:
        """Outcomes as trials finish, until none is left; more may be submitted meanwhile."""


@dataclass(frozen=True)
class Finalists:
    """How the best of a search whose candidates are only estimated are trained.

    Attributes:
        count: how many begin to be trained.
        pool: trains them.
        trial: by a trial's number and architecture its training, from the weights that it is to
            start from; seed, output and scoring are filled in.
        identity: what decides the estimates, as JSON-able data.
    """

    count: int
    pool: Pool
    trial: Callable[[int, Architecture], TrialSpec]
    identity: Mapping[str, Any] = field(default_factory=dict)


def ranked(trials: Iterable[Trial], problem: Problem, fidelity: str) -> list[int]:
    """Numbers of the trials that were judged at a fidelity, the best by that judgement first.

    A trial counts by its best device; those that satisfy the constraints come first, then those
    that miss them by least.
    """
    judged = [(trial, accuracy_at(trial, fidelity)) for trial in trials]
    return _ranked([(trial, value) for trial, value in judged if value is not None], problem)


def promising(
    trials: Iterable[Trial], problem: Problem, trained: Collection[int], count: int
) -> list[int]:
    """Numbers of the estimated trials that are to be trained next, the most promising first.

    By the highest accuracy that the short training may well come to, one deviation above what
    those that had it say.

    Args:
        trials: all of them.
        problem: the objective and the constraints.
        trained: numbers of those that had a short training; what came later does not count.
        count: how many are wanted.
    """
    known = [(trial, accuracy_at(trial, SHARED_WEIGHTS)) for trial in trials]
    pairs = [(trial, value) for trial, value in known if value is not None]
    if count < 1 or not pairs:
        return []
    correction = Correction.fit(
        [trial.candidate.architecture for trial, _ in pairs],
        [value for _, value in pairs],
        [accuracy_at(t, SHORT_TRAINING) if t.number in trained else None for t, _ in pairs],
    )
    rest = [(trial, value) for trial, value in pairs if trial.number not in trained]
    if not rest:
        return []
    mean, deviation = correction.predict(
        [trial.candidate.architecture for trial, _ in rest], [value for _, value in rest]
    )
    hoped = [(trial, float(v)) for (trial, _), v in zip(rest, mean + deviation, strict=True)]
    return _ranked(hoped, problem)[:count]


def _ranked(judged: Iterable[tuple[Trial, float]], problem: Problem) -> list[int]:
    """Numbers of the trials, the best by these accuracies first."""
    standings = []
    for trial, accuracy in judged:
        known = problem.space.known(problem.space.siblings(trial.candidate))
        measures = [each.with_accuracy(Figure(accuracy, "", "estimated")) for each in known]
        values = [problem.objective.value(each) for each in measures if problem.judge(each)[0]]
        good = [value for value in values if value is not None]
        standing = (0, -max(good)) if good else (1, min(problem.excess(m) for m in measures))
        standings.append((*standing, measures[0].parameters, trial.number))
    return [number for *_, number in sorted(standings)]


def calibration(trials: Iterable[Trial]) -> str | None:
    """How estimates of finalists compare with what their training gave, in words; None without any.

    The rank correlation is over those that were trained, for a while or to the end.
    """
    pairs = [
        (trial, trial.estimates[SHARED_WEIGHTS], trial.trained_accuracy)
        for trial in trials
        if SHARED_WEIGHTS in trial.estimates and trial.trained_accuracy is not None
    ]
    complete = [each for each in pairs if each[0].fidelity == FULL_TRAINING]
    if not complete:
        return None
    words = "; ".join(
        f"trial {trial.number} {estimate:.3f} by shared weights and {trained:.3f} trained"
        for trial, estimate, trained in complete
    )
    gain, doubt = Correction.fit(
        [trial.candidate.architecture for trial, _, _ in pairs],
        [estimate for _, estimate, _ in pairs],
        [trained for _, _, trained in pairs],
    ).gain
    sentence = f"accuracy of the finalists: {words}"
    sentence += f"; training changes an estimate by {gain:+.3f} ± {doubt:.3f}"
    before = [estimate for _, estimate, _ in pairs]
    after = [trained for _, _, trained in pairs]
    if len(pairs) >= _LEAST_FOR_RANKS and len(set(before)) > 1 and len(set(after)) > 1:
        from scipy.stats import spearmanr

        rank = float(spearmanr(before, after).statistic)
        sentence += f"; rank correlation over the {len(pairs)} that were trained {rank:+.2f}"
    return sentence


def accuracy_at(trial: Trial, fidelity: str) -> float | None:
    """A trial's accuracy as it was judged at a fidelity; None where it was not."""
    if trial.fidelity == fidelity:
        return trial.trained_accuracy
    return trial.estimates.get(fidelity)
