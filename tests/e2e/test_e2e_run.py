"""`edgetran run` from one YAML to a model, a table and a report."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import call, command, small_run

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

FRESH = """
import json, sys
import numpy as np
import onnxruntime
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
import edgetran.models
from edgetran.training import load_task

folder = sys.argv[1]
examples = load_task(name="movie-reviews").test
tokenizer = AutoTokenizer.from_pretrained(f"{folder}/model")
model = AutoModelForSequenceClassification.from_pretrained(f"{folder}/model").eval()
session = onnxruntime.InferenceSession(f"{folder}/model.onnx")
torch_labels, onnx_labels = [], []
for start in range(0, len(examples), 64):
    texts = [example.text for example in examples[start : start + 64]]
    inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    with torch.no_grad():
        torch_labels += model(**inputs).logits.argmax(-1).tolist()
    feeds = {each.name: inputs[each.name].numpy() for each in session.get_inputs()}
    onnx_labels += session.run(["logits"], feeds)[0].argmax(-1).tolist()
labels = np.array([example.label for example in examples])
print(json.dumps({
    "examples": len(examples),
    "same": int((np.array(torch_labels) == np.array(onnx_labels)).sum()),
    "accuracy": float((np.array(torch_labels) == labels).mean()),
}))
"""


def test_the_folder_holds_all_that_is_documented(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    for name in (
        "spec.yaml",
        "result.json",
        "trials.jsonl",
        "profiles/this-host.jsonl",
        "gptran/tree.jsonl",
        "model/config.json",
        "model/model.safetensors",
        "model/tokenizer.json",
        "model.onnx",
        "report.html",
        "log.jsonl",
    ):
        assert (folder / name).stat().st_size > 0, name


def test_the_result_states_every_figure_with_unit_and_origin(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    result = json.loads((folder / "result.json").read_text())
    for name in ("winner", "baseline"):
        figures = result[name]["figures"]
        assert figures["accuracy"]["source"] == "measured"
        assert 0 <= figures["accuracy"]["value"] <= 1
        assert figures["parameters"]["source"] == "counted"
        for measure, unit in (("latencyMs", "ms"), ("energyMj", "mJ"), ("peakPowerW", "W")):
            figure = figures[measure]
            assert figure["unit"] == unit
            assert figure["value"] is not None or figure["reason"]
            expected = "simulated" if result[name]["deviceKind"] == "simulated" else "measured"
            assert figure["source"] == expected
        assert result[name]["onHost"]["latencyMs"]["source"] == "measured"
        assert result[name]["onHost"]["latencyMs"]["value"] > 0
    assert result["winner"]["device"] == result["baseline"]["device"]
    kinds = {device["name"]: device["kind"] for device in result["devices"]}
    assert kinds == {
        "this-host": "host",
        "raspberry-pi-4": "simulated",
        "jetson-nano": "simulated",
    }
    assert result["seed"] == 0
    assert result["versions"]["torch"]
    assert result["counts"]["trials"] == 4


def test_the_baseline_is_trained_as_long_as_the_winner(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    result = json.loads((folder / "result.json").read_text())
    assert result["baseline"]["trainingSteps"] == result["winner"]["trainingSteps"] > 0


def test_the_table_sets_winner_and_baseline_side_by_side(finished: tuple[Path, str]) -> None:
    folder, printed = finished
    for word in ("Winner", "Baseline", "accuracy", "Latency", "Energy", "Peak power", "Parameters"):
        assert word.lower() in printed.lower(), word
    shown = call(command("show", folder))
    assert shown.returncode == 0
    lines = [line.strip() for line in shown.stdout.splitlines() if line.strip()]
    assert len(lines) > 8
    assert lines == [line.strip() for line in printed.splitlines() if line.strip()][-len(lines) :]


def test_progress_names_every_stage(finished: tuple[Path, str]) -> None:
    _, printed = finished
    for stage in ("Load the task", "Profile this-host", "Search", "Grow and prune", "Baseline"):
        assert f"{stage}: started" in printed


def test_model_and_onnx_load_in_a_fresh_process_and_agree(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    done = subprocess.run(
        [sys.executable, "-c", FRESH, str(folder)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    fresh = json.loads(done.stdout)
    result = json.loads((folder / "result.json").read_text())
    assert fresh["same"] == fresh["examples"] == result["agreement"]["examples"]
    assert fresh["accuracy"] == pytest.approx(result["winner"]["figures"]["accuracy"]["value"])


def test_a_finished_run_is_shown_again_and_nothing_is_done_twice(
    finished: tuple[Path, str],
) -> None:
    folder, _ = finished
    before = (folder / "log.jsonl").read_bytes()
    again = call(small_run(folder))
    assert again.returncode == 0, again.stderr
    assert "this run is already complete" in again.stdout
    assert (folder / "log.jsonl").read_bytes() == before


def test_another_specification_is_refused_and_the_folder_left_alone(
    finished: tuple[Path, str],
) -> None:
    folder, _ = finished
    before = sorted((path.name, path.stat().st_mtime_ns) for path in folder.iterdir())
    refused = call(small_run(folder, "CoDesignSearch:spec.seed=7"))
    assert refused.returncode == 2
    assert "holds a run of another specification" in refused.stderr
    assert sorted((path.name, path.stat().st_mtime_ns) for path in folder.iterdir()) == before


def test_a_profiling_job_alone_measures_and_ends(tmp_path: Path) -> None:
    text = """
apiVersion: edgetran.io/v1alpha1
kind: ProfilingJob
metadata: {name: alone}
spec:
  device: {name: here, host: true, threads: 1}
  designSpace: {preset: tiny}
  workload: {batchSize: 1, sequenceLength: 16}
  measurement: {mode: quick}
  sampling: {initial: 4, maxMeasurements: 4}
"""
    (tmp_path / "alone.yaml").write_text(text)
    done = call(command("run", "-f", tmp_path / "alone.yaml", "-o", tmp_path / "run"))
    assert done.returncode == 0, done.stdout + done.stderr
    records = [
        json.loads(line)
        for line in (tmp_path / "run" / "profiles" / "here.jsonl").read_text().splitlines()
    ]
    measured = [record for record in records if record["kind"] == "measurement"]
    assert len(measured) == 4
    assert all(record["latency_ms"]["median"] > 0 for record in measured)
    assert json.loads((tmp_path / "run" / "result.json").read_text())["winner"] is None
