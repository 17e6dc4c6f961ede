"""What serves a winner, made by the operator as a process against a real API server."""

import json
from datetime import UTC, datetime

import pytest
from cluster_fixtures import wait_until
from operator_process import operator
from played_cluster import Played

pytestmark = pytest.mark.integration

PORTS = {"metricsPort": -1, "probePort": -1}
ARTIFACT = "a" * 64
BEST = {
    "id": 1,
    "architecture": "ab",
    "device": "simulated",
    "accuracy": 0.9,
    "madeFor": "onnxruntime fp32",
    "artifact": ARTIFACT,
}
SPEC = {
    "task": {"name": "movie-reviews"},
    "designSpace": {"preset": "tiny"},
    "devices": [{"name": "simulated", "simulation": "raspberry-pi-4-cpu"}],
    "storage": {"newClaim": {"size": "1Gi"}},
}


@pytest.fixture
def played(api_server):
    return Played(api_server, api_server.namespace("serve"))


@pytest.fixture(scope="module")
def running(api_server, tmp_path_factory):
    kubeconfig = api_server.as_user("edgetran-operator-that-serves", ["system:masters"])
    with operator(kubeconfig, tmp_path_factory.mktemp("operator"), PORTS) as process:
        yield process
        assert process.alive
        assert process.crashes() == []


def path_of(played, kind):
    group = "/apis/apps/v1" if kind == "deployments" else "/api/v1"
    return f"{group}/namespaces/{played.namespace}/{kind}/s-cds-served"


def deployment(played):
    return played.server.find(path_of(played, "deployments"))


def roll_out(played):
    """The Deployment's controller: all its pods are new and ready."""
    found = deployment(played)
    replicas = found["spec"]["replicas"]
    status = {
        "observedGeneration": found["metadata"]["generation"],
        **dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas"), replicas),
    }
    path = f"{path_of(played, 'deployments')}/status"
    played.server.call("PATCH", path, {"status": status})


def tell(played, verdict):
    """A pod says whether it serves as measured."""
    told = {
        "artifact": ARTIFACT,
        "servedAsMeasured": verdict,
        "message": f"it is {verdict}",
        "updated": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    body = {"data": {"pod-a": json.dumps(told)}}
    played.server.call("PATCH", path_of(played, "configmaps"), body)


def test_a_winner_is_served_judged_and_taken_away_with_the_spec(played, running):
    played.apply("CoDesignSearch", "s", {**SPEC, "serve": {}})
    played.finish("s", "cds", status={"best": BEST})
    played.wait_for("CoDesignSearch", "s", "Succeeded", "True")
    wait_until(lambda: deployment(played) is not None, "what serves is there", 60)
    assert played.server.find(path_of(played, "services"))["spec"]["ports"][0]["port"] == 8080
    roll_out(played)
    played.wait_for("CoDesignSearch", "s", "ServedAsMeasured", "Unknown", "NotCompared")
    tell(played, "True")
    played.wait_for("CoDesignSearch", "s", "ServedAsMeasured", "True", "AsMeasured")
    tell(played, "False")
    played.wait_for("CoDesignSearch", "s", "ServedAsMeasured", "False", "NotAsMeasured")

    played.change("CoDesignSearch", "s", serve={"replicas": 2, "port": 9000})
    wait_until(lambda: deployment(played)["spec"]["replicas"] == 2, "two pods are wanted", 60)
    ports = played.server.call("GET", path_of(played, "services"))["spec"]["ports"]
    assert [port["port"] for port in ports] == [9000]

    played.change("CoDesignSearch", "s", serve=None)
    for kind in ("deployments", "services"):
        path = path_of(played, kind)
        wait_until(lambda path=path: played.server.find(path) is None, f"no {kind} any more", 60)
    wait_until(lambda: played.says("CoDesignSearch", "s", "ServedAsMeasured") == ("", ""), "gone")


def test_a_deployment_that_somebody_deletes_comes_again(played, running):
    played.apply("CoDesignSearch", "s", {**SPEC, "serve": {}})
    played.finish("s", "cds", status={"best": BEST})
    wait_until(lambda: deployment(played) is not None, "what serves is there", 60)
    uid = deployment(played)["metadata"]["uid"]
    played.server.call("DELETE", path_of(played, "deployments"))

    def anew():
        found = deployment(played)
        return found is not None and found["metadata"]["uid"] != uid

    wait_until(anew, "it is there again", 60)
