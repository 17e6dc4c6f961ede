"""The end of a run: test and measure winner and baseline, export the winner, write the result."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetran import api
from edgetran.devices import (
    Figure,
    HardwareFigures,
    host_info,
    power_sources,
    simulated_device,
    why_unavailable,
)
from edgetran.devices.host import package_versions
from edgetran.gptran import GPTranResult, read_tree
from edgetran.profiling import Profile, predictor, profile_device
from edgetran.progress import Progress
from edgetran.records import write_atomically
from edgetran.runner.chain import Chain
from edgetran.runner.contestant import Contestant
from edgetran.runner.devices import (
    describe_device,
    device_kind,
    doubts,
    power_source,
    profiling_plan,
)
from edgetran.runner.doubts import score_doubts
from edgetran.runner.export import export_winner
from edgetran.runner.folder import RESULT_SCHEMA_VERSION, RunFolder
from edgetran.runner.phases import first_time, phase_seconds
from edgetran.runner.progress import Renamed
from edgetran.search import SearchResult
from edgetran.space import Architecture, macs, parameter_count
from edgetran.training import EncodedTask, TaskError, evaluate, load_model

if TYPE_CHECKING:
    from edgetran.runner.run import TaskSetting

STAGE = "Test, measure, export"


def conclude(
    chain: Chain,
    folder: RunFolder,
    progress: Progress,
    *,
    task: TaskSetting | None,
    profiles: Mapping[str, Profile],
    measured_here: frozenset[str],
    search: SearchResult | None,
    gptran: GPTranResult | None,
    contestants: tuple[Contestant | None, Contestant | None, Contestant | None],
) -> dict[str, Any]:
    """Judge the finalists, write model/, model.onnx and result.json, and give back the result.

    Args:
        chain: what was asked for.
        folder: the run's folder.
        progress: shows how far it is.
        task: the task; None where nothing was trained.
        profiles: of the devices that are not simulated, by name.
        measured_here: those of these devices that this run measures; what the finalists cost on
            the others is predicted.
        search: what the search came to.
        gptran: what growing and pruning came to.
        contestants: the model before GPTran, the winner and the baseline.
    """
    before, winner, baseline = contestants
    result: dict[str, Any] = {
        "schemaVersion": RESULT_SCHEMA_VERSION,
        "name": chain.name,
        "seed": chain.seed,
        "startedAt": first_time(folder.log),
        "versions": {"python": platform.python_version(), **package_versions()},
        "host": host_info().to_dict() | {"power_sources": _power_sources()},
        "devices": [
            describe_device(device, profiles.get(device.name), here=device.name in measured_here)
            for device in _all(chain)
        ],
        "workload": chain.workload.model_dump(by_alias=True),
        "task": None if task is None else _describe_task(task.data),
        "winner": None,
        "baseline": None,
        "searchBest": None,
    }
    if task is not None and winner is not None:
        finalists = {"winner": replace(winner, title="Winner")}
        if before is not None and before != winner:
            finalists["searchBest"] = before
        if baseline is not None:
            finalists["baseline"] = replace(baseline, title="Baseline (BERT-shaped)")
        progress.start(STAGE, total=len(finalists) + 2)
        final = _Final(chain, folder, progress, task, profiles, measured_here)
        result |= final.rows(finalists)
        agreement = export_winner(winner.checkpoint, task.data, folder)
        progress.advance(STAGE, note=agreement.sentence)
        result["agreement"] = agreement.to_dict()
        progress.finish(STAGE, note=agreement.sentence)
    result |= _search_part(chain, search)
    of_task = [] if task is None else list(task.data.task.notes)
    of_score = [] if task is None else score_doubts(task.data.task, result["winner"])
    for doubt in of_score:
        progress.log(doubt)
    result["notes"] = [*of_task, *of_score, *doubts(profiles), *result["notes"]]
    result["counts"] = _counts(folder, profiles, search)
    result["gptran"] = None if gptran is None else _gptran_part(gptran)
    seconds = phase_seconds(folder.log)
    result["seconds"] = seconds | {"total": sum(seconds.values())}
    result["finishedAt"] = datetime.now(UTC).isoformat()
    result["files"] = _files(folder, winner is not None)
    write_atomically(folder.result, _json(result))
    return result


class _Final:
    """The finalists on the test split and on the devices."""

    def __init__(
        self,
        chain: Chain,
        folder: RunFolder,
        progress: Progress,
        task: TaskSetting,
        profiles: Mapping[str, Profile],
        measured_here: frozenset[str],
    ) -> None:
        self.chain, self.folder, self.progress = chain, folder, progress
        self.data, self.workload = task.data, task.workload
        self.max_positions = task.data.max_length
        self.profiles, self.measured_here = profiles, measured_here
        self.devices = {device.name: device for device in chain.devices}

    def rows(self, finalists: Mapping[str, Contestant]) -> dict[str, Any]:
        """One row of the result per finalist, by the finalist's key."""
        rows: dict[str, dict[str, Any]] = {}
        architectures: dict[str, Architecture] = {}
        for key, finalist in finalists.items():
            rows[key], architectures[key] = self._judge(finalist)
            self.progress.advance(STAGE, note=f"{finalist.title}: tested")
        host = next((name for name in self.devices if name in self.measured_here), None)
        measured = {} if host is None else self._measure(host, list(architectures.values()))
        for key, finalist in finalists.items():
            architecture = architectures[key]
            here = measured.get(architecture.canonical_json)
            figures = (
                here
                if finalist.device == host and here is not None
                else self._figures(finalist.device, architecture)
            )
            rows[key]["figures"] |= _hardware(figures)
            rows[key]["onHost"] = None if here is None else {"device": host, **_hardware(here)}
        self.progress.advance(STAGE, note="predicted" if host is None else "measured")
        return rows

    def _judge(self, finalist: Contestant) -> tuple[dict[str, Any], Architecture]:
        """A row without hardware figures, and the architecture."""
        model = load_model(finalist.checkpoint)
        architecture = model.config.to_architecture()
        metric = self.data.task.selection_metric
        validation = evaluate(model, self.data, "validation")
        try:
            test = evaluate(model, self.data, "test")
            accuracy = Figure(test[metric], "", "measured")
        except TaskError as error:
            test = {}
            accuracy = Figure.missing("", "measured", str(error))
        parameters = sum(p.numel() for p in model.parameters())
        row = {
            "title": finalist.title,
            "architecture": architecture.to_model_dict(),
            "graphHash": architecture.graph_hash,
            "device": finalist.device,
            "deviceKind": device_kind(
                self.devices[finalist.device], here=finalist.device in self.measured_here
            ),
            "trainingSeconds": finalist.lineage.seconds,
            "trainingSteps": finalist.lineage.steps,
            "lineage": list(finalist.lineage.words),
            "figures": {
                "accuracy": accuracy.to_dict(),
                "validationAccuracy": Figure(validation[metric], "", "measured").to_dict(),
                "parameters": Figure(float(parameters), "", "counted").to_dict(),
                "macs": Figure(
                    float(macs(architecture, self.workload.sequence_length)), "", "counted"
                ).to_dict(),
            },
            "otherMetrics": {name: value for name, value in test.items() if name != metric},
        }
        counted = parameter_count(
            architecture,
            vocab_size=self.workload.vocab_size,
            max_positions=self.max_positions,
            num_labels=self.workload.num_labels,
        )
        if counted != parameters:
            self.progress.log(
                f"{finalist.title}: has {parameters} parameters, its architecture {counted}"
            )
        return row, architecture

    def _measure(self, host: str, architectures: Sequence[Architecture]) -> dict[str, Any]:
        """Figures of the finalists, measured beside one another on this host."""
        device = self.devices[host]
        job = self._job(device)
        plan = profiling_plan(job, self.workload)
        distinct = list({each.canonical_json: each for each in architectures}.values())
        profile = profile_device(
            replace(plan, initial=2, max_measurements=max(2, len(distinct))),
            distinct,
            self.folder.final_profile(host),
            Renamed(self.progress, f"Measure on {host}"),
            power_source=power_source(device, self.chain.meters),
        )
        return {m.architecture.canonical_json: m.figures for m in profile.measurements}

    def _job(self, device: api.SearchDevice) -> api.ProfilingJob:
        job = self.chain.job_for(device)
        if job is not None:
            return job
        fields = {name: getattr(device, name) for name in api.Device.model_fields}
        return api.ProfilingJob(
            api_version=api.API_VERSION,
            kind="ProfilingJob",
            metadata=api.ObjectMeta(name=device.name),
            spec=api.ProfilingJobSpec(
                device=api.Device.model_validate(fields),
                design_space=api.DesignSpaceSource(preset="tiny"),
            ),
        )

    def _figures(self, name: str, architecture: Architecture) -> HardwareFigures:
        device = self.devices[name]
        if device.simulation is not None:
            return simulated_device(device.simulation).estimate(
                architecture, self.workload, device.precision
            )
        if name not in self.measured_here:
            return predictor(self.profiles[name]).predict([architecture])[0]
        return self._measure(name, [architecture])[architecture.canonical_json]  # type: ignore[no-any-return]


def _all(chain: Chain) -> list[Any]:
    """The devices of the search, then those that are only profiled."""
    names = {device.name for device in chain.devices}
    return [
        *chain.devices,
        *(job.spec.device for job in chain.jobs if job.spec.device.name not in names),
    ]


def _power_sources() -> list[dict[str, str | None]]:
    """Every power source, and why it is missing (None where it is not)."""
    return [{"name": s.name, "missing": why_unavailable(s)} for s in power_sources()]


def _describe_task(data: EncodedTask) -> dict[str, Any]:
    task = data.task
    return {
        "name": task.name,
        "source": task.source,
        "licence": task.licence,
        "metric": task.selection_metric,
        "labelNames": None if task.label_names is None else list(task.label_names),
        "examples": {part: len(split) for part, split in data.splits.items()},
        "overlap": dict(task.overlap),
        "vocabSize": data.vocab_size,
        "maxLength": data.max_length,
    }


def _hardware(figures: HardwareFigures) -> dict[str, Any]:
    return {
        "latencyMs": figures.latency_ms.to_dict(),
        "energyMj": figures.energy_mj.to_dict(),
        "peakPowerW": figures.peak_power_w.to_dict(),
    }


def _search_part(chain: Chain, search: SearchResult | None) -> dict[str, Any]:
    if search is None or chain.search is None:
        return {"objective": None, "constraints": None, "pareto": [], "notes": []}
    spec = chain.search.spec
    return {
        "objective": {
            "weights": spec.objective.weights.model_dump(by_alias=True),
            "normalisers": search.objective.to_dict()["ranges"],
            "leftOut": dict(search.objective.left_out),
        },
        "constraints": None
        if spec.constraints is None
        else spec.constraints.model_dump(by_alias=True, exclude_none=True),
        "pareto": [
            {"trial": trial.number, "device": evaluation.candidate.device}
            for trial, evaluation in search.front
        ],
        "hypervolume": search.hypervolume_history[-1] if search.trials else None,
        "notes": list(search.notes),
    }


def _gptran_part(gptran: GPTranResult) -> dict[str, Any]:
    return {
        "improved": gptran.improved,
        "best": gptran.best.id,
        "steps": [node.id for node in gptran.steps],
        "reductions": dict(gptran.reductions),
        "metricGain": gptran.metric_gain,
        "reason": gptran.reason,
    }


def _counts(
    folder: RunFolder, profiles: Mapping[str, Profile], search: SearchResult | None
) -> dict[str, int]:
    tree = folder.gptran / "tree.jsonl"
    return {
        "trials": 0 if search is None else len(search.trials),
        "failedTrials": 0 if search is None else len(search.failed),
        "measurements": sum(len(profile.measured) for profile in profiles.values()),
        "gptranNodes": len(read_tree(tree).nodes) if tree.exists() else 0,
    }


def _files(folder: RunFolder, trained: bool) -> dict[str, str]:
    paths: dict[str, Path] = {"spec": folder.spec, "log": folder.log, "report": folder.report}
    made = {
        "trials": folder.trials,
        "profiles": folder.profiles,
        "tree": folder.gptran / "tree.jsonl",
    }
    paths |= {name: path for name, path in made.items() if path.exists()}
    if trained:
        paths |= {"model": folder.model, "onnx": folder.onnx}
    return {name: path.relative_to(folder.path).as_posix() for name, path in paths.items()}


def _json(result: Mapping[str, Any]) -> str:
    return json.dumps(result, indent=2, allow_nan=False) + "\n"
