"""Training one model on one task: masked-LM steps if asked for, fine-tuning, the best state kept.

With a budget of epochs or steps the result is a function of model, data, plan and seed on one
machine and thread count, also when the training was interrupted and continued.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from edgetran.training.distillation import StateDistance, TeacherSignals, distillation_loss
from edgetran.training.encoding import Batch, EncodedTask, epoch_batches
from edgetran.training.evaluation import evaluate
from edgetran.training.masked_lm import mask_tokens, masked_lm_loss, masked_lm_model
from edgetran.training.optimisation import (
    TrainingDiverged,
    adamw,
    copy_tensors,
    linear_schedule,
    load_state,
    read_facts,
    restore_tensors,
    save_state,
    set_learning_rate,
)
from edgetran.training.plan import TrainingPlan
from edgetran.training.regression import LabelScale, restore_top, standardise_top

MASKED_LM: Final = "masked-lm"
FINE_TUNING: Final = "fine-tuning"
_SAVE_EVERY_S: Final = 30.0
_MLM_TIME_SHARE: Final = 0.5
"""Masked-LM steps end here when a time budget is set, so that fine-tuning keeps half of it."""


@dataclass(frozen=True)
class TrainingProgress:
    """Where a training stands, told after every step.

    Attributes:
        phase: `masked-lm` or `fine-tuning`.
        step: optimiser steps done in this phase.
        fraction: share of the phase's budget that is used, 0 to 1.
        seconds: of training so far, earlier runs of the same training included.
        metrics: validation metrics where this step was followed by a validation.
    """

    phase: str
    step: int
    fraction: float
    seconds: float
    metrics: dict[str, float] | None = None


Callback = Callable[[TrainingProgress], bool | None]
"""Told of every step; returning True ends the training, the best state so far being kept."""


@dataclass(frozen=True)
class TrainingResult:
    """What a training came to.

    Attributes:
        metrics: on the validation split, of the state that was kept.
        history: one entry per validation: step, epoch, seconds, train_loss and the metrics.
        steps: optimiser steps of fine-tuning.
        seconds: of training, over all its runs.
        fraction: share of the budget used: 1.0 unless it was paused or stopped.
    """

    metrics: dict[str, float]
    history: tuple[dict[str, float], ...]
    steps: int
    seconds: float
    fraction: float


def train(
    model: PreTrainedModel,
    data: EncodedTask,
    plan: TrainingPlan,
    seed: int,
    callback: Callback | None = None,
    *,
    teacher: TeacherSignals | None = None,
    state_path: str | os.PathLike[str] | None = None,
    pause_at: float = 1.0,
) -> TrainingResult:
    """Train `model` in place and leave it in its best validated state.

    Args:
        model: a sequence classification model, on the device where it shall be trained.
        data: the encoded task; `train` and `validation` are used, `test` is not.
        plan: budget and recipe.
        seed: of the order of examples, dropout and masking.
        callback: told of every step; returning True ends the training.
        teacher: what to distil from, by `teacher_signals`.
        state_path: file that keeps the training's state every 30 s and when paused. A state of
            the same training (initial weights, data, plan, seed) found there is continued; it is
            deleted when the training is complete.
        pause_at: share of the budget after which to stop, keeping the state: calling again with
            the same initial model and a higher share goes on as if there had been no pause.

    Raises:
        TrainingDiverged: the loss became NaN or infinite.
        OSError: the state could not be written.
    """
    with _seeded(seed):
        training = _Training(model, data, plan, seed, callback, teacher, state_path)
        return training.run(pause_at)


class _Training:
    """One training and its state."""

    def __init__(
        self,
        model: PreTrainedModel,
        data: EncodedTask,
        plan: TrainingPlan,
        seed: int,
        callback: Callback | None,
        teacher: TeacherSignals | None,
        state_path: str | os.PathLike[str] | None,
    ) -> None:
        self.model, self.data, self.plan, self.seed = model, data, plan, seed
        self.callback, self.teacher = callback, teacher
        self.state_path = None if state_path is None else Path(state_path)
        self.device = next(model.parameters()).device
        self.scale = LabelScale.of(data)
        self.lengths = data.split("train").lengths
        self.history: list[dict[str, float]] = []
        self.best: dict[str, torch.Tensor] = {}
        self.best_metrics: dict[str, float] = {}
        self.phase = MASKED_LM if plan.mlm_steps else FINE_TUNING
        self.step = 0
        self.mlm_seconds = 0.0
        self.validation_seconds = 0.0
        self.losses: list[torch.Tensor] = []
        self.started = self.last_saved = time.monotonic()
        self.identity = _identity(model, data, plan, seed, teacher)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def run(self, pause_at: float) -> TrainingResult:
        facts = read_facts(self.state_path) if self.state_path else None
        if facts is not None and facts.get("identity") != self.identity:
            facts = None
        if facts is not None:
            self._adopt(facts)
        elif self.data.task.is_regression:
            standardise_top(self.model, self.scale)
        self.model.train()
        if self.phase == MASKED_LM:
            self._masked_lm(continued=facts is not None)
            facts, self.phase, self.step = None, FINE_TUNING, 0
            self.mlm_seconds = self.seconds
        fraction = self._fine_tune(pause_at, continued=facts is not None)
        restore_tensors(self.model, self.best)
        if self.data.task.is_regression:
            restore_top(self.model, self.scale)
        self.model.train(False)
        if self.state_path and fraction >= 1:
            self.state_path.unlink(missing_ok=True)
        return TrainingResult(
            self.best_metrics, tuple(self.history), self.step, self.seconds, fraction
        )

    def _masked_lm(self, *, continued: bool) -> None:
        plan = self.plan
        top = masked_lm_model(self.model).train()
        network = nn.ModuleDict({"model": self.model, "top": top})
        optimiser = adamw(
            network,
            learning_rate=plan.mlm_learning_rate,
            weight_decay=plan.weight_decay,
            beta2=0.98,
        )
        if continued and self.state_path:
            load_state(self.state_path, network, optimiser)
        for batch in self._batches(plan.mlm_batch_size):
            fraction = (self.step + 0.5) / plan.mlm_steps
            if plan.max_seconds:
                fraction = max(fraction, self.seconds / (plan.max_seconds * _MLM_TIME_SHARE))
            if fraction >= 1:
                return
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.step)
            ids, labels = mask_tokens(batch, self.data.tokenizer, plan.mlm_probability, generator)
            with self._autocast():
                loss = masked_lm_loss(top, batch, ids, labels)
            rate = plan.mlm_learning_rate * linear_schedule(fraction, plan.warmup)
            self._update(network, optimiser, loss, rate)
            self._report(fraction)
            self._save_sometimes(network, optimiser)

    def _fine_tune(self, pause_at: float, *, continued: bool) -> float:
        """Fine-tune to `pause_at`; returns the fraction of the budget used."""
        plan = self.plan
        network = nn.ModuleDict({"model": self.model})
        if self.teacher is not None and plan.distillation_hidden_weight:
            network["states"] = StateDistance.between(self.model, self.teacher).to(self.device)
        optimiser = adamw(
            network,
            learning_rate=plan.learning_rate,
            weight_decay=plan.weight_decay,
            beta2=plan.adam_beta2,
        )
        if continued and self.state_path:
            self.best = load_state(self.state_path, network, optimiser)
        per_epoch = math.ceil(len(self.lengths) / plan.batch_size)
        interval = max(1, per_epoch // plan.evaluations_per_epoch)
        total = plan.total_steps(per_epoch)
        fraction = self._fraction(total)
        for batch in self._batches(plan.batch_size):
            if fraction >= pause_at:
                break
            middle = fraction + (0.5 / total if math.isfinite(total) else 0.0)
            with self._autocast():
                loss = self._loss(network, batch)
            rate = plan.learning_rate * linear_schedule(min(middle, 1.0), plan.warmup)
            self._update(network, optimiser, loss, rate)
            fraction = self._fraction(total)
            due = self.step % interval == 0
            stop = self._report(fraction, self._validate(per_epoch) if due else None)
            self._save_sometimes(network, optimiser)
            if stop:
                break
        if self.state_path and fraction < 1:
            self._save(network, optimiser)
        if not self.history or self.history[-1]["step"] != self.step:
            self._validate(per_epoch)  # after saving: a pause leaves no trace in what follows
        return min(fraction, 1.0)

    def _fraction(self, total: float) -> float:
        fraction = self.step / total
        if self.plan.max_seconds:
            available = self.plan.max_seconds - self.mlm_seconds - self.validation_seconds
            used = self.seconds - self.mlm_seconds
            fraction = max(fraction, used / available if available > 0 else 1.0)
        return fraction

    def _batches(self, batch_size: int) -> Iterator[Batch]:
        """The batch of every step from the present one on, without end."""
        per_epoch = math.ceil(len(self.lengths) / batch_size)
        epoch, done = divmod(self.step, per_epoch)
        while True:
            batches = epoch_batches(self.lengths, batch_size, seed=self.seed, epoch=epoch)
            for positions in batches[done:]:
                yield self.data.batch("train", positions)
            epoch, done = epoch + 1, 0

    def _loss(self, network: nn.ModuleDict, batch: Batch) -> torch.Tensor:
        plan, teacher = self.plan, self.teacher
        hidden = teacher is not None and plan.distillation_hidden_weight > 0
        options = {"output_hidden_states": True} if hidden else {}
        output = self.model(**batch.inputs(self.device), **options)
        logits, labels = output.logits.float(), batch.labels.to(self.device)
        if self.data.task.is_regression:
            loss = functional.mse_loss(logits[:, 0], self.scale.standardise(labels))
        else:
            loss = functional.cross_entropy(logits, labels, label_smoothing=plan.label_smoothing)
        if teacher is None:
            return loss
        taught = self.scale.standardise(teacher.logits[batch.positions]).to(self.device)
        loss = distillation_loss(plan, loss, logits, taught)
        if hidden:
            distance = network["states"](output.hidden_states[1:], teacher, batch)
            loss = loss + plan.distillation_hidden_weight * distance
        return loss

    def _update(
        self,
        network: nn.Module,
        optimiser: torch.optim.Optimizer,
        loss: torch.Tensor,
        learning_rate: float,
    ) -> None:
        if not torch.isfinite(loss):
            raise TrainingDiverged(
                f"the {self.phase} loss became {loss.item()} at step {self.step + 1}"
            )
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(network.parameters(), self.plan.max_grad_norm)
        set_learning_rate(optimiser, learning_rate)
        optimiser.step()
        self.losses.append(loss.detach())
        self.step += 1

    def _validate(self, per_epoch: int) -> dict[str, float]:
        begun = time.monotonic()
        with self._autocast():
            metrics = evaluate(self.model, self.data, "validation", scale=self.scale)
        if not math.isfinite(metrics["loss"]):
            raise TrainingDiverged(f"the validation loss became {metrics['loss']}")
        # The longest so far is reserved: what is used of the budget never becomes less.
        self.validation_seconds = max(self.validation_seconds, time.monotonic() - begun)
        train_loss = float(torch.stack(self.losses).mean()) if self.losses else math.nan
        self.losses.clear()
        self.history.append(
            {
                "step": self.step,
                "epoch": self.step / per_epoch,
                "seconds": round(self.seconds, 3),
                "train_loss": train_loss,
                **metrics,
            }
        )
        if not self.best or self._rank(metrics) > self._rank(self.best_metrics):
            self.best, self.best_metrics = copy_tensors(self.model), metrics
        return metrics

    def _rank(self, metrics: dict[str, float]) -> tuple[float, float]:
        """What makes a state the best: the selection metric, then the loss.

        For regression the loss alone: correlations are high long before numbers are right.
        """
        if self.data.task.is_regression:
            return -metrics["loss"], 0.0
        return metrics[self.data.task.selection_metric], -metrics["loss"]

    def _report(self, fraction: float, metrics: dict[str, float] | None = None) -> bool:
        if self.callback is None:
            return False
        progress = TrainingProgress(self.phase, self.step, fraction, self.seconds, metrics)
        return bool(self.callback(progress))

    def _save_sometimes(self, network: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        if self.state_path and time.monotonic() - self.last_saved >= _SAVE_EVERY_S:
            self._save(network, optimiser)

    def _save(self, network: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        facts = {
            "identity": self.identity,
            "phase": self.phase,
            "step": self.step,
            "seconds": self.seconds,
            "mlm_seconds": self.mlm_seconds,
            "validation_seconds": self.validation_seconds,
            "history": self.history,
            "best_metrics": self.best_metrics,
            "losses": [float(loss) for loss in self.losses],
        }
        assert self.state_path is not None  # noqa: S101 - callers check it
        save_state(self.state_path, network, optimiser, self.best, facts)
        self.last_saved = time.monotonic()

    def _adopt(self, facts: dict[str, Any]) -> None:
        self.phase, self.step = facts["phase"], facts["step"]
        self.started = time.monotonic() - facts["seconds"]
        self.mlm_seconds = facts["mlm_seconds"]
        self.validation_seconds = facts["validation_seconds"]
        self.history, self.best_metrics = facts["history"], facts["best_metrics"]
        self.losses = [torch.tensor(loss) for loss in facts["losses"]]

    def _autocast(self) -> Any:
        wanted = self.plan.precision
        if wanted == "bf16" or (wanted == "auto" and self.device.type == "cuda"):
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return nullcontext()


def _identity(
    model: PreTrainedModel,
    data: EncodedTask,
    plan: TrainingPlan,
    seed: int,
    teacher: TeacherSignals | None,
) -> str:
    """A hash that two trainings share only if one may go on with the other's state."""
    digest = hashlib.sha256(data.task.content_hash("train", "validation").encode())
    digest.update(json.dumps([plan.to_dict(), seed, data.max_length]).encode())
    for name, tensor in copy_tensors(model).items():
        digest.update(f"{name}{tuple(tensor.shape)}".encode() + tensor.numpy().tobytes())
    if teacher is not None:
        digest.update(teacher.logits.numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed torch's generators, which dropout draws from, and put them back afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
