"""int8 is kept where it keeps the accuracy and is faster; else fp32 is, and the result says why."""

from dataclasses import replace

import pytest
from small_task import LAYERS, encoded

from edgetran import api
from edgetran.devices import Workload
from edgetran.profiling import build_model
from edgetran.records import read_records
from edgetran.runner.artifacts import ModelArtifacts
from edgetran.runner.choice import Chooser
from edgetran.runner.timing import latencies_ms
from edgetran.training import save_model

TIMES = "edgetran.runner.choice.latencies_ms"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return encoded(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def workload(data):
    return Workload(1, 16, vocab_size=data.vocab_size)


@pytest.fixture(scope="module")
def models(data, workload, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_model(build_model(LAYERS, workload), data, folder / "checkpoint")
    return ModelArtifacts(folder / "checkpoint", folder / "artifacts", data)


@pytest.fixture
def chooser(data, workload, monkeypatch):
    """One for which int8 is as good as fp32 and faster, unless a test says otherwise."""
    monkeypatch.setattr(Chooser, "_loss", lambda self, judged: 0.0)
    monkeypatch.setattr(TIMES, lambda *given, **more: [1.0, 2.0])
    return Chooser(data, workload)


def device(**quantization):
    return api.SearchDevice.model_validate(
        {
            "name": "here",
            "host": True,
            "engine": "onnxruntime",
            "precision": "int8",
            "threads": 1,
            **({"quantization": quantization} if quantization else {}),
        }
    )


def losses(monkeypatch, by_method):
    monkeypatch.setattr(Chooser, "_loss", lambda self, judged: by_method[judged.artifact.method])


def test_dynamic_int8_is_taken_where_it_keeps_the_accuracy(chooser, models):
    choice = chooser.choose("Winner", models, device(), here=True)
    artifact = choice.judged.artifact
    assert (artifact.precision, artifact.method, choice.notes) == ("int8", "dynamic", ())


def test_the_next_method_is_tried_where_one_loses_too_much(chooser, models, monkeypatch):
    losses(monkeypatch, {"dynamic": 0.02, "static": 0.004, "weight-only": 0.0})
    choice = chooser.choose("Winner", models, device(), here=True)
    assert choice.judged.artifact.method == "static"
    assert choice.judged.artifact.calibration["examples"] == 40
    assert choice.judged.artifact.calibration["split"] == "train"


def test_fp32_is_kept_where_no_int8_keeps_the_accuracy(chooser, models, monkeypatch):
    losses(monkeypatch, {"dynamic": 0.03, "static": 0.02, "weight-only": 0.01, None: 0.0})
    choice = chooser.choose("Winner", models, device(), here=True)
    assert choice.judged.artifact.precision == "fp32"
    assert choice.judged.artifact.engine == "onnxruntime"
    (note,) = choice.notes
    assert "int8 weight-only loses 0.0100 of accuracy on the validation part" in note
    assert note.endswith("onnxruntime fp32 is kept")


def test_what_may_be_lost_is_the_devices_own(chooser, models, monkeypatch):
    losses(monkeypatch, {"dynamic": 0.03})
    choice = chooser.choose("Winner", models, device(maxAccuracyLoss=0.03), here=True)
    assert choice.judged.artifact.method == "dynamic"


def test_fp32_is_kept_where_int8_takes_longer(chooser, models, monkeypatch):
    monkeypatch.setattr(TIMES, lambda *given, **more: [2.0, 1.0])
    choice = chooser.choose("Winner", models, device(), here=True)
    assert choice.judged.artifact.precision == "fp32"
    assert choice.notes == (
        "Winner: onnxruntime int8 takes 2 ms here and onnxruntime fp32 1 ms; fp32 is kept",
    )


def test_on_a_board_whose_latency_is_known_for_int8_alone_int8_stays_and_is_told(
    chooser, models, monkeypatch
):
    losses(monkeypatch, {"dynamic": 0.03, "static": 0.02, "weight-only": 0.01})
    choice = chooser.choose("Winner", models, device(), here=False)
    assert choice.judged.artifact.method == "weight-only"
    assert "so it stays" in choice.notes[-1]


def test_a_method_that_is_named_is_the_only_one(chooser, models, monkeypatch):
    losses(monkeypatch, {"static": 0.5, None: 0.0})
    choice = chooser.choose("Winner", models, device(method="static"), here=True)
    assert choice.judged.artifact.precision == "fp32"
    assert "onnxruntime int8 static loses 0.5000" in choice.notes[0]


def test_too_few_examples_to_calibrate_by_are_told_and_nothing_is_lost(
    tmp_path, workload, monkeypatch
):
    few = encoded(tmp_path, train=7)
    save_model(build_model(LAYERS, workload), few, tmp_path / "checkpoint")
    models = ModelArtifacts(tmp_path / "checkpoint", tmp_path / "artifacts", few)
    choice = Chooser(few, workload).choose("Winner", models, device(method="static"), here=True)
    assert choice.judged.artifact.precision == "fp32"
    assert "7 training examples to calibrate int8 by; allowed are at least 8" in choice.notes[0]


def test_what_was_timed_once_is_known_and_what_was_not_is_timed(data, workload, models, tmp_path):
    choice = Chooser(data, workload).choose("Winner", models, device(maxAccuracyLoss=1), here=True)
    log = tmp_path / "latencies.jsonl"
    once = latencies_ms([choice.judged] * 2, workload, threads=1, log=log)
    assert latencies_ms([choice.judged] * 2, workload, threads=1, log=log) == once
    assert len(latencies_ms([choice.judged], workload, threads=1, log=log)) == 1
    longer = replace(workload, sequence_length=8)
    assert latencies_ms([choice.judged] * 2, longer, threads=1, log=log) != once
    assert len(read_records(log)) == 3


def test_a_run_that_goes_on_takes_the_artifact_that_it_took_before(
    data, workload, tmp_path, monkeypatch
):
    save_model(build_model(LAYERS, workload), data, tmp_path / "checkpoint")
    monkeypatch.setattr(Chooser, "_loss", lambda self, judged: 0.0)

    def chosen():
        models = ModelArtifacts(tmp_path / "checkpoint", tmp_path / "artifacts", data)
        return Chooser(data, workload).choose("Winner", models, device(), here=True)

    first = chosen()
    monkeypatch.setattr("edgetran.runner.timing._measured", pytest.fail)
    again = chosen()
    assert again.judged.artifact.sha256 == first.judged.artifact.sha256
    assert again.notes == first.notes


def test_loss_and_latency_are_measured_on_the_artifacts_themselves(data, workload, models):
    chooser = Chooser(data, workload)
    choice = chooser.choose("Winner", models, device(maxAccuracyLoss=1), here=True)
    assert choice.judged.artifact.engine == "onnxruntime"
    times = latencies_ms([choice.judged, choice.judged], workload, threads=1)
    assert len(times) == 2
    assert all(0 < each < 10_000 for each in times)
    assert chooser._loss(choice.judged) == pytest.approx(0, abs=0.3)
