"""A winner served in real pods on its board: it answers, is ready by that, and is compared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from cluster_chain import (
    address,
    apply,
    claims_of,
    conditions,
    make_volumes,
    shared_cache,
    small_chain,
    wait_for_the_end,
    worker_settings,
)
from cluster_fixtures import Cluster, wait_until
from operator_process import operator

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(2400)]

SIMULATED = {"name": "raspberry-pi-4", "simulation": "raspberry-pi-4-cpu"}
SERVED = "search-cds-served"


@pytest.fixture(scope="module")
def search(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A small search that is done and whose winner is to be served."""
    namespace = cluster.namespace("serving")
    documents = small_chain(list(cluster.boards.values()))
    (document,) = (each for each in documents if each["kind"] == "CoDesignSearch")
    document["spec"]["devices"] = [SIMULATED]
    document["spec"]["serve"] = {}
    document["metadata"]["namespace"] = namespace
    make_volumes(cluster, namespace, claims_of([document]), tmp_path_factory.mktemp("volumes"))
    settings = worker_settings(shared_cache(tmp_path_factory.mktemp("cache")))
    with operator(cluster.kubeconfig, tmp_path_factory.mktemp("operator"), settings):
        apply(cluster, namespace, [document])
        yield wait_for_the_end(cluster, namespace, [document], 1200)["CoDesignSearch"]


def condition(cluster: Cluster, search: dict[str, Any]) -> dict[str, Any]:
    """`ServedAsMeasured` as it stands."""
    place = address("CoDesignSearch", search["metadata"]["namespace"], "search")
    return conditions(cluster.call("GET", place)).get("ServedAsMeasured", {})


def pods(cluster: Cluster, search: dict[str, Any]) -> list[dict[str, Any]]:
    """Pods that serve."""
    place = f"/api/v1/namespaces/{search['metadata']['namespace']}/pods"
    selector = f"edgetran.io/served-by={SERVED}"
    items: list[dict[str, Any]] = cluster.call("GET", place, labelSelector=selector)["items"]
    return items


def asked(cluster: Cluster, pod: dict[str, Any], method: str, path: str, body: Any = None) -> Any:
    """The answer of a pod, through the API server."""
    place = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods"
    return cluster.call(method, f"{place}/{pod['metadata']['name']}:8080/proxy{path}", body)


def test_the_winner_answers_and_is_said_to_be_as_measured_or_not(
    cluster: Cluster, search: dict[str, Any]
) -> None:
    def is_ready() -> bool:
        states = [
            each["ready"]
            for pod in pods(cluster, search)
            for each in pod["status"].get("containerStatuses", ())
        ]
        return states == [True]

    wait_until(is_ready, lambda: json.dumps(pods(cluster, search)), 300)
    (pod,) = pods(cluster, search)
    about = asked(cluster, pod, "GET", "/v2/models/search")
    assert search["status"]["best"]["artifact"].startswith(about["versions"][0])
    text = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a warm and witty film"]}
    found = asked(cluster, pod, "POST", "/v2/models/search/infer", {"inputs": [text]})
    assert {each["name"] for each in found["outputs"]} == {"label", "probabilities", "logits"}

    # Once a pod has told its verdict, whichever it is, the condition is no longer Pending.
    def told() -> bool:
        return condition(cluster, search).get("reason") not in (None, "Pending")

    wait_until(told, lambda: json.dumps(condition(cluster, search)), 120)
    verdict = asked(cluster, pod, "GET", "/served-as-measured")
    assert verdict["artifact"] == search["status"]["best"]["artifact"]
    # Nothing but this pod's first word is known: it was told with this status.
    assert condition(cluster, search)["status"] == verdict["servedAsMeasured"]


def test_serving_ends_with_the_spec(cluster: Cluster, search: dict[str, Any]) -> None:
    namespace = search["metadata"]["namespace"]
    place = address("CoDesignSearch", namespace, "search")
    cluster.call("PATCH", place, {"spec": {"serve": None}})
    wait_until(lambda: not pods(cluster, search), "no pod serves any more", 180)
    assert cluster.find(f"/api/v1/namespaces/{namespace}/services/{SERVED}") is None
