"""SIGTERM: the worker saves what it has and ends, whatever its main thread is doing.

The signal's number arrives in a pipe (`signal.set_wakeup_fd`), also while the main thread is in a
long call into C, and a thread that waits there does the rest. All state is in logs that survive a
kill at any moment, so the main thread need not come to an end.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType


def on_sigterm(stop: Callable[[], None]) -> None:
    """Call `stop`, once, in a thread of its own when SIGTERM comes; use it in the main thread."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    os.register_at_fork(before=_hold, after_in_parent=_let_through, after_in_child=_as_usual)
    signal.signal(signal.SIGTERM, _left_to_the_thread)

    def wait() -> None:
        while os.read(reader, 1) != bytes([signal.SIGTERM]):
            pass
        stop()

    threading.Thread(target=wait, name="sigterm", daemon=True).start()


def _left_to_the_thread(signum: int, frame: FrameType | None) -> None:
    """A handler of Python's own must stand there for the signal to reach the pipe."""


def _hold() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _let_through() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _as_usual() -> None:
    """In a forked child, which has the same pipe: its own SIGTERM ends the child alone."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _let_through()
