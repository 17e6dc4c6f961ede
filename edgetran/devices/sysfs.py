"""Reading small files of /proc and /sys below a root, so that a test can bring its own tree."""

from __future__ import annotations

from pathlib import Path


def read_text(path: Path) -> str | None:
    """The stripped content of a small file; None where it is absent or may not be read."""
    try:
        return path.read_text(errors="replace").strip("\x00\n\t ")
    except OSError:
        return None


def read_int(path: Path) -> int | None:
    """The integer a file holds; None where it is absent, unreadable or holds something else."""
    text = read_text(path)
    try:
        return int(text) if text is not None else None
    except ValueError:
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
