#!/usr/bin/env python
"""Write what is generated in charts/edgetran; `--check` only says which files are stale."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from generated import write_or_check
from helm.crd_templates import crd_template
from helm.measure_names import measure_names
from helm.values_files import values_schema, values_table, values_yaml

import crds
from edgetran import __version__

CHART: Final = Path(__file__).resolve().parent.parent / "charts" / "edgetran"

_TABLE: Final = re.compile(
    r"(?<=<!-- values: written by hack/chart\.py -->\n\n).*?(?=\n<!-- end)", re.S
)


def files() -> Iterator[tuple[Path, str]]:
    """Every generated file and what must be in it."""
    yield CHART / "values.yaml", values_yaml()
    yield CHART / "values.schema.json", values_schema()
    readme = CHART / "README.md"
    yield readme, _TABLE.sub(lambda _: values_table(), readme.read_text())
    yield CHART / "templates" / "_measures.tpl", measure_names()
    for path, text in crds.files():
        yield CHART / "templates" / "crds" / path.name, crd_template(text)
    chart = CHART / "Chart.yaml"
    versioned = re.sub(
        r"^(version|appVersion): .*$", rf'\1: "{__version__}"', chart.read_text(), flags=re.M
    )
    yield chart, versioned


def main(arguments: list[str]) -> int:
    """Write the files, or with `--check` say which are not as they must be."""
    definitions = (CHART / "templates" / "crds").glob("*")
    return write_or_check(arguments, dict(files()), by="make chart", beside=definitions)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
