"""Tasks from CSV, TSV and JSON-lines files with a text, perhaps a second text, and a label."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgetran.training.task import Example, Task, TaskError, split_by_text

if TYPE_CHECKING:
    from edgetran.training.loading import TaskReference

_PARTS: Final = ("train", "validation", "test")
_DELIMITERS: Final = {".csv": ",", ".tsv": "\t"}
_JSON_LINES: Final = (".jsonl", ".ndjson", ".json")
_HELD_OUT: Final = 0.1
"""Share that is split off for validation, and for test, where there is no file for it."""
_MOST_INTEGER_CLASSES: Final = 20
"""More different whole numbers than this are numbers, not names of classes."""


@dataclass(frozen=True)
class Row:
    """One row of a table before its label's kind is known.

    Attributes:
        place: `file:line`, for messages.
        text: the text.
        text2: the second text, or None.
        label: as it stands there.
    """

    place: str
    text: str
    text2: str | None
    label: Any


def load_table_task(reference: TaskReference) -> Task:
    """Read the files of a reference; what has no file is split off `train` by a hash of its text.

    Raises:
        TaskError: a file, a column or a value that cannot be used, by name and line.
    """
    files = dict(reference.files or {})
    if "train" not in files or set(files) - set(_PARTS):
        raise TaskError(
            f"task.files: {', '.join(files) or 'nothing'} given; "
            "train is needed, validation and test are allowed"
        )
    rows = {part: list(_rows(Path(path), reference)) for part, path in files.items()}
    name = Path(files["train"]).stem
    return task_from_rows(rows, reference, name=name, source=", ".join(files.values()))


def task_from_rows(
    rows: Mapping[str, Sequence[Row]], reference: TaskReference, *, name: str, source: str
) -> Task:
    """Decide what the labels are, and make a task of the rows.

    Raises:
        TaskError: a label that is no number among numbers, or too few rows to split.
    """
    every = [row for part in rows.values() for row in part]
    if not every:
        raise TaskError(f"{source}: there are no examples")
    regression = _is_regression(every, reference.kind)
    names = None if regression else _class_names(every)
    parts = {part: _examples(of_part, names) for part, of_part in rows.items()}
    parts = _complete(parts, f"{name}/{reference.seed}", source)
    return Task(
        name=name,
        train=parts["train"],
        validation=parts["validation"],
        test=parts["test"],
        label_names=names,
        metrics=("pearson", "spearman") if regression else ("accuracy",),
        source=source,
    )


def make_row(values: Mapping[str, Any], reference: TaskReference, place: str) -> Row:
    """One row from a mapping of columns.

    Raises:
        TaskError: a column is absent, or the text or label is empty.
    """
    for column in (reference.text_column, reference.label_column):
        if column not in values:
            known = ", ".join(str(key) for key in values if key is not None)
            raise TaskError(f"{place}: no column {column!r}; it has {known}")
    text, label = values[reference.text_column], values[reference.label_column]
    text2 = values.get(reference.text2_column)
    for column, value in ((reference.text_column, text), (reference.text2_column, text2)):
        if value is not None and not isinstance(value, str):
            raise TaskError(f"{place}: {column!r} is {value!r}; allowed is text")
    if not text or not text.strip():
        raise TaskError(f"{place}: the text in column {reference.text_column!r} is empty")
    if isinstance(label, str):
        label = label.strip()
    if label is None or label == "" or not isinstance(label, str | int | float):
        given = "empty" if label in (None, "") else f"{label!r}"
        raise TaskError(
            f"{place}: the label in column {reference.label_column!r} is {given}; "
            "allowed is the name of a class or a number"
        )
    return Row(place, text.strip(), None if text2 is None else text2.strip(), label)


def _rows(path: Path, reference: TaskReference) -> Iterator[Row]:
    if path.suffix not in (*_DELIMITERS, *_JSON_LINES):
        allowed = ", ".join((*_DELIMITERS, *_JSON_LINES))
        raise TaskError(f"{path}: the file's name ends in none of {allowed}")
    if not path.is_file():
        raise TaskError(f"{path}: there is no such file")
    read = _csv_values if path.suffix in _DELIMITERS else _json_values
    try:
        for number, values in read(path):
            yield make_row(values, reference, f"{path}:{number}")
    except UnicodeDecodeError as error:
        raise TaskError(f"{path}: is not UTF-8 text ({error.reason})") from None


def _csv_values(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter=_DELIMITERS[path.suffix], strict=True)
        try:
            for values in reader:
                if None in values:
                    raise TaskError(
                        f"{path}:{reader.line_num}: has more values than the "
                        f"{len(reader.fieldnames or ())} columns; quote texts with separators"
                    )
                yield reader.line_num, values
        except csv.Error as error:
            raise TaskError(f"{path}:{reader.line_num}: is not CSV ({error})") from None


def _json_values(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with open(path, encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                values = json.loads(line)
            except ValueError as error:
                raise TaskError(f"{path}:{number}: is not a line of JSON ({error})") from None
            if not isinstance(values, dict):
                raise TaskError(f"{path}:{number}: is not a JSON object with columns as keys")
            yield number, values


def _number(label: Any) -> float | None:
    """The label as a finite number, if it is one."""
    if isinstance(label, bool):
        return None
    try:
        value = float(label)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _is_regression(rows: Sequence[Row], kind: str) -> bool:
    if kind == "classification":
        return False
    numbers = [_number(row.label) for row in rows]
    known = [number for number in numbers if number is not None]
    continuous = any(n % 1 for n in known) or len(set(known)) > _MOST_INTEGER_CLASSES
    if kind == "auto" and not (continuous and len(known) > 0.9 * len(numbers)):
        return False
    for row, number in zip(rows, numbers, strict=True):
        if number is None:
            raise TaskError(f"{row.place}: the label {row.label!r} is not a finite number")
    return True


def _class_names(rows: Sequence[Row]) -> tuple[str, ...]:
    """Names of the classes: numbers by size, then names by alphabet."""

    def order(name: str) -> tuple[bool, float, str]:
        number = _number(name)
        return number is None, number or 0.0, name

    return tuple(sorted({_class_name(row.label) for row in rows}, key=order))


def _class_name(label: Any) -> str:
    if isinstance(label, bool):
        return str(label).lower()
    return str(int(label)) if isinstance(label, float) and label.is_integer() else str(label)


def _examples(rows: Sequence[Row], names: tuple[str, ...] | None) -> tuple[Example, ...]:
    if names is None:
        return tuple(Example(row.text, row.text2, float(row.label)) for row in rows)
    indices = {name: index for index, name in enumerate(names)}
    return tuple(Example(row.text, row.text2, indices[_class_name(row.label)]) for row in rows)


def _complete(
    parts: dict[str, tuple[Example, ...]], salt: str, source: str
) -> dict[str, tuple[Example, ...]]:
    absent = [part for part in _PARTS if part not in parts]
    if not absent:
        return parts
    count = len(parts["train"])
    fractions = [1 - _HELD_OUT * len(absent), *([_HELD_OUT] * len(absent))]
    divided = split_by_text(parts["train"], fractions, salt)
    for part, examples in zip(["train", *absent], divided, strict=True):
        if not examples:
            raise TaskError(
                f"{source}: {count} examples are too few to split off a {part} part; "
                "give more of them, or a file for each part"
            )
        parts = parts | {part: examples}
    return parts
