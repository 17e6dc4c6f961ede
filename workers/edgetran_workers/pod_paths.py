"""Where a worker finds and leaves things in its pod."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgetran.api.wire import DATA_PATH, SEARCH_PATH, STORAGE_PATH, TERMINATION_LOG, WORK_PATH


@dataclass(frozen=True)
class PodPaths:
    """Paths of a pod.

    Attributes:
        work: folder of the mounted work.
        storage: where the run's folder lies: a volume claim, or a folder of the pod's own.
        search: the storage of the search whose winner is refined, where that is a claim.
        data: the task's files, where they lie apart from the storage.
        termination_log: gets one JSON object that says how the worker ended.
    """

    work: Path = Path(WORK_PATH)
    storage: Path = Path(STORAGE_PATH)
    search: Path = Path(SEARCH_PATH)
    data: Path = Path(DATA_PATH)
    termination_log: Path = Path(TERMINATION_LOG)
