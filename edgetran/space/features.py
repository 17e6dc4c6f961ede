"""Features of an architecture for surrogates: counted physical quantities, never indices.

A measure of hardware is close to linear in MACs, bytes moved and launches, and those are sums
over layers; widths count by their logarithm. Whether an operation is bound by arithmetic or by
memory depends on the device, so the roofline's bytes are counted for a few ridges: per operation
the bytes that it moves, or those that a device of this ridge could have moved while it computed,
whichever are more. Caches and buffers see the largest part, not the sum. Counts are not scaled:
they span orders of magnitude, so a model that needs it takes log1p of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, pairwise
from math import log2
from typing import Final

import numpy as np
import numpy.typing as npt

from edgetran.space.architecture import HEAD_TYPES, Architecture, Layer
from edgetran.space.costs import (
    OPERATION_KINDS,
    Cost,
    check_workload,
    embedding_costs,
    layer_costs,
    projection_costs,
    top_costs,
)

_NO_MACS: Final = ("embedding", "activation", "normalisation")
_MAC_KINDS: Final = tuple(kind for kind in OPERATION_KINDS if kind not in _NO_MACS)

_SUMMED: Final = (
    ("num_layers", "layers"),
    ("feed_forward_widths", "widths"),
    *((f"heads_{head}", "heads") for head in HEAD_TYPES),
    *((f"dims_{head}", "dimensions") for head in HEAD_TYPES),
    ("hidden_projections", "projections"),
    ("parameters", "parameters"),
    ("launches", "launches"),
    *((f"macs_{kind}", "MAC") for kind in _MAC_KINDS),
    *((f"bytes_{kind}", "byte") for kind in OPERATION_KINDS),
)
RIDGES: Final = (2, 8, 32)
"""Arithmetic intensities, operations per byte, at which boards of the edge turn from memory-bound
to compute-bound."""

_DISPATCHED: Final = (
    *((f"launches_{kind}", "launches") for kind in OPERATION_KINDS),
    *((f"roofline_{ridge}", "byte") for ridge in RIDGES),
)
_LARGEST: Final = (
    ("largest_part_macs", "MAC"),
    ("largest_part_bytes", "byte"),
    *((f"largest_{kind}_macs", "MAC") for kind in _MAC_KINDS),
)
_DERIVED: Final = (
    ("macs", "MAC"),
    ("bytes_moved", "byte"),
    ("log2_hidden_size_mean", "log2 dimensions"),
    ("log2_hidden_size_max", "log2 dimensions"),
    ("log2_feed_forward_width_mean", "log2 dimensions"),
    ("log2_feed_forward_width_max", "log2 dimensions"),
)

_ALL: Final = (*_SUMMED, *_DERIVED, *_DISPATCHED, *_LARGEST)

FEATURE_NAMES: Final = tuple(name for name, _ in _ALL)
"""Names of all features, in the order of the columns."""

FEATURE_UNITS: Final = tuple(unit for _, unit in _ALL)
"""Unit of each feature."""

SUMMARY_FEATURES: Final = len(_SUMMED) + len(_DERIVED)
"""The first so many columns describe the architecture; the others only how devices run it."""

_STRUCTURE: Final = 2 + 2 * len(HEAD_TYPES)  # columns that only layers fill
_MACS: Final = slice(_STRUCTURE + 3, _STRUCTURE + 3 + len(_MAC_KINDS))
_BYTES: Final = slice(_MACS.stop, len(_SUMMED))

_LOGARITHMS: Final = 3  # of widths, between the columns that are summed: mean and largest count

_CHUNK: Final = 4096
"""Architectures evaluated at once: bounds the table of layers to some ten megabytes."""

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class Features:
    """The features of one architecture under one workload.

    Attributes:
        names: what each value is, `FEATURE_NAMES`.
        units: unit of each value, `FEATURE_UNITS`.
        values: float64 of shape (k,).
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    values: Matrix

    def to_dict(self) -> dict[str, float]:
        """The values by name."""
        return dict(zip(self.names, self.values.tolist(), strict=True))


def features(
    architecture: Architecture,
    sequence_length: int,
    batch_size: int,
    *,
    vocab_size: int = 30522,
    bytes_per_value: int = 4,
    max_positions: int = 512,
    num_labels: int = 2,
) -> Features:
    """The features of any architecture, inside a design space or not.

    The arguments are those of `edgetran.space.operations`.

    Raises:
        CostError: a number below 1, or a sequence longer than `max_positions`.
    """
    matrix = feature_matrix(
        [architecture],
        sequence_length,
        batch_size,
        vocab_size=vocab_size,
        bytes_per_value=bytes_per_value,
        max_positions=max_positions,
        num_labels=num_labels,
    )
    return Features(FEATURE_NAMES, FEATURE_UNITS, matrix[0])


def feature_matrix(
    architectures: Iterable[Architecture],
    sequence_length: int,
    batch_size: int,
    *,
    vocab_size: int = 30522,
    bytes_per_value: int = 4,
    max_positions: int = 512,
    num_labels: int = 2,
) -> Matrix:
    """The features of n architectures: float64 of shape (n, k), columns `FEATURE_NAMES`.

    The arguments are those of `edgetran.space.operations`.

    Raises:
        CostError: a number below 1, or a sequence longer than `max_positions`.
    """
    check_workload(
        sequence_length=sequence_length,
        batch_size=batch_size,
        vocab_size=vocab_size,
        bytes_per_value=bytes_per_value,
        max_positions=max_positions,
        num_labels=num_labels,
    )

    def rows(architecture: Architecture) -> Iterator[Matrix]:
        layers = architecture.layers
        yield _outer_row(
            layers[0].hidden_size,
            layers[-1].hidden_size,
            sequence_length,
            batch_size,
            vocab_size,
            bytes_per_value,
            max_positions,
            num_labels,
        )
        for layer in layers:
            yield _layer_row(layer, sequence_length, batch_size, bytes_per_value)
        for one, other in pairwise(layers):
            if one.hidden_size != other.hidden_size:
                yield _projection_row(
                    one.hidden_size,
                    other.hidden_size,
                    sequence_length * batch_size,
                    bytes_per_value,
                )

    remaining = iter(architectures)
    chunks = [np.empty((0, len(FEATURE_NAMES)))]
    while chunk := [list(rows(architecture)) for architecture in islice(remaining, _CHUNK)]:
        chunks.append(_summarise(chunk))
    return np.concatenate(chunks)


def _summarise(rows_of_each: Sequence[list[Matrix]]) -> Matrix:
    """Add up the rows of each architecture; shape (n, k)."""
    lengths = [len(rows) for rows in rows_of_each]
    starts = np.cumsum([0, *lengths[:-1]])
    table = np.array([row for rows in rows_of_each for row in rows])
    summed = np.add.reduceat(table, starts, axis=0)
    largest = np.maximum.reduceat(table, starts, axis=0)
    hidden, width, widest = len(_SUMMED), len(_SUMMED) + 1, len(_SUMMED) + 2
    parts = np.stack((table[:, _MACS].sum(axis=1), table[:, _BYTES].sum(axis=1)), axis=1)
    derived = (
        summed[:, _MACS].sum(axis=1),
        summed[:, _BYTES].sum(axis=1),
        summed[:, hidden] / summed[:, 0],
        largest[:, hidden],
        summed[:, width] / summed[:, 1],
        largest[:, widest],
    )
    return np.column_stack(
        (
            summed[:, : len(_SUMMED)],
            *derived,
            summed[:, len(_SUMMED) + _LOGARITHMS :],
            np.maximum.reduceat(parts, starts, axis=0),
            largest[:, _MACS],
        )
    )


def _row(
    structure: Sequence[float],
    projections: int,
    costs: Sequence[Cost],
    bytes_per_value: int,
    logarithms: Sequence[float] = (0, 0, 0),
) -> Matrix:
    """The columns `_SUMMED` of some part of an architecture, three logarithms, `_DISPATCHED`."""
    multiply, moved = dict.fromkeys(_MAC_KINDS, 0), dict.fromkeys(OPERATION_KINDS, 0)
    launched, bound = dict.fromkeys(OPERATION_KINDS, 0), [0.0] * len(RIDGES)
    parameters = launches = 0
    for cost in costs:
        if cost.kind in multiply:
            multiply[cost.kind] += cost.macs
        traffic = cost.bytes_moved(bytes_per_value)
        moved[cost.kind] += traffic
        parameters += cost.parameters
        launches += cost.launches
        launched[cost.kind] += cost.launches
        for i, ridge in enumerate(RIDGES):
            bound[i] += max(2 * cost.macs / ridge, traffic)
    columns = (*structure, projections, parameters, launches, *multiply.values(), *moved.values())
    return np.array((*columns, *logarithms, *launched.values(), *bound), dtype=np.float64)


@lru_cache(maxsize=1 << 16)
def _layer_row(layer: Layer, sequence_length: int, batch_size: int, bytes_per_value: int) -> Matrix:
    heads = [layer.head_types.count(head) for head in HEAD_TYPES]
    dims = [layer.head_dim * number for number in heads]
    widths = [log2(width) for width in layer.feed_forward]
    costs = layer_costs(layer, sequence_length, batch_size)
    logarithms = (log2(layer.hidden_size), sum(widths), max(widths))
    structure = (1, len(widths), *heads, *dims)
    return _row(structure, 0, costs, bytes_per_value, logarithms)


@lru_cache(maxsize=1 << 12)
def _projection_row(inputs: int, outputs: int, positions: int, bytes_per_value: int) -> Matrix:
    costs = projection_costs(inputs, outputs, positions)
    return _row((0,) * _STRUCTURE, 1, costs, bytes_per_value)


@lru_cache(maxsize=1 << 12)
def _outer_row(
    first: int,
    last: int,
    sequence_length: int,
    batch_size: int,
    vocab_size: int,
    bytes_per_value: int,
    max_positions: int,
    num_labels: int,
) -> Matrix:
    """Embeddings, pooler and classifier."""
    costs = (
        *embedding_costs(first, sequence_length, batch_size, vocab_size, max_positions),
        *top_costs(last, batch_size, num_labels),
    )
    return _row((0,) * _STRUCTURE, 0, costs, bytes_per_value)
