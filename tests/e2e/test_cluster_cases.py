"""Users' mistakes on a real cluster, what is said about each, and own data on one node's volume."""

import csv
import random
import subprocess
import sys
import time

import pytest
from cluster_chain import (
    address,
    apply,
    children,
    conditions,
    shared_cache,
    wait_for_the_end,
    worker_settings,
)
from cluster_fixtures import BOARD, wait_until
from operator_process import operator

from edgetran.models import FlexiBertConfig

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SOON_SECONDS = 60
"""A cause is told within 30 s; a machine that has other work gets twice that."""

SIMULATED = {"name": "pi", "simulation": "raspberry-pi-5-cpu"}
CLAIM = {"claim": {"name": "data"}}


def search(name, **spec):
    """A search in the claim's own data that takes seconds."""
    spec = {
        "task": {
            "files": {"train": "tickets.csv", "textColumn": "text", "labelColumn": "label"},
            "tokenizer": {"vocabSize": 512},
            "maxLength": 16,
        },
        "designSpace": {"preset": "tiny"},
        "workload": {"sequenceLength": 16},
        "devices": [SIMULATED],
        "search": {"maxTrials": 2, "initialTrials": 2, "parallelTrials": 2},
        "training": {"steps": 5, "batchSize": 16},
        "ray": {"cpusPerTrial": 0.5},
        "baseline": {
            "architecture": {
                "homogeneous": {"layers": 2, "hiddenSize": 128, "heads": 2, "feedForward": [256]}
            }
        },
        "storage": CLAIM,
        **spec,
    }
    return resource("CoDesignSearch", name, {k: v for k, v in spec.items() if v is not None})


def resource(kind, name, spec):
    return {
        "apiVersion": "edgetran.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }


def claim_on_one_node(cluster, namespace, folder):
    """The claim `data` on a volume that only one node has, as K3s' own storage class makes them.

    It holds `tickets.csv`, which a user put there.
    """
    folder.mkdir()
    folder.chmod(0o777)  # a hostPath volume is not given to the pod's group
    rng = random.Random(0)  # noqa: S311
    words = {"network": ["wifi", "router", "offline"], "billing": ["invoice", "refund", "charge"]}
    with (folder / "tickets.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label"])
        for number in range(400):
            label = rng.choice(sorted(words))
            rows.writerow([f"ticket {number}: {' '.join(rng.choices(words[label], k=4))}", label])
    (server,) = set(_nodes(cluster)) - set(cluster.boards)
    on_server = {"key": "kubernetes.io/hostname", "operator": "In", "values": [server]}
    size = {"storage": "1Gi"}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"{namespace}-data"},
        "spec": {
            "capacity": size,
            "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": str(folder)},
            "claimRef": {"namespace": namespace, "name": "data"},
            "nodeAffinity": {
                "required": {"nodeSelectorTerms": [{"matchExpressions": [on_server]}]}
            },
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": size},
            "storageClassName": "",
            "volumeName": f"{namespace}-data",
        },
    }
    cluster.call("POST", "/api/v1/persistentvolumes", volume)
    cluster.call("POST", f"/api/v1/namespaces/{namespace}/persistentvolumeclaims", claim)
    return server


def _nodes(cluster):
    return [node["metadata"]["name"] for node in cluster.call("GET", "/api/v1/nodes")["items"]]


def headline(cluster, namespace, kind, name):
    """The reason and message of `Succeeded`: what `kubectl get` and `describe` show first."""
    found = conditions(cluster.find(address(kind, namespace, name)) or {}).get("Succeeded", {})
    return found.get("reason"), found.get("message", "")


def wait_for_reason(cluster, namespace, name, reason, word):
    def said():
        found, message = headline(cluster, namespace, "CoDesignSearch", name)
        return found == reason and word in message

    wait_until(
        said,
        lambda: f"{name}: {reason}; says {headline(cluster, namespace, 'CoDesignSearch', name)}",
        SOON_SECONDS,
    )


def withdraw(cluster, namespace, documents):
    """Delete the resources, so that operators of later tests find none that waits for ever."""
    for document in documents:
        cluster.call("DELETE", address(document["kind"], namespace, document["metadata"]["name"]))
    wait_until(
        lambda: not any(name.startswith("pods/") for name in children(cluster, namespace)),
        lambda: f"all pods are gone: {sorted(children(cluster, namespace))}",
        120,
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return shared_cache(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def settings(cache):
    return {**worker_settings(cache), "stalledAfterSeconds": 5}


@pytest.fixture(scope="module")
def running(cluster, settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("operator")
    with operator(cluster.kubeconfig, folder, settings) as process:
        yield process
        assert process.alive
        assert process.crashes() == []


@pytest.fixture(scope="module")
def chain(cluster, running, tmp_path_factory):
    """A search on two boards and a refinement, on one claim, at work while others are looked at.

    Gives the namespace, the resources, the node that has the volume, and the volume's folder.
    """
    namespace = cluster.namespace("own-data")
    folder = tmp_path_factory.mktemp("own-data") / "data"
    server = claim_on_one_node(cluster, namespace, folder)
    devices = [
        {"name": name, "nodeSelector": {BOARD: name}, "threads": 1}
        for name in cluster.boards.values()
    ]
    few = {
        "measurement": {"mode": "quick"},
        "sampling": {"initial": 4, "batch": 2, "maxMeasurements": 4},
    }
    refinement = {
        "searchRef": {"name": "tickets"},
        "cycles": 1,
        "samplesPerStage": 1,
        "stages": ["pruneHeads"],
        "training": {"steps": 5, "batchSize": 16},
        "ray": {"cpusPerTrial": 0.5},
        "storage": CLAIM,
    }
    documents = [
        search(
            "tickets",
            devices=[*devices, SIMULATED],
            profiling=few,
            constraints={"latencyMs": {"max": 1000}},
        ),
        resource("GPTranRun", "tickets-refined", refinement),
    ]
    apply(cluster, namespace, documents)
    yield namespace, documents, server, folder
    withdraw(cluster, namespace, documents)


@pytest.fixture(scope="module")
def mistaken(cluster, chain, tmp_path_factory):
    """A namespace with one search for each mistake."""
    namespace = cluster.namespace("mistakes")
    claim_on_one_node(cluster, namespace, tmp_path_factory.mktemp("mistakes") / "data")
    absent = {"name": "z", "nodeSelector": {BOARD: "no-such-board"}}
    no_class = {"newClaim": {"size": "1Gi", "storageClassName": "longhorn"}}
    documents = [
        search("gpu", ray={"cpusPerTrial": 1, "gpusPerTrial": 1}),
        search("no-class", storage=no_class),
        search("no-claim", storage={"claim": {"name": "does-not-exist"}}),
        search("no-storage", storage=None),
        search("no-board", devices=[absent], activeDeadlineSeconds=5),
    ]
    apply(cluster, namespace, documents)
    yield namespace
    withdraw(cluster, namespace, documents)


@pytest.mark.parametrize(
    ("name", "reason", "word"),
    [
        ("gpu", "NoGpu", "GPU"),
        ("no-class", "ClaimPending", "longhorn"),
        ("no-claim", "ClaimPending", "does-not-exist"),
        ("no-storage", "SpecInvalid", "storage"),
        ("no-board", "NoMatchingNode", "no-such-board"),
    ],
)
def test_a_mistake_is_the_headline(cluster, mistaken, name, reason, word):
    wait_for_reason(cluster, mistaken, name, reason, word)


@pytest.mark.parametrize("name", ["gpu", "no-class", "no-claim"])
def test_what_does_not_start_is_stalled_after_the_stated_time(cluster, mistaken, name):
    def stalled():
        found = cluster.find(address("CoDesignSearch", mistaken, name))
        return conditions(found).get("Stalled", {}).get("status") == "True"

    wait_until(stalled, f"{name} is stalled", SOON_SECONDS)


def test_a_deadline_does_not_run_while_there_is_no_board(cluster, mistaken):
    made = cluster.find(address("CoDesignSearch", mistaken, "no-board"))
    assert made["spec"]["activeDeadlineSeconds"] == 5
    time.sleep(8)
    found = conditions(cluster.find(address("CoDesignSearch", mistaken, "no-board")))
    assert found["Succeeded"]["status"] == "Unknown"


def test_a_wrong_image_is_told_and_the_worker_made_anew_with_the_right_one(
    cluster, running, tmp_path
):
    namespace = cluster.namespace("image")
    claim_on_one_node(cluster, namespace, tmp_path / "data")
    config = running.log.parent / "settings.yaml"
    right = config.read_text()
    running.kill()
    config.write_text(right.replace("edgetran.local/host:latest", "edgetran.local/host:nosuch"))
    running.restart()
    documents = [search("img")]
    apply(cluster, namespace, documents)
    wait_for_reason(cluster, namespace, "img", "ErrImagePull", "nosuch")
    running.kill()
    config.write_text(right)
    running.restart()

    def works():
        pods = [
            child
            for name, child in children(cluster, namespace).items()
            if name.startswith("pods/") and child["status"]["phase"] in ("Running", "Succeeded")
        ]
        return any(
            pod["spec"]["containers"][0]["image"] == "edgetran.local/host:latest" for pod in pods
        )

    wait_until(
        works, lambda: f"it works: {headline(cluster, namespace, 'CoDesignSearch', 'img')}", 120
    )
    withdraw(cluster, namespace, documents)


def test_own_data_on_one_nodes_volume_gives_a_refined_model_with_boards_of_others(cluster, chain):
    namespace, documents, server, folder = chain
    ended = wait_for_the_end(cluster, namespace, documents, 900)
    for resource in ended.values():
        verified = conditions(resource)["WinnerVerified"]
        best = resource["status"]["best"]
        # Its artefacts are on the volume of a node that is no board, and are handed over.
        if best["device"] not in cluster.boards.values():
            assert (verified["status"], verified["reason"]) == ("False", "NotMeasurable")
            continue
        reasons = ("WinnerMeasured", "NextBestMeasured", "WorseThanBaseline")
        assert verified["reason"] in reasons, verified
        assert best["latencyMs"]["source"] == "measured"
    nodes = {
        child["metadata"]["labels"]["edgetran.io/name"]: child["spec"]["nodeName"]
        for name, child in children(cluster, namespace).items()
        if name.startswith("pods/") and "deletionTimestamp" not in child["metadata"]
    }
    verifications = {name: node for name, node in nodes.items() if name.endswith("--verify")}
    assert set(verifications.values()) <= set(cluster.boards)
    assert {name: node for name, node in nodes.items() if name not in verifications} == {
        **{f"tickets-{board}": node for node, board in cluster.boards.items()},
        "tickets": server,
        "tickets-refined": server,
    }
    left = [name for name in children(cluster, namespace) if name.endswith("-pj-reader")]
    assert left == [], "nothing hands over any more"
    models = {each.parent for each in folder.rglob("model.safetensors")}
    assert len(models) >= 2, models


def plugin(cluster, namespace, *words):
    place = ["-n", namespace, "--kubeconfig", str(cluster.kubeconfig)]
    command = [sys.executable, "-m", "edgetran.kubectl", *map(str, words), *place]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_model_is_brought_here_and_data_there(cluster, chain, tmp_path):
    namespace, documents, _, folder = chain
    wait_for_the_end(cluster, namespace, documents, 900)
    got = plugin(cluster, namespace, "get", "gpt/tickets-refined", "-o", tmp_path / "refined")
    assert got.returncode == 0, got.stderr
    here = {
        file.relative_to(tmp_path / "refined"): file
        for file in (tmp_path / "refined").rglob("*")
        if file.is_file()
    }
    (there,) = (folder / namespace).glob("gpt-tickets-refined-*")
    assert {"report.html", "result.json", "log.jsonl"} <= {str(path) for path in here}
    for path, file in here.items():
        assert file.read_bytes() == (there / path).read_bytes(), path
    labels = FlexiBertConfig.from_pretrained(tmp_path / "refined" / "model").id2label
    assert set(labels.values()) == {"billing", "network"}
    more = tmp_path / "more"
    more.mkdir()
    (more / "new tickets.csv").write_text("text,label\nno wifi,network\n")
    put = plugin(cluster, namespace, "put", more, "--claim", "data", "--folder", "in")
    assert put.returncode == 0, put.stderr
    arrived = folder / "in" / "more" / "new tickets.csv"
    assert arrived.read_text() == "text,label\nno wifi,network\n"
    pods = cluster.call(
        "GET",
        f"/api/v1/namespaces/{namespace}/pods",
        labelSelector="app.kubernetes.io/name=edgetran-transfer",
    )
    assert pods["items"] == []
