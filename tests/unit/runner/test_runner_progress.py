"""Progress is shown as bars on a terminal, as lines elsewhere, and kept in the log."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from edgetran.records import JsonLog, read_records
from edgetran.runner.progress import StageState, TerminalProgress, duration


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def run(tmp_path: Path, *, terminal: bool) -> tuple[str, list[dict]]:
    clock = Clock()
    output = io.StringIO()
    console = Console(file=output, force_terminal=terminal, width=140)
    log = JsonLog(tmp_path / "log.jsonl")
    with TerminalProgress(console, log, clock=clock) as progress:
        progress.start("Search", total=4, done=1)
        for note in ("best 0.71", "", "best [0.75]"):
            clock.now += 20
            progress.advance("Search", note=note)
        progress.log("trial 3 failed: diverged")
        progress.finish("Search")
    return output.getvalue(), read_records(log.path)


@pytest.mark.parametrize("terminal", [True, False])
def test_what_runs_how_many_and_the_best_so_far_are_shown(tmp_path: Path, terminal: bool) -> None:
    text, _ = run(tmp_path, terminal=terminal)
    for part in ("Search", "4/4" if terminal else "3/4", "best [0.75]", "trial 3 failed: diverged"):
        assert part in text


def test_plain_lines_say_the_time_left(tmp_path: Path) -> None:
    text, _ = run(tmp_path, terminal=False)
    assert "Search: 2/4, 0:40 left, best 0.71" in text


def test_every_event_is_kept(tmp_path: Path) -> None:
    _, events = run(tmp_path, terminal=False)
    assert [(e["event"], e.get("done")) for e in events] == [
        ("start", 1),
        ("advance", 2),
        ("advance", 3),
        ("advance", 4),
        ("message", None),
        ("finish", 4),
    ]
    assert all(event["time"].endswith("+00:00") for event in events)


def test_steps_of_an_earlier_session_do_not_shorten_the_time_left() -> None:
    stage = StageState(total=10, inherited=5, started=0.0, done=5)
    assert stage.seconds_left(30.0) is None
    stage.done = 6
    assert stage.seconds_left(30.0) == 120.0


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-:--"), (0, "0:00"), (61.4, "1:01"), (3661, "1:01:01")]
)
def test_durations_read_as_clocks_do(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text
