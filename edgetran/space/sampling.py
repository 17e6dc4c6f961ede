"""Sampling of a design space: level by level, by chance or by a low-discrepancy sequence.

Uniform indices of the embedding would give 85 % layers of 12 heads and 84 % triple stacks in
`flexibert-2.0`; so every level of the hierarchy (depth, then per layer the hidden size, the
number of heads, the mix of that many heads, the length of the stack, its widths) is uniform.
The levels are the coordinates of a point of the unit cube; the methods differ in how the cube
is filled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, get_args

import numpy as np
import numpy.typing as npt

from edgetran.api.field_errors import invalid, unsupported
from edgetran.space.architecture import Architecture
from edgetran.space.design_space import DesignSpace, DesignSpaceError, SamplingMethod
from edgetran.space.embedding import architecture_at, layer_at
from edgetran.space.ranking import multiset_count, word_count

if TYPE_CHECKING:
    from scipy.stats.qmc import QMCEngine

_COORDINATES_PER_LAYER: Final = 5

_MAX_REDRAWS: Final = 10
"""Draws per architecture asked for, before the rest is picked by rank: a space hardly larger
than the sample would otherwise be drawn from almost forever."""

_SHUFFLE_BELOW: Final = 8
"""A space of fewer than this many times `n` architectures is shuffled as a whole; in a larger
one at most every eighth rank drawn is already taken."""

_BATCH: Final = 1024
"""Independent draws made at once."""

Points = npt.NDArray[np.float64]


def sample(
    space: DesignSpace,
    n: int,
    rng: np.random.Generator,
    method: SamplingMethod = "hierarchical",
    *,
    distinct: bool = True,
) -> list[Architecture]:
    """Draw `n` architectures of the space, each level of the hierarchy uniform.

    Args:
        space: the design space.
        n: how many.
        rng: source of all randomness.
        method: `hierarchical` draws independently; `sobol`, `lhs` (Latin hypercube) and
            `halton` spread the draws evenly over the levels (scrambled sequences of
            `scipy.stats.qmc`).
        distinct: no graph hash twice. A space with fewer than `n` distinct architectures then
            gives all of them, in random order.

    Raises:
        DesignSpaceError: n is negative, or the method is unknown.
    """
    if n < 0:
        raise DesignSpaceError(f"n: {invalid(n, 'must be at least 0')}")
    if method not in get_args(SamplingMethod):
        raise DesignSpaceError(f"method: {unsupported(method, get_args(SamplingMethod))}")
    if n == 0:
        return []
    draws = _draws(space, n, rng, method)
    if not distinct:
        return [next(draws) for _ in range(n)]
    chosen = _Distinct(n)
    if space.cardinality() > n:
        for _ in range(n * _MAX_REDRAWS):
            if chosen.add(next(draws)):
                return chosen.architectures
    _fill_by_rank(space, chosen, rng)
    return chosen.architectures


class _Distinct:
    """Architectures of different graph hashes, up to a number wanted.

    Equal graph hashes need equal sizes and the same mixes of heads in some order of layers, so
    the hash, which is slow, is computed only for architectures that share those.
    """

    def __init__(self, wanted: int) -> None:
        self.architectures: list[Architecture] = []
        self.wanted = wanted
        self._alike: dict[object, list[Architecture]] = {}

    def add(self, architecture: Architecture) -> bool:
        """Keep the architecture if it is new; True when there are as many as wanted."""
        layers = architecture.layers
        key = (
            tuple((layer.hidden_size, layer.feed_forward) for layer in layers),
            tuple(sorted((layer.head_dim, *sorted(layer.head_types)) for layer in layers)),
        )
        alike = self._alike.setdefault(key, [])
        if all(
            architecture != other and architecture.graph_hash != other.graph_hash for other in alike
        ):
            alike.append(architecture)
            self.architectures.append(architecture)
        return len(self.architectures) >= self.wanted


def _fill_by_rank(space: DesignSpace, chosen: _Distinct, rng: np.random.Generator) -> None:
    """Add architectures of uniform rank until there are enough, or no more in the space."""
    wanted, cardinality = chosen.wanted, space.cardinality()
    ranks: Iterator[int]
    if cardinality < _SHUFFLE_BELOW * wanted:
        ranks = map(int, rng.permutation(cardinality))
    else:
        ranks = (_below(cardinality, rng) for _ in range(wanted * _MAX_REDRAWS))
    for rank in ranks:
        if chosen.add(architecture_at(space, rank)):
            return


def _below(bound: int, rng: np.random.Generator) -> int:
    """A uniform integer below a bound of any size."""
    length = bound.bit_length()
    while True:
        value = int.from_bytes(rng.bytes((length + 7) // 8)) >> (-length % 8)
        if value < bound:
            return value


def _draws(
    space: DesignSpace, n: int, rng: np.random.Generator, method: SamplingMethod
) -> Iterator[Architecture]:
    """An endless stream of architectures."""
    dimensions = 1 + _COORDINATES_PER_LAYER * space.max_layers
    fill = _filler(method, dimensions, rng)
    batch = n
    if method == "sobol":
        batch = 1 << (n - 1).bit_length()  # Sobol sequences are balanced at powers of two
    elif method == "hierarchical":
        batch = min(n, _BATCH)
    while True:
        for point in fill(batch):
            yield _architecture_of(space, point)


def _filler(
    method: SamplingMethod, dimensions: int, rng: np.random.Generator
) -> Callable[[int], Points]:
    """What gives the next `size` points of the unit cube, shape (size, dimensions)."""
    if method == "hierarchical":
        return lambda size: rng.random((size, dimensions))
    from scipy.stats import qmc

    engines = {"sobol": qmc.Sobol, "lhs": qmc.LatinHypercube, "halton": qmc.Halton}
    engine: QMCEngine = engines[method](d=dimensions, seed=rng)
    return lambda size: engine.random(size)


def _architecture_of(space: DesignSpace, point: Points) -> Architecture:
    """The architecture at a point of the unit cube, shape (1 + 5 · max_layers,)."""
    kinds, letters = len(space.head_types), len(space.feed_forward_widths)
    coordinates = iter(point.tolist())
    layers = []
    for _ in range(space.num_layers[_pick(next(coordinates), len(space.num_layers))]):
        hidden = _pick(next(coordinates), len(space.hidden_sizes))
        heads = _pick(next(coordinates), len(space.num_heads))
        mix = _pick(next(coordinates), multiset_count(space.num_heads[heads], kinds))
        stack = _pick(next(coordinates), space.max_stack)
        word = _pick(next(coordinates), letters ** (stack + 1))
        feed_forward = word_count(letters, stack) + word
        layers.append(layer_at(space, hidden, feed_forward, space.attention_offsets[heads] + mix))
    return Architecture(tuple(layers))


def _pick(coordinate: float, options: int) -> int:
    """The option at a coordinate in [0, 1)."""
    return min(int(coordinate * options), options - 1)
