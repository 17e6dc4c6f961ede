"""The end of a run: test and measure winner and baseline, export the winner, write the result."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetran.devices import host_info, power_sources, why_unavailable
from edgetran.devices.host import package_versions
from edgetran.gptran import GPTranResult, read_tree
from edgetran.profiling import Profile
from edgetran.progress import Progress
from edgetran.records import write_atomically
from edgetran.runner.chain import Chain
from edgetran.runner.devices import (
    describe_device,
    unpredictable_measures,
)
from edgetran.runner.finals import STAGE, WINNER, Finalist, Finals
from edgetran.runner.folder import RESULT_SCHEMA_VERSION, RunFolder
from edgetran.runner.phases import first_time, phase_seconds
from edgetran.runner.uninformative_scores import uninformative_scores
from edgetran.search import Objective, SearchResult
from edgetran.training import EncodedTask

if TYPE_CHECKING:
    from edgetran.runner.setting import TaskSetting


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
    objective: Objective | None,
    finalists: tuple[Finalist | None, Finalist | None, Finalist | None],
) -> dict[str, Any]:
    """Judge the finalists, write artifacts/, model/, model.onnx and result.json; the result.

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
        objective: what the search maximised, by which finalists are compared once measured.
        finalists: the model before GPTran, the winner and the baseline.
    """
    before, winner, baseline = finalists
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
        "exports": [],
    }
    notes: list[str] = []
    if task is not None and winner is not None:
        by_key = {WINNER: replace(winner, title="Winner")}
        if before is not None and before != winner:
            by_key["searchBest"] = before
        if baseline is not None:
            by_key["baseline"] = baseline
        progress.start(STAGE, total=len(by_key) + 2)
        finals = Finals(chain, folder, progress, task, profiles, measured_here)
        result |= finals.rows(by_key)
        result["exports"], notes = finals.exports, finals.notes
        if finals.agreement is not None:
            result["agreement"] = finals.agreement.to_dict()
            progress.advance(STAGE, note=finals.agreement.sentence)
            progress.finish(STAGE, note=finals.agreement.sentence)
    result |= _search_part(chain, search)
    result["judgedBy"] = None if objective is None else objective.to_dict()
    of_task = [] if task is None else list(task.data.task.notes)
    of_score = [] if task is None else uninformative_scores(task.data.task, result["winner"])
    for sentence in of_score:
        progress.log(sentence)
    result["notes"] = [
        *of_task,
        *of_score,
        *unpredictable_measures(profiles),
        *result["notes"],
        *notes,
    ]
    result["counts"] = _counts(folder, profiles, search)
    result["gptran"] = None if gptran is None else _gptran_part(gptran)
    seconds = phase_seconds(folder.log)
    result["seconds"] = seconds | {"total": sum(seconds.values())}
    result["finishedAt"] = datetime.now(UTC).isoformat()
    result["files"] = _files(folder, result["winner"])
    write_atomically(folder.result, _json(result))
    return result


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
        "numLabels": task.num_labels,
        "maxLength": data.max_length,
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
            "pareto": list(spec.objective.pareto or ()),
            "pick": spec.objective.pick if spec.objective.pareto else None,
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
        "control": None if gptran.control is None else gptran.control.id,
        "confidence": gptran.confidence,
        "helped": gptran.helped,
        "family": [
            {
                "target": member.target,
                "node": None if member.node is None else member.node.id,
                "metric": None if member.node is None else member.node.metric,
                "parameters": None if member.node is None else member.node.parameters,
            }
            for member in gptran.family
        ],
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


def _files(folder: RunFolder, winner: Mapping[str, Any] | None) -> dict[str, str]:
    paths: dict[str, Path] = {"spec": folder.spec, "log": folder.log, "report": folder.report}
    made = {
        "trials": folder.trials,
        "profiles": folder.profiles,
        "tree": folder.gptran / "tree.jsonl",
    }
    paths |= {name: path for name, path in made.items() if path.exists()}
    if winner is not None:
        artifact = folder.path / winner["artifact"]["path"]
        paths |= {"artifact": artifact, "model": folder.model, "onnx": folder.onnx}
    return {name: path.relative_to(folder.path).as_posix() for name, path in paths.items()}


def _json(result: Mapping[str, Any]) -> str:
    return json.dumps(result, indent=2, allow_nan=False) + "\n"
