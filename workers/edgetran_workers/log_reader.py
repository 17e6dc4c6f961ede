"""New whole lines of the logs in a run's folder, in the order in which they are seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from edgetran.runner.published import PublishedRecord

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
