"""Summaries say how the work stands, in the words of the status models, small and in time."""

import json
import time

import numpy as np
import pytest

from edgetran.api import (
    CoDesignSearchStatus,
    GPTranRunStatus,
    ProfilingJobStatus,
    Reason,
    load_text,
)
from edgetran.devices import Figure, HardwareFigures
from edgetran.gptran import GPTranPlan, Node
from edgetran.runner.published import PublishedRecord
from edgetran.search import Measures, costs, pareto_front
from edgetran.space import DesignSpace, parameter_count, sampling
from edgetran_workers.candidates import ReportedFront, candidate
from edgetran_workers.refinement_reporter import RefinementReporter
from edgetran_workers.search_reporter import SearchReporter
from edgetran_workers.summary import Summary

(SEARCH, JOB) = load_text("""
apiVersion: edgetran.io/v1alpha1
kind: CoDesignSearch
metadata: {name: s}
spec:
  task: {name: movie-reviews}
  designSpace: {preset: tiny}
  devices: [{name: fast, simulation: raspberry-pi-4-cpu}]
  search: {maxTrials: 20000, initialTrials: 4, parallelTrials: 4}
---
apiVersion: edgetran.io/v1alpha1
kind: ProfilingJob
metadata: {name: j}
spec:
  device: {name: board, host: true}
  designSpace: {preset: tiny}
  sampling: {maxMeasurements: 6, initial: 4}
""")
HEADER = {
    "record": "search",
    "objective": {
        "weights": {"accuracy": 0.5, "latency": 0.2, "energy": 0.2, "peak_power": 0.1},
        "ranges": {"latency_ms": [0.0, 100.0], "energy_mj": [0.0, 1000.0]},
        "left_out": {},
    },
}


def measures_of(accuracy, latency, energy=5.0, parameters=1000):
    hardware = HardwareFigures(
        Figure(latency, "ms", "predicted"),
        Figure(energy, "mJ", "predicted", reason=None if energy else "no sensor"),
        Figure.missing("W", "predicted", "no sensor"),
    )
    return Measures(Figure(accuracy, "", "measured"), hardware, parameters)


def trial(number, accuracy=None, latency=10.0, *, feasible=True, objective=0.5):
    measures = None if accuracy is None else measures_of(accuracy, latency).to_dict()
    return {
        "number": number,
        "graph_hash": f"{number:032x}",
        "device": "fast",
        "measures": measures,
        "feasible": feasible and measures is not None,
        "objective": objective,
        "other_devices": [],
        "training_seconds": 2.0,
        "predicted_accuracy": None,
    }


def summary_of(resource, reporter, *, left=None):
    return Summary(resource, reporter, seconds_left=lambda stage: left)


def tell(summary, log, *records):
    for record in records:
        summary.take(PublishedRecord(log, json.dumps(record).encode()))


def event(kind, stage, done, total, note=""):
    return {"event": kind, "stage": stage, "done": done, "total": total, "note": note}


def test_a_search_under_way_tells_its_trials_by_state():
    summary = summary_of(SEARCH, SearchReporter(SEARCH), left=12.4)
    tell(summary, "log.jsonl", event("start", "Search", 0, 20000))
    proposals = [{"record": "proposal", "number": number} for number in range(6)]
    tell(summary, "proposals.jsonl", HEADER, *proposals)
    tell(
        summary,
        "trials.jsonl",
        trial(0, 0.7, objective=0.4),
        trial(1, None),
        trial(2, 0.8, 30.0, objective=0.6),
        trial(3, 0.9, feasible=False),
    )
    tell(summary, "log.jsonl", event("advance", "Search", 4, 20000, "best 0.600"))
    said = summary.summary().to_dict()
    assert (said["finished"], said["progress"], said["stage"]) == (False, "4/20000", "Search")
    assert (said["message"], said["timeLeftSeconds"]) == ("best 0.600", 12)
    status = CoDesignSearchStatus.model_validate(said["status"])
    assert (status.running, status.succeeded, status.failed, status.infeasible) == (2, 3, 1, 1)
    assert (status.best.id, status.best.objective) == (2, 0.6)
    assert status.best.latency_ms.source == "predicted"
    assert status.best.peak_power_w.value is None
    assert status.pareto_size == 2
    assert 0 < status.hypervolume <= 1
    assert said["metrics"]["training_seconds"] == 8.0
    assert "devices" not in said["status"]  # those are the operator's to tell


def test_the_shared_weights_of_a_search_are_told_while_they_are_trained_and_after():
    reporter = SearchReporter(SEARCH)
    summary = summary_of(SEARCH, reporter)
    tell(summary, "log.jsonl", event("start", "Train the shared weights", 0, 400))
    tell(summary, "log.jsonl", event("advance", "Train the shared weights", 30, 400))
    assert reporter.measures()["shared_weights_steps"] == 30
    assert summary.summary().stage == "Train the shared weights"
    assert "sharedWeights" not in summary.summary().status
    trained = {"fingerprint": "ab" * 32, "steps": 652, "reused": False, "seconds": 80.0}
    tell(summary, "log.jsonl", {"event": "elastic-trained", **trained})
    status = CoDesignSearchStatus.model_validate(summary.summary().status)
    assert status.shared_weights.steps == 652
    assert reporter.measures()["training_seconds"] == 80


def test_while_nothing_is_feasible_the_status_says_what_is_missed_least():
    summary = summary_of(SEARCH, SearchReporter(SEARCH))
    far, near = (trial(number, 0.7, feasible=False) for number in range(2))
    reason = "accuracy 0.7 is below the minimum 0.75"
    tell(
        summary,
        "trials.jsonl",
        far | {"excess": 0.4, "reason": "accuracy 0.45 is below the minimum 0.75"},
        near | {"excess": 0.0667, "reason": reason},
    )
    status = CoDesignSearchStatus.model_validate(summary.summary().status)
    assert status.best is None
    assert status.nearest == f"trial 1 on fast: {reason}, missed by 6.7%"
    tell(summary, "trials.jsonl", trial(2, 0.8))
    status = CoDesignSearchStatus.model_validate(summary.summary().status)
    assert (status.best.id, status.nearest) == (2, None)


def test_the_best_of_a_search_for_the_front_is_the_point_that_the_rule_picks():
    summary = summary_of(SEARCH, SearchReporter(SEARCH))
    objective = HEADER["objective"] | {
        "pareto": ["accuracy", "latency_ms"],
        "pick": "budget",
        "budget": {"latency_ms": 20.0},
    }
    tell(summary, "proposals.jsonl", HEADER | {"objective": objective})
    trials = [(0.7, 5.0), (0.8, 15.0), (0.9, 50.0), (0.6, 30.0)]
    records = [trial(i, a, latency, objective=a) for i, (a, latency) in enumerate(trials)]
    tell(summary, "trials.jsonl", *records)
    status = CoDesignSearchStatus.model_validate(summary.summary().status)
    assert status.best.id == 1
    assert [each.id for each in status.pareto_front] == [2, 1, 0]


def test_what_is_trained_takes_the_place_of_its_estimate_and_of_every_other():
    reporter = SearchReporter(SEARCH)
    summary = summary_of(SEARCH, reporter)
    estimated = [
        trial(number, accuracy, objective=accuracy) | {"fidelity": "shared-weights"}
        for number, accuracy in enumerate((0.9, 0.8, 0.7))
    ]
    for record in estimated:
        record["measures"]["accuracy"]["source"] = "estimated"
    tell(summary, "proposals.jsonl", HEADER)
    tell(summary, "trials.jsonl", *estimated)
    status = CoDesignSearchStatus.model_validate(summary.summary().status)
    assert (status.best.id, status.best.estimated) == (0, True)
    trained = trial(1, 0.75, objective=0.75) | {"fidelity": "full-training"}
    for _ in range(2):
        tell(summary, "trials.jsonl", *estimated, trained)
    status = CoDesignSearchStatus.model_validate(summary.summary().status)
    assert (status.best.id, status.best.accuracy, status.best.estimated) == (1, 0.75, None)
    assert [each.id for each in status.pareto_front] == [1]
    assert (status.succeeded, reporter.progress()) == (3, (3, 20000))
    assert summary.summary().to_dict()["metrics"]["training_seconds"] == 8.0


def test_records_told_twice_count_once():
    reporter = SearchReporter(SEARCH)
    summary = summary_of(SEARCH, reporter)
    for _ in range(2):
        tell(summary, "trials.jsonl", trial(0, 0.7), trial(1, None))
    assert reporter.progress() == (2, 20000)
    assert summary.summary().to_dict()["metrics"]["training_seconds"] == 4.0


def test_a_search_that_ended_tells_of_its_finalists():
    reporter = SearchReporter(SEARCH)
    summary = summary_of(SEARCH, reporter)
    tell(summary, "proposals.jsonl", HEADER)
    tell(summary, "trials.jsonl", trial(0, 0.7, objective=0.4))
    figures = {
        "accuracy": {"value": 0.65, "source": "measured"},
        "validationAccuracy": {"value": 0.7, "source": "measured"},
        "latencyMs": {"value": 9.0, "source": "predicted"},
        "energyMj": {"value": 5.0, "source": "predicted"},
        "peakPowerW": {"value": 3.0, "source": "predicted"},
        "parameters": {"value": 1000.0, "source": "counted"},
    }
    artifact = {"engine": "onnxruntime", "precision": "int8", "sha256": "cd" * 32}
    row = {"graphHash": "ab", "device": "fast", "figures": figures, "artifact": artifact}
    tell(summary, "result.json", {"winner": row, "baseline": row})
    summary.finish()
    said = summary.summary().to_dict()
    assert (said["finished"], said["reason"]) == (True, "Succeeded")
    assert said["message"] == (
        "1 trials; the best is trial 0: 0.650 on test data, 9 ms (predicted) on fast "
        "as onnxruntime int8"
    )
    status = CoDesignSearchStatus.model_validate(said["status"])
    assert (status.best.test_accuracy, status.best.objective) == (0.65, 0.4)
    assert (status.best.made_for, status.best.artifact) == ("onnxruntime int8", "cd" * 32)
    assert status.baseline.accuracy == 0.7
    assert status.baseline.objective is not None, "it can be compared with the winner's"


def test_a_stopped_worker_runs_no_trials():
    summary = summary_of(SEARCH, SearchReporter(SEARCH))
    tell(summary, "proposals.jsonl", HEADER, {"record": "proposal", "number": 0})
    assert summary.summary().to_dict()["status"]["running"] == 1
    summary.stop(Reason.WORKER_RETRIED, "stopped")
    said = summary.summary().to_dict()
    assert said["status"]["running"] == 0
    assert (said["finished"], said["reason"], said["stage"]) == (False, "WorkerRetried", "")


def test_twenty_thousand_trials_make_a_small_summary_in_little_time():
    rng = np.random.default_rng(0)
    summary = summary_of(SEARCH, SearchReporter(SEARCH))
    tell(summary, "proposals.jsonl", HEADER)
    begun = time.process_time()
    for number in range(20_000):
        accuracy, latency = rng.random(2)
        record = trial(number, accuracy, 10 + 80 * latency, objective=float(accuracy - latency))
        tell(summary, "trials.jsonl", record)
    told = time.process_time() - begun
    begun = time.process_time()
    text = json.dumps(summary.summary().to_dict())
    assert len(text) < 8 * 1024
    assert told < 20
    assert time.process_time() - begun < 5
    assert CoDesignSearchStatus.model_validate(json.loads(text)["status"]).succeeded == 20_000


def test_a_front_that_grows_is_the_front_of_all():
    rng = np.random.default_rng(1)
    front, everyone = ReportedFront(), []
    for number in range(300):
        accuracy, latency, energy = (float(value) for value in rng.integers(1, 12, 3))
        measures = measures_of(accuracy / 12, latency, energy if number % 7 else None)
        everyone.append((candidate(number, "ab", "fast", measures), measures))
        front.add(*everyone[-1])
    expected = pareto_front(costs([measures for _, measures in everyone]))
    assert [shown.id for shown, _ in front.members] == expected
    shown = front.shown()
    assert len(shown) <= 10
    accuracies = [each.accuracy for each in shown]
    assert accuracies == sorted(accuracies, reverse=True)
    most = max(measures.accuracy.value or 0.0 for _, measures in everyone)
    assert accuracies[0] == pytest.approx(most, rel=1e-4)


def node(name, parent, architecture, metric, latency, state="trained"):
    hardware = HardwareFigures(
        Figure(latency, "ms", "simulated"),
        Figure.missing("mJ", "simulated", "no sensor"),
        Figure.missing("W", "simulated", "no sensor"),
    )
    parameters = parameter_count(architecture, vocab_size=100, max_positions=16, num_labels=2)
    return {
        "type": "node",
        **Node(
            name, parent, 1, "growHeads", architecture, "a change", state, parameters, hardware,
            metric=metric, loss=0.5, seconds=1.0,
        ).to_dict(),
    }  # fmt: skip


def test_a_refinement_tells_of_models_by_state_and_the_best():
    space = DesignSpace.preset("tiny")
    architectures = sampling.sample(space, 3, np.random.default_rng(0))
    (run,) = load_text("""
apiVersion: edgetran.io/v1alpha1
kind: GPTranRun
metadata: {name: g}
spec: {searchRef: {name: s}}
""")
    reporter = RefinementReporter(GPTranPlan(samples_per_stage=2))
    reporter.device = "fast"
    summary = summary_of(run, reporter)
    assert summary.summary().to_dict()["progress"] == "0/8"
    tell(
        summary,
        "gptran/tree.jsonl",
        {"type": "plan"},
        node("root", None, architectures[0], 0.7, 10.0),
        {"type": "round", "round": 1, "cycle": 1, "stage": "growHeads"},
        node("1.1", "root", architectures[1], 0.8, 11.0),
        node("1.2", "root", architectures[2], None, 12.0, state="failed"),
    )
    tell(summary, "log.jsonl", event("advance", "grow and prune", 2, 8))
    said = summary.summary().to_dict()
    status = GPTranRunStatus.model_validate(said["status"])
    assert (status.nodes, status.trained, status.failed) == (3, 2, 1)
    assert (status.cycle, status.stage) == (1, "growHeads")
    assert (status.root.id, status.best.id, status.best.accuracy) == (0, 1, 0.8)
    assert status.best.device == "fast"
    assert said["progress"] == "2/8"
    tell(summary, "log.jsonl", {"event": "message", "message": "GPTran stops before round 2: x"})
    summary.finish()
    assert summary.summary().to_dict()["reason"] == "NoFurtherGain"


def measurement(number, latency, stable=True, energy=None, power=None):
    return {
        "kind": "measurement",
        "graph_hash": f"{number:x}",
        "latency_ms": None if latency is None else {"median": latency},
        "energy_mj": {"value": energy},
        "peak_power_w": {"value": power},
        "duration_s": 1.5,
        "failure": "out of memory" if latency is None else None,
        "stable": stable,
    }


def test_a_profile_of_several_passes_counts_architectures():
    from edgetran_workers.profiling_reporter import ProfilingReporter

    spec = JOB.spec.model_copy(
        update={"measurement": JOB.spec.measurement.model_copy(update={"passes": 3})}
    )
    job = JOB.model_copy(update={"spec": spec})
    summary = summary_of(job, ProfilingReporter(job))
    log = "profiles/board.jsonl"
    tell(summary, log, measurement(1, 3.0), measurement(2, None), measurement(3, 8.0, stable=False))
    said = summary.summary().to_dict()
    assert said["progress"] == "1/6"
    assert (said["status"]["measured"], said["status"]["failed"]) == (2, 1)
    tell(summary, log, measurement(1, 9.0), measurement(3, 5.0))
    tell(summary, log, measurement(3, 6.0), measurement(1, 3.5))
    said = summary.summary().to_dict()
    assert said["progress"] == "3/6"
    assert said["status"].get("unstable", 0) == 0
    assert said["status"]["costs"] == {
        "latencyMs": {"min": 3.5, "median": (3.5 + 5.0) / 2, "max": 5.0}
    }


def test_a_profile_tells_what_was_measured_of_every_measure_that_was_sensed():
    from edgetran_workers.profiling_reporter import ProfilingReporter

    summary = summary_of(JOB, ProfilingReporter(JOB))
    log = "profiles/board.jsonl"
    tell(
        summary,
        log,
        measurement(1, 3.0, energy=30.0, power=4.0),
        measurement(2, 9.0, energy=90.0, power=6.0),
        measurement(3, 5.0, energy=40.0),
        measurement(4, None),
    )
    said = summary.summary().to_dict()
    assert said["status"]["costs"] == {
        "latencyMs": {"min": 3.0, "median": 5.0, "max": 9.0},
        "energyMj": {"min": 30.0, "median": 40.0, "max": 90.0},
        "peakPowerW": {"min": 4.0, "median": 5.0, "max": 6.0},
    }
    assert not [name for name in said["metrics"] if name.startswith("last_")]
    tell(summary, log, measurement(5, 2.0, power=3.5))
    metrics = summary.summary().metrics
    last = {name: value for name, value in metrics.items() if name.startswith("last_")}
    assert last == {"last_latency_ms": 2.0, "last_peak_power_w": 3.5}


def test_a_profile_tells_errors_and_why_it_stopped():
    from edgetran_workers.profiling_reporter import ProfilingReporter

    reporter = ProfilingReporter(JOB)
    summary = summary_of(JOB, reporter)

    tell(
        summary,
        "profiles/board.jsonl",
        measurement(1, 3.0),
        measurement(2, None),
        measurement(3, 5.0, stable=False),
        measurement(4, 7.0),
    )
    tell(summary, "profiles/final/board.jsonl", measurement(5, 100.0))
    said = summary.summary().to_dict()
    status = ProfilingJobStatus.model_validate(said["status"])
    assert (status.measured, status.failed, status.unstable) == (3, 1, 1)
    assert (status.costs.latency_ms.median, said["progress"]) == (5.0, "4/6")
    assert status.costs.energy_mj is None
    tell(
        summary,
        "profiles/board.jsonl",
        {
            "kind": "summary",
            "stopped": "the error is at most 0.05",
            "claimed_error": {
                "latency_ms": {"mean_error": 0.04, "p95_error": 0.1, "predictable": True}
            },
            "not_predictable": {"energy_mj": "no power source", "peak_power_w": "no power source"},
        },
    )
    summary.finish()
    said = summary.summary().to_dict()
    status = ProfilingJobStatus.model_validate(said["status"])
    assert {each.measure: each.error for each in status.errors} == {
        "latencyMs": 0.04,
        "energyMj": None,
        "peakPowerW": None,
    }
    assert said["reason"] == "TargetErrorReached"
    assert said["metrics"]["latency_ms_error"] == pytest.approx(0.04)
