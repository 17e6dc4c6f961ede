"""Second-order importance: what blocks cost when the weights that stay make up for them.

Optimal Brain Surgeon (Hassibi and Stork 1993) on the linear map y = W x + b that reads a part's
blocks, in the form of ZipLM (Kurtic et al., arXiv 2302.04089) and the LLM Surgeon (van der
Ouderaa et al., arXiv 2312.17244). With the inputs' second moments H = Σ x xᵀ and those of the
output's gradients G = mean g gᵀ, over the tokens of a calibration set, a change D of [W b] costs

    loss(D) = tr(G D H Dᵀ) / 2

(K-FAC's factors of the Fisher matrix). Taking the columns S of W away and changing the others as
is best costs tr(G W_S ([H⁻¹]_SS)⁻¹ W_Sᵀ) / 2, whatever G is. The bias takes part in making up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from edgetran.gptran.cuts import Cuts, Order
from edgetran.models import FlexiBertForSequenceClassification
from edgetran.models.layout import HeadLayout
from edgetran.models.modeling import FlexiBertLayer
from edgetran.training.encoding import Batch

RIDGE: Final = 1e-2
"""Added to H, as a share of its mean diagonal: a calibration set of a few thousand tokens says
little of the directions in which a thousand units hardly vary."""

DAMPING: Final = 0.1
"""Added to G likewise: gradients of a converged model come from few examples."""

_ROUNDS: Final = 128
"""In so many goes at most are the units of a matrix taken away: after each, all that are left are
judged anew. One by one costs ten times as long for the same order to the eye."""


@dataclass(frozen=True)
class Moments:
    """Second moments of a linear map over the tokens of a calibration set, in float64.

    Attributes:
        inputs: Σ [x 1][x 1]ᵀ over tokens, shape (k + 1, k + 1).
        gradients: mean of g gᵀ over tokens, g that of an example's loss, shape (h, h).
        examples: number of examples.
    """

    inputs: Tensor
    gradients: Tensor
    examples: int


@dataclass(frozen=True)
class LayerMoments:
    """Moments of the linear maps of a layer that read its heads and the units of its stack."""

    attention: Moments
    feed_forward: tuple[Moments, ...]


def second_order_cuts(model: FlexiBertForSequenceClassification, batches: Iterable[Batch]) -> Cuts:
    """The order of all blocks, and their loss per example when the other weights make up for them.

    A layer's own loss and the channels' are those of the Fisher matrix's diagonal, for which no
    linear map can make up.

    Args:
        model: a FlexiBERT sequence classification model; left as it was.
        batches: labelled calibration examples.

    Raises:
        ValueError: no examples.
    """
    from edgetran.gptran.importance import fisher_importance

    batches = list(batches)
    moments = collect_moments(model, batches)
    fisher = Cuts.of(fisher_importance(model, batches))
    architecture = model.config.to_architecture()
    heads, units = [], []
    for i, shape in enumerate(architecture.layers):
        layer = cast(FlexiBertLayer, model.flexibert.layers[i])
        slots, dim = HeadLayout.of(shape).slots, shape.head_dim
        columns = [range(slot * dim, (slot + 1) * dim) for slot in slots]
        heads.append(obs_order(layer.attention.output, moments[i].attention, columns))
        dense = [cast(nn.Linear, module) for module in layer.feed_forward.dense]
        units.append(
            tuple(
                obs_order(
                    dense[j + 1],
                    moments[i].feed_forward[j],
                    [range(unit, unit + 1) for unit in range(width)],
                    at_once=max(1, width // _ROUNDS),
                )
                for j, width in enumerate(shape.feed_forward)
            )
        )
    return Cuts(tuple(heads), tuple(units), fisher.layers, fisher.channels)


@torch.no_grad()
def obs_order(
    linear: nn.Linear,
    moments: Moments,
    blocks: Sequence[Sequence[int]],
    *,
    at_once: int = 1,
    ridge: float = RIDGE,
    damping: float = DAMPING,
) -> Order:
    """The order in which blocks of columns go, greedily, and the loss per example of each prefix.

    Args:
        linear: the map whose columns they are.
        moments: of its inputs and of its output's gradients.
        blocks: columns of each block, all blocks of one size.
        at_once: blocks that are taken between two judgements.
        ridge: share of the mean diagonal added to the inputs' moments.
        damping: share of the mean diagonal added to the gradients' moments.
    """
    weight = torch.cat([linear.weight, linear.bias[:, None]], 1).double().cpu()
    root = _square_root(_damped(moments.gradients, damping))
    weighted = root @ weight  # its squared columns are those under G
    inverse = torch.linalg.inv(_damped(moments.inputs, ridge))
    size = len(blocks[0])
    left = list(range(len(blocks)))
    place = torch.tensor([list(block) for block in blocks])  # (n, d), in what is left of the matrix
    order: list[int] = []
    losses = [0.0]
    while left:
        costs = _costs(weighted, inverse, place)
        chosen = torch.argsort(costs, stable=True)[:at_once]
        columns = place[chosen].flatten()
        inner = torch.linalg.solve(inverse[columns][:, columns], inverse[columns])
        taken = weighted[:, columns]
        loss = float((taken * (taken @ torch.linalg.inv(inverse[columns][:, columns]))).sum())
        shares = costs[chosen].clamp_min(1e-300)
        steps = torch.cumsum(loss * shares / shares.sum(), 0)
        losses += [losses[-1] + float(step) for step in steps]
        order += [left[int(index)] for index in chosen]
        weighted = weighted - taken @ inner
        inverse = inverse - inverse[:, columns] @ inner
        stays = torch.ones(inverse.shape[0], dtype=torch.bool)
        stays[columns] = False
        weighted, inverse = weighted[:, stays], inverse[stays][:, stays]
        gone = set(chosen.tolist())
        left = [block for index, block in enumerate(left) if index not in gone]
        shift = torch.cumsum(stays, 0) - 1
        place = shift[place[[i for i in range(len(place)) if i not in gone]]].view(-1, size)
    values = np.maximum.accumulate(np.array(losses)) / (2 * moments.examples)
    return Order(np.array(order, dtype=np.int64), values)


def collect_moments(
    model: FlexiBertForSequenceClassification, batches: Iterable[Batch]
) -> tuple[LayerMoments, ...]:
    """Second moments of every linear map that reads heads or units; the model is left as it was.

    Raises:
        ValueError: no examples.
    """
    layers = [cast(FlexiBertLayer, layer) for layer in model.flexibert.layers]
    maps = [[layer.attention.output, *layer.feed_forward.dense[1:]] for layer in layers]
    sums = [_Sums(cast(nn.Linear, linear)) for layer in maps for linear in layer]
    examples = tokens = 0
    was_training = model.training
    model.train(False)
    device = next(model.parameters()).device
    try:
        for batch in batches:
            mask = batch.attention_mask.to(device).bool()
            output = model(**batch.inputs(device), labels=batch.labels.to(device))
            (output.loss * len(batch.labels)).backward()
            for each in sums:
                each.add(mask)
            examples, tokens = examples + len(batch.labels), tokens + int(mask.sum())
    finally:
        for each in sums:
            each.handle.remove()
        model.zero_grad(set_to_none=True)
        model.train(was_training)
    if not examples:
        raise ValueError("calibration set: no examples given; at least one is needed")
    found = iter([Moments(s.inputs, s.gradients / tokens, examples) for s in sums])
    return tuple(LayerMoments(next(found), tuple(next(found) for _ in layer[1:])) for layer in maps)


class _Sums:
    """Adds up the moments of one linear map, pass by pass."""

    def __init__(self, linear: nn.Linear) -> None:
        size = linear.in_features + 1
        self.inputs = torch.zeros(size, size, dtype=torch.float64)
        self.gradients = torch.zeros(linear.out_features, linear.out_features, dtype=torch.float64)
        self.handle: RemovableHandle = linear.register_forward_hook(self._keep)

    def _keep(self, _: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> Any:
        output.retain_grad()
        self.last = arguments[0].detach(), output

    def add(self, mask: Tensor) -> None:
        inputs, output = self.last
        tokens = inputs[mask]  # (t, k)
        self.inputs += gram(torch.cat([tokens, tokens.new_ones(len(tokens), 1)], 1))
        if output.grad is not None:  # the last layer may feed the first token alone
            self.gradients += gram(output.grad[mask])


def gram(rows: Tensor) -> Tensor:
    """rowsᵀ rows in float64, from products in the rows' own precision."""
    return (rows.T @ rows).double().cpu()


def _costs(weighted: Tensor, inverse: Tensor, place: Tensor) -> Tensor:
    """2·loss of taking each block away alone, shape (n,)."""
    if place.shape[1] == 1:
        columns = place[:, 0]
        lost: Tensor = (weighted[:, columns] ** 2).sum(0) / inverse[columns, columns]
        return lost
    inner = torch.stack([inverse[block][:, block] for block in place])  # (n, d, d)
    taken = torch.stack([weighted[:, block] for block in place])  # (n, h, d)
    solved: Tensor = torch.linalg.solve(inner, taken.transpose(1, 2))
    return (taken * solved.transpose(1, 2)).sum((1, 2))


def _damped(matrix: Tensor, share: float) -> Tensor:
    mean = float(matrix.diagonal().mean())
    return matrix + torch.eye(len(matrix), dtype=matrix.dtype) * max(share * mean, 1e-12)


def _square_root(matrix: Tensor) -> Tensor:
    """R with RᵀR = matrix."""
    lower: Tensor = torch.linalg.cholesky(matrix)
    return lower.T
