"""What every plot of the report shares: its style, its points, its axes and its hover texts.

Colours are the page's CSS variables (`var(--d0)`, …), which its script resolves, so that a plot
follows the light or the dark scheme. Every text that comes from a run is escaped here: plotly
reads a subset of HTML in its texts.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from edgetran.api.measures import BY_NAME, COSTS
from edgetran.report import wording

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from edgetran.devices import Figure

AXES: Final = {
    each.name: f"{each.description} ({each.unit})" if each.unit else each.description
    for each in COSTS
}
"""Titles of the axes, by measure."""

_LOG_SPAN: Final = 8.0  # largest ÷ smallest value from which a logarithmic axis reads better

Point = tuple[float, float, str]
"""x, y and the text to hover."""


def graph_objects() -> Any:
    """The module of plotly's figures.

    Raises:
        ModuleNotFoundError: plotly is not installed; the message names the extra.
    """
    try:
        import plotly.graph_objects as go
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(missing_extra("plotly"), name="plotly") from error
    return go


def missing_extra(package: str) -> str:
    """The sentence about a package that the report needs."""
    return f'the HTML report needs {package}: pip install "edgetran[report]"'


def new_figure() -> go.Figure:
    """An empty figure in the style of the page."""
    go = graph_objects()
    axis = {
        "gridcolor": "var(--grid)",
        "linecolor": "var(--grid-strong)",
        "zeroline": False,
        "automargin": True,
        "title": {"font": {"size": 12}, "standoff": 8},
        "ticks": "outside",
        "tickcolor": "var(--grid-strong)",
        "nticks": 6,
    }
    return go.Figure(
        layout={
            "template": {},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": "system-ui, sans-serif", "size": 12, "color": "var(--text)"},
            "margin": {"l": 8, "r": 12, "t": 8, "b": 8},
            "xaxis": axis,
            "yaxis": axis,
            "legend": {"orientation": "h", "x": 0, "y": -0.2, "yanchor": "top"},
            "hoverlabel": {
                "align": "left",
                "bgcolor": "var(--surface)",
                "bordercolor": "var(--grid-strong)",
                "font": {"color": "var(--text)"},
            },
            "hovermode": "closest",
            "modebar": {
                "bgcolor": "rgba(0,0,0,0)",
                "color": "var(--muted)",
                "activecolor": "var(--text)",
            },
        }
    )


def figure_json(figure: go.Figure) -> dict[str, Any]:
    """Data and layout, as plotly's script takes them."""
    data: dict[str, Any] = figure.to_plotly_json()
    return {"data": data["data"], "layout": data["layout"]}


def add_points(
    figure: go.Figure,
    points: Sequence[Point],
    *,
    name: str,
    colour: str,
    symbol: str | list[str],
    size: int = 9,
) -> None:
    """Add a named group of points; `symbol` is one for all, or one per point."""
    thin = isinstance(symbol, str) and symbol.endswith("thin")
    figure.add_scatter(
        x=[x for x, _, _ in points],
        y=[y for _, y, _ in points],
        text=[text for _, _, text in points],
        mode="markers",
        name=escaped(name),
        hovertemplate="%{text}<extra></extra>",
        marker={
            "color": colour,
            "symbol": symbol,
            "size": size,
            "line": {"width": 3 if thin else 1.5, "color": colour if thin else "var(--surface)"},
        },
    )


def scale(values: Sequence[float]) -> dict[str, Any]:
    """A logarithmic axis with readable ticks where values span much, else a linear one."""
    positive = [value for value in values if value > 0]
    if len(positive) < len(values) or not positive:
        return {}
    low, high = min(positive), max(positive)
    if high / low < _LOG_SPAN:
        return {}
    steps = [
        digit * 10.0**power
        for power in range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
        for digit in ((1, 2, 5) if high / low < 1000 else (1,))
    ]
    ticks = [step for step in steps if low / 1.5 <= step <= high * 1.5]
    return {
        "type": "log",
        "tickmode": "array",
        "tickvals": ticks,
        "ticktext": [_tick(tick) for tick in ticks],
    }


def figure_line(name: str, figure: Figure) -> str | None:
    """A hardware figure with its origin, for a hover text; None where it is unknown."""
    if figure.value is None:
        return None
    measure = BY_NAME[name]
    return f"{measure.title} {wording.measure_text(measure.alias, figure)} ({figure.source})"


def lines(*texts: str | None) -> str:
    """Escaped lines of a hover text, those that are None left out."""
    return "<br>".join(escaped(_shortened(line)) for line in texts if line)


def escaped(text: object) -> str:
    """Text for plotly, with nothing left that it would read as HTML or as a template."""
    return html.escape(str(text)).replace("%{", "%&#123;")


def _shortened(line: str, most: int = 90) -> str:
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _tick(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
