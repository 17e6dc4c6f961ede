"""Reading a table of anybody's: arrays, columns or a DataFrame, checked in whole before use."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgetran.api.field_errors import duplicate, not_found, unsupported
from edgetran.search.candidates import SearchError

_PARTS: Final = ("features", "device", "measures", "id")
_MOST_VALUES: Final = 64
"""A column of texts with more different ones than this describes nothing: it names rows."""

_UNIT: Final = "_"


@dataclass(frozen=True)
class PlainTable:
    """A table, read.

    Attributes:
        ids: what the rows are called, all different.
        devices: the device of each.
        features: (rows, columns), finite.
        measures: known costs by name, each (rows,), finite and not negative.
    """

    ids: tuple[Hashable, ...]
    devices: tuple[str, ...]
    features: NDArray[np.float64]
    measures: Mapping[str, NDArray[np.float64]]

    @property
    def fingerprint(self) -> str:
        """Identity of the table's content."""
        digest = hashlib.sha256(repr((self.ids, self.devices)).encode())
        digest.update(np.ascontiguousarray(self.features).tobytes())
        for name in sorted(self.measures):
            digest.update(name.encode() + np.ascontiguousarray(self.measures[name]).tobytes())
        return digest.hexdigest()[:16]


def read_table(table: Any, costs: Sequence[str], bounded: Sequence[str]) -> PlainTable:
    """Read and check a table.

    Args:
        table: see `edgetran.search.make`.
        costs: measures that must be there.
        bounded: measures that are taken where they are there.

    Raises:
        SearchError: what is wrong, where, and what is allowed.
    """
    parts = _parts(table, (*costs, *bounded))
    features = _matrix(parts["features"])
    count = len(features)
    if not count:
        raise SearchError("table: has no rows; at least one is needed")
    measures: dict[str, NDArray[np.float64]] = {}
    for name in dict.fromkeys((*costs, *bounded)):
        column = _find(parts["measures"], name)
        if column is not None:
            measures[name] = _costs(name, parts["measures"][column], count)
        elif name in costs:
            known = ", ".join(map(str, parts["measures"])) or "none"
            raise SearchError(f"objective: {not_found(name, f'the table has {known}')}")
    ids = tuple(_plain(each) for each in parts["id"] or range(count))
    devices = tuple(str(each) for each in parts["device"] or ["device"] * count)
    for name, column_ in (("id", ids), ("device", devices)):
        if len(column_) != count:
            raise SearchError(f"table.{name}: {len(column_)} given for {count} rows of features")
    if len(set(ids)) < count:
        twice = next(each for each in ids if ids.count(each) > 1)
        raise SearchError(f"table.id: {duplicate(twice)}")
    return PlainTable(ids, devices, features, measures)


def _parts(table: Any, measures: Sequence[str]) -> dict[str, Any]:
    """Features, device, measures and id of any form of table."""
    frame = _is_frame(table)
    if not frame and not isinstance(table, Mapping):
        raise SearchError(
            f"table: a {type(table).__name__}; must be a DataFrame, a mapping of columns, or a "
            f"mapping with {', '.join(_PARTS)}"
        )
    if not frame and "features" in table:
        unknown = [str(key) for key in table if key not in _PARTS]
        if unknown:
            raise SearchError(f"table: {unsupported(unknown[0], _PARTS)}")
        given = table.get("measures")
        if given is None:
            given = {}
        if not _is_frame(given) and not isinstance(given, Mapping):
            raise SearchError(
                f"table.measures: a {type(given).__name__}; must be a mapping of columns or a "
                "DataFrame"
            )
        return {
            "features": table["features"],
            "measures": {name: given[name] for name in given},
            "device": _listed(table.get("device")),
            "id": _listed(table.get("id")),
        }
    columns = {name: table[name] for name in table}
    ids = _listed(columns.pop("id", None))
    if ids is None and frame and table.index.is_unique:
        ids = list(table.index)
    device = _listed(columns.pop("device", None))
    columns.pop("accuracy", None)  # the answer: it is told, not looked up
    chosen = {column for name in measures if (column := _find(columns, name)) is not None}
    features = {name: column for name, column in columns.items() if name not in chosen}
    if not features:
        raise SearchError("table: has no columns of features; at least one is needed")
    return {
        "features": _columns(features),
        "measures": {name: columns[name] for name in chosen},
        "device": device,
        "id": ids,
    }


def _find(columns: Mapping[str, Any], name: str) -> str | None:
    """The column of a measure: of its name, or of its name with a unit where only one is."""
    if name in columns:
        return name
    near = [str(each) for each in columns if str(each).rpartition(_UNIT)[0] == name]
    return near[0] if len(near) == 1 else None


def _columns(features: Mapping[Any, Any]) -> NDArray[np.float64]:
    """Columns side by side; one of texts becomes a column per value."""
    made: list[NDArray[np.float64]] = []
    lengths = {name: len(column) for name, column in features.items()}
    if len(set(lengths.values())) > 1:
        raise SearchError(f"table: columns of different lengths given, {lengths}")
    for name, column in features.items():
        values = np.asarray(column)
        if values.ndim != 1:
            raise SearchError(
                f"table.{name}: an array of shape {values.shape}; must have one value per row"
            )
        if values.dtype.kind in "biuf":
            made.append(values.astype(np.float64)[:, None])
            continue
        texts = [str(each) for each in values.tolist()]
        different = sorted(set(texts))
        if len(different) > _MOST_VALUES:
            raise SearchError(
                f"table.{name}: {len(different)} different texts; must be numbers, or at most "
                f"{_MOST_VALUES} texts (what names rows is `id`)"
            )
        made.append(np.array([[text == each for each in different] for text in texts], dtype=float))
    return np.hstack(made)


def _matrix(features: Any) -> NDArray[np.float64]:
    if _is_frame(features):
        features = _columns({name: features[name] for name in features})
    try:
        matrix = np.array(features, dtype=np.float64)
    except (TypeError, ValueError):
        raise SearchError(
            "table.features: not a matrix of numbers; must be an array (rows, columns)"
        ) from None
    if matrix.ndim != 2:
        raise SearchError(
            f"table.features: an array of shape {matrix.shape}; must be of shape (rows, columns)"
        )
    return matrix


def _costs(name: str, column: Any, count: int) -> NDArray[np.float64]:
    try:
        values = np.array(column, dtype=np.float64)
    except (TypeError, ValueError):
        raise SearchError(f"table.measures.{name}: not all are numbers") from None
    if values.shape != (count,):
        raise SearchError(
            f"table.measures.{name}: an array of shape {values.shape} given for {count} rows of "
            "features"
        )
    wrong = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if len(wrong):
        raise SearchError(
            f"table.measures.{name}: {values[wrong[0]]:g} in row {wrong[0]}; must be finite "
            "numbers of at least 0"
        )
    return values


def _is_frame(table: Any) -> bool:
    return hasattr(table, "columns") and hasattr(table, "index") and hasattr(table, "dtypes")


def _listed(column: Any) -> list[Any] | None:
    return None if column is None else list(column)


def _plain(value: Any) -> Hashable:
    """Numbers of numpy as those of Python."""
    plain: Hashable = value.item() if isinstance(value, np.generic) else value
    return plain
