"""Mount namespaces: what a node mounts is seen by that node alone, and goes away with it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from kube.processes import run

_FOLDER: Final = Path("/run/edgetran-mounts")
"""Holds a file per namespace; it is a mount of its own, as a namespace is kept on private ones."""


def create(name: str, places: Mapping[str, Path]) -> None:
    """Make a mount namespace in which other folders stand at some places.

    Args:
        name: of the node.
        places: a folder for each place; both are made where they are missing.
    """
    if not _is_mounted(_FOLDER):
        _FOLDER.mkdir(exist_ok=True)
        run("mount", "--bind", _FOLDER, _FOLDER)
        run("mount", "--make-private", _FOLDER)
    file = _FOLDER / name
    file.touch()
    run("unshare", f"--mount={file}", "true")
    for place, folder in places.items():
        Path(place).mkdir(parents=True, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        run(*within(name), "mount", "--bind", folder, place)


def within(name: str) -> list[str]:
    """What stands before a command that is to run in the namespace."""
    return ["nsenter", f"--mount={_FOLDER / name}", "--"]


def remove(name: str) -> None:
    """Let the namespace go, with all that is mounted in it once its processes have ended."""
    file = _FOLDER / name
    if file.exists():
        run("umount", file, check=False)
        file.unlink()
    if _is_mounted(_FOLDER) and not any(_FOLDER.iterdir()):
        run("umount", _FOLDER, check=False)
        shutil.rmtree(_FOLDER, ignore_errors=True)


def _is_mounted(place: Path) -> bool:
    """Whether something is mounted there, a folder of the same file system included."""
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    return any(mount.split()[1] == str(place) for mount in mounts)
