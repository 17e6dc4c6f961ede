"""The pool of candidates among which a model-based method chooses."""

from __future__ import annotations

import numpy as np

from edgetran.search.asktell import Knowledge
from edgetran.search.candidates import Candidate

_INCUMBENTS = 5
_MUTATIONS = 16
_SECOND_STEP = 0.5
"""Share of mutations that go two steps: one step alone cannot cross a poor architecture."""


def candidate_pool(
    knowledge: Knowledge, rng: np.random.Generator, *, random: int
) -> list[tuple[Candidate, str]]:
    """New feasible candidates with what made them: mutations of incumbents, then random ones.

    Each architecture comes on its best device, since accuracy costs the same on all.
    """
    space = knowledge.problem.space
    sources: dict[tuple[str, str], tuple[Candidate, str]] = {}
    for incumbent in knowledge.incumbents(_INCUMBENTS):
        for _ in range(_MUTATIONS):
            child = space.mutate(incumbent.candidate, rng)
            if rng.random() < _SECOND_STEP:
                child = space.mutate(child, rng)
            sources.setdefault(child.identity, (child, "mutation"))
    for candidate in knowledge.problem.sample(random, rng):
        sources.setdefault(candidate.identity, (candidate, "pool"))
    return usable(knowledge, list(sources.values()))


def usable(
    knowledge: Knowledge, sources: list[tuple[Candidate, str]]
) -> list[tuple[Candidate, str]]:
    """Those that may be proposed, each once.

    Where accuracy is the same on all devices, each architecture comes on its best one.
    """
    if not knowledge.problem.space.accuracy_depends_on_device:
        best = knowledge.problem.best_siblings([candidate for candidate, _ in sources])
        sources = [(c, origin) for c, (_, origin) in zip(best, sources, strict=True)]
    origins: dict[tuple[str, str], str] = {}
    for candidate, origin in sources:
        origins.setdefault(candidate.identity, origin)
    fresh = knowledge.new_feasible(candidate for candidate, _ in sources)
    return [(candidate, origins[candidate.identity]) for candidate in fresh]
