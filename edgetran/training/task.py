"""What a task is: labelled texts in three parts, and the metrics that judge a model on them."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from edgetran.api.errors import one_line
from edgetran.api.field_errors import invalid

MIN_TRAIN_EXAMPLES: Final = 8
"""Fewer examples than this cannot fill one small batch; such a file is surely a mistake."""


_NOT_ALPHANUMERIC: Final = re.compile(r"[^a-z0-9]+")


class TaskError(ValueError):
    """A task that cannot be loaded; one sentence says where, what was given and what is allowed.

    What is not printable in it, as names of columns may be, is escaped: it stays one line.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


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
        overlap: by part, how many of its examples also stand in the training data as given.
        notes: sentences that a reader of results should see.
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
    overlap: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

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

    def judged(self) -> dict[str, tuple[Example, ...]]:
        """The parts beside `train` that have labels to be judged by."""
        return {
            split: examples
            for split, examples in self.splits().items()
            if split != "train" and any(example.label is not None for example in examples)
        }

    def label_name(self, label: float | None) -> str:
        """What a label is called."""
        return self.label_names[int(label or 0)] if self.label_names else f"{label:g}"

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
        TaskError: too few examples, an empty text, one class only, a part without examples or
            with a class that training lacks.
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
        raise TaskError(
            f"{task.name}: every training example has the label "
            f"{task.label_name(next(iter(seen)))!r}; at least two different labels are needed"
        )
    for split, examples in task.judged().items():
        refuse_unknown_classes(
            task.train,
            task.label_names,
            split,
            examples,
            lambda index: f"{task.name}: example {index + 1}",
        )
    return task


def refuse_unknown_classes(
    train: Sequence[Example],
    names: Sequence[str] | None,
    split: str,
    examples: Sequence[Example],
    place: Callable[[int], str],
) -> None:
    """Refuse a class that no training example has: no model could ever learn to answer it.

    Args:
        train: the training examples.
        names: of the classes; None for a regression, which has none.
        split: name of another part.
        examples: of that part.
        place: from an example's index to where it stands, for the message.

    Raises:
        TaskError: naming the first example of such a class.
    """
    known = {example.label for example in train}
    for index, example in enumerate(examples if names is not None else ()):
        if example.label is not None and example.label not in known:
            name = names[int(example.label)] if names is not None else example.label
            raise TaskError(
                f"{place(index)}: the {split} part has the class {name!r}, which no training "
                "example has; allowed are the classes of the train part"
            )


def settle_overlap(task: Task, *, keep: bool = False) -> Task:
    """Count what stands in training and in a part that judges, say it, and keep it out of training.

    Two examples are the same where their texts are, but for capitals, spaces and the form of
    Unicode; their labels do not matter.

    Args:
        task: as loaded.
        keep: train on these examples all the same.

    Raises:
        TaskError: too few examples are left to train on.
    """
    parts = {
        split: [_same_texts(example) for example in examples]
        for split, examples in task.judged().items()
    }
    of_train = [_same_texts(example) for example in task.train]
    trained = set(of_train)
    overlap = {split: sum(key in trained for key in keys) for split, keys in parts.items()}
    notes = [*task.notes, *_selected_on(parts)]
    if not any(overlap.values()):
        return replace(task, overlap=overlap, notes=tuple(notes))
    judged = {key for keys in parts.values() for key in keys}
    left = tuple(e for e, key in zip(task.train, of_train, strict=True) if key not in judged)
    counts = " and ".join(
        f"{count:,} of {len(parts[split]):,} {split} examples"
        for split, count in overlap.items()
        if count
    )
    out = len(task.train) - len(left)
    found = f"{counts} also stand in the training data"
    if keep:
        notes.append(f"{found}, which keeps them: their figures may be too good.")
        return replace(task, overlap=overlap, notes=tuple(notes))
    if len(left) < MIN_TRAIN_EXAMPLES:
        raise TaskError(
            f"{task.name}: {found}; without these, {len(left)} of its {len(task.train):,} examples "
            f"are left, and at least {MIN_TRAIN_EXAMPLES} are needed (overlap: keep trains on them "
            "anyway)"
        )
    notes.append(f"{found}: {out:,} of its {len(task.train):,} examples are kept out of training.")
    return replace(task, train=left, overlap=overlap, notes=tuple(notes))


def _selected_on(parts: Mapping[str, Sequence[tuple[str, str]]]) -> list[str]:
    selected = set(parts.get("validation", ()))
    both = sum(key in selected for key in parts.get("test", ()))
    said = (
        f"{both:,} of {len(parts.get('test', ())):,} test examples also stand in the validation "
        "part, which models are selected on."
    )
    return [said] if both else []


def limit_examples(task: Task, maximum: int, seed: int) -> Task:
    """The task with at most `maximum` training examples, drawn by `seed`, in their own order.

    Validation and test stay whole, so that results of different limits can be compared.
    """
    if maximum < 1:
        raise TaskError(f"maxTrainingExamples: {invalid(maximum, 'must be at least 1')}")
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
        digest = hashlib.sha256(f"{salt}\0{key}".encode("utf-8", "surrogatepass")).digest()
        position = int.from_bytes(digest[:8], "big") / 2**64
        part = int(np.searchsorted(bounds, position, side="right"))
        parts[min(part, len(parts) - 1)].append(example)
    return [tuple(part) for part in parts]


def split_off(
    examples: Sequence[Example], fractions: Sequence[float], salt: str
) -> list[tuple[Example, ...]]:
    """`split_by_text`, but a class that would be left without training examples stays in training.

    Args:
        examples: of a classification, or of a regression, whose labels are floats.
        fractions: as in `split_by_text`; the first part is training.
        salt: changes the split.
    """
    train, *others = split_by_text(examples, fractions, salt)
    trained = {example.label for example in train}

    def is_rare(example: Example) -> bool:
        return isinstance(example.label, int) and example.label not in trained

    rare = tuple(example for part in others for example in part if is_rare(example))
    return [train + rare, *(tuple(e for e in part if not is_rare(e)) for part in others)]


def normalise(text: str) -> str:
    """Words of the text in small letters, separated by one space, without punctuation.

    Letters, digits, the marks that belong to letters, and symbols beyond ASCII such as emoji
    count; forms of Unicode that mean the same are the same (NFKC). A text of nothing else, such as
    "?!", is itself.
    """
    same = same_text(text)
    if same.isascii():
        return _NOT_ALPHANUMERIC.sub(" ", same).strip() or same
    same = unicodedata.normalize("NFKC", same).casefold()
    return " ".join("".join(map(_word_character, same)).split()) or same


def same_text(text: str) -> str:
    """The text in small letters with single spaces, in Unicode's composed form (NFC)."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return " ".join(text.casefold().split())


def _word_character(character: str) -> str:
    if character.isalnum():
        return character
    category = unicodedata.category(character)
    if category[0] == "M" or (category[0] == "S" and not character.isascii()):
        return character
    return "" if category == "Cf" else " "


def _same_texts(example: Example) -> tuple[str, str]:
    return same_text(example.text), same_text(example.text2 or "")
