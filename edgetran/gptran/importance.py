"""How much each block of a trained model matters: Taylor, Fisher, or mean squared weights.

Taylor (Michel et al., arXiv 1905.10650; Molchanov et al., arXiv 1906.10771): removing a block sets
its activations a to zero, which changes the loss of an example by about |sum of a · dL/da|, the
sum over positions and the block's dimensions; the importance is the mean over a calibration set.
A layer is removed by handing on its input, so its activation counts as output - input. Absolute
values are taken per example: in a converged model the signed ones cancel.

Fisher (Theis et al., arXiv 1801.05787; Kwon et al., arXiv 2204.09656): to second order, removing
the block costs half the mean squared derivative of the loss by a mask on it, the same products
squared per example.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from edgetran.gptran.blocks import Importance, Values
from edgetran.models import FlexiBertForSequenceClassification
from edgetran.models.layout import HeadLayout
from edgetran.models.modeling import FlexiBertLayer
from edgetran.space import Architecture
from edgetran.training.encoding import Batch


def taylor_importance(
    model: FlexiBertForSequenceClassification, batches: Iterable[Batch]
) -> Importance:
    """First-order Taylor importance of every block, in units of the loss per example.

    Args:
        model: a FlexiBERT sequence classification model; left as it was.
        batches: labelled calibration examples.

    Raises:
        ValueError: no examples.
    """
    return _from_gradients(model, batches, torch.abs)


def fisher_importance(
    model: FlexiBertForSequenceClassification, batches: Iterable[Batch]
) -> Importance:
    """Half the mean squared derivative of an example's loss by a mask on every block.

    Arguments and errors as of `taylor_importance`. A channel's mask is one at each layer's end;
    their squares are added.
    """
    return _from_gradients(model, batches, lambda products: products**2 / 2)


def _from_gradients(
    model: FlexiBertForSequenceClassification,
    batches: Iterable[Batch],
    size: Callable[[Tensor], Tensor],
) -> Importance:
    """Mean over examples of the `size` of activation · gradient, per block."""
    architecture = model.config.to_architecture()
    recorder = _Recorder(model)
    sums: _Sums | None = None
    was_training = model.training
    model.train(False)
    try:
        for batch in batches:
            count = _backward(model, batch)
            new = recorder.sums(architecture, count, size)
            sums = new if sums is None else [a + b for a, b in zip(sums, new, strict=True)]
    finally:
        recorder.remove()
        model.zero_grad(set_to_none=True)
        model.train(was_training)
    if sums is None:
        raise ValueError("calibration set: no examples given; at least one is needed")
    return _importance(architecture, [values.numpy() for values in sums])


def magnitude_importance(model: FlexiBertForSequenceClassification) -> Importance:
    """Mean squared weight of every block (the published criterion); units of squared weights."""
    architecture = model.config.to_architecture()
    heads, units, layers = [], [], []
    channels: list[Tensor] = [_squares(model.flexibert.embeddings.word_embeddings.weight).mean(0)]
    for shape, layer in zip(architecture.layers, _layers(model), strict=True):
        layout, dim = HeadLayout.of(shape), shape.head_dim
        width = shape.hidden_size
        rows = _squares(layer.attention.query_key_value.weight).view(-1, dim, width)
        columns = _squares(layer.attention.output.weight).view(width, -1, dim)  # (h, n, d)
        values = []
        for head, slot in enumerate(layout.slots):
            parts = [rows[2 * layout.num_queries + slot].flatten(), columns[:, slot].flatten()]
            query = layout.query_slot(head)
            if query is not None:
                parts += [rows[query].flatten(), rows[layout.num_queries + query].flatten()]
            values.append(torch.cat(parts).mean())
        heads.append(torch.stack(values))
        dense = [cast(nn.Linear, module) for module in layer.feed_forward.dense]
        units.append(
            tuple(
                torch.cat([_squares(dense[j].weight), _squares(dense[j + 1].weight).T], 1).mean(1)
                for j in range(len(shape.feed_forward))
            )
        )
        layers.append(torch.cat([_squares(p).flatten() for p in layer.parameters()]).mean())
        channels += [rows.flatten(0, 1).mean(0), columns.flatten(1).mean(1)]
        channels += [_squares(dense[0].weight).mean(0), _squares(dense[-1].weight).mean(1)]
    same = len({len(channel) for channel in channels}) == 1
    return Importance(
        heads=tuple(_numbers(values) for values in heads),
        units=tuple(tuple(_numbers(values) for values in layer) for layer in units),
        layers=_numbers(torch.stack(layers)),
        channels=_numbers(torch.stack(channels).mean(0)) if same else None,
    )


def squared_gradient(model: FlexiBertForSequenceClassification, batches: Iterable[Batch]) -> float:
    """Squared L2 norm of the gradient of the mean loss, over all parameters.

    Of a model that was grown without changing its function, the part beyond its parent's comes
    from the new parameters alone: a gradient step of length eta on them lowers the loss by eta
    times it, which ranks growth sites (GradMax, Evci et al., arXiv 2201.05125).
    """
    was_training = model.training
    model.train(False)
    model.zero_grad(set_to_none=True)
    try:
        count = sum(_backward(model, batch) for batch in batches)
        squares = sum(
            float(_squares(p.grad).sum()) for p in model.parameters() if p.grad is not None
        )
    finally:
        model.zero_grad(set_to_none=True)
        model.train(was_training)
    return squares / count**2


@torch.no_grad()
def divergence(
    model: FlexiBertForSequenceClassification,
    parent: FlexiBertForSequenceClassification,
    batches: Iterable[Batch],
) -> float:
    """How far a model's predictions are from its parent's, mean per example.

    The Kullback-Leibler divergence of the classes in nats; of a regression, half the squared
    difference. What training on the parent's outputs would have to make up for.
    """
    total, examples = 0.0, 0
    modes = model.training, parent.training
    model.train(False)
    parent.train(False)
    for batch in batches:
        ours, theirs = (
            each(**batch.inputs(each.device)).logits.double() for each in (model, parent)
        )
        if ours.shape[-1] == 1:
            total += float(((ours - theirs) ** 2).sum()) / 2
        else:
            total += float(
                torch.nn.functional.kl_div(
                    ours.log_softmax(-1), theirs.log_softmax(-1), reduction="sum", log_target=True
                )
            )
        examples += len(batch.labels)
    model.train(modes[0])
    parent.train(modes[1])
    return total / max(1, examples)


_Sums = list[Tensor]
"""Heads of each layer, units of each matrix of each layer, layers, and channels if all alike."""


class _Recorder:
    """Keeps the activations of one forward pass, whose gradients the backward pass adds."""

    def __init__(self, model: FlexiBertForSequenceClassification) -> None:
        self.heads: dict[int, Tensor] = {}
        self.units: dict[tuple[int, int], Tensor] = {}
        self.inputs: dict[int, Tensor] = {}
        self.outputs: dict[int, Tensor] = {}
        self._handles: list[RemovableHandle] = []
        for i, layer in enumerate(_layers(model)):
            self._before(layer.attention, self.inputs, i)
            self._before(layer.attention.output, self.heads, i)
            for j, dense in enumerate(layer.feed_forward.dense[1:]):
                self._before(dense, self.units, (i, j))
            self._after(layer.feed_forward, self.outputs, i)

    def _before(self, module: nn.Module, store: dict[Any, Tensor], key: Any) -> None:
        def hook(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            _keep(store, key, arguments[0])

        self._handles.append(module.register_forward_pre_hook(hook))

    def _after(self, module: nn.Module, store: dict[Any, Tensor], key: Any) -> None:
        def hook(_: nn.Module, __: Any, output: Tensor) -> None:
            _keep(store, key, output)

        self._handles.append(module.register_forward_hook(hook))

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()

    def sums(
        self, architecture: Architecture, count: int, size: Callable[[Tensor], Tensor]
    ) -> _Sums:
        """Sum over the batch's `count` examples of `size` of activation · gradient per block."""
        heads, units, layers = [], [], []
        for i, shape in enumerate(architecture.layers):
            slots = torch.tensor(HeadLayout.of(shape).slots)
            products = _products(self.heads[i])
            per_head = products.view(*products.shape[:2], shape.num_heads, shape.head_dim)
            heads.append(size(per_head.sum((1, 3))).sum(0)[slots])  # (B, S, n, d) -> (n,)
            units += [
                size(_products(self.units[i, j]).sum(1)).sum(0)
                for j in range(len(shape.feed_forward))
            ]
            difference = (self.outputs[i] - self.inputs[i]).detach() * _gradient(self.outputs[i])
            layers.append(size(difference.sum((1, 2))).sum())
        result = [*heads, *units, torch.stack(layers)]
        if len({shape.hidden_size for shape in architecture.layers}) == 1:
            states = [self.inputs[0], *(self.outputs[i] for i in range(len(layers)))]
            result.append(torch.stack([size(_products(s).sum(1)).sum(0) for s in states]).sum(0))
        examples = torch.tensor(float(count))
        return [*(values.double().cpu() for values in result), examples]


def _keep(store: dict[Any, Tensor], key: Any, activation: Tensor) -> None:
    if activation.requires_grad:
        activation.retain_grad()
    store[key] = activation


def _products(activation: Tensor) -> Tensor:
    return activation.detach() * _gradient(activation)


def _gradient(activation: Tensor) -> Tensor:
    return torch.zeros_like(activation) if activation.grad is None else activation.grad


def _backward(model: FlexiBertForSequenceClassification, batch: Batch) -> int:
    """Add the gradient of the summed loss; return the number of examples."""
    device = next(model.parameters()).device
    output = model(**batch.inputs(device), labels=batch.labels.to(device))
    count = len(batch.labels)
    (output.loss * count).backward()
    return count


def _importance(architecture: Architecture, sums: Sequence[Values]) -> Importance:
    values = iter([each / sums[-1] for each in sums[:-1]])
    heads = tuple(next(values) for _ in architecture.layers)
    units = tuple(tuple(next(values) for _ in layer.feed_forward) for layer in architecture.layers)
    return Importance(heads, units, next(values), next(values, None))


def _layers(model: FlexiBertForSequenceClassification) -> list[FlexiBertLayer]:
    return [cast(FlexiBertLayer, layer) for layer in model.flexibert.layers]


def _squares(tensor: Tensor) -> Tensor:
    return tensor.detach().double() ** 2


def _numbers(tensor: Tensor) -> Values:
    return np.asarray(tensor.cpu().numpy(), dtype=np.float64)
