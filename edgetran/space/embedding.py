"""The integer embedding of a design space, and the rank of an architecture in it.

Source: the published embedding of FlexiBERT 2.0 (EdgeTran, arXiv 2303.13745, §III): e[0] is the
index of the depth; for layer i, e[3i+1], e[3i+2] and e[3i+3] are the indices of the hidden size,
of the feed-forward stack (shorter ones first, then lexicographic) and of the mix of heads (by
number of heads, then lexicographic); zeros follow the last layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgetran.api.field_errors import invalid
from edgetran.space.architecture import HEAD_TYPES, Architecture, Layer
from edgetran.space.design_space import DesignSpace, DesignSpaceError
from edgetran.space.ranking import rank_multiset, rank_word, unrank_multiset, unrank_word


def encode(space: DesignSpace, architecture: Architecture) -> npt.NDArray[np.int64]:
    """The embedding of an architecture; the order of heads within a layer is not in it.

    Returns:
        Integers of shape (1 + 3 · max_layers,); 37 of them for `flexibert-2.0`.

    Raises:
        DesignSpaceError: the architecture is not in the space; the message says why.
    """
    if reason := space.why_not(architecture):
        raise DesignSpaceError(f"design space {space.name}: {reason}")
    embedding = np.zeros(1 + 3 * space.max_layers, dtype=np.int64)
    embedding[0] = space.num_layers.index(architecture.num_layers)
    for i, layer in enumerate(architecture.layers):
        widths = [space.feed_forward_widths.index(width) for width in layer.feed_forward]
        heads = sorted(space.head_types.index(head) for head in layer.head_types)
        number = space.num_heads.index(layer.num_heads)
        embedding[3 * i + 1 : 3 * i + 4] = (
            space.hidden_sizes.index(layer.hidden_size),
            rank_word(widths, len(space.feed_forward_widths)),
            space.attention_offsets[number] + rank_multiset(heads, len(space.head_types)),
        )
    return embedding


def decode(
    space: DesignSpace, embedding: Sequence[int] | npt.NDArray[np.integer[Any]]
) -> Architecture:
    """The architecture of an embedding, heads in the order of `HEAD_TYPES`.

    Args:
        space: the design space.
        embedding: 1 + 3 · max_layers integers.

    Raises:
        DesignSpaceError: wrong length, no integer, an index out of range, or something past
            the last layer.
    """
    values = [_integer(place, value) for place, value in enumerate(embedding)]
    if len(values) != 1 + 3 * space.max_layers:
        what = f"must have {1 + 3 * space.max_layers} integers"
        raise DesignSpaceError(f"embedding: {invalid(values, what)}")
    options = (len(space.hidden_sizes), space.feed_forward_options, space.attention_options)
    _check_index(0, values[0], len(space.num_layers))
    used = 1 + 3 * space.num_layers[values[0]]
    for place in range(1, used):
        _check_index(place, values[place], options[(place - 1) % 3])
    for place in range(used, len(values)):
        if values[place] != 0:
            what = "must be 0 past the last layer"
            raise DesignSpaceError(f"embedding[{place}]: {invalid(values[place], what)}")
    return Architecture(
        tuple(layer_at(space, *values[place : place + 3]) for place in range(1, used, 3))
    )


def layer_at(space: DesignSpace, hidden: int, feed_forward: int, attention: int) -> Layer:
    """The layer of three indices of the embedding, heads in the order of `HEAD_TYPES`."""
    ends = space.attention_offsets[1:]
    number = next(i for i, end in enumerate(ends) if attention < end)
    heads, hidden_size = space.num_heads[number], space.hidden_sizes[hidden]
    rank = attention - space.attention_offsets[number]
    types = [space.head_types[kind] for kind in unrank_multiset(rank, heads, len(space.head_types))]
    widths = unrank_word(feed_forward, len(space.feed_forward_widths))
    return Layer(
        hidden_size=hidden_size,
        head_types=tuple(sorted(types, key=HEAD_TYPES.index)),
        head_dim=space.head_dim_of(hidden_size, heads),
        feed_forward=tuple(space.feed_forward_widths[letter] for letter in widths),
    )


def architecture_at(space: DesignSpace, rank: int) -> Architecture:
    """The architecture number `rank` of the space; every one has exactly one rank.

    Raises:
        DesignSpaceError: for a rank outside 0 .. cardinality() - 1.
    """
    if not 0 <= rank < space.cardinality():
        what = f"must be from 0 to {space.cardinality() - 1}"
        raise DesignSpaceError(f"rank: {invalid(rank, what)}")
    depth = next(i for i, end in enumerate(space.depth_offsets[1:]) if rank < end)
    rest = rank - space.depth_offsets[depth]
    layers = []
    for _ in range(space.num_layers[depth]):
        rest, layer = divmod(rest, space.layer_options)
        layer, attention = divmod(layer, space.attention_options)
        hidden, feed_forward = divmod(layer, space.feed_forward_options)
        layers.append(layer_at(space, hidden, feed_forward, attention))
    return Architecture(tuple(layers))


def _integer(place: int, value: Any) -> int:
    try:
        if value == (integer := int(value)):
            return integer
    except (TypeError, ValueError, OverflowError):
        pass
    raise DesignSpaceError(f"embedding[{place}]: {invalid(value, 'must be an integer')}")


def _check_index(place: int, index: int, options: int) -> None:
    if not 0 <= index < options:
        what = f"must be from 0 to {options - 1}"
        raise DesignSpaceError(f"embedding[{place}]: {invalid(index, what)}")
