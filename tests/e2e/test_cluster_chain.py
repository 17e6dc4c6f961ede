"""The whole chain from one `kubectl apply -f`, in real pods on labelled nodes, under the chart.

Where the cluster is the tests' own, Helm installs the operator and the rest of the chart's story
follows: upgrade, failures, an outage, a real Prometheus, rights, removal.
"""

import json
import os
import subprocess
import sys
import threading
import time
from datetime import datetime

import pytest
from chart_on_cluster import OPERATOR, RELEASE, forbidden, used
from chart_story import EMPTY, SURPLUS, chain, installed, rest
from cluster_chain import (
    address,
    children,
    claims_of,
    conditions,
    kstatus,
    make_volumes,
    records,
    shared_cache,
    small_chain,
)
from cluster_fixtures import BOARD, wait_until

from edgetran.api import parse_resource, verification_name

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(4800)]


@pytest.fixture(scope="module")
def there(cluster, tmp_path_factory):
    """The operator by the chart, or as a process where the cluster is not the tests' own."""
    cache = shared_cache(tmp_path_factory.mktemp("cache"))
    with installed(cluster, cache, tmp_path_factory.mktemp("operator")) as there:
        yield there


@pytest.fixture(scope="module")
def namespace(there):
    return there.story.namespace


@pytest.fixture(scope="module")
def seen():
    """What was seen while the chain ran: kstatus of each kind, and pods by name."""
    return {"kstatus": set(), "pods": {}}


@pytest.fixture(scope="module")
def ended(cluster, there, namespace, seen, tmp_path_factory):
    """The three resources at their end."""
    documents = small_chain(list(cluster.boards.values()))
    make_volumes(cluster, namespace, claims_of(documents), tmp_path_factory.mktemp("volumes"))
    over = threading.Event()
    watching = threading.Thread(target=watch, args=(cluster, namespace, documents, seen, over))
    watching.start()
    try:
        chain(cluster, there, documents)
    finally:
        over.set()
        watching.join(60)
    return there.story.ended


@pytest.fixture(scope="module")
def story(cluster, there, ended):
    """All that happened, to the chart's removal."""
    if there.helm is None:
        pytest.skip("this reads the API server's audit log: it needs a cluster of its own")
    rest(cluster, there)
    return there.story


def watch(cluster, namespace, documents, seen, over):
    """Look twice a second at the resources and the pods until it is `over`."""
    while not over.wait(0.5):
        for document in documents:
            kind, name = document["kind"], document["metadata"]["name"]
            resource = cluster.find(address(kind, namespace, name))
            if resource is not None:
                state = conditions(resource).get("Succeeded", {}).get("status")
                seen["kstatus"].add((kind, kstatus(resource), state))
        pods = cluster.call("GET", f"/api/v1/namespaces/{namespace}/pods")["items"]
        seen["pods"] |= {pod["metadata"]["name"]: pod for pod in pods}


def test_every_resource_succeeds_and_its_status_is_what_the_models_know(ended):
    for resource in ended.values():
        parsed = parse_resource(resource)
        assert parsed.status is not None
        assert parsed.status.completion_time is not None
        assert parsed.status.failures <= 1  # a busy machine may be too slow for a start of Ray
        assert len(json.dumps(resource["status"])) < 10_000


def test_kstatus_reads_the_way_and_the_end(ended, seen):
    for kind, resource in ended.items():
        assert kstatus(resource) == "Current"
        found = conditions(resource)
        assert found["Succeeded"]["status"] == "True"
        assert found.get("Reconciling", {}).get("status", "False") == "False"
        assert found.get("Stalled", {}).get("status", "False") == "False"
        # Never does a tool that waits for Current go on too early.
        assert (kind, "Current", "Unknown") not in seen["kstatus"]
        assert (kind, "Failed", "Unknown") not in seen["kstatus"]
        for condition in found.values():
            assert condition["observedGeneration"] == resource["metadata"]["generation"]
            assert condition["message"]


def test_boards_measured_real_latencies(cluster, namespace, ended, seen):
    profile = ended["ProfilingJob"]
    assert profile["status"]["node"] in cluster.boards
    assert profile["status"]["measured"] >= 4
    latency = profile["status"]["costs"]["latencyMs"]
    assert 0 < latency["min"] <= latency["median"] <= latency["max"]
    for name in ("raspberry-pi-5", "search-jetson"):
        job = cluster.call("GET", address("ProfilingJob", namespace, name))
        logged = records(cluster, namespace, "ProfilingJob", name)
        measured = [record for _, record in logged if record.get("kind") == "measurement"]
        assert len(measured) == job["status"]["measured"]
        pods = [pod for pod in seen["pods"] if pod.startswith(f"{name}-pj-worker-")]
        assert {seen["pods"][pod]["spec"]["nodeName"] for pod in pods} == {job["status"]["node"]}


def test_the_search_trained_and_the_refinement_refined(cluster, namespace, ended):
    search, run = ended["CoDesignSearch"], ended["GPTranRun"]
    assert search["status"]["succeeded"] == 4
    assert search["status"]["progress"] == "4/4"
    assert 0 < search["status"]["best"]["accuracy"] <= 1
    assert search["status"]["best"]["device"] in {d["name"] for d in search["spec"]["devices"]}
    # Six measurements on a busy machine may predict too little: then the search has to say so.
    profiles = [
        conditions(cluster.call("GET", address("ProfilingJob", namespace, name)))
        for name in ("raspberry-pi-5", "search-jetson")
    ]
    bad = [each for each in profiles if each["ProfilingComplete"]["reason"] == "ProfileUnusable"]
    complete = conditions(search)["ProfilingComplete"]
    expected = ("False", "ProfileUnusable") if bad else ("True", "Succeeded")
    assert (complete["status"], complete["reason"]) == expected
    assert conditions(search)["SearchComplete"]["status"] == "True"
    assert run["status"]["trained"] >= 1
    assert run["status"]["root"]["architecture"] == search["status"]["best"]["architecture"]
    assert run["status"]["best"]["parameters"] > 0
    for kind, name in (("CoDesignSearch", "search"), ("GPTranRun", "search-refined")):
        assert records(cluster, namespace, kind, name)


def test_winners_on_a_board_were_measured_there_as_the_files_that_were_scored(
    cluster, namespace, ended, seen
):
    for kind in ("CoDesignSearch", "GPTranRun"):
        resource = ended[kind]
        best = resource["status"]["best"]
        verified = conditions(resource)["WinnerVerified"]
        job = verification(cluster, namespace, resource)
        if on_board(ended, best["device"]) is None:
            assert (verified["status"], verified["reason"]) == ("False", "NotMeasurable")
            assert job is None
            continue
        lost = ("WorseThanBaseline", "NextBestMeasured")
        assert verified["reason"] in ("WinnerMeasured", *lost), verified
        worse = verified["reason"] in lost
        assert ("worse than the baseline" in conditions(resource)["Succeeded"]["message"]) == worse
        assert best["latencyMs"]["source"] == "measured"
        (owner,) = job["metadata"]["ownerReferences"]
        assert owner["uid"] == resource["metadata"]["uid"]
        name = job["metadata"]["name"]
        (logged,) = [
            record
            for log, record in records(cluster, namespace, "ProfilingJob", name)
            if log.startswith("profiles/final/")
            and record.get("kind") == "measurement"
            and record["conditions"]["artifact"]["sha256"] == best["artifact"]
        ]
        assert logged["latency_ms"]["median"] == pytest.approx(best["latencyMs"]["value"], rel=1e-3)
        pods = [pod for pod in seen["pods"] if pod.startswith(f"{name}-pj-worker-")]
        nodes = {seen["pods"][pod]["spec"]["nodeName"] for pod in pods}
        assert nodes == {job["status"]["node"]}
        board = on_board(ended, best["device"])
        assert cluster.boards[job["status"]["node"]] == board


def on_board(ended, device):
    """The label of the board that a device of the search is; None where it is simulated."""
    (found,) = [d for d in ended["CoDesignSearch"]["spec"]["devices"] if d["name"] == device]
    return found.get("nodeSelector", {}).get(BOARD)


def verification(cluster, namespace, resource):
    """The ProfilingJob that measures the finalists of a resource; None where there is none."""
    name = verification_name(resource["metadata"]["name"])
    return cluster.find(address("ProfilingJob", namespace, name))


def test_children_belong_to_their_resource(cluster, namespace, ended):
    owners = {each["metadata"]["uid"]: each["metadata"]["name"] for each in ended.values()}
    implied = cluster.call("GET", address("ProfilingJob", namespace, "search-jetson"))
    owners[implied["metadata"]["uid"]] = "search-jetson"
    (owner,) = implied["metadata"]["ownerReferences"]
    assert (owner["name"], owner["controller"]) == ("search", True)
    for kind in ("CoDesignSearch", "GPTranRun"):
        job = verification(cluster, namespace, ended[kind])
        if job is not None:
            owners[job["metadata"]["uid"]] = job["metadata"]["name"]
    found = children(cluster, namespace)
    jobs = len(owners)  # one worker each
    assert len([name for name in found if name.startswith("jobs/")]) == jobs
    for name, child in found.items():
        if name.startswith("persistentvolumeclaims/"):
            assert "ownerReferences" not in child["metadata"], "a new claim is kept"
            continue
        (owner,) = child["metadata"]["ownerReferences"]
        assert owner["controller"] is True, name
        if not name.startswith("pods/"):
            resource = owners[owner["uid"]]
            assert name.partition("/")[2].startswith(f"{resource}-"), name
            assert child["metadata"]["labels"]["edgetran.io/name"] == resource


def test_no_board_was_measured_by_two_pods_at_once(seen, ended):
    spans = []
    for pod in seen["pods"].values():
        if pod["metadata"]["labels"].get("edgetran.io/measuring") != "true":
            continue
        state = pod["status"].get("containerStatuses", [{}])[0].get("state", {})
        run = state.get("terminated") or state.get("running") or {}
        if run:
            begin = datetime.fromisoformat(run["startedAt"])
            spans.append((pod["spec"]["nodeName"], begin, run.get("finishedAt")))
    assert spans
    for node, begin, _ in spans:
        beside = [
            other
            for other in spans
            if other[0] == node
            and other[1] < begin
            and other[2]
            and datetime.fromisoformat(other[2]) > begin
        ]
        assert beside == []


def test_kubectl_shows_the_result(cluster, namespace, ended):
    rows = [
        line.split()
        for line in cluster.kubectl(
            "get", "pj,cds,gpt", "-o", "wide", "-n", namespace
        ).stdout.splitlines()
        if line
    ]
    shown = {row[0]: row for row in rows if "/" in row[0]}
    assert shown["codesignsearch.edgetran.io/search"][1:3] == ["True", "4/4"]
    assert shown["profilingjob.edgetran.io/search-jetson"][1] == "True"
    best = ended["CoDesignSearch"]["status"]["best"]
    assert best["device"] in shown["codesignsearch.edgetran.io/search"]
    for row in shown.values():
        assert all(len(word) <= 40 for word in row[1:]), row


def test_the_plugin_shows_the_result(cluster, namespace, ended):
    for word, expected in (("status", "search"), ("show", "accuracy"), ("logs", "")):
        command = [sys.executable, "-m", "edgetran.kubectl", word, "cds/search", "-n", namespace]
        done = subprocess.run(
            [*command, "--kubeconfig", str(cluster.kubeconfig)],
            capture_output=True,
            text=True,
            env={**os.environ, "NO_COLOR": "1", "COLUMNS": "120"},
        )
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout.lower()


def test_the_operator_saw_no_error_and_rests_at_the_end(cluster, there, ended):
    assert there.crashes(cluster) == []
    if cluster.audit is None:
        return
    time.sleep(5)
    before = len(cluster.audited())
    time.sleep(20)
    mine = [
        event["requestURI"]
        for event in cluster.audited()[before:]
        if event["user"].get("username") == OPERATOR
        and event["verb"] not in ("watch", "list", "get")
    ]
    assert mine == []


def test_all_but_the_kept_volumes_goes_away_with_the_resources(cluster, namespace, ended):
    kept = {
        name
        for name, child in children(cluster, namespace).items()
        if name.startswith("persistentvolumeclaims/")
        and not child["metadata"].get("ownerReferences")
    }
    assert kept == {
        "persistentvolumeclaims/search-cds-storage",
        "persistentvolumeclaims/search-refined-gpt-storage",
    }
    for kind, resource in ended.items():
        cluster.call("DELETE", address(kind, namespace, resource["metadata"]["name"]))
    wait_until(
        lambda: set(children(cluster, namespace)) == kept,
        lambda: f"all but {sorted(kept)} is gone: {sorted(children(cluster, namespace))}",
        90,
    )
    assert cluster.find(address("ProfilingJob", namespace, "search-jetson")) is None


def test_the_operators_pod_is_the_charts(story):
    spec = story.first_operator["spec"]
    assert spec["serviceAccountName"] == RELEASE
    assert spec["securityContext"]["runAsNonRoot"]
    (container,) = spec["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    (status,) = story.first_operator["status"]["containerStatuses"]
    assert status["restartCount"] == 0


def test_helm_test_reads_the_version(story):
    assert "edgetran_build_info" in story.tested


def test_the_upgrade_changes_the_definitions_and_restarts_no_worker(story):
    assert story.aliases == [["pj", "prof"], ["pj"]]
    assert set(story.workers_before) <= set(story.workers_after)
    failures = story.ended["CoDesignSearch"]["status"]["failures"]  # Ray may start too slowly
    assert (len(story.workers_before), len(story.workers_after)) == (1, 1 + failures)


def test_no_call_of_the_operator_is_forbidden(story):
    assert forbidden(story.requests, OPERATOR) == []


def test_every_right_is_used_or_has_a_reason(story):
    done = used(story.requests, OPERATOR)
    assert len(done) > 20
    surplus = story.granted - done
    assert surplus - SURPLUS.keys() == set()


def test_every_panel_has_data_or_a_reason_to_be_empty(story):
    assert set(story.silent) - EMPTY.keys() == set()


def test_every_metric_of_every_alert_is_there(story):
    assert story.missing == set()


def test_alerts_fire_in_an_outage_and_clear_after_it(story):
    expected = {"EdgeTranDeviceLost", "EdgeTranOperatorDown"}
    assert expected <= story.fired
    assert story.cleared == expected


def test_nothing_is_left_but_the_definitions(story):
    assert story.left == {
        f"customresourcedefinition.apiextensions.k8s.io/{plural}.edgetran.io"
        for plural in ("profilingjobs", "codesignsearches", "gptranruns")
    }
