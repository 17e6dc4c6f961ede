"""How a resource stands, on one screen: progress, conditions, the best so far, what comes next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edgetran.api import ConditionType
from edgetran.api.measures import COSTS, HARDWARE
from edgetran.api.wire import Steps, WorkerSummary
from edgetran.kubectl.reading import Data, age, condition, label, moment, status_of

_STYLES: Final = {"True": "green", "False": "red", "Unknown": "yellow"}
_BAD: Final = frozenset({ConditionType.STALLED})
_NEUTRAL: Final = frozenset({ConditionType.RECONCILING, ConditionType.SUSPENDED})
_BAR_WIDTH: Final = 30
_MEASURES: Final = {
    "accuracy": ("Accuracy", ""),
    "testAccuracy": ("Test accuracy", ""),
    **{each.alias: (each.title, each.unit) for each in COSTS},
    "objective": ("Objective", ""),
}
_COUNTS: Final = {
    "measured": "measured", "unstable": "unstable",
    "running": "running", "succeeded": "succeeded", "infeasible": "infeasible",
    "trained": "trained", "nodes": "models in the tree", "failed": "failed",
}  # fmt: skip


def status_view(data: Data, summary: Data | None, now: datetime) -> RenderableType:
    """The screen of `kubectl edgetran status`.

    Args:
        data: the resource.
        summary: what its worker last said; None where there is none yet.
        now: the present, for ages and for the time left.

    Returns:
        What `rich` can print, from 80 columns on.
    """
    status = status_of(data)
    parts: list[RenderableType] = [
        _title(data, now),
        _headline(data),
        *_progress(data, summary, now),
    ]
    parts += _conditions(status, now)
    parts += _devices(status)
    parts += _costs(status)
    parts += _errors(status)
    parts += _candidates(status)
    parts += _places(data, status)
    return Group(*parts)


def _title(data: Data, now: datetime) -> Text:
    metadata = data["metadata"]
    return Text.assemble(
        (label(data), "bold"),
        (f"  namespace {metadata.get('namespace')}, created ", "dim"),
        (f"{age(metadata.get('creationTimestamp'), now)} ago", "dim"),
    )


def _headline(data: Data) -> Text:
    """The condition that matters most, as a sentence."""
    if data["metadata"].get("deletionTimestamp"):
        return Text("Is being deleted.", "yellow")
    for type_, wanted, style in (
        (ConditionType.STALLED, "True", "red"),
        (ConditionType.SUCCEEDED, "False", "red"),
        (ConditionType.SUSPENDED, "True", "yellow"),
        (ConditionType.SUCCEEDED, "True", "green"),
        (ConditionType.RECONCILING, "True", "cyan"),
        (ConditionType.SUCCEEDED, "Unknown", "yellow"),
    ):
        found = condition(data, type_)
        if found is not None and found.get("status") == wanted:
            message = found.get("message") or ""
            return Text.assemble((str(found.get("reason")), f"bold {style}"), f"  {message}")
    return Text("Nothing is known about it yet: the operator has not seen it.", "yellow")


def _progress(data: Data, summary: Data | None, now: datetime) -> Iterator[RenderableType]:
    status = status_of(data)
    said = WorkerSummary.read(summary or {})
    text = said.progress or str(status.get("progress") or "")
    steps = Steps.read(text)
    counts = [f"{status[key]} {words}" for key, words in _COUNTS.items() if status.get(key)]
    if steps is not None and steps.total:
        filled = round(_BAR_WIDTH * min(1.0, steps.done / steps.total))
        line = Text.assemble(
            ("█" * filled, "cyan"), ("░" * (_BAR_WIDTH - filled), "dim"), f" {text}"
        )
        for part in (said.stage or status.get("stage"), _time_left(said, now)):
            if part:
                line.append(f"  {part}")
        yield line
    if counts:
        yield Text(", ".join(counts), "dim")


def _time_left(summary: WorkerSummary, now: datetime) -> str:
    """The worker's own estimate, less the time since it was made; empty where it has ended."""
    left = summary.time_left_seconds
    if left is None or summary.finished:
        return ""
    then = moment(summary.updated)
    if then is not None:
        left = max(0.0, left - (now - then).total_seconds())
    minutes, seconds = divmod(round(left), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02} left" if hours else f"{minutes}:{seconds:02} left"


def _conditions(status: Data, now: datetime) -> Iterator[RenderableType]:
    conditions = status.get("conditions") or ()
    if not conditions:
        return
    table = _table("Condition", "Status", "Reason", "Since", "Message")
    for each in conditions:
        type_, state = str(each.get("type")), str(each.get("status"))
        style = _STYLES.get(state, "")
        if type_ in _BAD:
            style = "red" if state == "True" else "green"
        elif type_ in _NEUTRAL:
            style = ""
        table.add_row(
            type_,
            Text(state, style),
            str(each.get("reason")),
            age(each.get("lastTransitionTime"), now),
            Text(str(each.get("message") or "")),
        )
    yield table


def _devices(status: Data) -> Iterator[RenderableType]:
    devices = status.get("devices") or ()
    if not devices:
        return
    table = _table("Device", "Figures", "Ready", "Latency error", "ProfilingJob")
    for each in devices:
        error = each.get("latencyError")
        ready = Text("yes", "green") if each.get("ready") else Text(each.get("reason") or "no")
        table.add_row(
            str(each.get("name")),
            Text(str(each.get("source")), _source_style(each.get("source"))),
            ready,
            "" if error is None else f"{error:.1%}",
            str(each.get("profilingJob") or ""),
        )
    yield table


def _errors(status: Data) -> Iterator[RenderableType]:
    errors = status.get("errors") or ()
    if not errors:
        return
    table = _table("Measure", "Claimed mean error", "")
    for each in errors:
        error, name = each.get("error"), str(each.get("measure"))
        table.add_row(
            _MEASURES.get(name, (name, ""))[0],
            "not predictable" if error is None else f"{error:.1%}",
            Text(str(each.get("reason") or ""), "dim"),
        )
    yield table


def _costs(status: Data) -> Iterator[RenderableType]:
    """What the architectures measured cost."""
    costs = status.get("costs") or {}
    titles = ("Least", "Median", "Most")
    table = _table("Measured", *titles, right=titles)
    for each in HARDWARE:
        found = costs.get(each.alias)
        if found:
            values = (found["min"], found["median"], found["max"])
            table.add_row(each.description, *(f"{_number(value)} {each.unit}" for value in values))
    if table.row_count:
        yield table


def _candidates(status: Data) -> Iterator[RenderableType]:
    """The best, beside what it is compared with, and the Pareto front."""
    rows = [("Best", status.get("best")), ("Baseline", status.get("baseline")),
            ("Given", status.get("root"))]  # fmt: skip
    front: Sequence[Data] = status.get("paretoFront") or ()
    best = status.get("best") or {}
    rows += [
        ("Front", each)
        for each in front
        if (each.get("id"), each.get("device")) != (best.get("id"), best.get("device"))
    ]
    shown = [(title, each) for title, each in rows if each]
    if not shown:
        return
    used = [name for name in _MEASURES if any(each.get(name) is not None for _, each in shown)]
    table = _table("", "Id", "Device", *(_MEASURES[name][0] for name in used), right=("Id", *(
        _MEASURES[name][0] for name in used)))  # fmt: skip
    for title, each in shown:
        style = "bold" if title == "Best" else ""
        table.add_row(
            title,
            str(each.get("id")),
            str(each.get("device")),
            *(_measure(name, each.get(name), estimated=each.get("estimated")) for name in used),
            style=style,
        )
    yield table
    size = status.get("paretoSize")
    if size and size > len(front):
        yield Text(f"The Pareto front has {size} candidates; {len(front)} are shown.", "dim")


def _places(data: Data, status: Data) -> Iterator[RenderableType]:
    for title, value in (
        ("Node", status.get("node")),
        ("Refined by", status.get("refinement") and f"GPTranRun/{status['refinement']}"),
        ("Results", ", ".join(status.get("results") or ())),
        ("Artifacts", status.get("artifacts")),
        ("Failed workers", status.get("failures") or None),
    ):
        if value:
            yield Text.assemble((f"{title}: ", "dim"), str(value))
    if status.get("results"):
        target = f"{data['kind'].lower()}/{data['metadata']['name']}"
        yield Text(f"kubectl edgetran show {target} prints the result.", "dim")


def _measure(name: str, value: Any, *, estimated: Any = None) -> Text:
    """A measure with its unit; a cost with the colour of its origin."""
    unit, source = _MEASURES[name][1], ""
    if isinstance(value, dict):
        source, value = str(value.get("source") or ""), value.get("value")
    if value is None:
        return Text("—", "dim")
    if name == "accuracy" and estimated:
        return Text(f"{value:.4f} est")
    if name in ("accuracy", "testAccuracy", "objective"):
        return Text(f"{value:.4f}")
    text = f"{value:,}" if name == "parameters" else f"{_number(value)} {unit}"
    short = {"measured": "meas", "predicted": "pred", "simulated": "sim"}.get(source)
    return Text.assemble(text, (f" {short}", _source_style(source)) if short else "")


def _source_style(source: Any) -> str:
    styles = {"measured": "green", "predicted": "cyan", "simulated": "yellow"}
    return styles.get(str(source), "")


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _table(*titles: str, right: Sequence[str] = ()) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for title in titles:
        long = title in ("Message", "")
        table.add_column(
            title, overflow="fold", no_wrap=not long, justify="right" if title in right else "left"
        )
    return table
