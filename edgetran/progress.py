"""How long work reports what it is doing, without knowing who shows it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A sink for progress: progress bars on a terminal, metrics in a cluster, or nothing.

    Work is divided into stages, each known by its title. A stage that continues an earlier run
    starts with `done` > 0, which counts as progress but not towards the time left.
    """

    def start(self, stage: str, *, total: int, done: int = 0) -> None:
        """A stage begins with `total` steps, `done` of them already there."""

    def advance(self, stage: str, *, steps: int = 1, note: str = "") -> None:
        """`steps` more steps are done; `note` is a short text such as the best so far."""

    def finish(self, stage: str, *, note: str = "") -> None:
        """The stage is over, whether or not all its steps were needed."""

    def log(self, message: str) -> None:
        """A sentence worth keeping, e.g. why a trial failed."""


class SilentProgress:
    """A `Progress` that shows nothing."""

    def start(self, stage: str, *, total: int, done: int = 0) -> None:
        """Show nothing."""

    def advance(self, stage: str, *, steps: int = 1, note: str = "") -> None:
        """Show nothing."""

    def finish(self, stage: str, *, note: str = "") -> None:
        """Show nothing."""

    def log(self, message: str) -> None:
        """Show nothing."""
