"""One clear message and an exit status for whatever goes wrong in a command."""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NoReturn

import typer

from edgetran.api import SpecError

WORKER_PACKAGES: Final = (
    "numpy", "scipy", "sklearn", "psutil", "pyarrow", "fsspec", "filelock", "torch",
)  # fmt: skip
"""What the extra `worker` brings and modules import without asking."""

FAILED: Final = 1
BAD_INPUT: Final = 2
INTERRUPTED: Final = 130


@contextmanager
def errors(folder: Path | None = None) -> Iterator[None]:
    """Turn an error into a message and an exit status; `folder` is the run's, if there is one."""
    try:
        yield
    except typer.Exit:
        raise
    except SpecError as error:
        fail(str(error), BAD_INPUT)
    except KeyboardInterrupt:
        fail("interrupted; finished work is kept, and the same command continues it", INTERRUPTED)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            fail(
                f"{folder}: no space left on the disk; finished work is kept: make room and run "
                "the same command again",
                FAILED,
            )
        fail(f"{error.filename or folder or ''}: {error.strerror or error}".lstrip(": "), FAILED)
    except ValueError as error:
        fail(str(error), BAD_INPUT)
    except Exception as error:  # noqa: BLE001 - the last resort: a sentence, the details in a file
        fail(_unexpected(error, folder), FAILED)


def fail(message: str, status: int) -> NoReturn:
    """Say what is wrong, a line per mistake, and end with `status`."""
    for line in message.splitlines():
        print(f"edgetran: {line}", file=sys.stderr)  # noqa: T201
    raise typer.Exit(status)


def missing_package(error: ModuleNotFoundError) -> str:
    """What to install."""
    return f'{error.name} is not installed: pip install "edgetran[worker]"'


def _unexpected(error: Exception, folder: Path | None) -> str:
    """The error in a sentence; the traceback of one that is not ours goes to a file."""
    if type(error).__module__.startswith("edgetran."):
        return str(error)
    if isinstance(error, ModuleNotFoundError) and error.name in WORKER_PACKAGES:
        return missing_package(error)
    import traceback

    text = f"{type(error).__name__}: {_first_line(str(error))}"
    if folder is None or not folder.is_dir():
        return text
    path = folder / "error.txt"
    try:
        path.write_text("".join(traceback.format_exception(error)), errors="backslashreplace")
    except OSError:  # the disk is full: the sentence must do
        return text
    return f"{text} (details in {path})"


def _first_line(text: str) -> str:
    """The first line that says something, without colours."""
    plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
    return next((line.strip() for line in plain.splitlines() if line.strip()), "")
