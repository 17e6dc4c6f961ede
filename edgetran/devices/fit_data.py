"""Reads tables of measurements that a simulated device is fitted to: JSON lines and CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgetran.devices.names import DeviceError
from edgetran.records import RecordError, read_records
from edgetran.space import Architecture, ArchitectureError

_LATENCY: Final = {"latency_ms": 1.0, "latency_s_per_sequence": 1e3}
_ENERGY: Final = {"energy_mj": 1.0, "energy_j_per_sequence": 1e3}
"""Columns of a measure, and what brings each to ms and mJ per sequence."""


@dataclass(frozen=True)
class DeviceMeasurement:
    """What one architecture took on the real device, per sequence; None where not measured."""

    architecture: Architecture
    latency_ms: float
    energy_mj: float | None = None


def read_device_measurements(path: Path | str) -> list[DeviceMeasurement]:
    """Rows of a `.csv` file, or of JSON lines in ProTran's published form.

    Each has `model_dict` (JSON text in a CSV file) and `latency_ms` or `latency_s_per_sequence`,
    and may have `energy_mj` or `energy_j_per_sequence`; other columns are left aside.

    Raises:
        DeviceError: naming file, row and what is wrong with it.
    """
    path = Path(path)
    if not path.is_file():
        raise DeviceError(f"{path}: no such file")
    rows = []
    for number, record in _csv_records(path) if path.suffix == ".csv" else _json_records(path):
        try:
            rows.append(_measurement(record))
        except (DeviceError, ArchitectureError) as error:
            raise DeviceError(f"{path}:{number}: {error}") from None
    return rows


def _json_records(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        yield from enumerate(read_records(path), start=1)
    except RecordError as error:
        raise DeviceError(str(error)) from None


def _csv_records(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The rows with their lines; cells as JSON where they are JSON."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            columns = reader.fieldnames or ()
            for wanted in (("model_dict",), tuple(_LATENCY)):
                if not set(wanted) & set(columns):
                    given = ", ".join(columns) or "none"
                    raise DeviceError(
                        f"{path}:1: no column {' or '.join(wanted)}; the columns are {given}"
                    )
            for row in reader:
                yield reader.line_num, {key: _cell(value) for key, value in row.items()}
    except UnicodeDecodeError:
        raise DeviceError(f"{path}: not UTF-8 text") from None
    except csv.Error as error:
        raise DeviceError(f"{path}: not CSV: {error}") from None


def _cell(text: Any) -> Any:
    if not isinstance(text, str) or not text.strip():
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text


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
        if not number or not 0 < value < float("inf"):
            raise DeviceError(f"{key}: {json.dumps(value)} given; allowed is a number above 0")
        return float(value) * factor
    return None
