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
ITEM = re.compile(r"^(?=\d+\. )", re.M)
BLOCK = re.compile(r"^   ```(diff|python)\n(.*?)^   ```$", re.M | re.S)
NAMED = re.compile(r"`(edgetran/\S+?\.\w+|docs/\S+?\.md)`")
SECTIONS = (
    "A simulated board",
    "A power source",
    "A search method",
    "A field of a search",
    "A measure",
)
GENERATORS = ("crds", "chart", "dashboards", "benchmarks", "reference")
STILL_GREEN = (
    "tests/unit/test_names.py",
    "tests/unit/test_docs_reference.py",
    "tests/unit/api/test_api_models.py",
    "tests/unit/chart/test_chart_generated.py",
    "tests/unit/crds/test_crds_schema.py",
    "tests/unit/devices/test_devices_simulated.py",
    "tests/unit/devices/test_devices_power_sources.py",
    "tests/unit/search/test_search_loop.py",
)
"""What judges the parts that the page changes."""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree in which every change of the page is made, and all is generated."""
    copy = tmp_path_factory.mktemp("tree")
    ignored = shutil.ignore_patterns("__pycache__", "images")
    for name in (
        *("edgetran", "operator", "workers", "hack", "charts", "crds", "docs", "tests"),
        *("benchmarks", "examples"),
    ):
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "Makefile"):
        shutil.copy(ROOT / name, copy / name)
    for heading in SECTIONS:
        for path, kind, change in steps(heading):
            follow(copy, path, kind, change)
    for name in GENERATORS:
        python(copy, f"hack/{name}.py")
    return copy


def steps(heading: str) -> list[tuple[str, str, str]]:
    """Path, kind and text of each change below a heading, in order."""
    section = EXTENDING.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    found = []
    for item in ITEM.split(section)[1:]:
        for block in BLOCK.finditer(item):
            # of several files named before a block, the last is the one that it changes
            path = NAMED.findall(item[: block.start()])[-1 if block[1] == "python" else 0]
            found.append((path, block[1], textwrap.dedent(block[2])))
    return found


def follow(tree: Path, path: str, kind: str, change: str) -> None:
    """Make the change: a new file, or a diff, whose place must be the only one like it."""
    file = tree / path
    if kind == "python":
        assert not file.exists(), path
        file.write_text(change)
        return
    lines = change.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if not line.startswith("+"))
    after = "".join(line[1:] for line in lines if not line.startswith("-"))
    text = file.read_text()
    assert text.count(before) == 1, (path, before)
    file.write_text(text.replace(before, after))


def python(tree: Path, *arguments: str) -> str:
    """Run Python in a process that knows the copy alone; what it prints."""
    paths = [str(tree / name) for name in (".", "operator", "workers", "hack")]
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    return done.stdout


def run(tree: Path, code: str) -> None:
    """Run code in such a process."""
    python(tree, "-c", textwrap.dedent(code))


@pytest.mark.parametrize("heading", SECTIONS)
def test_every_change_is_shown(heading: str) -> None:
    assert len(steps(heading)) >= 2


def test_a_simulated_board_can_be_asked_for_and_calculates(tree: Path) -> None:
    run(
        tree,
        """
        from pathlib import Path

        from edgetran.api import Device
        from edgetran.devices import Workload, simulated_device
        from edgetran.space import Architecture

        name = "rockchip-rk3588-cpu"
        assert Device(name="board", simulation=name).simulation == name
        small = Architecture.homogeneous(
            num_layers=2, hidden_size=128, num_heads=2, feed_forward=[256]
        )
        figures = simulated_device(name).estimate(small, Workload(1, 64))
        assert figures.latency_ms.value > 0 and figures.latency_ms.source == "simulated"
        for kind in ("profilingjobs", "codesignsearches", "gptranruns"):
            assert f"- {name}" in Path(f"crds/edgetran.io_{kind}.yaml").read_text()
        """,
    )
    assert "rockchip-rk3588-cpu" in python(tree, "-m", "edgetran.cli", "devices")


def test_a_power_source_is_found_and_can_be_asked_for(tree: Path) -> None:
    run(
        tree,
        """
        import tempfile
        from pathlib import Path

        import pytest

        from edgetran.api import EnergySettings
        from edgetran.devices import SensorError
        from edgetran.devices.power.discovery import best_power_source

        assert EnergySettings(source="milliwatts").source == "milliwatts"
        root = Path(tempfile.mkdtemp())
        assert "milliwatts: " in best_power_source(root=root).available()
        file = root / "run/board/power_mw"
        file.parent.mkdir(parents=True)
        file.write_text("2500")
        source = best_power_source(root=root)
        assert source.name == "milliwatts" and source.read() == 2.5
        file.write_text("-3")
        with pytest.raises(SensorError):
            source.read()
        """,
    )


def test_a_search_method_runs_as_the_others_do(tree: Path) -> None:
    (example,) = re.findall(
        r"^```python\n(.*?)^```$", EXTENDING.split("\n## A search method\n")[1], re.M | re.S
    )
    python(tree, "-c", example.replace('"random"', '"smallest"'))
    run(
        tree,
        """
        from edgetran.api.codesign_search import SearchSettings
        from edgetran.search import METHODS

        assert "smallest" in METHODS
        assert SearchSettings(method="smallest").method == "smallest"
        """,
    )


def test_a_field_of_a_search_is_checked_and_followed(tree: Path) -> None:
    run(
        tree,
        """
        import sys
        import tempfile
        from pathlib import Path

        import pytest
        from pydantic import ValidationError

        sys.path[:0] = ["tests/unit/search"]
        from test_search_loop import plan, search

        from edgetran.api import CoDesignSearchSpec
        from edgetran.api.codesign_search import SearchSettings
        from edgetran.runner.translate import search_plan

        with pytest.raises(ValidationError):
            SearchSettings(target_accuracy=1.5)
        device = {"name": "pi", "simulation": "raspberry-pi-4-cpu"}
        spec = CoDesignSearchSpec.model_validate({
            "task": {"name": "movie-reviews"}, "designSpace": {"preset": "tiny"},
            "devices": [device], "search": {"targetAccuracy": 0.75},
        })
        made = search_plan(spec, plan().trial, plan().workload, {})
        assert made.target_accuracy == 0.75
        whole = search(Path(tempfile.mkdtemp()))
        least = min(e.measures.value("accuracy") for _, e in whole.evaluations)
        cut = search(Path(tempfile.mkdtemp()), target_accuracy=least)
        assert 1 <= len(cut.trials) < len(whole.trials)
        assert "targetAccuracy" in Path("crds/edgetran.io_codesignsearches.yaml").read_text()
        assert "targetAccuracy" in Path("docs/reference.md").read_text()
        """,
    )


def test_a_measure_is_six_edits_and_everything_shows_it(tree: Path) -> None:
    assert len(steps("A measure")) <= 6
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

        # A refinement solves for it.
        from edgetran.gptran import milestones

        assert milestones._WORDS["mean_power_w"] == ("mean power", " W")

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


def test_the_changed_tree_is_green(tree: Path) -> None:
    for name in GENERATORS:
        python(tree, f"hack/{name}.py", "--check")
    python(tree, "-m", "ruff", "check", "edgetran", "hack")
    python(tree, "-m", "ruff", "format", "--check", "edgetran", "hack")
    python(tree, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *STILL_GREEN)
