"""The blocks of weights that an alignment carries from a parent model to a child model.

One list serves both the count (`predicted_transfer_ratio`) and the copy (`transfer_weights`), so
that the ratio told beforehand is the one that happens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from edgetran.models.alignment import Alignment, LayerAlignment, stack_matrices
from edgetran.models.layout import HeadLayout
from edgetran.space import Architecture, Layer


@dataclass(frozen=True)
class Axis:
    """A range of one axis of a child parameter and the range of the parent's it continues.

    Attributes:
        kind: what the axis counts: `hidden`, `dim` (head dimension) and `unit` (feed-forward)
            are spaces that may be projected; `fixed` ones (tokens, taps, labels) are not.
        child: first index and length in the child.
        parent: first index and length in the parent.
    """

    kind: str
    child: tuple[int, int]
    parent: tuple[int, int]

    @property
    def overlap(self) -> int:
        """Length of the block that both have."""
        return min(self.child[1], self.parent[1])

    def taken(self, project: bool) -> int:
        """Length of the child's block that the parent determines."""
        return self.child[1] if project and self.kind != "fixed" else self.overlap


@dataclass(frozen=True)
class Block:
    """A block of a parameter; names are those of `FlexiBertModel`, or of a top's own part.

    Attributes:
        child: name of the child's parameter.
        parent: name of the parent's parameter.
        axes: one per dimension.
        scale: whether it multiplies elementwise (a LayerNorm's weight).
    """

    child: str
    parent: str
    axes: tuple[Axis, ...]
    scale: bool = False

    def taken(self, project: bool) -> int:
        """Number of the child's parameters that the parent determines."""
        return prod(axis.taken(project) for axis in self.axes)


def whole(kind: str, child: int, parent: int) -> Axis:
    """An axis taken from its start."""
    return Axis(kind, (0, child), (0, parent))


def encoder_blocks(
    parent: Architecture, child: Architecture, alignment: Alignment
) -> Iterator[Block]:
    """Blocks of the encoder's layers, without their projections."""
    for i, aligned in enumerate(alignment.layers):
        if aligned.parent is not None:
            ours, theirs = f"layers.{i}.", f"layers.{aligned.parent}."
            for block in layer_blocks(parent.layers[aligned.parent], child.layers[i], aligned):
                yield Block(ours + block.child, theirs + block.parent, block.axes, block.scale)


def connection_blocks(
    parent: Architecture, child: Architecture, alignment: Alignment
) -> Iterator[Block]:
    """Blocks of the hidden-size projections behind layers, and of the pooler."""
    ours, theirs = ([layer.hidden_size for layer in a.layers] for a in (child, parent))
    for i, aligned in enumerate(alignment.layers):
        j = aligned.parent
        if j is None or i + 1 == len(ours) or j + 1 == len(theirs):
            continue
        if ours[i] != ours[i + 1] and theirs[j] != theirs[j + 1]:
            yield from _linear(
                f"layers.{i}.projection",
                f"layers.{j}.projection",
                whole("hidden", ours[i + 1], theirs[j + 1]),
                whole("hidden", ours[i], theirs[j]),
            )
    last = whole("hidden", ours[-1], theirs[-1])
    yield from _linear("pooler", "pooler", last, last)


def embedding_blocks(
    parent: Architecture, child: Architecture, sizes: dict[str, tuple[int, int]]
) -> Iterator[Block]:
    """Blocks of the embeddings.

    Args:
        parent: the trained architecture.
        child: the new architecture.
        sizes: number of rows of each table, `word_embeddings` and so on, in child and parent.
    """
    width = whole("hidden", child.layers[0].hidden_size, parent.layers[0].hidden_size)
    for name, (ours, theirs) in sizes.items():
        table = f"embeddings.{name}.weight"
        yield Block(table, table, (whole("fixed", ours, theirs), width))
    yield from _norm("embeddings.LayerNorm", width)


def layer_blocks(parent: Layer, child: Layer, aligned: LayerAlignment) -> Iterator[Block]:
    """Blocks of an encoder layer, without its projection; names start at the layer."""
    hidden = whole("hidden", child.hidden_size, parent.hidden_size)
    yield Block("attention.output.bias", "attention.output.bias", (hidden,))
    yield from _norm("attention.LayerNorm", hidden)
    yield from _norm("feed_forward.LayerNorm", hidden)
    layouts = HeadLayout.of(child), HeadLayout.of(parent)
    for head, source in enumerate(aligned.heads):
        if source is not None:
            yield from _head(layouts[0], layouts[1], head, source, hidden)
    ours = (child.hidden_size, *child.feed_forward, child.hidden_size)
    theirs = (parent.hidden_size, *parent.feed_forward, parent.hidden_size)
    depths = len(child.feed_forward), len(parent.feed_forward)
    for i, j, inputs_too in stack_matrices(aligned.feed_forward, depths[1]):
        if j is None:
            continue
        names = f"feed_forward.dense.{i}.", f"feed_forward.dense.{j}."
        kind_in, kind_out = "unit" if i else "hidden", "unit" if i < depths[0] else "hidden"
        outputs = whole(kind_out, ours[i + 1], theirs[j + 1])
        yield Block(names[0] + "bias", names[1] + "bias", (outputs,))
        if inputs_too:
            inputs = whole(kind_in, ours[i], theirs[j])
            yield Block(names[0] + "weight", names[1] + "weight", (outputs, inputs))


def _linear(child: str, parent: str, outputs: Axis, inputs: Axis) -> Iterator[Block]:
    yield Block(f"{child}.weight", f"{parent}.weight", (outputs, inputs))
    yield Block(f"{child}.bias", f"{parent}.bias", (outputs,))


def _norm(name: str, width: Axis) -> Iterator[Block]:
    yield Block(f"{name}.weight", f"{name}.weight", (width,), scale=True)
    yield Block(f"{name}.bias", f"{name}.bias", (width,))


def _head(
    ours: HeadLayout, theirs: HeadLayout, head: int, source: int, hidden: Axis
) -> Iterator[Block]:
    """Everything that belongs to one head: rows of Q, K and V, own weights, output columns."""

    def rows(first: int, parent_first: int) -> Axis:
        sizes = ours.head_dim, theirs.head_dim
        return Axis("dim", (first * sizes[0], sizes[0]), (parent_first * sizes[1], sizes[1]))

    both = (ours, head), (theirs, source)
    queries = [layout.query_slot(index) for layout, index in both]
    slots = [layout.slots[index] for layout, index in both]
    counts = [layout.num_queries for layout, _ in both]
    starts = [(2 * counts[0] + slots[0], 2 * counts[1] + slots[1])]
    if queries[0] is not None and queries[1] is not None:
        starts += [(queries[0] + k * counts[0], queries[1] + k * counts[1]) for k in (0, 1)]
    name = "attention.query_key_value."
    for start in starts:
        yield Block(name + "weight", name + "weight", (rows(*start), hidden))
        yield Block(name + "bias", name + "bias", (rows(*start),))
    name = "attention.output.weight"
    yield Block(name, name, (hidden, rows(slots[0], slots[1])))
    dim = whole("dim", ours.head_dim, theirs.head_dim)
    weightings = [layout.weighting_slot(index) for layout, index in both]
    if weightings[0] is not None and weightings[1] is not None:
        name = "attention.scores.weighting"
        yield Block(name, name, (_one(weightings[0], weightings[1]), dim, dim))
    convolutions = [layout.convolution_slot(index) for layout, index in both]
    if convolutions[0] is not None and convolutions[1] is not None:
        yield from _convolution(ours, theirs, convolutions[0], convolutions[1], dim)


def _one(child: int, parent: int) -> Axis:
    return Axis("fixed", (child, 1), (parent, 1))


def _convolution(
    ours: HeadLayout, theirs: HeadLayout, slot: int, source: int, dim: Axis
) -> Iterator[Block]:
    spans = ours.spans[slot], theirs.spans[source]
    shared = min(spans)
    # Kernels of different spans share their middle.
    firsts = [
        layout.first_tap(index) + (width - shared) // 2
        for layout, index, width in ((ours, slot, spans[0]), (theirs, source, spans[1]))
    ]
    taps = Axis("fixed", (firsts[0], shared), (firsts[1], shared))
    one = _one(slot, source)
    for name, axes in {
        "depthwise": (taps, dim),
        "pointwise": (one, dim, dim),
        "pointwise_bias": (one, dim),
        "kernel": (taps, dim),
        "kernel_bias": (taps,),
        "value": (one, dim, dim),
        "value_bias": (one, dim),
    }.items():
        yield Block(f"attention.convolution.{name}", f"attention.convolution.{name}", axes)
