"""The RayJob of a run with `spec.ray.mode: kuberay`: the worker's command on a Ray cluster.

https://docs.ray.io/en/latest/cluster/kubernetes/getting-started/rayjob-quick-start.html
"""

from __future__ import annotations

from typing import Any, Final

from edgetran.api import child_name
from edgetran.api.names import WORKER
from edgetran_operator.children.claims import one_volume_per_claim
from edgetran_operator.children.job import worker_annotations
from edgetran_operator.children.pod import worker_pod
from edgetran_operator.children.run import Run
from edgetran_operator.outcome import Child

RAY_API_VERSION: Final = "ray.io/v1"

_SET_BY_KUBERAY: Final = ("command", "terminationMessagePath", "terminationMessagePolicy")


def ray_job(run: Run, failures: int) -> Child:
    """The RayJob of a run; its arguments are those of `worker_job`."""
    name = child_name(run.resource, WORKER)
    workers = run.spec.ray.workers
    cluster: dict[str, Any] = {
        "headGroupSpec": {
            "rayStartParams": {"dashboard-host": "0.0.0.0"},  # noqa: S104 - the submitter's way in
            "template": _ray_pod(run),
        }
    }
    if workers:
        cluster["workerGroupSpecs"] = [
            {
                "groupName": "workers",
                "replicas": workers,
                "minReplicas": workers,
                "maxReplicas": workers,
                "rayStartParams": {},
                "template": _ray_pod(run),
            }
        ]
    return Child(
        {
            "apiVersion": RAY_API_VERSION,
            "kind": "RayJob",
            "metadata": run.metadata(name, worker_annotations(run, failures)),
            "spec": {
                "entrypoint": f"edgetran-worker {run.component}",
                "submissionMode": "K8sJobMode",
                "shutdownAfterJobFinishes": True,
                "backoffLimit": run.spec.backoff_limit,
                "rayClusterSpec": cluster,
            },
        }
    )


def _ray_pod(run: Run) -> dict[str, Any]:
    """The worker's pod as a member of a Ray cluster, which KubeRay starts and restarts itself."""
    pod = one_volume_per_claim(worker_pod(run))
    spec = dict(pod["spec"])
    del spec["restartPolicy"]
    spec["containers"] = [
        {key: value for key, value in container.items() if key not in _SET_BY_KUBERAY}
        if container["name"] == "worker"
        else container
        for container in spec["containers"]
    ]
    return {**pod, "spec": spec}
