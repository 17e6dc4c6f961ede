"""In which order the blocks of each part of a model go, and what the first k of them cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from edgetran.gptran.blocks import Importance, Values


@dataclass(frozen=True)
class Order:
    """The blocks of one part, least important first.

    Attributes:
        blocks: their indexes in the order in which they go, shape (n,).
        losses: importance lost with the first k of them, shape (n + 1,); from 0 on, never falling.
    """

    blocks: NDArray[np.int64]
    losses: Values

    @classmethod
    def by(cls, importance: Values) -> Self:
        """By importances of single blocks, which are taken to add up."""
        blocks = np.argsort(importance, kind="stable")
        return cls(blocks, np.concatenate([[0.0], np.cumsum(importance[blocks])]))

    @property
    def importance(self) -> Values:
        """What each block adds to the loss when it goes in its turn, shape (n,)."""
        values = np.empty(len(self.blocks))
        values[self.blocks] = np.diff(self.losses)
        return values

    def first(self, count: int) -> tuple[int, ...]:
        """The first `count` blocks that go, ascending."""
        return tuple(sorted(int(block) for block in self.blocks[:count]))


@dataclass(frozen=True)
class Cuts:
    """The orders of all parts of a model; losses of different parts are in one unit.

    Attributes:
        heads: one per layer.
        units: per layer, one per matrix of the feed-forward stack.
        layers: importance lost with each whole layer, shape (l,).
        channels: of the hidden channels, where all layers have the same hidden size.
    """

    heads: tuple[Order, ...]
    units: tuple[tuple[Order, ...], ...]
    layers: Values
    channels: Order | None = None

    @classmethod
    def of(cls, importance: Importance) -> Self:
        """By the importances of single blocks."""
        channels = importance.channels
        return cls(
            tuple(map(Order.by, importance.heads)),
            tuple(tuple(map(Order.by, stack)) for stack in importance.units),
            importance.layers,
            None if channels is None else Order.by(channels),
        )

    @property
    def importance(self) -> Importance:
        """Of single blocks, as each goes in its turn."""
        return Importance(
            tuple(order.importance for order in self.heads),
            tuple(tuple(order.importance for order in stack) for stack in self.units),
            self.layers,
            None if self.channels is None else self.channels.importance,
        )

    @property
    def even(self) -> Cuts:
        """The same orders, with losses by which every part gives the same share of its blocks.

        A layer is worth more than what all its blocks but the last are.
        """

        def spread(order: Order) -> Order:
            return Order(order.blocks, np.linspace(0, 1, len(order.losses)) ** 2)

        return Cuts(
            tuple(map(spread, self.heads)),
            tuple(tuple(map(spread, stack)) for stack in self.units),
            np.full(len(self.layers), 4.0),
            None if self.channels is None else spread(self.channels),
        )
