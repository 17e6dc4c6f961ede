"""The Job on a volume's node that hands a run's artefacts over to a board that cannot mount it."""

from __future__ import annotations

from typing import Any

from edgetran.api import child_name
from edgetran.api.names import READER
from edgetran.api.wire import (
    COMPONENT_LABEL,
    HAND_OVER_COMMAND,
    HAND_OVER_PORT,
    HOME_PATH,
    LOG_VARIABLE,
    SEARCH_PATH,
    TERMINATION_LOG,
    WORKER_CONTAINER,
    WORKER_PROGRAM,
)
from edgetran_operator.plan import Child
from edgetran_operator.resources.merge import strategic_merge
from edgetran_operator.resources.pod import RESTRICTED, bound, pod_basics, storage_volume, sub_path
from edgetran_operator.resources.run import Run, run_folder

_ATTEMPTS = 20
"""Pods that may end before the Job gives up: drains and lost nodes count, and nothing is lost."""


def reader_job(run: Run) -> Child:
    """The Job of a run whose finalists' artefacts are on a volume of another node.

    Its pod sees that run's folder alone, to read, has no token for the API server, and runs where
    the volume is.
    """
    name = child_name(run.resource, READER)
    return Child(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": run.job_metadata(name),
            "spec": {
                "completions": 1,
                "parallelism": 1,
                "backoffLimit": _ATTEMPTS,
                "template": _pod(run),
                **run.unadmitted,
            },
        }
    )


def reader_address(run: Run, host: str) -> str:
    """Where its pod at `host` serves the storage that holds the run's folder."""
    return f"http://{f'[{host}]' if ':' in host else host}:{HAND_OVER_PORT}/{run.uid}"


def _pod(run: Run) -> dict[str, Any]:
    source, scratch = run.inputs.search, run.settings.scratch
    assert source is not None  # noqa: S101 - the caller has asked
    labels = {**run.labels(), COMPONENT_LABEL: READER}
    pod: dict[str, Any] = {
        "metadata": {"labels": labels},
        "spec": {
            "restartPolicy": "Never",
            **pod_basics(run, ""),
            "containers": [_container(run)],
            "volumes": [
                {"name": "search", **storage_volume(source, scratch, read_only=True)},
                {"name": "home", "emptyDir": {"sizeLimit": scratch.home}},
            ],
        },
    }
    del pod["spec"]["serviceAccountName"]
    pod["spec"]["automountServiceAccountToken"] = False
    pod = strategic_merge(pod, run.settings.worker_pod_patch)
    pod["metadata"]["labels"] |= labels  # the operator knows it by these
    bound(pod["spec"], run.settings)
    return pod


def _container(run: Run) -> dict[str, Any]:
    source = run.inputs.search
    assert source is not None  # noqa: S101 - the caller has asked
    folder = run_folder(source, run.namespace, run.inputs.search_uid)
    above = sub_path(source).get("subPath", "")
    return {
        "name": WORKER_CONTAINER,
        "image": run.settings.images.cpu,
        "imagePullPolicy": run.settings.image_pull_policy,
        "command": [
            WORKER_PROGRAM,
            HAND_OVER_COMMAND,
            f"--folder={folder}",
            f"--word={run.uid}",
            f"--port={HAND_OVER_PORT}",
        ],
        "env": [
            {"name": LOG_VARIABLE, "value": "json"},
            {"name": "HOME", "value": HOME_PATH},
        ],
        "ports": [{"name": "artifacts", "containerPort": HAND_OVER_PORT, "protocol": "TCP"}],
        "readinessProbe": {
            "httpGet": {"path": "/healthz", "port": "artifacts"},
            "periodSeconds": 2,
            "timeoutSeconds": 10,
        },
        "resources": {
            "requests": {"cpu": "50m", "memory": "128Mi"},
            "limits": {"memory": "512Mi"},
        },
        "securityContext": dict(RESTRICTED),
        "terminationMessagePath": TERMINATION_LOG,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {
                "name": "search",
                "mountPath": f"{SEARCH_PATH}/{folder}",
                "subPath": f"{above}/{folder}".lstrip("/"),
                "readOnly": True,
            },
            {"name": "home", "mountPath": HOME_PATH},
        ],
    }
