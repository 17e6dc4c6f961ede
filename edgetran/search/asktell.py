"""One ask/tell interface for every method: bookkeeping here, ideas in a strategy.

A strategy is a pure function of what has been told, what is pending and a seeded generator, so
the same seed and the same tells give the same proposals, and a method's state is its history.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from edgetran.api.field_errors import invalid, unsupported
from edgetran.devices import Figure
from edgetran.search.candidates import Candidate, Measures, SearchError
from edgetran.search.problem import Problem
from edgetran.search.spaces import Encoding

STATE_VERSION: Final = 1

_POOL_PER_INITIAL: Final = 32
"""Feasible candidates among which the initial design picks each of its spread-out members."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A candidate to evaluate next.

    Attributes:
        candidate: architecture and device.
        strategy: what proposed it, e.g. `initial`, `gobi`, `mutation`, `random`.
        predicted_accuracy: the method's own prediction with its uncertainty, where it makes one.
    """

    candidate: Candidate
    strategy: str
    predicted_accuracy: Figure | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """An evaluated candidate.

    Attributes:
        candidate: architecture and device.
        measures: its measures, accuracy included.
        value: its objective; None where a measure that counts is not known.
        feasible: whether it satisfies every constraint.
        excess: how far from feasible it is, 0 where it is feasible.
    """

    candidate: Candidate
    measures: Measures
    value: float | None
    feasible: bool
    excess: float = 0.0

    @property
    def rank(self) -> tuple[bool, float, float]:
        """Larger is better: feasible before infeasible, less excess, then the objective."""
        return self.feasible, -self.excess, -np.inf if self.value is None else self.value


@dataclass(frozen=True)
class Knowledge:
    """All that a strategy may look at.

    Attributes:
        problem: space, objective and constraints.
        observations: evaluated candidates, in the order of their tells.
        pending: candidates that are being evaluated.
        taken: keys that must not be proposed: evaluated, failed, pending or in this batch.
    """

    problem: Problem
    observations: Sequence[Observation]
    pending: Sequence[Candidate]
    taken: frozenset[str]

    def is_new(self, candidate: Candidate) -> bool:
        """Whether the candidate may be proposed, feasibility aside."""
        return self.problem.space.key(candidate) not in self.taken

    def incumbents(self, count: int) -> list[Observation]:
        """The best observations, best first, each architecture once."""
        best = sorted(self.observations, key=lambda o: o.rank, reverse=True)
        unique = {self.problem.space.key(o.candidate): o for o in reversed(best)}
        return sorted(unique.values(), key=lambda o: o.rank, reverse=True)[:count]

    def accuracies(self) -> tuple[Encoding, NDArray[np.float64]]:
        """What accuracy is learned from: encodings (n, k) and accuracies (n,), each key once."""
        return self.learned("accuracy")

    def learned(self, measure: str) -> tuple[Encoding, NDArray[np.float64]]:
        """What a measure is learned from: encodings (n, k) and values (n,), each key once."""
        unique = {self.problem.space.key(o.candidate): o for o in self.observations}
        rows = [(o, o.measures.value(measure)) for o in unique.values()]
        known = [(o, value) for o, value in rows if value is not None]
        encoded = self.problem.space.encode([o.candidate for o, _ in known])
        return encoded, np.array([value for _, value in known], dtype=np.float64)

    def new_feasible(self, candidates: Iterable[Candidate]) -> list[Candidate]:
        """The feasible ones that may be proposed, each pair once, in their order."""
        unique = list({c.identity: c for c in candidates}.values())
        return [c for c in self.problem.feasible(unique) if self.is_new(c)]


class Strategy(Protocol):
    """How a method thinks."""

    @property
    def minimum_observations(self) -> int:
        """With fewer evaluated architectures than this, the initial design goes on."""

    def suggest(self, knowledge: Knowledge, n: int, rng: np.random.Generator) -> list[Proposal]:
        """About `n` proposals, best first; those that may not be proposed are dropped."""


class Method:
    """A search method: `ask` for candidates, `tell` what came of them.

    Every method shares the initial design, the feasibility rules and the guarantees: proposals
    are feasible as far as is known before training, distinct in what has to be trained, never
    evaluated, failed or pending before.

    Args:
        name: the method's name.
        problem: what to solve.
        strategy: how the method thinks.
        seed: source of all randomness.
        initial: number of proposals of the spread-out initial design.
    """

    def __init__(
        self, name: str, problem: Problem, strategy: Strategy, *, seed: int, initial: int
    ) -> None:
        self.name = name
        self.problem = problem
        self._strategy = strategy
        self._seed = seed
        self._initial = initial
        self._asked = 0
        self._observations: dict[tuple[str, str], Observation] = {}
        self._pending: dict[str, Candidate] = {}
        self._failed: dict[str, Candidate] = {}
        self._design: list[Candidate] | None = None

    @property
    def observations(self) -> list[Observation]:
        """Evaluated candidates, in the order of their tells."""
        return list(self._observations.values())

    def ask(self, n: int) -> list[Candidate]:
        """`n` candidates to evaluate next, or fewer where the space has no more.

        They are pending until told of.
        """
        return [proposal.candidate for proposal in self.propose(n)]

    def propose(self, n: int) -> list[Proposal]:
        """`ask`, with what the method thinks of each candidate.

        Raises:
            SearchError: for a negative `n`.
        """
        if n < 0:
            raise SearchError(f"n: {invalid(n, 'must be at least 0')}")
        chosen: dict[str, Proposal] = {}
        rng = np.random.default_rng([self._seed, self._asked])
        self._fill(chosen, n, self._initial_proposals(n))
        if len(chosen) < n:
            knowledge = self._knowledge(chosen)
            if len(knowledge.accuracies()[1]) >= self._strategy.minimum_observations:
                suggested = self._strategy.suggest(knowledge, n - len(chosen), rng)
                self._fill(chosen, n, suggested)
        if len(chosen) < n:
            self._fill(chosen, n, self._random_proposals(n, rng))
        proposals = list(chosen.values())
        for proposal in proposals:
            self.expect(proposal.candidate)
        return proposals

    def expect(self, candidate: Candidate) -> None:
        """Count a candidate as proposed and pending, e.g. one that an earlier run asked for."""
        self._asked += 1
        self._pending[self.problem.space.key(candidate)] = candidate

    def tell(self, candidate: Candidate, measures: Measures) -> None:
        """Report an evaluated candidate, whether or not it was asked for.

        Raises:
            SearchError: the candidate is not of the space or was told of before, or its accuracy is
                not known or no score. Nothing is changed then.
        """
        accuracy = measures.accuracy.value
        if accuracy is None:
            raise SearchError(
                f"accuracy: not known of {candidate.architecture.graph_hash}; report a failure "
                "with tell_failure"
            )
        if not -1 <= accuracy <= 1:
            what = "must be a score of at most 1, such as 0.873"
            raise SearchError(f"accuracy: {invalid(accuracy, what)}")
        self.problem.space.known([candidate])  # refuses what is not of the space
        if candidate.identity in self._observations:
            raise SearchError(
                f"candidate: {candidate.architecture.graph_hash} on {candidate.device} was "
                "reported before; each candidate is evaluated once"
            )
        feasible, _ = self.problem.judge(measures)
        self._observations[candidate.identity] = Observation(
            candidate,
            measures,
            self.problem.objective.value(measures),
            feasible,
            self.problem.excess(measures),
        )
        self._pending.pop(self.problem.space.key(candidate), None)

    def tell_failure(self, candidate: Candidate) -> None:
        """Report that evaluating failed: no data point, and never proposed again.

        Raises:
            SearchError: the candidate is not of the space, or has measures.
        """
        self.problem.space.known([candidate])  # refuses what is not of the space
        key = self.problem.space.key(candidate)
        if candidate.identity in self._observations:
            raise SearchError(
                f"candidate: {candidate.architecture.graph_hash} on {candidate.device} was "
                "reported before, with measures; it cannot have failed too"
            )
        self._pending.pop(key, None)
        self._failed[key] = candidate

    def state(self) -> dict[str, Any]:
        """All of the method's state as plain JSON data."""
        return {
            "version": STATE_VERSION,
            "method": self.name,
            "seed": self._seed,
            "asked": self._asked,
            "observations": [
                o.candidate.to_dict() | {"measures": o.measures.to_dict()}
                for o in self._observations.values()
            ],
            "pending": [candidate.to_dict() for candidate in self._pending.values()],
            "failed": [candidate.to_dict() for candidate in self._failed.values()],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over the state of a method of the same name and seed on the same problem.

        Raises:
            SearchError: the state is of another method, seed or version.
        """
        for key, own in (("version", STATE_VERSION), ("method", self.name), ("seed", self._seed)):
            if state.get(key) != own:
                raise SearchError(f"state.{key}: {unsupported(state.get(key), [own])}")
        before = self._observations, self._pending, self._failed, self._asked
        self._observations, self._pending, self._failed = {}, {}, {}
        try:
            self._take_over(state)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            self._observations, self._pending, self._failed, self._asked = before
            why = str(error) if isinstance(error, SearchError) else f"cannot be read ({error!r})"
            raise SearchError(f"state: of another search: {why}") from None

    def _take_over(self, state: Mapping[str, Any]) -> None:
        for row in state["observations"]:
            self.tell(self._candidate(row), self._measures(row["measures"]))
        for name, place in (("pending", self._pending), ("failed", self._failed)):
            candidates = [self._candidate(row) for row in state[name]]
            self.problem.space.known(candidates)  # refuses what is not of the space
            place.update({self.problem.space.key(each): each for each in candidates})
        self._asked = int(state["asked"])

    def _candidate(self, row: Mapping[str, Any]) -> Candidate:
        return Candidate.from_dict(row)

    def _measures(self, row: Mapping[str, Any]) -> Measures:
        return Measures.from_dict(row)

    def _fill(self, chosen: dict[str, Proposal], n: int, proposals: Iterable[Proposal]) -> None:
        """Add what may be proposed until there are `n`."""
        taken = self._taken()
        for proposal in proposals:
            if len(chosen) >= n:
                return
            key = self.problem.space.key(proposal.candidate)
            if key in taken or key in chosen or not self.problem.feasible([proposal.candidate]):
                continue
            chosen[key] = proposal

    def _taken(self) -> frozenset[str]:
        key = self.problem.space.key
        evaluated = (key(o.candidate) for o in self._observations.values())
        return frozenset((*evaluated, *self._pending, *self._failed))

    def knowledge(self) -> Knowledge:
        """What the strategy would look at now."""
        return self._knowledge({})

    def _knowledge(self, chosen: Mapping[str, Proposal]) -> Knowledge:
        batch = [proposal.candidate for proposal in chosen.values()]
        return Knowledge(
            problem=self.problem,
            observations=self.observations,
            pending=[*self._pending.values(), *batch],
            taken=self._taken() | frozenset(chosen),
        )

    def _initial_proposals(self, n: int) -> list[Proposal]:
        """The next members of the initial design, or none once it is used up."""
        # what was told without being asked for, such as another search's, is a beginning too
        left = self._initial - max(self._asked, len(self._taken()))
        if left <= 0:
            return []
        if self._design is None:
            self._design = spread_out(self.problem, self._initial, self._seed)
        fresh = [Proposal(candidate, "initial") for candidate in self._design]
        knowledge = self._knowledge({})
        return [p for p in fresh if knowledge.is_new(p.candidate)][: min(n, left)]

    def _random_proposals(self, n: int, rng: np.random.Generator) -> Iterable[Proposal]:
        """Random feasible candidates, in batches that grow until the space must be used up."""
        size = min(64 + 4 * n + len(self._taken()), self.problem.space.size())
        for _ in range(3):
            for candidate in self.problem.sample(size, rng):
                yield Proposal(candidate, "random")
            size = min(4 * size, self.problem.space.size(), 4096)


def spread_out(problem: Problem, n: int, seed: int) -> list[Candidate]:
    """`n` feasible candidates far from each other in the encoding, each on its best device.

    Farthest-point (maximin) choice in a random pool, starting at the pool's centre: the middle
    of the space first, then its corners.
    """
    pool = problem.sample(max(_POOL_PER_INITIAL * n, 64), np.random.default_rng([seed, 0xD1CE]))
    keys = [problem.space.key(candidate) for candidate in pool]
    first_of_key = {key: i for i, key in reversed(list(enumerate(keys)))}
    pool = [pool[i] for i in sorted(first_of_key.values())]
    if not pool:
        return []
    points = problem.space.encode(pool)
    chosen = [int(np.argmin(((points - points.mean(axis=0)) ** 2).sum(axis=1)))]
    distance = ((points - points[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < min(n, len(pool)):
        distance[chosen] = -1.0
        chosen.append(int(np.argmax(distance)))
        distance = np.minimum(distance, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
    return problem.best_siblings([pool[i] for i in chosen])
