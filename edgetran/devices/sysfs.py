"""Reading small files of /proc and /sys below a root, so that a test can bring its own tree.

What a driver answers may be anything: nothing, an error at each read (ENODATA, EIO), bytes that are
no text, a number that no register holds. None of it is an exception here.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

_LONGEST: Final = 4096
"""Bytes of an attribute of sysfs, at most."""

_LONGEST_TEXT: Final = 16 << 20
"""Bytes of a file of /proc that is read, at most: cpuinfo of a thousand cores has 2 MiB."""

_LONGEST_LABEL: Final = 128
"""Characters of a name; the kernel's have some twenty."""

_INTEGER: Final = re.compile(rb"[+-]?[0-9]{1,20}")
"""The kernel's integers have 64 bits, 20 digits; Python's would take thousands."""

_LARGEST: Final = 2**64


def read_text(path: Path) -> str | None:
    """The stripped content of a small file; None where it is absent or may not be read."""
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST_TEXT)
    except (OSError, ValueError):
        return None
    return content.decode(errors="replace").strip("\x00\n\t ")


def read_label(path: Path) -> str | None:
    """One line of printable characters, such as a name or a mode; None where there is no file."""
    text = read_text(path)
    if text is None:
        return None
    return "".join(c for c in text[:_LONGEST_LABEL] if c.isprintable()).strip()


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
    except (OSError, ValueError):
        return None
    content = content.strip(b"\x00\r\n\t ")
    if _INTEGER.fullmatch(content) is None:
        return None
    number = int(content)
    return number if abs(number) < _LARGEST else None


def why_no_integer(path: Path) -> str:
    """Why `read_int` gives None for a file, in a few words."""
    reason = why_unreadable(path)
    if reason is not None:
        return reason.removeprefix(f"{path}: ")
    return f"holds {(read_text(path) or '')[:20]!r}"


def why_unreadable(path: Path) -> str | None:
    """Why `path` cannot be read, in a few words; None where it can."""
    try:
        with path.open("rb") as file:
            file.read(1)
    except PermissionError:
        return f"{path}: permission denied"
    except OSError as error:
        return f"{path}: {(error.strerror or str(error)).lower()}"
    except ValueError as error:
        return f"{path}: {error}"
    return None
