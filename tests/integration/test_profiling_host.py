"""The host's own processor, measured for real."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from edgetran.devices import EngineError, Workload, engine, power_sources
from edgetran.profiling import MODES, Measurement, Profile, ProfilingPlan, measure, profile_device
from edgetran.profiling.measuring import AGREEMENT
from edgetran.space import DesignSpace, sampling

pytestmark = pytest.mark.integration

SPACE = DesignSpace.preset("tiny")
WORKLOAD = Workload(2, 16, vocab_size=1000)
SHORT = dataclasses.replace(
    MODES["quick"], seconds=0.05, warm_up_seconds=0.05, drift_limit=100.0, cool_down_seconds=0.0
)


def small(n):
    return sampling.sample(SPACE, n, np.random.default_rng(0))


def test_a_measurement_holds_all_that_the_protocol_asks_for(tmp_path):
    threads_before, state_before = torch.get_num_threads(), torch.random.get_rng_state()
    (measurement,) = measure(
        small(1),
        device="here",
        engine=engine("torch", threads=1),
        workload=WORKLOAD,
        mode=SHORT,
        folder=tmp_path,
    )
    assert torch.get_num_threads() == threads_before
    assert torch.equal(torch.random.get_rng_state(), state_before)
    assert measurement.failure is None
    assert measurement.threads == 1
    batch, sequence = measurement.batch_latency_ms, measurement.latency_ms
    assert batch.median == pytest.approx(2 * sequence.median)
    assert batch.n == sequence.n >= 10
    assert measurement.cold_start_ms > 0
    assert measurement.warm_up["iterations"] >= 5
    assert measurement.versions["torch"] == torch.__version__
    for moment in ("before", "after"):
        assert measurement.conditions[moment]["pinned_cores"]
        assert measurement.conditions[moment]["threads"] == 1
    if all(source.available() is not None for source in power_sources()):
        assert measurement.energy_mj.value is None
        assert "power source" in measurement.energy_mj.reason
    with np.load(tmp_path / measurement.raw_samples, allow_pickle=False) as samples:
        durations = samples[f"durations_s_{int(samples['reported'])}"]
    assert len(durations) == batch.n
    assert np.median(durations) * 1e3 == pytest.approx(batch.median)
    again = Measurement.from_dict(json.loads(json.dumps(measurement.to_dict(), allow_nan=False)))
    assert again == measurement


def test_candidates_are_measured_in_random_order_each_once():
    architectures = small(5)
    orders = []
    for seed in (0, 1):
        made = measure(
            architectures,
            device="here",
            engine=engine("torch", threads=1),
            workload=WORKLOAD,
            mode=SHORT,
            seed=seed,
        )
        orders.append([m.architecture.graph_hash for m in made])
    assert set(orders[0]) == set(orders[1]) == {a.graph_hash for a in architectures}
    assert orders[0] != orders[1]


def test_onnx_runtime_is_timed_only_after_it_agrees_with_torch():
    pytest.importorskip("onnxruntime")
    (measurement,) = measure(
        small(1),
        device="here",
        engine=engine("onnxruntime", threads=1),
        workload=WORKLOAD,
        mode=SHORT,
    )
    assert measurement.failure is None
    agreement = measurement.conditions["agreement"]
    assert agreement["relative_difference"] <= agreement["tolerance"] == AGREEMENT["fp32"]


def test_an_engine_that_computes_something_else_is_not_timed(monkeypatch):
    chosen = engine("torch", threads=1)
    load = type(chosen).load

    def load_another(self, model, workload):
        with torch.no_grad():
            for parameter in model.classifier.parameters():
                parameter.add_(1.0)
        session = load(self, model, workload)
        with torch.no_grad():
            for parameter in model.classifier.parameters():
                parameter.sub_(1.0)
        return session

    monkeypatch.setattr(type(chosen), "load", load_another)
    (measurement,) = measure(small(1), device="here", engine=chosen, workload=WORKLOAD, mode=SHORT)
    assert "logits differ from PyTorch's" in measurement.failure
    assert measurement.latency_ms is None


def test_an_engine_that_is_not_installed_is_told_before_anything_is_built(monkeypatch):
    chosen = engine("openvino", threads=1)
    monkeypatch.setattr(type(chosen), "available", lambda self: "openvino is not installed")
    with pytest.raises(EngineError, match="not installed"):
        next(measure(small(1), device="here", engine=chosen, workload=WORKLOAD, mode=SHORT))


def test_a_model_that_does_not_fit_is_a_marked_record(monkeypatch):
    chosen = engine("torch", threads=1)

    def no_memory(self, model, workload):
        raise MemoryError

    monkeypatch.setattr(type(chosen), "load", no_memory)
    (measurement,) = measure(small(1), device="here", engine=chosen, workload=WORKLOAD, mode=SHORT)
    assert measurement.failure == "MemoryError"
    assert not measurement.figures.feasible


def test_a_device_that_vanishes_stops_measuring_and_blames_no_architecture(tmp_path, monkeypatch):
    plan = ProfilingPlan("here", WORKLOAD, threads=1, initial=2, max_measurements=2)
    kind = type(plan.make_engine())
    answers = iter([None, None])

    def gone(self, model, workload):
        raise RuntimeError("device lost")

    monkeypatch.setattr(kind, "load", gone)
    monkeypatch.setattr(kind, "available", lambda self: next(answers, "no such device any more"))
    with pytest.raises(EngineError, match="no such device any more"):
        profile_device(plan, SPACE, tmp_path / "here.jsonl")
    assert not (tmp_path / "here.jsonl").exists()


@pytest.mark.slow
def test_profiling_survives_sigkill_and_measures_nothing_twice(tmp_path):
    path = tmp_path / "profiles" / "here.jsonl"
    script = f"""
from edgetran.devices import Workload
from edgetran.profiling import ProfilingPlan, profile_device
from edgetran.space import DesignSpace
plan = ProfilingPlan("here", Workload(1, 8, vocab_size=1000), threads=1, mode="quick",
                     initial=4, batch=2, max_measurements=6, target_error=1e-9, max_repeats=0)
profile_device(plan, DesignSpace.preset("tiny"), {str(path)!r})
"""
    for seconds in (9.0, 12.0):
        child = subprocess.Popen([sys.executable, "-c", script])
        try:
            child.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    plan = ProfilingPlan(
        "here", Workload(1, 8, vocab_size=1000), threads=1, mode="quick", initial=4, batch=2,
        max_measurements=6, target_error=1e-9, max_repeats=0,
    )  # fmt: skip
    profile = profile_device(plan, SPACE, path)
    hashes = [m.architecture.graph_hash for m in profile.measurements]
    assert len(hashes) == len(set(hashes)) == 6
    assert sum(1 for line in path.read_text().splitlines() if '"measurement"' in line) == 6
    assert len(Profile.load(path).measured) == 6
    assert all((path.parent / m.raw_samples).is_file() for m in profile.measured)
