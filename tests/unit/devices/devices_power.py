"""What tests of power sources share."""

import stat
from pathlib import Path


def program(tmp_path: Path, text: str, name: str = "meter") -> str:
    """A program of those lines of `sh`; its path."""
    path = tmp_path / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)
