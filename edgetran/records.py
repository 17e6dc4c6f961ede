"""Append-only logs of JSON lines that survive SIGKILL at any moment.

A record is one line, written with a single `write` and fsynced before `append` returns. A line
torn by a kill or by a full disk has no newline at its end: it is cut off when the log is next
opened, so a record is either whole or absent.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


class RecordError(ValueError):
    """A log that holds something other than JSON objects; the message names file and line."""


class JsonLog:
    """A log of JSON objects in the file `path`, created with its folder when first used."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        _cut_torn_line(self.path)

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record durably.

        Raises:
            OSError: the record is not in the log, e.g. no space is left on the disk.
            ValueError: the record holds NaN or infinity, which JSON has no word for.
        """
        line = json.dumps(record, separators=(",", ":"), allow_nan=False) + "\n"
        with open(self.path, "ab") as file:
            start = file.tell()
            try:
                file.write(line.encode())
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                os.truncate(self.path, start)
                raise

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(read_records(self.path))


def read_records(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Every whole record of the log at `path`, in order; [] where the file does not exist.

    Raises:
        RecordError: a whole line is not a JSON object.
    """
    path = Path(path)
    if not path.exists():
        return []
    records = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise RecordError(f"{path}:{number}: not a JSON record ({error})") from None
        if not isinstance(record, dict):
            raise RecordError(f"{path}:{number}: not a JSON object")
        records.append(record)
    return records


def write_atomically(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Replace the file `path` by `content` so that a reader sees the old or the new one whole."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _cut_torn_line(path: Path) -> None:
    if not path.exists():
        return
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(path, whole)
