"""Whether the paths that resources name stay in their volume, links included."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from edgetran.api import Resource, SpecError
from edgetran.api.allowances import file_paths
from edgetran.api.errors import path_text
from edgetran.api.field_errors import forbidden
from edgetran.runner.chain import problem_of

_VOLUMES = (("spec", "storage"), ("spec", "data"))
"""Where a path is one of a volume's own, which Kubernetes keeps inside."""


def refuse_paths_outside(resources: Iterable[Resource], base: Path) -> None:
    """Refuse files and folders that links lead out of `base`.

    Of a folder its own entries are looked at: nothing below them is read.

    Raises:
        SpecError: with every path that leads outside.
    """
    root = base.resolve()
    problems = [
        problem_of(
            resource,
            path_text(path),
            forbidden(f"{link} is a link that leads out of its volume"),
        )
        for resource in resources
        for path, text in file_paths(resource)
        if path[:2] not in _VOLUMES
        for link in _links_outside(base / text, root)
    ]
    if problems:
        raise SpecError(problems)


def _links_outside(path: Path, root: Path) -> Iterator[Path]:
    if not path.resolve().is_relative_to(root):
        yield path
    elif path.is_dir():
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(root):
                    yield Path(entry.path)
