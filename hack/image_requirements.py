#!/usr/bin/env python
"""Print what an image installs besides EdgeTran itself: the dependencies of some extras.

Images install these in a layer of their own, which stays the same while only our code changes.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

PYPROJECT: Final = Path(__file__).resolve().parent.parent / "pyproject.toml"
_OWN: Final = re.compile(r"edgetran\[(?P<extras>[^]]+)\]")


def requirements(pyproject: Path, extras: Sequence[str]) -> list[str]:
    """The dependencies of the package and of its `extras`, each once, in order.

    Raises:
        KeyError: an extra that does not exist.
    """
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    found = [*project["dependencies"], *_of(extras, project["optional-dependencies"])]
    return sorted(set(found))


def _of(extras: Sequence[str], known: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for extra in extras:
        for requirement in known[extra]:
            own = _OWN.fullmatch(requirement)
            if own is None:
                yield requirement
            else:
                yield from _of(own["extras"].split(","), known)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python image_requirements.py PYPROJECT EXTRA,EXTRA")
    print(*requirements(Path(sys.argv[1]), sys.argv[2].split(",")), sep="\n")
