"""What a parent of an elastic network must be, and its parts in the order of their importance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

import torch
from torch import nn

from edgetran.models.config import FlexiBertConfig
from edgetran.models.modeling import FlexiBertForSequenceClassification, FlexiBertLayer
from edgetran.space import Architecture, Layer

ATTENTION: Final = "sa_sdp"
"""The type of a parent's heads."""


class ElasticError(ValueError):
    """A parent or an architecture that an elastic network cannot hold; one sentence."""


def parent_layer(architecture: Architecture) -> Layer:
    """The layer of a parent, which all of its layers are.

    Raises:
        ElasticError: a model that is not shaped as a BERT is; one sentence.
    """
    layers = architecture.layers
    first = layers[0]
    if any(layer != first for layer in layers):
        raise ElasticError("parent: its layers differ; allowed is a model whose layers are alike")
    other = next((head for head in first.head_types if head != ATTENTION), None)
    if other is not None:
        raise ElasticError(f"parent: it has heads of type {other}; allowed is {ATTENTION} alone")
    if len(first.feed_forward) > 1:
        raise ElasticError(
            f"parent: it has stacks of {len(first.feed_forward)} feed-forward widths; allowed is 1"
        )
    return first


def check_positions(config: FlexiBertConfig) -> None:
    """Refuse a parent whose heads have weights of their own.

    Raises:
        ElasticError: its positions are relative.
    """
    if config.position_embedding_type != "absolute":
        raise ElasticError(
            f"parent: its positions are {config.position_embedding_type}; allowed is absolute"
        )


@torch.no_grad()
def sort_by_importance(
    model: FlexiBertForSequenceClassification,
    heads: Sequence[Sequence[float]],
    units: Sequence[Sequence[float]],
    channels: Sequence[float] | None = None,
) -> tuple[int, ...]:
    """Put heads, feed-forward units and channels in the order of their importance, in place.

    The model's function stays the same.

    Args:
        model: a BERT-shaped FlexiBERT.
        heads: per layer, the importance of each head; the highest comes first.
        units: per layer, that of each feed-forward unit.
        channels: that of each channel of the hidden state; None leaves them in their order.

    Returns:
        The channel that stood before where each one stands now.

    Raises:
        ElasticError: a model of another shape.
    """
    shape = parent_layer(model.config.to_architecture())
    for index, module in enumerate(model.flexibert.layers):
        layer = cast(FlexiBertLayer, module)
        by_head = torch.argsort(torch.as_tensor(heads[index]), descending=True, stable=True)
        by_unit = torch.argsort(torch.as_tensor(units[index]), descending=True, stable=True)
        for tensor in (
            layer.attention.query_key_value.weight,
            layer.attention.query_key_value.bias,
        ):
            blocks = tensor.view(3, shape.num_heads, shape.head_dim, -1)
            blocks.copy_(blocks[:, by_head].clone())
        columns = layer.attention.output.weight.view(shape.hidden_size, -1, shape.head_dim)
        columns.copy_(columns[:, by_head].clone())
        first, second = (cast(nn.Linear, dense) for dense in layer.feed_forward.dense)
        first.weight.copy_(first.weight[by_unit].clone())
        first.bias.copy_(first.bias[by_unit].clone())
        second.weight.copy_(second.weight[:, by_unit].clone())
    if channels is None:
        return tuple(range(shape.hidden_size))
    order = torch.argsort(torch.as_tensor(channels), descending=True, stable=True)
    for name, tensor in model.state_dict().items():
        for axis in channel_axes(name):
            tensor.copy_(tensor.index_select(axis, order.to(tensor.device)))
    return tuple(order.tolist())


def channel_axes(name: str) -> tuple[int, ...]:
    """Axes of a parent's weight that are channels of the hidden state, the pooler's included."""
    if ".pooler." in name:
        return (0, 1) if name.endswith(".weight") else (0,)
    if ".embeddings." in name or ".LayerNorm." in name:
        return (-1,)
    if name.startswith("classifier."):
        return (1,) if name.endswith(".weight") else ()
    if ".output." in name or ".dense.1." in name:
        return (0,)
    return (1,) if name.endswith(("query_key_value.weight", "dense.0.weight")) else ()
