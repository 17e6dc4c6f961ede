"""A model's predictions on a part of a task and the metrics that they earn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from edgetran.devices import Session
from edgetran.training.encoding import EncodedTask
from edgetran.training.metrics import compute_metrics
from edgetran.training.regression import LabelScale
from edgetran.training.task import TaskError

_EVALUATION_BATCH = 128


def predict(
    model: nn.Module | Session, data: EncodedTask, split: str, *, batch_size: int | None = None
) -> np.ndarray:
    """Logits (n, num_labels) of a part's examples, in their own order; labels are not needed.

    A module runs where its parameters are, in evaluation mode; its mode is put back afterwards. A
    session is an artefact in its engine, which gets the same tokens.
    """
    logits = np.zeros((len(data.split(split)), data.task.num_labels), dtype=np.float32)
    if isinstance(model, Session):
        for batch in data.ordered_batches(split, batch_size or _EVALUATION_BATCH):
            arrays = {k: v.numpy() for k, v in batch.inputs(torch.device("cpu")).items()}
            wanted = {name: array for name, array in arrays.items() if model.accepts(name)}
            logits[batch.positions.numpy()] = model.run(wanted)
        return logits
    for positions, output in model_outputs(model, data, split):
        logits[positions] = output.logits.float().cpu().numpy()
    return logits


def predicted_labels(logits: np.ndarray, *, regression: bool) -> np.ndarray:
    """(n,) numbers of a regression, or the classes of highest logit."""
    return logits[:, 0] if regression else logits.argmax(axis=1)


def evaluate(
    model: nn.Module | Session,
    data: EncodedTask,
    split: str,
    *,
    scale: LabelScale | None = None,
    batch_size: int | None = None,
) -> dict[str, float]:
    """The task's metrics on a part, `score` (their mean) and `loss` (cross-entropy, or MSE).

    Where the task has a second part of the same kind, as MNLI's mismatched genres, that part's
    metrics come too, with `_mismatched` behind their names, and count in `score`.

    Args:
        model: runs where its parameters are; or an artefact in its engine.
        data: the encoded task.
        split: name of the part.
        scale: units of the model's numbers, while a regression is in training.
        batch_size: examples per batch of a session; many by default.

    Raises:
        TaskError: the part's labels are hidden, or it is empty.
    """
    return evaluate_predictions(
        lambda part: predict(model, data, part, batch_size=batch_size), data, split, scale=scale
    )


def evaluate_predictions(
    predictions: Callable[[str], np.ndarray],
    data: EncodedTask,
    split: str,
    *,
    scale: LabelScale | None = None,
) -> dict[str, float]:
    """`evaluate` of logits (n, num_labels) that `predictions` gives by the name of a part."""
    scale = scale or LabelScale()
    result = _metrics_of(predictions(split), data, split, scale)
    other = f"{split}_mismatched"
    if other in data.splits:
        more = _metrics_of(predictions(other), data, other, scale)
        result |= {f"{name}_mismatched": more[name] for name in data.task.metrics}
        result["score"] = (result["score"] + more["score"]) / 2
    return result


def _metrics_of(
    logits: np.ndarray, data: EncodedTask, split: str, scale: LabelScale
) -> dict[str, float]:
    part = data.split(split)
    if not len(part) or not part.is_labelled:
        raise TaskError(f"{data.task.name}: the {split} split has no labels to judge by")
    logits = logits * scale.deviation + scale.mean
    regression = data.task.is_regression
    labels = part.labels if regression else part.labels.astype(np.int64)
    metrics = compute_metrics(
        data.task.metrics, predicted_labels(logits, regression=regression), labels
    )
    return {**metrics, "loss": _loss(logits.astype(np.float64), labels, regression=regression)}


def _loss(logits: np.ndarray, labels: np.ndarray, *, regression: bool) -> float:
    if regression:
        return float(np.mean((logits[:, 0] - labels) ** 2))
    highest = logits.max(axis=1, keepdims=True)
    normaliser = highest[:, 0] + np.log(np.exp(logits - highest).sum(axis=1))
    return float(np.mean(normaliser - logits[np.arange(len(labels)), labels]))


def model_outputs(model: nn.Module, data: EncodedTask, split: str, **options: Any) -> Any:
    """(positions, model output) per batch, without gradients, in evaluation mode."""
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for batch in data.ordered_batches(split, _EVALUATION_BATCH):
                yield batch.positions.numpy(), model(**batch.inputs(device), **options)
    finally:
        model.train(was_training)
