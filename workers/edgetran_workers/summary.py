"""The worker's summary: how the work stands, as the operator takes it over into the status."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

from edgetran.api import Reason, Resource
from edgetran.api.common import CommonStatus
from edgetran.api.wire import MESSAGE_CHARACTERS, Steps, WorkerSummary
from edgetran.runner.published import PublishedRecord


class StatusReporter(Protocol):
    """What one kind of work tells of itself, learnt from its logs."""

    def take(self, log: str, record: dict[str, Any]) -> None:
        """Learn from a record."""

    def status(self) -> CommonStatus:
        """The fields of the kind's status that are its own; others are left at their defaults."""

    def progress(self) -> tuple[int, int]:
        """Steps done, and steps in all."""

    def measures(self) -> dict[str, float]:
        """Numbers for metrics, by snake_case names with their units."""

    def ending(self) -> tuple[Reason, str]:
        """Why the finished work ended, and one sentence on the outcome."""


class Summary:
    """The summary of one worker's work; may be used by several threads.

    Args:
        resource: the work.
        reporter: what its kind tells.
        seconds_left: time until a stage is done; None where it is not known.
        artifacts: where models and reports are kept; None for nowhere.
    """

    def __init__(
        self,
        resource: Resource,
        reporter: StatusReporter,
        *,
        seconds_left: Callable[[str], float | None],
        artifacts: str | None = None,
    ) -> None:
        self._resource, self._reporter = resource, reporter
        self._seconds_left, self._artifacts = seconds_left, artifacts
        self._stage = self._note = ""
        self._reason, self._message = Reason.RUNNING, "the worker runs"
        self._ended = self._finished = False
        self._lock = threading.Lock()

    def take(self, record: PublishedRecord) -> None:
        """Learn from a record of the logs, in their order."""
        data = json.loads(record.line)
        with self._lock:
            if record.log == "log.jsonl":
                self._take_event(data)
            self._reporter.take(record.log, data)

    def finish(self) -> None:
        """All work is done."""
        with self._lock:
            self._reason, self._message = self._reporter.ending()
            self._ended = self._finished = True

    def stop(self, reason: Reason, message: str) -> None:
        """The worker ends before the work is done."""
        with self._lock:
            self._reason, self._message = reason, message
            self._ended = True

    def summary(self) -> WorkerSummary:
        """The summary as it stands."""
        with self._lock:
            steps = Steps(*self._reporter.progress())
            left = None if self._ended else self._seconds_left(self._stage)
            message = self._message
            if not self._ended and self._note:
                message = self._note
            return WorkerSummary(
                kind=self._resource.kind,
                finished=self._finished,
                reason=str(self._reason),
                message=message[:MESSAGE_CHARACTERS],
                progress=str(steps),
                stage="" if self._ended else self._stage[:128],
                status=self._status(),
                time_left_seconds=None if left is None else max(0, round(left)),
                artifacts=self._artifacts,
                updated=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                metrics=self._reporter.measures(),
            )

    def _status(self) -> dict[str, Any]:
        status = self._reporter.status()
        if self._ended and hasattr(status, "running"):
            status = status.model_copy(update={"running": 0})
        return status.model_dump(
            mode="json",
            by_alias=True,
            exclude_none=True,
            exclude_unset=True,  # what the reporter does not tell is the operator's
            exclude=set(CommonStatus.model_fields),
        )

    def _take_event(self, event: dict[str, Any]) -> None:
        kind, stage = event.get("event"), event.get("stage")
        if kind in ("start", "advance") and isinstance(stage, str):
            self._stage, self._note = stage, str(event.get("note") or "")
        elif kind in ("finish", "session", "phase"):
            self._stage = self._note = ""
