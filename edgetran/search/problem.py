"""A search problem: a space, an objective and constraints, and what they say of candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgetran.search.candidates import Candidate, Measures, SearchError
from edgetran.search.constraints import UNKNOWN_EXCESS, Bound, Constraints
from edgetran.search.objective import Front, Objective, Scale, Weights
from edgetran.search.spaces import SearchSpace

_DRAWS_PER_SAMPLE: Final = 32
"""Candidates drawn per feasible one wanted, before a descent towards feasibility begins."""

_ENUMERATED: Final = 2048
"""A space of at most this many candidates is looked through as a whole."""

_DESCENT_ROUNDS: Final = 30
_DESCENT_WIDTH: Final = 16


class InfeasibleSearchError(SearchError):
    """Constraints that no candidate satisfies; the message says how near the best one comes."""


@dataclass(frozen=True)
class Assessment:
    """What is known of a candidate before training.

    Attributes:
        measures: hardware figures and parameters.
        hardware_value: the hardware's part of the objective, None where it is not known.
        reason: why the candidate is not feasible, None where it is.
        excess: how far from feasible, 0 where it is.
    """

    measures: Measures
    hardware_value: float | None
    reason: str | None
    excess: float

    @property
    def feasible(self) -> bool:
        """Whether the candidate can be the winner, accuracy aside."""
        return self.reason is None


@dataclass(frozen=True)
class Problem:
    """What a method solves: find the feasible candidate of `space` with the highest objective."""

    space: SearchSpace
    objective: Objective
    constraints: Constraints = field(default_factory=Constraints)
    _assessed: dict[tuple[str, str], Assessment] = field(
        default_factory=dict, repr=False, compare=False
    )

    @property
    def learned_bounds(self) -> dict[str, Bound]:
        """The bounds of what only an evaluation tells, by measure."""
        bounds = self.constraints.bounds()
        return {name: bounds[name] for name in self.space.learned if name in bounds}

    def judge(self, measures: Measures) -> tuple[bool, str | None]:
        """Whether a candidate with these measures is feasible, and the reason if not."""
        hardware = measures.hardware
        if not hardware.feasible:
            return False, hardware.infeasible_reason
        reasons = list(self.constraints.violations(measures))
        unknown = self.objective.unknown(measures)
        if unknown is not None:
            reasons.append(unknown)
        return not reasons, "; ".join(reasons) or None

    def assess(self, candidates: Sequence[Candidate]) -> list[Assessment]:
        """What is known of each candidate before training."""
        new = [c for c in candidates if c.identity not in self._assessed]
        for candidate, measures in zip(new, self.space.known(new), strict=True):
            self._assessed[candidate.identity] = self._assess(measures)
        return [self._assessed[candidate.identity] for candidate in candidates]

    def _assess(self, measures: Measures) -> Assessment:
        _, reason = self.judge(measures)
        value = self.objective.cost_value(measures)
        return Assessment(measures, value, reason, self.excess(measures))

    def excess(self, measures: Measures) -> float:
        """How far from feasible a candidate with these measures is, 0 where it is feasible."""
        if self.judge(measures)[0]:
            return 0.0
        out_of_reach = not measures.hardware.feasible
        return max(self.constraints.excess(measures) + UNKNOWN_EXCESS * out_of_reach, 1e-9)

    def feasible(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Those of the candidates that are feasible before training."""
        assessed = zip(candidates, self.assess(candidates), strict=True)
        return [candidate for candidate, assessment in assessed if assessment.feasible]

    def sample(self, n: int, rng: np.random.Generator) -> list[Candidate]:
        """At most `n` distinct feasible candidates at random.

        Where the feasible part is too small to be hit by chance, candidates are mutated towards
        it; fewer than `n` come back where even that finds no more.
        """
        if self.space.size() <= max(4 * n, _ENUMERATED):
            return self.feasible(self.space.sample(self.space.size(), rng))[:n]
        found: dict[tuple[str, str], Candidate] = {}
        nearest: list[Candidate] = []
        drawn = 0
        while len(found) < n and drawn < n * _DRAWS_PER_SAMPLE:
            batch = self.space.sample(max(2 * n, 32), rng)
            drawn += len(batch)
            excess = np.array([a.excess for a in self.assess(batch)])
            found |= {batch[i].identity: batch[i] for i in np.flatnonzero(excess == 0)}
            nearest += [batch[i] for i in np.argsort(excess, kind="stable")[:_DESCENT_WIDTH]]
        if len(found) < n:
            start = list(found.values()) or nearest
            found |= {c.identity: c for c in self._spread_out(start, n - len(found), rng)}
        return list(found.values())[:n]

    def best_siblings(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Each candidate's architecture on the feasible device with the best hardware value.

        A candidate that is feasible on no device stays as it is.
        """
        families = [self.space.siblings(candidate) or [candidate] for candidate in candidates]
        values = iter(self.hardware_values([pair for family in families for pair in family]))
        best: list[Candidate] = []
        for candidate, family in zip(candidates, families, strict=True):
            scores = [next(values) for _ in family]
            i = int(np.argmax(scores))
            best.append(family[i] if np.isfinite(scores[i]) else candidate)
        return best

    def hardware_values(self, candidates: Sequence[Candidate]) -> NDArray[np.float64]:
        """The hardware's part of the objective, (n,); −∞ for infeasible candidates."""
        return np.array(
            [
                a.hardware_value if a.feasible and a.hardware_value is not None else -np.inf
                for a in self.assess(candidates)
            ]
        )

    def _spread_out(
        self, start: Sequence[Candidate], n: int, rng: np.random.Generator
    ) -> list[Candidate]:
        """Feasible candidates by rounds of mutation that keep the least excess."""
        population = list({c.identity: c for c in start}.values())
        known = {c.identity for c in population}
        found: list[Candidate] = []
        for _ in range(_DESCENT_ROUNDS):
            if not population or len(found) >= n:
                break
            parents = [population[i % len(population)] for i in range(2 * _DESCENT_WIDTH)]
            children = {
                c.identity: c for c in (self.space.mutate(parent, rng) for parent in parents)
            }
            fresh = [c for identity, c in children.items() if identity not in known]
            known.update(children)
            excess = [a.excess for a in self.assess(fresh)]
            found += [c for c, far in zip(fresh, excess, strict=True) if far == 0]
            everyone = population + fresh
            far = np.array([a.excess for a in self.assess(everyone)])
            order = np.lexsort((rng.random(len(far)), far))  # ties at random: no drift to elders
            population = [everyone[i] for i in order[:_DESCENT_WIDTH]]
        return found


def make_problem(
    space: SearchSpace,
    *,
    weights: Weights | None = None,
    normalisers: dict[str, float] | None = None,
    constraints: Constraints | None = None,
    scale: Scale = "log",
    front: Front | None = None,
    seed: int = 0,
    samples: int = 1024,
) -> Problem:
    """The problem whose normalisers are the range of `samples` candidates of the space.

    Args:
        space: where to search.
        weights: of the objective; for a front all of its axes weigh the same by default.
        normalisers: per measure, where its term is 0.
        constraints: what the winner must satisfy.
        scale: of the costs.
        front: the front that is sought in place of the weighted sum.
        seed: of the sample.
        samples: candidates that set the range.

    Raises:
        InfeasibleSearchError: no candidate satisfies the constraints, neither one of the sample
            nor one found by a descent from its nearest.
        SearchError: for impossible weights, normalisers or constraints.
    """
    constraints = constraints or Constraints()
    rng = np.random.default_rng([seed, 0x5CA1E])
    drawn = space.sample(samples, rng)
    architectures = {c.architecture.canonical_json: c for c in drawn}.values()
    sample = [sibling for c in architectures for sibling in space.siblings(c)]
    known = space.known(sample)
    figures = {
        device: [
            measures
            for candidate, measures in zip(sample, known, strict=True)
            if candidate.device == device
        ]
        for device in space.devices
    }
    if front is not None and weights is None:
        weights = Weights.by_measure(dict.fromkeys(front.axes, 1.0))
    objective = Objective.over(
        figures,
        weights=weights,
        normalisers=normalisers,
        constraints=constraints,
        scale=scale,
        front=front,
    )
    problem = Problem(space, objective, constraints)
    if not any(assessment.feasible for assessment in problem.assess(sample)) and not (
        problem.sample(1, rng)
    ):
        raise InfeasibleSearchError(_why_infeasible(problem, sample))
    return problem


def _why_infeasible(problem: Problem, sample: Sequence[Candidate]) -> str:
    """Each bound that nothing in the sample meets; else what ails the nearest candidate."""
    assessments = problem.assess(sample)
    out_of_reach = []
    for name, bound in problem.constraints.bounds().items():
        known = [
            (value, candidate.device)
            for candidate, a in zip(sample, assessments, strict=True)
            if (value := a.measures.value(name)) is not None
        ]
        if name in problem.space.learned:
            continue
        if not known:
            out_of_reach.append(f"{name} is bounded but known on no device")
        elif bound.maximum is not None and min(known)[0] > bound.maximum:
            value, device = min(known)
            out_of_reach.append(
                f"{name} max {bound.maximum:g}: the least is {value:.6g} ({device})"
            )
        elif bound.minimum is not None and max(known)[0] < bound.minimum:
            value, device = max(known)
            limit = f"{name} min {bound.minimum:g}"
            out_of_reach.append(f"{limit}: the most is {value:.6g} ({device})")
    if not out_of_reach:
        i = int(np.argmin([a.excess for a in assessments]))
        out_of_reach.append(f"the nearest, on {sample[i].device}: {assessments[i].reason}")
    return (
        f"constraints: none of {len(sample):,} sampled candidates on "
        f"{', '.join(problem.space.devices)} satisfies them; {'; '.join(out_of_reach)}"
    )


def silent_measures(problem: Problem) -> list[str]:
    """A sentence for each cost that does not count in the objective."""
    left_out = problem.objective.left_out
    return [f"objective: {name} is {reason}" for name, reason in left_out.items()]
