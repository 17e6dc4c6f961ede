"""An architecture as boxes and bars, layer by layer; the template turns them into SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from edgetran.report.wording import HEAD_NAMES
from edgetran.space import Architecture, Layer

WIDTH: Final = 360.0
_LEFT: Final = 62.0  # room for "Layer 12" and the hidden size
_INNER: Final = WIDTH - _LEFT - 12
_HEADS_PER_ROW: Final = 8
_HEAD_HEIGHT: Final = 22.0
_BAR_HEIGHT: Final = 16.0
_GAP: Final = 4.0
_PADDING: Final = 8.0
_BETWEEN: Final = 14.0
_END_HEIGHT: Final = 26.0

_SHORT: Final = {
    "sa_sdp": "SDP", "sa_wma": "WMA", "l_dft": "DFT", "l_dct": "DCT",
    "c_5": "C5", "c_9": "C9", "c_13": "C13",
}  # fmt: skip


@dataclass(frozen=True)
class Box:
    """A rectangle with a label; `kind` is its class of style, a head type or a part's name."""

    x: float
    y: float
    width: float
    height: float
    label: str
    kind: str
    title: str = ""


@dataclass(frozen=True)
class DrawnLayer:
    """One encoder layer: its frame, what stands to the left of it, and its boxes."""

    frame: Box
    name: str
    hidden_size: int
    boxes: tuple[Box, ...]
    changed: bool


@dataclass(frozen=True)
class Drawing:
    """A drawing of `width` × `height` units; `ends` are the embedding and the top."""

    title: str
    width: float
    height: float
    ends: tuple[Box, ...]
    layers: tuple[DrawnLayer, ...]
    arrows: tuple[tuple[float, float, float], ...]  # x, y from, y to
    description: str


def draw(title: str, architecture: Architecture, *, before: Architecture | None = None) -> Drawing:
    """Draw an architecture; layers that differ from those of `before` are marked as changed."""
    widest = max(
        width
        for each in (architecture, before or architecture)
        for layer in each.layers
        for width in layer.feed_forward
    )
    old = [] if before is None else [_shape(layer) for layer in before.layers]
    first = architecture.layers[0].hidden_size
    middle = _LEFT + _INNER / 2
    ends = [Box(_LEFT, 1, _INNER, _END_HEIGHT, f"Embeddings → {first}", "end")]
    layers: list[DrawnLayer] = []
    arrows: list[tuple[float, float, float]] = []
    y = 1 + _END_HEIGHT
    for index, layer in enumerate(architecture.layers):
        arrows.append((middle, y, y + _BETWEEN))
        y += _BETWEEN
        boxes, height = _boxes(layer, y, widest)
        changed = bool(old) and (index >= len(old) or old[index] != _shape(layer))
        frame = Box(_LEFT, y, _INNER, height, "", "frame")
        layers.append(
            DrawnLayer(frame, f"Layer {index + 1}", layer.hidden_size, tuple(boxes), changed)
        )
        y += height
    arrows.append((middle, y, y + _BETWEEN))
    y += _BETWEEN
    last = architecture.layers[-1].hidden_size
    ends.append(Box(_LEFT, y, _INNER, _END_HEIGHT, f"Pooler {last} → classifier", "end"))
    heads = sum(layer.num_heads for layer in architecture.layers)
    return Drawing(
        title=title,
        width=WIDTH,
        height=y + _END_HEIGHT + 1,
        ends=tuple(ends),
        layers=tuple(layers),
        arrows=tuple(arrows),
        description=f"{title}: {architecture.num_layers} encoder layers, {heads} heads",
    )


def head_types(architectures: Sequence[Architecture]) -> list[tuple[str, str, str]]:
    """(type, short label, words) of every head type that occurs, for the legend."""
    used = {head for a in architectures for layer in a.layers for head in layer.head_types}
    return [(kind, _SHORT[kind], words) for kind, words in HEAD_NAMES.items() if kind in used]


def _shape(layer: Layer) -> tuple[object, ...]:
    """What two layers share when they are alike, whatever the order of heads."""
    return layer.hidden_size, sorted(layer.head_types), layer.head_dim, layer.feed_forward


def _boxes(layer: Layer, top: float, widest: int) -> tuple[list[Box], float]:
    """Heads in rows, then one bar per feed-forward width; and the height of all."""
    boxes: list[Box] = []
    room = _INNER - 2 * _PADDING
    columns = min(_HEADS_PER_ROW, max(4, layer.num_heads))
    width = (room - (columns - 1) * _GAP) / columns
    y = top + _PADDING
    for index, head in enumerate(layer.head_types):
        row, column = divmod(index, columns)
        x = _LEFT + _PADDING + column * (width + _GAP)
        place = y + row * (_HEAD_HEIGHT + _GAP)
        title = f"Head {index + 1}: {HEAD_NAMES[head]}, dimension {layer.head_dim}"
        boxes.append(Box(x, place, width, _HEAD_HEIGHT, _SHORT[head], head, title))
    rows = -(-layer.num_heads // columns)
    y += rows * (_HEAD_HEIGHT + _GAP) + 2
    for index, units in enumerate(layer.feed_forward, start=1):
        length = max(34.0, room * units / widest)
        x = _LEFT + _PADDING + (room - length) / 2
        title = f"Feed-forward {index}: {units} units"
        boxes.append(Box(x, y, length, _BAR_HEIGHT, str(units), "ff", title))
        y += _BAR_HEIGHT + 3
    return boxes, y - top + _PADDING - 3
