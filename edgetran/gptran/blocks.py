"""The blocks of a transformer that GPTran removes: their importance, and removals by index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetran.space import Architecture, Layer

Values = NDArray[np.float64]


class GPTranError(ValueError):
    """A plan, a step or a tree that cannot be carried out; the message says where and why."""


@dataclass(frozen=True)
class Importance:
    """How much each block matters to the loss; larger is more, 0 is not at all.

    Attributes:
        heads: per layer, one value per head, shape (n,).
        units: per layer and feed-forward matrix, one value per unit, shape (f,).
        layers: one value per layer, shape (l,).
        channels: one value per hidden channel, shape (h,), where every layer has the same
            hidden size; otherwise None.
    """

    heads: tuple[Values, ...]
    units: tuple[tuple[Values, ...], ...]
    layers: Values
    channels: Values | None = None

    @classmethod
    def uniform(cls, architecture: Architecture) -> Importance:
        """Every block as important as any other of its kind, summing to one per layer."""
        layers = architecture.layers
        return cls(
            heads=tuple(np.full(la.num_heads, 1.0 / la.num_heads) for la in layers),
            units=tuple(
                tuple(np.full(width, 1.0 / width) for width in la.feed_forward) for la in layers
            ),
            layers=np.ones(len(layers)),
            channels=_uniform_channels(architecture),
        )


@dataclass(frozen=True)
class Removal:
    """Blocks to cut out of a model, by their indexes in it.

    Attributes:
        heads: (layer, head) pairs.
        units: (layer, matrix, units) triples: units of one feed-forward matrix.
        matrices: (layer, matrix) pairs: whole matrices of feed-forward stacks.
        layers: whole layers.
        channels: hidden channels, cut out of every layer and of the embeddings.
    """

    heads: tuple[tuple[int, int], ...] = ()
    units: tuple[tuple[int, int, tuple[int, ...]], ...] = ()
    matrices: tuple[tuple[int, int], ...] = ()
    layers: tuple[int, ...] = ()
    channels: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "heads": [list(pair) for pair in self.heads],
            "units": [[layer, matrix, list(units)] for layer, matrix, units in self.units],
            "matrices": [list(pair) for pair in self.matrices],
            "layers": list(self.layers),
            "channels": list(self.channels),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Removal:
        """The inverse of `to_dict`."""
        return cls(
            heads=tuple((layer, head) for layer, head in data["heads"]),
            units=tuple((layer, matrix, tuple(units)) for layer, matrix, units in data["units"]),
            matrices=tuple((layer, matrix) for layer, matrix in data["matrices"]),
            layers=tuple(data["layers"]),
            channels=tuple(data["channels"]),
        )

    def apply(self, architecture: Architecture) -> Architecture:
        """The architecture without these blocks.

        Raises:
            GPTranError: an index is out of range or repeated, or a floor would be broken: a
                layer without heads, a feed-forward without width, a model without layers.
        """
        layers = list(architecture.layers)
        for index, layer in enumerate(layers):
            where = f"layer {index}"
            gone = _checked([h for i, h in self.heads if i == index], layer.num_heads, where)
            heads = tuple(t for h, t in enumerate(layer.head_types) if h not in gone)
            if not heads:
                raise GPTranError(f"{where}: removing {len(gone)} heads would leave none")
            widths = self._widths(index, layer)
            hidden = layer.hidden_size - len(
                _checked(self.channels, layer.hidden_size, "hidden channels")
            )
            if hidden < 1:
                raise GPTranError(f"{where}: removing every hidden channel would leave none")
            layers[index] = replace(
                layer, head_types=heads, feed_forward=widths, hidden_size=hidden
            )
        gone = _checked(self.layers, len(layers), "layers")
        kept = tuple(layer for index, layer in enumerate(layers) if index not in gone)
        if not kept:
            raise GPTranError("layers: the last layer cannot be removed")
        return Architecture(kept)

    def _widths(self, index: int, layer: Layer) -> tuple[int, ...]:
        where = f"layer {index}"
        widths = list(layer.feed_forward)
        for _, matrix, units in (cut for cut in self.units if cut[0] == index):
            _checked([matrix], len(widths), where)
            gone = _checked(units, layer.feed_forward[matrix], f"{where}, matrix {matrix}")
            widths[matrix] -= len(gone)
            if widths[matrix] < 1:
                raise GPTranError(f"{where}: feed-forward matrix {matrix} would have no width")
        gone = _checked([m for i, m in self.matrices if i == index], len(widths), where)
        kept = tuple(width for matrix, width in enumerate(widths) if matrix not in gone)
        if not kept:
            raise GPTranError(f"{where}: the last feed-forward matrix cannot be removed")
        return kept


def _uniform_channels(architecture: Architecture) -> Values | None:
    sizes = {layer.hidden_size for layer in architecture.layers}
    if len(sizes) > 1:
        return None
    size = sizes.pop()
    return np.full(size, 1.0 / size)


def _checked(indexes: list[int] | tuple[int, ...], size: int, where: str) -> set[int]:
    wrong = [index for index in indexes if not 0 <= index < size]
    if wrong:
        raise GPTranError(f"{where}: index {wrong[0]} given, allowed are 0 to {size - 1}")
    if len(set(indexes)) < len(indexes):
        raise GPTranError(f"{where}: an index is given twice in {sorted(indexes)}")
    return set(indexes)
