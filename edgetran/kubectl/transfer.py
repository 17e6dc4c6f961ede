"""Files to and from a folder that only a shell reaches: checked, and resumed after a break.

The other side needs `sh` and what every small image has beside it: `find`, `sha256sum`, `tail`,
`head`, `wc`, `mkdir`, `mv`, `rm`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Protocol, TypeVar

REBUILDABLE: Final = ("checkpoints", "gptran/nodes", "profiles/raw")
"""Folders of a run that its result does not need; see docs/run-folder.md."""

PART: Final = ".part"
"""Ends the name of a file that is not whole yet."""

_T = TypeVar("_T")

_CHUNK_BYTES: Final = 256 * 1024
_BLOCK_BYTES: Final = 4 * 1024 * 1024
"""Asked for at once: the client of Kubernetes keeps what comes in until it is read."""

_ATTEMPTS: Final = 5
_PAUSE_SECONDS: Final = 2.0

_LIST: Final = """
cd "$1" 2>/dev/null || exit 44
shift
left=$#
while [ "$left" -gt 0 ]; do set -- "$@" -path "./$1" -prune -o; shift; left=$((left - 1)); done
find . "$@" -type f ! -name '.*' ! -name '*.part' -exec sha256sum {} +
"""
_READ: Final = 'tail -c +"$2" "$1" | head -c "$3"'
_SIZE: Final = 'if [ -f "$1" ]; then wc -c <"$1"; else echo 0; fi'
_APPEND: Final = 'mkdir -p "$(dirname "$1")" && head -c "$2" >>"$1"'
_FINISH: Final = """
hash() { sha256sum <"$1" | cut -d ' ' -f 1; }
if [ -f "$3" ] && [ "$(hash "$3")" = "$2" ]; then rm -f "$1"; exit 0; fi
if [ "$(hash "$1")" = "$2" ]; then mv "$1" "$3"; else rm "$1"; exit 45; fi
"""
_NO_FOLDER: Final = 44
_NOT_EQUAL: Final = 45


class FileTransferError(RuntimeError):
    """Files that cannot be brought over; one sentence."""


class BrokenOffError(FileTransferError):
    """A connection that ended before the command did: to be tried again."""


class CommandError(FileTransferError):
    """A command that failed.

    Attributes:
        status: its exit status.
    """

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said.strip() or f"the command ended with status {status}")
        self.status = status


class Shell(Protocol):
    """Runs scripts of `sh` where the files are."""

    def read(self, script: str, *arguments: str) -> Iterator[bytes]:
        """What the script writes, part by part.

        Raises:
            CommandError: it failed.
            BrokenOffError: the connection ended before it did.
        """
        ...

    def write(self, script: str, *arguments: str, data: Iterable[bytes]) -> None:
        """Run the script with `data` as its input, all of which it reads.

        Raises:
            CommandError: it failed.
            BrokenOffError: the connection ended before it did.
        """
        ...


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file on the other side.

    Attributes:
        path: below the folder.
        sha256: of its content, in hexadecimal.
    """

    path: PurePosixPath
    sha256: str


Progress = Callable[[PurePosixPath, int], None]
"""Called with a file and the number of its bytes that are over, more and more."""


def listing(shell: Shell, folder: str, without: Sequence[str] = ()) -> list[RemoteFile]:
    """The files below a folder, in order.

    Args:
        shell: the other side.
        folder: an absolute path there.
        without: folders below it that are left out.

    Raises:
        FileTransferError: there is no such folder, or a name that no run writes.
    """
    try:
        text = _retried(lambda: b"".join(shell.read(_LIST, folder, *without))).decode()
    except CommandError as error:
        if error.status == _NO_FOLDER:
            raise FileTransferError(f"{folder}: there is no such folder on the volume") from None
        raise
    found = []
    for line in text.splitlines():
        digest, _, name = line.partition("  ")
        path = PurePosixPath(name)
        if len(digest) != 64 or path.is_absolute() or ".." in path.parts or not path.parts:
            raise FileTransferError(
                f"{folder}: {line[:200]!r} is not a file that can be downloaded"
            )
        found.append(RemoteFile(path, digest))
    return sorted(found, key=lambda file: file.path)


def fetch(shell: Shell, folder: str, file: RemoteFile, target: Path, progress: Progress) -> None:
    """Bring one file here; what an earlier call brought of it is not asked for again.

    Raises:
        FileTransferError: the connection breaks off again and again without a byte between, or the
            content changes under our hands.
        OSError: it cannot be written here.
    """
    if target.is_file() and _sha256(target) == file.sha256:
        progress(file.path, target.stat().st_size)
        return
    part = target.with_name(target.name + PART)
    part.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(2):  # what an earlier call left may be of another content
        _fetch_rest(shell, f"{folder}/{file.path}", part, lambda size: progress(file.path, size))
        if _sha256(part) == file.sha256:
            part.replace(target)
            return
        part.unlink()
    raise FileTransferError(f"{file.path}: it changed while it was fetched; try again")


def _fetch_rest(shell: Shell, path: str, part: Path, progress: Callable[[int], None]) -> None:
    def size() -> int:
        return part.stat().st_size if part.exists() else 0

    def block() -> int:
        with part.open("ab") as file:
            before = file.tell()
            for chunk in shell.read(_READ, path, str(before + 1), str(_BLOCK_BYTES)):
                file.write(chunk)
                progress(file.tell())
            return file.tell() - before

    while _retried(block, size):
        pass


def send(shell: Shell, file: Path, target: str, progress: Callable[[int], None]) -> None:
    """Bring one file there; what an earlier call brought of it is not sent again.

    Args:
        shell: the other side.
        file: the file here.
        target: an absolute path there; it appears once it is whole.
        progress: called with the number of bytes that are over.

    Raises:
        FileTransferError: the connection breaks off again and again without a byte between, or the
            file changes here meanwhile.
        OSError: it cannot be read here.
    """
    part, digest = target + PART, _sha256(file)

    def size() -> int:
        return int(b"".join(shell.read(_SIZE, part)))

    def more() -> None:
        there, length = size(), file.stat().st_size
        if there < length:
            data = _from(file, there, progress)
            shell.write(_APPEND, part, str(length - there), data=data)
        elif length == 0:
            shell.write(_APPEND, part, "0", data=())

    for _ in range(2):
        _retried(more, lambda: _retried(size))
        try:
            _retried(lambda: b"".join(shell.read(_FINISH, part, digest, target)))
        except CommandError as error:
            if error.status != _NOT_EQUAL:
                raise
            continue
        return
    raise FileTransferError(f"{file}: it arrived changed twice; is something writing to it?")


def _from(file: Path, start: int, progress: Callable[[int], None]) -> Iterator[bytes]:
    with file.open("rb") as opened:
        opened.seek(start)
        while chunk := opened.read(_CHUNK_BYTES):
            yield chunk
            progress(opened.tell())


def _retried(step: Callable[[], _T], got: Callable[[], int] = lambda: 0) -> _T:
    """Try again what broke off, so long as something comes through between the breaks."""
    failures, before = 0, got()
    while True:
        try:
            return step()
        except BrokenOffError:
            now = got()
            failures = 1 if now > before else failures + 1
            before = now
            if failures == _ATTEMPTS:
                raise
            time.sleep(_PAUSE_SECONDS * (failures - 1))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
