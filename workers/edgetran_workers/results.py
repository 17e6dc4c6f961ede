"""Where results are kept in parts: what the publisher needs of it, and a folder that has it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from edgetran.api.wire import PART_KEY
from edgetran.records import write_atomically


class ResultsError(RuntimeError):
    """Results that cannot be read or written at the moment; one sentence."""


class MissingPartError(ResultsError):
    """A part that is not there, or not yet."""


class ConflictError(ResultsError):
    """A part that someone else changed since it was read."""


@dataclass(frozen=True)
class ResultsPart:
    """A part as it is stored.

    Attributes:
        records: bytes of `published.read_part`; empty where nothing was put there.
        data: further texts by key.
        version: changes with every change.
    """

    records: bytes = b""
    data: Mapping[str, str] = field(default_factory=dict)
    version: str = ""


class ResultsStore(Protocol):
    """Keeps numbered parts; others make them and may delete them."""

    def read(self, number: int) -> ResultsPart | None:
        """A part; None where it does not exist.

        Raises:
            ResultsError: the store does not answer.
        """

    def version(self, number: int) -> str | None:
        """The version of a part alone; None where it does not exist.

        Raises:
            ResultsError: the store does not answer.
        """

    def write(
        self, number: int, data: Mapping[str, str], records: bytes | None, version: str
    ) -> str:
        """Change a part that has that version; the version that it has then.

        Args:
            number: which part.
            data: texts to set; those of other keys stay.
            records: bytes to set; None leaves them.
            version: what it must have.

        Raises:
            MissingPartError: it does not exist.
            ConflictError: it has another version.
            ResultsError: the store does not answer.
        """


class FolderResults:
    """Parts as folders, `0`, `1` and so on, each made as soon as the one before is used.

    Args:
        folder: holds them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._make(0)

    def read(self, number: int) -> ResultsPart | None:
        """The content of the part's folder."""
        folder = self._folder / str(number)
        if not folder.is_dir():
            return None
        records = folder / PART_KEY
        data = {path.name: path.read_text() for path in sorted(folder.glob("*.json"))}
        content = records.read_bytes() if records.exists() else b""
        version = hashlib.sha256(content + json.dumps(data).encode()).hexdigest()
        return ResultsPart(content, data, version)

    def version(self, number: int) -> str | None:
        """A hash of the part's content."""
        part = self.read(number)
        return None if part is None else part.version

    def write(
        self, number: int, data: Mapping[str, str], records: bytes | None, version: str
    ) -> str:
        """Replace files of the part's folder."""
        found = self.version(number)
        if found is None:
            raise MissingPartError(f"{self._folder / str(number)}: no such part")
        if found != version:
            raise ConflictError(f"{self._folder / str(number)}: was changed")
        folder = self._folder / str(number)
        if records is not None:
            write_atomically(folder / PART_KEY, records)
        for key, text in data.items():
            write_atomically(folder / key, text)
        self._make(number + 1)
        return self.version(number) or ""

    def _make(self, number: int) -> None:
        (self._folder / str(number)).mkdir(parents=True, exist_ok=True)
