"""What happens on a real cluster between a chart's installation and its removal.

Helm installs an earlier version of it, the chain of examples/search.yaml runs through an upgrade,
then come jobs that fail, an outage of the operator, and the end; a real Prometheus watches.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from chart_on_cluster import (
    CHART,
    NAMESPACE,
    RELEASE,
    Prometheus,
    chart_values,
    earlier_chart,
    granted,
    labelled,
    monitoring,
    prometheus,
)
from cluster_chain import address, apply, conditions, wait_for_the_end, worker_settings
from cluster_fixtures import Cluster, apply_crds, wait_until
from helm_python import Config
from operator_process import OperatorProcess, operator

CHAIN_SECONDS = 1800
DEPLOYMENT = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{RELEASE}"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

NO_POWER_SOURCE = {
    "edgetran_pareto_energy_joules",
    "edgetran_search_best_energy_joules",
    "edgetran_pareto_peak_power_watts",
    "edgetran_worker_last_energy_joules",
}
"""Metrics that need a power sensor, which a virtual machine does not have."""

EMPTY = {
    "search: Uncertainty": "a search of four trials makes its predictions by chance of timing",
    "search: Predicted against measured accuracy": "the same",
    "search: Error of predicted cost": "six measurements are too few for a claim",
    "profiling: Predicted against measured": "six measurements are too few for a claim",
    "profiling: Uncertainty": "six measurements are too few for a claim",
    "fleet: Error of prediction per device": "six measurements are too few for a claim",
    **dict.fromkeys(
        (
            *("profiling: Median energy", "profiling: Median peak power", "profiling: Peak power"),
            *("search: Its peak power", "fleet: Energy per device", "fleet: Peak power per device"),
        ),
        "this machine has no power sensor",
    ),
    "search: Models of the refinement": "the refinement is a resource of its own, named otherwise",
}
"""Panels that may legitimately have no data in this run, and why."""

SURPLUS = {
    ("", "configmaps", "get"): "held so that it may be granted to workers",
    ("", "configmaps", "update"): "held so that it may be granted to workers",
    ("ray.io", "rayjobs", "list"): "there is no KubeRay here",
    ("ray.io", "rayjobs", "watch"): "there is no KubeRay here",
    ("ray.io", "rayjobs", "create"): "there is no KubeRay here",
    ("ray.io", "rayjobs", "patch"): "there is no KubeRay here",
    ("ray.io", "rayjobs", "delete"): "there is no KubeRay here",
    ("networking.k8s.io", "networkpolicies", "create"): "there is no KubeRay here",
    ("networking.k8s.io", "networkpolicies", "patch"): "there is no KubeRay here",
    ("apps", "deployments", "create"): "spec.serve, tried in test_cluster_serving.py",
    ("apps", "deployments", "patch"): "spec.serve, tried in test_cluster_serving.py",
    ("apps", "deployments", "delete"): "spec.serve, tried in test_cluster_serving.py",
    ("", "services", "create"): "spec.serve, tried in test_cluster_serving.py",
    ("", "services", "patch"): "spec.serve, tried in test_cluster_serving.py",
    ("", "services", "delete"): "spec.serve, tried in test_cluster_serving.py",
    ("edgetran.io", "codesignsearches", "delete"): "the time to live, tried with a ProfilingJob",
    ("edgetran.io", "gptranruns", "delete"): "the time to live, tried with a ProfilingJob",
    ("edgetran.io", "gptranruns", "create"): "spec.refine, tried as a resource of its own",
    ("edgetran.io", "gptranruns", "patch"): "spec.refine, tried as a resource of its own",
}
"""Rights that this run does not use, and what they are for."""


@dataclass
class Story:
    """What happened, in order."""

    namespace: str
    tested: str = ""
    first_operator: dict[str, Any] = field(default_factory=dict)
    workers_before: dict[str, str] = field(default_factory=dict)
    workers_after: dict[str, str] = field(default_factory=dict)
    aliases: list[list[str]] = field(default_factory=list)
    ended: dict[str, Any] = field(default_factory=dict)
    silent: list[str] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)
    fired: set[str] = field(default_factory=set)
    cleared: set[str] = field(default_factory=set)
    granted: set[tuple[str, str, str]] = field(default_factory=set)
    requests: list[dict[str, Any]] = field(default_factory=list)
    left: set[str] = field(default_factory=set)


@dataclass
class Installed:
    """An operator that runs.

    Attributes:
        story: what has happened.
        helm: what installed it; None where it is a process.
        values: of the chart.
        watcher: scrapes it.
        process: of an operator that no chart installed.
    """

    story: Story
    helm: Config | None = None
    values: dict[str, Any] = field(default_factory=dict)
    watcher: Prometheus | None = None
    process: OperatorProcess | None = None

    def crashes(self, cluster: Cluster) -> list[str]:
        """Tracebacks that it logged."""
        if self.process is not None:
            assert self.process.alive
            return self.process.crashes()
        log = cluster.kubectl("-n", NAMESPACE, "logs", f"deployment/{RELEASE}").stdout
        return [line for line in log.splitlines() if "Traceback (most recent call last)" in line]


def job(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "edgetran.io/v1alpha1",
        "kind": "ProfilingJob",
        "metadata": {"name": name},
        "spec": {
            "device": {"name": name, "nodeSelector": {"edgetran.io/device": "nowhere"}},
            "designSpace": {"preset": "tiny"},
            **spec,
        },
    }


def operator_pods(cluster: Cluster) -> list[dict[str, Any]]:
    selector = {"labelSelector": "app.kubernetes.io/component=operator"}
    found = cluster.call("GET", f"/api/v1/namespaces/{NAMESPACE}/pods", **selector)
    return [pod for pod in found["items"] if "deletionTimestamp" not in pod["metadata"]]


def is_ready(cluster: Cluster) -> bool:
    found = cluster.call("GET", DEPLOYMENT)
    status = found.get("status", {})
    return bool(
        status.get("observedGeneration") == found["metadata"]["generation"]
        and status.get("readyReplicas") == status.get("updatedReplicas") == 1
        and status.get("replicas") == 1
    )


def wait_for_operator(cluster: Cluster) -> None:
    deadline = time.monotonic() + 120
    while not is_ready(cluster):
        if time.monotonic() > deadline:
            pods = cluster.kubectl("-n", NAMESPACE, "describe", "pods", check=False).stdout
            logs = cluster.kubectl("-n", NAMESPACE, "logs", f"deployment/{RELEASE}", check=False)
            pytest.fail(f"the operator is not ready:\n{pods}\n{logs.stdout}\n{logs.stderr}")
        time.sleep(0.5)


def worker_pods(cluster: Cluster, namespace: str, name: str) -> dict[str, str]:
    selector = {"labelSelector": f"edgetran.io/name={name}"}
    found = cluster.call("GET", f"/api/v1/namespaces/{namespace}/pods", **selector)["items"]
    return {pod["metadata"]["uid"]: pod["status"]["phase"] for pod in found}


def short_names(cluster: Cluster) -> list[str]:
    found = cluster.call("GET", f"{DEFINITIONS}/profilingjobs.edgetran.io")
    return list(found["spec"]["names"]["shortNames"])


def search_runs(cluster: Cluster, namespace: str) -> bool:
    return "Running" in worker_pods(cluster, namespace, "search").values()


@contextmanager
def installed(cluster: Cluster, cache: Path, folder: Path) -> Iterator[Installed]:
    """The operator, by an earlier version of the chart.

    On a cluster that is not the tests' own it is a process instead, as the administrator's.

    Args:
        cluster: where.
        cache: what `shared_cache` made.
        folder: an empty one.
    """
    story = Story(cluster.namespace("team"))
    if cluster.audit is None:
        with operator(cluster.kubeconfig, folder, worker_settings(cache)) as process:
            yield Installed(story, process=process)
        return
    values = chart_values(cache)
    cluster.kubectl("delete", "-f", str(CHART.parents[1] / "crds"))
    try:
        with Config(kubeconfig_path=cluster.kubeconfig, namespace=NAMESPACE) as helm:
            helm.install(earlier_chart(folder / "chart"), RELEASE, values, create_namespace=True)
            try:
                wait_for_operator(cluster)
                (story.first_operator,) = operator_pods(cluster)
                story.tested = helm.test(RELEASE, timeout=120, logs=True)["logs"]
                story.aliases.append(short_names(cluster))
                with prometheus(cluster, folder) as watcher:
                    yield Installed(story, helm, values, watcher)
            finally:
                if operator_pods(cluster):  # the story came to no end
                    helm.uninstall(RELEASE)
    finally:
        apply_crds(cluster)


def chain(cluster: Cluster, there: Installed, documents: Sequence[Mapping[str, Any]]) -> None:
    """The chain, with an upgrade of the chart while its search runs."""
    story = there.story
    apply(cluster, story.namespace, documents)
    if there.helm is not None:
        running = partial(search_runs, cluster, story.namespace)
        wait_until(running, "the search's worker runs", CHAIN_SECONDS)
        story.workers_before = worker_pods(cluster, story.namespace, "search")
        debug = {**there.values["operator"], "logLevel": "debug"}
        there.helm.upgrade(CHART, RELEASE, {**there.values, "operator": debug})
        wait_for_operator(cluster)
        story.aliases.append(short_names(cluster))
    story.ended = wait_for_the_end(cluster, story.namespace, documents, CHAIN_SECONDS)
    story.workers_after = worker_pods(cluster, story.namespace, "search")


def rest(cluster: Cluster, there: Installed) -> None:
    """What comes after the chain, to the chart's removal."""
    story = there.story
    assert there.helm is not None
    assert there.watcher is not None
    _failures(cluster, story, there.watcher)
    _outage(cluster, story, there.watcher)
    _look(story, there.watcher)
    story.granted = granted(cluster)
    cluster.kubectl("delete", "pj,cds,gpt", "--all", "-n", story.namespace)
    there.helm.uninstall(RELEASE)
    wait_until(
        lambda: not any(name.startswith("pod/") for name in labelled(cluster)),
        "the operator is gone",
        60,
    )
    story.requests = cluster.audited()
    story.left = labelled(cluster)


def _failures(cluster: Cluster, story: Story, watcher: Prometheus) -> None:
    """A job without a board, one that is suspended, and one that fails and is removed."""
    first, second = (
        {"name": name, "nodeSelector": {"edgetran.io/device": name}}
        for name in list(cluster.boards.values())[:2]
    )
    hopeless = job(
        "hopeless", device=first, storage={"uri": "nosuch://place"}, ttlSecondsAfterFinished=1
    )
    held = job("held", device=second)
    apply(cluster, story.namespace, [job("lost"), hopeless, held])
    name = partial(address, "ProfilingJob", story.namespace)
    wait_until(lambda: cluster.find(name("hopeless")) is None, "its time to live ended", 180)
    wait_until(lambda: worker_pods(cluster, story.namespace, "held"), "held has a worker", 120)
    cluster.call("PATCH", name("held"), {"spec": {"suspend": True}})
    wait_until(
        lambda: (
            conditions(cluster.find(name("held")) or {}).get("Suspended", {}).get("status")
            == "True"
        ),
        "held is suspended",
        120,
    )
    wait_until(lambda: "EdgeTranDeviceLost" in watcher.firing(), "the lost board is told", 60)
    story.fired |= watcher.firing()
    cluster.call("DELETE", name("lost"))
    wait_until(lambda: "EdgeTranDeviceLost" not in watcher.firing(), "the alert clears", 60)
    story.cleared.add("EdgeTranDeviceLost")


def _outage(cluster: Cluster, story: Story, watcher: Prometheus) -> None:
    """The operator goes away and comes back."""
    cluster.call("PATCH", DEPLOYMENT, {"spec": {"replicas": 0}})
    wait_until(lambda: "EdgeTranOperatorDown" in watcher.firing(), "its absence is told", 400)
    story.fired |= watcher.firing()
    cluster.call("PATCH", DEPLOYMENT, {"spec": {"replicas": 1}})
    wait_until(lambda: "EdgeTranOperatorDown" not in watcher.firing(), "the alert clears", 120)
    story.cleared.add("EdgeTranOperatorDown")


def _look(story: Story, watcher: Prometheus) -> None:
    """Every query of every dashboard and alert, over all of the time."""
    variables = {
        "$__rate_interval": "30s",
        "$namespace": story.namespace,
        "$job": ".*",
    }
    for path in sorted(CHART.glob("dashboards/*.json")):
        board = json.loads(path.read_text())
        run = "search" if path.stem == "search" else "raspberry-pi-5"
        for panel in board["panels"]:
            for target in panel.get("targets", ()):
                query = target["expr"]
                for variable, value in {**variables, "$name": run}.items():
                    query = re.sub(rf"{re.escape(variable)}\b", value, query)
                if not watcher.has_data(query) and not NO_POWER_SOURCE & set(
                    re.findall(r"\w+", query)
                ):
                    story.silent.append(f"{path.stem}: {panel['title']}")
    for group in monitoring()["PrometheusRule"]["spec"]["groups"]:
        for rule in group["rules"]:
            for name in re.findall(r"\bedgetran_\w+", rule["expr"]):
                if name != "edgetran_served_as_measured" and not watcher.has_data(name):
                    story.missing.add(f"{rule['alert']}: {name}")
