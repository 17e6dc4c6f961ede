"""The plots of the report, as plotly figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edgetran.api.measures import HARDWARE
from edgetran.report import wording
from edgetran.report.plotting import (
    AXES,
    Point,
    add_points,
    figure_line,
    lines,
    new_figure,
    scale,
)
from edgetran.search import costs, pareto_front

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from edgetran.gptran import Node, Tree
    from edgetran.report.prediction import HeldOut, Prediction
    from edgetran.search import Evaluation, SearchResult, Trial

_SYMBOLS: Final = {
    "circle": "●", "square": "■", "diamond": "◆", "triangle-up": "▲", "triangle-down": "▼",
    "pentagon": "⬟", "hexagon": "⬢", "cross": "✚",
}  # fmt: skip
"""A symbol per device, as plotly calls it and as a character."""


@dataclass(frozen=True)
class LegendKey:
    """One entry of a legend."""

    symbol: str
    colour: str
    name: str


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
        axis: the name of a cost.
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
    figure = new_figure()
    for index, device in enumerate(_devices(search)):
        here = [pair for pair in rows if pair[1].candidate.device == device]
        if not here:
            continue
        points = [_trial_point(trial, judged, axis, metric, simulated) for trial, judged in here]
        add_points(
            figure,
            points,
            name=_device_name(device, simulated),
            colour=_device_colour(index),
            symbol=[_device_symbol(index, feasible=judged.feasible) for _, judged in here],
        )
    _add_front(figure, [judged for _, judged in rows if judged.feasible], axis)
    for place, (title, x, y, text) in enumerate(marked):
        add_points(
            figure,
            [(x, y, text)],
            name=title,
            colour="var(--text)" if place else "var(--accent)",
            symbol="x-thin" if place else "star",
            size=13 if place else 17,
        )
    values = [judged.measures.value(axis) or 0.0 for _, judged in rows] + [m[1] for m in marked]
    figure.update_xaxes(title_text=AXES[axis], **scale(values))
    figure.update_yaxes(title_text=f"Validation {metric}")
    figure.update_layout(showlegend=False)
    return figure


def pareto_legend(
    search: SearchResult, simulated: frozenset[str], marked: Sequence[str]
) -> list[LegendKey]:
    """What symbols and colours of `pareto_figure` mean: one legend for all of them."""
    characters = list(_SYMBOLS.values())
    devices = [
        LegendKey(
            characters[index % len(characters)],
            _device_colour(index),
            _device_name(device, simulated),
        )
        for index, device in enumerate(_devices(search))
    ]
    models = [
        LegendKey("✕" if place else "★", "var(--text)" if place else "var(--accent)", title)
        for place, title in enumerate(marked)
    ]
    return [*models, *devices, LegendKey("╌╌", "var(--muted)", "Pareto front")]


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
            text = lines(
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
    figure = new_figure()
    add_points(
        figure, feasible, name="Trained, on each device", colour="var(--d0)", symbol="circle"
    )
    if infeasible:
        add_points(figure, infeasible, name="Infeasible", colour="var(--d1)", symbol="circle-open")
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
    figure = new_figure()
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
            add_points(figure, points, name=name, colour=colour, symbol=symbol, size=size)
    axis = scale(ends)
    measure = f"{held_out.title.lower()} ({held_out.unit})"
    figure.update_xaxes(title_text=f"Measured {measure}", **axis)
    figure.update_yaxes(title_text=f"Predicted {measure}", **axis)
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
    figure = new_figure()
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
            add_points(figure, points, name=name, colour=colour, symbol=symbol, size=10)
    if path:
        winner = tree.nodes[path[-1]]
        text = _node_text(winner, metric)
        point = (*places[winner.id], text)
        add_points(figure, [point], name="Winner", colour="var(--accent)", symbol="star", size=17)
    figure.update_xaxes(title_text=AXES[axis], **scale([x for x, _ in places.values()]))
    figure.update_yaxes(title_text=f"Validation {metric}")
    return figure


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
    text = lines(
        f"Trial {trial.number} on {_device_name(judged.candidate.device, simulated)}",
        f"Validation {metric} {wording.quality(measures.accuracy.value)} (measured)",
        *(figure_line(each.name, measures.hardware.of(each)) for each in HARDWARE),
        f"{measures.parameters:,} parameters",
        f"Infeasible: {judged.reason}" if not judged.feasible else None,
        *wording.describe(judged.candidate.architecture),
    )
    return measures.value(axis) or 0.0, measures.accuracy.value or 0.0, text


def _prediction_point(point: Prediction, unit: str) -> Point:
    text = lines(
        f"Measured {wording.number(point.measured)} {unit}",
        f"Predicted {wording.number(point.predicted)} {unit} ({point.error:+.1%})",
        *wording.describe(point.architecture),
    )
    return point.measured, point.predicted, text


def _node_text(node: Node, metric: str) -> str:
    return lines(
        f"{node.id}: {node.change}",
        f"Validation {metric} {wording.quality(node.metric)}",
        *(figure_line(each.name, node.hardware.of(each)) for each in HARDWARE if each.summable),
        f"{node.parameters:,} parameters",
        node.reason,
    )


def _devices(search: SearchResult) -> list[str]:
    return sorted({judged.candidate.device for _, judged in search.evaluations})


def _device_colour(index: int) -> str:
    return f"var(--d{index % len(_SYMBOLS)})"


def _device_symbol(index: int, *, feasible: bool) -> str:
    name = list(_SYMBOLS)[index % len(_SYMBOLS)]
    return name if feasible else f"{name}-open"


def _device_name(device: str, simulated: frozenset[str]) -> str:
    return f"{device} (simulated)" if device in simulated else device
