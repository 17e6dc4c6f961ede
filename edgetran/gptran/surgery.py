"""A child model made from its parent's: grown with the function kept, or pruned physically."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch

from edgetran.gptran.blocks import Removal
from edgetran.models import (
    FlexiBertConfig,
    FlexiBertForSequenceClassification,
    PruneError,
    PruneMap,
    TransferReport,
    prune,
    transfer_weights,
)
from edgetran.models.correction import LayerOrigin, correct
from edgetran.space import Architecture
from edgetran.training.encoding import Batch


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


def cut(
    parent: FlexiBertForSequenceClassification,
    removal: Removal,
    seed: int,
    calibration: Sequence[Batch] = (),
) -> tuple[FlexiBertForSequenceClassification, float]:
    """A smaller model without some of its parent's blocks, and its transfer ratio.

    It computes what the parent computes with the blocks masked (`edgetran.models.prune`), and after
    that its weights are refitted on the calibration examples (`edgetran.models.correct`). Where no
    such model exists, as between layers of different hidden sizes, the weights are those of an
    ordinary transfer.

    Args:
        parent: the trained model; left as it is.
        removal: what to cut out.
        seed: of weights that the parent cannot give.
        calibration: examples to refit the weights on; none leaves them as they were cut.

    Raises:
        GPTranError: the removal breaks a floor or names what is not there.
    """
    before = parent.config.to_architecture()
    after = removal.apply(before)
    try:
        keep = _kept(before, removal)
        child = prune(parent, keep)
    except PruneError:  # `after` may still be an architecture, whose weights have no such map
        child = _empty_child(parent, after, seed)
        return child, transfer_weights(parent, child, seed=seed).ratio
    child.train(False)
    if calibration:
        sources = [LayerOrigin(layer, keep.kept_hidden[layer]) for layer in keep.kept_layers]
        device = parent.device
        correct(child, parent, sources, (batch.inputs(device) for batch in calibration))
    return cast(FlexiBertForSequenceClassification, child), 1.0


def _kept(architecture: Architecture, removal: Removal) -> PruneMap:
    """What a removal leaves."""
    keep = PruneMap.everything(architecture)
    for layer, head in removal.heads:
        keep = keep.without_heads(layer, [head])
    for layer, matrix, units in removal.units:
        keep = keep.without_units(layer, matrix, units)
    for layer, matrix in removal.matrices:
        keep = keep.without_units(layer, matrix, keep.kept_units[layer][matrix])
    for layer in removal.layers:
        keep = keep.without_layer(layer)
    for layer in range(architecture.num_layers):
        keep = keep.without_hidden(layer, removal.channels)
    return keep


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
