"""The nine tasks of GLUE (arXiv 1804.07461): labels, metrics, and their own TSV layout.

The labels of GLUE's test files are hidden. The published dev files then take the place of the test
split, to be looked at once, and validation examples are split off the training file by a hash of
their text; what the hidden test files hold is kept as the part `submission`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from edgetran.tabular import COMPRESSED, TableError, read_text
from edgetran.training.labels import LabelError, read_label
from edgetran.training.task import (
    Example,
    Task,
    TaskError,
    refuse_unknown_classes,
    settle_overlap,
    split_off,
)

LICENCE: Final = "each GLUE task's own; see gluebenchmark.com/tasks"
_VALIDATION_SHARE: Final = 0.1


@dataclass(frozen=True)
class GluePart:
    """The examples of one published part.

    Attributes:
        examples: in their order.
        place: from an example's index to where it stands, for messages.
    """

    examples: tuple[Example, ...]
    place: Callable[[int], str]


@dataclass(frozen=True)
class GlueTask:
    """How one task is written down and judged.

    Attributes:
        title: as in the paper, and the name of the downloaded folder.
        metrics: the task's metrics.
        label_names: classes in the hub's order; None for regression.
        label_values: how the TSV files write those classes.
        texts: columns of the TSV files with the text or texts.
        label: column with the label.
        hub_texts: columns of the hub's version.
        headerless: positions of the columns in train and dev files that have no header.
        ragged: whether the published files hold rows without all columns, to be left out.
    """

    title: str
    metrics: tuple[str, ...]
    label_names: tuple[str, ...] | None
    label_values: tuple[str, ...]
    texts: tuple[str, ...]
    label: str
    hub_texts: tuple[str, ...]
    headerless: Mapping[str, int] | None = None
    ragged: bool = False


_BINARY: Final = ("0", "1")
_ENTAILMENT: Final = ("entailment", "not_entailment")
_PAIR: Final = ("sentence1", "sentence2")

GLUE_TASKS: Final[Mapping[str, GlueTask]] = {
    "cola": GlueTask(
        "CoLA",
        ("matthews",),
        ("unacceptable", "acceptable"),
        _BINARY,
        ("sentence",),
        "label",
        ("sentence",),
        headerless={"label": 1, "sentence": 3},
    ),
    "sst2": GlueTask(
        "SST-2",
        ("accuracy",),
        ("negative", "positive"),
        _BINARY,
        ("sentence",),
        "label",
        ("sentence",),
    ),
    "mrpc": GlueTask(
        "MRPC",
        ("f1", "accuracy"),
        ("not_equivalent", "equivalent"),
        _BINARY,
        ("#1 String", "#2 String"),
        "Quality",
        _PAIR,
    ),
    "qqp": GlueTask(
        "QQP",
        ("f1", "accuracy"),
        ("not_duplicate", "duplicate"),
        _BINARY,
        ("question1", "question2"),
        "is_duplicate",
        ("question1", "question2"),
        ragged=True,
    ),
    "stsb": GlueTask("STS-B", ("pearson", "spearman"), None, (), _PAIR, "score", _PAIR),
    "mnli": GlueTask(
        "MNLI",
        ("accuracy",),
        ("entailment", "neutral", "contradiction"),
        ("entailment", "neutral", "contradiction"),
        _PAIR,
        "gold_label",
        ("premise", "hypothesis"),
    ),
    "qnli": GlueTask(
        "QNLI",
        ("accuracy",),
        _ENTAILMENT,
        _ENTAILMENT,
        ("question", "sentence"),
        "label",
        ("question", "sentence"),
    ),
    "rte": GlueTask("RTE", ("accuracy",), _ENTAILMENT, _ENTAILMENT, _PAIR, "label", _PAIR),
    "wnli": GlueTask(
        "WNLI", ("accuracy",), ("not_entailment", "entailment"), _BINARY, _PAIR, "label", _PAIR
    ),
}
"""The nine tasks by the hub's names."""


def glue_task(name: str) -> tuple[str, GlueTask]:
    """The hub's name and the description of a task written as `SST-2`, `sst2`, `sst_2`, ….

    Raises:
        TaskError: none of the nine.
    """
    key = "".join(c for c in name.lower() if c.isalnum())
    if key not in GLUE_TASKS:
        raise TaskError(f"glue: no task {name!r}; allowed are {', '.join(GLUE_TASKS)}")
    return key, GLUE_TASKS[key]


def load_glue_folder(
    folder: str | os.PathLike[str],
    name: str | None,
    *,
    seed: int = 0,
    keep_overlap: bool = False,
) -> Task:
    """Read a folder as GLUE's download gives it: train.tsv, dev.tsv, test.tsv.

    Args:
        folder: where the files are; MNLI has dev_matched.tsv, dev_mismatched.tsv and so on.
        name: which task it is; None where the folder's name says so.
        seed: of the split of validation examples, where test labels are hidden.
        keep_overlap: train on examples that also stand in a part that judges.

    Raises:
        TaskError: a file is missing, or a line of it cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise TaskError(f"task.folder: {folder} is not a folder")
    if name is None:
        try:
            name, task = glue_task(folder.resolve().name)
        except TaskError:
            raise TaskError(
                f"task.folder: the name of {folder} is none of GLUE's tasks; say which it is "
                f"(glue: {', '.join(GLUE_TASKS)})"
            ) from None
    else:
        name, task = glue_task(name)
    files = {"train": "train"}
    for suffix in ("_matched", "_mismatched") if name == "mnli" else ("",):
        part = suffix.removeprefix("_matched")
        files |= {f"validation{part}": f"dev{suffix}", f"test{part}": f"test{suffix}"}
    parts = {
        part: _read(folder, file, task, optional=part.startswith("test"))
        for part, file in files.items()
    }
    return arrange(name, parts, source=str(folder), seed=seed, keep_overlap=keep_overlap)


def arrange(
    name: str,
    found: Mapping[str, GluePart],
    *,
    source: str,
    seed: int,
    keep_overlap: bool = False,
) -> Task:
    """Make a task of a GLUE task's published parts, however their test labels stand.

    Args:
        name: the hub's name of the task.
        found: `train`, `validation`, `test`, and for MNLI `validation_mismatched`,
            `test_mismatched`; test parts may be empty or unlabelled.
        source: where they come from.
        seed: of the split of validation examples.
        keep_overlap: train on examples that also stand in a part that judges.

    Raises:
        TaskError: a part without examples, or with a class that the train part lacks.
    """
    task = GLUE_TASKS[name]
    parts = {split: part.examples for split, part in found.items()}
    train, validation, test = parts["train"], parts["validation"], parts.get("test", ())
    for split, part in found.items():
        if not part.examples and not split.startswith("test"):
            raise TaskError(f"{source}: the {split} part has no examples; {task.title} needs some")
        refuse_unknown_classes(train, task.label_names, split, part.examples, part.place)
    suffixes = ("", "_mismatched") if "validation_mismatched" in parts else ("",)
    extra: dict[str, tuple[Example, ...]] = {}
    is_hidden = not test or any(example.label is None for example in test)
    if is_hidden:
        for suffix in suffixes:
            if parts.get(f"test{suffix}"):
                extra[f"submission{suffix}"] = parts[f"test{suffix}"]
        if "validation_mismatched" in parts:
            extra["test_mismatched"] = parts["validation_mismatched"]
        validation, test = (), validation
    else:
        for split in ("validation", "test"):
            if f"{split}_mismatched" in parts:
                extra[f"{split}_mismatched"] = parts[f"{split}_mismatched"]
    whole = Task(
        name=f"glue/{name}",
        train=train,
        validation=validation,
        test=test,
        label_names=task.label_names,
        metrics=task.metrics,
        extra=extra,
        licence=LICENCE,
        source=source,
    )
    whole = settle_overlap(whole, keep=keep_overlap)
    if not is_hidden:
        return whole
    shares = (1 - _VALIDATION_SHARE, _VALIDATION_SHARE)
    train, validation = split_off(whole.train, shares, salt=f"glue/{name}/{seed}")
    return replace(whole, train=train, validation=validation)


def _read(folder: Path, stem: str, task: GlueTask, *, optional: bool = False) -> GluePart:
    """The examples of one TSV file, whose values are never quoted: tabs are all that divides."""
    path = _find(folder, f"{stem}.tsv")
    if path is None:
        if optional:
            return GluePart((), str)
        raise TaskError(f"{folder / stem}.tsv: there is no such file; {task.title} needs it")
    try:
        lines = read_text(path).split("\n")
    except TableError as error:
        raise TaskError(str(error)) from None
    header = lines[0].rstrip("\r").split("\t")
    if task.headerless is not None and not set(task.texts) <= set(header):
        columns, first = dict(task.headerless), 0
    else:
        columns, first = {name: i for i, name in enumerate(header)}, 1
    for name in (*task.texts, *(() if optional else (task.label,))):
        if name not in columns:
            raise TaskError(f"{path}:1: no column {name!r}; it has {', '.join(header)}")
    examples, numbers = [], []
    for number, line in enumerate(lines[first:], start=first + 1):
        try:
            example = _example(line.rstrip("\r"), columns, task)
        except (TaskError, LabelError) as error:
            raise TaskError(f"{path}:{number}: {error}") from None
        if example is not None:
            examples.append(example)
            numbers.append(number)
    if not examples and not optional:
        raise TaskError(f"{path}: there are no examples; {task.title} needs some")
    return GluePart(tuple(examples), lambda index: f"{path}:{numbers[index]}")


def _find(folder: Path, name: str) -> Path | None:
    """The file of that name, in any case, compressed or not."""
    allowed = {name, *(name + ending for ending in COMPRESSED)}
    found = sorted(path for path in folder.iterdir() if path.name.lower() in allowed)
    if len(found) > 1:
        raise TaskError(
            f"{folder}: holds {' and '.join(path.name for path in found)}; allowed is one of them"
        )
    return found[0] if found else None


def _example(line: str, columns: Mapping[str, int], task: GlueTask) -> Example | None:
    """One line's example; None where it is empty or the published data says to leave it out."""
    if not line:
        return None
    values = line.split("\t")
    wanted = [columns[name] for name in (*task.texts, task.label) if name in columns]
    if max(wanted) >= len(values):
        if task.ragged:
            return None
        raise TaskError(f"has {len(values)} columns; at least {max(wanted) + 1} needed")
    texts = [values[columns[name]].strip() for name in task.texts]
    if not all(texts):
        if task.ragged:
            return None
        raise TaskError(f"the text in column {task.texts[texts.index('')]!r} is empty")
    if task.label not in columns:
        return Example(texts[0], texts[1] if len(texts) > 1 else None)
    written = values[columns[task.label]].strip()
    if written == "-":  # annotators did not agree
        return None
    return Example(texts[0], texts[1] if len(texts) > 1 else None, _label(written, task))


def _label(written: str, task: GlueTask) -> int | float:
    try:
        label = read_label(written)
    except LabelError as error:
        raise TaskError(f"the label in column {task.label!r} {error}") from None
    if task.label_names is None:
        if label.number is None:
            raise TaskError(f"label {written!r} is not a number")
        return label.number
    if label.name not in task.label_values:
        raise TaskError(f"label {written!r}; allowed are {', '.join(task.label_values)}")
    return task.label_values.index(label.name)
