#!/usr/bin/env python
"""Write the chart's Grafana dashboards; `--check` only says which files are stale."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from generated import write_or_check
from grafana.fleet import fleet
from grafana.operator_itself import operator_itself
from grafana.profiling import profiling
from grafana.search import search
from grafana_foundation_sdk.cog.encoder import JSONEncoder

FOLDER: Final = Path(__file__).resolve().parent.parent / "charts" / "edgetran" / "dashboards"


def dashboards() -> dict[str, dict[str, Any]]:
    """Every dashboard by its file's name."""
    builders = {
        "fleet": fleet(),
        "search": search(),
        "profiling": profiling(),
        "operator": operator_itself(),
    }
    made = {}
    for name, builder in builders.items():
        text = json.dumps(builder.build(), cls=JSONEncoder)
        made[f"{name}.json"] = _numbered(json.loads(text))
    return made


def _numbered(board: dict[str, Any]) -> dict[str, Any]:
    """The dashboard with identifiers of its panels, which links to panels need."""
    for number, panel in enumerate(board["panels"], 1):
        panel["id"] = number
    return board


def files() -> Iterator[tuple[Path, str]]:
    """Every generated file and what must be in it."""
    for name, board in dashboards().items():
        yield FOLDER / name, json.dumps(board, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def main(arguments: list[str]) -> int:
    """Write the files, or with `--check` say which are not as they must be."""
    return write_or_check(arguments, dict(files()), by="make chart", beside=FOLDER.glob("*.json"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
