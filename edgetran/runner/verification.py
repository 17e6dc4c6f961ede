"""A run's finalists measured on their board afterwards, as the very artefacts that were scored.

What a run on one machine does at its end, a cluster does in a pod of its own: there trainers and
boards are different nodes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgetran import api
from edgetran.artifacts import Artifact, ArtifactError
from edgetran.devices import Workload, host_info
from edgetran.profiling import Measurement, ProfilingError
from edgetran.progress import Progress
from edgetran.records import write_atomically
from edgetran.runner.beside import measure_beside
from edgetran.runner.chain import Chain
from edgetran.runner.finalist_rows import FINALISTS, RUNNERS_UP, measurable_rows
from edgetran.runner.folder import RunFolder, RunFolderError
from edgetran.runner.judged_artifact import of_hardware
from edgetran.runner.phases import first_time
from edgetran.runner.prior_results import DependencyError
from edgetran.runner.row_measures import measures_of
from edgetran.search import Objective
from edgetran.space import Architecture, ArchitectureError


def verify_finalists(
    chain: Chain, folder: RunFolder, progress: Progress, measured: RunFolder
) -> dict[str, Any]:
    """Measure the finalists of another run on this host and write result.json; the result.

    The result is that run's with what its finalists cost here; what was predicted stands beside
    it. What the log holds already is not measured again. Where the winner turns out to be worse
    than its baseline, the next best are measured one after the other, until one of them is not.

    Args:
        chain: its one job says how to measure.
        folder: a claimed folder.
        progress: shows how far it is.
        measured: the other run's folder, of which nothing is changed.

    Raises:
        DependencyError: that run has no result, or its artefacts are not what it scored.
        ProfilingError: the winner cannot be measured here.
        edgetran.devices.EngineError: nor can its engine run here.
    """
    (job,) = chain.jobs
    source = job.spec.finalists_of
    assert source is not None  # noqa: S101 - the caller has asked
    label = f"{source.kind}/{source.name}"
    try:
        result = measured.read_result()
        rows = measurable_rows(result)
        models = {
            key: _taken_over(row, measured, folder.artifacts / key) for key, row in rows.items()
        }
        workload = _workload(job, result)
        told = result.get("judgedBy")
        objective = None if told is None else Objective.from_dict(told)
    except (RunFolderError, ArtifactError, ArchitectureError, KeyError, TypeError) as error:
        raise DependencyError(f"{label}: {_said(error)}") from None
    if "winner" not in models:
        raise DependencyError(f"{label}: it has no winner")

    def measure(keys: Sequence[str]) -> dict[str, dict[str, Any]]:
        records = measure_beside(
            job,
            job.spec.device,
            workload,
            {key: models[key] for key in keys},
            folder.final_profile(job.spec.device.name),
            progress,
            chain.meters,
        )
        return {key: _measured(rows[key], records[key], models[key][1]) for key in keys}

    told_of = measure([key for key in FINALISTS if key in models])
    if (failure := told_of["winner"]["measurement"]["failure"]) is not None:
        raise ProfilingError(f"{label}: its winner cannot be measured here: {failure}")
    waiting = [key for key in models if key not in told_of]
    while waiting and _all_lose(told_of, objective):
        progress.log(f"{label}: what was measured loses to the baseline; the next best is measured")
        told_of |= measure([waiting.pop(0)])
    result |= {key: row for key, row in told_of.items() if key in FINALISTS}
    result |= {
        RUNNERS_UP: [row for key, row in told_of.items() if key not in FINALISTS],
        "name": job.name,
        "startedAt": first_time(folder.log),
        "finishedAt": datetime.now(UTC).isoformat(),
        "host": host_info().to_dict(),
        "exports": [],
        "files": {},
    }
    write_atomically(folder.result, json.dumps(result, indent=2, allow_nan=False) + "\n")
    return result


def _all_lose(told_of: Mapping[str, Mapping[str, Any]], objective: Objective | None) -> bool:
    """Whether everything that was measured is worse than the baseline in the objective."""
    if objective is None or "baseline" not in told_of:
        return False
    values = {
        key: objective.value(measures_of(row))
        for key, row in told_of.items()
        if row["measurement"]["failure"] is None
    }
    bar = values.pop("baseline", None)
    return bar is not None and all(value is not None and value < bar for value in values.values())


def _taken_over(
    row: Mapping[str, Any], measured: RunFolder, target: Path
) -> tuple[Architecture, Artifact]:
    """A finalist's artefact, copied from where it is kept: nothing is read from there meanwhile."""
    told = row["artifact"]
    path = measured.path / told["path"]
    if not path.resolve().is_relative_to(measured.path.resolve()):
        raise ArtifactError(f"{told['path']}: leads out of the run's folder")
    artifact = Artifact.load(path.parent)
    if artifact.sha256 != told["sha256"]:
        raise ArtifactError(
            f"{artifact.path}: its SHA-256 is {artifact.sha256[:12]}…, and "
            f"{str(told['sha256'])[:12]}… was scored"
        )
    copied = artifact.copied_to(target)
    copied.verify()
    return Architecture.from_model_dict(row["architecture"]), copied


def _workload(job: api.ProfilingJob, result: Mapping[str, Any]) -> Workload:
    """The job's batches, with the vocabulary and labels of the run's task."""
    task = result["task"]
    labels = task["labelNames"]
    return Workload(
        batch_size=job.spec.workload.batch_size,
        sequence_length=job.spec.workload.sequence_length,
        vocab_size=task["vocabSize"],
        num_labels=task.get("numLabels", 1 if labels is None else len(labels)),
    )


def _measured(row: Mapping[str, Any], record: Measurement, artifact: Artifact) -> dict[str, Any]:
    """The row with what it costs here; where nothing senses a measure, its prediction stays."""
    told = of_hardware(record.figures, artifact)
    known = {name: figure for name, figure in told.items() if figure["value"] is not None}
    return {
        **row,
        "deviceKind": "node",
        "figures": {**row["figures"], **known},
        "predicted": {name: row["figures"][name] for name in told if name in row["figures"]},
        "measurement": {"stable": record.stable, "failure": record.failure},
    }


def _said(error: Exception) -> str:
    if isinstance(error, KeyError | TypeError):
        return f"its result.json is not as it should be ({error})"
    return str(error)
