"""Workers as processes: the whole chain, and each of them killed, stopped and misled."""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from workers_lab import (
    JOB,
    REFINEMENT,
    SEARCH,
    Pod,
    end,
    end_all,
    kill,
    make_pod,
    wait_for,
)

from edgetran.api import CoDesignSearchStatus, GPTranRunStatus, ProfilingJobStatus
from edgetran.api.wire import PART_KEY
from edgetran.records import read_records
from edgetran.runner.published import write_folder
from edgetran_workers.storage import RemoteFolder

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(autouse=True)
def _nothing_left_running() -> Iterator[None]:
    yield
    end_all()


RAY_AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
"""They notice only after a minute; in a pod they end with its first process."""


def name(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()).strip()
    except psutil.NoSuchProcess:
        return ""


@pytest.fixture(scope="module")
def profiled(tmp_path_factory: pytest.TempPathFactory) -> Pod:
    pod = make_pod(tmp_path_factory.mktemp("pods") / "profile", "profile", JOB)
    assert pod.run() == 0, pod.output
    return pod


@pytest.fixture(scope="module")
def searched(profiled: Pod, tmp_path_factory: pytest.TempPathFactory) -> Pod:
    root = tmp_path_factory.mktemp("pods") / "search"
    storage = {"claim": True}
    pod = make_pod(root, "search", SEARCH, JOB, profile=profiled, storage=storage)
    assert pod.run() == 0, pod.output
    return pod


def test_a_profile_is_measured_here_and_published(profiled: Pod) -> None:
    status = ProfilingJobStatus.model_validate(profiled.summary["status"])
    assert (status.measured, status.failed) == (6, 0)
    costs = status.costs.latency_ms
    assert 0 < costs.min <= costs.median <= costs.max
    assert profiled.summary["finished"] is True
    assert profiled.summary["reason"] == profiled.termination["reason"] == "MaxMeasurementsReached"
    local = read_records(profiled.folder / "profiles/board.jsonl")
    assert profiled.published("profiles/board.jsonl") == local
    assert profiled.published("result.json")[0]["devices"][0]["name"] == "board"


def test_every_line_that_a_worker_prints_is_json_with_its_resource(profiled: Pod) -> None:
    lines = [json.loads(line) for line in profiled.output.splitlines()]
    assert lines
    assert all({"time", "level", "message"} <= line.keys() for line in lines)
    assert {(line["kind"], line["name"]) for line in lines[1:]} == {("ProfilingJob", "s-board")}


def test_a_search_measures_nothing_and_marks_its_winners_cost_as_predicted(searched: Pod) -> None:
    result = searched.published("result.json")[0]
    assert result["winner"]["figures"]["accuracy"]["source"] == "measured"
    assert result["winner"]["figures"]["latencyMs"]["source"] in ("predicted", "measured")
    assert result["winner"]["deviceKind"] == "node"
    assert result["winner"]["onHost"] is None
    assert result["baseline"]["figures"]["latencyMs"]["value"] > 0
    assert not (searched.folder / "profiles").exists()
    status = CoDesignSearchStatus.model_validate(searched.summary["status"])
    assert (status.succeeded, status.running) == (5, 0)
    tested = result["winner"]["figures"]["accuracy"]["value"]
    assert status.best.test_accuracy == pytest.approx(tested, rel=1e-4)
    assert searched.summary["reason"] == "MaxTrialsReached"
    for name in ("model/model.safetensors", "model.onnx", "report.html"):
        assert (searched.folder / name).stat().st_size > 0
    assert searched.summary["artifacts"].endswith(": lab/cds-s-22222222")


VERIFICATION = """
apiVersion: edgetran.io/v1alpha1
kind: ProfilingJob
metadata: {name: s--verify, namespace: lab, uid: 11111111-0000}
spec:
  device: {name: board, nodeSelector: {edgetran.io/device: board}, threads: 1}
  finalistsOf: {searchRef: {name: s}}
  workload: {batchSize: 1, sequenceLength: 8}
  measurement: {mode: quick, maxRepeats: 0}
"""


@pytest.mark.parametrize("kept", ["claim", "address"])
def test_the_finalists_of_a_search_are_measured_on_the_board_as_the_files_that_were_scored(
    searched: Pod, tmp_path: Path, kept: str
) -> None:
    pod = make_pod(tmp_path / "verify", "profile", VERIFICATION, SEARCH, search=searched)
    if kept == "address":
        bucket = tmp_path / "bucket"
        RemoteFolder(f"file://{bucket}", "lab/cds-s-22222222", searched.folder).copy()
        order = pod.root / "work/work.json"
        order.write_text(order.read_text().replace('"storage": "claim"',
                         f'"storage": "file://{bucket}"'))  # fmt: skip
        (pod.root / "search").unlink()
    before = {path: path.stat().st_mtime_ns for path in searched.folder.rglob("*")}
    assert pod.run() == 0, pod.output
    assert {path: path.stat().st_mtime_ns for path in searched.folder.rglob("*")} == before
    predicted = searched.published("result.json")[0]
    result = pod.published("result.json")[0]
    timed = {
        record["conditions"]["artifact"]["sha256"]: record["latency_ms"]["median"]
        for record in pod.published("profiles/final/board.jsonl")
    }
    status = ProfilingJobStatus.model_validate(pod.summary["status"])
    assert [each.finalist for each in status.finalists] == ["winner", "baseline"]
    for each in status.finalists:
        row = result[each.finalist]
        scored = predicted[each.finalist]["figures"]["accuracy"]["artifact"]
        assert each.artifact == row["artifact"]["sha256"] == scored
        assert row["figures"]["latencyMs"]["source"] == "measured"
        assert row["figures"]["latencyMs"]["artifact"] == scored
        assert row["figures"]["latencyMs"]["value"] == pytest.approx(timed[scored])
        assert row["predicted"]["latencyMs"] == predicted[each.finalist]["figures"]["latencyMs"]
        assert each.latency_ms.value == pytest.approx(timed[scored], rel=1e-3)
        assert each.latency_ms.source == "measured"
        assert each.objective is not None
    assert pod.summary["progress"] == "2/2"
    assert "the winner takes" in pod.termination["message"]


def test_an_artefact_that_was_changed_since_it_was_scored_is_not_measured(
    searched: Pod, tmp_path: Path
) -> None:
    pod = make_pod(tmp_path / "verify", "profile", VERIFICATION, SEARCH, search=searched)
    (pod.root / "search").unlink()
    shutil.copytree(searched.storage, pod.root / "search")
    row = searched.published("result.json")[0]["winner"]
    model = pod.root / "search/lab/cds-s-22222222" / row["artifact"]["path"]
    file = max((p for p in model.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert pod.run() == 16, pod.output
    assert pod.termination["reason"] == "DependencyFailed"
    assert "it has been changed" in pod.termination["message"]
    assert not pod.published("profiles/final/board.jsonl")


def test_a_refinement_goes_on_from_the_searchs_winner(
    profiled: Pod, searched: Pod, tmp_path: Path
) -> None:
    pod = make_pod(
        tmp_path / "gptran",
        "gptran",
        REFINEMENT,
        f"{JOB}\n---\n{SEARCH}",
        profile=profiled,
        search=searched,
        storage={"claim": True},
    )
    before = {path: path.stat().st_mtime_ns for path in searched.folder.rglob("*")}
    assert pod.run() == 0, pod.output
    assert {path: path.stat().st_mtime_ns for path in searched.folder.rglob("*")} == before
    status = GPTranRunStatus.model_validate(pod.summary["status"])
    best = searched.published("result.json")[0]["winner"]
    assert status.root.architecture == best["graphHash"]
    assert status.root.accuracy == pytest.approx(
        best["figures"]["validationAccuracy"]["value"], rel=1e-4
    )
    assert status.root.device == "board"
    result = pod.published("result.json")[0]
    assert result["name"] == "s-refine"
    assert result["gptran"]["reason"]
    assert pod.termination["reason"] == pod.summary["reason"]


def test_a_run_folder_is_made_again_from_what_was_published(searched: Pod, tmp_path: Path) -> None:
    from edgetran.report import write_report

    part = (searched.results / "0" / PART_KEY).read_bytes()
    write_folder([part], tmp_path)
    assert (tmp_path / "trials.jsonl").read_bytes() == (
        searched.folder / "trials.jsonl"
    ).read_bytes()
    assert write_report(tmp_path).stat().st_size > 0


def test_a_finished_worker_that_is_started_again_only_says_so(searched: Pod) -> None:
    before = searched.records
    assert searched.run() == 0
    assert searched.records == before


@pytest.mark.parametrize(
    "counts",
    [
        pytest.param((1, 4), id="short"),
        pytest.param((1, 2, 3, 5), id="soak", marks=pytest.mark.soak),
    ],
)
def test_a_profile_killed_anywhere_goes_on_in_an_empty_pod_and_repeats_nothing(
    tmp_path: Path, counts: tuple[int, ...]
) -> None:
    pod = make_pod(tmp_path / "profile", "profile", JOB)
    rng = random.Random(3)  # noqa: S311 - moments of kills
    known: list[dict[str, object]] = []
    for count in counts:
        process = pod.start()
        wait_for(pod, process, "profiles/board.jsonl", count)
        time.sleep(rng.uniform(0, 4))
        kill(process)
        shutil.rmtree(pod.storage / "lab")
        published = pod.published("profiles/board.jsonl")
        assert published[: len(known)] == known
        known = published
    assert known
    assert pod.run() == 0, pod.output
    records = pod.published("profiles/board.jsonl")
    assert records[: len(known)] == known
    hashes = Counter(record["graph_hash"] for record in records if record["kind"] == "measurement")
    assert len(hashes) == 6
    assert set(hashes.values()) == {1}


def essence(trials: list[dict[str, Any]]) -> list[tuple[object, ...]]:
    """What a trial is about and how good it was, but for the last digits of its arithmetic."""
    return sorted(
        (each["number"], each["graph_hash"], each["parent"], round(each["objective"], 9))
        for each in trials
    )


def test_a_search_killed_with_its_storage_kept_goes_on_to_larger_limits_as_if_it_had_not_been(
    profiled: Pod, searched: Pod, tmp_path: Path
) -> None:
    root = tmp_path / "search"
    pod = make_pod(root, "search", SEARCH, JOB, profile=profiled, storage={"claim": True})
    for count in (1, 3):
        process = pod.start()
        wait_for(pod, process, "trials.jsonl", count)
        kill(process)
    before = read_records(pod.folder / "trials.jsonl")
    resource = root / "work/resource.yaml"
    resource.write_text(SEARCH.replace("maxTrials: 5", "maxTrials: 6"))
    assert pod.run() == 0, pod.output
    trials = pod.published("trials.jsonl")
    assert trials == read_records(pod.folder / "trials.jsonl")
    assert trials[: len(before)] == before
    assert len(trials) == 6
    assert essence(trials)[:5] == essence(searched.published("trials.jsonl"))
    assert pod.summary["progress"] == "6/6"
    assert "maxTrials: 6" in pod.published("spec.yaml")[-1]["text"]


@pytest.mark.parametrize(
    "counts",
    [
        pytest.param((3,), id="short"),
        pytest.param((2, 4), id="soak", marks=pytest.mark.soak),
    ],
)
def test_a_search_killed_with_its_models_lost_loses_and_doubles_no_record(
    profiled: Pod, tmp_path: Path, counts: tuple[int, ...]
) -> None:
    # Trials that last by the clock: one of them and the baseline are longer than the pause below.
    lasting = SEARCH.replace("training: {steps: 3", "training: {maxSeconds: 2, steps: 1000000")
    pod = make_pod(tmp_path / "search", "search", lasting, JOB, profile=profiled)
    known: list[tuple[str, dict[str, object]]] = []
    for count in counts:
        process = pod.start()
        wait_for(pod, process, "trials.jsonl", count)
        time.sleep(3)  # what is published in this time must not be lost
        assert process.poll() is None, pod.output
        assert pod.summary["finished"] is False
        kill(process)
        shutil.rmtree(pod.storage / "lab")
        assert pod.records[: len(known)] == known
        known = pod.records
    assert len(pod.published("trials.jsonl")) >= 3
    assert pod.run() == 0, pod.output
    assert pod.records[: len(known)] == known
    for log, count in (("trials.jsonl", 5), ("proposals.jsonl", 6)):
        numbers = [record.get("number") for record in pod.published(log)]
        assert len(numbers) == len(set(numbers)) == count
    assert pod.summary["finished"] is True
    assert (pod.folder / "model/model.safetensors").exists()


@pytest.mark.parametrize(
    ("change", "code", "reason", "message"),
    [
        (("workload", "wrkload"), 10, "SpecInvalid", "CoDesignSearch/s: spec.wrkload"),
        (("data/train.csv", "data/none.csv"), 10, "SpecInvalid", "spec.task: "),
        (("objective:", "constraints: {latencyMs: {max: 1e-9}}\n  objective:"), 11,
         "NoFeasibleCandidate", "latency_ms max 1e-09"),
        (("training: {steps: 3", "training: {learningRate: 1, maxSeconds: 1e-9, steps: 3"), 0,
         "MaxTrialsReached", "the best is trial"),
    ],
)  # fmt: skip
def test_bad_specs_have_their_exit_status_and_message(
    profiled: Pod,
    tmp_path: Path,
    change: tuple[str, str],
    code: int,
    reason: str,
    message: str,
) -> None:
    pod = make_pod(tmp_path / "search", "search", SEARCH.replace(*change), JOB, profile=profiled)
    assert pod.run() == code, pod.output
    assert pod.termination["reason"] == reason
    assert message in pod.termination["message"]
    assert "\n" not in pod.termination["message"]


def test_a_profile_that_is_missing_is_a_failed_dependency(tmp_path: Path) -> None:
    pod = make_pod(tmp_path / "search", "search", SEARCH, JOB)
    assert pod.run() == 16, pod.output
    assert pod.termination["reason"] == "DependencyFailed"
    assert "ProfilingJob/s-board: its results are not mounted" in pod.termination["message"]
    assert pod.summary["reason"] == "DependencyFailed"


def test_an_engine_that_cannot_run_here_makes_the_device_unusable(tmp_path: Path) -> None:
    other = JOB.replace("threads: 1", "engine: torch, accelerator: cuda")
    pod = make_pod(tmp_path / "profile", "profile", other)
    assert pod.run() == 13, pod.output
    assert pod.termination["reason"] == "ChildFailed"
    assert "cuda" in pod.termination["message"].lower()


def test_sigterm_saves_the_state_within_ten_seconds_at_an_address_for_the_next_pod(
    profiled: Pod, tmp_path: Path
) -> None:
    storage = {"uri": f"file://{tmp_path}/bucket"}
    pod = make_pod(tmp_path / "pod", "search", SEARCH, JOB, profile=profiled, storage=storage)
    process = pod.start()
    wait_for(pod, process, "trials.jsonl", 2)
    family = psutil.Process(process.pid).children(recursive=True)
    others = [each for each in family if name(each) not in RAY_AGENTS]
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143, pod.output
    assert time.monotonic() - begun < 10
    _, left = psutil.wait_procs(others, timeout=30)
    assert not left
    end(family)
    assert pod.termination == {
        "reason": "WorkerRetried",
        "message": "stopped by SIGTERM; finished work is kept",
    }
    assert (pod.summary["finished"], pod.summary["reason"]) == (False, "WorkerRetried")
    assert pod.published("trials.jsonl") == read_records(pod.folder / "trials.jsonl")
    assert "Traceback" not in pod.output
    shutil.rmtree(pod.storage / "lab")
    assert pod.run() == 0, pod.output
    assert len(pod.published("trials.jsonl")) == 5
    assert "are lost" not in pod.output
    bucket = tmp_path / "bucket/lab/cds-s-22222222"
    assert (bucket / "model/model.safetensors").stat().st_size > 0
    assert (bucket / "report.html").exists()
    assert pod.summary["artifacts"] == f"file://{tmp_path}/bucket/lab/cds-s-22222222"


def test_without_an_api_server_a_worker_says_so_and_is_tried_again(tmp_path: Path) -> None:
    pod = make_pod(tmp_path / "profile", "profile", JOB, extra=("--kubeconfig", "/nowhere"))
    assert pod.run() == 1, pod.output
    assert "no API server found" in pod.termination["message"]


def test_storage_that_cannot_be_written_is_tried_again(tmp_path: Path) -> None:
    pod = make_pod(tmp_path / "profile", "profile", JOB, storage={"claim": True})
    (pod.storage / "lab").write_text("a file where a folder must be")
    assert pod.run() in (1, 14), pod.output
    assert pod.termination["message"]
