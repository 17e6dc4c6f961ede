"""Examples by which static int8 chooses the ranges of activations: training data, never others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import torch

from edgetran.artifacts import Form
from edgetran.devices import FEWEST_EXAMPLES, Calibration
from edgetran.training.encoding import EncodedTask
from edgetran.training.task import TaskError

_BATCH: Final = 8
"""Few enough that padding, which the devices do not see, has little part in the ranges."""

_SEED: Final = 0


def calibration_for(form: Form, data: EncodedTask) -> Calibration | None:
    """What an artefact of this form is calibrated by; None where it is not.

    Raises:
        TaskError: too few training examples.
    """
    return calibration_of(data, form.examples) if form.int8_method == "static" else None


def calibration_of(data: EncodedTask, examples: int) -> Calibration:
    """So many training examples, or all where there are fewer; the same in every run.

    Raises:
        TaskError: too few are asked for, or there are too few.
    """
    split = data.split("train")
    count = min(examples, len(split))
    if count < FEWEST_EXAMPLES:
        raise TaskError(
            f"{data.task.name}: {count} training examples to calibrate int8 by; allowed are at "
            f"least {FEWEST_EXAMPLES}"
        )
    chosen = np.random.default_rng(_SEED).permutation(len(split))[:count]
    return Calibration.of(_batches(data, chosen), split="train", seed=_SEED)


def _batches(data: EncodedTask, chosen: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
    """Of similar lengths, shortest first."""
    chosen = chosen[np.argsort(data.split("train").lengths[chosen], kind="stable")]
    for start in range(0, len(chosen), _BATCH):
        batch = data.batch("train", chosen[start : start + _BATCH])
        inputs = batch.inputs(torch.device("cpu"))
        yield {name: tensor.numpy() for name, tensor in inputs.items()}
