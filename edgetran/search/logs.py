"""The logs of a search, read: its header, its trials, and the result that they hold so far."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from edgetran.records import read_records
from edgetran.search.candidates import SearchError
from edgetran.search.objective import Objective
from edgetran.search.result import SearchResult
from edgetran.search.trials import SCHEMA_VERSION, Trial

PROPOSALS_NAME: Final = "proposals.jsonl"
"""The log of proposals, beside the log of trials."""


def read_trials(log_path: str | os.PathLike[str]) -> list[Trial]:
    """The trials of a log, by number; of several records of one the last.

    Raises:
        RecordError: the log holds something other than JSON objects.
        SearchError: a record of another schema version.
    """
    read = [Trial.from_dict(record) for record in read_records(log_path)]
    trials = {trial.number: trial for trial in read}
    return [trials[number] for number in sorted(trials)]


def read_result(log_path: str | os.PathLike[str]) -> SearchResult:
    """The result that the logs of a search hold so far.

    Raises:
        SearchError: there is no search's header beside the log.
    """
    header = read_header(Path(log_path).with_name(PROPOSALS_NAME))
    if header is None:
        raise SearchError(f"{log_path}: no search has begun here")
    objective = Objective.from_dict(header["objective"])
    return SearchResult(tuple(read_trials(log_path)), objective, tuple(header["notes"]))


def read_header(path: Path) -> dict[str, Any] | None:
    """The first record of the log of proposals; None where no search has begun.

    Raises:
        SearchError: another schema version.
    """
    records = read_records(path)
    if not records:
        return None
    header = records[0]
    if header.get("record") != "search" or header.get("schema_version") != SCHEMA_VERSION:
        raise SearchError(f"{path}:1: not the header of a search of schema {SCHEMA_VERSION}")
    return header
