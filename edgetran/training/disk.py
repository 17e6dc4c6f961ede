"""Files and folders that other libraries write: whole or not at all, and on the disk."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from edgetran.records import sync_file, sync_folder


@contextmanager
def new_folder(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary folder to fill, which takes the place of `folder` when the block has ended well.

    Raises:
        OSError: no space, or no right to write there; `folder` is as it was.
    """
    folder = Path(folder)
    for left in folder.parent.glob(f".{folder.name}.*.tmp"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    temporary.mkdir(parents=True)
    try:
        with safetensors_errors(folder):
            yield temporary
        for path in temporary.rglob("*"):
            sync_file(path)
        sync_folder(temporary)
        if folder.exists():
            replaced = folder.with_name(f".{folder.name}.{os.getpid()}.old.tmp")
            folder.rename(replaced)
            temporary.rename(folder)
            shutil.rmtree(replaced)
        else:
            temporary.rename(folder)
        sync_folder(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def safetensors_errors(path: Path) -> Iterator[None]:
    """What safetensors could not write is an `OSError` as of any other file, with its number."""
    try:
        yield
    except SafetensorError as error:
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None:
            raise OSError(f"{path}: cannot be written ({error})") from None
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from None
