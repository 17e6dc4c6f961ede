"""Where a run's folder is kept: on a mounted volume, or copied to an address as it grows.

A run always works in a local folder. With an address that folder is copied there: files that
changed, and last a list of all of them. Restoring takes what the list names; a file that a kill
left half copied has another size than the list says and is left out, with its whole model folder.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

from edgetran.api.field_errors import invalid, without_credentials
from edgetran.records import sync_file
from edgetran_workers.log import Log

LIST_NAME: Final = ".edgetran-files.json"
"""The list of files at an address: `{"schemaVersion": 1, "files": {PATH: BYTES}}`."""

PERIOD_S: Final = 60.0
"""Time between two copies while the run goes on."""

_SCHEMA_VERSION: Final = 1
_LOGS: Final = (".jsonl", ".yaml", ".json")
_MODEL_FILE: Final = "config.json"
_QUOTED: Final = re.compile(r"b['\"]|[<{]|message=|Further retries|(?<=operation): ")
_MOST_SAID: Final = 200


class StorageError(RuntimeError):
    """Storage that cannot be read or written at the moment; one sentence."""


class StorageSpecError(ValueError):
    """An address that can never work, e.g. of a protocol that is not installed."""


class RemoteFolder:
    """The copy of a run's folder at an address that fsspec knows.

    Args:
        uri: the storage's address.
        folder: the run's folder below it.
        local: the run's folder here.

    Raises:
        StorageSpecError: a protocol that does not exist or is not installed.
        StorageError: the address does not answer.
    """

    def __init__(self, uri: str, folder: str, local: Path) -> None:
        from fsspec.core import url_to_fs

        self.address = f"{uri.rstrip('/')}/{folder}"
        self.local = local
        self._sent: dict[str, tuple[int, int]] = {}
        self._listed: dict[str, int] = {}
        try:
            self._fs, self._root = url_to_fs(self.address)
        except (ImportError, ValueError) as error:
            raise StorageSpecError(
                "spec.storage.uri: "
                + invalid(uri, f"must be of a protocol that the worker's image has: {error}")
            ) from None
        except Exception as error:  # noqa: BLE001 - each protocol raises what its library raises
            raise StorageError(f"{self.address}: {_said(error)}") from None

    def restore(self, wanted: Callable[[str], bool] | None = None) -> None:
        """Fetch the files that are there and not here.

        Args:
            wanted: which ones, by their path below the run's folder; all of them where None.

        Raises:
            StorageError: the address does not answer.
        """
        try:
            self._listed = self._read_list()
            broken: set[str] = set()
            for path, size in self._listed.items():
                target = self.local / path
                if target.exists() or not (wanted is None or wanted(path)):
                    continue
                if not self._fetch(path, size, target):
                    broken.add(str(PurePosixPath(path).parent))
            for folder in broken - {"."}:
                if f"{folder}/{_MODEL_FILE}" in self._listed:
                    self._discard(folder)
        except Exception as error:  # noqa: BLE001 - each protocol raises what its library raises
            raise StorageError(f"{self.address}: {_said(error)}") from None

    def copy(self, deadline: float | None = None) -> bool:
        """Copy what changed since the last time, small files first; whether all of it is done.

        Args:
            deadline: `time.monotonic()` at which to stop; None for no end.

        Raises:
            StorageError: the address does not answer.
        """
        try:
            return self._copy(deadline)
        except Exception as error:  # noqa: BLE001 - each protocol raises what its library raises
            raise StorageError(f"{self.address}: {_said(error)}") from None

    def _copy(self, deadline: float | None) -> bool:
        here = dict(_files(self.local))
        changed = [path for path, stamp in here.items() if self._sent.get(path) != stamp]
        changed.sort(key=lambda path: (not path.endswith(_LOGS), here[path][0]))
        done = True
        for path in changed:
            if deadline is not None and time.monotonic() > deadline:
                done = False
                break
            try:
                self._put(self.local / path, path)
            except FileNotFoundError:
                if (self.local / path).exists():
                    raise
                continue  # gone meanwhile, as starting weights of children go
            self._sent[path] = here[path]
        listed = {path: stamp[0] for path, stamp in self._sent.items() if path in here}
        gone = [path for path in self._listed if path not in here] if done else []
        if listed != self._listed or gone:
            self._write_list(listed if done else self._listed | listed)
            for path in gone:
                with contextlib.suppress(FileNotFoundError):
                    self._fs.rm_file(f"{self._root}/{path}")
                self._sent.pop(path, None)
        return done

    def _put(self, file: Path, path: str) -> None:
        target = f"{self._root}/{path}"
        self._fs.makedirs(target.rpartition("/")[0], exist_ok=True)
        self._fs.put_file(str(file), target)

    def _fetch(self, path: str, size: int, target: Path) -> bool:
        """Fetch one file; False where it is not the one that the list names."""
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.fetched")
        try:
            self._fs.get_file(f"{self._root}/{path}", str(temporary))
            grown = path.endswith(".jsonl")  # a log that was copied again since the list was made
            found = temporary.stat().st_size
            if found != size and not (grown and found > size):
                return False
            sync_file(temporary)
            temporary.replace(target)
        except FileNotFoundError:
            return False
        finally:
            temporary.unlink(missing_ok=True)
        stat = target.stat()
        self._sent[path] = (stat.st_size, stat.st_mtime_ns)
        return True

    def _discard(self, folder: str) -> None:
        import shutil

        shutil.rmtree(self.local / folder, ignore_errors=True)
        for path in [path for path in self._sent if path.startswith(f"{folder}/")]:
            del self._sent[path]

    def _read_list(self) -> dict[str, int]:
        try:
            data = json.loads(self._fs.cat_file(f"{self._root}/{LIST_NAME}"))
            files = data["files"] if data["schemaVersion"] == _SCHEMA_VERSION else {}
            return {path: int(size) for path, size in files.items() if _is_below(path)}
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError, AttributeError):
            return {}  # torn by a kill: the run goes on from the results that the API server has

    def _write_list(self, listed: dict[str, int]) -> None:
        self._fs.makedirs(self._root, exist_ok=True)
        self._fs.pipe_file(f"{self._root}/{LIST_NAME}", list_text(listed).encode())
        self._listed = listed


class Copier:
    """Copies a run's folder now and then in a thread of its own.

    Args:
        remote: where to.
        log: gets a warning where a copy fails; the next one tries again.
        period_s: time between two copies, s.
    """

    def __init__(self, remote: RemoteFolder, log: Log, period_s: float = PERIOD_S) -> None:
        self._remote, self._log, self._period_s = remote, log, period_s
        self._ended = threading.Event()
        self._copying = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="storage", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def finish(self, seconds: float | None = None) -> bool:
        """Copy a last time, for at most `seconds`; whether all is copied.

        Raises:
            StorageError: the address does not answer.
        """
        self._ended.set()
        deadline = None if seconds is None else time.monotonic() + seconds
        if not self._copying.acquire(timeout=-1 if seconds is None else seconds):
            return False
        try:
            return self._remote.copy(deadline)
        finally:
            self._copying.release()

    def _work(self) -> None:
        while not self._ended.wait(self._period_s):
            with self._copying:
                if self._ended.is_set():
                    return
                try:
                    self._remote.copy()
                except StorageError as error:
                    self._log.warning(f"storage: {error}; retrying")


def list_text(files: Mapping[str, int]) -> str:
    """The content of `LIST_NAME`: sizes in bytes, by path."""
    return json.dumps({"schemaVersion": _SCHEMA_VERSION, "files": dict(files)}, sort_keys=True)


def _files(folder: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    """Files below a folder with size and time of change; hidden ones are work in progress."""
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        if any(part.startswith(".") for part in relative.parts):
            continue
        try:
            if path.is_file() and not path.is_symlink():
                stat = path.stat()
                yield relative.as_posix(), (stat.st_size, stat.st_mtime_ns)
        except FileNotFoundError:
            continue


def _is_below(path: Any) -> bool:
    """Whether a listed path stays below the run's folder."""
    if not isinstance(path, str) or "\\" in path or "\0" in path:
        return False
    pure = PurePosixPath(path)
    return (
        not pure.is_absolute()
        and bool(pure.parts)
        and not any(part.startswith(".") for part in pure.parts)
    )


def _said(error: Exception) -> str:
    """An error of a protocol's library, up to where it begins to quote what a server answered.

    An endpoint in the run's environment may be of something that is no storage at all.
    """
    lines = without_credentials(str(error)).strip().splitlines()
    said = _QUOTED.split(lines[0], maxsplit=1)[0].rstrip(" :,'\"")[:_MOST_SAID] if lines else ""
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
