"""Whoever follows docs/extending.md gets what it promises, in a copy of the tree."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXTENDING = (ROOT / "docs" / "extending.md").read_text()
STEP = re.compile(r"^\d+\. `(\S+)`.*?^   ```diff\n(.*?)^   ```$", re.M | re.S)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is shipped and of what writes the generated files."""
    copy = tmp_path_factory.mktemp("tree")
    for name in ("edgetran", "operator", "workers", "hack", "charts", "crds", "docs"):
        ignored = shutil.ignore_patterns("__pycache__", "images")
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    return copy


def steps(heading: str) -> list[tuple[str, str]]:
    """Path and change of each step below a heading."""
    section = EXTENDING.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [(path, textwrap.dedent(change)) for path, change in STEP.findall(section)]


def follow(tree: Path, path: str, change: str) -> None:
    """Make the change: lines with + go where the lines without it are, which must be one place."""
    lines = change.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if not line.startswith("+"))
    after = "".join(line[1:] for line in lines)
    file = tree / path
    text = file.read_text()
    assert text.count(before) == 1, (path, before)
    file.write_text(text.replace(before, after))


def run(tree: Path, code: str) -> None:
    """Run code in a process that knows the copy alone."""
    paths = [str(tree / name) for name in (".", "operator", "workers", "hack")]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_measure_is_six_edits_and_everything_shows_it(tree: Path) -> None:
    edits = steps("A measure")
    assert len(edits) <= 6
    for path, change in edits:
        follow(tree, path, change)
    run(
        tree,
        """
        from pathlib import Path
        from types import SimpleNamespace

        import edgetran
        from rich.console import Console

        assert Path(edgetran.__file__).is_relative_to(Path.cwd())

        def printed(view):
            console = Console(width=200)
            with console.capture() as captured:
                console.print(view)
            return captured.get()

        # What a resource may ask for, and what its status says.
        from edgetran.api import CandidateSummary, ConstraintsSpec, WeightsSpec
        from edgetran.api.profiling_job import MeasuredCosts, PredictionError

        assert ConstraintsSpec.model_validate({"meanPowerW": {"max": 5}}).mean_power_w.max == 5
        assert WeightsSpec.model_validate({"meanPower": 0.5}).mean_power == 0.5
        assert "mean_power_w" in CandidateSummary.model_fields
        assert "mean_power_w" in MeasuredCosts.model_fields
        assert PredictionError(measure="meanPowerW").measure == "meanPowerW"

        # A simulated board has it, a search weighs and bounds it.
        from edgetran.devices import HardwareFigures, Workload, simulated_device
        from edgetran.search import Bound, Constraints, Measures, Objective, Weights
        from edgetran.space import Architecture

        board = simulated_device("raspberry-pi-4-cpu")
        small = Architecture.homogeneous(
            num_layers=2, hidden_size=128, num_heads=2, feed_forward=[256]
        )
        figures = board.estimate(small, Workload(1, 64))
        assert board.idle_power_w < figures.mean_power_w.value < figures.peak_power_w.value + 1e-9
        told = figures.to_dict()
        assert HardwareFigures.from_dict(told) == figures
        del told["mean_power_w"]  # as an older version wrote it
        assert HardwareFigures.from_dict(told).mean_power_w.value is None
        measures = Measures.untrained(figures, 1000)
        (broken,) = Constraints(mean_power_w=Bound(maximum=0.1)).violations(measures)
        assert broken.startswith("mean_power_w")
        only = Weights(accuracy=0, latency=0, energy=0, peak_power=0, mean_power=1)
        assert Objective.over({"pi": [measures]}, weights=only).cost_value(measures) is not None

        # The definitions, the chart and the dashboards, as `make generate` writes them.
        import chart
        import crds
        import dashboards

        for path, text in crds.files():
            assert "meanPowerW:" in text and "Mean-power-W" in text, path
        made = {path.name: text for path, text in chart.files()}
        assert "- last_mean_power_watts" in made["_measures.tpl"]
        assert "- mean_power_w" in made["_measures.tpl"]
        boards = {path.name: text for path, text in dashboards.files()}
        assert "edgetran_search_best_mean_power_watts" in boards["search.json"]
        assert "edgetran_pareto_mean_power_watts" in boards["search.json"]
        assert "edgetran_profiling_median_mean_power_watts" in boards["fleet.json"]
        assert "edgetran_worker_last_mean_power_watts" in boards["profiling.json"]

        # Tables and the report.
        from edgetran.report import plotting, result_table, sections

        row = {
            "title": "Winner", "device": "pi", "deviceKind": "simulated", "graphHash": "0",
            "figures": {name: each.to_dict() for name, each in figures.by_alias().items()},
        }
        assert "Mean power" in printed(result_table({"winner": row}))
        shown = sections.cards(SimpleNamespace(result={"winner": row}))
        assert "Mean power" in [card.title for card in shown]
        assert plotting.AXES["mean_power_w"] == "Mean power (W)"

        # kubectl edgetran.
        from datetime import UTC, datetime

        from edgetran.kubectl.status_view import status_view

        best = {"id": 1, "device": "pi", "meanPowerW": {"value": 3.5, "source": "simulated"}}
        costs = {"meanPowerW": {"min": 2.5, "median": 3.25, "max": 4.5}}
        data = {"kind": "ProfilingJob", "metadata": {"name": "x"},
                "status": {"best": best, "costs": costs}}
        screen = printed(status_view(data, None, datetime.now(UTC)))
        assert "3.5 W sim" in screen and "2.5 W" in screen and "3.25 W" in screen

        # The operator's metrics, and the workers'.
        from edgetran_operator.kube.cache import Key
        from edgetran_operator.metrics.collector import _BEST
        from edgetran_operator.metrics.runs import run_metrics
        from edgetran_workers.metrics import _MEASURES

        front = [{"id": 1, "device": "pi", "meanPowerW": {"value": 3.5}}]
        resources = [
            (Key("ProfilingJob", "ns", "x"), SimpleNamespace(status={"costs": costs}, spec="{}")),
            (Key("CoDesignSearch", "ns", "x"), SimpleNamespace(
                status={"paretoFront": front}, spec='{"devices": [{"name": "pi"}]}')),
        ]
        found = {each.name: each.samples for each in run_metrics(resources, {})}
        assert [s.value for s in found["edgetran_pareto_mean_power_watts"]] == [3.5]
        assert [s.value for s in found["edgetran_profiling_median_mean_power_watts"]] == [3.25]
        assert _BEST["meanPowerW"][0] == "edgetran_search_best_mean_power_watts"
        assert "best_mean_power_w" in _MEASURES and "last_mean_power_w" in _MEASURES
        """,
    )
