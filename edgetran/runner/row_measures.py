"""What an objective looks at, read from a row of a result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgetran.api.measures import HARDWARE
from edgetran.devices import Figure, HardwareFigures
from edgetran.search import Measures


def measures_of(row: Mapping[str, Any]) -> Measures:
    """What an objective looks at, of a finalist of result.json."""
    figures = row["figures"]
    told: dict[str, Any] = {
        each.name: _figure(figures[each.alias]) for each in HARDWARE if each.alias in figures
    }
    return Measures(
        accuracy=_figure(figures["validationAccuracy"]),
        hardware=HardwareFigures(**told),
        parameters=int(figures["parameters"]["value"]),
    )


def _figure(told: Mapping[str, Any]) -> Figure:
    if told["value"] is None:
        return Figure.missing("", told["source"], "not known")
    return Figure(told["value"], "", told["source"])
