"""Two replicas of the chart's operator, in pods with the chart's own rights."""

from contextlib import contextmanager

import pytest
from chart_on_cluster import CHART, chart_values, forbidden
from cluster_chain import address, apply, conditions, shared_cache
from cluster_fixtures import wait_until
from helm_python import Config

pytestmark = pytest.mark.e2e

RELEASE = "edgetran"
"""Of a namespace of its own, which is all that it watches."""
SECONDS = 180


@contextmanager
def two_operators(cluster, namespace, cache):
    """The chart with two replicas, both of them ready."""
    values = chart_values(cache)
    values |= {"scope": "Namespaced", "crds": {"enabled": False}}
    values["operator"] = {**values["operator"], "replicas": 2}
    with Config(kubeconfig_path=cluster.kubeconfig, namespace=namespace) as helm:
        helm.install(CHART, RELEASE, values)
        try:
            wait_until(lambda: len(ready(cluster, namespace)) == 2, "two are ready", SECONDS)
            yield
        finally:
            helm.uninstall(RELEASE)


def ready(cluster, namespace):
    """Names of the operator's pods that are ready and stay."""
    selector = {"labelSelector": "app.kubernetes.io/component=operator"}
    pods = cluster.call("GET", f"/api/v1/namespaces/{namespace}/pods", **selector)["items"]
    return {
        pod["metadata"]["name"]
        for pod in pods
        if "deletionTimestamp" not in pod["metadata"]
        and {"type": "Ready", "status": "True"}.items()
        <= next(
            (c for c in pod["status"].get("conditions", ()) if c["type"] == "Ready"), {}
        ).items()
    }


def holder(cluster, namespace):
    """The pod that holds the Lease; empty where none does."""
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{RELEASE}"
    return (cluster.find(path) or {}).get("spec", {}).get("holderIdentity") or ""


def suspended(name):
    """A resource that is looked at and needs no worker."""
    return {
        "apiVersion": "edgetran.io/v1alpha1",
        "kind": "ProfilingJob",
        "metadata": {"name": name},
        "spec": {
            "suspend": True,
            "device": {"name": "board", "nodeSelector": {"edgetran.io/device": "board"}},
            "designSpace": {"preset": "tiny"},
        },
    }


def test_another_pod_takes_over_with_the_charts_rights(cluster, tmp_path):
    if cluster.audit is None:
        pytest.skip("who was refused is told by the audit log of the tests' own cluster")
    namespace = cluster.namespace("replicas")

    def is_seen(name):
        found = cluster.call("GET", address("ProfilingJob", namespace, name))
        return conditions(found).get("Suspended", {}).get("status") == "True"

    with two_operators(cluster, namespace, shared_cache(tmp_path)):
        first = holder(cluster, namespace)
        assert first in ready(cluster, namespace)
        apply(cluster, namespace, [suspended("before")])
        wait_until(lambda: is_seen("before"), "the first one acts", SECONDS)

        cluster.kubectl("-n", namespace, "delete", "pod", first, "--wait=false")
        wait_until(
            lambda: holder(cluster, namespace) not in ("", first), "another one holds it", SECONDS
        )
        apply(cluster, namespace, [suspended("after")])  # maybe the one made anew acts already
        wait_until(lambda: is_seen("after"), "another one acts", SECONDS)
        wait_until(
            lambda: holder(cluster, namespace) in ready(cluster, namespace), "it is ready", SECONDS
        )
    operator = f"system:serviceaccount:{namespace}:{RELEASE}"
    assert forbidden(cluster.audited(), operator) == []
