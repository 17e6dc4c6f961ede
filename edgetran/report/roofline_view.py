"""A simulated device on the terminal: its numbers, and its roofline in Braille dots and marks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from edgetran.report.roofline import RooflineChart, number_rows

_DOTS: Final = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bit of each dot of a Braille character, by row and column (Unicode 15, block 2800)."""

_STEPS_PER_DOT: Final = 8  # so that a steep line has no holes
_MARGIN: Final = 9  # columns for the labels of the axis of rates
_WIDEST: Final = 110
_HEIGHTS: Final = (10, 24)


@dataclass
class _Canvas:
    """Cells of a logarithmic plot, 2 × 4 dots each."""

    width: int
    height: int
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    dots: dict[tuple[int, int], int] = field(default_factory=dict)
    marks: dict[tuple[int, int], tuple[str, str]] = field(default_factory=dict)
    styles: dict[tuple[int, int], str] = field(default_factory=dict)

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where (x, y) lies in cells, from the upper left."""
        across, up = _share(x, self.x_range), _share(y, self.y_range)
        return across * (self.width - 1), (1 - up) * (self.height - 1)

    def line(self, bound: Callable[[float], float], style: str, *, dashed: bool = False) -> None:
        """A function of x as dots, from edge to edge."""
        low, high = self.x_range
        steps = 2 * self.width * _STEPS_PER_DOT
        for step in range(steps):
            column = step // _STEPS_PER_DOT
            if dashed and column % 3:
                continue
            x = low * (high / low) ** (step / (steps - 1))
            dot = round(self.place(x, bound(x))[1] * 4 + 1.5)
            if 0 <= dot < 4 * self.height:
                cell = (column // 2, dot // 4)
                self.dots[cell] = self.dots.get(cell, 0) | _DOTS[dot % 4][column % 2]
                self.styles[cell] = style

    def row(self, index: int) -> Text:
        """One line of the canvas."""
        text = Text()
        for column in range(self.width):
            cell = (column, index)
            if cell in self.marks:
                text.append(*self.marks[cell])
            elif cell in self.dots:
                text.append(chr(0x2800 + self.dots[cell]), self.styles[cell])
            else:
                text.append(" ")
        return text


def roofline_view(chart: RooflineChart) -> RenderableType:
    """Every number of the device with its source, then the roofline.

    Returns:
        What `rich` can print, from 60 columns on.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("Number", overflow="fold")
    table.add_column("Value", justify="right", no_wrap=True)
    table.add_column("Source", overflow="fold", style="dim")
    for words, value, source in number_rows(chart.device):
        table.add_row(words, value, Text(source))
    return Group(
        Text.assemble((chart.device.name, "bold"), "  ", ("simulated", "yellow")),
        Text(chart.device.description),
        table,
        *(Text(sentence) for sentence in chart.sentences()),
        Text(),
        _Drawing(chart),
    )


@dataclass(frozen=True)
class _Drawing:
    """The chart in the width that there is."""

    chart: RooflineChart

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The lines of the drawing."""
        width = max(20, min(options.max_width, _WIDEST) - _MARGIN - 1)
        least, most = _HEIGHTS
        height = min(most, max(least, min(width // 4, console.size.height - 8)))
        chart = self.chart
        canvas = _Canvas(width, height, chart.intensities, chart.rates)
        canvas.line(chart.published_gflops, "dim", dashed=True)
        canvas.line(chart.roofline.bound_gflops, "bold yellow")
        self._mark(canvas)
        yield Text("GFLOP/s", "dim")
        labels = {round(canvas.place(chart.intensities[0], tick)[1]): tick
                  for tick in _ticks(chart.rates, height // 2)}  # fmt: skip
        for row in range(height):
            label = f"{labels[row]:g}" if row in labels else ""
            edge = "┤" if row in labels else "│"
            yield Text(f"{label:>{_MARGIN - 1}} {edge}", "dim") + canvas.row(row)
        yield from self._foot(canvas)
        yield self._legend(canvas)

    def _legend(self, canvas: _Canvas) -> Text:
        meanings = {
            ("•", "bold cyan"): "architecture",
            ("●", "bold cyan"): "several",
            ("×", "bold red"): "does not fit in memory",
        }
        used = set(canvas.marks.values())
        legend = Text.assemble(
            " ", ("━", "bold yellow"), " reachable  ", ("┈", "dim"), " data sheet"
        )
        for mark, words in meanings.items():
            if mark in used:
                legend.append("  ").append(*mark).append(f" {words}")
        return legend

    def _mark(self, canvas: _Canvas) -> None:
        cells: Counter[tuple[int, int]] = Counter()
        unfit: set[tuple[int, int]] = set()
        for point in self.chart.points:
            column, row = canvas.place(point.flops_per_byte, point.gflops)
            cell = (round(column), round(row))
            cells[cell] += 1
            if not point.feasible:
                unfit.add(cell)
        for cell, count in cells.items():
            mark = "●" if count > 1 else "•"
            canvas.marks[cell] = ("×", "bold red") if cell in unfit else (mark, "bold cyan")

    def _foot(self, canvas: _Canvas) -> list[Text]:
        """The axis of intensity, its labels and its title."""
        axis, labels = ["─"] * canvas.width, [" "] * (canvas.width + _MARGIN)
        for tick in _ticks(canvas.x_range, canvas.width // 8):
            column = round(canvas.place(tick, canvas.y_range[0])[0])
            text = f"{tick:g}"
            start = min(_MARGIN + 1 + column - len(text) // 2, len(labels) - len(text))
            if all(character == " " for character in labels[start - 1 : start + len(text) + 1]):
                labels[start : start + len(text)] = text
                axis[column] = "┬"
        title = "operations per byte"
        return [
            Text(f"{' ' * _MARGIN}└{''.join(axis)}", "dim"),
            Text("".join(labels), "dim"),
            Text(f"{title:>{canvas.width + _MARGIN}}", "dim"),
        ]


def _share(value: float, ends: tuple[float, float]) -> float:
    """How far along a logarithmic axis a value lies, 0 to 1 within its ends."""
    low, high = ends
    return math.log(value / low) / math.log(high / low)


def _ticks(ends: tuple[float, float], most: int) -> list[float]:
    """At most `most` round numbers between the ends: 1, 2, 5 of each decade, or its 1 alone."""
    low, high = ends
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for digits in ((1, 2, 5), (1, 3), (1,)):
        ticks = [d * 10.0**p for p in powers for d in digits if low <= d * 10.0**p <= high]
        if len(ticks) <= most:
            break
    return ticks
