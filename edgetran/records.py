"""Files that survive SIGKILL, power cuts and full disks: logs of JSON lines, and files as a whole.

A record is one line, written without a buffer and fsynced before `append` returns. One that does
not fit on the disk is taken back at once. A line torn by a kill has no newline at its end: readers
pass over it and the next record takes its place, so a record is either whole or absent.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

_BLOCK_BYTES: Final = 64 * 1024

_NO_FOLDER_SYNC: Final = frozenset(
    {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF, errno.EACCES, errno.EPERM}
)
"""What file systems answer that cannot fsync a folder; a rename is as durable there as it gets."""


class RecordError(ValueError):
    """A log that holds something other than JSON objects; the message names file and line."""


class JsonLog:
    """A log of JSON objects in the file `path`, created with its folder when first used."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record durably.

        Raises:
            OSError: the record is not in the log, e.g. no space is left on the disk.
            ValueError: the record holds NaN or infinity, which JSON has no word for.
        """
        line = (json.dumps(record, separators=(",", ":"), allow_nan=False) + "\n").encode()
        new = not self.path.exists()
        with _descriptor(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT) as file:
            start = _cut_torn_line(file)
            try:
                _write_all(file, line)
                os.fsync(file)
            except BaseException as error:
                if isinstance(error, OSError) or os.fstat(file).st_size < start + len(line):
                    os.ftruncate(file, start)
                raise
        if new:
            sync_folder(self.path.parent)

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
        except (ValueError, RecursionError) as error:
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
        with _descriptor(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as file:
            _write_all(file, content.encode() if isinstance(content, str) else content)
            os.fsync(file)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_file(path: str | os.PathLike[str]) -> None:
    """Bring to the disk what another library has written.

    Raises:
        OSError: the disk would not take it.
    """
    with _descriptor(Path(path), os.O_RDONLY) as file:
        os.fsync(file)


def sync_folder(path: str | os.PathLike[str]) -> None:
    """Bring to the disk which files a folder has, after one was made or renamed there.

    Raises:
        OSError: the disk would not take it.
    """
    try:
        with _descriptor(Path(path), os.O_RDONLY | os.O_DIRECTORY) as folder:
            os.fsync(folder)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise


@contextmanager
def _descriptor(path: Path, flags: int) -> Iterator[int]:
    file = os.open(path, flags | os.O_CLOEXEC, 0o666)
    try:
        yield file
    finally:
        os.close(file)


def _write_all(file: int, content: bytes) -> None:
    """Write however many calls it takes: a disk that is nearly full takes a part of the bytes."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(file, rest) :]


def _cut_torn_line(file: int) -> int:
    """Cut off what follows the last newline of a log; its size then."""
    size = os.fstat(file).st_size
    end = size
    while end:
        start = max(0, end - _BLOCK_BYTES)
        newline = os.pread(file, end - start, start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end < size:
        os.ftruncate(file, end)
    return end
