"""Which parts of a trained architecture correspond to which parts of a new one.

Source: weight transfer of FlexiBERT (arXiv 2205.11656, section 3.4), made explicit: layers by a
monotone alignment that shares the most parameters, heads by type and then by family, feed-forward
stacks by a monotone matching. Nothing corresponds by position alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, pairwise
from operator import itemgetter

from edgetran.models.layout import MIXING_BY_TRANSFORM, family, span
from edgetran.space import Architecture, Layer

FORBIDDEN = -(10**30)
"""A score below any number of parameters."""


@dataclass(frozen=True)
class LayerAlignment:
    """Where a child layer comes from.

    Attributes:
        parent: index of the parent layer, or None for a new layer.
        heads: for each head of the child, in the architecture's order, the parent head or None.
        feed_forward: for each width of the child's stack, the index in the parent's or None.
    """

    parent: int | None
    heads: tuple[int | None, ...]
    feed_forward: tuple[int | None, ...]


@dataclass(frozen=True)
class Alignment:
    """One `LayerAlignment` per child layer, parents in increasing order."""

    layers: tuple[LayerAlignment, ...]


def align(parent: Architecture, child: Architecture) -> Alignment:
    """Find the correspondence that shares the most parameters.

    Args:
        parent: the trained architecture.
        child: the new architecture.

    Returns:
        Every child layer with its parent; both keep their order, so depth may differ anywhere.
        Among equally good ones, layers of similar relative depth are matched.
    """
    return best_alignment(parent, child, matching)


def matching(parent: Layer, child: Layer) -> tuple[int, LayerAlignment]:
    """Parameters that an `ordered` transfer between two layers takes, and what corresponds.

    The correspondence's `parent` is None: it knows the layers, not their places.
    """
    return _matching(parent, child)


@lru_cache(maxsize=65536)
def _matching(parent: Layer, child: Layer) -> tuple[int, LayerAlignment]:
    heads = align_heads(parent.head_types, child.head_types)
    stacks = align_stacks(parent, child)
    width = min(parent.hidden_size, child.hidden_size)
    dim = min(parent.head_dim, child.head_dim)
    shared = 5 * width + shared_stack(parent, child, stacks)  # LayerNorms, output bias
    for head, source in enumerate(heads):
        if source is not None:
            shared += _shared_head(parent.head_types[source], child.head_types[head], dim, width)
    return shared, LayerAlignment(None, heads, stacks)


def _shared_head(source: str, head: str, dim: int, width: int) -> int:
    projections = 1 if head in MIXING_BY_TRANSFORM else 3
    shared = projections * (width + 1) * dim + width * dim
    if source == head == "sa_wma":
        shared += dim * dim
    if family(head) == "c":
        shared += 2 * dim * (dim + 1) + (2 * dim + 1) * min(span(source), span(head))
    return shared


def align_heads(parent: Sequence[str], child: Sequence[str]) -> tuple[int | None, ...]:
    """For each child head the parent head: the same type first, then the same family."""
    free = dict(enumerate(parent))
    chosen: list[int | None] = [None] * len(child)
    for kind in (str, family):
        available: dict[str, list[int]] = {}
        for index, head_type in free.items():
            available.setdefault(kind(head_type), []).append(index)
        for head, head_type in enumerate(child):
            sources = available.get(kind(head_type))
            if chosen[head] is None and sources:
                source = sources.pop(0)
                chosen[head] = source
                del free[source]
    return tuple(chosen)


def align_stacks(parent: Layer, child: Layer) -> tuple[int | None, ...]:
    """For each width of the child's feed-forward stack, the width of the parent's it continues."""
    ours, theirs = len(child.feed_forward), len(parent.feed_forward)
    matched = min(ours, theirs)
    if ours == theirs:
        return tuple(range(ours))
    candidates = [
        _pairs(ours, chosen, sources)
        for chosen in combinations(range(ours), matched)
        for sources in combinations(range(theirs), matched)
    ]
    return max(candidates, key=lambda stacks: shared_stack(parent, child, stacks))


def _pairs(size: int, chosen: Sequence[int], sources: Sequence[int]) -> tuple[int | None, ...]:
    stacks: list[int | None] = [None] * size
    for index, source in zip(chosen, sources, strict=True):
        stacks[index] = source
    return tuple(stacks)


def stack_matrices(
    stacks: Sequence[int | None], parent_depth: int
) -> list[tuple[int, int | None, bool]]:
    """The matrices of a child's stack that continue one of the parent's.

    Args:
        stacks: for each child width the parent's, as in `LayerAlignment.feed_forward`.
        parent_depth: number of widths of the parent.

    Returns:
        For each child matrix i (from unit layer i − 1 to i; −1 is the layer's input, the last
        its output): i, the parent's matrix with the same outputs or None, and whether its inputs
        correspond too. Without that only the bias has a meaning in the child.
    """
    ends = [-1, *stacks, parent_depth]
    return [
        (i, after, after is not None and before == after - 1)
        for i, (before, after) in enumerate(pairwise(ends))
    ]


def shared_stack(parent: Layer, child: Layer, stacks: Sequence[int | None]) -> int:
    """Parameters of the feed-forward matrices that correspond."""
    theirs = (parent.hidden_size, *parent.feed_forward, parent.hidden_size)
    ours = (child.hidden_size, *child.feed_forward, child.hidden_size)
    shared = 0
    for i, source, inputs_too in stack_matrices(stacks, len(parent.feed_forward)):
        if source is not None:
            outputs = min(ours[i + 1], theirs[source + 1])
            shared += outputs * (1 + min(ours[i], theirs[source]) if inputs_too else 1)
    return shared


def best_alignment(
    parent: Architecture,
    child: Architecture,
    score: Callable[[Layer, Layer], tuple[int, LayerAlignment]],
    may_be_new: Callable[[int], bool] = lambda _: True,
) -> Alignment:
    """The monotone alignment of layers with the largest total score (dynamic programming).

    Args:
        parent: the trained architecture.
        child: the new architecture.
        score: function of (parent layer, child layer) like `matching`; `FORBIDDEN` is taken only
            where nothing else is left.
        may_be_new: whether the child layer of that index may have no parent, likewise.
    """
    depth, parent_depth = child.num_layers, parent.num_layers
    pairs = [[score(p, c) for p in parent.layers] for c in child.layers]
    # best[i][j]: (score, −distance of relative depths) of the first i child and j parent layers,
    # and the step that leads there: the child's layer is new, the parent's is left out, or both
    # correspond.
    best = [[((0, 0), "left out")] * (parent_depth + 1) for _ in range(depth + 1)]
    for i in range(1, depth + 1):
        penalty = 0 if may_be_new(i - 1) else FORBIDDEN
        for j in range(parent_depth + 1):
            value, distance = best[i - 1][j][0]
            options = [((value + penalty, distance), "new")]
            if j:
                value, distance = best[i - 1][j - 1][0]
                apart = abs((2 * i - 1) * parent_depth - (2 * j - 1) * depth)
                options += [
                    (best[i][j - 1][0], "left out"),
                    ((value + pairs[i - 1][j - 1][0], distance - apart), "matched"),
                ]
            best[i][j] = max(options, key=itemgetter(0))
    layers: list[LayerAlignment] = []
    i, j = depth, parent_depth
    while i:
        step = best[i][j][1]
        layer = child.layers[i - 1]
        if step == "new":
            layers.append(
                LayerAlignment(None, (None,) * layer.num_heads, (None,) * len(layer.feed_forward))
            )
        elif step == "matched":
            found = pairs[i - 1][j - 1][1]
            layers.append(LayerAlignment(j - 1, found.heads, found.feed_forward))
        i -= step != "left out"
        j -= step != "new"
    return Alignment(tuple(reversed(layers)))
