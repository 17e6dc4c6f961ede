"""Before a worker begins: the logs as they are here and as they were published, made one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from edgetran.api.wire import SUMMARY_KEY
from edgetran.records import write_atomically
from edgetran.runner.published import (
    PublishedError,
    PublishedRecord,
    file_content,
    log_names,
    read_part,
)
from edgetran_workers.results import ResultsPart, ResultsStore

_SPEC: Final = "spec.yaml"
_RESULT: Final = "result.json"


@dataclass
class Published:
    """What was published before.

    Attributes:
        parts: the parts from the first on that can be built on, with the records of each.
        rest: numbers of later parts that hold something all the same.
        summary: the last summary's text; empty where there is none.
    """

    parts: list[tuple[ResultsPart, list[PublishedRecord]]] = field(default_factory=list)
    rest: list[int] = field(default_factory=list)
    summary: str = ""

    @property
    def records(self) -> list[PublishedRecord]:
        """All records in order."""
        return [record for _, records in self.parts for record in records]


def read_published(store: ResultsStore) -> Published:
    """Everything in the store, up to the first part that is missing, empty or spoiled.

    Parts after a gap are not built on: the records in it are lost, and a log with a hole would
    tell of trials that nobody proposed.

    Raises:
        ResultsError: the store does not answer.
    """
    published = Published()
    number = missing = 0
    whole = True
    while missing < 2:
        part = store.read(number)
        missing = missing + 1 if part is None else 0
        records = [] if part is None else _records(part)
        whole = whole and bool(records)
        if part is not None and number == 0:
            published.summary = part.data.get(SUMMARY_KEY, "")
        if part is not None and whole:
            published.parts.append((part, records))
        elif part is not None and part.records:
            published.rest.append(number)
        number += 1
    return published


def _records(part: ResultsPart) -> list[PublishedRecord]:
    """The records of a part; none of one that is spoiled."""
    try:
        return read_part(part.records)
    except PublishedError:
        return []


def restore_logs(folder: Path, records: Sequence[PublishedRecord]) -> bool:
    """Complete the logs in the folder by what was published; whether the two agree.

    Where they do not, the logs here are the truth: what was published is to be replaced.
    """
    contents: dict[str, list[bytes]] = {}
    for record in records:
        contents.setdefault(record.log, []).append(record.line)
        if record.log == _SPEC:
            contents.pop(_RESULT, None)  # the result of smaller limits is none of the run's
    agree = True
    for log, lines in contents.items():
        path = folder / log
        if not log.endswith(".jsonl"):
            if not path.exists():
                write_atomically(path, file_content(log, lines))
            continue
        here = _lines(path)
        shared = min(len(here), len(lines))
        if here[:shared] != lines[:shared]:
            agree = False
        elif len(here) < len(lines):
            write_atomically(path, file_content(log, lines))
    known = {log for log in contents if log.endswith(".jsonl")}
    return agree and known <= set(log_names(folder))


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []
