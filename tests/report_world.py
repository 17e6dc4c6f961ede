"""Folders of runs as the rooms write them: real records and loops, figures by arithmetic."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgetran.devices import Figure, HardwareFigures, PowerReading, Workload, simulated_device
from edgetran.devices.accelerators import Accelerator
from edgetran.devices.conditions import Conditions
from edgetran.devices.host import HostInfo
from edgetran.gptran import Node, Round, Step, Tree
from edgetran.profiling import (
    Measurement,
    Profile,
    ProfilingPlan,
    Statistics,
    predictor,
    profile_device,
    simulated_predictor,
)
from edgetran.search import (
    Bound,
    Constraints,
    Evaluation,
    SearchPlan,
    SearchResult,
    Trial,
    run_search,
)
from edgetran.space import Architecture, DesignSpace, macs, parameter_count
from edgetran.training import TaskReference, TrainingPlan, TrialOutcome, TrialSpec

WORKLOAD = Workload(batch_size=1, sequence_length=64, vocab_size=4096, num_labels=2)
BASELINE = Architecture.homogeneous(num_layers=2, hidden_size=128, num_heads=2, feed_forward=[512])
SPACE = DesignSpace.preset("tiny")
SPEC = """\
apiVersion: edgetran.io/v1alpha1
kind: CoDesignSearch
metadata: {name: quickstart}
spec:
  task: {name: movie-reviews}
  constraints: {latencyMs: {max: 50}, parameters: {max: 5000000}}
"""
NO_POWER = "no power source: /sys/class/powercap has no readable energy counter"


def parameters_of(architecture: Architecture) -> int:
    return parameter_count(architecture, vocab_size=4096, max_positions=64, num_labels=2)


def accuracy_of(architecture: Architecture) -> float:
    """Between 0.70 and 0.83: width and a mix of attention and convolution help."""
    kinds = {head.split("_")[0] for layer in architecture.layers for head in layer.head_types}
    width = np.mean([np.log2(layer.hidden_size / 64) for layer in architecture.layers])
    wiggle = int(architecture.graph_hash[:4], 16) / 0xFFFF - 0.5
    return float(0.71 + 0.03 * width + 0.02 * len(kinds) + 0.03 * wiggle)


@dataclass(frozen=True)
class Scenario:
    """What kind of run to make.

    Attributes:
        name: of the run, the task, the host's device.
        energy: whether the host senses power.
        search: whether there is a search, or a profile alone.
        gptran: whether the winner was refined.
        baseline: whether there is a baseline.
        failing: numbers of trials that fail.
    """

    name: str = "quickstart"
    device: str = "this-host"
    task: str = "movie-reviews"
    error: str = "diverged: the loss is not a number after 120 steps"
    energy: bool = True
    search: bool = True
    gptran: bool = True
    baseline: bool = True
    failing: frozenset[int] = frozenset({3})


def make_run(folder: Path, scenario: Scenario | None = None) -> Path:
    """Write the folder of a finished run."""
    scenario = scenario or Scenario()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spec.yaml").write_text(SPEC.replace("quickstart", scenario.name))
    host = Host(scenario)
    profile = host.profile(folder / "profiles" / f"{scenario.device}.jsonl")
    result = _result(scenario, profile)
    if scenario.search:
        found = _search(folder, scenario, profile)
        trial, best = found.best or (None, None)
        assert trial is not None
        result |= _finalists(folder, scenario, host, profile, trial, best)
        result["notes"] = list(found.notes)
        result["counts"] = {
            "trials": len(found.trials),
            "failedTrials": len(found.failed),
            "measurements": len(profile.measured),
            "gptranNodes": 6 if scenario.gptran else 0,
        }
    (folder / "result.json").write_text(json.dumps(result, indent=2, allow_nan=False))
    return folder


@dataclass
class Host:
    """A host whose latency is its MACs with some noise, measured as real records tell it."""

    scenario: Scenario
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(5))

    def profile(self, path: Path, architectures: Sequence[Architecture] | None = None) -> Profile:
        count = 2 if architectures else 14
        plan = ProfilingPlan(
            device=self.scenario.device,
            workload=WORKLOAD,
            threads=2,
            mode="quick",
            initial=count,
            batch=4,
            max_measurements=max(count, 0 if architectures is None else len(architectures)),
            target_error=0.001,
        )
        return profile_device(
            plan, architectures or SPACE, path, measurer=lambda some: self._measured(plan, some)
        )

    def _measured(
        self, plan: ProfilingPlan, architectures: Sequence[Architecture]
    ) -> Iterator[Measurement]:
        for index, architecture in enumerate(architectures):
            yield self._one(plan, architecture, stable=index != 4)

    def _one(self, plan: ProfilingPlan, architecture: Architecture, *, stable: bool) -> Measurement:
        key = plan.key()
        work = macs(architecture, 64, 1) / 1e6
        latency = (0.9 + 0.06 * work + 0.12 * architecture.num_layers) * np.exp(
            self.rng.normal(0, 0.02 if stable else 0.2)
        )
        samples = latency * np.exp(self.rng.normal(0, 0.02, 200))
        missing = self.scenario.energy is False

        def figure(value: float, unit: str) -> Figure:
            if missing:
                return Figure.missing(unit, "measured", NO_POWER)
            return Figure(float(value * np.exp(self.rng.normal(0, 0.02))), unit, "measured")

        power = PowerReading(
            source="rapl",
            scope="package 0",
            energy_j=figure(latency * 8e-3 * 200, "J"),
            mean_power_w=figure(8.0, "W"),
            peak_power_w=figure(9.5, "W"),
            peak_window_s=0.1,
            duration_s=1.2,
            updates=0 if missing else 1100,
            update_period_s=None if missing else 0.001,
            poll_interval_s=0.01,
            model_based=False,
            notes=("the window was shorter than 5 s",),
        )
        statistics = Statistics.of(samples)
        return Measurement(
            architecture=architecture,
            device=key.device,
            engine=key.engine,
            precision=key.precision,
            threads=key.threads,
            workload=WORKLOAD,
            mode=plan.mode,
            versions=dict(key.versions),
            latency_ms=statistics,
            batch_latency_ms=statistics,
            energy_mj=figure(latency * 8, "mJ"),
            energy_idle_subtracted_mj=figure(latency * 5, "mJ"),
            batch_energy_mj=figure(latency * 8, "mJ"),
            peak_power_w=figure(9 + 0.05 * work, "W"),
            idle_power_w=figure(3.0, "W"),
            power=power.to_dict(),
            cold_start_ms=180 + 10 * latency,
            stable=stable,
            drift=0.018 if stable else 0.14,
            attempts=1 if stable else 2,
            warm_up={"iterations": 15, "seconds": 0.2, "settled": True},
            outliers={"number": 3, "rule": "further than 5 robust deviations from the median"},
            conditions={
                "before": _conditions(0.4, 47.0).to_dict(),
                "after": _conditions(1.9, 55.5).to_dict(),
                "cool_down_s": 0.0,
            },
            measured_at="2026-01-15T10:00:00+00:00",
            duration_s=1.9,
        )


def _conditions(load: float, temperature_c: float) -> Conditions:
    return Conditions(
        time_s=1768471200.0,
        governors=("performance",),
        frequencies_mhz=(2899.5, 3100.0),
        turbo=True,
        power_mode=None,
        throttled=None,
        temperatures_c={"x86_pkg_temp": temperature_c},
        load_average=load,
        threads=2,
        pinned_cores=(0, 1),
        versions={"torch": "2.13.0"},
        usable_cores=1.5,
        cpu_quota=1.5,
        cores_bound_by="quota",
    )


def _host_info() -> HostInfo:
    return HostInfo(
        hostname="laptop",
        os="Linux 6.12",
        architecture="x86_64",
        board="A laptop",
        cpu_model="A processor @ 2.90GHz",
        physical_cores=2,
        logical_cores=4,
        usable_cores=2.0,
        instruction_sets=("avx2", "avx512f"),
        memory_bytes=16 * 2**30,
        memory_limit_bytes=4 * 2**30,
        cpu_limit=2.0,
        virtual=False,
        accelerators=(Accelerator("cuda", (), "no NVIDIA GPU or no driver for it"),),
        python="3.11.2",
        versions={"torch": "2.13.0"},
    )


@dataclass
class ArithmeticPool:
    """Trains by a formula."""

    scenario: Scenario
    waiting: list[tuple[str, TrialSpec]] = field(default_factory=list)

    def submit(self, key: str, spec: TrialSpec) -> None:
        self.waiting.append((key, spec))

    def completed(self) -> Iterator[TrialOutcome]:
        while self.waiting:
            key, spec = self.waiting.pop(0)
            if int(key) in self.scenario.failing:
                yield TrialOutcome(key=key, error=self.scenario.error, error_kind="diverged")
                continue
            architecture = Architecture.from_model_dict(spec.architecture)
            Path(spec.output).mkdir(parents=True)
            yield TrialOutcome(
                key=key,
                folder=spec.output,
                selection_metric="accuracy",
                metrics={"accuracy": accuracy_of(architecture)},
                steps=300,
                seconds=18.5,
                fraction=1.0,
                parameters=parameters_of(architecture),
                transfer_ratio=0.6,
            )


def _search(folder: Path, scenario: Scenario, profile: Profile) -> SearchResult:
    simulated = {"raspberry-pi-4": "raspberry-pi-4-cpu", "jetson-nano": "jetson-nano-gpu"}
    predictors = [
        predictor(profile),
        *(
            simulated_predictor(simulated_device(board), WORKLOAD, name=name)
            for name, board in simulated.items()
        ),
    ]
    trial = TrialSpec(
        architecture={},
        task=TaskReference(name="movie-reviews"),
        plan=TrainingPlan(max_seconds=20, max_length=64),
        seed=0,
        output="",
    )
    plan = SearchPlan(
        trial=trial,
        workload=WORKLOAD,
        constraints=Constraints(latency_ms=Bound(maximum=50), accuracy=Bound(minimum=0.72)),
        method="random",
        max_trials=14,
        initial_trials=6,
        parallel_trials=2,
        max_failed_trials=5,
    )
    return run_search(
        plan,
        SPACE,
        predictors,
        ArithmeticPool(scenario),
        log_path=folder / "trials.jsonl",
        folder=folder / "checkpoints/search",
    )


def _result(scenario: Scenario, profile: Profile) -> dict[str, Any]:
    summary = dict(profile.summary or {})
    devices = [
        {
            "name": scenario.device,
            "kind": "host",
            "simulation": None,
            "precision": "fp32",
            "engine": "torch",
            "threads": profile.key.threads,
            "profile": {
                "source": "measured",
                "records": len(profile.measured),
                "failed": 0,
                "unstable": 1,
                "error": summary["claimed_error"],
                "notPredictable": summary["not_predictable"],
                "warnings": [],
            },
        }
    ]
    devices += [
        {
            "name": name.rpartition("-")[0],
            "kind": "simulated",
            "simulation": name,
            "precision": "fp32",
            "engine": None,
            "threads": None,
            "profile": {"source": "simulated", "records": 0},
        }
        for name in (("raspberry-pi-4-cpu", "jetson-nano-gpu") if scenario.search else ())
    ]
    return {
        "schemaVersion": 1,
        "name": scenario.name,
        "seed": 0,
        "startedAt": "2026-01-15T10:00:00+00:00",
        "finishedAt": "2026-01-15T10:05:12+00:00",
        "versions": {"edgetran": "0.1.0", "python": "3.11.2", "torch": "2.13.0"},
        "host": _host_info().to_dict(),
        "devices": devices,
        "workload": {"batchSize": 1, "sequenceLength": 64},
        "task": None,
        "winner": None,
        "baseline": None,
        "searchBest": None,
        "objective": None,
        "constraints": None,
        "pareto": [],
        "notes": [],
        "gptran": None,
        "counts": {
            "trials": 0,
            "failedTrials": 0,
            "measurements": len(profile.measured),
            "gptranNodes": 0,
        },
        "seconds": {"profiling": 41.2, "search": 151.0, "gptran": 60.5, "total": 312.4},
        "files": {"spec": "spec.yaml", "log": "log.jsonl", "report": "report.html"},
    }


def _finalists(
    folder: Path,
    scenario: Scenario,
    host: Host,
    profile: Profile,
    trial: Trial,
    best: Evaluation,
) -> dict[str, Any]:
    before = best.candidate.architecture
    winner, gptran = before, None
    if scenario.gptran:
        winner, gptran = _refine(folder, profile, best)
    finalists = {"winner": ("Winner", winner)}
    if winner != before:
        finalists["searchBest"] = (f"Search's best (trial {trial.number})", before)
    if scenario.baseline:
        finalists["baseline"] = ("Baseline (BERT-shaped)", BASELINE)
    final = host.profile(
        folder / "profiles/final" / f"{scenario.device}.jsonl", [a for _, a in finalists.values()]
    )
    rows = {
        key: _row(title, architecture, scenario, best, final)
        for key, (title, architecture) in finalists.items()
    }
    files = {"spec": "spec.yaml", "report": "report.html", "model": "model", "onnx": "model.onnx"}
    return {
        **rows,
        "gptran": gptran,
        "task": {
            "name": scenario.task,
            "source": "movie reviews rated by people",
            "licence": "MIT",
            "metric": "accuracy",
            "labelNames": ["negative", "positive"],
            "examples": {"train": 7452, "validation": 931, "test": 931},
        },
        "agreement": {"examples": 931, "samePredictions": 931, "maxLogitDifference": 2e-6},
        "files": files,
    }


def _row(
    title: str, architecture: Architecture, scenario: Scenario, best: Evaluation, final: Profile
) -> dict[str, Any]:
    device = best.candidate.device
    on_host = next(m.figures for m in final.measurements if m.architecture == architecture)
    figures = on_host
    if device != scenario.device:
        board = {"raspberry-pi-4": "raspberry-pi-4-cpu", "jetson-nano": "jetson-nano-gpu"}[device]
        figures = simulated_device(board).estimate(architecture, WORKLOAD)
    accuracy = accuracy_of(architecture)
    return {
        "title": title,
        "architecture": architecture.to_model_dict(),
        "graphHash": architecture.graph_hash,
        "device": device,
        "deviceKind": "host" if device == scenario.device else "simulated",
        "trainingSeconds": 75.5,
        "trainingSteps": 900,
        "lineage": ["trial 2", "trial 7", "growHeads: layer 1: add a c_5 head"],
        "figures": {
            "accuracy": Figure(accuracy - 0.004, "", "measured").to_dict(),
            "validationAccuracy": Figure(accuracy, "", "measured").to_dict(),
            "parameters": Figure(float(parameters_of(architecture)), "", "counted").to_dict(),
            "macs": Figure(float(macs(architecture, 64, 1)), "", "counted").to_dict(),
            **_hardware(figures),
        },
        "otherMetrics": {},
        "onHost": {"device": scenario.device, **_hardware(on_host)},
    }


def _hardware(figures: HardwareFigures) -> dict[str, Any]:
    return {
        "latencyMs": figures.latency_ms.to_dict(),
        "energyMj": figures.energy_mj.to_dict(),
        "peakPowerW": figures.peak_power_w.to_dict(),
    }


def _refine(
    folder: Path, profile: Profile, best: Evaluation
) -> tuple[Architecture, dict[str, Any]]:
    """A tree of two rounds: a head is added, then a feed-forward narrowed; one child fails."""
    root = best.candidate.architecture
    first = root.layers[0]
    grown = _with_first(root, replace(first, head_types=(*first.head_types, "c_5")))
    other = _with_first(root, replace(first, head_types=(*first.head_types, "l_dct")))
    narrow = (first.feed_forward[0] - 64, *first.feed_forward[1:])
    pruned = _with_first(grown, replace(grown.layers[0], feed_forward=narrow))
    last = grown.layers[-1]
    thinner = Architecture((*grown.layers[:-1], replace(last, feed_forward=(64,))))
    broken = _with_first(grown, replace(grown.layers[0], feed_forward=(*narrow, 512)))
    tree = Tree(folder / "gptran/tree.jsonl", {"stages": ["growHeads", "pruneFeedForwards"]})

    def node(name: str, parent: str | None, stage: str, a: Architecture, change: str) -> Node:
        return Node(
            id=name,
            parent=parent,
            cycle=0 if parent is None else 1,
            stage=stage,
            architecture=a,
            change=change,
            state="trained",
            parameters=parameters_of(a),
            hardware=predictor(profile).predict([a])[0],
            metric=accuracy_of(a),
            loss=0.5,
            transfer_ratio=None if parent is None else 0.97,
            checkpoint=f"nodes/{name}",
            seconds=8.2,
        )

    def step(stage: str, a: Architecture, change: str) -> Step:
        return Step(stage, a, change, gain=0.1)

    grow, prune = "growHeads", "pruneFeedForwards"
    tree.add_node(node("root", None, "root", root, "the model to refine"))
    changes = {
        "1.0": (grown, "layer 1: add a c_5 head"),
        "1.1": (other, "layer 1: add a l_dct head"),
    }
    tree.start_round(Round(1, 1, grow, "root", {k: step(grow, *v) for k, v in changes.items()}))
    for name, (a, change) in changes.items():
        tree.add_node(node(name, "root", grow, a, change))
    tree.end_round(1, "1.0", "the best score of the acceptable children")
    changes = {
        "2.0": (pruned, "layer 1: narrow a feed-forward by 64"),
        "2.1": (thinner, "last layer: narrow the feed-forward to 64"),
        "2.2": (broken, "layer 1: append a feed-forward of 512"),
    }
    tree.start_round(Round(2, 1, prune, "1.0", {k: step(prune, *v) for k, v in changes.items()}))
    for name, (a, change) in changes.items():
        made = node(name, "1.0", prune, a, change)
        if name == "2.2":
            made = replace(
                made,
                state="failed",
                metric=None,
                loss=None,
                reason="out of memory",
                checkpoint=None,
            )
        tree.add_node(made)
    tree.end_round(2, "2.0", "the best score of the acceptable children")
    outcome = {
        "improved": True,
        "best": "2.0",
        "steps": ["root", "1.0", "2.0"],
        "reductions": {"parameters": 0.02, "latency_ms": 0.01, "energy_mj": None},
        "metricGain": accuracy_of(pruned) - accuracy_of(root),
        "reason": "2.0 is better than the root by its score.",
    }
    return pruned, outcome


def _with_first(architecture: Architecture, layer: Any) -> Architecture:
    return Architecture((layer, *architecture.layers[1:]))
