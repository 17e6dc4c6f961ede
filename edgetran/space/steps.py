"""One-step changes of an architecture inside a design space, and the way into the space.

A step changes one choice of the hierarchy: one head's type, a layer's number of heads (to the
next smaller or larger allowed one; the head dimension follows), a layer's hidden size (the head
dimension follows), one feed-forward width, one matrix more or less in a stack, or the depth (to
the next smaller or larger allowed one). New layers are copies of one that is there, put next to
each other at any place; layers are removed next to each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations_with_replacement
from math import log
from typing import Final, TypeVar

import numpy as np

from edgetran.space.architecture import HEAD_TYPES, Architecture, Layer
from edgetran.space.design_space import DesignSpace, DesignSpaceError

T = TypeVar("T")


def project(space: DesignSpace, architecture: Architecture) -> Architecture:
    """The architecture itself where it is in the space, else one inside that resembles it.

    Depth, numbers of heads and stack lengths become the nearest allowed ones, keeping layers,
    heads and widths at even distances; sizes become the nearest allowed ones by ratio; a head
    type that is not allowed becomes one of its family (`sa`, `l` or `c`) where there is one.
    """
    if space.contains(architecture):
        return architecture
    depth = _nearest(architecture.num_layers, space.num_layers)
    return Architecture(
        tuple(_project_layer(space, layer) for layer in _evenly(architecture.layers, depth))
    )


def neighbours(space: DesignSpace, architecture: Architecture) -> list[Architecture]:
    """Every architecture of the space one step away, each once, heads in canonical order.

    There are finitely many: some hundreds in `tiny`, about 500 per
    layer in `flexibert-2.0`, most of them other mixes when the number of heads changes. They are
    C(g + t - 1, g) where g heads of t types are added: a space whose numbers of heads lie far
    apart has too many to list, while `mutate` draws from them without listing them. For an
    architecture outside the space, its projection comes first, then the projection's neighbours.
    """
    start = project(space, architecture).canonical()
    found = dict.fromkeys(_all_steps(space, start))
    found.pop(start, None)
    return [*([] if space.contains(architecture) else [start]), *found]


def mutate(
    space: DesignSpace, architecture: Architecture, rng: np.random.Generator
) -> Architecture:
    """A random one of `neighbours`, each kind of step equally likely; never the same again.

    For an architecture outside the space, a neighbour of its projection (the projection itself
    where that has none).

    Raises:
        DesignSpaceError: the space holds only this architecture.
    """
    start = project(space, architecture).canonical()
    for kind in rng.permutation(len(_RANDOM_LAYER_STEPS) + 1):
        if kind == len(_RANDOM_LAYER_STEPS):
            if depths := _adjacent(start.num_layers, space.num_layers):
                return _change_depth_randomly(start, _choose(depths, rng), rng)
            continue
        for i in rng.permutation(start.num_layers):
            layer = _RANDOM_LAYER_STEPS[kind](space, start.layers[i], rng)
            if layer is not None:
                return _with_layer(start, int(i), layer)
    if not space.contains(architecture):
        return start
    raise DesignSpaceError(
        f"design space {space.name}: holds one architecture only, so it has no neighbour"
    )


def _all_steps(space: DesignSpace, start: Architecture) -> Iterator[Architecture]:
    for i, layer in enumerate(start.layers):
        for steps in (_retyped, _other_heads, _other_hidden, _other_width, _other_stack):
            for changed in steps(space, layer):
                yield _with_layer(start, i, changed)
    for depth in _adjacent(start.num_layers, space.num_layers):
        yield from _other_depth(start, depth)


def _retyped(space: DesignSpace, layer: Layer) -> Iterator[Layer]:
    heads = layer.head_types
    for place, head in enumerate(heads):
        if head in heads[:place]:
            continue
        for other in space.head_types:
            if other != head:
                yield _with_heads(space, layer, (*heads[:place], other, *heads[place + 1 :]))


def _other_heads(space: DesignSpace, layer: Layer) -> Iterator[Layer]:
    for number in _adjacent(layer.num_heads, space.num_heads):
        if number > layer.num_heads:
            added = number - layer.num_heads
            for new in combinations_with_replacement(space.head_types, added):
                yield _with_heads(space, layer, (*layer.head_types, *new))
        else:
            for kept in _submultisets(layer.head_types, number):
                yield _with_heads(space, layer, kept)


def _other_hidden(space: DesignSpace, layer: Layer) -> Iterator[Layer]:
    for hidden_size in space.hidden_sizes:
        if hidden_size != layer.hidden_size:
            yield _with_hidden(space, layer, hidden_size)


def _other_width(space: DesignSpace, layer: Layer) -> Iterator[Layer]:
    widths = layer.feed_forward
    for place, width in enumerate(widths):
        for other in space.feed_forward_widths:
            if other != width:
                yield _with_stack(layer, (*widths[:place], other, *widths[place + 1 :]))


def _other_stack(space: DesignSpace, layer: Layer) -> Iterator[Layer]:
    widths = layer.feed_forward
    if len(widths) < space.max_stack:
        for place in range(len(widths) + 1):
            for new in space.feed_forward_widths:
                yield _with_stack(layer, (*widths[:place], new, *widths[place:]))
    if len(widths) > 1:
        for place in range(len(widths)):
            yield _with_stack(layer, (*widths[:place], *widths[place + 1 :]))


def _other_depth(start: Architecture, depth: int) -> Iterator[Architecture]:
    layers, change = start.layers, depth - start.num_layers
    if change > 0:
        for place in range(len(layers) + 1):
            for layer in layers:
                yield Architecture((*layers[:place], *(layer,) * change, *layers[place:]))
    else:
        for place in range(depth + 1):
            yield Architecture((*layers[:place], *layers[place - change :]))


def _retype_randomly(space: DesignSpace, layer: Layer, rng: np.random.Generator) -> Layer | None:
    place = int(rng.integers(layer.num_heads))
    heads = layer.head_types
    others = [head for head in space.head_types if head != heads[place]]
    if not others:
        return None
    return _with_heads(space, layer, (*heads[:place], _choose(others, rng), *heads[place + 1 :]))


def _change_heads_randomly(
    space: DesignSpace, layer: Layer, rng: np.random.Generator
) -> Layer | None:
    numbers = _adjacent(layer.num_heads, space.num_heads)
    if not numbers:
        return None
    number = _choose(numbers, rng)
    if number > layer.num_heads:
        new = [_choose(space.head_types, rng) for _ in range(number - layer.num_heads)]
        return _with_heads(space, layer, (*layer.head_types, *new))
    kept = rng.choice(layer.num_heads, size=number, replace=False)
    return _with_heads(space, layer, [layer.head_types[place] for place in kept])


def _change_hidden_randomly(
    space: DesignSpace, layer: Layer, rng: np.random.Generator
) -> Layer | None:
    return _choose_or_none(list(_other_hidden(space, layer)), rng)


def _change_width_randomly(
    space: DesignSpace, layer: Layer, rng: np.random.Generator
) -> Layer | None:
    return _choose_or_none(list(_other_width(space, layer)), rng)


def _change_stack_randomly(
    space: DesignSpace, layer: Layer, rng: np.random.Generator
) -> Layer | None:
    longer_or_shorter: dict[bool, list[Layer]] = {}
    for changed in _other_stack(space, layer):
        longer = len(changed.feed_forward) > len(layer.feed_forward)
        longer_or_shorter.setdefault(longer, []).append(changed)
    directions = list(longer_or_shorter.values())
    return _choose(_choose(directions, rng), rng) if directions else None


def _change_depth_randomly(
    start: Architecture, depth: int, rng: np.random.Generator
) -> Architecture:
    return _choose(list(_other_depth(start, depth)), rng)


_RANDOM_LAYER_STEPS: Final[
    tuple[Callable[[DesignSpace, Layer, np.random.Generator], Layer | None], ...]
] = (
    _retype_randomly,
    _change_heads_randomly,
    _change_hidden_randomly,
    _change_width_randomly,
    _change_stack_randomly,
)


def _project_layer(space: DesignSpace, layer: Layer) -> Layer:
    heads = _evenly(
        sorted(layer.head_types, key=HEAD_TYPES.index),
        _nearest(layer.num_heads, space.num_heads),
    )
    stack = _evenly(layer.feed_forward, min(len(layer.feed_forward), space.max_stack))
    hidden_size = _nearest(layer.hidden_size, space.hidden_sizes)
    return Layer(
        hidden_size=hidden_size,
        head_types=tuple(
            sorted((_nearest_type(head, space.head_types) for head in heads), key=HEAD_TYPES.index)
        ),
        head_dim=space.head_dim_of(hidden_size, len(heads)),
        feed_forward=tuple(_nearest(width, space.feed_forward_widths) for width in stack),
    )


def _nearest_type(head: str, allowed: Sequence[str]) -> str:
    """The type itself, else the nearest in `HEAD_TYPES` of its family, else the first allowed."""
    if head in allowed:
        return head
    family = [other for other in allowed if other.partition("_")[0] == head.partition("_")[0]]
    place = HEAD_TYPES.index
    return min(family, key=lambda other: abs(place(other) - place(head)), default=allowed[0])


def _nearest(value: int, allowed: Sequence[int]) -> int:
    return min(allowed, key=lambda other: (abs(log(other / value)), other))


def _evenly(items: Sequence[T], number: int) -> list[T]:
    """`number` of the items at even distances, in order; some repeatedly where there are fewer."""
    return [items[i * len(items) // number] for i in range(number)]


def _adjacent(value: int, allowed: Sequence[int]) -> list[int]:
    """The next smaller and the next larger allowed value."""
    smaller = [other for other in allowed if other < value]
    larger = [other for other in allowed if other > value]
    return ([max(smaller)] if smaller else []) + ([min(larger)] if larger else [])


def _submultisets(heads: Sequence[str], size: int) -> Iterator[tuple[str, ...]]:
    """The different mixes of `size` of the heads, given in canonical order."""
    if size == 0:
        yield ()
        return
    for place in range(len(heads) - size + 1):
        if place == 0 or heads[place] != heads[place - 1]:
            for rest in _submultisets(heads[place + 1 :], size - 1):
                yield (heads[place], *rest)


def _with_layer(start: Architecture, place: int, layer: Layer) -> Architecture:
    return Architecture((*start.layers[:place], layer, *start.layers[place + 1 :]))


def _with_heads(space: DesignSpace, layer: Layer, heads: Sequence[str]) -> Layer:
    return Layer(
        layer.hidden_size,
        tuple(sorted(heads, key=HEAD_TYPES.index)),
        space.head_dim_of(layer.hidden_size, len(heads)),
        layer.feed_forward,
    )


def _with_hidden(space: DesignSpace, layer: Layer, hidden_size: int) -> Layer:
    dim = space.head_dim_of(hidden_size, layer.num_heads)
    return Layer(hidden_size, layer.head_types, dim, layer.feed_forward)


def _with_stack(layer: Layer, widths: Sequence[int]) -> Layer:
    return Layer(layer.hidden_size, layer.head_types, layer.head_dim, tuple(widths))


def _choose(options: Sequence[T], rng: np.random.Generator) -> T:
    return options[int(rng.integers(len(options)))]


def _choose_or_none(options: Sequence[T], rng: np.random.Generator) -> T | None:
    return _choose(options, rng) if options else None
