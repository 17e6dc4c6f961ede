"""Gates and masks on heads, feed-forward units, layers and hidden values of a running model.

A gate multiplies what a part gives. At gates of one the model is unchanged, and the derivative
of a loss by a gate is the gradient × activation of first-order Taylor importance (Molchanov et
al., arXiv 1611.06440; Michel et al., arXiv 1905.10650). Gates are hooks: without them the model
pays nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgetran.models.layout import HeadLayout
from edgetran.models.modeling import (
    FlexiBertFeedForward,
    FlexiBertForMaskedLM,
    FlexiBertLayer,
    FlexiBertModel,
    FlexiBertPreTrainedModel,
)
from edgetran.models.pruning import PruneMap, pruned_architecture
from edgetran.space import Layer


@dataclass(frozen=True)
class Gates:
    """The gates of a model, all ones at first; write into them in place.

    Attributes:
        heads: per layer (n,), heads in the architecture's order.
        feed_forward: per layer and width (width,), on the activations.
        layers: per layer a scalar: 0 passes the layer's input on instead of its output.
        hidden: per layer (h,), on what the layer's last LayerNorm gives.
    """

    heads: list[Tensor]
    feed_forward: list[list[Tensor]]
    layers: list[Tensor]
    hidden: list[Tensor]

    def all(self) -> list[Tensor]:
        """Every gate, for `torch.autograd.grad`."""
        stacks = [gate for gates in self.feed_forward for gate in gates]
        return [*self.heads, *stacks, *self.layers, *self.hidden]


@contextmanager
def gates(model: FlexiBertPreTrainedModel, *, requires_grad: bool = True) -> Iterator[Gates]:
    """Put gates on a model for the length of a `with` block.

    Args:
        model: the model; its parameters are not touched.
        requires_grad: whether losses give gradients to the gates.

    Example:
        >>> import torch
        >>> from edgetran.models import FlexiBertConfig, FlexiBertForSequenceClassification
        >>> from edgetran.models.gating import gates
        >>> model = FlexiBertForSequenceClassification(FlexiBertConfig(vocab_size=50)).eval()
        >>> with gates(model) as g:
        ...     loss = model(torch.tensor([[2, 3]]), labels=torch.tensor([1])).loss
        ...     importance = torch.autograd.grad(loss, g.heads)[0].abs()
        >>> importance.shape
        torch.Size([4])
    """
    encoder = cast(FlexiBertModel, model.base_model)
    architecture = model.config.to_architecture()

    def ones(*shape: int) -> Tensor:
        return torch.ones(
            shape, device=model.device, dtype=model.dtype, requires_grad=requires_grad
        )

    result = Gates(
        [ones(layer.num_heads) for layer in architecture.layers],
        [[ones(width) for width in layer.feed_forward] for layer in architecture.layers],
        [ones() for _ in architecture.layers],
        [ones(layer.hidden_size) for layer in architecture.layers],
    )
    with ExitStack() as hooks:
        for i, layer in enumerate(architecture.layers):
            module = cast(FlexiBertLayer, encoder.layers[i])
            _gate_heads(hooks, module, layer, result.heads[i])
            for dense, gate in zip(
                module.feed_forward.dense[1:], result.feed_forward[i], strict=True
            ):
                _before(hooks, dense, partial(torch.mul, gate))
            _gate_output(hooks, module, result.layers[i], result.hidden[i])
        yield result


@contextmanager
def masked(model: FlexiBertPreTrainedModel, keep: PruneMap) -> Iterator[None]:
    """Mask what a prune map removes, for the length of a `with` block.

    The model then computes what `edgetran.models.pruning.prune` of it computes, to rounding.

    Args:
        model: the model; its parameters are not touched.
        keep: what is kept.

    Raises:
        PruneError: for a map that leaves no model.
    """
    encoder = cast(FlexiBertModel, model.base_model)
    architecture = model.config.to_architecture()
    pruned_architecture(architecture, keep)
    with ExitStack() as hooks:
        gated = hooks.enter_context(gates(model, requires_grad=False))
        for i in range(architecture.num_layers):
            module = cast(FlexiBertLayer, encoder.layers[i])
            kept = list(keep.kept_hidden[i])
            gated.layers[i].fill_(float(i in keep.kept_layers))
            gated.heads[i].copy_(_indicator(gated.heads[i], keep.kept_heads[i]))
            for k, units in enumerate(keep.kept_units[i]):
                gate = gated.feed_forward[i][k]
                if units:
                    gate.copy_(_indicator(gate, units))
                else:
                    _pass_linearly(hooks, module.feed_forward, k)
            mask = _indicator(gated.hidden[i], kept)
            _before(hooks, module, partial(torch.mul, mask), first=True)
            for norm in (module.attention.LayerNorm, module.feed_forward.LayerNorm):
                _normalise_kept(hooks, norm, kept)
        first, last = list(keep.kept_hidden[0]), _indicator(gated.hidden[-1], keep.kept_hidden[-1])
        _normalise_kept(hooks, encoder.embeddings.LayerNorm, first)
        if encoder.pooler is not None:
            _after(hooks, encoder.pooler, lambda x: x * last)
        if isinstance(model, FlexiBertForMaskedLM):
            _normalise_kept(hooks, model.head.LayerNorm, first)
        yield


def _indicator(like: Tensor, kept: Any) -> Tensor:
    """Ones at the kept places, zeros elsewhere."""
    mask = torch.zeros_like(like)
    mask[list(kept)] = 1
    return mask


def _before(
    hooks: ExitStack,
    module: nn.Module,
    change: Callable[[Tensor], Tensor],
    *,
    first: bool = False,
) -> None:
    """Change the first input of a module, ahead of what others change if `first`."""

    def hook(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (change(args[0]), *args[1:])

    hooks.callback(module.register_forward_pre_hook(hook, prepend=first).remove)


def _after(hooks: ExitStack, module: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
    """Change the output of a module."""
    hooks.callback(module.register_forward_hook(lambda _, __, output: change(output)).remove)


def _gate_heads(hooks: ExitStack, module: FlexiBertLayer, layer: Layer, gate: Tensor) -> None:
    layout = HeadLayout.of(layer)
    order = list(layout.order)

    def change(concatenated: Tensor) -> Tensor:  # (B, S, n·d)
        return concatenated * gate[order].repeat_interleave(layout.head_dim)

    _before(hooks, module.attention.output, change)


def _gate_output(hooks: ExitStack, module: FlexiBertLayer, gate: Tensor, hidden: Tensor) -> None:
    """Gate a layer, before its projection, between its input and its output."""
    inputs: list[Tensor] = []

    def remember(x: Tensor) -> Tensor:
        inputs[:] = [x]
        return x

    def change(output: Tensor) -> Tensor:
        source = inputs.pop()
        return (source + gate * (output - source)) * hidden

    _before(hooks, module, remember)
    _after(hooks, module.feed_forward, change)


def _pass_linearly(hooks: ExitStack, feed_forward: FlexiBertFeedForward, index: int) -> None:
    """Take the GELU behind matrix `index` as the identity."""
    values: list[Tensor] = []

    def remember(output: Tensor) -> Tensor:
        values[:] = [output.clone()]  # GELU may work in place
        return output

    _after(hooks, feed_forward.dense[index], remember)
    _before(hooks, feed_forward.dense[index + 1], lambda _: values.pop())


def _normalise_kept(hooks: ExitStack, norm: nn.LayerNorm, kept: list[int]) -> None:
    """Let a LayerNorm see and give the kept values alone; the others become zero."""
    if len(kept) == norm.normalized_shape[0]:
        return

    def hook(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        result = torch.zeros_like(output)
        result[..., kept] = functional.layer_norm(
            args[0][..., kept], (len(kept),), norm.weight[kept], norm.bias[kept], norm.eps
        )
        return result

    hooks.callback(norm.register_forward_hook(hook).remove)
