"""Time artefacts of trained models beside one another, each known by its hash."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from edgetran.artifacts import Artifact
from edgetran.devices import PowerSource
from edgetran.profiling.measurement import Measurement
from edgetran.profiling.measuring import measure
from edgetran.profiling.plan import ProfilingPlan
from edgetran.profiling.profile import best_record, read_measurements
from edgetran.profiling.protocol import MODES
from edgetran.progress import Progress, SilentProgress
from edgetran.records import JsonLog
from edgetran.space import Architecture


def measure_artifacts(
    plan: ProfilingPlan,
    models: Mapping[str, tuple[Architecture, Artifact]],
    log_path: str | os.PathLike[str],
    progress: Progress | None = None,
    *,
    power_source: PowerSource | None = None,
) -> dict[str, Measurement]:
    """Measure each artefact in every pass of the plan; what the log holds already counts.

    Args:
        plan: device, engine, workload and mode; the artefacts are of its engine and precision.
        models: architecture and artefact by any key.
        log_path: the log, to which each record is appended when it is made.
        progress: where to report.
        power_source: what senses power; the best one found on this host by default.

    Returns:
        The best record of each, by the same keys; one that failed has a failure.

    Raises:
        ProfilingError: a log that cannot be read.
        edgetran.devices.EngineError: the engine cannot run here.
    """
    progress, log = progress or SilentProgress(), JsonLog(log_path)
    stage, wanted = f"measure on {plan.device}", {a.sha256: (b, a) for b, a in models.values()}
    progress.start(stage, total=len(wanted) * plan.passes)
    for number in range(1, plan.passes + 1):
        done = _records(plan, log.path)
        missing = [pair for name, pair in wanted.items() if len(done.get(name, ())) < number]
        if len(missing) < len(wanted):
            progress.advance(stage, steps=len(wanted) - len(missing))
        for measurement in measure(
            [architecture for architecture, _ in missing],
            device=plan.device,
            engine=plan.make_engine(),
            workload=plan.workload,
            mode=plan.make_mode(),
            seed=plan.seed + number - 1,
            power_source=power_source,
            folder=log.path.parent,
            artifacts={index: artifact for index, (_, artifact) in enumerate(missing)},
        ):
            log.append(measurement.to_dict())
            latency = measurement.latency_ms
            note = f"{latency.median:.3g} ms" if latency else f"failed: {measurement.failure}"
            progress.advance(stage, note=note)
    progress.finish(stage)
    records = _records(plan, log.path)
    return {name: best_record(records[a.sha256]) for name, (_, a) in models.items()}


def _records(plan: ProfilingPlan, path: Path) -> dict[str, list[Measurement]]:
    """What was measured under the plan's key and no lesser mode, by the artefact's hash."""
    key, found = plan.key(), dict[str, list[Measurement]]()
    ranks = list(MODES)
    for record in read_measurements(path):
        if record.key == key and ranks.index(record.mode) >= ranks.index(plan.mode):
            found.setdefault(record.artifact_sha256 or "", []).append(record)
    return found
