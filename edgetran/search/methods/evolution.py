"""Regularised evolution: mutate a tournament's winner, forget the oldest."""

from __future__ import annotations

import numpy as np

from edgetran.search.asktell import Knowledge, Proposal
from edgetran.search.methods.options import at_least

_TRIES = 8


class RegularisedEvolution:
    """Real et al. 2019 (arXiv 1802.01548), with feasibility before objective in a tournament.

    Args:
        population: number of newest evaluations that may be parents.
        tournament: number of them drawn for each child.
    """

    minimum_observations = 2

    def __init__(self, *, population: int = 20, tournament: int = 5) -> None:
        self._population = at_least(1, population=population)
        self._tournament = at_least(1, tournament=tournament)

    def suggest(self, knowledge: Knowledge, n: int, rng: np.random.Generator) -> list[Proposal]:
        """Mutations of tournament winners; a second step where the first gives nothing new."""
        space = knowledge.problem.space
        alive = knowledge.observations[-self._population :]
        children = []
        for _ in range(_TRIES * n):
            drawn = rng.choice(len(alive), size=min(self._tournament, len(alive)), replace=False)
            child = max((alive[i] for i in drawn), key=lambda o: o.rank).candidate
            child = space.mutate(child, rng)
            if not knowledge.is_new(child):
                child = space.mutate(child, rng)
            children.append(child)
        return [Proposal(child, "mutation") for child in knowledge.new_feasible(children)]
