"""Tables for the terminal: the result of a run side by side with its baseline, trials, devices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edgetran.api.measures import HARDWARE
from edgetran.devices import Figure
from edgetran.report import wording

if TYPE_CHECKING:
    from edgetran.search import Trial

_STYLES = {
    "measured": "green",
    "predicted": "cyan",
    "estimated": "magenta",
    "simulated": "yellow",
    "counted": "dim",
}


class _Footnotes:
    """Reasons why figures are missing, each told once and numbered."""

    def __init__(self) -> None:
        self._reasons: list[str] = []

    def mark(self, reason: str) -> str:
        """The mark of a reason."""
        if reason not in self._reasons:
            self._reasons.append(reason)
        return f"[{self._reasons.index(reason) + 1}]"

    def lines(self) -> list[Text]:
        """One line per reason."""
        return [
            Text(f" [{number}] {_sentence(reason)}", style="dim")
            for number, reason in enumerate(self._reasons, start=1)
        ]


def result_table(result: Mapping[str, Any]) -> RenderableType:
    """The winner, side by side with the baseline, every figure with its unit and its origin.

    Args:
        result: the content of a run's `result.json`.

    Returns:
        What `rich` can print, from 80 columns on. A run that measured a device only gives the
        table of its devices.
    """
    winner, baseline = result.get("winner"), result.get("baseline")
    if winner is None:
        return devices_table(result)
    rows = [row for row in (winner, baseline) if row is not None]
    notes = _Footnotes()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("")
    for row in rows:
        table.add_column(Text(str(row["title"])), overflow="fold")
    if baseline is not None:
        table.add_column("÷ baseline", justify="right", no_wrap=True)

    def add(title: str, cells: Sequence[Text], ratio: str = "") -> None:
        table.add_row(Text(title), *cells, *([ratio] if baseline is not None else []))

    add("Device", [_device(row) for row in rows])
    if any(row.get("artifact") for row in rows):
        add("Made for", [Text(wording.artifact_text(row)) for row in rows])
    for name in wording.shown_measures(rows):
        title = wording.metric_title(result, name)
        add(title, *_figure_cells(rows, name, "figures", notes))
    add(
        "Training",
        [Text(wording.seconds_text(row.get("trainingSeconds"))) for row in rows],
        wording.ratio_text(*_pair(rows, [row.get("trainingSeconds") for row in rows])),
    )
    if wording.ran_elsewhere(rows):
        table.add_section()
        add("Run on this host", [Text("") for _ in rows])
        for name, title in wording.HOST_MEASURES.items():
            add(f"  {title}", *_figure_cells(rows, name, "onHost", notes))
    return Group(table, *notes.lines())


def trials_table(trials: Iterable[Trial], front: Iterable[int] = ()) -> Table:
    """One line per trial, on the device that it was proposed for; `front` numbers are starred."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    shown = [each for each in HARDWARE if each.summable]  # there is no room for all
    titles = ["Accuracy", *(each.title for each in shown), "Parameters", "Objective"]
    for title in ("Trial", *titles):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("Device")
    table.add_column("Proposed by", overflow="fold")
    starred = set(front)
    for trial in trials:
        number = f"{trial.number}{' ★' if trial.number in starred else ''}"
        judged = trial.evaluation
        if judged is None:
            failure = Text(f"failed: {trial.error}", style="red")
            table.add_row(number, *[wording.MISSING] * len(titles), trial.candidate.device, failure)
            continue
        hardware = judged.measures.hardware
        table.add_row(
            number,
            _quality(judged.measures.accuracy),
            *(_sourced(each.alias, hardware.of(each)) for each in shown),
            wording.count(judged.measures.parameters),
            wording.quality(judged.objective),
            Text(judged.candidate.device),
            Text(trial.proposed_by if judged.feasible else f"infeasible: {judged.reason}"),
        )
    return table


def devices_table(result: Mapping[str, Any]) -> RenderableType:
    """The devices of a run: what they are, how they were judged and with which error."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("Device", overflow="fold")
    table.add_column("Kind")
    table.add_column("Engine", overflow="fold")
    table.add_column("Measurements", justify="right")
    table.add_column("Claimed mean error")
    for device in result.get("devices") or []:
        profile = device.get("profile") or {}
        kind = "simulated" if device.get("kind") == "simulated" else "measured"
        table.add_row(
            Text(str(device["name"])),
            Text(kind, style=_STYLES[kind]),
            Text(engine_text(device)),
            "" if kind == "simulated" else wording.count(profile.get("records")),
            Text("; ".join(error_texts(profile)) or wording.MISSING),
        )
    return table


def engine_text(device: Mapping[str, Any]) -> str:
    """What runs models on a device: engine, precision, threads; or the simulation's name."""
    if device.get("kind") == "simulated":
        return f"{device.get('simulation') or 'analytic'}, {device.get('precision') or 'fp32'}"
    threads = device.get("threads")
    words = [device.get("engine"), device.get("precision"), f"{threads} threads" if threads else ""]
    return ", ".join(str(word) for word in words if word)


def error_texts(profile: Mapping[str, Any]) -> list[str]:
    """The claimed mean error of each measure of a profile, and the measures without a surrogate."""
    silent = profile.get("notPredictable") or {}
    texts = [
        f"{wording.hardware_word(name)} {quality['mean_error']:.1%}"
        for name, quality in (profile.get("error") or {}).items()
        if name not in silent
    ]
    return texts + [f"{wording.hardware_word(name)} not known" for name in silent]


def _figure_cells(
    rows: Sequence[Mapping[str, Any]], name: str, group: str, notes: _Footnotes
) -> tuple[list[Text], str]:
    """One cell per row, and the ratio of the first to the second."""
    figures = [wording.figure(row, name, group) for row in rows]
    values = [None if figure is None else figure.value for figure in figures]
    comparable = name not in wording.QUALITIES
    ratio = wording.ratio_text(*_pair(rows, values)) if comparable else _difference(values)
    return [_cell(name, figure, notes) for figure in figures], ratio


def _difference(values: Sequence[float | None]) -> str:
    if len(values) < 2 or values[0] is None or values[1] is None:
        return wording.MISSING
    return f"{100 * (values[0] - values[1]):+.1f} pt".replace("-", "−")


def _pair(rows: Sequence[Any], values: Sequence[Any]) -> tuple[Any, Any]:
    return (values[0], values[1]) if len(rows) > 1 else (None, None)


def _cell(name: str, figure: Figure | None, notes: _Footnotes) -> Text:
    if figure is None:
        return Text(wording.MISSING)
    text = _sourced(name, figure)
    if figure.reason:
        text.append(f" {notes.mark(figure.reason)}", style="dim")
    return text


def _quality(accuracy: Figure) -> Text:
    """An accuracy, marked where it is no measured one."""
    text = Text(wording.quality(accuracy.value))
    if accuracy.source != "measured":
        text.append(f" {accuracy.source}", style=_STYLES[accuracy.source])
    return text


def _sourced(name: str, figure: Figure) -> Text:
    text = Text(wording.measure_text(name, figure))
    if figure.value is not None:
        text.append(f" {figure.source}", style=_STYLES[figure.source])
    return text


def _device(row: Mapping[str, Any]) -> Text:
    text = Text(str(row["device"]))
    if row.get("deviceKind") == "simulated":
        text.append(" (simulated)", style=_STYLES["simulated"])
    return text


def _sentence(reason: str) -> str:
    return reason if reason.endswith(".") else f"{reason}."
