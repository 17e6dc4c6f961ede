"""What serves a winner: Deployment, Service, and a ServiceAccount that may tell its verdict."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final

from edgetran.api import CoDesignSearch, Device, GPTranRun, child_name
from edgetran.api.common import ServeSpec
from edgetran.api.names import SERVED
from edgetran.api.wire import (
    ARTIFACT_ANNOTATION,
    COMPONENT_LABEL,
    HOME_PATH,
    LOG_VARIABLE,
    MADE_FROM_ANNOTATION,
    MODEL_LABEL,
    NAMESPACE_VARIABLE,
    POD_VARIABLE,
    SERVE_COMMAND,
    STORAGE_PATH,
    TERMINATION_LOG,
    WORKER_CONTAINER,
    WORKER_PROGRAM,
)
from edgetran_operator.plan import Child
from edgetran_operator.resources.merge import strategic_merge
from edgetran_operator.resources.pod import (
    RESTRICTED,
    bound,
    from_field,
    on_nodes_of,
    pod_basics,
    storage_volume,
    sub_path,
)
from edgetran_operator.resources.run import Run, run_folder

SERVED_NAME: Final = "edgetran-served"
"""Value of `app.kubernetes.io/name` on pods that serve: policies for workers do not hold there."""


@dataclass(frozen=True)
class ServedWinner:
    """What is served.

    Attributes:
        source: the resource whose run made it.
        source_uid: its unique identifier.
        artifact: SHA-256 of the artefact.
        engine: torch, onnxruntime or openvino.
        device: the board that it is for; None where it is simulated or not known.
    """

    source: CoDesignSearch | GPTranRun
    source_uid: str
    artifact: str
    engine: str
    device: Device | None


def serving_children(run: Run, serve: ServeSpec, winner: ServedWinner) -> tuple[Child, ...]:
    """All that serves a winner, in the order in which it is to be made.

    The Deployment says by an annotation of what all of it was made.
    """
    name = child_name(run.resource, SERVED)
    template = _pod(run, serve, winner)
    children = (*_access(run, name), _service(run, serve, name))
    text = json.dumps([template, serve.replicas, [dict(c.body) for c in children]], sort_keys=True)
    made_from = hashlib.sha256(text.encode()).hexdigest()[:16]
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": run.job_metadata(name, {MADE_FROM_ANNOTATION: made_from}),
        "spec": {
            "replicas": serve.replicas,
            "selector": {"matchLabels": {MODEL_LABEL: name}},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
            },
            "revisionHistoryLimit": 2,
            "template": template,
        },
    }
    return (*children, Child(deployment))


def made_from_of(children: tuple[Child, ...]) -> str:
    """The annotation of the Deployment among children."""
    found: str = children[-1].body["metadata"]["annotations"][MADE_FROM_ANNOTATION]
    return found


def _access(run: Run, name: str) -> tuple[Child, ...]:
    """A ConfigMap for the verdict, and who may write it: nothing else may be touched."""
    rule = {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "resourceNames": [name],
        "verbs": ["get", "patch"],
    }
    group = "rbac.authorization.k8s.io"
    bodies: tuple[dict[str, Any], ...] = (
        {"apiVersion": "v1", "kind": "ConfigMap"},
        {"apiVersion": "v1", "kind": "ServiceAccount", "automountServiceAccountToken": False},
        {"apiVersion": f"{group}/v1", "kind": "Role", "rules": [rule]},
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": run.namespace}],
        },
    )
    return tuple(Child({**body, "metadata": run.metadata(name)}) for body in bodies)


def _service(run: Run, serve: ServeSpec, name: str) -> Child:
    port = {"name": "http", "port": serve.port, "targetPort": "metrics", "protocol": "TCP"}
    return Child(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": run.metadata(name),
            "spec": {"type": "ClusterIP", "selector": {MODEL_LABEL: name}, "ports": [port]},
        }
    )


def _pod(run: Run, serve: ServeSpec, winner: ServedWinner) -> dict[str, Any]:
    name = child_name(run.resource, SERVED)
    labels = {
        "app.kubernetes.io/name": SERVED_NAME,
        "app.kubernetes.io/instance": run.resource.name,
        COMPONENT_LABEL: SERVE_COMMAND,
        "app.kubernetes.io/part-of": "edgetran",
        MODEL_LABEL: name,
    }
    scratch = run.settings.scratch
    pod: dict[str, Any] = {
        "metadata": {"labels": labels, "annotations": {ARTIFACT_ANNOTATION: winner.artifact}},
        "spec": {
            **pod_basics(run, name),
            "containers": [_container(run, serve, winner)],
            "volumes": [
                {"name": "storage", **storage_volume(winner.source, scratch, read_only=True)},
                {"name": "home", "emptyDir": {"sizeLimit": scratch.home}},
                {"name": "tmp", "emptyDir": {"sizeLimit": scratch.tmp}},
            ],
            **({} if winner.device is None else on_nodes_of(winner.device)),
        },
    }
    pod = strategic_merge(pod, run.settings.worker_pod_patch)
    pod["metadata"]["labels"] |= labels  # the selectors rely on these
    bound(pod["spec"], run.settings)
    return pod


def _container(run: Run, serve: ServeSpec, winner: ServedWinner) -> dict[str, Any]:
    probe = {
        "httpGet": {"path": f"/v2/models/{run.resource.name}/ready", "port": "metrics"},
        "periodSeconds": 10,
        "timeoutSeconds": 15,
        "failureThreshold": 3,
    }
    live = {"path": "/v2/health/live", "port": "metrics"}
    container: dict[str, Any] = {
        "name": WORKER_CONTAINER,
        "image": _image(run, winner),
        "imagePullPolicy": run.settings.image_pull_policy,
        "command": _command(run, serve, winner),
        "env": [
            {"name": LOG_VARIABLE, "value": "json"},
            {"name": "HOME", "value": HOME_PATH},
            from_field(POD_VARIABLE, "metadata.name"),
            from_field(NAMESPACE_VARIABLE, "metadata.namespace"),
        ],
        # Named as workers' ports are, so that whatever scrapes those finds it.
        "ports": [{"name": "metrics", "containerPort": serve.port, "protocol": "TCP"}],
        "readinessProbe": probe,
        "startupProbe": {"httpGet": live, "periodSeconds": 2, "failureThreshold": 300},
        "livenessProbe": {"httpGet": live, "periodSeconds": 30, "timeoutSeconds": 10},
        "resources": strategic_merge({}, run.settings.resources.serve),
        "securityContext": dict(RESTRICTED),
        "terminationMessagePath": TERMINATION_LOG,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {
                "name": "storage",
                "mountPath": STORAGE_PATH,
                **({} if _uri(winner) else {"readOnly": True}),
                **sub_path(winner.source),
            },
            {"name": "home", "mountPath": HOME_PATH},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - an emptyDir of the pod's own
        ],
    }
    storage = winner.source.spec.storage
    if storage is not None and storage.secret is not None:
        container["envFrom"] = [{"secretRef": {"name": storage.secret}}]
    return container


def _image(run: Run, winner: ServedWinner) -> str:
    images = run.settings.images
    if winner.engine == "openvino":
        return images.openvino
    if winner.device is not None and winner.device.accelerator == "cuda":
        return images.cuda
    return images.cpu


def _command(run: Run, serve: ServeSpec, winner: ServedWinner) -> list[str]:
    options = {
        "folder": run_folder(winner.source, run.namespace, winner.source_uid),
        "artifact": winner.artifact,
        "name": run.resource.name,
        "namespace": run.namespace,
        "verdict": child_name(run.resource, SERVED),
        "port": serve.port,
        "max-drift": serve.max_drift,
        "max-confidence-drift": serve.max_confidence_drift,
        "max-slowdown": serve.max_slowdown,
    }
    if _uri(winner):
        options["uri"] = _uri(winner)
    return [WORKER_PROGRAM, SERVE_COMMAND, *(f"--{key}={value}" for key, value in options.items())]


def _uri(winner: ServedWinner) -> str:
    storage = winner.source.spec.storage
    return (storage.uri or "") if storage is not None else ""
