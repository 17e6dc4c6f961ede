"""The Job that runs a worker until its work is done or has failed too often."""

from __future__ import annotations

from typing import Final

from edgetran.api import child_name
from edgetran.api.names import WORKER
from edgetran_operator.children.pod import worker_pod
from edgetran_operator.children.run import Run
from edgetran_operator.outcome import Child

FAILURES_ANNOTATION: Final = "edgetran.io/failures-before"
"""Failures of earlier workers of the resource, so that they are counted over all of them."""
NODE_ANNOTATION: Final = "edgetran.io/node"
"""The board that a measuring worker is pinned to."""


def worker_annotations(run: Run, failures: int) -> dict[str, str]:
    """What a worker's Job or RayJob says about itself."""
    annotations = {FAILURES_ANNOTATION: str(failures)}
    if run.node:
        annotations[NODE_ANNOTATION] = run.node
    return annotations


def worker_job(run: Run, failures: int) -> Child:
    """The Job of a run.

    Args:
        run: the work.
        failures: failures of earlier workers of the resource.
    """
    name = child_name(run.resource, WORKER)
    return Child(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": run.metadata(name, worker_annotations(run, failures)),
            "spec": {
                "completions": 1,
                "parallelism": 1,
                "backoffLimit": run.spec.backoff_limit,
                "template": worker_pod(run),
            },
        }
    )
