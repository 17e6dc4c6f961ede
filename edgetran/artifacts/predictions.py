"""What a model predicts on many texts, in a few figures: shares of classes, confidence, mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np


@dataclass(frozen=True)
class PredictionSummary:
    """Predictions on a number of texts.

    Attributes:
        examples: number of texts.
        class_shares: share of the texts that each class was predicted for, in order of the
            classes; empty for regression.
        mean: mean confidence, which is the probability of the predicted class; the mean
            prediction for regression.
        deviation: standard deviation of the same.
    """

    examples: int
    class_shares: tuple[float, ...]
    mean: float
    deviation: float

    @classmethod
    def of(cls, logits: np.ndarray, *, regression: bool) -> Self:
        """The summary of logits (n, num_labels), n ≥ 1."""
        values = logits[:, 0] if regression else probabilities(logits).max(axis=1)
        shares: tuple[float, ...] = ()
        if not regression:
            counts = np.bincount(logits.argmax(axis=1), minlength=logits.shape[1])
            shares = tuple(float(count) for count in counts / len(logits))
        return cls(len(logits), shares, float(np.mean(values)), float(np.std(values)))

    def to_dict(self) -> dict[str, Any]:
        """As result.json tells of it."""
        return {
            "examples": self.examples,
            "classShares": list(self.class_shares),
            "mean": self.mean,
            "deviation": self.deviation,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        shares = tuple(float(share) for share in data["classShares"])
        return cls(int(data["examples"]), shares, float(data["mean"]), float(data["deviation"]))


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis, float64, of logits (n, num_labels)."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))
