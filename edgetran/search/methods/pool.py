"""The pool of candidates among which a model-based method chooses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgetran.search.asktell import Knowledge
from edgetran.search.candidates import Candidate
from edgetran.search.problem import Problem

_INCUMBENTS = 5
_MUTATIONS = 16
_SECOND_STEP = 0.5
"""Share of mutations that go two steps: one step alone cannot cross a poor architecture."""


def candidate_pool(
    knowledge: Knowledge, rng: np.random.Generator, *, random: int
) -> list[tuple[Candidate, str]]:
    """Feasible candidates with what made them: mutations of incumbents, then random ones.

    Of a space of at most `random` candidates, all of them.
    """
    space = knowledge.problem.space
    sources: dict[tuple[str, str], tuple[Candidate, str]] = {}
    if space.size() <= random:
        everything = space.sample(space.size(), rng)
        return feasible_on_best_device(knowledge.problem, [(each, "pool") for each in everything])
    for incumbent in knowledge.incumbents(_INCUMBENTS):
        for _ in range(_MUTATIONS):
            child = space.mutate(incumbent.candidate, rng)
            if rng.random() < _SECOND_STEP:
                child = space.mutate(child, rng)
            sources.setdefault(child.identity, (child, "mutation"))
    for candidate in knowledge.problem.sample(random, rng):
        sources.setdefault(candidate.identity, (candidate, "pool"))
    return feasible_on_best_device(knowledge.problem, list(sources.values()))


def feasible_on_best_device(
    problem: Problem, sources: Sequence[tuple[Candidate, str]]
) -> list[tuple[Candidate, str]]:
    """The feasible ones, each once.

    Where accuracy is the same on all devices, each architecture comes on its best one.
    """
    if not problem.space.accuracy_depends_on_device:
        best = problem.best_siblings([candidate for candidate, _ in sources])
        sources = [(c, origin) for c, (_, origin) in zip(best, sources, strict=True)]
    unique: dict[tuple[str, str], tuple[Candidate, str]] = {}
    for candidate, origin in sources:
        unique.setdefault(candidate.identity, (candidate, origin))
    pairs = list(unique.values())
    assessed = zip(pairs, problem.assess([candidate for candidate, _ in pairs]), strict=True)
    return [pair for pair, assessment in assessed if assessment.feasible]


class PoolChoice:
    """Picks from a pool, never what is taken and nothing twice.

    Whether a candidate is taken is looked up only when its turn comes: its key is a graph hash,
    which is slow.
    """

    def __init__(self, knowledge: Knowledge, pool: Sequence[Candidate]) -> None:
        self._key = knowledge.problem.space.key
        self._taken = set(knowledge.taken)
        self._pool = pool
        self._free = np.ones(len(pool), dtype=bool)

    def pick(self, scores: NDArray[np.float64]) -> int | None:
        """Index of the free candidate with the highest score (n,); None where none is left."""
        while self._free.any():
            i = int(np.argmax(np.where(self._free, scores, -np.inf)))
            self._free[i] = False
            key = self._key(self._pool[i])
            if key not in self._taken:
                self._taken.add(key)
                return i
        return None
