"""A simulated device's roofline with architectures on it, as a plot, a page and a picture.

Roofline: Williams, Waterman and Patterson, CACM 2009: the rate that a device reaches against the
arithmetic intensity of what it runs, both logarithmic.
"""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgetran.devices import Roofline, RooflinePoint, SimulatedDevice, Workload
from edgetran.records import write_atomically
from edgetran.report import wording
from edgetran.report.page import Plots, packaged, page
from edgetran.report.plotting import (
    add_points,
    figure_json,
    graph_objects,
    lines,
    new_figure,
    scale,
)
from edgetran.space import Architecture

if TYPE_CHECKING:
    import plotly.graph_objects as go

FORMATS: Final = (".html", ".png")
_PICTURE_SIZE: Final = (1100, 700)

NUMBERS: Final = {
    "efficiency": ("Share of the peak rate reached", ""),
    "bandwidth_gb_s": ("Memory bandwidth", "GB/s"),
    "bandwidth_efficiency": ("Share of the bandwidth reached", ""),
    "launch_us": ("Dispatching one operation", "µs"),
    "overhead_ms": ("Fixed cost of a batch", "ms"),
    "idle_power_w": ("Idle power", "W"),
    "active_power_w": ("Active power", "W"),
    "dispatch_share": ("Power while dispatching, idle to active", ""),
    "memory_mb": ("Memory", "MB"),
    "reserved_mb": ("Memory taken by the system", "MB"),
}
"""A simulated device's numbers in words, with their units."""


class PictureError(RuntimeError):
    """A picture that could not be drawn here; the message says what is missing."""


@dataclass(frozen=True)
class RooflineChart:
    """What is drawn.

    Attributes:
        device: the simulated device.
        roofline: what it can reach in one precision.
        architectures: what was placed on it.
        points: where they lie, in the same order.
        space: what the architectures are of, in words.
        workload: batch and length.
    """

    device: SimulatedDevice
    roofline: Roofline
    architectures: tuple[Architecture, ...]
    points: tuple[RooflinePoint, ...]
    space: str
    workload: Workload

    @property
    def intensities(self) -> tuple[float, float]:
        """The range of the axis of intensity: all points and the ridge, with room around."""
        values = [point.flops_per_byte for point in self.points]
        values.append(self.roofline.ridge_flops_per_byte)
        return min(values) / 4, max(values) * 4

    @property
    def rates(self) -> tuple[float, float]:
        """The range of the axis of rates."""
        lowest = min(point.gflops for point in self.points)
        return min(lowest, self.roofline.bound_gflops(self.intensities[0])) / 1.5, self.peak * 1.6

    @property
    def peak(self) -> float:
        """The data sheet's peak rate, 10⁹ operations per second."""
        return self.device.peak_gflops[self.roofline.precision]

    def published_gflops(self, flops_per_byte: float) -> float:
        """The data sheet's bound on the rate at an arithmetic intensity."""
        return min(self.peak, flops_per_byte * self.device.bandwidth_gb_s)

    def sentences(self) -> list[str]:
        """What the chart says, in words."""
        roof, points = self.roofline, self.points
        bound = [p for p in points if p.flops_per_byte < roof.ridge_flops_per_byte]
        shares = sorted(p.gflops / roof.bound_gflops(p.flops_per_byte) for p in points)
        latencies = sorted(p.latency_ms for p in points)
        unfit = sum(not p.feasible for p in points)
        reach = (
            f"Reachable in {roof.precision}: {wording.number(roof.peak_gflops)} GFLOP/s and "
            f"{wording.number(roof.bandwidth_gb_s)} GB/s; below "
            f"{wording.number(roof.ridge_flops_per_byte)} operations per byte memory is the bound."
        )
        found = (
            f"{len(points)} architectures of {self.space}, batch {self.workload.batch_size}, "
            f"{self.workload.sequence_length} tokens: {len(bound)} bound by memory, "
            f"{len(points) - len(bound)} by arithmetic. They reach {shares[0]:.0%} to "
            f"{shares[-1]:.0%} of their roof, and take {wording.number(latencies[0])} to "
            f"{wording.number(latencies[-1])} ms per sequence (simulated); the rest goes into "
            "dispatching, and into single operations that memory bounds."
        )
        said = [reach, found]
        if unfit:
            said.append(f"{unfit} of them do not fit in memory.")
        return said


def number_rows(device: SimulatedDevice) -> list[tuple[str, str, str]]:
    """Every number of a device: in words, its value with its unit, and its source."""
    rows = []
    for name, value in device.numbers().items():
        group, _, precision = name.partition(".")
        words, unit = NUMBERS.get(name, (f"Peak rate, {precision}", "GFLOP/s"))
        assert name in NUMBERS or group == "peak_gflops"  # noqa: S101 - every number has its words
        text = f"{value:.4g}" if value < 10_000 else wording.count(value)
        rows.append((words, f"{text} {unit}".strip(), device.sources[name]))
    return rows


def roofline_figure(chart: RooflineChart) -> go.Figure:
    """The roof, the data sheet's roof above it, and the architectures to hover over."""
    figure = new_figure()
    low, high = chart.intensities
    for name, bound, line in (
        ("Data sheet", chart.published_gflops, {"dash": "dot", "width": 1.5}),
        ("Reachable", chart.roofline.bound_gflops, {"width": 2.5}),
    ):
        ridge = chart.roofline.ridge_flops_per_byte
        if name == "Data sheet":
            ridge = chart.peak / chart.device.bandwidth_gb_s
        places = sorted({low, min(max(ridge, low), high), high})
        figure.add_scatter(
            x=places,
            y=[bound(place) for place in places],
            mode="lines",
            name=name,
            line={"color": "var(--muted)" if "dash" in line else "var(--accent)", **line},
            hovertemplate="%{x:.3g} operations per byte: at most %{y:.3g} GFLOP/s<extra></extra>",
        )
    groups = (("Architecture", True, "circle"), ("Does not fit in memory", False, "x-thin"))
    for name, feasible, symbol in groups:
        here = [
            (point.flops_per_byte, point.gflops, _hover(point, architecture))
            for point, architecture in zip(chart.points, chart.architectures, strict=True)
            if point.feasible is feasible
        ]
        if here:
            colour = "var(--d0)" if feasible else "var(--bad)"
            add_points(figure, here, name=name, colour=colour, symbol=symbol)
    figure.update_xaxes(
        title_text="Arithmetic intensity (operations per byte)", **_log_axis(chart.intensities)
    )
    figure.update_yaxes(title_text="Rate (GFLOP/s)", **_log_axis(chart.rates))
    return figure


def write_roofline(chart: RooflineChart, path: Path) -> Path:
    """Write the chart as a page (`.html`, with every number and its source) or a picture (`.png`).

    Raises:
        ValueError: for another suffix.
        ModuleNotFoundError: a package is not installed; names the extra.
        PictureError: no Chrome or Chromium was found to draw a picture with.
    """
    if path.suffix == ".html":
        write_atomically(path, _page(chart))
    elif path.suffix == ".png":
        write_atomically(path, _picture(chart))
    else:
        raise ValueError(f"{path}: a file {path.suffix or 'without suffix'} was given; allowed are "
                         f"{' and '.join(FORMATS)}")  # fmt: skip
    return path


def _page(chart: RooflineChart) -> str:
    graph_objects()
    plots = Plots()
    caption = f"Roofline of {chart.device.name} in {chart.roofline.precision}"
    context = {
        "device": chart.device,
        "numbers": number_rows(chart.device),
        "sentences": chart.sentences(),
        "plot": plots.add(roofline_figure(chart), caption, " ".join(chart.sentences())),
    }
    return page("roofline.html.j2", context, plots)


def _picture(chart: RooflineChart) -> bytes:
    go = graph_objects()
    if importlib.util.find_spec("kaleido") is None:
        raise ModuleNotFoundError(
            'a picture needs kaleido: pip install "edgetran[png]"', name="kaleido"
        )
    import kaleido

    figure = go.Figure(_with_colours(figure_json(roofline_figure(chart)), _light_colours()))
    figure.update_layout(
        title={
            "text": f"{chart.device.name}, {chart.roofline.precision}: {chart.space} (simulated)"
        },
        margin={"t": 60, "l": 20, "r": 20, "b": 20},
        paper_bgcolor="#ffffff",
    )
    width, height = _PICTURE_SIZE
    try:
        # Not by figure.to_image, which has Chrome fetch MathJax from a host of others.
        picture: bytes = kaleido.calc_fig_sync(
            figure.to_dict(),
            opts={"format": "png", "width": width, "height": height, "scale": 2},
            kopts={"mathjax": False},
        )
    except (RuntimeError, OSError) as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise PictureError(
            f"a picture is drawn by Chrome or Chromium, which could not be used: {first}; write "
            "an .html file instead"
        ) from error
    return picture


def _hover(point: RooflinePoint, architecture: Architecture) -> str:
    return lines(
        f"{wording.number(point.gflops)} GFLOP/s at {point.flops_per_byte:.3g} operations per byte",
        f"Latency {wording.number(point.latency_ms)} ms (simulated)",
        None if point.feasible else "Does not fit in memory",
        *wording.describe(architecture),
    )


def _log_axis(ends: Sequence[float]) -> dict[str, Any]:
    return scale(ends) | {"type": "log", "range": [math.log10(end) for end in ends]}


def _light_colours() -> dict[str, str]:
    """The page's colours by name, for a picture on white."""
    light = packaged("report.css").partition("}")[0]
    return dict(re.findall(r"(--[\w-]+):\s*([^;]+);", light))


def _with_colours(value: Any, colours: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return re.sub(r"^var\((--[\w-]+)\)$", lambda match: colours[match[1]], value)
    if isinstance(value, Mapping):
        return {key: _with_colours(part, colours) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_with_colours(part, colours) for part in value]
    return value
