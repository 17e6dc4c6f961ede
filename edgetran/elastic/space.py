"""The design space of a parent's parts: what may shrink or change, as a `DesignSpace`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from edgetran.api.field_errors import invalid
from edgetran.models.elastic_parent import ATTENTION, ElasticError, parent_layer
from edgetran.space import Architecture, DesignSpace, Layer

_SHARES: Final = (0.25, 0.5, 0.75, 1.0)
"""Of the parent's heads and feed-forward units, where none are named."""


def elastic_space(
    parent: Architecture,
    *,
    layers: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
    head_types: Sequence[str] = (ATTENTION,),
    feed_forward_widths: Sequence[int] | None = None,
    hidden_sizes: Sequence[int] | None = None,
) -> DesignSpace:
    """The parts of a parent.

    Where a choice is omitted: quarters of the parent's heads and units, every depth from 1 on, its
    own hidden size.

    Args:
        parent: layers that are all alike.
        layers: how many layers stay.
        heads: how many heads a layer keeps.
        head_types: what a head may be.
        feed_forward_widths: how many units a layer keeps.
        hidden_sizes: how many channels of the hidden state a layer keeps.

    Raises:
        ElasticError: layers that differ, or a choice that is not inside the parent; one sentence.
        DesignSpaceError: lists that make no space.
    """
    shape = parent_layer(parent)
    most = {
        "layers": (layers, parent.num_layers),
        "heads": (heads, shape.num_heads),
        "feedForwardWidths": (feed_forward_widths, shape.feed_forward[0]),
        "hiddenSizes": (hidden_sizes, shape.hidden_size),
    }
    for name, (given, limit) in most.items():
        for value in given or ():
            if value > limit:
                what = f"must be at most {limit}, as many as the parent has"
                raise ElasticError(f"{name}: {invalid(value, what)}")
    return DesignSpace(
        num_layers=tuple(layers or range(1, parent.num_layers + 1)),
        hidden_sizes=tuple(hidden_sizes or [shape.hidden_size]),
        num_heads=tuple(heads or _shares(shape.num_heads)),
        head_types=tuple(head_types),
        feed_forward_widths=tuple(feed_forward_widths or _shares(shape.feed_forward[0])),
        name="elastic",
        head_dim=shape.head_dim,
    )


def largest_part(space: DesignSpace) -> Architecture:
    """The part with the most of everything, of attention heads where the space has them."""
    return _uniform(space, max)


def smallest_part(space: DesignSpace) -> Architecture:
    """The part with the least of everything, of attention heads where the space has them."""
    return _uniform(space, min)


def _uniform(space: DesignSpace, choose: Callable[[Sequence[int]], int]) -> Architecture:
    kind = ATTENTION if ATTENTION in space.head_types else space.head_types[0]
    hidden, heads = choose(space.hidden_sizes), choose(space.num_heads)
    width = choose(space.feed_forward_widths)
    layer = Layer(hidden, (kind,) * heads, space.head_dim_of(hidden, heads), (width,))
    return Architecture((layer,) * choose(space.num_layers))


def _shares(size: int) -> tuple[int, ...]:
    return tuple(dict.fromkeys(max(1, round(share * size)) for share in _SHARES))
