"""How the slots of an elastic network begin: each type as near as it can to the head it replaces.

A convolution's kernel begins as the mean attention of the parent's head to the positions around it.
The output columns of every slot are then fitted by least squares, on calibration texts, to what
the parent's head adds to the hidden state (layer-wise reconstruction, He et al., arXiv 1707.06168).
What is left of the error says which heads a type may replace.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from edgetran.models.config import FlexiBertConfig
from edgetran.models.correction import RIDGE, ridge_solution
from edgetran.models.elastic import (
    ATTENTION,
    ElasticFlexiBert,
    HeadSlots,
    LayerPart,
    fill_constants,
)
from edgetran.models.layout import family, span
from edgetran.models.modeling import FlexiBertAttention, FlexiBertLayer

_LEAST_MASS: Final = 1e-4
"""Attention to a place in a kernel that counts as none."""


@torch.no_grad()
def fit_slots(
    elastic: ElasticFlexiBert, batches: Iterable[Mapping[str, Tensor]], *, ridge: float = RIDGE
) -> None:
    """Fit every slot to the parent's head beside it, in place, and note what is left of the error.

    Args:
        elastic: the network, its parent as it is to be replaced.
        batches: calibration inputs as the parent takes them.
        ridge: strength of the pull of the fit, a share of the inputs' mean square.

    Raises:
        ValueError: no calibration inputs.
    """
    was_training = elastic.training
    elastic.train(False)
    states = []
    for inputs in batches:
        on_device = {name: value.to(elastic.parent.device) for name, value in inputs.items()}
        states.append((*elastic.embed(on_device), on_device["attention_mask"].bool()))
    if not states:
        raise ValueError("calibration set: no examples given; at least one is needed")
    for index in range(elastic.num_layers):
        layer = cast(FlexiBertLayer, elastic.encoder.layers[index])
        _start_kernels(elastic, index, states)
        for column, name in enumerate(elastic.head_types):
            if name != ATTENTION:
                elastic.harm[index, :, column] = _fit_type(elastic, index, name, states, ridge)
        states = [(layer(h, *context)[0], context, tokens) for h, context, tokens in states]
    elastic._assignments.clear()
    elastic.train(was_training)


_States = list[tuple[Tensor, tuple[Any, ...], Tensor]]
"""Per batch: the layer's input (B, S, h), what it needs besides, and where tokens are (B, S)."""


def _fit_type(
    elastic: ElasticFlexiBert, index: int, name: str, states: _States, ridge: float
) -> Tensor:
    """Fit one type's output columns and offsets; squared error per token of each head, (N,)."""
    shape = elastic.shape
    theirs = cast(FlexiBertLayer, elastic.encoder.layers[index]).attention
    ours = _attention_of(elastic, index, name)
    count, dim = shape.num_heads, shape.head_dim
    inner = torch.zeros(count, dim + 1, dim + 1, dtype=torch.float64)
    cross = torch.zeros(count, dim, dim + 1, dtype=torch.float64)
    power = torch.zeros(count, dim, dim, dtype=torch.float64)
    seen = 0
    for hidden, context, tokens in states:
        x, y = (
            each._mix(hidden, *context)[0][tokens].view(-1, count, dim).transpose(0, 1)
            for each in (ours, theirs)
        )  # (N, T, d)
        x = torch.cat([x, x.new_ones(count, x.shape[1], 1)], 2)
        inner += (x.mT @ x).double().cpu()
        cross += (y.mT @ x).double().cpu()
        power += (y.mT @ y).double().cpu()
        seen += x.shape[1]
    columns = theirs.output.weight.unflatten(1, (count, dim)).double().cpu()  # (h, N, d)
    slot = cast(HeadSlots, cast(nn.ModuleDict, elastic.slots[index])[name])
    harm = torch.zeros(count)
    for head in range(count):
        column = columns[:, head]
        # A transform's outputs are frequencies, which the parent's columns know nothing of.
        old = torch.zeros(len(column), dim + 1, dtype=torch.float64)
        if family(name) != "l":
            old[:, :dim] = column
        outer = column @ cross[head]
        new = ridge_solution(inner[head], outer, old, ridge)
        slot.output[:, head] = new[:, :dim].to(slot.output)
        slot.offset[head] = new[:, dim].to(slot.offset)
        error = float(((column @ power[head]) * column).sum())
        error += float(((new @ inner[head] - 2 * outer) * new).sum())
        harm[head] = max(0.0, error) / max(1, seen)
    return harm


def _attention_of(elastic: ElasticFlexiBert, index: int, name: str) -> FlexiBertAttention:
    """The layer's attention with every head of one type, at the present weights."""
    shape = replace(elastic.shape, head_types=(name,) * elastic.shape.num_heads)
    weights = elastic.layer_weights(LayerPart(index, shape))
    attention = FlexiBertAttention(cast(FlexiBertConfig, elastic.parent.config), shape)
    for module in attention.modules():
        fill_constants(module)
    prefix = "attention."
    attention.load_state_dict(
        {n.removeprefix(prefix): w for n, w in weights.items() if n.startswith(prefix)}
    )
    return attention.to(elastic.parent.device).train(False)


def _start_kernels(elastic: ElasticFlexiBert, index: int, states: _States) -> None:
    """Give each convolution the mean attention around a position as its kernel."""
    slots = cast(nn.ModuleDict, elastic.slots[index])
    spans = {name: span(name) for name in elastic.head_types if family(name) == "c"}
    if not spans:
        return
    attention = cast(FlexiBertLayer, elastic.encoder.layers[index]).attention
    half = max(spans.values()) // 2
    mass = torch.zeros(elastic.shape.num_heads, 2 * half + 1)
    for hidden, context, tokens in states:
        mask, padding, transforms, _ = context
        maps = attention._mix(hidden, mask, padding, transforms, explicit=True)[1]
        assert maps is not None  # noqa: S101 - asked for
        maps = maps * tokens[:, None, :, None]  # (B, N, S, S), nothing from padding
        for offset in range(-half, half + 1):
            mass[:, half + offset] += maps.diagonal(offset, 2, 3).sum((0, 2)).cpu()
    mass = mass / mass.sum(1, keepdim=True).clamp(min=_LEAST_MASS)
    for name, width in spans.items():
        kernel = mass[:, half - width // 2 : half + width // 2 + 1].clamp(min=_LEAST_MASS)
        bias = cast(HeadSlots, slots[name]).own["kernel_bias"]
        bias.copy_(kernel.log().to(bias))
