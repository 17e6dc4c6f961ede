"""Learning from a teacher: its logits and its last hidden state of the classification token.

Source: Hinton et al. (arXiv 1503.02531) for the logits, Sun et al. (arXiv 1908.09355) for hidden
states. The teacher sees every training text once, beforehand, so a step costs the student alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from edgetran.training.encoding import EncodedTask
from edgetran.training.evaluation import model_outputs
from edgetran.training.plan import TrainingPlan


@dataclass(frozen=True)
class TeacherSignals:
    """What a teacher says of each training example.

    Attributes:
        logits: (n, num_labels).
        hidden: (n, h) last hidden state of the first token.
    """

    logits: torch.Tensor
    hidden: torch.Tensor


def teacher_signals(teacher: nn.Module, data: EncodedTask) -> TeacherSignals:
    """Run a teacher over the training split.

    Raises:
        ValueError: the teacher has another number of labels, or too few embeddings for the data.
    """
    count = len(data.split("train"))
    logits, hidden = None, None
    for positions, output in model_outputs(teacher, data, "train", output_hidden_states=True):
        states = output.hidden_states[-1][:, 0].float().cpu()
        if logits is None or hidden is None:
            logits = torch.zeros(count, output.logits.shape[-1])
            hidden = torch.zeros(count, states.shape[-1])
        logits[positions], hidden[positions] = output.logits.float().cpu(), states
    if logits is None or hidden is None or logits.shape[1] != data.task.num_labels:
        given = 0 if logits is None else logits.shape[1]
        raise ValueError(
            f"teacher: has {given} labels, but {data.task.name} has {data.task.num_labels}"
        )
    return TeacherSignals(logits, hidden)


def distillation_loss(
    plan: TrainingPlan,
    task_loss: torch.Tensor,
    logits: torch.Tensor,
    teacher_logits: torch.Tensor,
) -> torch.Tensor:
    """(1 − w)·task loss + w·T²·KL(teacher ‖ student), both softened by T; MSE for regression.

    Args:
        plan: gives w and T.
        task_loss: scalar.
        logits: (B, num_labels) of the student.
        teacher_logits: (B, num_labels).
    """
    weight, temperature = plan.distillation_weight, plan.distillation_temperature
    if logits.shape[-1] == 1:
        distance = functional.mse_loss(logits, teacher_logits)
    else:
        distance = temperature**2 * functional.kl_div(
            functional.log_softmax(logits / temperature, dim=-1),
            functional.log_softmax(teacher_logits / temperature, dim=-1),
            reduction="batchmean",
            log_target=True,
        )
    return (1 - weight) * task_loss + weight * distance
