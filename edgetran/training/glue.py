"""The nine tasks of GLUE (arXiv 1804.07461): labels, metrics, and their own TSV layout.

The labels of GLUE's test files are hidden. The published dev files then take the place of the test
split, to be looked at once, and validation examples are split off the training file by a hash of
their text; what the hidden test files hold is kept as the part `submission`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgetran.training.task import Example, Task, TaskError, split_by_text

LICENCE: Final = "each GLUE task's own; see gluebenchmark.com/tasks"
_VALIDATION_SHARE: Final = 0.1


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


def load_glue_folder(folder: str | os.PathLike[str], name: str | None, *, seed: int = 0) -> Task:
    """Read a folder as GLUE's download gives it: train.tsv, dev.tsv, test.tsv.

    Args:
        folder: where the files are; MNLI has dev_matched.tsv, dev_mismatched.tsv and so on.
        name: which task it is; None where the folder's name says so.
        seed: of the split of validation examples, where test labels are hidden.

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
    parts = {"train": _read(folder / "train.tsv", task)}
    for suffix, ending in (("", "_matched"), ("_mismatched", "_mismatched")):
        if name == "mnli":
            parts[f"validation{suffix}"] = _read(folder / f"dev{ending}.tsv", task)
            parts[f"test{suffix}"] = _read(folder / f"test{ending}.tsv", task, optional=True)
        elif not suffix:
            parts["validation"] = _read(folder / "dev.tsv", task)
            parts["test"] = _read(folder / "test.tsv", task, optional=True)
    return arrange(name, parts, source=str(folder), seed=seed)


def arrange(name: str, parts: Mapping[str, Sequence[Example]], *, source: str, seed: int) -> Task:
    """Make a task of a GLUE task's published parts, however their test labels stand.

    Args:
        name: the hub's name of the task.
        parts: `train`, `validation`, `test`, and for MNLI `validation_mismatched`,
            `test_mismatched`; test parts may be empty or unlabelled.
        source: where they come from.
        seed: of the split of validation examples.
    """
    task = GLUE_TASKS[name]
    train = tuple(parts["train"])
    validation, test = tuple(parts["validation"]), tuple(parts.get("test", ()))
    suffixes = ("", "_mismatched") if "validation_mismatched" in parts else ("",)
    extra: dict[str, tuple[Example, ...]] = {}
    if test and all(example.label is not None for example in test):
        for split in ("validation", "test"):
            if f"{split}_mismatched" in parts:
                extra[f"{split}_mismatched"] = tuple(parts[f"{split}_mismatched"])
    else:
        for suffix in suffixes:
            if parts.get(f"test{suffix}"):
                extra[f"submission{suffix}"] = tuple(parts[f"test{suffix}"])
        if "validation_mismatched" in parts:
            extra["test_mismatched"] = tuple(parts["validation_mismatched"])
        test = validation
        train, validation = split_by_text(
            train, (1 - _VALIDATION_SHARE, _VALIDATION_SHARE), salt=f"glue/{name}/{seed}"
        )
    return Task(
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


def _read(path: Path, task: GlueTask, *, optional: bool = False) -> tuple[Example, ...]:
    """The examples of one TSV file, whose fields are never quoted."""
    if not path.is_file():
        if optional:
            return ()
        raise TaskError(f"{path}: there is no such file; {task.title} needs it")
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise TaskError(f"{path}: is not UTF-8 text ({error.reason})") from None
    header = lines[0].rstrip("\r").split("\t")
    if task.headerless is not None and not set(task.texts) <= set(header):
        columns, first = dict(task.headerless), 0
    else:
        columns, first = {name: i for i, name in enumerate(header)}, 1
    for name in task.texts:
        if name not in columns:
            raise TaskError(f"{path}:1: no column {name!r}; it has {', '.join(header)}")
    if task.label not in columns and not optional:
        raise TaskError(f"{path}:1: no column {task.label!r}; it has {', '.join(header)}")
    examples = []
    for number, line in enumerate(lines[first:], start=first + 1):
        example = _example(line.rstrip("\r"), columns, task, f"{path}:{number}")
        if example is not None:
            examples.append(example)
    return tuple(examples)


def _example(line: str, columns: Mapping[str, int], task: GlueTask, place: str) -> Example | None:
    if not line:
        return None
    values = line.split("\t")
    wanted = [columns[name] for name in (*task.texts, task.label) if name in columns]
    if max(wanted) >= len(values):
        if task.ragged:
            return None
        raise TaskError(f"{place}: has {len(values)} columns; at least {max(wanted) + 1} needed")
    texts = [values[columns[name]].strip() for name in task.texts]
    text2 = texts[1] if len(texts) > 1 else None
    if task.label not in columns:
        return Example(texts[0], text2)
    label = values[columns[task.label]].strip()
    if task.label_names is None:
        return Example(texts[0], text2, _score(label, place))
    if label == "-":  # annotators did not agree
        return None
    if label not in task.label_values:
        raise TaskError(f"{place}: label {label!r}; allowed are {', '.join(task.label_values)}")
    return Example(texts[0], text2, task.label_values.index(label))


def _score(label: str, place: str) -> float:
    try:
        return float(label)
    except ValueError:
        raise TaskError(f"{place}: label {label!r} is not a number") from None
