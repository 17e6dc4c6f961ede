"""BOSHCODE: second-order search of architecture and device with heteroscedastic surrogates.

Source: Tuli and Jha (arXiv 2303.13745), §III-D. Accuracy alone is learned (the hardware comes
from predictors), and the acquisition of a pair is

    w_a · (μ + k₁·σ_aleatoric + k₂·σ_epistemic) + hardware value,

with μ and σ_aleatoric from the NPN and σ_epistemic from the student. Where accuracy is bounded,
what lies above the pool's worst is multiplied by the probability that the bound holds; while
nothing feasible is known, that probability alone is climbed. GOBI climbs it over the continuous
encoding on each device, its summits are snapped to valid pairs, and these compete with mutations of
the incumbents and random candidates.

Both deviations are scaled by the errors on rows that are held out of the fit: a network's own claim
is far too wide, since its floor of noise exceeds its error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgetran.devices import Figure
from edgetran.search.asktell import Knowledge, Proposal
from edgetran.search.candidates import Candidate
from edgetran.search.constraints import Bound
from edgetran.search.methods.gobi import ascend
from edgetran.search.methods.networks import (
    NaturalParameterNetwork,
    Student,
    Teacher,
    fit,
)
from edgetran.search.methods.options import at_least, share
from edgetran.search.methods.pool import PoolChoice, candidate_pool, feasible_on_best_device
from edgetran.search.methods.smooth_hardware import SmoothHardware
from edgetran.search.problem import Problem
from edgetran.search.spaces import Encoding

_STEPS = 120
_STARTS_PER_DEVICE = 4
_SNAP_ROUNDS = 5
_SNAP_WIDTH = 8
_FOLDS = 3
_FEWEST_FOR_FOLDS = 9
_PRIOR_ROWS = 8.0
"""Rows that the networks' own claim counts for, beside their errors on rows held out."""


class Boschcode:
    """The strategy of EdgeTran.

    Args:
        aleatoric: k₁, the weight of aleatoric uncertainty in the acquisition; small, since noise
            that no further training removes is no reason to look closer.
        epistemic: k₂, the weight of epistemic uncertainty.
        uncertainty_share: probability that a proposal is the most uncertain candidate instead.
        diversity_share: probability that it is the one farthest from all seen instead.
        pool: number of random candidates that compete.
    """

    minimum_observations = 3

    def __init__(
        self,
        *,
        aleatoric: float = 0.1,
        epistemic: float = 1.0,
        uncertainty_share: float = 0.1,
        diversity_share: float = 0.1,
        pool: int = 256,
    ) -> None:
        self._aleatoric = aleatoric
        self._epistemic = epistemic
        self._uncertainty_share = share(uncertainty_share=uncertainty_share)
        self._diversity_share = share(diversity_share=diversity_share)
        self._pool = at_least(1, pool=pool)

    def suggest(self, knowledge: Knowledge, n: int, rng: np.random.Generator) -> list[Proposal]:
        """Fit the networks, climb, snap, and choose one candidate at a time."""
        problem = knowledge.problem
        with _one_thread():
            generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
            sources = candidate_pool(knowledge, rng, random=self._pool)
            if not sources:
                return []
            pool = [candidate for candidate, _ in sources]
            model = AccuracyModel.fit(
                *knowledge.accuracies(), problem.space.encode(pool), generator
            )
            snapped = self._climb(knowledge, model, pool, generator, rng)
            sources = feasible_on_best_device(problem, snapped + sources)
            return self._choose(knowledge, model, sources, n, rng)

    def _climb(
        self,
        knowledge: Knowledge,
        model: AccuracyModel,
        pool: Sequence[Candidate],
        generator: torch.Generator,
        rng: np.random.Generator,
    ) -> list[tuple[Candidate, str]]:
        """The valid pairs nearest to the summits that GOBI reaches on each device."""
        problem = knowledge.problem
        seen = [o.candidate for o in knowledge.incumbents(_STARTS_PER_DEVICE)]
        hardware = SmoothHardware.fit(problem, [*pool, *seen])
        weight = problem.objective.effective_weight("accuracy")
        points = problem.space.encode(pool)
        score = self._optimism(model, points) * weight + problem.hardware_values(pool)
        bound = problem.learned_bounds.get("accuracy")
        found = _found(knowledge)
        floor = float(score.min())
        score = _feasible_score(score, bound, model.predict(points), found=found)
        leaders = [pool[i] for i in np.argsort(-score)[:_STARTS_PER_DEVICE]]
        names = list(hardware.devices)
        starts = [(c, device) for device in names for c in (*seen, *leaders)]
        devices = torch.tensor([hardware.devices[device] for _, device in starts])
        lower, upper = points.min(axis=0), points.max(axis=0)

        def acquisition(inputs: Tensor) -> Tensor:
            mean, aleatoric, epistemic = model.moments(inputs)
            optimistic = mean + self._aleatoric * aleatoric + self._epistemic * epistemic
            value = weight * optimistic + hardware.value(inputs, devices)
            if bound is None:
                return value
            chance = _log_chance(bound, mean, torch.hypot(aleatoric, epistemic))
            return (value - floor) * chance.exp() if found else chance

        summits = ascend(
            acquisition,
            _tensor(problem.space.encode([candidate for candidate, _ in starts])),
            lower=_tensor(lower),
            upper=_tensor(upper),
            generator=generator,
        )
        snapped = snap(problem, summits.double().numpy(), pool, rng)
        return [(candidate, "gobi") for candidate in snapped]

    def _optimism(self, model: AccuracyModel, points: Encoding) -> NDArray[np.float64]:
        mean, aleatoric, epistemic = model.predict(points)
        return mean + self._aleatoric * aleatoric + self._epistemic * epistemic

    def _choose(
        self,
        knowledge: Knowledge,
        model: AccuracyModel,
        sources: Sequence[tuple[Candidate, str]],
        n: int,
        rng: np.random.Generator,
    ) -> list[Proposal]:
        """One candidate at a time: the best, or sometimes the most uncertain or the farthest."""
        problem = knowledge.problem
        pool = [candidate for candidate, _ in sources]
        points = problem.space.encode(pool)
        mean, aleatoric, epistemic = model.predict(points)
        weight = problem.objective.effective_weight("accuracy")
        hardware = problem.hardware_values(pool)
        bound = problem.learned_bounds.get("accuracy")
        visited = knowledge.accuracies()[0]
        if knowledge.pending:
            visited = np.vstack([visited, problem.space.encode(list(knowledge.pending))])
        batch = problem.space.encode(list(knowledge.pending))
        choice = PoolChoice(knowledge, pool)
        proposals: list[Proposal] = []
        while len(proposals) < n:
            doubt = epistemic * _novelty(points, batch)
            score = hardware + weight * (
                mean + self._aleatoric * aleatoric + self._epistemic * doubt
            )
            score = _feasible_score(
                score, bound, (mean, aleatoric, epistemic), found=_found(knowledge)
            )
            kind = rng.random()
            origin: str | None = None if _found(knowledge) else "feasibility"
            if kind < self._uncertainty_share:
                score, origin = doubt, "uncertainty"
            elif kind < self._uncertainty_share + self._diversity_share:
                score, origin = _distance(points, visited), "diversity"
            i = choice.pick(score)
            if i is None:
                break
            spread = float(np.hypot(aleatoric[i], epistemic[i]))
            predicted = Figure(float(mean[i]), "", "predicted", std=spread)
            proposals.append(Proposal(pool[i], origin or sources[i][1], predicted))
            batch = np.vstack([batch, points[i : i + 1]])
            visited = np.vstack([visited, points[i : i + 1]])
        return proposals


class AccuracyModel:
    """The three fitted networks, in units of accuracy."""

    def __init__(
        self,
        npn: NaturalParameterNetwork,
        student: Student,
        centre: float,
        spread: float,
        widening: float,
    ) -> None:
        self._npn = npn
        self._student = student
        self._centre = centre
        self._spread = spread
        self._widening = widening

    @classmethod
    def fit(
        cls,
        points: Encoding,
        accuracies: NDArray[np.float64],
        unlabelled: Encoding,
        generator: torch.Generator,
    ) -> AccuracyModel:
        """Fit the networks to accuracies (n,) at points (n, k).

        The student learns the teacher's spread at those and at `unlabelled` (m, k).
        """
        centre, spread = float(accuracies.mean()), float(accuracies.std()) or 1.0
        inputs, targets = _tensor(points), _tensor((accuracies - centre) / spread)
        widening = _widening(inputs, targets, generator)
        npn, teacher = _networks(inputs, targets, generator)
        everywhere = torch.cat([inputs, _tensor(unlabelled)])
        doubts = teacher.spread(everywhere)
        student = Student(points.shape[1], generator)
        fit(student, lambda: ((student(everywhere) - doubts) ** 2).mean(), steps=_STEPS)
        return cls(npn, student, centre, spread, widening)

    def moments(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, aleatoric and epistemic standard deviation at points (n, k), each (n,)."""
        mean, variance = self._npn(points)
        doubt = self._student(points)
        return (
            self._centre + self._spread * mean,
            self._spread * self._widening * variance.sqrt(),
            self._spread * self._widening * doubt,
        )

    @torch.no_grad()
    def predict(self, points: Encoding) -> tuple[NDArray[np.float64], ...]:
        """`moments` as arrays."""
        return tuple(moment.double().numpy() for moment in self.moments(_tensor(points)))


def _networks(
    inputs: Tensor, targets: Tensor, generator: torch.Generator
) -> tuple[NaturalParameterNetwork, Teacher]:
    """NPN and teacher, fitted to targets (n,) at inputs (n, k)."""
    npn = NaturalParameterNetwork(inputs.shape[1], generator)
    fit(npn, lambda: npn.loss(inputs, targets), steps=_STEPS, weight_decay=0.0)
    teacher = Teacher(inputs.shape[1], generator)
    fit(teacher, lambda: teacher.loss(inputs, targets), steps=_STEPS)
    return npn, teacher


def _widening(inputs: Tensor, targets: Tensor, generator: torch.Generator) -> float:
    """What the claimed deviations are to be multiplied by, from the errors on held-out folds."""
    if len(targets) < _FEWEST_FOR_FOLDS:
        return 1.0
    fold = torch.randperm(len(targets), generator=generator) % _FOLDS
    total = _PRIOR_ROWS
    for held in range(_FOLDS):
        out = fold == held
        npn, teacher = _networks(inputs[~out], targets[~out], generator)
        with torch.no_grad():
            mean, variance = npn(inputs[out])
            claimed = variance + teacher.spread(inputs[out]) ** 2
            total += float(((targets[out] - mean) ** 2 / claimed).clamp_max(9.0).sum())
    return float(np.sqrt(total / (len(targets) + _PRIOR_ROWS)))


def _found(knowledge: Knowledge) -> bool:
    """Whether something feasible is known, as far as accuracy decides it."""
    bounded = "accuracy" in knowledge.problem.learned_bounds
    return not bounded or any(o.feasible for o in knowledge.observations)


def _log_chance(bound: Bound, mean: Tensor, deviation: Tensor) -> Tensor:
    """Log of the probability that an accuracy is within the bound, (n,)."""
    total = torch.zeros_like(mean)
    deviation = deviation.clamp_min(1e-9)
    if bound.minimum is not None:
        total = total + torch.special.log_ndtr((mean - bound.minimum) / deviation)
    if bound.maximum is not None:
        total = total + torch.special.log_ndtr((bound.maximum - mean) / deviation)
    return total


def _feasible_score(
    score: NDArray[np.float64],
    bound: Bound | None,
    moments: tuple[NDArray[np.float64], ...],
    *,
    found: bool,
) -> NDArray[np.float64]:
    """A score (n,) with the chance to be feasible in it."""
    if bound is None:
        return score
    mean, aleatoric, epistemic = (torch.from_numpy(moment) for moment in moments)
    chance = _log_chance(bound, mean, torch.hypot(aleatoric, epistemic)).numpy()
    return (score - score.min()) * np.exp(chance) if found else chance


def snap(
    problem: Problem, summits: Encoding, pool: Sequence[Candidate], rng: np.random.Generator
) -> list[Candidate]:
    """For each of `summits` (n, k) a valid candidate near it.

    The nearest of the pool, then the nearest of its mutations as long as that comes nearer.
    """
    points = problem.space.encode(pool)
    current = [pool[int(np.argmin(((points - summit) ** 2).sum(axis=1)))] for summit in summits]
    gap = ((problem.space.encode(current) - summits) ** 2).sum(axis=1)
    for _ in range(_SNAP_ROUNDS):
        steps = [[problem.space.mutate(c, rng) for _ in range(_SNAP_WIDTH)] for c in current]
        encoded = problem.space.encode([step for row in steps for step in row])
        encoded = encoded.reshape(len(current), _SNAP_WIDTH, -1)
        distances = ((encoded - summits[:, None]) ** 2).sum(axis=2)
        for i, nearest in enumerate(distances.argmin(axis=1)):
            if distances[i, nearest] < gap[i]:
                current[i], gap[i] = steps[i][nearest], distances[i, nearest]
    return current


def _novelty(points: Encoding, batch: Encoding) -> NDArray[np.float64]:
    """How much of the doubt at points (n, k) stays while `batch` (m, k) is evaluated: 0 … 1."""
    if not len(batch):
        return np.ones(len(points))
    near = _distance(points, batch)
    return near / (near + np.median(near) + 1e-12)


def _distance(points: Encoding, others: Encoding) -> NDArray[np.float64]:
    """Distance of each of `points` (n, k) to the nearest of `others` (m, k)."""
    squares = (points**2).sum(1)[:, None] + (others**2).sum(1) - 2 * points @ others.T
    distance: NDArray[np.float64] = np.sqrt(np.maximum(squares, 0).min(axis=1))
    return distance


def _tensor(values: NDArray[np.float64]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Tiny networks are fastest on one thread, and leave the others to training."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
