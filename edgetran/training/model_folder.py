"""A trained model's folder: safetensors, configuration, tokenizer; written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, cast

import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from edgetran.models import (
    Checkpoint,
    CheckpointError,
    FlexiBertForSequenceClassification,
    from_bert,
    read_checkpoint,
)
from edgetran.training.disk import new_folder
from edgetran.training.encoding import EncodedTask
from edgetran.training.quiet import quiet_transformers
from edgetran.training.task import TaskError
from edgetran.training.tokenizer import plain_copy


def load_model(
    folder: str | os.PathLike[str],
    *,
    num_labels: int | None = None,
    new_classifier: bool = False,
) -> FlexiBertForSequenceClassification:
    """The classification model in a local folder, in float32 and evaluation mode on the CPU.

    A BERT-type checkpoint is read as the FlexiBERT that computes the same. What a checkpoint
    lacks of a classifier and its pooler is drawn from a fixed seed.

    Args:
        folder: the folder.
        num_labels: width of the classifier where the checkpoint has none; what `config.json`
            says where omitted.
        new_classifier: whether to make the classifier new where there is one.

    Raises:
        TaskError: the folder holds no model, one of another family, or weights that are not
            whole.
    """
    try:
        checkpoint = read_checkpoint(folder)
    except CheckpointError as error:
        raise TaskError(f"model: {error}") from None
    options: dict[str, Any] = {}
    renewed = checkpoint.classes is None or new_classifier
    if renewed:
        options["ignore_mismatched_sizes"] = True
        if num_labels is not None:
            options["num_labels"] = num_labels
        if checkpoint.family == "flexibert":
            options["strict"] = False
    with quiet_transformers(), torch.random.fork_rng():
        torch.manual_seed(0)
        model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
            folder, local_files_only=True, dtype=torch.float32, **options
        )
        if renewed:
            _renew_classifier(model)
    if isinstance(model, FlexiBertForSequenceClassification):
        return model
    return cast(FlexiBertForSequenceClassification, from_bert(model))


def check_fit(checkpoint: Checkpoint, data: EncodedTask, *, classes: bool = True) -> None:
    """Refuse a model that cannot read the task's texts, or tells other classes apart.

    Args:
        checkpoint: the model.
        data: the task.
        classes: whether its classifier has to be of the task's classes.

    Raises:
        TaskError: one sentence with the folder, both numbers and what is allowed.
    """
    folder, task = checkpoint.folder, data.task
    entries = max(data.tokenizer.get_vocab().values(), default=-1) + 1
    if entries > checkpoint.vocab_size:
        raise TaskError(
            f"model: {folder} has embeddings for {checkpoint.vocab_size:,} tokens, and the "
            f"tokenizer has {entries:,}; allowed is the tokenizer that the model was trained with"
        )
    if data.max_length > checkpoint.positions:
        raise TaskError(
            f"model: {folder} reads at most {checkpoint.positions} tokens, and texts are cut to "
            f"{data.max_length}; allowed is a maxLength (the workload's sequenceLength where "
            f"omitted) of at most {checkpoint.positions}"
        )
    types = max((int(part.types.max(initial=0)) for part in data.splits.values()), default=0) + 1
    if types > checkpoint.token_types:
        raise TaskError(
            f"model: {folder} has {checkpoint.token_types} token types, and the tokenizer marks "
            f"texts of this task with {types}; allowed is a model of at least {types}"
        )
    if classes and checkpoint.classes is not None and len(checkpoint.classes) != task.num_labels:
        wanted = (
            "is a regression, which takes 1 number"
            if task.label_names is None
            else f"has {task.num_labels} classes ({_listed(task.label_names)})"
        )
        raise TaskError(
            f"model: {folder} has a classifier of {len(checkpoint.classes)} classes "
            f"({_listed(checkpoint.classes)}), and the task {wanted}; allowed is a model of as "
            "many, or one without a classifier, such as it was before it was fine-tuned"
        )


def save_model(
    model: PreTrainedModel,
    data: EncodedTask,
    folder: str | os.PathLike[str],
    files: Mapping[str, str] | None = None,
) -> None:
    """Write model (safetensors), tokenizer and further text files as one folder, atomically.

    Raises:
        OSError: no space, or no right to write there.
    """
    with new_folder(folder) as temporary:
        with quiet_transformers():
            model.save_pretrained(temporary)
        save_tokenizer(data, temporary)
        for name, content in (files or {}).items():
            (temporary / name).write_text(content)
        readable = (temporary / "config.json").stat().st_mode
        for path in temporary.iterdir():
            path.chmod(readable)  # safetensors files are made for their owner alone


def save_tokenizer(data: EncodedTask, folder: str | os.PathLike[str]) -> None:
    """Write the task's tokenizer, which cuts to the task's length, into a model's folder."""
    plain_copy(data.tokenizer, data.max_length).save_pretrained(folder)


def _renew_classifier(model: PreTrainedModel) -> None:
    """A top of another kind, e.g. one that labels tokens, may have the same name and shape."""
    classifier = model.get_submodule("classifier")
    assert isinstance(classifier, torch.nn.Linear)  # noqa: S101 - of both families
    torch.nn.init.normal_(classifier.weight, std=model.config.initializer_range)
    torch.nn.init.zeros_(classifier.bias)


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(name[:30] for name in names[:6])
    return f"{shown}, …" if len(names) > 6 else shown
