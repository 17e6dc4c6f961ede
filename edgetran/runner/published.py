"""Results on their way through a cluster: a run's logs, their records in parts, the folder again.

Logs are read as they grow, and so are the parts that their records are packed into. A part is gzip
of JSON lines `{"log": PATH, "record": {…}}`, PATH being a file below the run's folder. Lines of a
`.jsonl` file follow one another; of any other file the last record counts: a `.json` file is its
record, a `.yaml` file the text in the record's `text`.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple

from edgetran.records import write_atomically

MAX_PART_BYTES: Final = 64 * 1024**2
"""Most bytes that a part may unpack to; what unpacks to more is no worker's."""

LOGS: Final = (
    "inputs.jsonl",
    "log.jsonl",
    "profiles/*.jsonl",
    "proposals.jsonl",
    "trials.jsonl",
    "gptran/tree.jsonl",
    "profiles/final/*.jsonl",
)
"""The logs of a run, as patterns below its folder."""

FIRST_LIMIT_BYTES: Final = 64 * 1024
"""Size at which the first part is closed: the summary beside it is written often, and with it the
API server stores the whole ConfigMap again."""

LIMIT_BYTES: Final = 700 * 1024
"""Size at which any other part is closed; a ConfigMap holds 1 MiB."""

_RAW_LIMIT_BYTES: Final = 32 * 1024**2
"""Unpacked size at which a part is closed however well it packs."""

_LOG_PATH: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*){0,3}")
_SUFFIXES: Final = (".jsonl", ".json", ".yaml")


class PublishedError(ValueError):
    """Bytes that are no part of a run's results; one sentence."""


class PublishedRecord(NamedTuple):
    """One record of a run's log.

    Attributes:
        log: path of the file below the run's folder.
        line: the record as JSON, as the log has it, without the newline.
    """

    log: str
    line: bytes


class LogReader:
    """Reads what was appended since the last time.

    Args:
        folder: the run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._offsets: dict[str, int] = {}

    def new(self) -> Iterator[PublishedRecord]:
        """Every record that is new; a line without its newline waits for the next time.

        A record counts as read when the next one is asked for: one that the caller could not take
        comes again.

        Raises:
            ValueError: a log is shorter than what was read of it.
        """
        for log in log_names(self._folder):
            path = self._folder / log
            offset = self._offsets.get(log, 0)
            size = path.stat().st_size
            if size < offset:
                raise ValueError(f"{path}: has become shorter")
            if size == offset:
                continue
            with open(path, "rb") as file:
                file.seek(offset)
                content = file.read(size - offset)
            for line in content.split(b"\n")[:-1]:
                yield PublishedRecord(log, line)
                offset += len(line) + 1
                self._offsets[log] = offset


def log_names(folder: Path) -> list[str]:
    """The logs that there are, by their path below the folder."""
    return [
        path.relative_to(folder).as_posix()
        for pattern in LOGS
        for path in sorted(folder.glob(pattern))
    ]


class GrowingPart:
    """One part.

    Args:
        number: its number.
        limit: packed bytes that it never has more of, unless its first record alone has.
    """

    def __init__(self, number: int, limit: int | None = None) -> None:
        self.number = number
        self.records = 0
        self._limit = limit or (LIMIT_BYTES if number else FIRST_LIMIT_BYTES)
        self._packer = zlib.compressobj(6, zlib.DEFLATED, 31)
        self._packed = bytearray()
        self._raw = self._pending = 0

    def add(self, line: bytes) -> bool:
        """Append one line; False where the part is full and stays as it is."""
        if self.records and not self._fits(line):
            return False
        fresh = self._packer.compress(line)
        self._packed += fresh
        self._pending = 0 if fresh else self._pending + len(line)
        self._raw += len(line)
        self.records += 1
        return True

    def packed(self) -> bytes:
        """The part as one whole gzip stream; b"" while it has no record."""
        if not self.records:
            return b""
        return bytes(self._packed) + self._packer.copy().flush()

    def _fits(self, line: bytes) -> bool:
        if self._raw + len(line) > _RAW_LIMIT_BYTES:
            return False
        room = self._limit - len(self._packed)
        if 2 * (self._pending + len(line)) + 64 < room:  # packing never doubles what it packs
            return True
        trial = self._packer.copy()
        return len(trial.compress(line)) + len(trial.flush()) <= room


def encode(log: str, line: bytes) -> bytes:
    """One line of a part; `line` is the JSON of the record."""
    return b'{"log":"%b","record":%b}\n' % (log.encode(), line)


def read_part(data: bytes) -> list[PublishedRecord]:
    """The records of one part, in order; none of an empty one.

    Raises:
        PublishedError: it is no part, or names a file outside a run's folder.
    """
    records = []
    for number, line in enumerate(_unpack(data).split(b"\n"), start=1):
        if not line:
            continue
        try:
            entry = json.loads(line)
            log, record = entry["log"], entry["record"]
            content = json.dumps(record, separators=(",", ":")).encode()
        except (ValueError, KeyError, TypeError, RecursionError):
            raise PublishedError(f"line {number} is not a record of a run") from None
        if not isinstance(log, str) or not isinstance(record, dict) or not _is_log(log):
            raise PublishedError(f"line {number} is not a record of a file in a run's folder")
        records.append(PublishedRecord(log, content))
    return records


def write_folder(parts: Iterable[bytes], folder: Path) -> None:
    """Make the run's folder that the parts, given in order, tell of.

    Models, samples and reports are not in the parts. The folder has a `result.json` where the
    run is complete.

    Raises:
        PublishedError: something that is no part.
    """
    contents: dict[str, list[bytes]] = {}
    for number, part in enumerate(parts):
        try:
            records = read_part(part)
        except PublishedError as error:
            raise PublishedError(f"results part {number}: {error}") from None
        for record in records:
            contents.setdefault(record.log, []).append(record.line)
    for log in contents:
        for above in PurePosixPath(log).parents:
            if str(above) in contents:
                raise PublishedError(f"{log} would lie within the file {above}")
    for log, lines in contents.items():
        write_atomically(folder / log, file_content(log, lines))


def file_content(log: str, lines: list[bytes]) -> bytes:
    """What a file holds whose records are `lines`.

    Raises:
        PublishedError: the record of a text without text.
    """
    if log.endswith(".jsonl"):
        return b"".join(line + b"\n" for line in lines)
    record: dict[str, Any] = json.loads(lines[-1])
    if log.endswith(".json"):
        return (json.dumps(record, indent=2) + "\n").encode()
    text = record.get("text")
    if not isinstance(text, str):
        raise PublishedError(f"{log}: its record holds no text")
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise PublishedError(f"{log}: its record holds half of a character pair") from None


def file_record(path: Path) -> bytes:
    """The record of a file that is no log.

    Raises:
        OSError, ValueError: it cannot be read.
    """
    text = path.read_text(encoding="utf-8")
    record = json.loads(text) if path.suffix == ".json" else {"text": text}
    return json.dumps(record, separators=(",", ":")).encode()


def _unpack(data: bytes) -> bytes:
    if not data:
        return b""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        text = unpacker.decompress(data, MAX_PART_BYTES)
    except zlib.error:
        raise PublishedError("is not gzip") from None
    if unpacker.unconsumed_tail or unpacker.unused_data or not unpacker.eof:
        raise PublishedError("is not one whole gzip stream of a sensible size")
    return text


def _is_log(path: str) -> bool:
    return len(path) < 256 and path.endswith(_SUFFIXES) and _LOG_PATH.fullmatch(path) is not None
