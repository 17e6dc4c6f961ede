"""A search whose trials run on a Ray cluster that is there already: a head and a worker in pods."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cluster_chain import (
    address,
    apply,
    conditions,
    make_volumes,
    records,
    shared_cache,
    wait_for_the_end,
    worker_settings,
)
from cluster_fixtures import BOARD, Cluster, wait_until
from operator_process import operator

from edgetran.api import load_text, to_dict
from edgetran.api.wire import HOME_PATH, STORAGE_PATH
from edgetran_operator.resources.pod import USER

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SEARCH = """
apiVersion: edgetran.io/v1alpha1
kind: CoDesignSearch
metadata: {name: NAME}
spec:
  task: {name: movie-reviews, maxTrainingExamples: 300}
  designSpace: {preset: tiny}
  devices: [{name: pi, simulation: raspberry-pi-5-cpu}]
  search: {maxTrials: 2, initialTrials: 2, parallelTrials: 1}
  training: {steps: 5, batchSize: 16}
  ray: {mode: cluster, address: "ADDRESS", cpusPerTrial: 1}
  backoffLimit: 0
  storage: {claim: {name: shared}}
"""


SMALL = ("--num-cpus=1", f"--object-store-memory={80 * 1024**2}")


def search(name: str, ray: str) -> dict[str, Any]:
    (resource,) = load_text(SEARCH.replace("NAME", name).replace("ADDRESS", ray))
    return to_dict(resource)


def ray_pod(name: str, board: str, claim: str, cache: Path, start: list[str]) -> dict[str, Any]:
    """A pod with the worker's image that is a node of a Ray cluster."""
    settings = worker_settings(cache)
    patch = settings["workerPodPatch"]["spec"]
    (container,) = patch["containers"]
    mounts = {"storage": STORAGE_PATH, "home": HOME_PATH, "tmp": "/tmp", "shm": "/dev/shm"}  # noqa: S108
    container |= {
        "image": settings["images"]["cpu"],
        "imagePullPolicy": settings["imagePullPolicy"],
        "command": ["python", "-m", "ray.scripts.scripts", "start", "--block", *start],
        "env": [
            *container["env"],
            {"name": "HOME", "value": HOME_PATH},
            {"name": "RAY_USAGE_STATS_ENABLED", "value": "0"},
            # For each client the head starts a server; on a busy machine 30 s are too few.
            {"name": "RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S", "value": "180"},
        ],
        "volumeMounts": [
            *container["volumeMounts"],
            *({"name": each, "mountPath": path} for each, path in mounts.items()),
        ],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "nodeSelector": {BOARD: board},
            "restartPolicy": "Never",
            "securityContext": {"runAsUser": USER, "runAsGroup": USER, "fsGroup": USER},
            "containers": [container],
            "volumes": [
                *patch["volumes"],
                {"name": "storage", "persistentVolumeClaim": {"claimName": claim}},
                {"name": "home", "emptyDir": {}},
                {"name": "tmp", "emptyDir": {}},
                {"name": "shm", "emptyDir": {"medium": "Memory"}},
            ],
        },
    }


def start_pod(cluster: Cluster, namespace: str, pod: dict[str, Any], ready: str) -> str:
    """The address of a pod, once its log has the line that says that it is ready."""
    name = pod["metadata"]["name"]
    place = f"/api/v1/namespaces/{namespace}/pods"
    cluster.call("POST", place, pod)

    def log() -> str:
        done = cluster.kubectl("logs", "-n", namespace, name, check=False)
        return done.stdout + done.stderr

    wait_until(lambda: ready in log(), log, 120)
    return str(cluster.call("GET", f"{place}/{name}")["status"]["podIP"])


def make_claim(cluster: Cluster, namespace: str, name: str, folder: Path) -> None:
    make_volumes(cluster, namespace, [name], folder)
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    body = {"metadata": {"name": name}, "spec": spec}
    cluster.call("POST", f"/api/v1/namespaces/{namespace}/persistentvolumeclaims", body)


def states(cluster: Cluster, namespace: str) -> str:
    found = cluster.call("GET", address("CoDesignSearch", namespace))["items"]
    return json.dumps({each["metadata"]["name"]: each.get("status") for each in found})


def told(cluster: Cluster, namespace: str, name: str, message: str) -> bool:
    found = conditions(cluster.call("GET", address("CoDesignSearch", namespace, name)))
    state = found.get("Succeeded", {})
    return state.get("reason") == "RayUnavailable" and message in state["message"]


def test_trials_run_on_the_worker_of_a_ray_cluster(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    namespace = cluster.namespace("ray")
    cache = shared_cache(tmp_path_factory.mktemp("cache"))
    make_claim(cluster, namespace, "shared", tmp_path_factory.mktemp("volumes"))
    here, there = list(cluster.boards.values())[:2]
    begin = partial(start_pod, cluster, namespace)
    head = begin(
        ray_pod(
            "head",
            here,
            "shared",
            cache,
            ["--head", *SMALL, "--num-cpus=0", "--include-dashboard=false"],
        ),
        "Local node IP",
    )
    begin(ray_pod("trains", there, "shared", cache, [f"--address={head}:6379", *SMALL]), "started")
    folder = tmp_path_factory.mktemp("operator")
    settings = {**worker_settings(cache), "allow": {"rayAddresses": [head]}}
    with operator(cluster.kubeconfig, folder, settings) as process:
        wanted = search("search", f"ray://{head}:10001")
        refused = {
            "lost": (f"ray://{head}:10002", "no cluster answers at"),
            "outside": (f"{head}:6379", "allowed outside the cluster's own nodes is ray://HOST"),
        }
        others = [search(name, ray) for name, (ray, _) in refused.items()]
        apply(cluster, namespace, [wanted])
        ended = wait_for_the_end(cluster, namespace, [wanted], 300)["CoDesignSearch"]
        assert ended["status"]["succeeded"] == 2
        logs = records(cluster, namespace, "CoDesignSearch", "search")
        trials = [record for log, record in logs if log == "trials.jsonl"]
        assert [trial["state"] for trial in trials] == ["succeeded", "succeeded"]
        apply(cluster, namespace, others)
        for name, (_, message) in refused.items():
            wait_until(
                partial(told, cluster, namespace, name, message),
                partial(states, cluster, namespace),
                120,
            )
        assert process.crashes() == []
    for name in ("head", "trains"):
        cluster.call("DELETE", f"/api/v1/namespaces/{namespace}/pods/{name}")
