"""A `Progress` that logs lines and keeps every event in the run's log.jsonl."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from edgetran.records import JsonLog
from edgetran.runner.progress import StageLog, StageState
from edgetran_workers.log import Log

PERIOD_S: Final = 10.0
"""Least time between two lines of one stage: a pod's log stays readable."""


class LoggedProgress:
    """Progress of a worker.

    Args:
        log: gets lines now and then.
        events: gets every event.
        clock: seconds, monotonic.
    """

    def __init__(
        self, log: Log, events: JsonLog, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._clock = clock
        self._events = StageLog(events, clock)

    def start(self, stage: str, *, total: int, done: int = 0) -> None:
        """A line says so."""
        self._tell(stage, self._events.start(stage, total, done), "started")

    def advance(self, stage: str, *, steps: int = 1, note: str = "") -> None:
        """A line says so, unless the last one was a moment ago."""
        state = self._events.advance(stage, steps, note)
        if self._clock() - state.printed >= PERIOD_S:
            self._tell(stage, state, "goes on")

    def finish(self, stage: str, *, note: str = "") -> None:
        """A line says so."""
        self._tell(stage, self._events.finish(stage, note), "finished")

    def log(self, message: str) -> None:
        """A line of its own."""
        self._events.message(message)
        self._log.info(message)

    def seconds_left(self, stage: str) -> float | None:
        """Time until the stage is done at the present pace; None where that is not known."""
        state = self._events.stages.get(stage)
        return None if state is None else state.seconds_left(self._clock())

    def _tell(self, stage: str, state: StageState, word: str) -> None:
        state.printed = self._clock()
        note = f", {state.note}" if state.note else ""
        self._log.info(
            f"{stage} {word}: {state.done}/{state.total}{note}",
            stage=stage,
            done=state.done,
            total=state.total,
        )
