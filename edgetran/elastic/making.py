"""An elastic network from a trained parent: importance, the fit of its slots, the order of layers.

The importance is GPTran's. Which layers go first is measured: one after another, always the one
without which the parent's predictions change least; the last layer stays (DynaBERT, arXiv
2004.04037).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Final, cast

import torch

from edgetran.gptran.importance import divergence, fisher_importance
from edgetran.models import (
    FlexiBertConfig,
    FlexiBertForSequenceClassification,
    PruneMap,
    prune,
)
from edgetran.models.elastic import ElasticFlexiBert
from edgetran.models.elastic_fit import fit_slots
from edgetran.models.elastic_parent import check_positions, parent_layer, sort_by_importance
from edgetran.training.encoding import Batch

_BATCHES_FOR_LAYERS: Final = 4
"""Calibration batches on which the order of layers is measured: each of l²/2 trials reads them."""


def make_elastic(
    parent: FlexiBertForSequenceClassification,
    batches: Sequence[Batch],
    head_types: Sequence[str],
    hidden_sizes: Sequence[int] = (),
) -> ElasticFlexiBert:
    """The untrained elastic network of a parent, on its device and in evaluation mode.

    Args:
        parent: a BERT-shaped FlexiBERT that is trained on the task; it is not changed.
        batches: labelled calibration examples.
        head_types: the types that a head may have.
        hidden_sizes: the widths that a layer may have besides the parent's.

    Raises:
        ElasticError: a parent of another shape.
        ValueError: no calibration examples.
    """
    check_positions(cast(FlexiBertConfig, parent.config))
    shape = parent_layer(parent.config.to_architecture())
    importance = fisher_importance(parent, batches)
    removal = removal_order(parent, batches[:_BATCHES_FOR_LAYERS])
    model = copy.deepcopy(parent).train(False)
    units = [layer[0].tolist() for layer in importance.units]
    narrow = any(size != shape.hidden_size for size in hidden_sizes)
    channels = None if importance.channels is None else importance.channels.tolist()
    order = sort_by_importance(
        model,
        [heads.tolist() for heads in importance.heads],
        units,
        channels if narrow else None,
    )
    elastic = ElasticFlexiBert(model, head_types, hidden_sizes).train(False)
    elastic.channels.copy_(torch.tensor(order, dtype=torch.long))
    elastic.removal.copy_(torch.tensor(removal, dtype=torch.long))
    fit_slots(elastic, (batch.inputs(parent.device) for batch in batches))
    return elastic.to(parent.device)


def removal_order(
    parent: FlexiBertForSequenceClassification, batches: Sequence[Batch]
) -> tuple[int, ...]:
    """The layers in the order in which they go, all but the last one.

    Args:
        parent: a trained model.
        batches: calibration examples; labels are not needed.
    """
    count = parent.config.num_hidden_layers
    keep = PruneMap.everything(parent.config.to_architecture())
    gone: list[int] = []
    while len(gone) < count - 1:
        rest = [layer for layer in range(count - 1) if layer not in gone]
        harm = {
            layer: divergence(
                cast(FlexiBertForSequenceClassification, prune(parent, keep.without_layer(layer))),
                parent,
                batches,
            )
            for layer in rest
        }
        least = min(rest, key=lambda layer: (harm[layer], layer))
        gone.append(least)
        keep = keep.without_layer(least)
    return tuple(gone)
