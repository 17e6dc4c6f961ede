"""The accuracy of many parts of an elastic network from its shared weights, in one pass.

Parts whose first layers are the same share what these compute: layers form a tree, which is walked
once for each batch of texts. Of a last layer the first position alone is computed, which is all
that the classifier reads. Where a processor multiplies bfloat16 in tiles, it computes in that.
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
    *,
    dtype: torch.dtype | None = None,
) -> list[dict[str, float]]:
    """The task's metrics, `score` and `loss` of each part, from the shared weights.

    Args:
        elastic: the network, on any device.
        data: the encoded task.
        architectures: parts of its parent.
        split: name of the part of the data that judges.
        dtype: of the numbers; by default the fastest that does: bfloat16 on a GPU and on a
            processor with AMX, which moves an accuracy by about one text in a thousand.

    Raises:
        ElasticError: an architecture is no part of the parent.
        TaskError: the split's labels are hidden, or it is empty.
    """
    known: dict[str, np.ndarray] = {}

    def logits(name: str) -> np.ndarray:
        if name not in known:
            known[name] = predict_parts(elastic, data, architectures, name, dtype=dtype)
        return known[name]

    def of(index: int) -> Callable[[str], np.ndarray]:
        return lambda name: logits(name)[index]

    return [evaluate_predictions(of(index), data, split) for index in range(len(architectures))]


@torch.no_grad()
def predict_parts(
    elastic: ElasticFlexiBert,
    data: EncodedTask,
    architectures: Sequence[Architecture],
    split: str,
    *,
    dtype: torch.dtype | None = None,
) -> np.ndarray:
    """Logits (architectures, examples, num_labels) of a split, examples in their own order.

    Arguments and errors as of `evaluate_parts`.
    """
    dtype = fastest_dtype(elastic.parent.device) if dtype is None else dtype
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
            weights = {part: _cast(elastic.layer_weights(part), dtype) for part in parts}
            trees = _trees({i: chains[i] for i in chosen})
            for batch in data.ordered_batches(split, BATCH):
                inputs = batch.inputs(elastic.parent.device)
                places = batch.positions.numpy()
                for width, tree in trees.items():
                    hidden, context = elastic.embed(inputs, width, dtype)
                    for i, result in _walk(elastic, tree, hidden, context, weights):
                        logits[i, places] = result.float().cpu().numpy()
    finally:
        elastic.train(was_training)
    return logits


def fastest_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the device has units that multiply matrices of it, else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    tiles = torch.cpu.get_capabilities().get("amx_bf16", False)
    return torch.bfloat16 if tiles else torch.float32


def _cast(weights: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    return {name: weight.to(dtype).contiguous() for name, weight in weights.items()}


_Tree = dict[LayerPart | None, Any]
"""By the next layer the tree behind it; under None the parts that end here."""


def _trees(chains: Mapping[int, Sequence[LayerPart]]) -> dict[int, _Tree]:
    """By the width of the embeddings the tree of the parts that begin with them."""
    roots: dict[int, _Tree] = {}
    for i, chain in chains.items():
        node = roots.setdefault(chain[0].shape.hidden_size, {})
        for part in chain:
            node = node.setdefault(part, {})
        node.setdefault(None, []).append(i)
    return roots


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
        last = behind.keys() == {None}
        after = elastic.run_layer(part, hidden, context, weights[part], first_only=last)
        found += _walk(elastic, behind, after, context, weights)
    return found


def _key(chain: Sequence[LayerPart]) -> list[tuple[Any, ...]]:
    """By which parts of equal first layers come beside each other."""
    return [
        (part.shape.hidden_size, part.index, part.shape.feed_forward, part.shape.head_types)
        for part in chain
    ]
