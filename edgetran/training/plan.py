"""How a model is trained: the budget, the optimiser's settings and the optional stages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from edgetran.api.field_errors import invalid, unsupported


class PlanError(ValueError):
    """A training plan that cannot be followed; the message names the field and what it must be."""


@dataclass(frozen=True)
class TrainingPlan:
    """A budget and a recipe.

    The defaults suit small models that start from nothing or inherit from such; large pre-trained
    ones want a lower learning rate.

    The budget is `epochs`, `steps`, `max_seconds` or several of them: training ends when the
    first is used up, and the learning rate falls to zero at that moment. Only budgets without
    `max_seconds` give the same result for the same seed. Without any budget, 3 epochs.

    Attributes:
        epochs: passes over the training split.
        steps: optimiser steps.
        max_seconds: wall time of training, masked-LM steps and validation included.
        learning_rate: the highest; published for fine-tuning is 2e-5 to 5e-4.
        batch_size: examples per step.
        weight_decay: AdamW's, not applied to biases and LayerNorms.
        adam_beta2: AdamW's second decay rate.
        warmup: share of the budget in which the learning rate rises to its highest.
        max_grad_norm: gradients are scaled down to this L2 norm.
        label_smoothing: of the cross-entropy, classification only.
        max_length: texts are cut to so many tokens.
        evaluations_per_epoch: validations per epoch; the best state is kept.
        mlm_steps: masked-LM steps on the training texts before fine-tuning.
        mlm_learning_rate: of those steps.
        mlm_batch_size: of those steps.
        mlm_probability: share of tokens predicted, drawn anew in every step.
        distillation_weight: weight of the teacher's logits in the loss, 0 (none) to 1 (alone).
        distillation_temperature: softens both distributions (Hinton et al., 1503.02531).
        distillation_hidden_weight: weight of the mean squared distance to the states of the
            teacher's layers, relative to their variance.
        precision: `fp32`, or `bf16` for autocast on a GPU; `auto` takes bf16 there, fp32 on a CPU.
    """

    epochs: float | None = None
    steps: int | None = None
    max_seconds: float | None = None
    learning_rate: float = 1e-3
    batch_size: int = 32
    weight_decay: float = 0.01
    adam_beta2: float = 0.999
    warmup: float = 0.06
    max_grad_norm: float = 1.0
    label_smoothing: float = 0.0
    max_length: int = 64
    evaluations_per_epoch: int = 1
    mlm_steps: int = 0
    mlm_learning_rate: float = 5e-4
    mlm_batch_size: int = 64
    mlm_probability: float = 0.15
    distillation_weight: float = 0.5
    distillation_temperature: float = 2.0
    distillation_hidden_weight: float = 0.0
    precision: str = "auto"

    def __post_init__(self) -> None:
        for name in ("epochs", "steps", "max_seconds"):
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise PlanError(f"{name}: {invalid(value, 'must be above 0 and finite')}")
        for name in (
            "learning_rate",
            "max_grad_norm",
            "mlm_learning_rate",
            "distillation_temperature",
        ):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise PlanError(f"{name}: {invalid(value, 'must be above 0 and finite')}")
        for name in ("batch_size", "max_length", "evaluations_per_epoch", "mlm_batch_size"):
            if getattr(self, name) < 1:
                raise PlanError(f"{name}: {invalid(getattr(self, name), 'must be at least 1')}")
        for name in (
            "weight_decay",
            "warmup",
            "label_smoothing",
            "mlm_probability",
            "distillation_weight",
        ):
            if not 0 <= getattr(self, name) <= 1:
                raise PlanError(f"{name}: {invalid(getattr(self, name), 'must be from 0 to 1')}")
        if not 0 < self.adam_beta2 < 1:
            what = "must be above 0 and below 1"
            raise PlanError(f"adam_beta2: {invalid(self.adam_beta2, what)}")
        for name in ("mlm_steps", "distillation_hidden_weight"):
            if getattr(self, name) < 0:
                raise PlanError(f"{name}: {invalid(getattr(self, name), 'must be at least 0')}")
        if self.precision not in ("auto", "fp32", "bf16"):
            supported = ("auto", "fp32", "bf16")
            raise PlanError(f"precision: {unsupported(self.precision, supported)}")

    def total_steps(self, steps_per_epoch: int) -> float:
        """Optimiser steps that the budget of epochs and steps allows; infinite without either."""
        limits = [] if self.steps is None else [float(self.steps)]
        if self.epochs is not None:
            limits.append(float(max(1, math.ceil(self.epochs * steps_per_epoch))))
        if not limits:
            return math.inf if self.max_seconds is not None else 3.0 * steps_per_epoch
        return min(limits)

    def repeated(self, times: int) -> TrainingPlan:
        """A plan with so many times this one's budget."""
        if times == 1:
            return self
        unlimited = self.epochs is None and self.steps is None and self.max_seconds is None
        epochs = 3.0 if unlimited else self.epochs
        return replace(
            self,
            epochs=None if epochs is None else epochs * times,
            steps=None if self.steps is None else self.steps * times,
            max_seconds=None if self.max_seconds is None else self.max_seconds * times,
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TrainingPlan:
        """Read what `to_dict` wrote; absent fields take their defaults.

        Raises:
            PlanError: an unknown field or a value that is not allowed.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(data) - known):
            raise PlanError(f"training: {unsupported(unknown[0], sorted(known))}")
        return cls(**data)
