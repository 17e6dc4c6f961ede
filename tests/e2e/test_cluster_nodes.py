"""The cluster that tests run on: real pods on labelled nodes, and outages of its parts."""

import time

import pytest
from cluster_fixtures import wait_until

pytestmark = pytest.mark.e2e

HOST = "edgetran.local/host:latest"

ASK_THE_API = """
import os, ssl, urllib.request
mounted = "/var/run/secrets/kubernetes.io/serviceaccount/"
context = ssl.create_default_context(cafile=mounted + "ca.crt")
address = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}"
token = open(mounted + "token").read()
request = urllib.request.Request(address + "/version", headers={"Authorization": f"Bearer {token}"})
print("on", os.environ["NODE"], urllib.request.urlopen(request, context=context, timeout=10).status)
"""


def pod(name, board, script):
    container = {
        "name": "main",
        "image": HOST,
        "imagePullPolicy": "Never",
        "command": ["python3", "-c", script],
        "env": [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
        "volumeMounts": [{"name": "usr", "mountPath": "/usr", "readOnly": True}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "nodeSelector": {"edgetran.io/device": board},
            "containers": [container],
            "volumes": [{"name": "usr", "hostPath": {"path": "/usr"}}],
        },
    }


@pytest.fixture(scope="module")
def namespace(cluster):
    return cluster.namespace("nodes")


def phase(cluster, namespace, name):
    return cluster.call("GET", f"/api/v1/namespaces/{namespace}/pods/{name}")["status"]["phase"]


def is_ready(cluster, node):
    conditions = cluster.call("GET", f"/api/v1/nodes/{node}")["status"]["conditions"]
    return {each["type"]: each["status"] for each in conditions}["Ready"] == "True"


def start(cluster, namespace, name, board, script):
    body = pod(name, board, script)
    cluster.call("POST", f"/api/v1/namespaces/{namespace}/pods", body)


def test_two_nodes_are_boards(cluster):
    assert len(set(cluster.boards.values())) >= 2
    assert all(is_ready(cluster, name) for name in cluster.boards)


def test_a_pod_runs_on_the_board_that_it_names_and_reaches_the_api(cluster, namespace):
    for node, board in cluster.boards.items():
        name = f"ask-{node}"
        start(cluster, namespace, name, board, ASK_THE_API)
        wait_until(lambda name=name: phase(cluster, namespace, name) == "Succeeded", name)
        assert cluster.kubectl("logs", "-n", namespace, name).stdout == f"on {node} 200\n"


def test_a_command_runs_in_a_pod(cluster, namespace):
    board = next(iter(cluster.boards.values()))
    start(cluster, namespace, "sleeps", board, "import time; time.sleep(600)")
    wait_until(lambda: phase(cluster, namespace, "sleeps") == "Running", "the pod runs")
    words = ("exec", "-n", namespace, "sleeps", "--", "python3", "-c", "print(6 * 7)")
    assert cluster.kubectl(*words).stdout == "42\n"
    assert cluster.kubectl("delete", "pod", "-n", namespace, "sleeps", "--now").returncode == 0


def test_labels_are_set_and_removed(cluster):
    node = next(iter(cluster.boards))
    cluster.tool("label", node, "edgetran.io/test=yes")

    def labels():
        return cluster.call("GET", f"/api/v1/nodes/{node}")["metadata"]["labels"]

    assert labels()["edgetran.io/test"] == "yes"
    cluster.tool("label", node, "edgetran.io/test-")
    assert "edgetran.io/test" not in labels()


@pytest.mark.slow
def test_a_board_whose_kubelet_stops_is_lost_and_comes_back(cluster):
    node = list(cluster.boards)[-1]
    cluster.tool("stop", f"kubelet-{node}")
    wait_until(lambda: not is_ready(cluster, node), "the node is lost", 60)

    def taints():
        found = cluster.call("GET", f"/api/v1/nodes/{node}")["spec"].get("taints", [])
        return {taint["key"] for taint in found}

    # Written by another loop of the node controller than the one that writes the condition.
    wait_until(lambda: "node.kubernetes.io/unreachable" in taints(), "the node is tainted", 60)
    cluster.tool("start", f"kubelet-{node}")
    wait_until(lambda: is_ready(cluster, node), "the node is back", 60)


@pytest.mark.parametrize("component", ["apiserver", "etcd", "controllers", "scheduler"])
def test_the_cluster_works_after_an_outage_of_its_parts(cluster, namespace, component):
    cluster.tool("restart", component)
    name = f"after-{component}"
    board = next(iter(cluster.boards.values()))
    deadline = time.monotonic() + 60
    start(cluster, namespace, name, board, "print('done')")
    wait_until(
        lambda: phase(cluster, namespace, name) == "Succeeded", name, deadline - time.monotonic()
    )
