"""Bayesian optimisation: what must be learned by a Gaussian process, what is known as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from edgetran.devices import Figure
from edgetran.search.asktell import Knowledge, Proposal
from edgetran.search.candidates import Candidate
from edgetran.search.methods.acquisition import (
    Array,
    log_expected_improvement,
    log_feasibility,
    log_hypervolume_improvement,
)
from edgetran.search.methods.options import at_least
from edgetran.search.methods.pool import PoolChoice, candidate_pool, feasible_on_best_device
from edgetran.search.methods.surrogate import MeasureSurrogate
from edgetran.search.pareto import costs, pareto_front

_LOG_HALF: Final = float(np.log(0.5))
_LOG_TOLERANCE: Final = 0.1
_LAST: Final = 1e6
"""A candidate that probably breaks a bound comes after all that do not: else the great gain of a
cheap one, times a small chance, is tried again and again."""

_CLIMBS: Final = 2
_CLIMBERS: Final = 8
_STEPS: Final = 6


class BayesianOptimisation:
    """Expected improvement of the objective, or of the front, times the chance to be feasible.

    Only accuracy (and what else is learned) is modelled; costs are known, so the objective of a
    candidate is Gaussian, and bounds on costs are exact. While nothing feasible is known, the
    chance to be feasible is climbed alone. Within a batch, and of what is pending, accuracies are
    taken to be their predicted means.

    Sources: Jones et al. 1998 (expected improvement), Gardner et al. 2014 (constraints), Emmerich
    et al. 2006 (expected hypervolume improvement).

    Args:
        pool: number of random candidates that compete with mutations of the incumbents; by
            default as many as the space can describe without it being felt.

    Raises:
        SearchError: a negative pool.
    """

    minimum_observations = 3

    def __init__(self, *, pool: int | None = None) -> None:
        self._pool = None if pool is None else at_least(1, pool=pool)

    def suggest(self, knowledge: Knowledge, n: int, rng: np.random.Generator) -> list[Proposal]:
        """Candidates of the pool by acquisition, one at a time."""
        space = knowledge.problem.space
        size = self._pool or space.cheap_pool
        sources = candidate_pool(knowledge, rng, random=size)
        if not sources:
            return []
        judge = _Judge(knowledge, seed=int(rng.integers(2**31)))
        judge.believe(list(knowledge.pending))
        pool = [candidate for candidate, _ in sources]
        if space.size() > size:
            pool = self._climb(knowledge, judge, pool, rng)
        choice = PoolChoice(knowledge, pool)
        proposals: list[Proposal] = []
        while len(proposals) < n:
            i = choice.pick(judge.score(pool))
            if i is None:
                break
            proposals.append(Proposal(pool[i], judge.aim, judge.figure(pool[i])))
            if len(proposals) < n:
                judge.believe([pool[i]])
        return proposals

    def _climb(
        self,
        knowledge: Knowledge,
        judge: _Judge,
        pool: list[Candidate],
        rng: np.random.Generator,
    ) -> list[Candidate]:
        """The pool and what is a few steps from its best."""
        space = knowledge.problem.space
        for _ in range(_CLIMBS):
            best = np.argsort(-judge.score(pool), kind="stable")[:_CLIMBERS]
            steps = [space.mutate(pool[i], rng) for i in best for _ in range(_STEPS)]
            near = feasible_on_best_device(knowledge.problem, [(step, "") for step in steps])
            known = {candidate.identity for candidate in pool}
            pool = pool + [candidate for candidate, _ in near if candidate.identity not in known]
        return pool


class _Judge:
    """Scores candidates by what is known so far and what is taken for granted meanwhile."""

    def __init__(self, knowledge: Knowledge, *, seed: int) -> None:
        problem = knowledge.problem
        self._problem, self._seed = problem, seed
        self._bounds = problem.learned_bounds
        self._surrogates = {
            name: MeasureSurrogate(*known)
            for name in dict.fromkeys(("accuracy", *self._bounds))
            if len((known := knowledge.learned(name))[1])
        }
        self._seen = [o for o in knowledge.observations if o.feasible]
        self._believed: list[Candidate] = []
        self._weight = problem.objective.effective_weight("accuracy")
        self._found = bool(self._seen) or not self._bounds

    @property
    def aim(self) -> str:
        """What the score is of."""
        if not self._found:
            return "feasibility"
        front = self._problem.objective.pareto
        return "hypervolume-improvement" if front else "expected-improvement"

    def score(self, pool: Sequence[Candidate]) -> Array:
        """Logarithm of the acquisition, (n,)."""
        points = self._problem.space.encode(pool)
        predicted = {name: each.predict(points) for name, each in self._surrogates.items()}
        chance = log_feasibility(self._bounds, predicted) + np.zeros(len(pool))
        if not self._found:
            return chance
        mean, std = predicted["accuracy"]
        gain = self._front_gain if self._problem.objective.pareto else self._sum_gain
        score = chance + gain(pool, mean, std)
        if not self._bounds:
            return score
        needed = min(_LOG_HALF, float(chance.max()) - _LOG_TOLERANCE)
        return np.where(chance >= needed, score, score - _LAST)

    def believe(self, candidates: Sequence[Candidate]) -> None:
        """Take candidates to be evaluated, with what is expected of them."""
        if candidates:
            points = self._problem.space.encode(candidates)
            for surrogate in self._surrogates.values():
                surrogate.believe(points)
            self._believed += candidates

    def figure(self, candidate: Candidate) -> Figure:
        """The accuracy that an evaluation is expected to give."""
        surrogate = self._surrogates["accuracy"]
        mean, std = surrogate.predict(self._problem.space.encode([candidate]))
        spread = float(np.hypot(std[0], surrogate.noise))
        return Figure(float(mean[0]), "", "predicted", std=spread)

    def _sum_gain(self, pool: Sequence[Candidate], mean: Array, std: Array) -> Array:
        known = self._problem.hardware_values(pool)
        best = max((o.value for o in self._seen if o.value is not None), default=None)
        if best is None:  # no bound to meet, yet no value: the mean has to do
            return known + self._weight * mean
        return log_expected_improvement(known + self._weight * mean, self._weight * std, best)

    def _front_gain(self, pool: Sequence[Candidate], mean: Array, std: Array) -> Array:
        """Of the front of what was measured, and of what is believed in the meantime."""
        accuracy = np.array([o.measures.accuracy.value for o in self._seen], dtype=np.float64)
        candidates = [o.candidate for o in self._seen] + self._believed
        if self._believed:
            believed = self._problem.space.encode(self._believed)
            accuracy = np.concatenate([accuracy, self._surrogates["accuracy"].predict(believed)[0]])
        places = self._scaled(candidates)
        front = pareto_front(np.column_stack([-accuracy, places])) if len(accuracy) else []
        return log_hypervolume_improvement(
            mean, std, self._scaled(pool), accuracy[front], places[front], self._seed
        )

    def _scaled(self, candidates: Sequence[Candidate]) -> Array:
        """Costs on the axes of the front, 0 at the best and 1 at the worst end of each range."""
        ranges = self._problem.objective.ranges
        axes = [axis for axis in self._problem.objective.pareto if axis in ranges]
        known = costs([a.measures for a in self._problem.assess(candidates)], axes)
        terms = [[ranges[axis].term(x) for axis, x in zip(axes, row, strict=True)] for row in known]
        return 1 - np.array(terms, dtype=np.float64).reshape(len(candidates), len(axes))
