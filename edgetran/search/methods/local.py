"""Local search: climb from the best candidate to a better neighbour, restart when stuck."""

from __future__ import annotations

import numpy as np

from edgetran.search.asktell import Knowledge, Proposal
from edgetran.search.methods.options import share


class LocalSearch:
    """White, Nolen and Savani 2021: hill climbing over one-step neighbours.

    Args:
        restart: probability of a random candidate instead, which lets the climb leave a hill.
    """

    minimum_observations = 1

    def __init__(self, *, restart: float = 0.1) -> None:
        self._restart = share(restart=restart)

    def suggest(self, knowledge: Knowledge, n: int, rng: np.random.Generator) -> list[Proposal]:
        """Untried neighbours of the incumbent at random; of the next best when it has none."""
        proposals: list[Proposal] = []
        for incumbent in knowledge.incumbents(len(knowledge.observations)):
            near = knowledge.problem.space.neighbours(incumbent.candidate)
            order = rng.permutation(len(near))
            fresh = knowledge.new_feasible([near[i] for i in order[: 16 * n]])
            proposals += [Proposal(candidate, "neighbour") for candidate in fresh]
            if len(proposals) >= n:
                break
        restarts = int(rng.binomial(n, self._restart))
        random = [Proposal(c, "restart") for c in knowledge.problem.sample(4 * n, rng)]
        return random[:restarts] + proposals
