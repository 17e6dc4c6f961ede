"""Progress of a run: bars on a terminal, plain lines elsewhere, and every event in log.jsonl."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, ProgressColumn, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.progress import Task as Bar
from rich.table import Column
from rich.text import Text

from edgetran.progress import Progress
from edgetran.records import JsonLog

PLAIN_PERIOD_S: Final = 10.0
"""Least time between two plain lines of one stage: a log file stays readable."""

_TITLE_WIDTH: Final = 22


@dataclass
class StageState:
    """A stage's state: `done` of `total` steps, `inherited` of them by an earlier session."""

    total: int
    inherited: int
    started: float
    done: int
    note: str = ""
    printed: float = 0.0

    def seconds_left(self, now: float) -> float | None:
        """Remaining steps at this session's mean pace; None before its first step."""
        here = self.done - self.inherited
        if here <= 0:
            return None
        return (now - self.started) / here * max(0, self.total - self.done)


def duration(seconds: float | None) -> str:
    """Seconds as `m:ss` or `h:mm:ss`, `-:--` where unknown."""
    if seconds is None:
        return "-:--"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class StageLog:
    """The stages of a run as they stand, with every event in log.jsonl.

    Args:
        log: gets a record per event, with its time.
        clock: seconds, monotonic.
    """

    def __init__(self, log: JsonLog, clock: Callable[[], float] = time.monotonic) -> None:
        self.stages: dict[str, StageState] = {}
        self._log = log
        self._clock = clock

    def start(self, stage: str, total: int, done: int) -> StageState:
        """A stage begins."""
        now = self._clock()
        state = self.stages[stage] = StageState(total, done, now, done, printed=now)
        self._event("start", stage=stage, total=total, done=done)
        return state

    def advance(self, stage: str, steps: int, note: str) -> StageState:
        """Steps are done; an empty note leaves the one before."""
        state = self.stages[stage]
        state.done = min(state.total, state.done + steps)
        return self._moved("advance", stage, state, note)

    def finish(self, stage: str, note: str) -> StageState:
        """A stage is over."""
        return self._moved("finish", stage, self.stages[stage], note)

    def message(self, message: str) -> None:
        """A sentence worth keeping."""
        self._event("message", message=message)

    def _moved(self, event: str, stage: str, state: StageState, note: str) -> StageState:
        state.note = note or state.note
        self._event(event, stage=stage, total=state.total, done=state.done, note=state.note)
        return state

    def _event(self, event: str, **fields: Any) -> None:
        self._log.append({"time": datetime.now(UTC).isoformat(), "event": event} | fields)


class TerminalProgress:
    """Shows a `Progress` on the console; a context manager around the whole run.

    Args:
        console: where to show it; plain lines where it is no terminal.
        log: every event is appended here with its time.
        clock: seconds, monotonic.
    """

    def __init__(
        self, console: Console, log: JsonLog, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console
        self._clock = clock
        self._log = StageLog(log, clock)
        self._tasks: dict[str, TaskID] = {}
        self._bars: Bars | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bars = Bars(
                TextColumn("{task.fields[mark]}", table_column=_fixed()),
                TextColumn("{task.description}", table_column=_fixed()),
                BarColumn(bar_width=14, table_column=_fixed()),
                TextColumn("{task.completed:.0f}/{task.total:.0f}", table_column=_fixed()),
                _Left(self._log.stages, self._clock),
                TextColumn(
                    "[dim]{task.fields[note]}",
                    table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
                ),
                console=self._console,
                expand=True,
                refresh_per_second=4,
            )
            self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def start(self, stage: str, *, total: int, done: int = 0) -> None:
        """A bar appears, `done` of `total` steps filled."""
        self._log.start(stage, total, done)
        if self._bars is not None:
            if stage in self._tasks:
                self._bars.remove_task(self._tasks[stage])
            self._tasks[stage] = self._bars.add_task(
                escape(_title(stage).ljust(_TITLE_WIDTH)),
                total=total,
                completed=done,
                note="",
                mark="▸",
                stage=stage,
            )
        else:
            self._plain(stage, "started")

    def advance(self, stage: str, *, steps: int = 1, note: str = "") -> None:
        """The bar grows by `steps`; a non-empty `note` replaces the text beside it."""
        state = self._log.advance(stage, steps, note)
        if self._bars is not None:
            self._bars.update(
                self._tasks[stage], completed=state.done, note=escape(state.note), refresh=True
            )
        elif self._clock() - state.printed >= PLAIN_PERIOD_S:
            self._plain(stage)

    def finish(self, stage: str, *, note: str = "") -> None:
        """The bar is full and stays."""
        state = self._log.finish(stage, note)
        if self._bars is not None:
            self._bars.update(
                self._tasks[stage],
                total=max(1, state.done),
                completed=max(1, state.done),
                note=escape(state.note),
                mark="[green]✔",
                refresh=True,
            )
        else:
            self._plain(stage, "finished")

    def log(self, message: str) -> None:
        """A line above the bars."""
        self._log.message(message)
        console = self._bars.console if self._bars is not None else self._console
        console.print(f"  {message}", markup=False, highlight=False, soft_wrap=True)

    def _plain(self, stage: str, state_word: str = "") -> None:
        state = self._log.stages[stage]
        state.printed = self._clock()
        left = state.seconds_left(state.printed)
        parts = [f"{_title(stage)}: {state_word or f'{state.done}/{state.total}'}"]
        if state_word == "started":
            parts.append(f"{state.done}/{state.total} there already" if state.done else "")
        elif not state_word and left is not None:
            parts.append(f"{duration(left)} left")
        parts.append(state.note)
        text = ", ".join(part for part in parts if part)
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class Renamed:
    """A `Progress` that shows the single stage of a piece of work under another title."""

    def __init__(self, progress: Progress, title: str) -> None:
        self._progress = progress
        self._title = title

    def start(self, stage: str, *, total: int, done: int = 0) -> None:
        """Start the stage of the title."""
        del stage
        self._progress.start(self._title, total=total, done=done)

    def advance(self, stage: str, *, steps: int = 1, note: str = "") -> None:
        """Advance the stage of the title."""
        del stage
        self._progress.advance(self._title, steps=steps, note=note)

    def finish(self, stage: str, *, note: str = "") -> None:
        """Finish the stage of the title."""
        del stage
        self._progress.finish(self._title, note=note)

    def log(self, message: str) -> None:
        """Pass the message on."""
        self._progress.log(message)


def _title(stage: str) -> str:
    return stage[:1].upper() + stage[1:]


def _fixed() -> Column:
    """A column that is never narrowed for another's sake."""
    return Column(no_wrap=True, overflow="ellipsis")


class _Left(ProgressColumn):
    """Time left of an unfinished stage, time taken of a finished one."""

    def __init__(self, stages: dict[str, StageState], clock: Callable[[], float]) -> None:
        super().__init__()
        self._stages = stages
        self._clock = clock

    def get_table_column(self) -> Column:
        """As wide as its text."""
        return _fixed()

    def render(self, task: Bar) -> Text:
        if task.finished:
            return Text(duration(task.finished_time).rjust(9), style="dim")
        left = self._stages[task.fields["stage"]].seconds_left(self._clock())
        return Text(f"{duration(left)} left".rjust(9), style="cyan")
