"""Labels in their own units outside, standardised inside: the top of a regression model.

Prices and star ratings train equally well only when the top learns numbers of mean 0 and
deviation 1. The model itself always speaks in the label's units; training moves the scale out of
the top's weights at its start and back into them at its end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from edgetran.training.encoding import EncodedTask


@dataclass(frozen=True)
class LabelScale:
    """label = standardised label · deviation + mean; 1 and 0 for classification."""

    mean: float = 0.0
    deviation: float = 1.0

    @classmethod
    def of(cls, data: EncodedTask) -> LabelScale:
        """The scale of the training labels."""
        if not data.task.is_regression:
            return cls()
        labels = data.split("train").labels
        return cls(float(np.mean(labels)), float(np.std(labels)))

    def standardise(self, labels: torch.Tensor) -> torch.Tensor:
        """(labels − mean) / deviation."""
        return (labels - self.mean) / self.deviation


def standardise_top(model: nn.Module, scale: LabelScale) -> None:
    """Change the top's weights so that the model gives standardised labels."""
    top = _top(model)
    with torch.no_grad():
        top.weight.div_(scale.deviation)
        top.bias.sub_(scale.mean).div_(scale.deviation)


def restore_top(model: nn.Module, scale: LabelScale) -> None:
    """Undo `standardise_top`; on a fresh model, start it at the mean label."""
    top = _top(model)
    with torch.no_grad():
        top.weight.mul_(scale.deviation)
        top.bias.mul_(scale.deviation).add_(scale.mean)


def _top(model: nn.Module) -> nn.Linear:
    top = getattr(model, "classifier", None)
    if not isinstance(top, nn.Linear):
        raise ValueError(f"{type(model).__name__}: has no linear `classifier` to regress with")
    return top
