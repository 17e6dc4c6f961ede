"""The HTML report: one file with everything in it, made from what a run left in its folder."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgetran.api.measures import HARDWARE
from edgetran.devices import Figure
from edgetran.records import write_atomically
from edgetran.report import sections, wording
from edgetran.report.plotting import figure_json, graph_objects, missing_extra
from edgetran.report.reading import RunRecords, read_run
from edgetran.report.winners import winner_rows

if TYPE_CHECKING:
    import jinja2

REPORT_NAME: Final = "report.html"

_POLICY: Final = (
    "default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'"
)
"""Nothing is fetched from anywhere and no script runs but the two whose hashes are given; plotly
writes styles while it draws."""


def write_report(run_folder: Path) -> Path:
    """Write `report.html` of a run into its folder.

    Args:
        run_folder: the folder of a finished run.

    Returns:
        The file: self-contained, opens without a network.

    Raises:
        ReportError: the folder holds no result.
        ModuleNotFoundError: jinja2 or plotly is not installed; names the extra.
    """
    path = Path(run_folder) / REPORT_NAME
    write_atomically(path, render(read_run(Path(run_folder))))
    return path


def render(run: RunRecords) -> str:
    """The report as HTML.

    Raises:
        ModuleNotFoundError: jinja2 or plotly is not installed; names the extra.
    """
    graph_objects()
    plots = Plots()
    context = {
        "run": run,
        "result": run.result,
        "title": str(run.result.get("name") or run.folder.name),
        "summary": sections.summary(run),
        "cards": sections.cards(run),
        "comparison": sections.comparison(run),
        "exports": sections.exports(run),
        "quality": wording.metric_title(run.result, "accuracy"),
        "pareto": [plots.add(*each) for each in sections.pareto_plots(run)],
        "winners": winner_rows(run),
        "progress": [plots.add(*each) for each in sections.progress_plots(run)],
        "trials": sections.trial_rows(run),
        "drawings": sections.drawings(run),
        "gptran": [plots.add(*each) for each in sections.gptran_plots(run)],
        "gptran_outcome": (run.result.get("gptran") or {}).get("reason"),
        "nodes": sections.node_rows(run),
        "devices": sections.devices(run),
        "agreement": [plots.add(*each) for each in sections.agreement_plots(run)],
        "conditions": sections.conditions(run),
        "host": sections.host(run),
        "versions": (run.result.get("versions") or {}).items(),
        "notes": sections.notes(run),
        "files": {"model": None, "onnx": None} | (run.result.get("files") or {}),
        "sources": wording.SOURCES,
        "short_sources": wording.SHORT_SOURCES,
        "legend": sections.pareto_legend(run),
    }
    return page("report.html.j2", context, plots)


def page(template: str, context: Mapping[str, Any], plots: Plots) -> str:
    """A template with its plots, as one file that loads nothing and runs no other script.

    Raises:
        ModuleNotFoundError: jinja2 or plotly is not installed; names the extra.
    """
    plotly_script = _plotly_script() if plots.figures else ""
    script = packaged("report.js")
    hashes = " ".join(_hash(text) for text in (plotly_script, script) if text)
    text: str = (
        _environment()
        .get_template(template)
        .render(
            context,
            hardware=HARDWARE,
            costs=[(measure.title, "n") for measure in HARDWARE],
            policy=_POLICY.format(scripts=hashes),
            plots=plots.to_json(),
            plotly_script=plotly_script,
            script=script,
            style=packaged("report.css"),
        )
    )
    return text


@dataclass(frozen=True)
class Plot:
    """A place for a plot on the page."""

    id: str
    caption: str
    description: str


class Plots:
    """The plots of a page by the id of their place."""

    def __init__(self) -> None:
        self.figures: dict[str, dict[str, Any]] = {}

    def add(self, figure: Any, caption: str, description: str) -> Plot:
        """Take a figure; its place on the page."""
        place = Plot(f"plot-{len(self.figures)}", caption, description)
        self.figures[place.id] = figure_json(figure)
        return place

    def to_json(self) -> str:
        """All figures as JSON that can stand in a script element."""
        text = json.dumps(self.figures, separators=(",", ":"), allow_nan=False)
        for character in "<>&\u2028\u2029":
            text = text.replace(character, f"\\u{ord(character):04x}")
        return text


def _environment() -> jinja2.Environment:
    try:
        import jinja2
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(missing_extra("jinja2"), name="jinja2") from error
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("edgetran.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "measure": _measure,
        "number": wording.number,
        "count": wording.count,
        "quality": wording.quality,
        "seconds": wording.seconds_text,
        "moment": _moment,
        "layers": wording.describe,
    }
    return environment


def _measure(figure: Figure | None, name: str) -> str:
    return wording.measure_text(name, figure)


def _moment(text: str | None) -> str:
    """An ISO moment as people write it; what cannot be read stays as it is."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return text or ""
    zone = moment.strftime(" %Z") if moment.tzinfo is not None else ""
    return f"{moment:%Y-%m-%d %H:%M}{zone}"


def packaged(name: str) -> str:
    """The text of a file that ships beside the templates."""
    return resources.files("edgetran.report").joinpath("templates", name).read_text("utf-8")


def _plotly_script() -> str:
    from plotly.offline import get_plotlyjs

    text: str = get_plotlyjs()
    # A parser normalises line ends before the hash of the policy is compared.
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
