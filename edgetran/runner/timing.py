"""How long artefacts take on this machine, beside one another."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import numpy as np

from edgetran.artifacts import open_artifact
from edgetran.devices import Workload, example_inputs
from edgetran.runner.judged_artifact import JudgedArtifact

_RUNS: Final = 20
_WARM_UP: Final = 3


def latencies_ms(
    artifacts: Sequence[JudgedArtifact], workload: Workload, *, threads: int | None
) -> list[float]:
    """Median latency of a sequence, ms, per artefact.

    They run in turns: what disturbs one disturbs the others.

    Raises:
        edgetran.devices.EngineError: one of them does not run here.
    """
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
