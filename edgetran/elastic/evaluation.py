"""The accuracy of many parts of an elastic network from its shared weights, in one pass.

Parts whose first layers are the same share what these compute: layers form a tree, which is walked
once for each batch of texts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from edgetran.models.elastic import ElasticFlexiBert, LayerPart
from edgetran.space import Architecture
from edgetran.training.encoding import EncodedTask
from edgetran.training.evaluation import evaluate_predictions

BATCH: Final = 128

_AT_A_TIME: Final = 16
"""Parts whose weights are made at once: a few hundred megabytes of a base-sized parent."""


def evaluate_parts(
    elastic: ElasticFlexiBert,
    data: EncodedTask,
    architectures: Sequence[Architecture],
    split: str = "validation",
) -> list[dict[str, float]]:
    """The task's metrics, `score` and `loss` of each part, from the shared weights.

    Args:
        elastic: the network, on any device.
        data: the encoded task.
        architectures: parts of its parent.
        split: name of the part of the data that judges.

    Raises:
        ElasticError: an architecture is no part of the parent.
        TaskError: the split's labels are hidden, or it is empty.
    """
    known: dict[str, np.ndarray] = {}

    def logits(name: str) -> np.ndarray:
        if name not in known:
            known[name] = predict_parts(elastic, data, architectures, name)
        return known[name]

    def of(index: int) -> Callable[[str], np.ndarray]:
        return lambda name: logits(name)[index]

    return [evaluate_predictions(of(index), data, split) for index in range(len(architectures))]


@torch.no_grad()
def predict_parts(
    elastic: ElasticFlexiBert, data: EncodedTask, architectures: Sequence[Architecture], split: str
) -> np.ndarray:
    """Logits (architectures, examples, num_labels) of a split, examples in their own order."""
    chains = [elastic.parts(architecture) for architecture in architectures]
    order = sorted(range(len(chains)), key=lambda i: _key(chains[i]))
    shape = len(chains), len(data.split(split)), data.task.num_labels
    logits = np.zeros(shape, dtype=np.float32)
    was_training = elastic.training
    elastic.train(False)
    try:
        for start in range(0, len(order), _AT_A_TIME):
            chosen = order[start : start + _AT_A_TIME]
            parts = {part for i in chosen for part in chains[i]}
            weights = {part: elastic.layer_weights(part) for part in parts}
            tree = _tree({i: chains[i] for i in chosen})
            for batch in data.ordered_batches(split, BATCH):
                hidden, context = elastic.embed(batch.inputs(elastic.parent.device))
                places = batch.positions.numpy()
                for i, result in _walk(elastic, tree, hidden, context, weights):
                    logits[i, places] = result.float().cpu().numpy()
    finally:
        elastic.train(was_training)
    return logits


_Tree = dict[LayerPart | None, Any]
"""By the next layer the tree behind it; under None the parts that end here."""


def _tree(chains: Mapping[int, Sequence[LayerPart]]) -> _Tree:
    root: _Tree = {}
    for i, chain in chains.items():
        node = root
        for part in chain:
            node = node.setdefault(part, {})
        node.setdefault(None, []).append(i)
    return root


def _walk(
    elastic: ElasticFlexiBert,
    tree: _Tree,
    hidden: Tensor,
    context: tuple[Any, ...],
    weights: Mapping[LayerPart, Mapping[str, Tensor]],
) -> list[tuple[int, Tensor]]:
    """Logits (B, num_labels) of each part in a tree."""
    found: list[tuple[int, Tensor]] = []
    for part, behind in tree.items():
        if part is None:
            logits = elastic.classify(hidden)
            found += [(i, logits) for i in behind]
            continue
        after = elastic.run_layer(part, hidden, context, weights[part])
        found += _walk(elastic, behind, after, context, weights)
    return found


def _key(chain: Sequence[LayerPart]) -> list[tuple[Any, ...]]:
    """By which parts of equal first layers come beside each other."""
    return [(part.index, part.shape.feed_forward, part.shape.head_types) for part in chain]
