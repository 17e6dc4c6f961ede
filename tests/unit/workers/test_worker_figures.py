"""What a worker's /metrics tell of the last measurement, the last trial and its storage."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from edgetran.api import CoDesignSearch, ProfilingJob, load_text
from edgetran.api.wire import WorkerSummary
from edgetran_workers.metrics import WorkerCollector
from edgetran_workers.profiling_reporter import ProfilingReporter
from edgetran_workers.publish import PublisherState
from edgetran_workers.search_reporter import SearchReporter

JOB = """
apiVersion: edgetran.io/v1alpha1
kind: ProfilingJob
metadata: {name: host}
spec:
  device: {name: host, host: true}
  designSpace: {preset: tiny}
"""
SEARCH = """
apiVersion: edgetran.io/v1alpha1
kind: CoDesignSearch
metadata: {name: search}
spec:
  task: {name: movie-reviews}
  designSpace: {preset: tiny}
  devices: [{name: pi, simulation: raspberry-pi-4-cpu}]
"""


def read(reporter: Any, folder: Path) -> dict[str, float]:
    """Samples by name, and by the label `measure` where they have one."""
    summary = {
        "progress": "1/2",
        "timeLeftSeconds": None,
        "stage": "",
        "status": {},
        "metrics": reporter.measures(),
    }
    collector = WorkerCollector(lambda: WorkerSummary.read(summary), PublisherState(), {}, folder)
    return {
        sample.name + str(sample.labels.get("measure", "")): sample.value
        for metric in collector.collect()
        for sample in metric.samples
    }


def profiling_reporter() -> ProfilingReporter:
    (job,) = load_text(JOB, "job")
    assert isinstance(job, ProfilingJob)
    return ProfilingReporter(job)


def measurement(**changes: Any) -> dict[str, Any]:
    return {
        "kind": "measurement",
        "graph_hash": "a",
        "latency_ms": {"median": 5.0},
        "energy_mj": {"value": 12.0, "unit": "mJ", "source": "measured"},
        "duration_s": 2.0,
        "failure": None,
        "stable": True,
    } | changes


def test_the_energy_measured_last_is_told_in_joules(tmp_path: Path) -> None:
    reporter = profiling_reporter()
    reporter.take("profiles/host.jsonl", measurement())
    samples = read(reporter, tmp_path)
    assert samples["edgetran_worker_last_latency_seconds"] == pytest.approx(0.005)
    assert samples["edgetran_worker_last_energy_joules"] == pytest.approx(0.012)
    unknown = {"value": None, "unit": "mJ", "source": "measured", "reason": "no power source"}
    reporter.take("profiles/host.jsonl", measurement(energy_mj=unknown, graph_hash="b"))
    assert "edgetran_worker_last_energy_joules" not in read(reporter, tmp_path)


def test_errors_of_prediction_are_told_with_their_spread(tmp_path: Path) -> None:
    reporter = profiling_reporter()
    quality = {"mean_error": 0.07, "p95_error": 0.2, "predictable": True}
    hopeless = {"mean_error": 0.7, "p95_error": 2.0, "predictable": False}
    reporter.take(
        "profiles/host.jsonl",
        {
            "kind": "summary",
            "stopped": "measuring goes on",
            "claimed_error": {"latency_ms": quality, "peak_power_w": hopeless},
            "not_predictable": {"peak_power_w": "not predictable"},
        },
    )
    samples = read(reporter, tmp_path)
    assert samples["edgetran_worker_surrogate_error_ratiolatency_ms"] == 0.07
    assert samples["edgetran_worker_surrogate_p95_error_ratiolatency_ms"] == 0.2
    assert not [name for name in samples if name.endswith("peak_power_w")]


def trial(number: int, predicted: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "number": number,
        "graph_hash": "a",
        "device": "pi",
        "training_seconds": 3.0,
        "measures": {"accuracy": {"value": 0.8, "unit": "", "source": "measured"}},
        "predicted_accuracy": predicted,
        "feasible": False,
        "other_devices": [],
    }


def test_the_last_trial_is_told_beside_its_prediction(tmp_path: Path) -> None:
    (search,) = load_text(SEARCH, "search")
    assert isinstance(search, CoDesignSearch)
    reporter = SearchReporter(search)
    reporter.take("trials.jsonl", trial(0, None))
    samples = read(reporter, tmp_path)
    assert samples["edgetran_worker_trial_accuracy_ratio"] == 0.8
    assert "edgetran_worker_trial_predicted_accuracy_ratio" not in samples
    prediction = {"value": 0.75, "unit": "", "source": "predicted", "std": 0.04}
    reporter.take("trials.jsonl", trial(1, prediction))
    samples = read(reporter, tmp_path)
    assert samples["edgetran_worker_trial_predicted_accuracy_ratio"] == 0.75
    assert samples["edgetran_worker_trial_predicted_accuracy_deviation_ratio"] == 0.04


def test_the_volume_is_told_while_it_is_there(tmp_path: Path) -> None:
    reporter = profiling_reporter()
    folder = tmp_path / "run"
    folder.mkdir()
    samples = read(reporter, folder)
    free = samples["edgetran_worker_storage_free_bytes"]
    assert 0 < free <= samples["edgetran_worker_storage_size_bytes"]
    assert free == pytest.approx(shutil.disk_usage(folder).free, rel=0.2)
    folder.rmdir()
    samples = read(reporter, folder)
    assert "edgetran_worker_storage_free_bytes" not in samples
    assert samples["edgetran_worker_steps"] == 2
