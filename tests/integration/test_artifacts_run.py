"""In a run's folder, what was timed is what was scored and is what is handed over."""

import io
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from rich.console import Console
from typer.testing import CliRunner

from edgetran import api
from edgetran.artifacts import (
    Artifact,
    Form,
    content_sha256,
    open_artifact,
    weights_sha256,
)
from edgetran.cli.app import app
from edgetran.devices.engines import OpenVinoEngine
from edgetran.profiling import Profile
from edgetran.progress import SilentProgress
from edgetran.records import read_records
from edgetran.report import result_table, write_report
from edgetran.runner.chain import plan_chain
from edgetran.runner.choice import Chooser
from edgetran.runner.folder import RunFolder
from edgetran.runner.run import run_chain
from edgetran.search import read_result
from edgetran.training import TrialPool, encode_task, evaluate, load_task, load_tokenizer

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SEARCH = """
apiVersion: edgetran.io/v1alpha1
kind: CoDesignSearch
metadata: {name: small}
spec:
  task: {files: {train: FILE}, tokenizer: {vocabSize: 300}}
  designSpace: {layers: [1], hiddenSizes: [16, 32], heads: [2], headTypes: [sa_sdp, c_5],
    feedForwardWidths: [64]}
  workload: {batchSize: 1, sequenceLength: 16}
  devices: [DEVICE]
  profiling:
    sampling: {initial: 4, maxMeasurements: 4}
    measurement: {mode: quick, coolDownSeconds: 0, maxRepeats: 0}
  search: {maxTrials: 2, parallelTrials: 1}
  baseline:
    architecture: {homogeneous: {layers: 1, hiddenSize: 32, heads: 2, feedForward: [32]}}
  training: {steps: 40, batchSize: 16, learningRate: 0.003}
  export: [{precision: int8}, {engine: openvino, precision: int8}, {engine: torch},
    {precision: int4}]
"""
REFINEMENT = """
---
apiVersion: edgetran.io/v1alpha1
kind: GPTranRun
metadata: {name: finer}
spec:
  searchRef: {name: small}
  cycles: 1
  stages: [growHeads, pruneFeedForwards]
  samplesPerStage: 1
  parallelTrials: 1
  training: {steps: 4, batchSize: 16}
"""
MEASURED = "{name: here, host: true, engine: onnxruntime, precision: int8, threads: 1}"
SIMULATED = "{name: pi, simulation: raspberry-pi-5-cpu, precision: int8}"


def run(folder: Path, text: str, device: str) -> dict:
    words = {"good": ("warm", "fine", "bright"), "bad": ("dull", "cold", "stale")}
    lines = [
        f"a {word} {thing} {time},{label}"
        for label, some in words.items()
        for word in some
        for thing in ("film", "song", "scene", "tale", "plot")
        for time in ("today", "again", "here", "now")
    ]
    (folder / "train.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    spec = folder / "run.yaml"
    spec.write_text(text.replace("FILE", str(folder / "train.csv")).replace("DEVICE", device))
    return complete(spec, folder / "run")


def complete(spec: Path, folder: Path) -> dict:
    """Run what `spec` asks for; trials run in this process, which spares Ray's start."""
    chain = plan_chain(api.load_bundle(spec))
    with pytest.MonkeyPatch.context() as patch, RunFolder(folder) as place:
        patch.setattr("edgetran.runner.run.TrialPool", lambda *given, **more: TrialPool(0))
        # Models as small as these take longer in int8; what then happens has tests of its own.
        patch.setattr("edgetran.runner.choice.latencies_ms", lambda *given, **more: [1.0, 2.0])
        patch.setattr(Chooser, "_loss", lambda self, judged: 0.0)
        place.claim(api.dump(*chain.resources))
        return run_chain(chain, place, SilentProgress())


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("measured")
    return folder / "run", run(folder, SEARCH, MEASURED)


@pytest.fixture(scope="module")
def refined(tmp_path_factory):
    folder = tmp_path_factory.mktemp("refined")
    return folder / "run", run(folder, SEARCH + REFINEMENT, SIMULATED)


@pytest.mark.parametrize("world", ["measured", "refined"])
def test_one_hash_stands_at_latency_accuracy_and_export_and_is_the_files(world, request):
    folder, result = request.getfixturevalue(world)
    export = result["exports"][0]
    winner = result["winner"]
    hashes = {
        *(winner["figures"][name]["artifact"] for name in ("latencyMs", "accuracy")),
        winner["artifact"]["sha256"],
        export["sha256"],
        content_sha256(folder / export["path"]),
        content_sha256(folder / winner["artifact"]["path"]),
        content_sha256(folder / result["files"]["onnx"]),
    }
    assert len(hashes) == 1
    for key in ("winner", "baseline"):
        row = result[key]
        artifact = Artifact.load((folder / row["artifact"]["path"]).parent)
        assert (artifact.engine, artifact.precision) == ("onnxruntime", "int8")
        assert row["figures"]["latencyMs"]["artifact"] == artifact.sha256
        assert row["figures"]["validationAccuracy"]["artifact"] == artifact.sha256
        assert row["figures"]["fp32Accuracy"]["source"] == "measured"


def test_what_spec_export_lists_is_handed_over_scored_and_timed(measured):
    folder, result = measured
    rows = {f"{row['engine']} {row['precision']}": row for row in result["exports"]}
    assert list(rows) == ["onnxruntime int8", "openvino int8", "torch fp32", "onnxruntime int4"]
    for row in rows.values():
        assert content_sha256(folder / row["path"]) == row["sha256"]
        latency = row["figures"]["latencyMs"]
        assert latency["artifact"] == row["sha256"]
        assert latency["value"] > 0
        assert row["agreement"]["samePredictions"] >= 0.9 * row["agreement"]["examples"]
    folders = [folder / row["path"] for row in rows.values()]
    assert [row["sizeBytes"] for row in rows.values()] == list(map(size, folders))
    assert rows["onnxruntime int4"]["sizeBytes"] < rows["torch fp32"]["sizeBytes"]
    page = write_report(folder).read_text()
    assert "Latency where it was made" in page
    assert f"{rows['onnxruntime int4']['sizeBytes'] / 1e6:.3g} MB" in page
    assert "on it" in page


def size(path):
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(len(each.read_bytes()) for each in files)


def test_a_form_that_cannot_be_made_here_is_said_before_any_work(tmp_path, monkeypatch):
    reason = 'openvino is not installed; pip install "edgetran[openvino]"'
    monkeypatch.setattr(OpenVinoEngine, "available", lambda self: reason)
    with pytest.raises(api.SpecError, match=r"spec\.export\[1\]: openvino is not installed"):
        run(tmp_path, SEARCH, SIMULATED)
    assert not (tmp_path / "run" / "trials.jsonl").exists()


def test_another_point_than_the_winner_is_handed_over(measured, tmp_path):
    folder, _ = measured
    trial = read_result(folder / "trials.jsonl").trials[0].number
    words = ["export", str(folder), "--trial", str(trial), "--engine", "openvino"]
    given = [*words, "--precision", "int8", "--method", "static", "--output", str(tmp_path / "x")]
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 0, done.output
    assert "openvino int8 static" in done.output
    artifact = Artifact.load(tmp_path / "x")
    assert artifact.calibration["split"] == "train"
    assert artifact.source_sha256 == weights_sha256(
        folder / "checkpoints" / "search" / checkpoint_of(folder, trial)
    )
    assert f"small, trial {trial}" in (tmp_path / "x" / "README.md").read_text()
    done = CliRunner().invoke(app, ["export", str(folder), "--trial", "99"])
    assert done.exit_code == 2
    assert "--trial 99: no such trial with a model; allowed are 0, 1" in done.output
    done = CliRunner().invoke(app, ["export", str(folder), "--precision", "int3"])
    assert done.exit_code == 2
    assert '"int3"' in done.output


def checkpoint_of(folder, trial):
    (found,) = [r for r in read_result(folder / "trials.jsonl").trials if r.number == trial]
    return found.checkpoint


def test_the_file_that_is_handed_over_is_int8(measured):
    folder, _ = measured
    kinds = [each.data_type for each in onnx.load(folder / "model.onnx").graph.initializer]
    assert onnx.TensorProto.INT8 in kinds


def test_the_records_of_the_measurements_name_what_they_timed(measured):
    folder, result = measured
    final = Profile.load(folder / "profiles/final/here.jsonl")
    timed = {m.artifact_sha256: m.figures.latency_ms.value for m in final.measurements}
    for key in ("winner", "baseline"):
        figure = result[key]["figures"]["latencyMs"]
        assert timed[figure["artifact"]] == figure["value"]
        assert figure["source"] == "measured"
    profiled = read_records(folder / "profiles/here.jsonl")[0]
    assert profiled["conditions"]["artifact"]["precision"] == "int8"


def test_the_accuracy_is_what_the_exported_file_predicts(measured):
    folder, result = measured
    task = load_task(files={"train": str(folder.parent / "train.csv")})
    data = encode_task(task, load_tokenizer(folder / "model"), 16)
    form = Form("onnxruntime", "int8")
    artifact = Artifact.load((folder / result["winner"]["artifact"]["path"]).parent)
    with open_artifact(artifact, form.make_engine(), None) as session:
        for part, name in (("test", "accuracy"), ("validation", "validationAccuracy")):
            found = evaluate(session, data, part, batch_size=1)["accuracy"]
            assert found == result["winner"]["figures"][name]["value"]
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    part, right = data.split("test"), 0
    for position, label in enumerate(part.labels):
        inputs = data.batch("test", np.array([position])).inputs("cpu")
        (logits,) = session.run(["logits"], {k: v.numpy() for k, v in inputs.items()})
        right += int(logits[0].argmax() == label)
    assert right / len(part) == result["winner"]["figures"]["accuracy"]["value"]


@pytest.mark.parametrize("world", ["measured", "refined"])
def test_candidates_are_judged_as_what_runs_on_the_device(world, request):
    folder, _ = request.getfixturevalue(world)
    for trial in read_records(folder / "trials.jsonl"):
        score = trial["artifacts"]["onnxruntime-int8"]
        assert trial["measures"]["accuracy"]["value"] == score["metrics"]["accuracy"]
        kept = folder / "checkpoints/search" / trial["checkpoint"] / "artifacts/onnxruntime-int8"
        assert Artifact.load(kept).sha256 == score["sha256"]
        assert 0 <= trial["trained_accuracy"] <= 1


def test_what_the_search_scored_is_what_it_hands_over(measured):
    folder, result = measured
    scored = [
        trial["artifacts"]["onnxruntime-int8"]["sha256"]
        for trial in read_records(folder / "trials.jsonl")
    ]
    assert result["winner"]["artifact"]["sha256"] in scored


def test_a_simulated_boards_accuracy_says_of_what_it_is(refined):
    folder, result = refined
    assert any(
        "pi is simulated" in note and "artefact for onnxruntime int8" in note
        for note in result["notes"]
    )
    assert result["winner"]["figures"]["latencyMs"]["source"] == "simulated"
    root = next(r for r in read_records(folder / "gptran/tree.jsonl") if r.get("id") == "root")
    trials = [t["artifacts"]["onnxruntime-int8"] for t in read_records(folder / "trials.jsonl")]
    assert (root["metric"], root["loss"]) in [
        (score["metrics"]["accuracy"], score["metrics"]["loss"]) for score in trials
    ]


def test_table_and_report_name_engine_and_precision(measured):
    folder, result = measured
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(result_table(result))
    table = console.export_text()
    for words in ("Made for", "onnxruntime int8", "Test accuracy in torch fp32"):
        assert words in table, words
    page = write_report(folder).read_text()
    assert "onnxruntime int8" in page
    assert result["winner"]["artifact"]["sha256"] in page


def test_a_conclusion_that_is_made_again_times_and_makes_nothing_again(measured):
    folder, result = measured
    before = {
        path: path.stat().st_mtime_ns for path in (folder / "artifacts").rglob("artifact.json")
    }
    records = len(read_records(folder / "profiles/final/here.jsonl"))
    (folder / "result.json").unlink()
    again = complete(folder.parent / "run.yaml", folder)
    for key in ("winner", "baseline"):
        assert again[key]["artifact"] == result[key]["artifact"]
        assert again[key]["figures"] == result[key]["figures"]
    assert len(read_records(folder / "profiles/final/here.jsonl")) == records
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert json.loads((folder / "result.json").read_text())["exports"] == result["exports"]
