"""The RayJob of a run with `spec.ray.mode: kuberay`: the worker's command on a Ray cluster.

Whoever may talk to Ray may run code as the run, so Ray asks for a token, which KubeRay makes, and
`children.network` lets the pods of one run alone talk to one another.

https://docs.ray.io/en/latest/cluster/kubernetes/getting-started/rayjob-quick-start.html
https://docs.ray.io/en/latest/cluster/kubernetes/user-guides/kuberay-auth.html
"""

from __future__ import annotations

import shlex
from typing import Any, Final

from edgetran.api import child_name
from edgetran.api.names import WORKER
from edgetran.api.wire import COMPONENT_LABEL
from edgetran_operator.plan import Child
from edgetran_operator.resources.claims import one_volume_per_claim
from edgetran_operator.resources.command import worker_command
from edgetran_operator.resources.job import worker_annotations
from edgetran_operator.resources.pod import worker_pod
from edgetran_operator.resources.run import Run

_API_VERSION: Final = "ray.io/v1"

RAY_VERSION: Final = "2.60.0"
"""Ray in the workers' images, as constraints.txt pins it; KubeRay asks for it with a token."""

DASHBOARD_PORT: Final = 8265
"""Where jobs are submitted and asked after."""

_RAY_PORTS: Final = {"gcs-server": 6379, "dashboard": DASHBOARD_PORT, "client": 10001}
"""Ports of the head that its Service has; KubeRay adds them to none that are given."""

_AUTH: Final = {"name": "RAY_AUTH_MODE", "value": "token"}
"""Set here too: under a KubeRay that knows no tokens Ray does not start, rather than start open."""

_SET_BY_KUBERAY: Final = ("command", "terminationMessagePath", "terminationMessagePolicy")
_NOT_SUBMITTED_WITH: Final = (*_SET_BY_KUBERAY, "envFrom", "ports")
_SUBMITTER_VOLUMES: Final = frozenset({"home", "tmp"})
_SUBMITTER_RESOURCES: Final = {
    "requests": {"cpu": "100m", "memory": "256Mi"},
    "limits": {"memory": "1Gi"},
}


def ray_job(run: Run, failures: int) -> Child:
    """The RayJob of a run; its arguments are those of `worker_job`."""
    name = child_name(run.resource, WORKER)
    workers = run.spec.ray.workers
    cluster: dict[str, Any] = {
        "rayVersion": RAY_VERSION,
        "authOptions": {"mode": "token"},
        "headGroupSpec": {
            "rayStartParams": {"dashboard-host": "0.0.0.0"},  # noqa: S104 - the submitter's way in
            "template": _head(run),
        },
    }
    if workers:
        cluster["workerGroupSpecs"] = [
            {
                "groupName": "workers",
                "replicas": workers,
                "minReplicas": workers,
                "maxReplicas": workers,
                "rayStartParams": {},
                "template": _worker(run),
            }
        ]
    return Child(
        {
            "apiVersion": _API_VERSION,
            "kind": "RayJob",
            "metadata": run.job_metadata(name, worker_annotations(run, failures)),
            "spec": {
                "entrypoint": shlex.join(worker_command(run)),
                "submissionMode": "K8sJobMode",
                "submitterPodTemplate": _submitter(run),
                "shutdownAfterJobFinishes": True,
                "backoffLimit": run.spec.backoff_limit,
                "rayClusterSpec": cluster,
                **run.unadmitted,
            },
        }
    )


def _head(run: Run) -> dict[str, Any]:
    pod = _ray_pod(run)
    worker = _worker_container(pod)
    given = {port["name"] for port in worker["ports"]}
    worker["ports"] = [
        *worker["ports"],
        *(
            {"name": name, "containerPort": port, "protocol": "TCP"}
            for name, port in _RAY_PORTS.items()
            if name not in given
        ),
    ]
    return pod


def _worker(run: Run) -> dict[str, Any]:
    """A pod that trains: it reports to the head, and never to the API server."""
    pod = _ray_pod(run)
    pod["spec"]["automountServiceAccountToken"] = False
    return pod


def _submitter(run: Run) -> dict[str, Any]:
    """The pod that hands the worker's command to the head: its image, and nothing of its work."""
    pod = worker_pod(run)
    spec = {**pod["spec"], "restartPolicy": "Never", "automountServiceAccountToken": False}
    spec.pop("initContainers", None)
    worker = _without(_worker_container(pod), _NOT_SUBMITTED_WITH)
    given = {volume["name"] for volume in spec["volumes"]}
    ours = {volume["name"] for volume in worker_pod(run, template=False)["spec"]["volumes"]}
    dropped = ours - _SUBMITTER_VOLUMES
    worker |= {
        "env": [*worker["env"], _AUTH],
        "resources": _SUBMITTER_RESOURCES,
        "volumeMounts": [
            mount for mount in worker["volumeMounts"] if mount["name"] in given - dropped
        ],
    }
    spec["containers"] = [worker]
    spec["volumes"] = [volume for volume in spec["volumes"] if volume["name"] not in dropped]
    labels = {**pod["metadata"]["labels"], COMPONENT_LABEL: "submitter"}
    return {"metadata": {**pod["metadata"], "labels": labels}, "spec": spec}


def _ray_pod(run: Run) -> dict[str, Any]:
    """The worker's pod as a member of a Ray cluster, which KubeRay starts and restarts itself."""
    pod = one_volume_per_claim(worker_pod(run))
    spec = _without(pod["spec"], ("restartPolicy",))
    worker = _without(_worker_container(pod), _SET_BY_KUBERAY)
    worker["env"] = [*worker["env"], _AUTH]
    others = [each for each in spec["containers"] if each["name"] != "worker"]
    spec["containers"] = [worker, *others]  # KubeRay takes the first one for Ray's
    return {**pod, "spec": spec}


def _worker_container(pod: dict[str, Any]) -> dict[str, Any]:
    return next(each for each in pod["spec"]["containers"] if each["name"] == "worker")


def _without(mapping: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if key not in keys}
