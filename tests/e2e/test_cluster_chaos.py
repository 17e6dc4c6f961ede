"""Whatever is killed, and whenever: the chain ends as if nothing had happened.

EDGETRAN_CHAOS_KILLS says how often the operator is killed: 10 where it is not set; 50 for long.
"""

import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from cluster_chain import (
    address,
    apply,
    children,
    claims_of,
    conditions,
    kstatus,
    make_volumes,
    records,
    shared_cache,
    small_chain,
    wait_for_the_end,
    worker_settings,
)
from cluster_fixtures import wait_until
from kubernetes.client import ApiException
from operator_process import OperatorProcess, operator

from edgetran.api import parse_resource, verification_name

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

KILLS = int(os.environ.get("EDGETRAN_CHAOS_KILLS", "10"))
CHAIN_SECONDS = 120.0
"""About as long as the work of the chain takes; moments are drawn from it."""
PATIENCE_SECONDS = 1200
JOBS = ("raspberry-pi-5", "search-jetson")


def tiny_chain(boards, seed=0):
    """The small chain with engines that start quickly, and one stage of refinement."""
    documents = small_chain(boards, seed)
    by_kind = {document["kind"]: document["spec"] for document in documents}
    quick = {"engine": "torch", "precision": "fp32"}
    by_kind["ProfilingJob"]["device"] |= quick
    by_kind["CoDesignSearch"]["devices"][0] |= quick
    by_kind["GPTranRun"] |= {"stages": ["pruneHeads", "pruneFeedForwards"]}
    for spec in by_kind.values():
        spec["backoffLimit"] = 6
    return documents


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return shared_cache(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def chain(cluster, tmp_path):
    """A namespace and the chain's resources, which are deleted at the end."""
    namespace = cluster.namespace("chaos")
    documents = tiny_chain(list(cluster.boards.values()))
    make_volumes(cluster, namespace, claims_of(documents), tmp_path / "volumes")
    yield namespace, documents
    for document in documents:
        cluster.call("DELETE", address(document["kind"], namespace, document["metadata"]["name"]))
    wait_until(
        lambda: not any(name.startswith("pods/") for name in children(cluster, namespace)),
        "all pods are gone",
        120,
    )


def get(cluster, namespace, kind, name):
    return cluster.find(address(kind, namespace, name)) or {}


def done(cluster, namespace, kind, name):
    """Steps that the resource's progress says are done; 0 where it says nothing yet."""
    progress = get(cluster, namespace, kind, name).get("status", {}).get("progress", "")
    return int(progress.partition("/")[0] or 0)


def check_records(cluster, namespace, ended):
    """No record is lost and none is doubled."""
    for name in JOBS:
        job = get(cluster, namespace, "ProfilingJob", name)
        logs = records(cluster, namespace, "ProfilingJob", name)
        measured = [record for _, record in logs if record.get("kind") == "measurement"]
        assert len({record["graph_hash"] for record in measured}) == len(measured)
        assert len(measured) == job["status"]["measured"] == 6
        assert job["status"]["progress"] == "6/6"
    search = ended["CoDesignSearch"]
    logs = records(cluster, namespace, "CoDesignSearch", "search")
    trials = [record for log, record in logs if log == "trials.jsonl"]
    assert sorted(trial["number"] for trial in trials) == [0, 1, 2, 3]
    assert search["status"]["succeeded"] == sum(t["state"] == "succeeded" for t in trials) == 4
    assert search["status"]["progress"] == "4/4"
    run = ended["GPTranRun"]
    logs = records(cluster, namespace, "GPTranRun", "search-refined")
    tree = [record for log, record in logs if log == "gptran/tree.jsonl"]
    kinds = Counter(record["type"] for record in tree)
    nodes = [record["id"] for record in tree if record["type"] == "node"]
    rounds = [record["round"] for record in tree if record["type"] == "choice"]
    assert kinds["plan"] == 1
    assert len(set(nodes)) == len(nodes) == run["status"]["nodes"]
    assert rounds == list(range(1, len(rounds) + 1))
    assert kinds["round"] == len(rounds) >= 2


def check_ends(cluster, namespace, ended):
    """No condition is stuck, and no child there twice."""
    every = [*ended.values(), *(get(cluster, namespace, "ProfilingJob", name) for name in JOBS)]
    for resource in every:
        assert parse_resource(resource)
        assert kstatus(resource) == "Current"
        found = conditions(resource)
        assert found["Succeeded"]["status"] == "True"
        for type_, condition in found.items():
            held = condition["status"] == "True"
            assert not (held and type_ in ("Reconciling", "Stalled", "Suspended")), condition
            assert condition["observedGeneration"] == resource["metadata"]["generation"]
    names = children(cluster, namespace)
    jobs = {name.partition("/")[2] for name in names if name.startswith("jobs/")}
    measured = {
        f"{verification_name(resource['metadata']['name'])}-pj-worker"
        for resource in (ended["CoDesignSearch"], ended["GPTranRun"])
        if conditions(resource)["WinnerVerified"]["reason"]
        in ("WinnerMeasured", "WorseThanBaseline")
    }
    assert jobs == measured | {
        "raspberry-pi-5-pj-worker",
        "search-jetson-pj-worker",
        "search-cds-worker",
        "search-refined-gpt-worker",
    }
    running = [
        name
        for name, child in names.items()
        if name.startswith("pods/") and child["status"]["phase"] in ("Pending", "Running")
    ]
    assert running == []


def test_an_operator_killed_at_random_moments_changes_nothing(cluster, chain, cache, tmp_path):
    namespace, documents = chain
    rng = random.Random(KILLS)  # noqa: S311
    kinds = {document["kind"]: document["metadata"]["name"] for document in documents}
    with operator(cluster.kubeconfig, tmp_path / "operator", worker_settings(cache)) as process:
        apply(cluster, namespace, documents)
        for _ in range(KILLS):
            time.sleep(rng.uniform(0.05, 2 * CHAIN_SECONDS / KILLS))
            assert process.alive
            process.kill()
            time.sleep(rng.choice([0, 0, rng.uniform(0, 3)]))
            process.restart()
        ended = wait_for_the_end(cluster, namespace, documents, PATIENCE_SECONDS)
        check_ends(cluster, namespace, ended)
        check_records(cluster, namespace, ended)
        profiles = cluster.call("GET", address("ProfilingJob", namespace))["items"]
        every = [ended["CoDesignSearch"], ended["GPTranRun"], *profiles]
        failures = sum(each["status"]["failures"] for each in every)
        kinds_of_children = Counter(name.partition("/")[0] for name in children(cluster, namespace))
        # No worker was started twice.
        assert kinds_of_children["pods"] == kinds_of_children["jobs"] + failures
        before = {kind: get(cluster, namespace, kind, name) for kind, name in kinds.items()}
        process.kill()
        process.restart()
        time.sleep(15)
        after = {kind: get(cluster, namespace, kind, name) for kind, name in kinds.items()}
        assert after == before  # nor does a start at the end write anything
        assert process.crashes() == []


def kill_processes_of(pod):
    """Kill every process of a pod, as a node that is out of memory does."""
    mark = f"pod{pod['metadata']['uid']}"
    killed = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in (folder / "cgroup").read_text() and (folder / "exe").readlink().name != (
                "pause"
            ):
                os.kill(int(folder.name), signal.SIGKILL)
                killed += 1
    return killed


def pods_of(cluster, namespace, name):
    selector = {"labelSelector": f"edgetran.io/name={name}"}
    return cluster.call("GET", f"/api/v1/namespaces/{namespace}/pods", **selector)["items"]


def test_outages_of_everything_else_change_nothing_either(cluster, chain, cache, tmp_path):
    namespace, documents = chain
    settings = worker_settings(cache)
    with (
        operator(cluster.kubeconfig, tmp_path / "first", settings) as first,
        operator(cluster.kubeconfig, tmp_path / "second", settings) as second,
    ):
        apply(cluster, namespace, documents)
        _lose_a_board(cluster, namespace)
        _lose_results(cluster, namespace)
        cluster.tool("restart", "apiserver")
        _lose_a_worker(cluster, namespace)
        cluster.tool("restart", "etcd")
        wait_until(
            lambda: _running(cluster, namespace, "search-refined"),
            "the refinement runs",
            PATIENCE_SECONDS,
        )
        cluster.tool("stop", "apiserver")
        time.sleep(8)
        cluster.tool("start", "apiserver")
        ended = wait_for_the_end(cluster, namespace, documents, PATIENCE_SECONDS)
        check_ends(cluster, namespace, ended)
        check_records(cluster, namespace, ended)
        assert ended["CoDesignSearch"]["status"]["failures"] >= 1
        _at_rest(cluster, namespace, ended, [first, second])


def _running(cluster, namespace, name):
    with suppress(ApiException):
        return any(pod["status"]["phase"] == "Running" for pod in pods_of(cluster, namespace, name))
    return False


def _lose_a_board(cluster, namespace):
    """A board's kubelet stops in the middle of a measurement, until the operator tells it."""
    name = "raspberry-pi-5"
    wait_until(lambda: done(cluster, namespace, "ProfilingJob", name) >= 1, "measuring", 300)
    node = get(cluster, namespace, "ProfilingJob", name)["status"]["node"]
    cluster.tool("stop", f"kubelet-{node}")

    def told():
        found = conditions(get(cluster, namespace, "ProfilingJob", name))
        return found["DevicesAvailable"]["reason"] == "DeviceLost" or (
            found["Succeeded"]["status"] == "True"
        )

    wait_until(told, "the board is lost", 90)
    cluster.tool("start", f"kubelet-{node}")


def _lose_results(cluster, namespace):
    """Someone deletes the results of work that goes on."""
    name = "search-cds-results-0"
    path = f"/api/v1/namespaces/{namespace}/configmaps/{name}"
    running = ("CoDesignSearch", "search")
    wait_until(lambda: done(cluster, namespace, *running) >= 1, "the search trains", 600)
    before = cluster.call("GET", path)["metadata"]["uid"]
    cluster.call("DELETE", path)

    def back():
        found = cluster.find(path)
        return found is not None and found["metadata"]["uid"] != before and found.get("binaryData")

    wait_until(back, "the results are there again", 120)


def _lose_a_worker(cluster, namespace):
    """The search's worker is killed in the middle of its training."""
    (pod,) = [
        pod
        for pod in pods_of(cluster, namespace, "search")
        if pod["metadata"]["labels"].get("app.kubernetes.io/component") == "search"
        and pod["status"]["phase"] == "Running"
    ]
    before = get(cluster, namespace, "CoDesignSearch", "search")["status"]["failures"]
    assert kill_processes_of(pod) > 0
    wait_until(
        lambda: get(cluster, namespace, "CoDesignSearch", "search")["status"]["failures"] > before,
        "the failure is counted",
        60,
    )


def _at_rest(cluster, namespace, ended, operators: list[OperatorProcess]):
    """Two operators that see the same end write nothing more."""
    time.sleep(10)
    for kind, resource in ended.items():
        now = get(cluster, namespace, kind, resource["metadata"]["name"])
        assert now["metadata"]["resourceVersion"] == resource["metadata"]["resourceVersion"]
    for process in operators:
        assert process.alive
        assert process.crashes() == []
