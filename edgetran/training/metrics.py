"""The metrics of GLUE (arXiv 1804.07461, table 1), each a function of predictions and labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from scipy import stats


def accuracy(predictions: np.ndarray, labels: np.ndarray) -> float:
    """Share of equal entries; both of shape (n,)."""
    return float(np.mean(predictions == labels))


def f1(predictions: np.ndarray, labels: np.ndarray) -> float:
    """F1 of class 1 = 2·TP / (2·TP + FP + FN); 0 where class 1 neither is nor is predicted."""
    true_positive = int(np.sum((predictions == 1) & (labels == 1)))
    wrong = int(np.sum((predictions == 1) != (labels == 1)))
    denominator = 2 * true_positive + wrong
    return 2 * true_positive / denominator if denominator else 0.0


def matthews(predictions: np.ndarray, labels: np.ndarray) -> float:
    """Matthews correlation coefficient, for any number of classes; 0 where it is undefined.

    R_K of Gorodkin (2004): the correlation of the two one-hot codes.
    """
    classes = int(max(predictions.max(initial=0), labels.max(initial=0))) + 1
    confusion = np.zeros((classes, classes))
    np.add.at(confusion, (labels.astype(int), predictions.astype(int)), 1)
    true, predicted, n = confusion.sum(1), confusion.sum(0), confusion.sum()
    covariance = np.trace(confusion) * n - true @ predicted
    scale = np.sqrt((n * n - predicted @ predicted) * (n * n - true @ true))
    return float(covariance / scale) if scale else 0.0


def pearson(predictions: np.ndarray, labels: np.ndarray) -> float:
    """Pearson correlation; 0 where either side is constant."""
    if np.ptp(predictions) == 0 or np.ptp(labels) == 0:
        return 0.0
    return float(stats.pearsonr(predictions, labels).statistic)


def spearman(predictions: np.ndarray, labels: np.ndarray) -> float:
    """Spearman rank correlation; 0 where either side is constant."""
    if np.ptp(predictions) == 0 or np.ptp(labels) == 0:
        return 0.0
    return float(stats.spearmanr(predictions, labels).statistic)


METRICS: Final[Mapping[str, Callable[[np.ndarray, np.ndarray], float]]] = {
    "accuracy": accuracy,
    "f1": f1,
    "matthews": matthews,
    "pearson": pearson,
    "spearman": spearman,
}
"""Every metric by the name that tasks and results use."""


def compute_metrics(
    names: Sequence[str], predictions: np.ndarray, labels: np.ndarray
) -> dict[str, float]:
    """The named metrics and `score`, their mean.

    Args:
        names: keys of `METRICS`.
        predictions: (n,) class indices, or numbers for regression.
        labels: (n,) of the same kind.
    """
    values = {name: METRICS[name](predictions, labels) for name in names}
    return {**values, "score": float(np.mean(list(values.values())))}


def glue_score(results: Mapping[str, Mapping[str, float]]) -> float:
    """GLUE score: mean over tasks of the mean of each task's metrics.

    Args:
        results: by task, what `evaluate` gave; keys that are no metric (`loss`, `score`) are
            left out. `accuracy_mismatched` counts as a metric of its own.

    Raises:
        ValueError: a task without metrics.
    """
    means = []
    for task, values in results.items():
        metrics = [v for k, v in values.items() if k.removesuffix("_mismatched") in METRICS]
        if not metrics:
            raise ValueError(f"{task}: no metric given; known are {', '.join(METRICS)}")
        means.append(np.mean(metrics))
    return float(np.mean(means))
