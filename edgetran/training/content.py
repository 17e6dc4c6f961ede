"""What files hold, by their hash: data, models and tokenizers of other content are other ones."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgetran.training.task import TaskError

if TYPE_CHECKING:
    from edgetran.training.reference import TaskReference
    from edgetran.training.task import Task

ROWS: Final = "rows"
"""The name under which the content of a task stands that comes from no file of the user's."""

_GLUE_PARTS: Final = ("train*", "dev*", "test*")
_TOKENIZER: Final = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "config.json",
)
_MODEL: Final = ("config.json", "*.safetensors", "*.safetensors.index.json")


def hashes(files: Mapping[str, Path]) -> dict[str, str]:
    """Sha-256 of each file, by its name; those that are not there are left out.

    Raises:
        OSError: a file cannot be read.
    """
    return {name: _hash(path) for name, path in files.items() if path.is_file()}


def task_files(reference: TaskReference) -> dict[str, Path]:
    """The files of a task, by part or name; none where it comes from elsewhere."""
    if reference.files is not None:
        return {part: Path(path) for part, path in reference.files.items()}
    if reference.folder is not None:
        return _matching(Path(reference.folder), _GLUE_PARTS)
    return {}


def model_files(folder: Path) -> dict[str, Path]:
    """Configuration, weights and tokenizer of a model's folder, by name."""
    return _matching(folder, _MODEL) | tokenizer_files(folder)


def tokenizer_files(folder: Path) -> dict[str, Path]:
    """The files that decide what a tokenizer does, by name."""
    return _matching(folder, _TOKENIZER)


def check_content(reference: TaskReference, task: Task) -> None:
    """Refuse a task whose files, or rows, are not those that the reference says.

    Call it when the task is loaded, so that what was read is what was asked for.

    Raises:
        TaskError: the content has changed.
    """
    expected = dict(reference.content or {})
    files = task_files(reference)
    found = hashes(files) if files else {ROWS: task.content_hash()}
    other = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
    if other:
        what = files.get(other[0], task.source)
        raise TaskError(
            f"{what}: has changed since the run began; put the old content back, or begin another "
            "run in another folder"
        )


def _matching(folder: Path, patterns: tuple[str, ...]) -> dict[str, Path]:
    """Files whose names, in small letters, match a pattern: readers mind no capitals either."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return {
        path.name: path
        for path in files
        if path.is_file() and any(fnmatchcase(path.name.lower(), each) for each in patterns)
    }


def _hash(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
