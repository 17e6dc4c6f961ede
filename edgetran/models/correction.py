"""Closed-form correction: the weights that pruning left are refitted to what the parent computes.

Every linear map that adds to the hidden state (a layer's attention output and the last matrix of
its feed-forward stack) is solved again by least squares, layer by layer from the first, so that
the sum before the LayerNorm comes as near as it can to the parent's, given what the layers before
now give. What a removed head, unit or layer added is so made up for as far as the rest can. The
idea is that of reconstruction pruning (He et al., arXiv 1707.06168; ZipLM, arXiv 2302.04089).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from edgetran.models.modeling import FlexiBertLayer, FlexiBertModel, FlexiBertPreTrainedModel

RIDGE: Final = 1e-2
"""Pull towards the weights as they were, as a share of the inputs' mean square: with a few
thousand tokens for a thousand units a plain fit learns the calibration set by heart."""


_ROUNDING: Final = 1e-6
"""Of what is to be given: smaller errors are those of sums in single precision."""


@dataclass(frozen=True)
class LayerOrigin:
    """Where a child's layer comes from.

    Attributes:
        layer: index of the parent's layer.
        hidden: the parent's hidden channels that the child's layer keeps, ascending.
    """

    layer: int
    hidden: tuple[int, ...]


@dataclass(frozen=True)
class Refit:
    """What refitting one linear map did to its squared error, per calibration token and channel.

    Attributes:
        layer: the child's layer.
        part: "attention" or "feed_forward".
        before: error with the weights as they were.
        after: error with those of the fit; never above `before`.
    """

    layer: int
    part: str
    before: float
    after: float


@torch.no_grad()
def correct(
    child: FlexiBertPreTrainedModel,
    parent: FlexiBertPreTrainedModel,
    sources: Sequence[LayerOrigin],
    batches: Iterable[Mapping[str, Tensor]],
    *,
    ridge: float = RIDGE,
) -> tuple[Refit, ...]:
    """Refit a pruned model's weights in place, in one pass over both models.

    Args:
        child: the pruned model, in evaluation mode.
        parent: what it was pruned from, on the same device.
        sources: of every layer of the child.
        batches: calibration inputs as the models take them.
        ridge: strength of the pull towards the present weights, a share of the inputs' mean square.

    Raises:
        ValueError: no calibration inputs.
    """
    ours, theirs = (cast(FlexiBertModel, model.base_model) for model in (child, parent))
    modes = child.training, parent.training
    child.train(False)
    parent.train(False)
    passes = [_Pass.begin(ours, theirs, inputs) for inputs in batches]
    if not passes:
        raise ValueError("calibration set: no examples given; at least one is needed")
    refits: list[Refit] = []
    reached = 0
    for index, source in enumerate(sources):
        while reached < source.layer:
            for each in passes:
                each.theirs = _through(_layer(theirs, reached), each.theirs, each.context)
            reached += 1
        kept = list(source.hidden)
        for part in ("attention", "feed_forward"):
            linear = _last(_layer(ours, index), part)
            for each in passes:
                each.mix(_layer(ours, index), _layer(theirs, source.layer), part, kept)
            before, after = _refit(linear, passes, ridge)
            refits.append(Refit(index, part, before, after))
            for each in passes:
                each.go_on(_layer(ours, index), _layer(theirs, source.layer), part)
        for each in passes:
            each.ours = _projected(_layer(ours, index), each.ours)
            each.theirs = _projected(_layer(theirs, source.layer), each.theirs)
        reached = source.layer + 1
    child.train(modes[0])
    parent.train(modes[1])
    return tuple(refits)


class _Pass:
    """One batch on its way through both models."""

    def __init__(
        self, ours: Tensor, theirs: Tensor, context: tuple[Any, ...], tokens: Tensor
    ) -> None:
        self.ours, self.theirs, self.context, self.tokens = ours, theirs, context, tokens

    @classmethod
    def begin(
        cls, ours: FlexiBertModel, theirs: FlexiBertModel, inputs: Mapping[str, Tensor]
    ) -> _Pass:
        """Embed a batch."""
        device = ours.device
        ids = inputs["input_ids"].to(device)
        types = inputs.get("token_type_ids")
        types = None if types is None else types.to(device)
        mask = inputs["attention_mask"].to(device)
        hidden = [model.embeddings(ids, None, types, None) for model in (ours, theirs)]
        padding = ours._padding(mask, ids.shape[0], ids.shape[1], hidden[0].dtype)
        transforms = [model.transforms(ids.shape[1]) for model in (ours, theirs)]
        return cls(hidden[0], hidden[1], (*padding, transforms), mask.bool())

    def mix(self, ours: FlexiBertLayer, theirs: FlexiBertLayer, part: str, kept: list[int]) -> None:
        """Compute what goes into the linear map, and what it should give: all before the norm."""
        self.inputs = _mixed(ours, self.ours, self.context, part, 0)
        their_inputs = _mixed(theirs, self.theirs, self.context, part, 1)
        self.their_sum = _last(theirs, part)(their_inputs) + self.theirs
        self.wanted = self.their_sum[..., kept] - self.ours

    def go_on(self, ours: FlexiBertLayer, theirs: FlexiBertLayer, part: str) -> None:
        """Add and normalise, with the refitted weights."""
        self.ours = _norm(ours, part)(_last(ours, part)(self.inputs) + self.ours)
        self.theirs = _norm(theirs, part)(self.their_sum)


def _refit(linear: nn.Linear, passes: Sequence[_Pass], ridge: float) -> tuple[float, float]:
    """Solve for the weights; mean squared error before and after."""
    size = linear.in_features + 1
    inner = torch.zeros(size, size, dtype=torch.float64)
    outer = torch.zeros(linear.out_features, size, dtype=torch.float64)
    power, tokens = 0.0, 0
    for each in passes:
        inputs, wanted = each.inputs[each.tokens], each.wanted[each.tokens]
        inputs = torch.cat([inputs, inputs.new_ones(len(inputs), 1)], 1)
        inner += (inputs.T @ inputs).double().cpu()
        outer += (wanted.T @ inputs).double().cpu()
        power += float((wanted.double() ** 2).sum())
        tokens += len(inputs)
    old = torch.cat([linear.weight, linear.bias[:, None]], 1).double().cpu()
    new = ridge_solution(inner, outer, old, ridge)

    def error(weights: Tensor) -> float:
        value = power + float(((weights @ inner - 2 * outer) * weights).sum())
        return max(value, 0.0) / max(1, tokens * linear.out_features)

    before, after = error(old), error(new)
    if before - after <= _ROUNDING * power / max(1, tokens * linear.out_features):
        return before, before
    linear.weight.copy_(new[:, :-1].to(linear.weight))
    linear.bias.copy_(new[:, -1].to(linear.bias))
    return before, after


def ridge_solution(inner: Tensor, outer: Tensor, old: Tensor, ridge: float = RIDGE) -> Tensor:
    """Weights W of least squared error |y - W x|² + pull · |W - old|², (outputs, inputs).

    Args:
        inner: sum of x xᵀ over the examples, (inputs, inputs), in float64.
        outer: sum of y xᵀ, (outputs, inputs), in float64.
        old: weights to be pulled towards, (outputs, inputs), in float64.
        ridge: strength of the pull, a share of the inputs' mean square.
    """
    pull = max(ridge * float(inner.diagonal().mean()), 1e-12)
    damped = inner + pull * torch.eye(len(inner), dtype=inner.dtype)
    solved: Tensor = torch.linalg.solve(damped, (outer + pull * old).T)
    return solved.T


def _layer(model: FlexiBertModel, index: int) -> FlexiBertLayer:
    return cast(FlexiBertLayer, model.layers[index])


def _last(layer: FlexiBertLayer, part: str) -> nn.Linear:
    """The linear map whose output is added to the hidden state."""
    if part == "attention":
        return layer.attention.output
    return cast(nn.Linear, layer.feed_forward.dense[-1])


def _norm(layer: FlexiBertLayer, part: str) -> nn.LayerNorm:
    return layer.attention.LayerNorm if part == "attention" else layer.feed_forward.LayerNorm


def _mixed(
    layer: FlexiBertLayer, hidden: Tensor, context: tuple[Any, ...], part: str, side: int
) -> Tensor:
    """What goes into the last linear map of a part, (B, S, k)."""
    if part == "attention":
        mask, tokens, transforms = context
        return layer.attention._mix(hidden, mask, tokens, transforms[side], explicit=False)[0]
    mixed = hidden
    for dense in layer.feed_forward.dense[:-1]:
        mixed = layer.feed_forward._activate(dense(mixed))
    return mixed


def _projected(layer: FlexiBertLayer, hidden: Tensor) -> Tensor:
    return layer.projection(hidden) if hasattr(layer, "projection") else hidden


def _through(layer: FlexiBertLayer, hidden: Tensor, context: tuple[Any, ...]) -> Tensor:
    """A layer of the parent that the child lacks."""
    mask, tokens, transforms = context
    return cast(Tensor, layer(hidden, mask, tokens, transforms[1], False)[0])
