"""Pruning: what is kept of a model, and the smaller model that keeps only that.

`edgetran.models.gating.masked` computes the same with masks, `prune` really removes parameters;
both agree to rounding.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from edgetran.models.config import FlexiBertConfig
from edgetran.models.layout import HeadLayout
from edgetran.models.modeling import (
    FlexiBertForMaskedLM,
    FlexiBertForSequenceClassification,
    FlexiBertLayer,
    FlexiBertModel,
    FlexiBertPreTrainedModel,
)
from edgetran.space import Architecture, Layer

_T = TypeVar("_T")
Indices = tuple[int, ...]
Affine = tuple[Tensor, Tensor]
"""A linear map and its bias, (outputs, inputs) and (outputs,), in float64."""


class PruneError(ValueError):
    """A prune map that leaves no model; the message says where and what is allowed."""


@dataclass(frozen=True)
class PruneMap:
    """What is kept of an architecture; indices are those of the architecture, ascending.

    Attributes:
        kept_layers: layers; a removed one passes its input on, through its projection if it has
            one.
        kept_heads: for every layer, removed ones too, its heads.
        kept_units: for every layer and every width of its stack, the units; where none is kept
            the width goes, its GELU becomes the identity and its two matrices become one.
        kept_hidden: for every layer, the values of its hidden state; the layer's LayerNorms
            normalise over these alone.

    Example:
        >>> from edgetran.space import Architecture
        >>> mini = Architecture.homogeneous(num_layers=2, hidden_size=8, num_heads=2,
        ...                                 feed_forward=[16])
        >>> keep = PruneMap.everything(mini).without_heads(0, [1]).without_units(1, 0, range(4))
        >>> pruned_architecture(mini, keep).to_model_dict()["f"]
        [[16], [12]]
    """

    kept_layers: Indices
    kept_heads: tuple[Indices, ...]
    kept_units: tuple[tuple[Indices, ...], ...]
    kept_hidden: tuple[Indices, ...]

    @classmethod
    def everything(cls, architecture: Architecture) -> PruneMap:
        """The map that removes nothing."""
        layers = architecture.layers
        return cls(
            tuple(range(len(layers))),
            tuple(tuple(range(layer.num_heads)) for layer in layers),
            tuple(tuple(tuple(range(f)) for f in layer.feed_forward) for layer in layers),
            tuple(tuple(range(layer.hidden_size)) for layer in layers),
        )

    def without_layer(self, layer: int) -> PruneMap:
        """Remove a layer."""
        return replace(self, kept_layers=_without(self.kept_layers, [layer]))

    def without_heads(self, layer: int, heads: Iterable[int]) -> PruneMap:
        """Remove heads of a layer."""
        kept = _without(self.kept_heads[layer], heads)
        return replace(self, kept_heads=_exchanged(self.kept_heads, layer, kept))

    def without_units(self, layer: int, stack: int, units: Iterable[int]) -> PruneMap:
        """Remove units of the `stack`-th width of a layer."""
        widths = self.kept_units[layer]
        widths = _exchanged(widths, stack, _without(widths[stack], units))
        return replace(self, kept_units=_exchanged(self.kept_units, layer, widths))

    def without_hidden(self, layer: int, values: Iterable[int]) -> PruneMap:
        """Remove values of a layer's hidden state."""
        kept = _without(self.kept_hidden[layer], values)
        return replace(self, kept_hidden=_exchanged(self.kept_hidden, layer, kept))


def _without(kept: Indices, removed: Iterable[int]) -> Indices:
    gone = set(removed)
    return tuple(index for index in kept if index not in gone)


def _exchanged(values: tuple[_T, ...], index: int, value: _T) -> tuple[_T, ...]:
    return (*values[:index], value, *values[index + 1 :])


def pruned_architecture(architecture: Architecture, keep: PruneMap) -> Architecture:
    """The architecture that is left.

    Raises:
        PruneError: when a layer keeps no head, no width or no hidden value, no layer is kept,
            or an index does not exist.
    """
    _check(architecture, keep)
    return Architecture(
        tuple(
            Layer(
                len(keep.kept_hidden[i]),
                tuple(architecture.layers[i].head_types[head] for head in keep.kept_heads[i]),
                architecture.layers[i].head_dim,
                tuple(len(units) for units in keep.kept_units[i] if units),
            )
            for i in keep.kept_layers
        )
    )


def _check(architecture: Architecture, keep: PruneMap) -> None:
    layers = architecture.layers
    _check_indices("kept_layers", keep.kept_layers, len(layers))
    for name in ("kept_heads", "kept_units", "kept_hidden"):
        given = len(getattr(keep, name))
        if given != len(layers):
            raise PruneError(
                f"{name}: {given} entries given, allowed is one per layer: {len(layers)}"
            )
    for i, layer in enumerate(layers):
        _check_indices(f"kept_heads[{i}]", keep.kept_heads[i], layer.num_heads)
        _check_indices(f"kept_hidden[{i}]", keep.kept_hidden[i], layer.hidden_size)
        if len(keep.kept_units[i]) != len(layer.feed_forward):
            raise PruneError(
                f"kept_units[{i}]: {len(keep.kept_units[i])} entries given, allowed is one per "
                f"width: {len(layer.feed_forward)}"
            )
        if not any(keep.kept_units[i]):
            raise PruneError(f"kept_units[{i}]: no unit is left, a layer needs one width")
        for k, (units, width) in enumerate(
            zip(keep.kept_units[i], layer.feed_forward, strict=True)
        ):
            _check_indices(f"kept_units[{i}][{k}]", units, width, may_be_empty=True)


def _check_indices(
    name: str, indices: Collection[int], size: int, *, may_be_empty: bool = False
) -> None:
    if not indices and not may_be_empty:
        raise PruneError(f"{name}: nothing is kept, at least one of {size} is needed")
    if list(indices) != sorted(set(indices)) or any(not 0 <= i < size for i in indices):
        raise PruneError(f"{name}: allowed are ascending indices from 0 to {size - 1}")


@torch.no_grad()
def prune(model: FlexiBertPreTrainedModel, keep: PruneMap) -> FlexiBertPreTrainedModel:
    """A smaller model that computes what the model does when everything else is masked.

    Args:
        model: the model; it is not changed.
        keep: what is kept.

    Returns:
        A model of the same class, dtype, device and training mode.

    Raises:
        PruneError: for a map that leaves no model, or where removing layers or hidden values
            would need a linear map between layers of equal width, which an architecture lacks.
    """
    architecture = model.config.to_architecture()
    pruned = pruned_architecture(architecture, keep)
    source = cast(FlexiBertModel, model.base_model)
    connections = _connections(source, architecture, keep)
    weights = _embeddings(source, keep.kept_hidden[0])
    for position, i in enumerate(keep.kept_layers):
        layer = cast(FlexiBertLayer, source.layers[i])
        parts = _layer_weights(layer, architecture.layers[i], keep, i)
        connection = connections[position]
        if connection is not None:
            parts |= _named("projection", connection)
        weights |= {f"layers.{position}.{name}": value for name, value in parts.items()}
    last = list(keep.kept_hidden[-1])
    if source.pooler is not None:
        pooler = source.pooler
        weights |= _named("pooler", (pooler.weight[last][:, last], pooler.bias[last]))
    if model is not source:
        prefix = model.base_model_prefix
        weights = {f"{prefix}.{name}": value for name, value in weights.items()}
        weights |= _top_weights(model, last, list(keep.kept_hidden[0]))
    settings = {**model.config.to_dict(), "architecture": pruned.to_model_dict()}
    pooled = {} if model is not source else {"add_pooling_layer": source.pooler is not None}
    result = type(model)(FlexiBertConfig.from_dict(settings), **pooled)
    nn.Module.to(result, device=model.device, dtype=model.dtype)
    result.load_state_dict(weights)
    result.train(model.training)
    return result


def _named(name: str, linear: Affine) -> dict[str, Tensor]:
    return {f"{name}.weight": linear[0], f"{name}.bias": linear[1]}


def _affine(linear: nn.Linear) -> Affine:
    return linear.weight.double(), linear.bias.double()


def _embeddings(source: FlexiBertModel, hidden: Indices) -> dict[str, Tensor]:
    kept = list(hidden)
    return {
        f"embeddings.{name}": value[..., kept]
        for name, value in source.embeddings.named_parameters()
    }


def _connections(
    source: FlexiBertModel, architecture: Architecture, keep: PruneMap
) -> list[Affine | None]:
    """The linear map behind each kept layer; None where the next one has its width.

    A removed layer passes its input on, so that the maps around it are composed.
    """
    bounds = [0, *keep.kept_layers, architecture.num_layers - 1]
    maps: list[Affine | None] = []
    for position, (start, end) in enumerate(pairwise(bounds)):
        weight = torch.eye(architecture.layers[start].hidden_size, dtype=torch.float64)
        weight = weight.to(source.device)[:, list(keep.kept_hidden[start])]
        bias = weight.new_zeros(len(weight))
        for i in range(start, end):
            projection = getattr(source.layers[i], "projection", None)
            if projection is not None:
                matrix, offset = _affine(projection)
                weight, bias = matrix @ weight, matrix @ bias + offset
            lost = torch.ones(len(weight), dtype=torch.bool, device=weight.device)
            lost[list(keep.kept_hidden[i + 1])] = False
            weight, bias = weight.masked_fill(lost[:, None], 0), bias.masked_fill(lost, 0)
        kept = list(keep.kept_hidden[end])
        weight, bias = weight[kept], bias[kept]
        at_the_ends = position in (0, len(bounds) - 2)
        if at_the_ends or len(weight) == weight.shape[1]:
            same = weight.shape[0] == weight.shape[1] and bool(
                (weight == torch.eye(len(weight)).to(weight)).all() and (bias == 0).all()
            )
            if not same:
                raise PruneError(
                    f"layers {start} to {end}: between them stands a linear map from width "
                    f"{weight.shape[1]} to {weight.shape[0]}, allowed is one between kept layers "
                    "of different width"
                )
            maps.append(None)
        else:
            maps.append((weight, bias))
    return maps[1:]  # the first stands between embeddings and layers


def _layer_weights(
    source: FlexiBertLayer, layer: Layer, keep: PruneMap, index: int
) -> dict[str, Tensor]:
    """Weights of a kept layer, without its projection."""
    hidden, heads = list(keep.kept_hidden[index]), keep.kept_heads[index]
    attention, feed_forward = source.attention, source.feed_forward
    theirs = HeadLayout.of(layer)
    ours = HeadLayout(tuple(layer.head_types[head] for head in heads), layer.head_dim)
    slots = [theirs.slots[heads[head]] for head in ours.order]  # parent slot of each kept slot
    queries = [theirs.query_slot(heads[head]) for head in ours.order]
    with_query = [slot for slot in queries if slot is not None]
    count = theirs.num_queries
    blocks = [
        *with_query,
        *(count + slot for slot in with_query),
        *(2 * count + slot for slot in slots),
    ]
    rows, columns = _spread(blocks, layer.head_dim), _spread(slots, layer.head_dim)
    projections, output = attention.query_key_value, attention.output
    weights = _named(
        "attention.query_key_value", (projections.weight[rows][:, hidden], projections.bias[rows])
    )
    weights |= _named("attention.output", (output.weight[hidden][:, columns], output.bias[hidden]))
    for name, norm in (
        ("attention.LayerNorm", attention.LayerNorm),
        ("feed_forward.LayerNorm", feed_forward.LayerNorm),
    ):
        weights |= _named(name, (norm.weight[hidden], norm.bias[hidden]))
    weights |= _own_weights(attention, ours, theirs, heads)
    for i, linear in enumerate(_stack(feed_forward.dense, hidden, keep.kept_units[index])):
        weights |= _named(f"feed_forward.dense.{i}", linear)
    return weights


def _spread(blocks: Iterable[int], size: int) -> list[int]:
    return [block * size + offset for block in blocks for offset in range(size)]


def _own_weights(
    attention: nn.Module, ours: HeadLayout, theirs: HeadLayout, heads: Indices
) -> dict[str, Tensor]:
    """Weights that heads have to themselves."""
    weights: dict[str, Tensor] = {}
    if ours.num_scores:
        slots = [theirs.weighting_slot(heads[head]) for head in ours.order]
        for name, value in cast(nn.Module, attention.scores).named_parameters():
            weighted = [slot for slot in slots if slot is not None]
            if name != "weighting":
                weights[f"attention.scores.{name}"] = value
            elif weighted:
                weights[f"attention.scores.{name}"] = value[weighted]
    slots = [theirs.convolution_slot(heads[head]) for head in ours.order]
    convolved = [slot for slot in slots if slot is not None]
    if convolved:
        taps = [
            theirs.first_tap(slot) + offset
            for slot in convolved
            for offset in range(theirs.spans[slot])
        ]
        for name, value in cast(nn.Module, attention.convolution).named_parameters():
            per_tap = name in ("depthwise", "kernel", "kernel_bias")
            weights[f"attention.convolution.{name}"] = value[taps if per_tap else convolved]
    return weights


def _stack(
    dense: nn.ModuleList, hidden: list[int], kept_units: tuple[Indices, ...]
) -> list[Affine]:
    """Matrices of the pruned feed-forward stack."""
    matrices: list[Affine] = []
    inputs, pending = hidden, None
    for linear, units in zip(dense, (*kept_units, tuple(hidden)), strict=True):
        weight, bias = _affine(cast(nn.Linear, linear))
        if pending is None:
            weight = weight[:, inputs]
        else:
            weight, bias = weight @ pending[0], weight @ pending[1] + bias
        if not units:  # a removed width: its matrix and the next become one
            pending = weight, bias
            continue
        inputs, pending = list(units), None
        matrices.append((weight[inputs], bias[inputs]))
    return matrices


def _top_weights(
    model: FlexiBertPreTrainedModel, last: list[int], first: list[int]
) -> dict[str, Tensor]:
    """Weights of the top: `last` values of the last hidden state, `first` of the embeddings."""
    if isinstance(model, FlexiBertForSequenceClassification):
        return _named("classifier", (model.classifier.weight[:, last], model.classifier.bias))
    if isinstance(model, FlexiBertForMaskedLM):
        head = model.head
        return {
            **_named("head.dense", (head.dense.weight[first][:, last], head.dense.bias[first])),
            **_named("head.LayerNorm", (head.LayerNorm.weight[first], head.LayerNorm.bias[first])),
            **_named("head.decoder", (head.decoder.weight[:, first], head.decoder.bias)),
        }
    raise PruneError(
        f"model: {type(model).__name__} given, allowed are FlexiBertModel, "
        "FlexiBertForSequenceClassification and FlexiBertForMaskedLM"
    )
