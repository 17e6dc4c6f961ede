"""Measures as dashboards show them: metric, unit and words, from the table of measures."""

from __future__ import annotations

from typing import Final

from edgetran.api.measures import BY_NAME, Measure

_UNITS: Final = {
    "ratio": "percentunit",
    "seconds": "s",
    "joules": "joule",
    "watts": "watt",
    "bytes": "bytes",
}

LATENCY: Final = BY_NAME["latency_ms"]
ENERGY: Final = BY_NAME["energy_mj"]
ACCURACY: Final = BY_NAME["accuracy"]


def unit(measure: Measure) -> str:
    """Grafana's name of the base unit that Prometheus has the measure in."""
    return _UNITS.get(measure.base_unit, "short")


def where_sensed(measure: Measure) -> str:
    """The end of a sentence: when there is nothing to see."""
    return "; empty where no power source exists" if measure.sensed else ""
