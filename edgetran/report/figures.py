"""The plots of the report, as plotly figures.

Colours are the page's CSS variables (`var(--d0)`, …), which its script resolves, so that a plot
follows the light or the dark scheme. Every text that comes from a run is escaped here: plotly
reads a subset of HTML in its texts.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edgetran.report import wording
from edgetran.search import costs, pareto_front

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from edgetran.devices import Figure
    from edgetran.gptran import Node, Tree
    from edgetran.report.prediction import HeldOut, Prediction
    from edgetran.search import Evaluation, SearchResult, Trial

_SYMBOLS: Final = {
    "circle": "●", "square": "■", "diamond": "◆", "triangle-up": "▲", "triangle-down": "▼",
    "pentagon": "⬟", "hexagon": "⬢", "cross": "✚",
}  # fmt: skip
"""A symbol per device, as plotly calls it and as a character."""
_AXES: Final = {
    "latency_ms": "Latency per sequence (ms)",
    "energy_mj": "Energy per sequence (mJ)",
    "peak_power_w": "Peak power (W)",
    "parameters": "Parameters",
}
_KEYS: Final = {
    "latency_ms": "latencyMs",
    "energy_mj": "energyMj",
    "peak_power_w": "peakPowerW",
    "parameters": "parameters",
}
_LOG_SPAN: Final = 8.0  # largest ÷ smallest value from which a logarithmic axis reads better


@dataclass(frozen=True)
class Key:
    """One entry of a legend."""

    symbol: str
    colour: str
    name: str


Point = tuple[float, float, str]
"""x, y and the text to hover."""


def pareto_figure(
    search: SearchResult,
    axis: str,
    *,
    metric: str,
    simulated: frozenset[str],
    marked: Sequence[tuple[str, float, float, str]] = (),
) -> go.Figure | None:
    """Quality against one cost: every trial on every device, the front, the marked models.

    Args:
        search: trials and objective.
        axis: `latency_ms`, `energy_mj` or `parameters`.
        metric: the task's metric in words.
        simulated: names of the simulated devices.
        marked: (title, cost, quality, text to hover) of models to point out, winner first.

    Returns:
        None where no trial has the measure.
    """
    rows = [
        (trial, judged)
        for trial, judged in search.evaluations
        if judged.measures.value(axis) is not None and judged.measures.accuracy.value is not None
    ]
    if axis == "parameters":  # the same on every device
        rows = [(trial, judged) for trial, judged in rows if judged is trial.evaluation]
    if not rows:
        return None
    figure = _figure()
    for index, device in enumerate(_devices(search)):
        here = [pair for pair in rows if pair[1].candidate.device == device]
        if not here:
            continue
        points = [_trial_point(trial, judged, axis, metric, simulated) for trial, judged in here]
        _add_points(
            figure,
            points,
            name=_device_name(device, simulated),
            colour=_device_colour(index),
            symbol=[_device_symbol(index, feasible=judged.feasible) for _, judged in here],
        )
    _add_front(figure, [judged for _, judged in rows if judged.feasible], axis)
    for place, (title, x, y, text) in enumerate(marked):
        _add_points(
            figure,
            [(x, y, text)],
            name=title,
            colour="var(--text)" if place else "var(--accent)",
            symbol="x-thin" if place else "star",
            size=13 if place else 17,
        )
    values = [judged.measures.value(axis) or 0.0 for _, judged in rows] + [m[1] for m in marked]
    figure.update_xaxes(title_text=_AXES[axis], **_scale(values))
    figure.update_yaxes(title_text=f"Validation {metric}")
    figure.update_layout(showlegend=False)
    return figure


def pareto_legend(
    search: SearchResult, simulated: frozenset[str], marked: Sequence[str]
) -> list[Key]:
    """What symbols and colours of `pareto_figure` mean: one legend for all of them."""
    characters = list(_SYMBOLS.values())
    devices = [
        Key(
            characters[index % len(characters)],
            _device_colour(index),
            _device_name(device, simulated),
        )
        for index, device in enumerate(_devices(search))
    ]
    models = [
        Key("✕" if place else "★", "var(--text)" if place else "var(--accent)", title)
        for place, title in enumerate(marked)
    ]
    return [*models, *devices, Key("╌╌", "var(--muted)", "Pareto front")]


def progress_figure(search: SearchResult) -> go.Figure | None:
    """The objective of each trial and the best feasible one so far; None without any."""
    best: list[float] = []
    trials: list[int] = []
    feasible: list[Point] = []
    infeasible: list[Point] = []
    for trial in search.trials:
        for judged in trial.evaluations:
            if judged.objective is None:
                continue
            text = _lines(
                f"Trial {trial.number} on {judged.candidate.device}",
                f"Objective {wording.quality(judged.objective)}",
                f"Proposed by {trial.proposed_by}",
                f"Infeasible: {judged.reason}" if judged.reason else None,
            )
            if judged.feasible:
                feasible.append((trial.number, judged.objective, text))
            elif judged is trial.evaluation:
                infeasible.append((trial.number, judged.objective, text))
        top = [e.objective for e in trial.evaluations if e.feasible and e.objective is not None]
        if top or best:
            trials.append(trial.number)
            best.append(max([*best[-1:], *top]))
    if not best and not infeasible:
        return None
    figure = _figure()
    _add_points(
        figure, feasible, name="Trained, on each device", colour="var(--d0)", symbol="circle"
    )
    if infeasible:
        _add_points(figure, infeasible, name="Infeasible", colour="var(--d1)", symbol="circle-open")
    figure.add_scatter(
        x=trials,
        y=best,
        mode="lines",
        name="Best so far",
        line={"shape": "hv", "width": 2.5, "color": "var(--accent)"},
        hovertemplate="Best after trial %{x}: %{y:.4f}<extra></extra>",
    )
    figure.update_xaxes(title_text="Trial", tickformat="d")
    figure.update_yaxes(title_text="Objective (higher is better)")
    return figure


def agreement_figure(held_out: HeldOut, *, band: float = 0.10) -> go.Figure:
    """Predicted against measured with the ±10 % band; hollow points are unstable measurements."""
    figure = _figure()
    values = [v for point in held_out.points for v in (point.measured, point.predicted)]
    low, high = min(values) / 1.15, max(values) * 1.15
    ends = [low, high]
    for factor, fill in ((1 - band, None), (1 + band, "tonexty")):
        figure.add_scatter(
            x=ends,
            y=[factor * end for end in ends],
            mode="lines",
            line={"width": 0, "color": "var(--band)"},
            fill=fill,
            fillcolor="var(--band)",
            hoverinfo="skip",
            showlegend=fill is not None,
            name=f"±{band:.0%}",
        )
    figure.add_scatter(
        x=ends,
        y=ends,
        mode="lines",
        line={"width": 1, "dash": "dot", "color": "var(--muted)"},
        name="Equal",
        hoverinfo="skip",
    )
    stable = [point for point in held_out.points if point.stable]
    groups = (
        ("Held out of the fit", "circle", [p for p in stable if not p.finalist]),
        ("Unstable measurement", "circle-open", [p for p in held_out.points if not p.stable]),
        ("Finalist", "star", [p for p in stable if p.finalist]),
    )
    for name, symbol, chosen in groups:
        points = [_prediction_point(point, held_out.unit) for point in chosen]
        if points:
            colour = "var(--accent)" if symbol == "star" else "var(--d0)"
            size = 13 if symbol == "star" else 9
            _add_points(figure, points, name=name, colour=colour, symbol=symbol, size=size)
    scale = _scale(ends)
    measure = f"{held_out.title.lower()} ({held_out.unit})"
    figure.update_xaxes(title_text=f"Measured {measure}", **scale)
    figure.update_yaxes(title_text=f"Predicted {measure}", **scale)
    return figure


def gptran_figure(tree: Tree, path: Sequence[str], metric: str) -> go.Figure:
    """Quality against latency (parameters where unknown) of every trained node, with its steps.

    Args:
        tree: the nodes.
        path: ids from the root to the winner.
        metric: the task's metric in words.
    """
    trained = [node for node in tree.nodes.values() if node.metric is not None]
    axis = "latency_ms"
    if any(node.hardware.latency_ms.value is None for node in trained):
        axis = "parameters"
    places = {node.id: (node.measures.value(axis) or 0.0, node.metric or 0.0) for node in trained}
    figure = _figure()
    steps = [(node.parent, node.id) for node in trained if node.parent in places]
    for chosen, name in ((False, "Step tried"), (True, "Path to the winner")):
        xs: list[float | None] = []
        ys: list[float | None] = []
        for parent, child in steps:
            if (child in path) is chosen and parent is not None:
                xs += [places[parent][0], places[child][0], None]
                ys += [places[parent][1], places[child][1], None]
        line = {
            "width": 2.5 if chosen else 1,
            "color": "var(--accent)" if chosen else "var(--grid-strong)",
        }
        if xs:
            figure.add_scatter(x=xs, y=ys, mode="lines", line=line, name=name, hoverinfo="skip")
    accepted = {each.accepted for each in tree.rounds.values() if each.accepted}
    groups = (
        ("Root", [n for n in trained if n.parent is None], "square", "var(--text)"),
        ("Accepted", [n for n in trained if n.id in accepted], "circle", "var(--d2)"),
        (
            "Not accepted",
            [n for n in trained if n.parent is not None and n.id not in accepted],
            "circle-open",
            "var(--d1)",
        ),
    )
    for name, nodes, symbol, colour in groups:
        points = [(*places[node.id], _node_text(node, metric)) for node in nodes]
        if points:
            _add_points(figure, points, name=name, colour=colour, symbol=symbol, size=10)
    if path:
        winner = tree.nodes[path[-1]]
        text = _node_text(winner, metric)
        point = (*places[winner.id], text)
        _add_points(figure, [point], name="Winner", colour="var(--accent)", symbol="star", size=17)
    figure.update_xaxes(title_text=_AXES[axis], **_scale([x for x, _ in places.values()]))
    figure.update_yaxes(title_text=f"Validation {metric}")
    return figure


def figure_json(figure: go.Figure) -> dict[str, Any]:
    """Data and layout, as plotly's script takes them."""
    data: dict[str, Any] = figure.to_plotly_json()
    return {"data": data["data"], "layout": data["layout"]}


def escaped(text: object) -> str:
    """Text for plotly, with nothing left that it would read as HTML or as a template."""
    return html.escape(str(text)).replace("%{", "%&#123;")


def _figure() -> go.Figure:
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


def _add_points(
    figure: go.Figure,
    points: Sequence[Point],
    *,
    name: str,
    colour: str,
    symbol: str | list[str],
    size: int = 9,
) -> None:
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


def _add_front(figure: go.Figure, judged: Sequence[Evaluation], axis: str) -> None:
    """The front of two measures as steps: what lies below and right of it is dominated."""
    front = pareto_front(costs([each.measures for each in judged], ("accuracy", axis)))
    places = sorted(
        {
            (judged[i].measures.value(axis) or 0.0, judged[i].measures.accuracy.value or 0.0)
            for i in front
        }
    )
    if len(places) > 1:
        figure.add_scatter(
            x=[x for x, _ in places],
            y=[y for _, y in places],
            mode="lines",
            name="Pareto front",
            line={"shape": "hv", "width": 1.5, "dash": "dash", "color": "var(--muted)"},
            hoverinfo="skip",
        )


def _trial_point(
    trial: Trial, judged: Evaluation, axis: str, metric: str, simulated: frozenset[str]
) -> Point:
    measures = judged.measures
    text = _lines(
        f"Trial {trial.number} on {_device_name(judged.candidate.device, simulated)}",
        f"Validation {metric} {wording.quality(measures.accuracy.value)} (measured)",
        *(
            _figure_line(name, measures.figure(name))
            for name in ("latency_ms", "energy_mj", "peak_power_w")
        ),
        f"{measures.parameters:,} parameters",
        f"Infeasible: {judged.reason}" if not judged.feasible else None,
        *wording.describe(judged.candidate.architecture),
    )
    return measures.value(axis) or 0.0, measures.accuracy.value or 0.0, text


def _prediction_point(point: Prediction, unit: str) -> Point:
    text = _lines(
        f"Measured {wording.number(point.measured)} {unit}",
        f"Predicted {wording.number(point.predicted)} {unit} ({point.error:+.1%})",
        *wording.describe(point.architecture),
    )
    return point.measured, point.predicted, text


def _node_text(node: Node, metric: str) -> str:
    return _lines(
        f"{node.id}: {node.change}",
        f"Validation {metric} {wording.quality(node.metric)}",
        _figure_line("latency_ms", node.hardware.latency_ms),
        _figure_line("energy_mj", node.hardware.energy_mj),
        f"{node.parameters:,} parameters",
        node.reason,
    )


def _figure_line(name: str, figure: Figure) -> str | None:
    if figure.value is None:
        return None
    words = _AXES[name].partition(" per ")[0].partition(" (")[0]
    return f"{words} {wording.measure_text(_KEYS[name], figure)} ({figure.source})"


def _lines(*lines: str | None) -> str:
    return "<br>".join(escaped(_shortened(line)) for line in lines if line)


def _shortened(line: str, most: int = 90) -> str:
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _devices(search: SearchResult) -> list[str]:
    return sorted({judged.candidate.device for _, judged in search.evaluations})


def _device_colour(index: int) -> str:
    return f"var(--d{index % len(_SYMBOLS)})"


def _device_symbol(index: int, *, feasible: bool) -> str:
    name = list(_SYMBOLS)[index % len(_SYMBOLS)]
    return name if feasible else f"{name}-open"


def _device_name(device: str, simulated: frozenset[str]) -> str:
    return f"{device} (simulated)" if device in simulated else device


def _scale(values: Sequence[float]) -> dict[str, Any]:
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


def _tick(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
