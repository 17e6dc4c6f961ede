"""A run is shown to an MLflow server: all of it, once, and at no cost to the run."""

import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from played_mlflow import played_mlflow
from report_world import make_run
from typer.testing import CliRunner

from edgetran import api
from edgetran.api.tracking import MlflowTracking
from edgetran.cli.app import app
from edgetran.records import JsonLog, read_records
from edgetran.runner.folder import RunFolder
from edgetran.runner.mlflow_server import TrackerError
from edgetran.runner.tracker import Tracker, tracker_of_folder

PROGRAM = os.environ.get("EDGETRAN_MLFLOW")


class Sentences:
    """A `Progress` that keeps what is said."""

    def __init__(self):
        self.said = []

    def log(self, message):
        self.said.append(message)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = make_run(tmp_path_factory.mktemp("finished") / "run")
    JsonLog(folder / "log.jsonl").append({"time": "2026-01-01T00:00:00+00:00", "event": "session"})
    return folder


@pytest.fixture
def run(finished, tmp_path):
    return RunFolder(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def server():
    with played_mlflow() as made:
        yield made


def tracker(server, run, **given):
    return Tracker(MlflowTracking(uri=server.uri, **given), "quickstart", run, "claim: run")


def names(run):
    trials = [f"trial {each['number']}" for each in read_records(run.trials)]
    nodes = [
        f"node {each['id']}"
        for each in read_records(run.gptran / "tree.jsonl")
        if each.get("type") == "node"
    ]
    assert trials
    assert nodes
    return {*trials, *nodes, "quickstart: result"}


def test_an_experiment_has_a_run_for_each_trial_each_model_of_the_tree_and_the_result(server, run):
    tracker(server, run).send()
    assert list(server.experiments) == ["quickstart"]
    shown = server.by_name()
    assert shown.keys() == names(run)
    for record in read_records(run.trials):
        trial = shown[f"trial {record['number']}"]
        assert trial["status"] == ("FAILED" if record["error"] else "FINISHED")
        assert trial["params"]["graph_hash"] == record["graph_hash"]
        assert trial["params"]["device"] == record["device"]
        if record["error"]:
            assert trial["tags"]["mlflow.note.content"] == record["error"]
            continue
        assert json.loads(trial["params"]["architecture"]) == record["architecture"]
        values = {name: points[-1][1] for name, points in trial["metrics"].items()}
        assert values["objective"] == record["objective"]
        assert values["latency_ms"] == record["measures"]["latency_ms"]["value"]
        assert values["accuracy"] == record["measures"]["accuracy"]["value"]
        where = f"claim: run/checkpoints/search/{record['checkpoint']}"
        assert trial["tags"]["edgetran.checkpoint"] == where
    result = json.loads(run.result.read_text())
    metrics = shown["quickstart: result"]["metrics"]
    latency = result["winner"]["figures"]["latencyMs"]["value"]
    assert metrics["latency_ms"][-1][1] == latency
    assert "baseline.latency_ms" in metrics


def test_artefacts_are_linked_by_their_place_and_hash(server, run):
    records = read_records(run.trials)
    trial = next(each for each in records if each["error"] is None)
    trial["artifacts"] = {"onnxruntime-int8": {"sha256": "ab" * 32}}
    run.trials.write_text("".join(json.dumps(each) + "\n" for each in records))
    result = json.loads(run.result.read_text())
    result["winner"]["artifact"] = {"path": "artifacts/winner/x/model.onnx", "sha256": "cd" * 32}
    run.result.write_text(json.dumps(result))
    tracker(server, run).send()
    shown = server.by_name()
    place = f"claim: run/checkpoints/search/{trial['checkpoint']}/artifacts/onnxruntime-int8"
    tags = shown[f"trial {trial['number']}"]["tags"]
    assert tags["edgetran.artifact.onnxruntime-int8"] == f"{place} sha256:{'ab' * 32}"
    linked = shown["quickstart: result"]["tags"]["edgetran.artifact"]
    assert linked == f"claim: run/artifacts/winner/x/model.onnx sha256:{'cd' * 32}"


def test_a_second_session_asks_nothing_where_nothing_is_missing(server, run):
    tracker(server, run).send()
    asked = len(server.requests)
    tracker(server, run).send()
    assert len(server.requests) == asked


def test_what_is_new_in_the_logs_is_sent_alone(server, run):
    lines = run.trials.read_text().splitlines(keepends=True)
    run.trials.write_text("".join(lines[:-1]))
    sender = tracker(server, run)
    sender.send()
    before = len(server.runs)
    run.trials.write_text("".join(lines))
    sender.send()
    assert len(server.runs) == before + 1
    assert server.by_name().keys() == names(run)


@pytest.mark.parametrize("number", [*range(1, 12), 30])
def test_an_answer_that_is_lost_doubles_nothing(server, run, number):
    """Whatever request it was that the server carried out, and nobody heard of it."""
    sender = tracker(server, run)
    server.forgets_from = number
    with pytest.raises(TrackerError, match="cannot be reached"):
        sender.send()
    assert len(server.requests) == number  # none is sent again behind our back
    server.forgets_from = None
    sender.send()
    assert server.by_name().keys() == names(run)
    assert {each["status"] for each in server.runs.values()} == {"FINISHED", "FAILED"}
    for each in server.runs.values():
        assert all(len(points) == 1 for points in each["metrics"].values())


@pytest.mark.parametrize("lost", [0, 1, 2, 3, 7])
def test_a_folder_that_was_copied_before_the_kill_doubles_nothing(server, run, lost):
    """Storage behind an address lags behind: a new pod may know less than the server."""
    tracker(server, run).send()
    (state,) = run.tracking.iterdir()
    kept = state.read_text().splitlines(keepends=True)[:lost]
    state.write_text("".join(kept))
    tracker(server, run).send()
    assert server.by_name().keys() == names(run)
    for each in server.runs.values():
        assert all(len(points) == 1 for points in each["metrics"].values())


def test_another_server_is_sent_all_of_it(server, run):
    tracker(server, run).send()
    with played_mlflow() as second:
        tracker(second, run).send()
        assert second.by_name().keys() == names(run)
    tracker(server, run, experiment="mine").send()
    assert list(server.experiments) == ["quickstart", "mine"]


def test_two_runs_of_one_search_share_an_experiment_and_no_entry(server, run, finished, tmp_path):
    other = RunFolder(shutil.copytree(finished, tmp_path / "other"))
    other.log.unlink()
    JsonLog(other.log).append({"time": "2026-02-02T00:00:00+00:00", "event": "session"})
    tracker(server, run).send()
    tracker(server, other).send()
    assert len(server.experiments) == 1
    assert len(server.runs) == 2 * len(names(run))


def test_a_result_that_is_made_again_changes_its_entry(server, run):
    tracker(server, run).send()
    result = json.loads(run.result.read_text())
    result["winner"]["figures"]["latencyMs"]["value"] = 0.125
    result["finishedAt"] = "2027-01-01T00:00:00+00:00"
    run.result.write_text(json.dumps(result))
    tracker(server, run).send()
    points = server.by_name()["quickstart: result"]["metrics"]["latency_ms"]
    assert max(points)[1] == 0.125
    assert server.by_name().keys() == names(run)


def test_an_entry_that_is_refused_keeps_no_other_back(server, run):
    server.refused = {"trial 0"}
    with pytest.raises(TrackerError, match=r"INVALID_PARAMETER_VALUE \(400\) to trial 0") as caught:
        tracker(server, run).send()
    assert "secret" not in str(caught.value)
    ended = {name for name, each in server.by_name().items() if each["status"] != "RUNNING"}
    assert ended == names(run) - {"trial 0"}


def test_a_server_that_is_down_gets_all_of_it_once_it_is_back(server, run):
    server.mood, progress = "down", Sentences()
    sender = tracker(server, run)
    with sender.beside(progress):
        pass
    assert not sender.finish(progress)
    (sentence,) = progress.said  # once, however often it was tried
    assert server.uri in sentence
    assert "the run goes on" in sentence
    assert f"edgetran track {run.path}" in sentence
    assert server.runs == {}
    server.mood = "well"
    assert tracker(server, run).finish(progress)
    assert server.by_name().keys() == names(run)


def test_a_server_that_nobody_answers_for_keeps_nobody_waiting(run, monkeypatch):
    monkeypatch.setattr("edgetran.runner.tracker.STOP_PATIENCE_S", 0.2)
    with played_mlflow() as server:
        server.mood, progress = "hanging", Sentences()
        sender = tracker(server, run)
        begun = time.monotonic()
        with sender.beside(progress):
            inside = time.monotonic()
        assert not sender.finish(progress, patience_s=0.2)
        assert inside - begun < 30  # it would hang for 60 s
        assert time.monotonic() - begun < 30
        assert any("does not take it within" in each for each in progress.said)


def test_what_the_thread_finds_beside_the_work_is_sent_while_it_goes_on(server, run, monkeypatch):
    monkeypatch.setattr("edgetran.runner.tracker.PERIOD_S", 0.05)
    lines = run.trials.read_text().splitlines(keepends=True)
    run.trials.write_text(lines[0])
    progress = Sentences()
    with tracker(server, run).beside(progress):
        deadline = time.monotonic() + 120
        run.trials.write_text("".join(lines))
        while len(server.runs) < len(names(run)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert server.by_name().keys() == names(run)
    assert progress.said == []


def test_an_experiment_that_is_deleted_is_a_sentence(server, run):
    server.experiments, server.deleted = {"quickstart": "1"}, {"quickstart"}
    with pytest.raises(TrackerError, match="quickstart is deleted there; allowed is another name"):
        tracker(server, run).send()


def test_a_server_leads_nobody_to_another_one(server, run):
    with played_mlflow() as elsewhere:
        server.redirect = elsewhere.uri
        with pytest.raises(TrackerError):
            tracker(server, run).send()
        assert elsewhere.requests == []


def test_a_log_that_cannot_be_read_is_the_trackers_trouble_alone(server, run):
    run.trials.write_text("no JSON\n")
    progress = Sentences()
    assert not tracker(server, run).finish(progress)
    assert "RecordError" in progress.said[0]


def spec_with(server, run):
    text = run.spec.read_text() + f"  tracking: {{mlflow: {{uri: '{server.uri}'}}}}\n"
    text += "  designSpace: {preset: tiny}\n  devices: [{name: this-host, host: true}]\n"
    run.spec.write_text(api.dump(*api.load_text(text)))


def test_a_command_sends_what_a_server_missed(server, run):
    spec_with(server, run)
    server.mood = "down"
    asked = CliRunner().invoke(app, ["track", str(run.path)])
    assert asked.exit_code == 1
    assert "cannot be reached" in asked.output or "answers" in asked.output
    server.mood = "well"
    for _ in range(2):
        asked = CliRunner().invoke(app, ["track", str(run.path)])
        assert asked.exit_code == 0, asked.output
        assert "the server has all of it" in " ".join(asked.output.split())
    assert server.by_name().keys() == names(run)


def test_a_run_whose_resources_ask_for_no_tracker_is_told_how(run):
    text = run.spec.read_text()
    text += "  designSpace: {preset: tiny}\n  devices: [{name: this-host, host: true}]\n"
    run.spec.write_text(text)
    assert tracker_of_folder(run) is None
    asked = CliRunner().invoke(app, ["track", str(run.path)])
    assert asked.exit_code == 2
    assert "spec.tracking: Required value: set it" in asked.output


def test_a_folder_of_no_run_has_nothing_to_send(tmp_path):
    asked = CliRunner().invoke(app, ["track", str(tmp_path)])
    assert asked.exit_code == 2
    assert "holds no spec.yaml" in asked.output


@pytest.mark.skipif(PROGRAM is None, reason="EDGETRAN_MLFLOW names no program `mlflow`")
def test_a_real_server_shows_the_run_once(run, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [str(PROGRAM), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    words += ["--backend-store-uri", f"sqlite:///{tmp_path}/db"]
    words += ["--artifacts-destination", str(tmp_path / "artifacts")]
    uri = f"http://127.0.0.1:{port}"
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, cwd=tmp_path)
    try:
        deadline = time.monotonic() + 240
        while not tracker_answers(uri, run) and time.monotonic() < deadline:
            time.sleep(0.5)
        (state,) = run.tracking.iterdir()
        state.unlink()  # as if the folder knew nothing of it
        assert tracker_answers(uri, run)
        client = MlflowClient(tracking_uri=uri)
        experiment = client.get_experiment_by_name("quickstart")
        shown = client.search_runs([experiment.experiment_id])
        assert sorted(each.info.run_name for each in shown) == sorted(names(run))
        for each in shown:
            for name in each.data.metrics:
                assert len(client.get_metric_history(each.info.run_id, name)) == 1
    finally:
        process.terminate()
        process.wait(60)


def tracker_answers(uri: str, run: RunFolder) -> bool:
    return Tracker(MlflowTracking(uri=uri), "quickstart", run, str(Path("/runs"))).finish(
        Sentences()
    )
