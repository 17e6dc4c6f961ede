"""NSGA-II: evolve a whole Pareto front of accuracy against the hardware's costs."""

from __future__ import annotations

import numpy as np

from edgetran.search.asktell import Knowledge, Observation, Proposal
from edgetran.search.candidates import Candidate
from edgetran.search.methods.options import at_least, share
from edgetran.search.pareto import FRONT_MEASURES, costs, crowding_distances, non_dominated_ranks

_TRIES = 8


class NSGA2:
    """Deb et al. 2002, as a steady state: parents are the best `population` evaluations so far.

    Constraint domination: feasible before infeasible, less excess before more.

    Args:
        population: number of survivors.
        crossover: probability that a child has two parents.
    """

    minimum_observations = 2

    def __init__(self, *, population: int = 20, crossover: float = 0.9) -> None:
        self._population = at_least(1, population=population)
        self._crossover = share(crossover=crossover)

    def suggest(self, knowledge: Knowledge, n: int, rng: np.random.Generator) -> list[Proposal]:
        """Children of binary tournaments by crossover and mutation."""
        space = knowledge.problem.space
        parents = self._survivors(knowledge)
        children = []
        for _ in range(_TRIES * n):
            first, second = (self._tournament(parents, rng) for _ in range(2))
            child = first
            if rng.random() < self._crossover:
                child = space.crossover(first, second, rng)
            if child in (first, second) or rng.random() < 0.5:
                child = space.mutate(child, rng)
            children.append(child)
        return [Proposal(child, "crossover") for child in knowledge.new_feasible(children)]

    def _survivors(self, knowledge: Knowledge) -> list[Observation]:
        """The best observations first: feasibility, rank, crowding."""
        seen = list(knowledge.observations)
        axes = knowledge.problem.objective.pareto or FRONT_MEASURES
        points = costs([o.measures for o in seen], axes)
        excess = [o.excess for o in seen]
        ranks, crowding = non_dominated_ranks(points), crowding_distances(points)
        order = sorted(
            range(len(seen)),
            key=lambda i: (not seen[i].feasible, excess[i], ranks[i], -crowding[i], i),
        )
        return [seen[i] for i in order[: self._population]]

    @staticmethod
    def _tournament(ordered: list[Observation], rng: np.random.Generator) -> Candidate:
        return ordered[int(rng.integers(len(ordered), size=2).min())].candidate
