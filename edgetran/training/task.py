"""What a task is: labelled texts in three parts, and the metrics that judge a model on them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

MIN_TRAIN_EXAMPLES: Final = 8
"""Fewer examples than this cannot fill one small batch; such a file is surely a mistake."""


class TaskError(ValueError):
    """A task that cannot be loaded; one sentence says where, what was given and what is allowed."""


@dataclass(frozen=True, slots=True)
class Example:
    """One text, or pair of texts, with its label.

    Attributes:
        text: the text, or the first of a pair.
        text2: the second text of a pair.
        label: index into the task's `label_names`, the number of a regression task, or None
            where the label is hidden, as in GLUE's own test files.
    """

    text: str
    text2: str | None = None
    label: int | float | None = None


@dataclass(frozen=True)
class Task:
    """A task's examples and how it is judged.

    Attributes:
        name: short name, e.g. `movie-reviews` or `glue/mrpc`.
        train: examples to train on.
        validation: examples for selection: best epoch, best architecture.
        test: examples to be looked at once, at the end.
        label_names: the classes in the order of their indices; None for regression.
        metrics: names of the task's metrics, from `edgetran.training.metrics`.
        extra: further parts by name, e.g. `test_mismatched` of MNLI, or `submission` (no labels).
        licence: under which terms the data may be used, as its source states it.
        source: where the data comes from.
    """

    name: str
    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    label_names: tuple[str, ...] | None
    metrics: tuple[str, ...]
    extra: Mapping[str, tuple[Example, ...]] = field(default_factory=dict)
    licence: str = "not stated"
    source: str = ""

    @property
    def is_regression(self) -> bool:
        """Whether labels are numbers rather than classes."""
        return self.label_names is None

    @property
    def num_labels(self) -> int:
        """Width of the classifier: number of classes, 1 for regression."""
        return 1 if self.label_names is None else len(self.label_names)

    @property
    def selection_metric(self) -> str:
        """The key of `evaluate`'s result that selection maximises.

        The task's only metric, or `score`, the mean of its metrics (GLUE's rule).
        """
        return self.metrics[0] if len(self.metrics) == 1 else "score"

    def examples(self, split: str) -> tuple[Example, ...]:
        """The examples of one part.

        Raises:
            TaskError: the task has no part of that name.
        """
        parts = self.splits()
        if split not in parts:
            raise TaskError(f"{self.name}: no split {split!r}; it has {', '.join(parts)}")
        return parts[split]

    def splits(self) -> dict[str, tuple[Example, ...]]:
        """Every part by name, `train`, `validation` and `test` first."""
        return {
            "train": self.train,
            "validation": self.validation,
            "test": self.test,
            **self.extra,
        }

    def content_hash(self, *splits: str) -> str:
        """Sha-256 of the named parts' texts and labels (all parts when none is named)."""
        digest = hashlib.sha256(repr(self.label_names).encode())
        for split in splits or tuple(self.splits()):
            digest.update(f"\0{split}\0".encode())
            for example in self.examples(split):
                digest.update(repr((example.text, example.text2, example.label)).encode())
        return digest.hexdigest()


def check_task(task: Task) -> Task:
    """Return the task, or refuse it where nothing could be learned or judged.

    Raises:
        TaskError: too few examples, an empty text, one class only, a part without examples.
    """
    for split, examples in task.splits().items():
        if split in ("train", "validation", "test") and not examples:
            raise TaskError(f"{task.name}: the {split} split has no examples; it needs some")
        for position, example in enumerate(examples, start=1):
            if not example.text.strip():
                raise TaskError(
                    f"{task.name}: the text of example {position} of the {split} split is empty"
                )
    if len(task.train) < MIN_TRAIN_EXAMPLES:
        raise TaskError(
            f"{task.name}: the train split has {len(task.train)} examples; "
            f"at least {MIN_TRAIN_EXAMPLES} are needed"
        )
    seen = {example.label for example in task.train}
    if len(seen) < 2:
        only = next(iter(seen))
        name = task.label_names[int(only)] if task.label_names and only is not None else only
        raise TaskError(
            f"{task.name}: every training example has the label {name!r}; "
            "at least two different labels are needed"
        )
    return task


def limit_examples(task: Task, maximum: int, seed: int) -> Task:
    """The task with at most `maximum` training examples, drawn by `seed`, in their own order.

    Validation and test stay whole, so that results of different limits can be compared.
    """
    if maximum < 1:
        raise TaskError(f"maxExamples: {maximum} is not a positive number")
    if maximum >= len(task.train):
        return task
    chosen = np.random.default_rng(seed).permutation(len(task.train))[:maximum]
    return check_task(replace(task, train=tuple(task.train[i] for i in sorted(chosen))))


def split_by_text(
    examples: Sequence[Example], fractions: Sequence[float], salt: str
) -> list[tuple[Example, ...]]:
    """Divide examples into parts by a hash of their normalised text.

    The part of a sentence depends on nothing but the sentence and the salt, so the split is fixed
    for ever and no sentence, however capitalised or punctuated, is in two parts.

    Args:
        examples: what to divide; order is kept within parts.
        fractions: expected share of each part, summing to 1.
        salt: changes the split.
    """
    bounds = np.cumsum(fractions)
    parts: list[list[Example]] = [[] for _ in fractions]
    for example in examples:
        key = normalise(example.text) + "\0" + normalise(example.text2 or "")
        digest = hashlib.sha256(f"{salt}\0{key}".encode()).digest()
        position = int.from_bytes(digest[:8], "big") / 2**64
        part = int(np.searchsorted(bounds, position, side="right"))
        parts[min(part, len(parts) - 1)].append(example)
    return [tuple(part) for part in parts]


def normalise(text: str) -> str:
    """Letters and digits of the text in lower case, words separated by one space."""
    return " ".join("".join(c if c.isalnum() else " " for c in text.casefold()).split())
