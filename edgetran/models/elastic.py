"""One network that holds every sub-architecture of a parent, each as a view of the same weights.

The parent is a BERT whose heads and feed-forward units stand in the order of their importance, so
that the first k of them are a good k (DynaBERT, arXiv 2004.04037; once-for-all, arXiv 1908.09791).
A sub-architecture keeps some layers, in each of them the first n heads and the first f units.
Beside each attention head stand slots of the other head types: they share its queries, keys and
values and have of their own what a type needs and the columns of the output projection. Which of a
layer's heads are replaced follows from how well a type stands in for each, measured once
(`edgetran.models.elastic_fit`).

A view computes its weights from the shared ones whenever it runs, by the function that extraction
uses, so both are the same model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.func import functional_call
from transformers.modeling_outputs import SequenceClassifierOutput

from edgetran.models.config import FlexiBertConfig
from edgetran.models.heads import PositionTransforms
from edgetran.models.layout import MIXING_BY_TRANSFORM, HeadLayout, family, span
from edgetran.models.modeling import (
    FlexiBertForSequenceClassification,
    FlexiBertLayer,
    FlexiBertModel,
)
from edgetran.space import HEAD_TYPES, Architecture, Layer

ATTENTION: Final = "sa_sdp"
"""The type of a parent's heads."""

_KEPT_SKELETONS: Final = 4096
"""Layer shapes whose empty modules are kept: some kilobytes each."""


class ElasticError(ValueError):
    """A parent or an architecture that an elastic network cannot hold; one sentence."""


@dataclass(frozen=True)
class LayerPart:
    """A layer of a view.

    Attributes:
        index: the parent's layer that it is a part of.
        shape: its own shape, heads in canonical order.
    """

    index: int
    shape: Layer


class HeadSlots(nn.Module):
    """What the heads of one type have of their own, in one layer; N heads of dimension d.

    Args:
        head_type: from `HEAD_TYPES`, not the parent's own.
        num_heads: N of the parent.
        head_dim: d.
        hidden_size: h.
    """

    def __init__(self, head_type: str, num_heads: int, head_dim: int, hidden_size: int) -> None:
        super().__init__()
        self.output = nn.Parameter(torch.zeros(hidden_size, num_heads, head_dim))
        self.offset = nn.Parameter(torch.zeros(num_heads, hidden_size))
        shape = num_heads, head_dim, head_dim
        identity = torch.eye(head_dim).expand(shape)
        own: dict[str, Tensor] = {}
        if head_type == "sa_wma":
            own = {"weighting": identity}
        elif family(head_type) == "c":
            width = span(head_type)
            # A static kernel over the values at first: its logits are the biases alone.
            own = {
                "depthwise": torch.zeros(num_heads, width, head_dim),
                "pointwise": identity,
                "pointwise_bias": torch.zeros(num_heads, head_dim),
                "kernel": torch.zeros(num_heads, width, head_dim),
                "kernel_bias": torch.zeros(num_heads, width),
                "value": identity,
                "value_bias": torch.zeros(num_heads, head_dim),
            }
            own["depthwise"][:, width // 2] = 1.0
        self.own = nn.ParameterDict({name: nn.Parameter(t.clone()) for name, t in own.items()})


class ElasticFlexiBert(nn.Module):
    """The shared weights of a parent and all its sub-architectures.

    Args:
        parent: a BERT-shaped FlexiBERT classifier; it becomes part of this network. Its heads and
            units are taken to be sorted by importance, see `sort_by_importance`.
        head_types: the types that a head may have, the parent's included.

    Raises:
        ElasticError: a parent whose layers differ or have other heads than `sa_sdp`.

    Example:
        >>> from edgetran.models import FlexiBertConfig, FlexiBertForSequenceClassification
        >>> from edgetran.models.elastic import ElasticFlexiBert
        >>> from edgetran.space import Architecture
        >>> bert = Architecture.homogeneous(num_layers=3, hidden_size=32, num_heads=4,
        ...                                 feed_forward=[64])
        >>> config = FlexiBertConfig.from_architecture(bert, vocab_size=100)
        >>> parent = FlexiBertForSequenceClassification(config)
        >>> elastic = ElasticFlexiBert(parent, ["sa_sdp", "c_5"])
        >>> small = Architecture.from_model_dict(
        ...     {"l": 1, "h": [32], "f": [[16]], "o": [["sa_sdp_8", "c_5_8"]]})
        >>> elastic.extract(small).num_parameters() < elastic.parent.num_parameters()
        True
    """

    harm: Tensor
    removal: Tensor

    def __init__(
        self, parent: FlexiBertForSequenceClassification, head_types: Sequence[str] = HEAD_TYPES
    ) -> None:
        super().__init__()
        check_positions(cast(FlexiBertConfig, parent.config))
        self.shape = parent_layer(parent.config.to_architecture())
        self.num_layers = parent.config.num_hidden_layers
        self.head_types = tuple(sorted({ATTENTION, *head_types}, key=HEAD_TYPES.index))
        self.parent = parent
        layer = self.shape
        self.slots = nn.ModuleList(
            nn.ModuleDict(
                {
                    name: HeadSlots(name, layer.num_heads, layer.head_dim, layer.hidden_size)
                    for name in self.head_types
                    if name != ATTENTION
                }
            )
            for _ in range(self.num_layers)
        )
        config = parent.config
        self.transforms = PositionTransforms(
            config.transform_length,
            dft="l_dft" in self.head_types,
            dct="l_dct" in self.head_types,
        )
        self.transforms.reset_buffers()
        # Squared error of a head's share of the output where a type stands in for it.
        self.register_buffer(
            "harm", torch.zeros(self.num_layers, layer.num_heads, len(self.head_types))
        )
        # Layers in the order in which they go; the last one stays.
        self.register_buffer("removal", torch.arange(self.num_layers - 1).flip(0))
        self._skeletons: dict[Layer, FlexiBertLayer] = {}
        self._assignments: dict[LayerPart, tuple[int, ...]] = {}

    @property
    def encoder(self) -> FlexiBertModel:
        """The parent's encoder."""
        return self.parent.flexibert

    @property
    def largest(self) -> Architecture:
        """The parent's own architecture."""
        return Architecture((self.shape,) * self.num_layers)

    def why_not(self, architecture: Architecture) -> str | None:
        """None where the architecture is a part of the parent, else the first thing that is not."""
        if architecture.num_layers > self.num_layers:
            return f"{architecture.num_layers} layers, the parent has {self.num_layers}"
        for i, layer in enumerate(architecture.layers):
            reason = _why_not_layer(layer, self.shape, self.head_types)
            if reason is not None:
                return f"layer {i}: {reason}"
        return None

    def parts(self, architecture: Architecture) -> tuple[LayerPart, ...]:
        """The layers of a view, each with the parent's layer that it is a part of.

        Raises:
            ElasticError: the architecture is no part of the parent.
        """
        reason = self.why_not(architecture)
        if reason is not None:
            raise ElasticError(f"architecture: {reason}")
        gone = self.removal[: self.num_layers - architecture.num_layers].tolist()
        kept = (index for index in range(self.num_layers) if index not in gone)
        layers = architecture.canonical().layers
        return tuple(LayerPart(index, layer) for index, layer in zip(kept, layers, strict=True))

    def view(self, architecture: Architecture) -> ElasticView:
        """The sub-architecture as a model that has no weights of its own.

        Raises:
            ElasticError: it is no part of the parent.
        """
        return ElasticView(self, architecture)

    @torch.no_grad()
    def extract(self, architecture: Architecture) -> FlexiBertForSequenceClassification:
        """The sub-architecture as a model of its own, in this network's mode, on its device.

        Raises:
            ElasticError: it is no part of the parent.
        """
        parts = self.parts(architecture)
        settings = {**self.parent.config.to_dict(), "architecture": architecture.to_model_dict()}
        result = FlexiBertForSequenceClassification(FlexiBertConfig.from_dict(settings))
        nn.Module.to(result, device=self.parent.device, dtype=self.parent.dtype)
        shared = self.parent.state_dict()
        weights = {name: shared[name] for name in shared if ".layers." not in name}
        for position, part in enumerate(parts):
            prefix = f"flexibert.layers.{position}"
            weights |= {f"{prefix}.{name}": t for name, t in self.layer_weights(part).items()}
        result.load_state_dict(weights)
        result.train(self.training)
        return result

    def layer_weights(self, part: LayerPart) -> dict[str, Tensor]:
        """The weights of a view's layer, by their names in `FlexiBertLayer`; gradients flow on."""
        source = cast(FlexiBertLayer, self.encoder.layers[part.index])
        attention, feed_forward = source.attention, source.feed_forward
        heads = self.assigned(part)
        dense = [cast(nn.Linear, module) for module in feed_forward.dense]
        (width,) = part.shape.feed_forward
        weights = {
            **self._projections(part, heads),
            "feed_forward.dense.0.weight": dense[0].weight[:width],
            "feed_forward.dense.0.bias": dense[0].bias[:width],
            "feed_forward.dense.1.weight": dense[1].weight[:, :width],
            "feed_forward.dense.1.bias": dense[1].bias,
        }
        for name, norm in (
            ("attention.LayerNorm", attention.LayerNorm),
            ("feed_forward.LayerNorm", feed_forward.LayerNorm),
        ):
            weights |= {f"{name}.weight": norm.weight, f"{name}.bias": norm.bias}
        return weights

    def assigned(self, part: LayerPart) -> tuple[int, ...]:
        """The parent's head of each head of a view's layer, in slot order.

        The first n heads are kept; each of the wanted types goes where it does the least harm.
        """
        known = self._assignments.get(part)
        if known is None:
            types = [part.shape.head_types[head] for head in HeadLayout.of(part.shape).order]
            count = len(types)
            columns = [self.head_types.index(name) for name in types]
            harm = self.harm[part.index, :count].cpu()[:, columns].T.numpy()  # (slots, heads)
            chosen = [int(head) for head in linear_sum_assignment(harm)[1]]
            for name in dict.fromkeys(types):  # heads of one type in the parent's order
                places = [i for i, other in enumerate(types) if other == name]
                for place, head in zip(places, sorted(chosen[i] for i in places), strict=True):
                    chosen[place] = head
            known = self._assignments[part] = tuple(chosen)
        return known

    def _projections(self, part: LayerPart, heads: tuple[int, ...]) -> dict[str, Tensor]:
        """Weights of a view's attention but its LayerNorm."""
        attention = cast(FlexiBertLayer, self.encoder.layers[part.index]).attention
        slots = cast(nn.ModuleDict, self.slots[part.index])
        shape = self.shape
        types = [part.shape.head_types[head] for head in HeadLayout.of(part.shape).order]
        mixing = [h for h, t in zip(heads, types, strict=True) if t not in MIXING_BY_TRANSFORM]
        blocks = [
            torch.cat([each[0, mixing], each[1, mixing], each[2, list(heads)]]).flatten(0, 1)
            for each in (
                attention.query_key_value.weight.view(3, shape.num_heads, shape.head_dim, -1),
                attention.query_key_value.bias.view(3, shape.num_heads, shape.head_dim),
            )
        ]
        columns: list[Tensor] = []
        bias: Tensor = attention.output.bias
        own: dict[str, list[Tensor]] = {}
        for name in dict.fromkeys(types):
            chosen = [h for h, t in zip(heads, types, strict=True) if t == name]
            if name == ATTENTION:
                columns.append(
                    attention.output.weight.unflatten(1, (-1, shape.head_dim))[:, chosen]
                )
                continue
            slot = cast(HeadSlots, slots[name])
            columns.append(slot.output[:, chosen])
            bias = bias + slot.offset[chosen].sum(0)
            module = "scores" if family(name) == "sa" else "convolution"
            for weight, value in slot.own.items():
                own.setdefault(f"attention.{module}.{weight}", []).append(value[chosen])
        return {
            "attention.query_key_value.weight": blocks[0],
            "attention.query_key_value.bias": blocks[1],
            "attention.output.weight": torch.cat(columns, 1).flatten(1),
            "attention.output.bias": bias,
            **{name: _stacked(name, values) for name, values in own.items()},
        }

    def embed(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, tuple[Any, ...]]:
        """Embeddings (B, S, h) of a batch, and what each layer needs besides its input."""
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        hidden = self.encoder.embeddings(ids, None, inputs.get("token_type_ids"), None)
        padding = self.encoder._padding(mask, ids.shape[0], ids.shape[1], hidden.dtype)
        return hidden, (*padding, self.transforms(ids.shape[1]), False)

    def run_layer(
        self,
        part: LayerPart,
        hidden: Tensor,
        context: tuple[Any, ...],
        weights: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """What a view's layer makes of its input, (B, S, h) → (B, S, h).

        Args:
            part: the layer.
            hidden: its input.
            context: from `embed`.
            weights: from `layer_weights`, where they are at hand.
        """
        skeleton = self._skeletons.get(part.shape)
        if skeleton is None:
            if len(self._skeletons) >= _KEPT_SKELETONS:
                self._skeletons.clear()
                self._assignments.clear()
            skeleton = _skeleton(
                cast(FlexiBertConfig, self.parent.config), part.shape, hidden.device
            )
            self._skeletons[part.shape] = skeleton
        skeleton.train(self.training)
        weights = self.layer_weights(part) if weights is None else weights
        return cast(Tensor, functional_call(skeleton, dict(weights), (hidden, *context))[0])

    def classify(self, hidden: Tensor) -> Tensor:
        """Logits (B, num_labels) of the last layer's output."""
        pooler = self.encoder.pooler
        assert pooler is not None  # noqa: S101 - a classifier has one
        return cast(
            Tensor, self.parent.classifier(self.parent.dropout(pooler(hidden[:, 0]).tanh()))
        )


class ElasticView(nn.Module):
    """A sub-architecture of an elastic network; runs as `FlexiBertForSequenceClassification` does.

    Args:
        elastic: the network.
        architecture: a part of its parent.

    Raises:
        ElasticError: it is none.
    """

    def __init__(self, elastic: ElasticFlexiBert, architecture: Architecture) -> None:
        super().__init__()
        self.elastic = elastic
        self.architecture = architecture
        self.parts = elastic.parts(architecture)
        self.training = elastic.training

    def forward(self, *, output_hidden_states: bool = False, **inputs: Tensor) -> Any:
        """Classify.

        Args:
            output_hidden_states: whether to return the embeddings and each layer's output.
            **inputs: `input_ids`, `attention_mask` and perhaps `token_type_ids`, each (B, S).
        """
        hidden, context = self.elastic.embed(inputs)
        states = [hidden]
        for part in self.parts:
            hidden = self.elastic.run_layer(part, hidden, context)
            states.append(hidden)
        return SequenceClassifierOutput(
            logits=self.elastic.classify(hidden),
            hidden_states=tuple(states) if output_hidden_states else None,
        )


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
) -> None:
    """Put heads and feed-forward units in the order of their importance, in place.

    The model's function stays the same.

    Args:
        model: a BERT-shaped FlexiBERT.
        heads: per layer, the importance of each head; the highest comes first.
        units: per layer, that of each feed-forward unit.

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


def _why_not_layer(layer: Layer, parent: Layer, head_types: tuple[str, ...]) -> str | None:
    for words, given, most in (
        ("hidden size", layer.hidden_size, parent.hidden_size),
        ("head dimension", layer.head_dim, parent.head_dim),
    ):
        if given != most:
            return f"{words} {given}, the parent's is {most}"
    if layer.num_heads > parent.num_heads:
        return f"{layer.num_heads} heads, the parent has {parent.num_heads}"
    other = next((head for head in layer.head_types if head not in head_types), None)
    if other is not None:
        return f"a head {other}, the network has {', '.join(head_types)}"
    if len(layer.feed_forward) > 1:
        return f"a stack of {len(layer.feed_forward)} feed-forward widths, the parent has 1"
    if layer.feed_forward[0] > parent.feed_forward[0]:
        return (
            f"feed-forward width {layer.feed_forward[0]}, the parent's is {parent.feed_forward[0]}"
        )
    return None


def _stacked(name: str, values: list[Tensor]) -> Tensor:
    """Own weights of several types' heads; those with a row per tap are one row below another."""
    if name.endswith((".depthwise", ".kernel", ".kernel_bias")):
        values = [value.flatten(0, 1) for value in values]
    return torch.cat(values)


def fill_constants(module: nn.Module) -> None:
    """Fill a module's own buffers, which its heads' types fix."""
    reset = getattr(module, "reset_buffers", None)
    if reset is not None:
        reset()


def _skeleton(config: FlexiBertConfig, shape: Layer, device: torch.device) -> FlexiBertLayer:
    """A layer whose parameters have shapes alone and whose constants are filled."""
    with torch.device("meta"):
        layer = FlexiBertLayer(config, shape, shape.hidden_size)
    for module in layer.modules():
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, torch.empty_like(buffer, device=device))
        fill_constants(module)
    return layer
