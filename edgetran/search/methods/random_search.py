"""Random search: feasible candidates as the space's sampler draws them."""

from __future__ import annotations

import numpy as np

from edgetran.search.asktell import Knowledge, Proposal


class RandomSearch:
    """Bergstra and Bengio 2012: the baseline that every other method has to beat."""

    minimum_observations = 0

    def suggest(self, knowledge: Knowledge, n: int, rng: np.random.Generator) -> list[Proposal]:
        """Feasible candidates at random, some to spare for those that are taken."""
        return [Proposal(c, "random") for c in knowledge.problem.sample(4 * n, rng)]
