"""The chain of examples/search.yaml, small enough for a test, and what there is to see of it."""

from __future__ import annotations

import base64
import gzip
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from cluster_fixtures import BOARD, ROOT, Cluster, wait_until

from edgetran.api import (
    KINDS,
    CoDesignSearch,
    child_name,
    implied_profiling_jobs,
    load_resources,
    parse_resource,
    to_dict,
)
from edgetran.api.names import STORAGE
from edgetran.training.movie_reviews import load_movie_reviews

EXAMPLE = ROOT / "examples" / "search.yaml"
GROUP = "/apis/edgetran.io/v1alpha1"

SAMPLING = "sampling={initial: 4, batch: 2, maxMeasurements: 6, targetError: 0.0001}"
"""Six measurements: the error that ends profiling before is out of reach."""

SMALL = (
    f"ProfilingJob:spec.{SAMPLING}",
    "ProfilingJob:spec.measurement={mode: quick}",
    "ProfilingJob:spec.device.threads=1",
    f"CoDesignSearch:spec.profiling.{SAMPLING}",
    "CoDesignSearch:spec.profiling.measurement={mode: quick}",
    "CoDesignSearch:spec.search={maxTrials: 4, initialTrials: 2, parallelTrials: 2}",
    "CoDesignSearch:spec.training={steps: 20, batchSize: 16}",
    "CoDesignSearch:spec.task.maxTrainingExamples=600",
    "CoDesignSearch:spec.constraints.latencyMs={max: 1000}",
    "CoDesignSearch:spec.ray={mode: local, cpusPerTrial: 0.5}",
    "GPTranRun:spec.cycles=1",
    "GPTranRun:spec.samplesPerStage=2",
    "GPTranRun:spec.training={steps: 5, batchSize: 16}",
    "GPTranRun:spec.budgets.latencyMs={max: 1000}",
    "GPTranRun:spec.ray={mode: local, cpusPerTrial: 0.5}",
)
"""Settings over the example: budgets in steps, so that the same seed gives the same run."""


def shared_cache(folder: Path) -> Path:
    """A cache for workers in `folder` that holds the built-in task, as pods have no network."""
    load_movie_reviews(folder)
    for place in (folder, *folder.rglob("*")):
        place.chmod(0o777 if place.is_dir() else 0o666)
    return folder


def worker_settings(cache: Path) -> dict[str, Any]:
    """Settings of the operator with which workers run this machine's own Python in real pods."""
    folders = {"usr": Path("/usr"), "python": Path(sys.base_prefix).resolve(), "project": ROOT}
    if not Path(sys.prefix).is_relative_to(ROOT):
        folders["environment"] = Path(sys.prefix)
    outside = {
        name: folder
        for name, folder in folders.items()
        if name == "usr" or not folder.is_relative_to("/usr")
    }
    path = os.pathsep.join((str(Path(sys.prefix) / "bin"), "/usr/bin", "/bin"))
    container = {
        "name": "worker",
        "env": [
            {"name": "PATH", "value": path},
            {"name": "OMP_NUM_THREADS", "value": "1"},
            {"name": "PYTHONDONTWRITEBYTECODE", "value": "1"},
            {"name": "EDGETRAN_CACHE", "value": str(cache)},
        ],
        "volumeMounts": [
            {"name": name, "mountPath": str(folder), "readOnly": True}
            for name, folder in outside.items()
        ]
        + [{"name": "cache", "mountPath": str(cache)}],
    }
    volumes = [
        {"name": name, "hostPath": {"path": str(folder)}}
        for name, folder in {**outside, "cache": cache}.items()
    ]
    image = "edgetran.local/host:latest"
    small = {"requests": {"cpu": "100m", "memory": "256Mi"}}
    return {
        "images": dict.fromkeys(("cpu", "cuda", "jetson", "openvino"), image),
        "imagePullPolicy": "Never",
        "resources": {"profile": small, "search": small, "gptran": small},
        "terminationGraceSeconds": 30,
        # The second is of a storage that no worker knows: what uses it fails once it runs.
        "allow": {"hostSensors": True, "storage": ["s3://", "nosuch://"]},
        "maxProfileError": 10.0,  # a few quick measurements beside other pods predict little
        "workerPodPatch": {"spec": {"containers": [container], "volumes": volumes}},
    }


def small_chain(boards: Sequence[str], seed: int = 0) -> list[dict[str, Any]]:
    """The example's resources on the first two of the `boards`, with SMALL over them."""
    documents = [to_dict(each) for each in load_resources(EXAMPLE, settings=SMALL)]
    by_kind = {document["kind"]: document for document in documents}
    for document in documents:
        document["spec"]["seed"] = seed
        document["spec"].pop("podTemplate", None)
    profile, search = by_kind["ProfilingJob"], by_kind["CoDesignSearch"]
    profile["spec"]["device"]["nodeSelector"] = {BOARD: boards[0]}
    first, second, _ = search["spec"]["devices"]
    first |= {"nodeSelector": {BOARD: boards[0]}, "threads": 1}
    second |= {"nodeSelector": {BOARD: boards[1]}, "threads": 1}
    second |= {"accelerator": "cpu", "precision": "fp32"}  # boards of a test have no GPU
    second.pop("runtimeClassName")
    return documents


def make_volumes(cluster: Cluster, namespace: str, names: Sequence[str], folder: Path) -> None:
    """Volumes for the claims of these names, where the cluster makes none by itself."""
    classes = cluster.call("GET", "/apis/storage.k8s.io/v1/storageclasses")["items"]
    default = "storageclass.kubernetes.io/is-default-class"
    if any(each["metadata"].get("annotations", {}).get(default) == "true" for each in classes):
        return
    for name in names:
        place = folder / f"{namespace}-{name}"
        place.mkdir(parents=True)
        place.chmod(0o777)  # a hostPath volume is not given to the pod's group
        claim = {"namespace": namespace, "name": name}
        volume = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": f"{namespace}-{name}"},
            "spec": {
                "capacity": {"storage": "10Gi"},
                "accessModes": ["ReadWriteOnce"],
                "hostPath": {"path": str(place)},
                "claimRef": claim,
            },
        }
        cluster.call("POST", "/api/v1/persistentvolumes", volume)


def claims_of(documents: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the claims that the operator makes for the resources and those that they imply."""
    resources = [parse_resource(document) for document in documents]
    for resource in tuple(resources):
        if isinstance(resource, CoDesignSearch):
            resources += implied_profiling_jobs(resource).values()
    return [
        child_name(each, STORAGE)
        for each in resources
        if each.spec.storage is not None and each.spec.storage.new_claim is not None
    ]


def address(kind: str, namespace: str, name: str = "") -> str:
    """The path of a resource."""
    place = f"{GROUP}/namespaces/{namespace}/{KINDS[kind].PLURAL}"
    return f"{place}/{name}" if name else place


def conditions(resource: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The conditions of a resource by type."""
    found = resource.get("status", {}).get("conditions", [])
    return {each["type"]: each for each in found}


def kstatus(resource: Mapping[str, Any]) -> str:
    """What kstatus computes: InProgress, Failed, Current or Terminating."""
    if resource["metadata"].get("deletionTimestamp"):
        return "Terminating"
    status = resource.get("status", {})
    if status.get("observedGeneration") != resource["metadata"]["generation"]:
        return "InProgress"
    found = {each["type"]: each["status"] for each in status.get("conditions", [])}
    if found.get("Reconciling") == "True":
        return "InProgress"
    return "Failed" if found.get("Stalled") == "True" else "Current"


def wait_for_the_end(
    cluster: Cluster, namespace: str, documents: Sequence[Mapping[str, Any]], seconds: float
) -> dict[str, dict[str, Any]]:
    """The resources by kind, once each has succeeded; the test fails where one does not."""
    last: dict[str, Any] = {}

    def ended() -> bool:
        for document in documents:
            kind, name = document["kind"], document["metadata"]["name"]
            last[kind] = cluster.find(address(kind, namespace, name)) or {}
        states = [conditions(each).get("Succeeded", {}).get("status") for each in last.values()]
        assert "False" not in states, json.dumps({k: conditions(v) for k, v in last.items()})
        return states == ["True"] * len(documents)

    def told() -> str:
        return json.dumps({kind: each.get("status") for kind, each in last.items()})

    wait_until(ended, told, seconds)
    return last


def apply(cluster: Cluster, namespace: str, documents: Sequence[Mapping[str, Any]]) -> None:
    """Apply all resources by one `kubectl apply -f`."""
    text = yaml.safe_dump_all(documents, sort_keys=False)
    cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=text)


def children(cluster: Cluster, namespace: str) -> dict[str, dict[str, Any]]:
    """Everything in the namespace that says it is part of EdgeTran, by `KIND/NAME`."""
    found = {}
    for path in (
        "/api/v1/namespaces/{}/configmaps",
        "/api/v1/namespaces/{}/persistentvolumeclaims",
        "/api/v1/namespaces/{}/pods",
        "/api/v1/namespaces/{}/serviceaccounts",
        "/apis/batch/v1/namespaces/{}/jobs",
        "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
        "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    ):
        place = path.format(namespace)
        selector = {"labelSelector": "app.kubernetes.io/part-of=edgetran"}
        kind = place.rpartition("/")[2]
        for each in cluster.call("GET", place, **selector)["items"]:
            found[f"{kind}/{each['metadata']['name']}"] = each
    return found


def records(
    cluster: Cluster, namespace: str, kind: str, name: str
) -> list[tuple[str, dict[str, Any]]]:
    """Every record of the results of a resource, in order, with its log's name."""
    resource = KINDS[kind].model_construct(
        kind=kind, metadata=KINDS[kind].model_fields["metadata"].annotation(name=name)
    )
    prefix = child_name(resource, "results-")
    maps = {
        int(each["metadata"]["name"].removeprefix(prefix)): each
        for each in cluster.call("GET", f"/api/v1/namespaces/{namespace}/configmaps")["items"]
        if each["metadata"]["name"].startswith(prefix)
    }
    found = []
    for number in sorted(maps):
        packed = maps[number].get("binaryData", {}).get("records.jsonl.gz")
        if packed:
            text = gzip.decompress(base64.b64decode(packed)).decode()
            for line in text.splitlines():
                entry = json.loads(line)
                found.append((entry["log"], entry["record"]))
    return found
