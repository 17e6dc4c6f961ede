"""Training an elastic network: every step the largest part, the smallest and some in between.

The sandwich rule (BigNAS, arXiv 2003.11142) with the parent as the teacher of all parts: its logits
and its layers' states are computed once. A part's layer is compared with the parent's layer that it
is a part of. Which parts a step draws is a function of the seed and the step, so that a training
that was killed goes on as it would have.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from edgetran.elastic.space import largest_part, smallest_part
from edgetran.models.elastic import ElasticFlexiBert
from edgetran.space import Architecture, DesignSpace, sampling
from edgetran.training.distillation import TeacherSignals, distillation_loss, states_distance
from edgetran.training.encoding import Batch, EncodedTask, epoch_batches
from edgetran.training.optimisation import (
    TrainingDiverged,
    adamw,
    copy_tensors,
    linear_schedule,
    load_state,
    read_facts,
    save_state,
    set_learning_rate,
)
from edgetran.training.plan import PlanError, TrainingPlan
from edgetran.training.regression import LabelScale, restore_top, standardise_top

SAVE_EVERY_S: Final = 30.0

RANDOM_PARTS: Final = 2
"""Parts of a step besides the largest and the smallest (BigNAS takes as many)."""


@dataclass(frozen=True)
class ElasticTraining:
    """What a training came to.

    Attributes:
        steps: optimiser steps, those before an interruption included.
        seconds: of training, over all its runs.
        loss: mean over the last tenth of the steps.
    """

    steps: int
    seconds: float
    loss: float


def train_elastic(
    elastic: ElasticFlexiBert,
    data: EncodedTask,
    space: DesignSpace,
    plan: TrainingPlan,
    seed: int,
    teacher: TeacherSignals,
    *,
    random_parts: int = RANDOM_PARTS,
    state_path: str | os.PathLike[str] | None = None,
    callback: Callable[[int, int], None] | None = None,
) -> ElasticTraining:
    """Train an elastic network in place, or go on with a training that was interrupted.

    Args:
        elastic: the network as `make_elastic` gives it, on the device where it shall be trained.
        data: the encoded task, of which the part `train` is used.
        space: the parts that are drawn from.
        plan: `steps`, which is the budget, and the recipe.
        seed: of the order of examples, the parts of each step and dropout.
        teacher: what the parent says of the training texts.
        random_parts: parts of a step besides the largest and the smallest.
        state_path: file that keeps the training's state every 30 s; a state of the same training
            found there is continued. It is left for the caller to delete.
        callback: told of the steps done and of all after every step.

    Raises:
        PlanError: a plan without steps.
        TrainingDiverged: the loss became NaN or infinite.
        OSError: the state could not be written.
    """
    if plan.steps is None:
        raise PlanError("steps: none given; an elastic network is trained for a number of steps")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        training = _ElasticTraining(elastic, data, space, plan, seed, teacher, random_parts)
        return training.run(None if state_path is None else Path(state_path), callback)


class _ElasticTraining:
    def __init__(
        self,
        elastic: ElasticFlexiBert,
        data: EncodedTask,
        space: DesignSpace,
        plan: TrainingPlan,
        seed: int,
        teacher: TeacherSignals,
        random_parts: int,
    ) -> None:
        self.elastic, self.data, self.space, self.plan = elastic, data, space, plan
        self.seed, self.teacher, self.random_parts = seed, teacher, random_parts
        self.device = elastic.parent.device
        self.scale = LabelScale.of(data)
        self.ends = dict.fromkeys([largest_part(space), smallest_part(space)])
        self.identity = self._identity()

    def run(
        self, state_path: Path | None, callback: Callable[[int, int], None] | None
    ) -> ElasticTraining:
        plan, elastic, total = self.plan, self.elastic, int(self.plan.steps or 0)
        if self.data.task.is_regression:
            standardise_top(elastic.parent, self.scale)
        optimiser = adamw(
            elastic,
            learning_rate=plan.learning_rate,
            weight_decay=plan.weight_decay,
            beta2=plan.adam_beta2,
        )
        step, losses, started = 0, [], time.monotonic()
        facts = read_facts(state_path) if state_path else None
        if state_path is not None and facts is not None and facts.get("identity") == self.identity:
            load_state(state_path, elastic, optimiser)
            step, losses = facts["step"], list(facts["losses"])
            started -= facts["seconds"]
        saved = time.monotonic()
        elastic.train(True)
        for batch in self._batches(step, total):
            optimiser.zero_grad(set_to_none=True)
            loss = sum(self._backward(part, batch) for part in self._parts(step))
            if not math.isfinite(loss):
                raise TrainingDiverged(
                    f"the elastic network's loss became {loss} at step {step + 1}"
                )
            nn.utils.clip_grad_norm_(elastic.parameters(), plan.max_grad_norm)
            share = (step + 0.5) / total
            set_learning_rate(optimiser, plan.learning_rate * linear_schedule(share, plan.warmup))
            optimiser.step()
            step += 1
            losses = [*losses, loss][-max(1, total // 10) :]
            if callback is not None:
                callback(step, total)
            if state_path is not None and time.monotonic() - saved >= SAVE_EVERY_S:
                facts = {
                    "identity": self.identity,
                    "step": step,
                    "losses": losses,
                    "seconds": time.monotonic() - started,
                }
                save_state(state_path, elastic, optimiser, {}, facts)
                saved = time.monotonic()
        elastic.train(False)
        if self.data.task.is_regression:
            restore_top(elastic.parent, self.scale)
        mean = float(np.mean(losses)) if losses else math.nan
        return ElasticTraining(step, time.monotonic() - started, mean)

    def _batches(self, done: int, total: int) -> Iterator[Batch]:
        """The batch of every step from the present one on."""
        lengths, size = self.data.split("train").lengths, self.plan.batch_size
        epoch, skipped = divmod(done, math.ceil(len(lengths) / size))
        while done < total:
            for positions in epoch_batches(lengths, size, seed=self.seed, epoch=epoch)[skipped:]:
                if done == total:
                    return
                yield self.data.batch("train", positions)
                done += 1
            epoch, skipped = epoch + 1, 0

    def _parts(self, step: int) -> list[Architecture]:
        """The sandwich of a step."""
        rng = np.random.default_rng([self.seed, step])
        drawn = sampling.sample(self.space, self.random_parts, rng, distinct=False)
        return [*self.ends, *drawn]

    def _backward(self, part: Architecture, batch: Batch) -> float:
        """Add the gradients of a part's share of the loss; returns that share."""
        view = self.elastic.view(part)
        with self._autocast():
            output = view(output_hidden_states=True, **batch.inputs(self.device))
        loss = self._loss(output, [each.index for each in view.parts], batch)
        loss = loss / (len(self.ends) + self.random_parts)
        loss.backward()
        return float(loss.detach())

    def _loss(self, output: Any, matched: list[int], batch: Batch) -> torch.Tensor:
        plan, logits = self.plan, output.logits.float()
        labels = batch.labels.to(self.device)
        if self.data.task.is_regression:
            loss = functional.mse_loss(logits[:, 0], self.scale.standardise(labels))
        else:
            loss = functional.cross_entropy(logits, labels, label_smoothing=plan.label_smoothing)
        taught = self.scale.standardise(self.teacher.logits[batch.positions]).to(self.device)
        loss = distillation_loss(plan, loss, logits, taught)
        if plan.distillation_hidden_weight:
            states = output.hidden_states[1:]
            channels = self.elastic.channels
            distance = states_distance(states, matched, self.teacher, batch, channels=channels)
            loss = loss + plan.distillation_hidden_weight * distance
        return loss

    def _autocast(self) -> Any:
        wanted = self.plan.precision
        if wanted == "bf16" or (wanted == "auto" and self.device.type == "cuda"):
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return nullcontext()

    def _identity(self) -> str:
        """A hash that two trainings share only if one may go on with the other's state."""
        settings = [self.plan.to_dict(), self.seed, self.random_parts, self.space.to_dict()]
        digest = hashlib.sha256(self.data.task.content_hash("train").encode())
        digest.update(json.dumps([*settings, self.data.max_length]).encode())
        for name, tensor in copy_tensors(self.elastic).items():
            digest.update(f"{name}{tuple(tensor.shape)}".encode() + tensor.numpy().tobytes())
        digest.update(self.teacher.logits.numpy().tobytes())
        return digest.hexdigest()
