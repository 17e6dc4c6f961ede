"""A child model made from its parent's: grown with the function kept, or pruned physically."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from edgetran.gptran.blocks import Removal
from edgetran.models import (
    FlexiBertConfig,
    FlexiBertForSequenceClassification,
    TransferReport,
    transfer_weights,
)
from edgetran.models.layout import HeadLayout
from edgetran.space import Architecture, Layer

Indexes = tuple[Tensor | None, ...]
"""Per axis of a parameter, the parent's indexes that the child keeps; None for all."""


def grow(
    parent: FlexiBertForSequenceClassification, architecture: Architecture, seed: int
) -> tuple[FlexiBertForSequenceClassification, TransferReport]:
    """A larger model that computes what its parent does, where the architecture allows it.

    Args:
        parent: the trained model; left as it is.
        architecture: the child's.
        seed: of the new weights.
    """
    child = _empty_child(parent, architecture, seed)
    report = transfer_weights(parent, child, preserve_function=True, seed=seed)
    return child, report


@torch.no_grad()
def cut(
    parent: FlexiBertForSequenceClassification, removal: Removal, seed: int
) -> tuple[FlexiBertForSequenceClassification, float]:
    """A smaller model without some of its parent's blocks, and its transfer ratio.

    Without heads, units or channels it computes what the parent computes with their outputs
    masked to zero (channels: and LayerNorms over the others); without a layer, what the parent
    computes when the layer hands on its input. Where no such model exists (a matrix out of a
    stack, a layer between different hidden sizes), the weights are those of an ordinary transfer.

    Args:
        parent: the trained model; left as it is.
        removal: what to cut out.
        seed: of weights that the parent cannot give.

    Raises:
        GPTranError: the removal breaks a floor or names what is not there.
    """
    before = parent.config.to_architecture()
    after = removal.apply(before)
    child = _empty_child(parent, after, seed)
    widths = {layer.hidden_size for layer in before.layers}
    if removal.matrices or (removal.layers and len(widths) > 1):
        return child, transfer_weights(parent, child, seed=seed).ratio
    source = dict(parent.named_parameters())
    kept = dict(_kept(before, removal))
    for name, target in child.named_parameters():
        origin = _origin(name, before, removal)
        value: Tensor = source[origin]
        for axis, index in enumerate(kept.get(origin, ())):
            if index is not None:
                value = value.index_select(axis, index.to(value.device))
        target.copy_(value)
    return child, 1.0


def _empty_child(
    parent: FlexiBertForSequenceClassification, architecture: Architecture, seed: int
) -> FlexiBertForSequenceClassification:
    """A fresh model that differs from its parent's configuration in the architecture alone."""
    settings = parent.config.to_dict() | {"architecture": architecture.to_model_dict()}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        child = FlexiBertForSequenceClassification(FlexiBertConfig.from_dict(settings))
    child.train(False)
    return child


_LAYERS = "flexibert.layers."


def _origin(name: str, parent: Architecture, removal: Removal) -> str:
    """Name in the parent of a child's parameter."""
    if not name.startswith(_LAYERS):
        return name
    number, rest = name.removeprefix(_LAYERS).split(".", 1)
    layers = _without(parent.num_layers, removal.layers)
    return f"{_LAYERS}{layers[int(number)]}.{rest}"


def _kept(parent: Architecture, removal: Removal) -> Iterable[tuple[str, Indexes]]:
    """What is kept of the parent's parameters, by name; those that are kept whole are left out."""
    hidden = _index(_without(parent.layers[0].hidden_size, removal.channels))
    everywhere = hidden if removal.channels else None
    for table in ("word", "token_type", "position"):
        yield f"flexibert.embeddings.{table}_embeddings.weight", (None, everywhere)
    yield from _norm("flexibert.embeddings.LayerNorm", everywhere)
    yield "flexibert.pooler.weight", (everywhere, everywhere)
    yield "flexibert.pooler.bias", (everywhere,)
    yield "classifier.weight", (None, everywhere)
    for number, layer in enumerate(parent.layers):
        prefix = f"{_LAYERS}{number}."
        heads = _without(layer.num_heads, [h for i, h in removal.heads if i == number])
        units = {matrix: gone for i, matrix, gone in removal.units if i == number}
        yield from _attention(prefix + "attention.", layer, heads, everywhere)
        yield from _feed_forward(prefix + "feed_forward.", layer, units, everywhere)


def _attention(
    prefix: str, layer: Layer, heads: Sequence[int], hidden: Tensor | None
) -> Iterable[tuple[str, Indexes]]:
    dim, before = layer.head_dim, HeadLayout.of(layer)
    after = HeadLayout(tuple(layer.head_types[head] for head in heads), dim)
    order = [heads[head] for head in after.order]  # the parent's head in each of the child's slots
    slots = [before.slots[head] for head in order]
    queries = [slot for head in order if (slot := before.query_slot(head)) is not None]
    first_value = 2 * before.num_queries
    rows = [*queries, *(before.num_queries + slot for slot in queries)]
    rows += [first_value + slot for slot in slots]
    yield prefix + "query_key_value.weight", (_spread(rows, dim), hidden)
    yield prefix + "query_key_value.bias", (_spread(rows, dim),)
    yield prefix + "output.weight", (hidden, _spread(slots, dim))
    yield prefix + "output.bias", (hidden,)
    yield from _norm(prefix + "LayerNorm", hidden)
    weightings = [slot for head in order if (slot := before.weighting_slot(head)) is not None]
    yield prefix + "scores.weighting", (_index(weightings),)
    convolutions = [slot for head in order if (slot := before.convolution_slot(head)) is not None]
    taps = [
        before.first_tap(slot) + tap for slot in convolutions for tap in range(before.spans[slot])
    ]
    for name in ("depthwise", "kernel", "kernel_bias"):
        yield f"{prefix}convolution.{name}", (_index(taps),)
    for name in ("pointwise", "pointwise_bias", "value", "value_bias"):
        yield f"{prefix}convolution.{name}", (_index(convolutions),)


def _feed_forward(
    prefix: str, layer: Layer, removed: dict[int, tuple[int, ...]], hidden: Tensor | None
) -> Iterable[tuple[str, Indexes]]:
    spaces = [
        hidden,
        *(_index(_without(w, removed.get(m, ()))) for m, w in enumerate(layer.feed_forward)),
        hidden,
    ]
    for number in range(len(spaces) - 1):
        dense = f"{prefix}dense.{number}"
        yield f"{dense}.weight", (spaces[number + 1], spaces[number])
        yield f"{dense}.bias", (spaces[number + 1],)
    yield from _norm(prefix + "LayerNorm", hidden)


def _norm(name: str, hidden: Tensor | None) -> Iterable[tuple[str, Indexes]]:
    yield f"{name}.weight", (hidden,)
    yield f"{name}.bias", (hidden,)


def _without(size: int, removed: Sequence[int]) -> list[int]:
    return [index for index in range(size) if index not in set(removed)]


def _spread(blocks: Sequence[int], size: int) -> Tensor:
    """Indexes of the rows of blocks of `size` rows each."""
    return (_index(blocks)[:, None] * size + torch.arange(size)).flatten()


def _index(values: Sequence[int]) -> Tensor:
    return torch.tensor(values, dtype=torch.long)
