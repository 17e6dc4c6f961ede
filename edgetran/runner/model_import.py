"""Models that a run is given: checked before anything is loaded, then made the run's own."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from edgetran.space import HEAD_TYPES, Architecture, DesignSpace
from edgetran.training import EncodedTask, TaskError, load_model, save_model
from edgetran.training.content import hashes, model_files

if TYPE_CHECKING:
    from edgetran.models import Checkpoint, FlexiBertForSequenceClassification


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


def import_model(checkpoint: Checkpoint, data: EncodedTask, checkpoints: Path) -> Path:
    """A copy of a given model in `checkpoints`, as a FlexiBERT with the task's classes.

    It is made once. The model's folder is not read again, so what happens to it later does not
    matter. Where the classes of model and task have the same names, the classifier is put into the
    task's order.

    Raises:
        TaskError: the weights are not finite.
    """
    content = json.dumps(hashes(model_files(checkpoint.folder)), sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()[:12]
    target = checkpoints / f"adopted-{checkpoint.folder.resolve().name}-{digest}"
    if (target / "config.json").is_file():
        return target
    model = load_model(checkpoint.folder, num_labels=data.task.num_labels)
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


def space_around(architecture: Architecture) -> DesignSpace:
    """A design space of models like `architecture`, for a surrogate that is to judge its kin."""
    layers = architecture.layers
    depth = len(layers)
    heads = {layer.num_heads for layer in layers}
    hidden = {layer.hidden_size for layer in layers}
    widths = {width for layer in layers for width in layer.feed_forward}
    most = min(hidden)
    return DesignSpace(
        num_layers=tuple(sorted({max(1, depth - 1), depth, depth + 1})),
        hidden_sizes=tuple(sorted(hidden)),
        num_heads=tuple(
            sorted({n for count in heads for n in (max(1, count // 2), count, count + 1)})
            if most > max(heads)
            else sorted({max(1, min(heads) // 2), *heads})
        ),
        head_types=HEAD_TYPES,
        feed_forward_widths=tuple(sorted({w for f in widths for w in (max(1, f // 2), f, 2 * f)})),
        max_stack=2,
        name="around-the-model",
    )
