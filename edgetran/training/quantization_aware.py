"""Quantisation-aware training: a few distilled steps in which a model computes as in int8.

Products of linear layers have weights of 8 bits, one scale per output, and inputs of 8 bits, whose
ranges follow the training batches (Jacob et al., 1712.05877), by torch's own observers. Gradients
pass the rounding as if it were not there. What comes out is an ordinary model in fp32, to be made
int8 like any other.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgetran.training.distillation import teacher_signals
from edgetran.training.encoding import EncodedTask
from edgetran.training.fine_tuning import Callback, train
from edgetran.training.model_folder import load_model, save_model
from edgetran.training.plan import TrainingPlan

if TYPE_CHECKING:
    from edgetran.models import FlexiBertForSequenceClassification

_RATE: Final = 1e-4
"""The highest learning rate: trained weights only move to where they round well."""
_BATCH: Final = 32
_VALIDATIONS: Final = 5
_SEED: Final = 0
_STATE: Final = "training.safetensors"


def train_quantization_aware(
    checkpoint: Path,
    folder: Path,
    data: EncodedTask,
    steps: int,
    callback: Callback | None = None,
) -> Path:
    """Write, in `folder`, a model whose weights suit int8; the one of `checkpoint` teaches it.

    A training that was interrupted is gone on with; one that is done is not done again.

    Args:
        checkpoint: the trained model.
        folder: of this training alone.
        data: the task; its test part is not used.
        steps: optimiser steps.
        callback: told of every step.

    Returns:
        The folder of the new model.

    Raises:
        edgetran.training.TrainingDiverged: the loss became NaN or infinite.
        OSError: no space is left on the disk.
    """
    target = folder / "model"
    if target.is_dir():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    trained = load_model(checkpoint)
    signals = teacher_signals(trained, data, states=False)
    model = _with_rounding(load_model(checkpoint))
    _see(model, data)
    plan = TrainingPlan(
        steps=steps,
        learning_rate=_RATE,
        batch_size=_BATCH,
        weight_decay=0.0,
        max_length=data.max_length,
        evaluations_per_epoch=_evaluations(data, steps),
        precision="fp32",
    )
    train(model, data, plan, _SEED, callback, teacher=signals, state_path=folder / _STATE)
    save_model(_without_rounding(model, trained), data, target)
    return target


def _evaluations(data: EncodedTask, steps: int) -> int:
    """Per epoch, so that there are a few in all."""
    epochs = steps * _BATCH / max(1, len(data.split("train")))
    return max(1, round(_VALIDATIONS / epochs))


class _RoundedLinear(nn.Linear):
    """A linear layer that computes as in int8; ranges are learned in training alone."""

    def __init__(self, layer: nn.Linear) -> None:
        nn.Module.__init__(self)
        from torch.ao.quantization import (
            FakeQuantize,
            MovingAverageMinMaxObserver,
            PerChannelMinMaxObserver,
        )

        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.weight, self.bias = layer.weight, layer.bias
        self.weight_rounding = FakeQuantize(
            PerChannelMinMaxObserver,
            quant_min=-127,
            quant_max=127,
            dtype=torch.qint8,
            qscheme=torch.per_channel_symmetric,
            ch_axis=0,
        )
        self.input_rounding = FakeQuantize(
            MovingAverageMinMaxObserver,
            quant_min=0,
            quant_max=255,
            dtype=torch.quint8,
            qscheme=torch.per_tensor_affine,
        )

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        for rounding in (self.weight_rounding, self.input_rounding):
            rounding.observer_enabled[0] = int(self.training)
        weight = cast(Tensor, self.weight_rounding(self.weight))
        return functional.linear(self.input_rounding(input), weight, self.bias)


def _with_rounding(
    model: FlexiBertForSequenceClassification,
) -> FlexiBertForSequenceClassification:
    """The model, whose linear layers round from now on."""
    layers = [(path, each) for path, each in model.named_modules() if type(each) is nn.Linear]
    for path, layer in layers:
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, _RoundedLinear(layer))
    return model


def _without_rounding(
    model: FlexiBertForSequenceClassification, plain: FlexiBertForSequenceClassification
) -> FlexiBertForSequenceClassification:
    """`plain` with the weights of a model that rounds."""
    tensors = model.state_dict()
    plain.load_state_dict({name: tensors[name] for name in plain.state_dict()})
    plain.train(False)
    return plain


@torch.no_grad()
def _see(model: nn.Module, data: EncodedTask) -> None:
    """Let every range begin with a batch, which also gives its tensors their shapes."""
    count = min(_BATCH, len(data.split("train")))
    model.train()
    with torch.random.fork_rng():  # of dropout: a training that goes on begins with the same ranges
        torch.manual_seed(_SEED)
        model(**data.batch("train", np.arange(count)).inputs(torch.device("cpu")))
