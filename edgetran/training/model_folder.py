"""A trained model's folder: safetensors, configuration, tokenizer; written whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel
from transformers.utils import logging

from edgetran.models import FlexiBertForSequenceClassification, from_bert
from edgetran.training.encoding import EncodedTask
from edgetran.training.task import TaskError
from edgetran.training.tokenizer import plain_copy


def load_model(folder: str | os.PathLike[str]) -> FlexiBertForSequenceClassification:
    """The classification model in a local folder, in evaluation mode on the CPU.

    A BERT-type checkpoint is read as the FlexiBERT that computes the same; a top that it lacks is
    drawn from a fixed seed.

    Raises:
        TaskError: the folder holds no model.
        edgetran.models.BertConversionError: it holds a model of another family.
    """
    if not Path(folder, "config.json").is_file():
        raise TaskError(f"model: {folder} holds no config.json, so no model")
    with _no_progress_bars(), torch.random.fork_rng():
        torch.manual_seed(0)
        model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
            folder, local_files_only=True
        )
    if isinstance(model, FlexiBertForSequenceClassification):
        return model
    return cast(FlexiBertForSequenceClassification, from_bert(model))


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
    folder = Path(folder)
    for left in folder.parent.glob(f".{folder.name}.*.tmp"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    temporary.mkdir(parents=True)
    try:
        with _no_progress_bars():
            model.save_pretrained(temporary)
        save_tokenizer(data, temporary)
        for name, content in (files or {}).items():
            (temporary / name).write_text(content)
        readable = (temporary / "config.json").stat().st_mode
        for path in temporary.iterdir():
            path.chmod(readable)  # safetensors files are made for their owner alone
            with open(path, "rb") as file:
                os.fsync(file.fileno())
        if folder.exists():
            replaced = folder.with_name(f".{folder.name}.{os.getpid()}.old.tmp")
            folder.rename(replaced)
            temporary.rename(folder)
            shutil.rmtree(replaced)
        else:
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def save_tokenizer(data: EncodedTask, folder: str | os.PathLike[str]) -> None:
    """Write the task's tokenizer, which cuts to the task's length, into a model's folder."""
    plain_copy(data.tokenizer, data.max_length).save_pretrained(folder)


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
