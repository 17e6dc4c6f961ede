"""The result of a run that goes on: as far as its logs are, in the form of `result.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgetran.api import CoDesignSearch, Device, GPTranRun, ProfilingJob, Resource, WorkloadSpec
from edgetran.devices import Figure
from edgetran.gptran import GPTranError, Node, Tree, read_tree
from edgetran.profiling import Profile, ProfilingError
from edgetran.runner.devices import describe_device
from edgetran.runner.folder import RESULT_SCHEMA_VERSION, RunFolder
from edgetran.runner.phases import first_time, phase_seconds
from edgetran.search import Measures, SearchError, SearchResult, read_result, shortfall
from edgetran.space import Architecture, macs

UNFINISHED = "The run is not finished: this is how far it is."


def partial_result(
    folder: RunFolder, resource: Resource, search: CoDesignSearch | None = None
) -> dict[str, Any]:
    """What the logs in the folder have come to, for tables and the report.

    The winner is the best of what was trained so far, judged on validation data alone.

    Args:
        folder: holds at least some of a run's logs.
        resource: what the run was asked for.
        search: of a refinement by `searchRef`: the search whose winner is refined.

    Raises:
        RecordError, ProfilingError: a log that cannot be read.
    """
    setting = resource if search is None else search
    profiles = _profiles(folder.profiles)
    trials, tree = _trials(folder.trials), _tree(folder.gptran / "tree.jsonl")
    devices = _devices(setting)
    simulated = {device.name for device in devices if device.simulation is not None}
    winner, notes = None, [UNFINISHED]
    if tree is not None and tree.root is not None:
        names = [device.name for device in devices]
        best = _best_node(tree)
        device = names[0] if len(names) == 1 else "the search's choice"
        winner = _row(best.architecture, device, best.measures, simulated, _workload(setting))
    elif trials is not None and trials.best is not None:
        candidate = trials.best[1].candidate
        winner = _row(
            candidate.architecture, candidate.device, trials.best[1].measures, simulated,
            _workload(setting),
        )  # fmt: skip
    elif trials is not None:
        near = trials.nearest
        least = "" if near is None else f": {shortfall(*near)}"
        notes.append(f"No trial meets the constraints yet{least}.")
    workload = _workload(setting)
    task = getattr(setting.spec, "task", None)
    return {
        "schemaVersion": RESULT_SCHEMA_VERSION,
        "name": resource.name,
        "seed": getattr(resource.spec, "seed", None),
        "startedAt": first_time(folder.log) if folder.log.exists() else None,
        "finishedAt": None,
        "versions": {},
        "host": {},
        "devices": [
            describe_device(device, profiles.get(device.name), here=device.host is True)
            for device in devices
        ],
        "workload": workload.model_dump(by_alias=True),
        "task": None if task is None else {"name": task.name or task.hub or task.folder},
        "winner": winner,
        "baseline": None,
        "searchBest": None,
        "runnersUp": [],
        "notes": notes,
        "counts": {
            "trials": 0 if trials is None else len(trials.trials),
            "failedTrials": 0 if trials is None else len(trials.failed),
            "measurements": sum(len(profile.measured) for profile in profiles.values()),
            "gptranNodes": 0 if tree is None else len(tree.nodes),
        },
        "gptran": None if tree is None or tree.root is None else _steps(tree),
        "seconds": phase_seconds(folder.log),
        "files": {},
    }


def _profiles(folder: Path) -> dict[str, Profile]:
    profiles = {}
    for path in sorted(folder.glob("*.jsonl")):
        try:
            profiles[path.stem] = Profile.load(path)
        except ProfilingError as error:
            if "no measurement" not in str(error):
                raise
    return profiles


def _trials(path: Path) -> SearchResult | None:
    try:
        return read_result(path)
    except SearchError:
        return None


def _tree(path: Path) -> Tree | None:
    try:
        return read_tree(path)
    except GPTranError:
        return None


def _devices(setting: Resource) -> tuple[Device, ...]:
    if isinstance(setting, CoDesignSearch):
        return setting.spec.devices
    if isinstance(setting, ProfilingJob):
        return (setting.spec.device,)
    assert isinstance(setting, GPTranRun)  # noqa: S101 - there are three kinds
    return () if setting.spec.device is None else (setting.spec.device,)


def _workload(setting: Resource) -> WorkloadSpec:
    found: WorkloadSpec | None = getattr(setting.spec, "workload", None)
    return found or WorkloadSpec()


def _best_node(tree: Tree) -> Node:
    """The last model that a round accepted; the root before the first."""
    accepted = [each.accepted for each in tree.rounds.values() if each.accepted]
    return tree.nodes[accepted[-1]] if accepted else tree.nodes["root"]


def _steps(tree: Tree) -> dict[str, Any]:
    best = _best_node(tree)
    return {"best": best.id, "steps": [node.id for node in tree.path(best.id)], "reason": None}


def _row(
    architecture: Architecture,
    device: str,
    measures: Measures,
    simulated: set[str],
    workload: WorkloadSpec,
) -> dict[str, Any]:
    length = workload.sequence_length
    figures = {
        "validationAccuracy": measures.accuracy,
        **measures.hardware.by_alias(),
        "parameters": Figure(float(measures.parameters), "", "counted"),
        "macs": Figure(float(macs(architecture, length)), "", "counted"),
    }
    return {
        "title": "Best so far",
        "architecture": architecture.to_model_dict(),
        "graphHash": architecture.graph_hash,
        "device": device,
        "deviceKind": "simulated" if device in simulated else "host",
        "figures": {name: figure.to_dict() for name, figure in figures.items()},
        "otherMetrics": {},
        "lineage": [],
        "onHost": None,
    }
