"""What each section of the report shows, as plain data for the template and figures to plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgetran.api.measures import BY_ALIAS, COSTS
from edgetran.devices import Figure
from edgetran.report import figures, plotting, wording
from edgetran.report.conditions import ConditionsOf, conditions_of, flatten
from edgetran.report.drawing import Drawing, draw, head_types
from edgetran.report.prediction import held_out
from edgetran.report.reading import RunRecords
from edgetran.report.tables import engine_text, error_texts
from edgetran.search import Trial
from edgetran.space import Architecture

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from edgetran.gptran import Node

PlotParts = tuple["go.Figure", str, str]
"""A figure, its caption and what it shows, in words."""


@dataclass(frozen=True)
class Card:
    """One headline figure of the winner, with the baseline's beside it."""

    title: str
    name: str
    figure: Figure | None
    baseline: Figure | None
    change: str


@dataclass(frozen=True)
class ComparisonRow:
    """One measure of every model of the comparison."""

    title: str
    name: str
    cells: tuple[Figure | None, ...]
    ratio: str


@dataclass(frozen=True)
class Comparison:
    """The models side by side; `host_rows` were really run on this host."""

    rows: tuple[Mapping[str, Any], ...]
    made_for: tuple[str, ...]
    measures: tuple[ComparisonRow, ...]
    host_measures: tuple[ComparisonRow, ...]
    training: tuple[str, ...]
    training_ratio: str
    has_ratio: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class ExportRow:
    """A file that the run hands over."""

    path: str
    made_for: str
    accuracy: Figure
    latency: Figure | None
    on_front: bool
    agreement: str
    sha256: str
    size_bytes: int | None


@dataclass(frozen=True)
class TrialRow:
    """One line of the table of trials."""

    trial: Trial
    on_front: bool
    simulated: bool
    architecture: str


@dataclass(frozen=True)
class NodeRow:
    """One line of the table of GPTran's nodes."""

    node: Node
    on_path: bool
    outcome: str
    depth: int


@dataclass(frozen=True)
class DeviceRow:
    """One line of the table of devices."""

    name: str
    simulated: bool
    engine: str
    measurements: int | None
    stable: int | None
    errors: tuple[str, ...]


def summary(run: RunRecords) -> list[tuple[str, str]]:
    """The run in a few words: task, workload, trials, times, seed."""
    result = run.result
    task, counts = result.get("task") or {}, result.get("counts") or {}
    workload = result.get("workload") or {}
    facts = []
    if task:
        facts.append(("Task", str(task.get("name"))))
        sizes = task.get("examples") or {}
        words = [f"{wording.count(n)} {part}" for part, n in sizes.items()]
        facts.append(("Examples", " · ".join(words)))
        if task.get("licence") or task.get("source"):
            texts = [str(task[key]) for key in ("source", "licence") if task.get(key)]
            facts.append(("Data", " · ".join(texts)))
    if workload:
        text = f"batch {workload.get('batchSize')}, {workload.get('sequenceLength')} tokens"
        facts.append(("Workload", text))
    names = {"trials": "trials", "failedTrials": "failed", "measurements": "measurements",
             "gptranNodes": "GPTran nodes"}  # fmt: skip
    words = [f"{counts[key]} {name}" for key, name in names.items() if counts.get(key)]
    facts.append(("Done", " · ".join(words) or "nothing"))
    seconds = result.get("seconds") or {}
    parts = [
        f"{stage.replace('gptran', 'GPTran')} {wording.seconds_text(value)}"
        for stage, value in seconds.items()
        if value and stage != "total"
    ]
    total = wording.seconds_text(seconds.get("total"))
    facts.append(("Time", f"{total} ({', '.join(parts)})" if parts else total))
    facts.append(("Seed", str(result.get("seed"))))
    return facts


def cards(run: RunRecords) -> list[Card]:
    """The headline figures; none where there is no winner."""
    winner = run.result.get("winner")
    if winner is None:
        return []
    baseline = run.result.get("baseline")
    found = []
    for name in BY_ALIAS:
        figure = wording.figure(winner, name)
        other = None if baseline is None else wording.figure(baseline, name)
        found.append(
            Card(
                title=wording.metric_title(run.result, name),
                name=name,
                figure=figure,
                baseline=other,
                change=_change(name, figure, other),
            )
        )
    return found


def comparison(run: RunRecords) -> Comparison | None:
    """Winner, the search's best where it is another model, and baseline."""
    result = run.result
    winner, baseline, best = (result.get(key) for key in ("winner", "baseline", "searchBest"))
    if winner is None:
        return None
    if best is not None and best["graphHash"] == winner["graphHash"]:
        best = None
    rows = [row for row in (winner, best, baseline) if row is not None]
    last = baseline is not None
    measures = [
        ComparisonRow(
            wording.metric_title(result, name), name, cells, _ratio(name, cells) if last else ""
        )
        for name in wording.shown_measures(rows)
        if (cells := tuple(wording.figure(row, name) for row in rows))
    ]
    on_host = [
        ComparisonRow(title, name, cells, _ratio(name, cells) if last else "")
        for name, title in wording.HOST_MEASURES.items()
        if any(cells := tuple(wording.figure(row, name, "onHost") for row in rows))
        and wording.ran_elsewhere(rows)
    ]
    seconds = [row.get("trainingSeconds") for row in rows]
    reasons = [
        f"{row.title}: {cell.reason}"
        for row in (*measures, *on_host)
        for cell in row.cells
        if cell is not None and cell.reason
    ]
    return Comparison(
        rows=tuple(rows),
        made_for=tuple(map(wording.artifact_text, rows)) if winner.get("artifact") else (),
        measures=tuple(measures),
        host_measures=tuple(on_host),
        training=tuple(wording.seconds_text(value) for value in seconds),
        training_ratio=wording.ratio_text(seconds[0], seconds[-1]) if last else "",
        has_ratio=last,
        reasons=tuple(dict.fromkeys(reasons)),
    )


def exports(run: RunRecords) -> list[ExportRow]:
    """The files that the run hands over, each with its own scores; the winner's artefact first."""
    each_of = run.result.get("exports") or []
    figures_of = [each["figures"] for each in each_of]
    points = [
        (figure["accuracy"]["value"], (figure.get("latencyMs") or {}).get("value"))
        for figure in figures_of
    ]
    return [
        ExportRow(
            path=str(each["path"]),
            made_for=" ".join(made_for_words(each)),
            accuracy=Figure.from_dict(each["figures"]["accuracy"]),
            latency=Figure.from_dict(latency) if latency else None,
            on_front=_is_on_front(point, points),
            agreement=f"{each['agreement']['samePredictions']:,} of "
            f"{each['agreement']['examples']:,}",
            sha256=str(each["sha256"]),
            size_bytes=each.get("sizeBytes"),
        )
        for each, point in zip(each_of, points, strict=True)
        for latency in [each["figures"].get("latencyMs")]
    ]


def made_for_words(export: Mapping[str, Any]) -> list[str]:
    """Engine, precision, and a way to int8 that is not dynamic."""
    method = (export.get("quantization") or {}).get("method")
    special = export["precision"] == "int8" and method not in (None, "dynamic")
    return [str(export["engine"]), str(export["precision"]), *([str(method)] if special else [])]


def _is_on_front(
    point: tuple[float | None, float | None], points: Sequence[tuple[float | None, float | None]]
) -> bool:
    """Whether no other file is at least as accurate and as fast, and better in one of both."""
    accuracy, latency = point
    if accuracy is None or latency is None:
        return False
    return not any(
        a >= accuracy and b <= latency and (a, b) != point
        for a, b in points
        if a is not None and b is not None
    )


def pareto_plots(run: RunRecords) -> list[PlotParts]:
    """Quality against the parameters and what is summed over a model, as far as trials have it."""
    if run.search is None:
        return []
    metric = metric_words(run)
    plots = []
    for cost in (each for each in COSTS if each.summable or each.kind == "size"):
        marked = [
            mark
            for row in (run.result.get("winner"), run.result.get("baseline"))
            if row is not None and (mark := _mark(run, row, cost.alias)) is not None
        ]
        figure = figures.pareto_figure(
            run.search, cost.name, metric=metric, simulated=run.simulated, marked=marked
        )
        if figure is not None:
            caption = f"{metric.capitalize()} against {cost.words}"
            plots.append((figure, caption, f"Scatter plot: {caption} of every trial"))
    return plots


def pareto_legend(run: RunRecords) -> list[figures.LegendKey]:
    """What the symbols of the Pareto plots mean."""
    if run.search is None:
        return []
    models = [run.result.get(key) for key in ("winner", "baseline")]
    titles = [str(row["title"]) for row in models if row is not None]
    return figures.pareto_legend(run.search, run.simulated, titles)


def progress_plots(run: RunRecords) -> list[PlotParts]:
    """How the search got on."""
    figure = None if run.search is None else figures.progress_figure(run.search)
    if figure is None:
        return []
    caption = "Objective of each trial, and the best so far"
    return [(figure, caption, "Line plot of the best objective over the trials")]


def trial_rows(run: RunRecords) -> list[TrialRow]:
    """Every trial, on the device that it was proposed for."""
    if run.search is None:
        return []
    front = {trial.number for trial, _ in run.search.front}
    return [
        TrialRow(
            trial=trial,
            on_front=trial.number in front,
            simulated=trial.candidate.device in run.simulated,
            architecture=" | ".join(wording.describe(trial.candidate.architecture)),
        )
        for trial in run.search.trials
    ]


def drawings(run: RunRecords) -> tuple[list[Drawing], list[tuple[str, str, str]]]:
    """The winner, after what GPTran began with where that differs; and the legend of heads."""
    winner = run.result.get("winner")
    if winner is None:
        return [], []
    after = Architecture.from_model_dict(winner["architecture"])
    before = _before(run)
    if before is None or before.graph_hash == after.graph_hash:
        return [draw("Winner", after)], head_types([after])
    pair = [draw("Before GPTran", before), draw("After GPTran", after, before=before)]
    return pair, head_types([before, after])


def gptran_plots(run: RunRecords) -> list[PlotParts]:
    """The steps of GPTran."""
    if run.tree is None:
        return []
    metric = metric_words(run)
    figure = figures.gptran_figure(run.tree, _path(run), metric)
    caption = f"{metric.capitalize()} against cost of every model that GPTran trained"
    return [(figure, caption, f"Scatter plot of the tree of models: {caption}")]


def node_rows(run: RunRecords) -> list[NodeRow]:
    """Every node of GPTran's tree, children below their parents."""
    tree = run.tree
    if tree is None or tree.root is None:
        return []
    accepted = {each.accepted for each in tree.rounds.values() if each.accepted}
    path = set(_path(run))
    rows: list[NodeRow] = []
    waiting: list[tuple[Node, int]] = [(tree.root, 0)]
    while waiting:
        node, depth = waiting.pop()
        taken = node.id in accepted
        if node.parent is None or (node.stage == "control" and node.state == "trained"):
            outcome = node.stage
        elif node.state != "trained":
            outcome = node.state
        else:
            outcome = "accepted" if taken else "not accepted"
        rows.append(NodeRow(node, node.id in path, outcome, depth))
        waiting += [(child, depth + 1) for child in reversed(tree.children(node.id))]
    return rows


def devices(run: RunRecords) -> list[DeviceRow]:
    """Every device of the run."""
    rows = []
    for device in run.result.get("devices") or []:
        name, summary_ = str(device["name"]), device.get("profile") or {}
        profile = run.profiles.get(name)
        simulated = name in run.simulated
        measured = None if simulated or profile is None else len(profile.measured)
        rows.append(
            DeviceRow(
                name=name,
                simulated=simulated,
                engine=engine_text(device),
                measurements=summary_.get("records") if measured is None else measured,
                stable=None if profile is None else sum(m.stable for m in profile.measured),
                errors=tuple(error_texts(summary_)),
            )
        )
    return rows


def agreement_plots(run: RunRecords) -> list[PlotParts]:
    """Measured against predicted, per measured device and measure."""
    plots = []
    for name, profile in run.profiles.items():
        for held in held_out(profile, run.finals.get(name)):
            title = f"{held.title} on {name}"
            claimed = profile.quality[held.measure].mean_error
            caption = f"{title}: claimed mean error {claimed:.1%}, here {held.mean_error:.1%}"
            figure = figures.agreement_figure(held)
            plots.append((figure, caption, f"Scatter plot, predicted against measured: {title}"))
    return plots


def conditions(run: RunRecords) -> list[ConditionsOf]:
    """Under which conditions each device was measured."""
    return [conditions_of(profile) for profile in run.profiles.values()]


def host(run: RunRecords) -> list[tuple[str, str]]:
    """The machine that the run was made on."""
    told = run.result.get("host") or {}
    elsewhere = ("versions", "python")
    return flatten({name: value for name, value in told.items() if name not in elsewhere})


def notes(run: RunRecords) -> list[str]:
    """Sentences that a reader should see before trusting the figures."""
    found = list(run.problems)
    found += [str(note) for note in run.result.get("notes") or []]
    if run.search is not None:
        found += run.search.notes
    for name, profile in run.profiles.items():
        found += [f"{name}: {warning}" for warning in profile.warnings]
        for reason in sorted(set(profile.missing.values())):
            missing = [wording.hardware_word(m) for m, r in profile.missing.items() if r == reason]
            found.append(f"{name}: no {' and no '.join(missing)}: {reason}")
        for measure, quality in profile.quality.items() if profile.measures else ():
            if quality.reason:
                found.append(f"{name}: {wording.hardware_word(measure)} is {quality.reason}")
    if run.simulated:
        found.append(
            f"{', '.join(sorted(run.simulated))}: simulated by an analytic model from published "
            "data; not measured"
        )
    return list(dict.fromkeys(found))


def metric_words(run: RunRecords) -> str:
    """The task's metric in words."""
    metric = (run.result.get("task") or {}).get("metric") or "accuracy"
    return str(metric).replace("_", " ")


def _before(run: RunRecords) -> Architecture | None:
    """What GPTran began with."""
    if run.tree is not None and run.tree.root is not None:
        return run.tree.root.architecture
    best = run.result.get("searchBest")
    return None if best is None else Architecture.from_model_dict(best["architecture"])


def _path(run: RunRecords) -> Sequence[str]:
    """Ids from the root of GPTran's tree to its best node, as far as the tree has them."""
    steps = (run.result.get("gptran") or {}).get("steps") or ()
    return [step for step in steps if run.tree is not None and step in run.tree.nodes]


def _mark(
    run: RunRecords, row: Mapping[str, Any], name: str
) -> tuple[str, float, float, str] | None:
    cost, quality = wording.figure(row, name), wording.figure(row, "validationAccuracy")
    if cost is None or cost.value is None or quality is None or quality.value is None:
        return None
    device = str(row["device"])
    if row.get("deviceKind") == "simulated":
        device += " (simulated)"
    lines = [f"{row['title']} on {device}"]
    if row.get("artifact"):
        lines.append(f"made for {wording.artifact_text(row)}")
    for measure in wording.shown_measures([row]):
        figure = wording.figure(row, measure)
        if figure is not None and figure.value is not None:
            title = wording.metric_title(run.result, measure)
            lines.append(f"{title} {wording.measure_text(measure, figure)} ({figure.source})")
    lines += wording.describe(Architecture.from_model_dict(row["architecture"]))
    text = "<br>".join(plotting.escaped(line) for line in lines)
    return str(row["title"]), cost.value, quality.value, text


def _change(name: str, figure: Figure | None, baseline: Figure | None) -> str:
    """The winner against the baseline, in words."""
    if figure is None or baseline is None or figure.value is None or baseline.value is None:
        return ""
    if name == "accuracy":
        return f"{100 * (figure.value - baseline.value):+.1f} points".replace("-", "−")
    if baseline.value <= 0:
        return ""
    change = figure.value / baseline.value - 1
    return (
        f"{abs(change):.0%} {'more' if change > 0 else 'less'}" if abs(change) >= 0.005 else "equal"
    )


def _ratio(name: str, cells: Sequence[Figure | None]) -> str:
    """The first ÷ the last; for a quality, the difference in points."""
    first, last = cells[0], cells[-1]
    if first is None or last is None or first.value is None or last.value is None:
        return wording.MISSING
    if name in wording.QUALITIES:
        return f"{100 * (first.value - last.value):+.1f} pt".replace("-", "−")
    return wording.ratio_text(first.value, last.value)
