"""Reading small files of /proc and /sys below a root, so that a test can bring its own tree."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_LONGEST: Final = 4096
"""Bytes of an attribute of sysfs, at most."""


def read_text(path: Path) -> str | None:
    """The stripped content of a small file; None where it is absent or may not be read."""
    try:
        return path.read_text(errors="replace").strip("\x00\n\t ")
    except OSError:
        return None


def read_int(path: Path) -> int | None:
    """The integer a file holds; None where it is absent, unreadable or holds something else.

    Sensors are read so while a model is timed, hence by bare system calls: each of the three lets
    another thread go first, and reading by a file object makes eight.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            content = os.read(file, _LONGEST)
        finally:
            os.close(file)
        return int(content.strip(b"\x00\n\t "))
    except (OSError, ValueError):
        return None


def why_unreadable(path: Path) -> str | None:
    """Why `path` cannot be read, in a few words; None where it can."""
    try:
        with path.open("rb") as file:
            file.read(1)
    except PermissionError:
        return f"{path}: permission denied"
    except OSError as error:
        return f"{path}: {(error.strerror or str(error)).lower()}"
    return None
