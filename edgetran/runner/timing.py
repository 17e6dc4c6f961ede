"""How long artefacts take on this machine, beside one another."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from edgetran.artifacts import open_artifact
from edgetran.devices import Workload, example_inputs, host_info
from edgetran.records import JsonLog, read_records
from edgetran.runner.judged_artifact import JudgedArtifact

_RUNS: Final = 20
_WARM_UP: Final = 3


def latencies_ms(
    artifacts: Sequence[JudgedArtifact],
    workload: Workload,
    *,
    threads: int | None,
    log: Path | None = None,
) -> list[float]:
    """Median latency of a sequence, ms, per artefact.

    They run in turns: what disturbs one disturbs the others.

    Args:
        artifacts: what to time.
        workload: what they run.
        threads: of their engines; None for all cores.
        log: where the latencies are kept. The same artefacts are not timed on this kind of machine
            again, so that a run that goes on decides as it decided before.

    Raises:
        edgetran.devices.EngineError: one of them does not run here.
        edgetran.records.RecordError: the log holds something else.
        OSError: no space is left on the disk.
    """
    key = {
        "artifacts": [each.artifact.sha256 for each in artifacts],
        "batchSize": workload.batch_size,
        "sequenceLength": workload.sequence_length,
        "threads": threads,
        "cpu": host_info().cpu_model,
    }
    known = None if log is None else _known(log, key)
    if known is not None:
        return known
    latencies = _measured(artifacts, workload, threads)
    if log is not None:
        JsonLog(log).append({**key, "latenciesMs": latencies})
    return latencies


def _known(log: Path, key: dict[str, Any]) -> list[float] | None:
    """What an earlier session measured; None where it did not."""
    for record in read_records(log):
        if {name: record.get(name) for name in key} == key:
            return [float(each) for each in record["latenciesMs"]]
    return None


def _measured(
    artifacts: Sequence[JudgedArtifact], workload: Workload, threads: int | None
) -> list[float]:
    inputs = example_inputs(workload)
    sessions = [
        open_artifact(each.artifact, each.form.make_engine(threads), workload) for each in artifacts
    ]
    durations_s = np.zeros((_WARM_UP + _RUNS, len(sessions)))
    for turn in durations_s:
        for index, session in enumerate(sessions):
            begun = time.perf_counter()
            session.run(inputs)
            turn[index] = time.perf_counter() - begun
    for session in sessions:
        session.close()
    medians = np.median(durations_s[_WARM_UP:], axis=0) * 1e3 / workload.batch_size
    return [float(median) for median in medians]
