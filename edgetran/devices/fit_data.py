"""Reads tables of measurements that a simulated device is fitted to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic_core import from_json

from edgetran.api.errors import one_line
from edgetran.devices.names import DeviceError
from edgetran.space import Architecture, ArchitectureError
from edgetran.tabular import JSON_LINES, TableError, read_table

_LATENCY: Final = {"latency_ms": 1.0, "latency_s_per_sequence": 1e3}
_ENERGY: Final = {"energy_mj": 1.0, "energy_j_per_sequence": 1e3}
"""Columns of a measure, and what brings each to ms and mJ per sequence."""

_COLUMNS: Final = ("model_dict", *_LATENCY, *_ENERGY)
_GREATEST: Final = 1e300


@dataclass(frozen=True)
class DeviceMeasurement:
    """What one architecture took on the real device, per sequence; None where not measured."""

    architecture: Architecture
    latency_ms: float
    energy_mj: float | None = None


def read_device_measurements(path: Path | str) -> list[DeviceMeasurement]:
    """Rows of a table; a file whose name says no kind is JSON lines, as ProTran publishes them.

    Each has `model_dict` (JSON text in a CSV file) and `latency_ms` or `latency_s_per_sequence`,
    and may have `energy_mj` or `energy_j_per_sequence`; other columns are left aside.

    Raises:
        DeviceError: naming file, row and what is wrong with it.
    """
    try:
        table = read_table(path, _COLUMNS, otherwise=JSON_LINES)
    except TableError as error:
        raise DeviceError(str(error)) from None
    for wanted in (("model_dict",), tuple(_LATENCY)) if table.rows else ():
        if not set(wanted) & set(table.names):
            given = one_line(", ".join(table.names)) or "none"
            raise DeviceError(
                f"{table.head}: no column {' or '.join(wanted)}; the columns are {given}"
            )
    rows = []
    for index, values in enumerate(table.rows):
        try:
            rows.append(_measurement({key: _cell(values.get(key)) for key in _COLUMNS}))
        except (DeviceError, ArchitectureError) as error:
            raise DeviceError(f"{table.place(index)}: {error}") from None
    return rows


def _cell(value: Any) -> Any:
    """A cell of text as JSON, where it is JSON: CSV has nothing but text."""
    if not isinstance(value, str):
        return value
    if not value.strip():
        return None
    try:
        return from_json(value)
    except ValueError:
        return value


def _measurement(record: Mapping[str, Any]) -> DeviceMeasurement:
    latency_ms = _positive(record, _LATENCY)
    if latency_ms is None:
        raise DeviceError(f"{' or '.join(_LATENCY)} is missing")
    energy_mj = _positive(record, _ENERGY)
    model_dict = record.get("model_dict")
    return DeviceMeasurement(
        Architecture.from_model_dict({} if model_dict is None else model_dict),
        latency_ms,
        energy_mj,
    )


def _positive(record: Mapping[str, Any], factors: Mapping[str, float]) -> float | None:
    """The first of the columns that is given, in our unit; None where none is."""
    for key, factor in factors.items():
        value = record.get(key)
        if value is None:
            continue
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 < value < _GREATEST:
            shown = repr(value)
            shown = shown if len(shown) <= 60 else f"{shown[:59]}…"
            raise DeviceError(f"{key}: {shown} given; allowed is a number above 0")
        return float(value) * factor
    return None
