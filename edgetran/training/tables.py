"""Tasks from tables with a text, perhaps a second text, and a label in each row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from edgetran.api.field_errors import invalid
from edgetran.tabular import Table, TableError, read_table, stem_of
from edgetran.training.labels import Label, LabelError, read_label
from edgetran.training.task import (
    Example,
    Task,
    TaskError,
    refuse_unknown_classes,
    settle_overlap,
    split_off,
)

if TYPE_CHECKING:
    from edgetran.training.reference import TaskReference

_PARTS: Final = ("train", "validation", "test")
_TEXT2: Final = "text2"
"""The column of this name is used where it exists; one of another name is asked for by the user."""

_HELD_OUT: Final = 0.1
"""Share that is split off for validation, and for test, where there is no file for it."""
_MOST_INTEGER_CLASSES: Final = 20
"""More different whole numbers than this are numbers, not names of classes."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table before its label's kind is known."""

    text: str
    text2: str | None
    label: Label


@dataclass(frozen=True)
class SplitRows:
    """The rows of one part.

    Attributes:
        rows: in the order of the file.
        place: from a row's index to where it stands, for messages.
        head: where its columns are named, for messages.
    """

    rows: Sequence[Row]
    place: Callable[[int], str]
    head: str


def load_table_task(reference: TaskReference) -> Task:
    """Read the files of a reference; what has no file is split off `train` by a hash of its text.

    Raises:
        TaskError: a file, a column or a value that cannot be used, by name and line.
    """
    files = dict(reference.files or {})
    if "train" not in files or set(files) - set(_PARTS):
        what = "must have train, and may have validation and test"
        raise TaskError(f"task.files: {invalid(files, what)}")
    wanted = (reference.text_column, reference.text2_column, reference.label_column)
    try:
        tables = {part: read_table(path, wanted) for part, path in files.items()}
    except TableError as error:
        raise TaskError(str(error)) from None
    parts = {part: read_part(table, reference) for part, table in tables.items()}
    return task_from_parts(
        parts, reference, name=stem_of(files["train"]), source=", ".join(files.values())
    )


def read_part(table: Table, reference: TaskReference) -> SplitRows:
    """The rows of one table.

    Raises:
        TaskError: no rows, or a column or a value that is absent or cannot be used.
    """
    if not table.rows:
        raise TaskError(f"{table.path}: there are no examples")
    text2 = _second_column(table, reference)
    rows = []
    for index, values in enumerate(table.rows):
        try:
            rows.append(_row(values, reference, text2))
        except (_CellError, LabelError) as error:
            raise TaskError(f"{table.place(index)}: {error}") from None
    return SplitRows(rows, table.place, table.head)


def task_from_parts(
    parts: Mapping[str, SplitRows], reference: TaskReference, *, name: str, source: str
) -> Task:
    """Decide what the labels are, and make a task of the parts.

    Raises:
        TaskError: a label that is no number among numbers, parts that do not fit each other, or
            too few rows to split.
    """
    _refuse_single_among_pairs(parts, reference)
    regression = _is_regression(parts, reference.kind)
    names = None if regression else _class_names(parts)
    examples = {part: _examples(of_part.rows, names) for part, of_part in parts.items()}
    task = Task(
        name=name,
        train=examples["train"],
        validation=examples.get("validation", ()),
        test=examples.get("test", ()),
        label_names=names,
        metrics=("pearson", "spearman") if regression else ("accuracy",),
        source=source,
    )
    for part, of_part in parts.items():
        refuse_unknown_classes(task.train, names, part, examples[part], of_part.place)
    task = settle_overlap(task, keep=reference.keeps_overlap)
    return _complete(task, [part for part in _PARTS if part not in parts], str(reference.seed))


class _CellError(ValueError):
    """A cell that cannot be used; the message lacks its place."""


def _second_column(table: Table, reference: TaskReference) -> str | None:
    """The column of the second text, where there is one; refuse a table that lacks a column."""
    wanted = [reference.text_column, reference.label_column]
    if reference.text2_column != _TEXT2:
        wanted.append(reference.text2_column)
    for column in wanted:
        if column not in table.names:
            known = ", ".join(table.names) or "no columns"
            raise TaskError(f"{table.head}: no column {column!r}; it has {known}")
    return reference.text2_column if reference.text2_column in table.names else None


def _row(values: Mapping[str, Any], reference: TaskReference, text2: str | None) -> Row:
    if reference.label_column not in values:
        raise _CellError(f"no {reference.label_column!r}; it has {', '.join(values) or 'nothing'}")
    try:
        label = read_label(values[reference.label_column])
    except LabelError as error:
        raise _CellError(f"the label in column {reference.label_column!r} {error}") from None
    return Row(
        _text(values, reference.text_column),
        None if text2 is None else _text(values, text2),
        label,
    )


def _text(values: Mapping[str, Any], column: str) -> str:
    if column not in values:
        raise _CellError(f"no {column!r}; it has {', '.join(values) or 'nothing'}")
    value = values[column]
    if value is not None and not isinstance(value, str):
        shown = repr(value)
        shown = shown if len(shown) <= 60 else f"{shown[:59]}…"
        raise _CellError(f"{column!r} is {shown}; allowed is text")
    text = (value or "").strip()
    if not text:
        raise _CellError(f"the text in column {column!r} is empty")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise _CellError(f"the text in column {column!r} has half of a character pair")
    return text


def _refuse_single_among_pairs(parts: Mapping[str, SplitRows], reference: TaskReference) -> None:
    paired = {name: part.rows[0].text2 is not None for name, part in parts.items()}
    if len(set(paired.values())) > 1:
        lacking = next(name for name, is_paired in paired.items() if not is_paired)
        having = next(name for name, is_paired in paired.items() if is_paired)
        raise TaskError(
            f"{parts[lacking].head}: the {lacking} part has no column "
            f"{reference.text2_column!r}, which the {having} part has"
        )


def _is_regression(parts: Mapping[str, SplitRows], kind: str) -> bool:
    """Whether labels are numbers to predict.

    In `auto` the training labels decide, and those with zeros before them are names.
    """
    if kind == "classification":
        return False
    if kind == "auto":
        labels = [row.label for row in parts["train"].rows]
        known = [label.number for label in labels if not label.is_padded]
        numbers = [number for number in known if number is not None]
        continuous = any(n % 1 for n in numbers) or len(set(numbers)) > _MOST_INTEGER_CLASSES
        if not (continuous and len(numbers) > 0.9 * len(labels)):
            return False
    for part in parts.values():
        for index, row in enumerate(part.rows):
            if row.label.number is None:
                raise TaskError(
                    f"{part.place(index)}: the label {row.label.name!r} is not a finite number"
                )
    return True


def _class_names(parts: Mapping[str, SplitRows]) -> tuple[str, ...]:
    """Names of the classes: numbers by size, then names by alphabet."""
    labels = {row.label for part in parts.values() for row in part.rows}

    def order(label: Label) -> tuple[bool, float, str]:
        return label.number is None, label.number or 0.0, label.name

    return tuple(dict.fromkeys(label.name for label in sorted(labels, key=order)))


def _examples(rows: Sequence[Row], names: tuple[str, ...] | None) -> tuple[Example, ...]:
    if names is None:
        return tuple(Example(row.text, row.text2, row.label.number) for row in rows)
    indices = {name: index for index, name in enumerate(names)}
    return tuple(Example(row.text, row.text2, indices[row.label.name]) for row in rows)


def _complete(task: Task, absent: Sequence[str], salt: str) -> Task:
    """Split what is absent off the training part."""
    if not absent:
        return task
    fractions = [1 - _HELD_OUT * len(absent), *([_HELD_OUT] * len(absent))]
    divided = dict(zip(["train", *absent], split_off(task.train, fractions, salt), strict=True))
    for part, examples in divided.items():
        if not examples:
            raise TaskError(
                f"{task.source}: {len(task.train)} examples are too few to split off a {part} "
                "part; give more of them, or a file for each part"
            )
    return replace(
        task,
        train=divided["train"],
        validation=divided.get("validation", task.validation),
        test=divided.get("test", task.test),
    )
