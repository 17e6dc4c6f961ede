"""The worker's pod: restricted by default, with its work, storage and inputs mounted."""

from __future__ import annotations

import math
from typing import Any, Final

from edgetran.api import Resource, child_name
from edgetran.api.names import SPEC, STORAGE, WORKER
from edgetran_operator.children.claims import one_volume_per_claim
from edgetran_operator.children.merge import strategic_merge
from edgetran_operator.children.run import BOARD_LABEL, MEASURING_LABEL, Run

WORK_PATH: Final = "/etc/edgetran/work"
INPUTS_PATH: Final = "/etc/edgetran/inputs"
STORAGE_PATH: Final = "/var/lib/edgetran/storage"
SEARCH_PATH: Final = "/var/lib/edgetran/search"
HOME_PATH: Final = "/var/lib/edgetran/home"
USER: Final = 65532
"""The user `nonroot` of distroless images; it owns nothing on a node."""
METRICS_PORT: Final = 9090


def worker_pod(run: Run, *, template: bool = True) -> dict[str, Any]:
    """Metadata and spec of the worker's pod.

    Args:
        run: the work.
        template: merge `spec.podTemplate` over it too.
    """
    pod: dict[str, Any] = {"metadata": {"labels": _labels(run)}, "spec": _spec(run)}
    pod = strategic_merge(pod, run.settings.worker_pod_patch)
    patch = run.spec.pod_template
    if template and patch is not None:
        pod = strategic_merge(pod, patch.model_dump(by_alias=True, exclude_none=True, mode="json"))
        pod["metadata"]["labels"] |= _labels(run)  # selectors and quotas rely on these
    return {**pod, "spec": one_volume_per_claim(pod["spec"])}


def _labels(run: Run) -> dict[str, str]:
    labels = run.labels()
    if run.component == "profile":
        labels |= {MEASURING_LABEL: "true", BOARD_LABEL: run.spec.device.name}
    return labels


def _spec(run: Run) -> dict[str, Any]:
    settings = run.settings
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "serviceAccountName": child_name(run.resource, WORKER),
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": settings.termination_grace_seconds,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(run)],
        "volumes": _volumes(run),
    }
    if settings.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in settings.image_pull_secrets]
    if run.component == "profile":
        spec |= _on_its_board(run)
    return spec


def _container(run: Run) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": "worker",
        "image": getattr(run.settings.images, _image_class(run)),
        "imagePullPolicy": run.settings.image_pull_policy,
        "command": ["edgetran-worker", run.component],
        "env": [
            {"name": "EDGETRAN_LOG", "value": "json"},
            {"name": "HOME", "value": HOME_PATH},
            _from_field("POD_NAME", "metadata.name"),
            _from_field("POD_NAMESPACE", "metadata.namespace"),
            _from_field("NODE_NAME", "spec.nodeName"),
        ],
        "ports": [{"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"}],
        "resources": _resources(run),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": _mounts(run),
    }
    secrets = [
        resource.spec.storage.secret  # type: ignore[attr-defined]
        for resource in (run.resource, run.inputs.search)
        if resource is not None
        and resource.spec.storage is not None  # type: ignore[attr-defined]
        and resource.spec.storage.secret is not None  # type: ignore[attr-defined]
    ]
    if secrets:
        container["envFrom"] = [{"secretRef": {"name": name}} for name in dict.fromkeys(secrets)]
    return container


def _from_field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}


def _image_class(run: Run) -> str:
    if run.component != "profile":
        return "cuda" if run.spec.ray.gpus_per_trial > 0 else "cpu"
    device = run.spec.device
    if device.engine == "openvino":
        return "openvino"
    if device.accelerator == "cuda":
        return "jetson" if run.architecture == "arm64" else "cuda"
    return "cpu"


def _resources(run: Run) -> dict[str, Any]:
    resources: dict[str, Any] = strategic_merge({}, getattr(run.settings.resources, run.component))
    if run.component == "profile" or run.spec.ray.mode == "cluster":
        return resources
    ray = run.spec.ray
    parallel = (
        run.spec.search.parallel_trials if run.component == "search" else run.spec.parallel_trials
    )
    if ray.mode == "kuberay":
        parallel = max(1, math.ceil(parallel / max(1, ray.workers)))
    wanted = {"requests": {"cpu": f"{math.ceil(1000 * ray.cpus_per_trial * parallel)}m"}}
    if ray.gpus_per_trial > 0:
        wanted["limits"] = {"nvidia.com/gpu": str(math.ceil(ray.gpus_per_trial * parallel))}
    merged: dict[str, Any] = strategic_merge(wanted, resources)
    return merged


def _volumes(run: Run) -> list[dict[str, Any]]:
    volumes: list[dict[str, Any]] = [
        {"name": "work", "configMap": {"name": child_name(run.resource, SPEC)}},
        {"name": "storage", **_storage(run.resource)},
        {"name": "home", "emptyDir": {}},
        {"name": "tmp", "emptyDir": {}},
    ]
    if run.component != "profile":
        volumes.append({"name": "shm", "emptyDir": {"medium": "Memory"}})  # Ray's object store
    search = run.inputs.search
    if search is not None and _claim_name(search) is not None:
        volumes.append({"name": "search", **_storage(search, read_only=True)})
    for job, parts in run.inputs.profiles.items():
        volumes += (
            {"name": f"in-{job}-{number}", "configMap": {"name": part}}
            for number, part in enumerate(parts)
        )
    if _host_sensors(run):
        volumes.append({"name": "sysfs", "hostPath": {"path": "/sys", "type": "Directory"}})
    return volumes


def _mounts(run: Run) -> list[dict[str, Any]]:
    mounts: list[dict[str, Any]] = [
        {"name": "work", "mountPath": WORK_PATH, "readOnly": True},
        {"name": "storage", "mountPath": STORAGE_PATH, **_sub_path(run.resource)},
        {"name": "home", "mountPath": HOME_PATH},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - an emptyDir of the pod's own
    ]
    if run.component != "profile":
        mounts.append({"name": "shm", "mountPath": "/dev/shm"})  # noqa: S108
    search = run.inputs.search
    if search is not None and _claim_name(search) is not None:
        mounts.append(
            {"name": "search", "mountPath": SEARCH_PATH, "readOnly": True, **_sub_path(search)}
        )
    for job, parts in run.inputs.profiles.items():
        mounts += (
            {"name": f"in-{job}-{number}", "mountPath": input_path(job, number), "readOnly": True}
            for number in range(len(parts))
        )
    if _host_sensors(run):
        mounts.append({"name": "sysfs", "mountPath": "/sys", "readOnly": True})
    return mounts


def input_path(job: str, number: int) -> str:
    """Where a results ConfigMap of a ProfilingJob is mounted."""
    return f"{INPUTS_PATH}/pj-{job}/{number}"


def _host_sensors(run: Run) -> bool:
    if run.component != "profile":
        return False
    energy = run.spec.device.energy
    return energy is not None and bool(energy.host_sensors)


def _claim_name(resource: Resource) -> str | None:
    storage = resource.spec.storage  # type: ignore[attr-defined]
    if storage is None or storage.uri is not None:
        return None
    if storage.claim is not None:
        name: str = storage.claim.name
        return name
    return child_name(resource, STORAGE)


def _storage(resource: Resource, *, read_only: bool = False) -> dict[str, Any]:
    name = _claim_name(resource)
    if name is None:
        return {"emptyDir": {}}
    claim: dict[str, Any] = {"claimName": name}
    if read_only:
        claim["readOnly"] = True
    return {"persistentVolumeClaim": claim}


def _sub_path(resource: Resource) -> dict[str, str]:
    storage = resource.spec.storage  # type: ignore[attr-defined]
    if storage is None or storage.claim is None or storage.claim.sub_path is None:
        return {}
    return {"subPath": storage.claim.sub_path}


def _on_its_board(run: Run) -> dict[str, Any]:
    """Where a measuring pod runs: on its board, and never beside another measurement."""
    device = run.spec.device
    beside: dict[str, Any] = {
        "labelSelector": {"matchLabels": {MEASURING_LABEL: "true"}},
        "topologyKey": "kubernetes.io/hostname",
    }
    if run.namespaces_in_affinity:
        beside["namespaceSelector"] = {}
    affinity: dict[str, Any] = {
        "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [beside]}
    }
    if run.node:
        here = {"key": "metadata.name", "operator": "In", "values": [run.node]}
        affinity["nodeAffinity"] = {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchFields": [here]}]
            }
        }
    placed: dict[str, Any] = {"affinity": affinity}
    if device.node_selector:
        placed["nodeSelector"] = dict(device.node_selector)
    if device.tolerations:
        placed["tolerations"] = [
            toleration.model_dump(by_alias=True, exclude_none=True)
            for toleration in device.tolerations
        ]
    if device.runtime_class_name:
        placed["runtimeClassName"] = device.runtime_class_name
    return placed
