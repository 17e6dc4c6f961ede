"""Models that a run is given: checked before anything is loaded, then made the run's own."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from edgetran.space import HEAD_TYPES, Architecture
from edgetran.training import EncodedTask, TaskError, load_model, save_model
from edgetran.training.content import hashes, model_files

if TYPE_CHECKING:
    from edgetran.models import Checkpoint, FlexiBertForSequenceClassification


RELATIVES: Final = 24
"""Architectures that are measured for a given model: as many as a quick profile has."""

LEAST_WIDTH: Final = 32
"""The default floor of pruning, of feed-forward widths and of the hidden size."""


def given_model(path: Path, sequence_length: int) -> Checkpoint:
    """What the folder of a given model holds, from its configuration and file sizes alone.

    Args:
        path: the folder.
        sequence_length: tokens of the sequences that a device is to run it on.

    Raises:
        TaskError: no model that can be used, or one for shorter sequences; one sentence.
    """
    from edgetran.models import CheckpointError, read_checkpoint

    try:
        checkpoint = read_checkpoint(path)
    except CheckpointError as error:
        raise TaskError(f"model: {error}") from None
    if sequence_length > checkpoint.positions:
        raise TaskError(
            f"model: {path} reads at most {checkpoint.positions} tokens, and the workload's "
            f"sequenceLength is {sequence_length}; allowed is at most {checkpoint.positions}"
        )
    return checkpoint


def import_model(
    checkpoint: Checkpoint, data: EncodedTask, checkpoints: Path, *, new_classifier: bool = False
) -> Path:
    """A copy of a given model in `checkpoints`, as a FlexiBERT with the task's classes.

    It is made once. The model's folder is not read again, so what happens to it later does not
    matter. Where the classes of model and task have the same names, the classifier is put into the
    task's order; `new_classifier` makes one in place of what the checkpoint has.

    Raises:
        TaskError: the weights are not finite.
    """
    content = json.dumps(hashes(model_files(checkpoint.folder)), sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()[:12]
    target = checkpoints / f"adopted-{checkpoint.folder.resolve().name}-{digest}"
    if (target / "config.json").is_file():
        return target
    if new_classifier:
        checkpoint = replace(checkpoint, classes=None)
    model = load_model(
        checkpoint.folder, num_labels=data.task.num_labels, new_classifier=new_classifier
    )
    if not all(bool(value.isfinite().all()) for value in model.parameters()):
        raise TaskError(
            f"model: {checkpoint.folder} holds weights that are not finite numbers; allowed is a "
            "model whose training did not diverge"
        )
    _take_over_classes(model, checkpoint, data)
    save_model(model, data, target)
    return target


def _take_over_classes(
    model: FlexiBertForSequenceClassification, checkpoint: Checkpoint, data: EncodedTask
) -> None:
    """The task's classes, in its order, become the model's."""
    import torch

    from edgetran.training.regression import LabelScale, restore_top

    names = data.task.label_names
    config = model.config
    config.problem_type = "regression" if names is None else "single_label_classification"
    if names is None:
        if checkpoint.classes is None:
            restore_top(model, LabelScale.of(data))
        return
    classes = checkpoint.classes
    if classes is not None and classes != names and sorted(classes) == sorted(names):
        order = [classes.index(name) for name in names]
        with torch.no_grad():
            model.classifier.weight.copy_(model.classifier.weight[order])
            model.classifier.bias.copy_(model.classifier.bias[order])
    config.id2label = dict(enumerate(names))
    config.label2id = {name: index for index, name in enumerate(names)}


def relatives(architecture: Architecture, seed: int, count: int = RELATIVES) -> list[Architecture]:
    """An architecture, the smallest that pruning can make of it, and others of its kin.

    For a surrogate that is to judge what growing and pruning make of it: at each size between the
    two ends there are some, so that no child is beyond what was measured. Heads keep the dimension
    that they have.

    Args:
        architecture: the given model's.
        seed: of the draw.
        count: how many, the two ends included.
    """
    rng = np.random.default_rng(seed)
    smallest = tuple(
        replace(layer, head_types=layer.head_types[:1], feed_forward=(LEAST_WIDTH,))
        for layer in architecture.layers[:1]
    )
    found = {each.graph_hash: each for each in (architecture, Architecture(smallest))}
    for _ in range(50 * count):
        if len(found) >= count:
            break
        relative = _relative(architecture, len(found) / count, rng)
        found.setdefault(relative.graph_hash, relative)
    return list(found.values())


def _relative(architecture: Architecture, share: float, rng: np.random.Generator) -> Architecture:
    """A model about so large, as a share on a log scale from the smallest, 0, to the given, 1."""

    def kept(size: int, least: int) -> int:
        exponent = float(np.clip(share + rng.normal(0, 0.25), 0, 1.1))
        scaled = round(least * float((size / least) ** exponent))
        return max(least, min(scaled, 2 * size))

    layers = architecture.layers
    depth = min(len(layers), kept(len(layers), 1) if rng.random() < 0.5 else len(layers))
    chosen = sorted(int(i) for i in rng.choice(len(layers), size=depth, replace=False))
    narrowed = rng.random() < 0.25
    shapes = []
    for layer in (layers[i] for i in chosen):
        heads = [layer.head_types[i % layer.num_heads] for i in range(kept(layer.num_heads, 1))]
        if rng.random() < 0.3:
            heads[-1] = str(rng.choice(HEAD_TYPES))
        shapes.append(
            replace(
                layer,
                hidden_size=max(LEAST_WIDTH, layer.hidden_size // 2)
                if narrowed
                else layer.hidden_size,
                head_types=tuple(heads),
                feed_forward=tuple(
                    kept(width, min(width, LEAST_WIDTH)) for width in layer.feed_forward
                ),
            )
        )
    return Architecture(tuple(shapes))
