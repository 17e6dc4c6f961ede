"""Where each head of a layer stands in its weights: grouped by type, so that heads batch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

from edgetran.space.architecture import HEAD_TYPES, Layer

MIXING_BY_SCORES = ("sa_sdp", "sa_wma")
MIXING_BY_TRANSFORM = ("l_dft", "l_dct")

_FAMILIES = {head_type: head_type.partition("_")[0] for head_type in HEAD_TYPES}


def family(head_type: str) -> str:
    """The family of a head type: `sa`, `l` or `c`."""
    return _FAMILIES[head_type]


def span(head_type: str) -> int:
    """The span k of a `c_k` head."""
    return int(head_type.partition("_")[2])


@dataclass(frozen=True)
class HeadLayout:
    """The order of a layer's heads in its weights.

    Heads are stored sorted by type in the order of `HEAD_TYPES` (stable), so that all heads of
    one type are one block. The concatenation of head outputs has that order too; the columns of
    the output projection follow it, which makes the layer equal to one that concatenates its
    heads in the architecture's order.

    Attributes:
        head_types: type of each head in the architecture's order.
        head_dim: dimension d of every head.
    """

    head_types: tuple[str, ...]
    head_dim: int

    @classmethod
    def of(cls, layer: Layer) -> HeadLayout:
        """The layout of an architecture's layer."""
        return _layout(layer.head_types, layer.head_dim)

    @cached_property
    def order(self) -> tuple[int, ...]:
        """`order[slot]` = index, in the architecture's order, of the head stored at `slot`."""
        return tuple(
            sorted(range(len(self.head_types)), key=lambda a: HEAD_TYPES.index(self.head_types[a]))
        )

    @cached_property
    def slots(self) -> tuple[int, ...]:
        """`slots[head]` = slot of that head among all heads (values, output columns)."""
        slots = [0] * len(self.order)
        for slot, head in enumerate(self.order):
            slots[head] = slot
        return tuple(slots)

    def count(self, *head_types: str) -> int:
        """Number of heads of the given types."""
        return sum(head in head_types for head in self.head_types)

    @property
    def num_heads(self) -> int:
        """Number of heads n."""
        return len(self.head_types)

    @cached_property
    def num_scores(self) -> int:
        """Number of `sa` heads, which have a score matrix."""
        return self.count(*MIXING_BY_SCORES)

    @cached_property
    def num_transforms(self) -> int:
        """Number of `l` heads, which have no query and no key."""
        return self.count(*MIXING_BY_TRANSFORM)

    @cached_property
    def spans(self) -> tuple[int, ...]:
        """Span k of each `c` head, in slot order."""
        types = (self.head_types[head] for head in self.order)
        return tuple(span(head) for head in types if family(head) == "c")

    @property
    def num_queries(self) -> int:
        """Number of heads with a query and a key: all but the `l` heads."""
        return self.num_heads - self.num_transforms

    def query_slot(self, head: int) -> int | None:
        """Slot of a head among the heads with a query; None for an `l` head."""
        if self.head_types[head] in MIXING_BY_TRANSFORM:
            return None
        slot = self.slots[head]
        return slot if slot < self.num_scores else slot - self.num_transforms

    def weighting_slot(self, head: int) -> int | None:
        """Slot of a head among the `sa_wma` heads; None for the others."""
        if self.head_types[head] != "sa_wma":
            return None
        return self.slots[head] - self.count("sa_sdp")

    def convolution_slot(self, head: int) -> int | None:
        """Slot of a head among the `c` heads; None for the others."""
        if family(self.head_types[head]) != "c":
            return None
        return self.slots[head] - self.num_scores - self.num_transforms

    def first_tap(self, slot: int) -> int:
        """First row of the `slot`-th `c` head in the rows of all spans."""
        return sum(self.spans[:slot])


@lru_cache(maxsize=4096)
def _layout(head_types: tuple[str, ...], head_dim: int) -> HeadLayout:
    return HeadLayout(head_types, head_dim)
