"""Active learning: which architectures to measure first and next.

Where there are only a handful of first ones, they are those of a pool from which a board is placed
best (`edgetran.profiling.board.design`). Later a batch is chosen greedily: the next architecture is
the one of the pool with the highest product of its predicted relative deviation and its distance to
everything measured or already chosen, so that a batch is uncertain and spread (greedy sampling in
input and output space: Wu, Lin and Huang, "Active learning for regression using greedy sampling",
Information Sciences 2019).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from edgetran.devices import Workload
from edgetran.profiling.board import design
from edgetran.profiling.surrogate import Surrogate
from edgetran.space import (
    Architecture,
    DesignSpace,
    SamplingMethod,
    feature_matrix,
    sampling,
    steps,
)

DESIGNED_UP_TO: Final = 12
"""First architectures that are chosen one by one; more of them fill the space as they are drawn."""

_POOL: Final = 256
_NEIGHBOURS: Final = 0.5  # of the pool size: one-step changes of what is measured


def initial_architectures(
    space: DesignSpace,
    n: int,
    method: SamplingMethod,
    rng: np.random.Generator,
    workload: Workload,
) -> list[Architecture]:
    """The first `n` distinct architectures (all of the space where it has no more).

    Args:
        space: where to look.
        n: how many; up to `DESIGNED_UP_TO` are chosen from a pool so that they tell the most.
        method: how architectures, or those of the pool, are drawn.
        rng: source of randomness.
        workload: at which they are measured.
    """
    count = min(n, space.cardinality())
    if n > DESIGNED_UP_TO:
        return sampling.sample(space, count, rng, method=method)
    pool = sampling.sample(space, min(_POOL, space.cardinality()), rng, method=method)
    features = feature_matrix(
        pool, workload.sequence_length, workload.batch_size, vocab_size=workload.vocab_size
    )
    return [pool[row] for row in design(features, count)]


def propose(
    surrogate: Surrogate,
    space: DesignSpace,
    known: Sequence[Architecture],
    n: int,
    *,
    pool_size: int,
    rng: np.random.Generator,
) -> list[Architecture]:
    """At most `n` architectures of the space, none of them known; fewer where it has no more.

    Args:
        surrogate: fitted to what is measured.
        space: where to look.
        known: what is measured or failed.
        n: size of the batch.
        pool_size: random architectures to choose from; half as many one-step changes of known
            ones join them.
        rng: source of randomness.
    """
    pool = _pool(space, known, pool_size, rng)
    if not pool:
        return []
    uncertainty = surrogate.uncertainty(pool)
    everything = np.log1p(
        feature_matrix(
            [*pool, *known],
            surrogate.sequence_length,
            surrogate.batch_size,
            vocab_size=surrogate.vocab_size,
        )
    )
    spread = everything.std(axis=0)
    everything = everything / np.where(spread > 0, spread, 1.0)
    points, measured = everything[: len(pool)], everything[len(pool) :]
    nearest = np.full(len(pool), np.inf)
    for point in measured:
        nearest = np.minimum(nearest, np.linalg.norm(points - point, axis=1))
    nearest = np.where(np.isfinite(nearest), nearest, 1.0)
    chosen: list[int] = []
    while len(chosen) < min(n, len(pool)):
        score = uncertainty * nearest
        score[chosen] = -np.inf
        chosen.append(int(np.argmax(score)))
        nearest = np.minimum(nearest, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return [pool[index] for index in chosen]


def _pool(
    space: DesignSpace, known: Sequence[Architecture], size: int, rng: np.random.Generator
) -> list[Architecture]:
    """Random architectures and one-step changes of known ones, each once, none known."""
    candidates = sampling.sample(space, min(size, space.cardinality()), rng)
    inside = [architecture for architecture in known if space.contains(architecture)]
    if inside:
        starts = rng.integers(len(inside), size=int(size * _NEIGHBOURS))
        candidates += [steps.mutate(space, inside[start], rng) for start in starts]
    return _distinct(candidates, {architecture.graph_hash for architecture in known})


def _distinct(architectures: Iterable[Architecture], excluded: set[str]) -> list[Architecture]:
    seen = set(excluded)
    result = []
    for architecture in architectures:
        if architecture.graph_hash not in seen:
            seen.add(architecture.graph_hash)
            result.append(architecture)
    return result
