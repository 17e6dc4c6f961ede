"""Models that a run is given: FlexiBERT folders as they are, BERT checkpoints converted."""

from __future__ import annotations

import json
from pathlib import Path

from edgetran.space import HEAD_TYPES, Architecture, DesignSpace
from edgetran.training import TaskError


def adopt_model(path: Path, checkpoints: Path) -> tuple[Path, Architecture]:
    """The folder of a FlexiBERT classification model, and its architecture.

    A checkpoint of BERT's family is converted once, into `checkpoints`.

    Raises:
        TaskError: the folder holds no model, or one of another family.
    """
    from edgetran.models import FlexiBertConfig

    config_path = path / "config.json"
    try:
        model_type = json.loads(config_path.read_text())["model_type"]
    except (OSError, ValueError, KeyError, TypeError):
        raise TaskError(
            f"model: {path} holds no config.json of a transformers model; allowed is the folder "
            "of a FlexiBERT or BERT model"
        ) from None
    if model_type != "flexibert":
        path = _converted(path, model_type, checkpoints)
    return path, FlexiBertConfig.from_pretrained(path, local_files_only=True).to_architecture()


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


def _converted(path: Path, model_type: str, checkpoints: Path) -> Path:
    from transformers import AutoModelForSequenceClassification

    from edgetran.models import from_bert

    target = checkpoints / f"adopted-{path.name}"
    if (target / "config.json").is_file():
        return target
    try:
        model = from_bert(
            AutoModelForSequenceClassification.from_pretrained(path, local_files_only=True)
        )
    except ValueError as error:
        raise TaskError(f"model: {path} is of type {model_type}: {error}") from None
    model.save_pretrained(target)
    return target
