"""The terminal's tables fit the terminal and tell of every figure what it is."""

from __future__ import annotations

import io
import json

import pytest
import yaml
from rich.console import Console

from edgetran.devices import Figure
from edgetran.report import devices_table, result_table, trials_table
from edgetran.report.measured import model_names
from edgetran.report.reading import RunRecords
from edgetran.search import read_trials
from edgetran.space import Architecture


def printed(renderable, width: int = 120) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(renderable)
    return console.file.getvalue()


def row(title: str, device: str = "this-host", **figures: Figure) -> dict:
    return {
        "title": title,
        "device": device,
        "deviceKind": "host" if device == "this-host" else "simulated",
        "trainingSeconds": 80.0,
        "figures": {name: figure.to_dict() for name, figure in figures.items()},
        "onHost": None,
    }


def line(text: str, start: str) -> str:
    return next(each for each in text.splitlines() if each.strip().startswith(start))


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", ["full", "bare", "profile"])
def test_tables_fit_the_terminal(run_folder, name, width):
    result = json.loads((run_folder(name) / "result.json").read_text())
    text = printed(result_table(result), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text


def test_winner_and_baseline_stand_side_by_side(run_folder):
    result = json.loads((run_folder("full") / "result.json").read_text())
    text = printed(result_table(result))
    for name, figure in (("Latency", "latencyMs"), ("Energy", "energyMj")):
        winner, baseline = (result[key]["figures"][figure] for key in ("winner", "baseline"))
        shown = line(text, name)
        assert shown.count(winner["source"]) == 2
        assert f"{winner['value'] / baseline['value']:.2f}×" in shown
    assert "raspberry-pi-4 (simulated)" in text
    assert "Run on this host" in text


def test_a_missing_figure_is_a_dash_with_a_footnote():
    reason = "no power source found"
    winner = row(
        "Winner",
        latencyMs=Figure(2.5, "ms", "predicted"),
        energyMj=Figure.missing("mJ", "measured", reason),
        peakPowerW=Figure.missing("W", "measured", reason),
    )
    baseline = row("Baseline", latencyMs=Figure(5.0, "ms", "predicted"))
    text = printed(result_table({"winner": winner, "baseline": baseline}))
    assert "— [1]" in line(text, "Energy")
    assert "— [1]" in line(text, "Peak power")
    assert text.count(reason) == 1
    assert "0.50×" in line(text, "Latency")


def test_quality_is_compared_in_points_and_named_as_the_task_names_it():
    rows = {
        key: row(key, accuracy=Figure(value, "", "measured"))
        for key, value in (("winner", 0.61), ("baseline", 0.65))
    }
    text = printed(result_table(rows | {"task": {"metric": "matthews_correlation"}}))
    assert "−4.0 pt" in line(text, "Test matthews correlation")


def test_a_run_on_the_host_itself_is_not_shown_twice(run_folder):
    result = json.loads((run_folder("bare") / "result.json").read_text())
    winner = result["winner"]
    if winner["device"] != winner["onHost"]["device"]:
        pytest.fail("the scenario should have a winner on the host")
    assert "Run on this host" not in printed(result_table(result))


def test_markup_in_names_is_not_interpreted():
    winner = row("[red]Winner[/red]", device="[bold]x[/bold]")
    text = printed(result_table({"winner": winner, "baseline": None}))
    assert "[bold]x[/bold]" in text
    assert "[red]Winner[/red]" in text


def test_trials_and_devices_are_listed(run_folder):
    folder = run_folder("full")
    trials = read_trials(folder / "trials.jsonl")
    text = printed(trials_table(trials, front=[1]), 160)
    assert "1 ★" in text
    assert "failed: diverged" in text
    result = json.loads((folder / "result.json").read_text())
    devices = printed(devices_table(result))
    assert "raspberry-pi-4-cpu" in devices
    assert "latency" in line(devices, "this-host")


def test_the_runs_own_copy_names_a_given_model_whose_folder_is_gone(tmp_path):
    copy = tmp_path / "checkpoints" / "adopted-mini[lm]-0123abcd"
    copy.mkdir(parents=True)
    architecture = Architecture.homogeneous(
        num_layers=1, hidden_size=32, num_heads=2, feed_forward=[32]
    )
    (copy / "config.json").write_text(json.dumps({"architecture": architecture.to_model_dict()}))
    spec = yaml.safe_dump({"kind": "ProfilingJob", "spec": {"models": ["models/mini[lm]"]}})
    run = RunRecords(tmp_path, {}, spec, None, {}, {}, None, ())
    assert model_names(run) == {architecture.graph_hash: "models/mini[lm]"}
