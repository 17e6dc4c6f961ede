"""Artefacts measured beside one another on a device: at the end of a run, or later on its board."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from edgetran import api
from edgetran.api.allowances import MeterAllowance
from edgetran.artifacts import Artifact
from edgetran.devices import Workload
from edgetran.profiling import Measurement, measure_artifacts
from edgetran.progress import Progress
from edgetran.runner.devices import power_source, profiling_plan
from edgetran.runner.progress import Renamed
from edgetran.space import Architecture


def measure_beside(
    job: api.ProfilingJob,
    device: api.Device,
    workload: Workload,
    models: Mapping[str, tuple[Architecture, Artifact]],
    log_path: Path,
    progress: Progress,
    meters: MeterAllowance,
) -> dict[str, Measurement]:
    """Measure artefacts on this host as a job says; each engine and precision by itself.

    Args:
        job: how it is measured.
        device: what this host is.
        workload: what it runs.
        models: architecture and artefact by any key.
        log_path: the log; what it holds already is not measured again.
        progress: shows how far it is.
        meters: which meters may be read.

    Returns:
        A record of each artefact, by the same keys; one that failed has a failure.

    Raises:
        edgetran.profiling.ProfilingError: a log that cannot be read.
        edgetran.devices.EngineError: an engine that cannot run here.
    """
    plan = profiling_plan(job, workload)
    measured: dict[str, Measurement] = {}
    for form in sorted({(a.engine, a.precision, a.method) for _, a in models.values()}, key=str):
        engine, precision, method = form
        measured |= measure_artifacts(
            replace(plan, engine=engine, precision=precision, method=method or "dynamic"),
            {
                key: (architecture, artifact)
                for key, (architecture, artifact) in models.items()
                if (artifact.engine, artifact.precision, artifact.method) == form
            },
            log_path,
            Renamed(progress, f"Measure on {device.name}"),
            power_source=power_source(device, meters),
        )
    return measured
