"""The worker's pod: restricted by default, with its work, storage and inputs mounted."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from edgetran.api import Device, Resource, child_name, spec_hash
from edgetran.api.data import DataSource
from edgetran.api.names import SPEC, STORAGE, WORKER
from edgetran.api.wire import (
    DATA_PATH,
    DEVICE_LABEL,
    HOME_PATH,
    LOG_VARIABLE,
    MEASURED_DEVICE_LABEL,
    MEASURING_LABEL,
    METRICS_PORT,
    NAMESPACE_VARIABLE,
    POD_VARIABLE,
    SEARCH_PATH,
    SPEC_HASH_VARIABLE,
    STORAGE_PATH,
    TERMINATION_LOG,
    WORK_HASH_VARIABLE,
    WORK_PATH,
    WORKER_CONTAINER,
    input_path,
)
from edgetran_operator.resources.affinity import joined
from edgetran_operator.resources.command import worker_command
from edgetran_operator.resources.merge import strategic_merge
from edgetran_operator.resources.restricting import quantity
from edgetran_operator.resources.run import Run
from edgetran_operator.settings import Scratch, Settings

USER: Final = 65532
"""The user `nonroot` of distroless images; it owns nothing on a node."""
RESTRICTED: Final[Mapping[str, Any]] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
"""The security context of every container."""


def worker_pod(run: Run, *, template: bool = True) -> dict[str, Any]:
    """Metadata and spec of the worker's pod.

    Args:
        run: the work.
        template: merge `spec.podTemplate` over it too.
    """
    pod: dict[str, Any] = {"metadata": {"labels": _labels(run)}, "spec": _spec(run)}
    pod = strategic_merge(pod, run.settings.worker_pod_patch)
    patch = pod_template(run)
    if template and patch:
        before = pod["spec"]
        pod = strategic_merge(pod, patch)
        pod["metadata"]["labels"] |= _labels(run)  # selectors and quotas rely on these
        if before.get("affinity"):
            pod["spec"]["affinity"] = joined(before["affinity"], pod["spec"].get("affinity"))
        _restrict_further(before, pod["spec"])
    bound(pod["spec"], run.settings)
    return pod


def pod_template(run: Run) -> dict[str, Any]:
    """`spec.podTemplate` as plain data."""
    patch = run.spec.pod_template
    if patch is None:
        return {}
    found: dict[str, Any] = patch.model_dump(by_alias=True, exclude_none=True, mode="json")
    return found


def _restrict_further(before: dict[str, Any], spec: dict[str, Any]) -> None:
    """Containers that a template adds are as restricted as the worker where it says nothing."""
    for field in ("containers", "initContainers"):
        known = [container.get("name") for container in _mappings(before.get(field))]
        for container in _mappings(spec.get(field)):
            context = container.get("securityContext")
            if container.get("name") not in known and isinstance(context, dict | None):
                container["securityContext"] = {**RESTRICTED, **(context or {})}


def bound(spec: dict[str, Any], settings: Settings) -> None:
    """A size for every folder of the pod's own, and a limit of memory that fits its request."""
    for volume in _mappings(spec.get("volumes")):
        folder = volume.get("emptyDir")
        if isinstance(folder, dict):
            folder.setdefault("sizeLimit", settings.scratch.of(str(volume.get("name"))))
    for container in _mappings(spec.get("containers")):
        resources = container.get("resources")
        if isinstance(resources, dict):
            _fit_limit(resources)


def _fit_limit(resources: dict[str, Any]) -> None:
    """The default limit of memory grows with what a template requests."""
    requests, limits = resources.get("requests"), resources.get("limits")
    if isinstance(requests, dict) and isinstance(limits, dict):
        asked, most = quantity(requests.get("memory")), quantity(limits.get("memory"))
        if asked is not None and most is not None and asked > most:
            resources["limits"] = {**limits, "memory": requests["memory"]}


def _mappings(value: Any) -> list[dict[str, Any]]:
    entries = value if isinstance(value, list) else []
    return [entry for entry in entries if isinstance(entry, dict)]


def _labels(run: Run) -> dict[str, str]:
    labels = run.labels()
    if run.component == "profile":
        labels |= {MEASURING_LABEL: "true", MEASURED_DEVICE_LABEL: run.spec.device.name}
    return labels


def pod_basics(run: Run, account: str) -> dict[str, Any]:
    """What the spec of every pod of a run says, containers and volumes left out.

    Args:
        run: the work.
        account: name of the ServiceAccount.
    """
    settings = run.settings
    spec: dict[str, Any] = {
        "serviceAccountName": account,
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
    }
    if settings.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in settings.image_pull_secrets]
    return spec


def _spec(run: Run) -> dict[str, Any]:
    spec = {
        "restartPolicy": "Never",
        **pod_basics(run, child_name(run.resource, WORKER)),
        "containers": [_container(run)],
        "volumes": _volumes(run),
    }
    if run.component == "profile":
        spec |= _on_its_board(run)
    elif not run.spec.train_on_boards:
        spec["affinity"] = _off_boards()
    return spec


def _container(run: Run) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": WORKER_CONTAINER,
        "image": getattr(run.settings.images, _image_class(run)),
        "imagePullPolicy": run.settings.image_pull_policy,
        "command": worker_command(run),
        "env": [
            {"name": LOG_VARIABLE, "value": "json"},
            {"name": SPEC_HASH_VARIABLE, "value": spec_hash(run.resource)},
            *([{"name": WORK_HASH_VARIABLE, "value": run.work_hash}] if run.work_hash else []),
            {"name": "HOME", "value": HOME_PATH},
            from_field(POD_VARIABLE, "metadata.name"),
            from_field(NAMESPACE_VARIABLE, "metadata.namespace"),
            from_field("NODE_NAME", "spec.nodeName"),
        ],
        "ports": [{"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"}],
        "resources": _resources(run),
        "securityContext": dict(RESTRICTED),
        "terminationMessagePath": TERMINATION_LOG,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": _mounts(run),
    }
    secrets = [
        resource.spec.storage.secret
        for resource in (run.resource, run.inputs.search)
        if resource is not None
        and resource.spec.storage is not None
        and resource.spec.storage.secret is not None
    ]
    if secrets:
        container["envFrom"] = [{"secretRef": {"name": name}} for name in dict.fromkeys(secrets)]
    return container


def from_field(name: str, path: str) -> dict[str, Any]:
    """A variable that holds a field of the pod."""
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
    scratch = run.settings.scratch
    volumes: list[dict[str, Any]] = [
        {"name": "work", "configMap": {"name": child_name(run.resource, SPEC)}},
        {"name": "storage", **storage_volume(run.resource, scratch)},
        {"name": "home", "emptyDir": {"sizeLimit": scratch.home}},
        {"name": "tmp", "emptyDir": {"sizeLimit": scratch.tmp}},
    ]
    if run.component != "profile":  # Ray's object store
        shared = {"medium": "Memory", "sizeLimit": scratch.shm}
        volumes.append({"name": "shm", "emptyDir": shared})
    search = None if run.artifacts_from else run.inputs.search
    if search is not None and claim_name(search) is not None:
        volumes.append({"name": "search", **storage_volume(search, scratch, read_only=True)})
    data = data_source(run)
    if data is not None:
        volumes.append({"name": "task-data", **_data_volume(data)})
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
        {"name": "storage", "mountPath": STORAGE_PATH, **sub_path(run.resource)},
        {"name": "home", "mountPath": HOME_PATH},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - an emptyDir of the pod's own
    ]
    if run.component != "profile":
        mounts.append({"name": "shm", "mountPath": "/dev/shm"})  # noqa: S108
    search = None if run.artifacts_from else run.inputs.search
    if search is not None and claim_name(search) is not None:
        mounts.append(
            {"name": "search", "mountPath": SEARCH_PATH, "readOnly": True, **sub_path(search)}
        )
    data = data_source(run)
    if data is not None:
        mounts.append(_data_mount(data))
    for job, parts in run.inputs.profiles.items():
        mounts += (
            {"name": f"in-{job}-{number}", "mountPath": input_path(job, number), "readOnly": True}
            for number in range(len(parts))
        )
    if _host_sensors(run):
        mounts.append({"name": "sysfs", "mountPath": "/sys", "readOnly": True})
    return mounts


def _host_sensors(run: Run) -> bool:
    if run.component != "profile":
        return False
    energy = run.spec.device.energy
    return energy is not None and bool(energy.host_sensors)


def claim_name(resource: Resource) -> str | None:
    """The claim of a resource's storage; None where it has none."""
    storage = resource.spec.storage
    if storage is None or storage.uri is not None:
        return None
    if storage.claim is not None:
        name: str = storage.claim.name
        return name
    return child_name(resource, STORAGE)


def data_source(run: Run) -> DataSource | None:
    """Where the task of a run lies apart from its storage: as the search says that is refined."""
    setting = run.inputs.search or run.resource
    found: DataSource | None = getattr(setting.spec, "data", None)
    return found


def _data_volume(data: DataSource) -> dict[str, Any]:
    if data.claim is not None:
        return {"persistentVolumeClaim": {"claimName": data.claim.name, "readOnly": True}}
    assert data.config_map is not None  # noqa: S101 - the model allows exactly one
    return {"configMap": {"name": data.config_map.name}}


def _data_mount(data: DataSource) -> dict[str, Any]:
    mount: dict[str, Any] = {"name": "task-data", "mountPath": DATA_PATH, "readOnly": True}
    if data.claim is not None and data.claim.sub_path is not None:
        mount["subPath"] = data.claim.sub_path
    return mount


def claims_of(resource: Resource) -> Iterator[str]:
    """The claims that a resource's own worker waits for: of its storage, and of its data."""
    kept = claim_name(resource)
    if kept is not None:
        yield kept
    data: DataSource | None = getattr(resource.spec, "data", None)
    if data is not None and data.claim is not None:
        yield data.claim.name


def storage_volume(
    resource: Resource, scratch: Scratch, *, read_only: bool = False
) -> dict[str, Any]:
    """The source of the volume that a resource's storage is: its claim, or a folder of the pod."""
    name = claim_name(resource)
    if name is None:
        return {"emptyDir": {"sizeLimit": scratch.storage}}
    claim: dict[str, Any] = {"claimName": name}
    if read_only:
        claim["readOnly"] = True
    return {"persistentVolumeClaim": claim}


def sub_path(resource: Resource) -> dict[str, str]:
    """The folder of its claim that a resource's storage is, as a part of a mount."""
    storage = resource.spec.storage
    if storage is None or storage.claim is None or storage.claim.sub_path is None:
        return {}
    return {"subPath": storage.claim.sub_path}


def _off_boards() -> dict[str, Any]:
    """What trains keeps off nodes that are devices: it would disturb what is measured there."""
    no_board = {"key": DEVICE_LABEL, "operator": "DoesNotExist"}
    return {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [no_board]}]
            }
        }
    }


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
    return {"affinity": affinity, **on_nodes_of(device)}


def on_nodes_of(device: Device) -> dict[str, Any]:
    """What of a pod's spec a device says: labels, taints and runtime of its nodes."""
    placed: dict[str, Any] = {}
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
