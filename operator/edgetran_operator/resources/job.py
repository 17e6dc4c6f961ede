"""The Job that runs a worker until its work is done or has failed too often."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from edgetran.api import ExitCode, child_name
from edgetran.api.names import WORKER
from edgetran.api.wire import (
    FAILURES_ANNOTATION,
    MADE_FROM_ANNOTATION,
    NODE_ANNOTATION,
    WORK_ANNOTATION,
    WORKER_CONTAINER,
)
from edgetran_operator.plan import Child
from edgetran_operator.resources.claims import one_volume_per_claim
from edgetran_operator.resources.pod import worker_pod
from edgetran_operator.resources.run import DISRUPTION, Inputs, Run

_NO_FAILURES: Final[tuple[Mapping[str, Any], ...]] = (
    {
        "action": "Ignore",
        "onPodConditions": [{"type": DISRUPTION, "status": "True"}],
    },
    {
        "action": "Ignore",
        "onExitCodes": {
            "containerName": WORKER_CONTAINER,
            "operator": "In",
            "values": [int(ExitCode.STOPPED)],
        },
        "onPodConditions": [],  # the schemas of 1.26 to 1.28 demand it
    },
)
"""Ends that say nothing of the work: evictions, drains, and SIGTERM with the state saved."""


def made_from(run: Run) -> str:
    """A hash of the pod that settings, spec and queue make, whatever its inputs and its board."""
    pod: Any = worker_pod(replace(run, inputs=Inputs(), node="", work_hash=""))
    made = [pod, run.queue] if run.queue else pod
    return hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:16]


def worker_annotations(run: Run, failures: int) -> dict[str, str]:
    """What a worker's Job or RayJob says about itself."""
    annotations = {FAILURES_ANNOTATION: str(failures), MADE_FROM_ANNOTATION: made_from(run)}
    if run.work_hash:
        annotations[WORK_ANNOTATION] = run.work_hash
    if run.node:
        annotations[NODE_ANNOTATION] = run.node
    return annotations


def worker_job(run: Run, failures: int) -> Child:
    """The Job of a run.

    Args:
        run: the work.
        failures: attempts of earlier workers of the resource that ended badly.
    """
    name = child_name(run.resource, WORKER)
    spec: dict[str, Any] = {
        "completions": 1,
        "parallelism": 1,
        "backoffLimit": run.spec.backoff_limit,
        "template": one_volume_per_claim(worker_pod(run)),
        **run.unadmitted,
    }
    if run.pod_failure_policy:
        spec["podFailurePolicy"] = {"rules": [dict(rule) for rule in _NO_FAILURES]}
    return Child(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": run.job_metadata(name, worker_annotations(run, failures)),
            "spec": spec,
        }
    )
