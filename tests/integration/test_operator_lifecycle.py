"""The operator as a process against a real API server, around which everything else is played."""

import json
import time
import urllib.request

import pytest
from cluster_fixtures import wait_until
from operator_process import operator
from played_cluster import Played
from prometheus_client.parser import text_string_to_metric_families

pytestmark = pytest.mark.integration

USER = "edgetran-operator-under-test"
PORTS = {"metricsPort": 19190, "probePort": 19180}


@pytest.fixture(scope="module")
def namespace(api_server):
    return api_server.namespace("life")


@pytest.fixture
def played(api_server):
    """A namespace of its own with boards of its own."""
    played = Played(api_server, api_server.namespace("life"))
    yield played
    played.remove_nodes()


@pytest.fixture(scope="module")
def kubeconfig(api_server):
    return api_server.as_user(USER, ["system:masters"])


@pytest.fixture(scope="module")
def running(kubeconfig, tmp_path_factory):
    with operator(kubeconfig, tmp_path_factory.mktemp("operator"), PORTS) as process:
        yield process
        assert process.alive
        assert process.crashes() == []


def calls_of_the_operator(api_server, since=0):
    """Requests of the operator other than watches."""
    return [
        event
        for event in api_server.audited()[since:]
        if event["user"].get("username") == USER and event["verb"] != "watch"
    ]


def test_a_job_runs_to_its_end(played, running):
    board = played.node()
    played.profile("p")
    pod = played.start("p-pj-worker")
    played.wait_for("ProfilingJob", "p", "Reconciling", "True", "Running")
    played.report("p-pj-results", status={"measured": 4})
    wait_until(lambda: played.status("ProfilingJob", "p").get("progress") == "4/8", "progress")
    played.report("p-pj-results", part=1)
    played.report("p-pj-results", finished=True, status={"measured": 8}, progress="8/8")
    played.end("p-pj-worker", pod, 0)
    played.wait_for("ProfilingJob", "p", "Succeeded", "True")
    status = played.status("ProfilingJob", "p")
    assert status["node"] == board
    assert status["measured"] == 8
    assert status["results"] == ["p-pj-results-0", "p-pj-results-1"]
    assert played.says("ProfilingJob", "p", "ProfilingComplete") == ("True", "TargetErrorReached")


def test_children_are_applied_by_the_field_manager_and_belong_to_the_resource(played, running):
    played.node()
    created = played.profile("p")
    job = played.job("p-pj-worker")
    (owner,) = job["metadata"]["ownerReferences"]
    assert owner["uid"] == created["metadata"]["uid"]
    assert owner["controller"]
    managers = {(each["manager"], each["operation"]) for each in job["metadata"]["managedFields"]}
    assert ("edgetran", "Apply") in managers
    labels = job["metadata"]["labels"]
    assert labels["app.kubernetes.io/managed-by"] == "edgetran"
    assert labels["edgetran.io/kind"] == "ProfilingJob"
    resource = played.server.call("GET", played.path("ProfilingJob", "p"))
    assert "annotations" not in resource["metadata"]
    assert "finalizers" not in resource["metadata"]


def test_a_resource_at_rest_makes_no_call(api_server, played, running):
    board = played.node()
    played.profile("done")
    played.finish("done")
    played.wait_for("ProfilingJob", "done", "Succeeded", "True")
    played.profile("runs")
    played.start("runs-pj-worker")
    played.wait_for("ProfilingJob", "runs", "Reconciling", "True", "Running")
    played.profile("waits")
    played.wait_for("ProfilingJob", "waits", "Reconciling", "True", "DeviceBusy")
    assert played.status("ProfilingJob", "runs")["node"] == board
    time.sleep(2)
    before = len(api_server.audited())
    time.sleep(8)
    calls = calls_of_the_operator(api_server, before)
    assert [event["requestURI"] for event in calls] == []


def test_events_tell_of_transitions_once(played, running):
    played.profile("p")
    played.wait_for("ProfilingJob", "p", "Stalled", "True", "NoMatchingNode")
    played.node()
    played.start("p-pj-worker", phase="Pending")
    played.wait_for("ProfilingJob", "p", "Reconciling", "True", "ProfilingPodScheduled")
    played.change("ProfilingJob", "p", suspend=True)
    played.wait_for("ProfilingJob", "p", "Suspended", "True")
    path = f"/api/v1/namespaces/{played.namespace}/events"

    def told():
        found = played.server.call("GET", path)["items"]
        return [event for event in found if event["involvedObject"]["name"] == "p"]

    # An event follows the status that it tells of.
    wait_until(lambda: "Suspended" in {event["reason"] for event in told()}, "it is told", 30)
    events = told()
    reasons = sorted(event["reason"] for event in events)
    assert reasons == ["NoMatchingNode", "ProfilingPodScheduled", "Suspended"]
    assert {event["source"]["component"] for event in events} == {"edgetran-operator"}
    assert {event["type"] for event in events if event["reason"] == "NoMatchingNode"} == {"Warning"}


def test_what_the_api_server_refuses_is_told_and_not_asked_for_again(api_server, played, running):
    played.node()
    template = {"spec": {"containers": [{"name": "worker", "resources": {"limits": {"cpu": "x"}}}]}}
    played.profile("p", podTemplate=template)
    played.wait_for("ProfilingJob", "p", "Stalled", "True", "SpecInvalid")
    status = played.status("ProfilingJob", "p")
    message = next(each["message"] for each in status["conditions"] if each["type"] == "Stalled")
    assert "Job/p-pj-worker is refused" in message
    time.sleep(1.5)
    before = len(api_server.audited())
    time.sleep(4)
    mine = [
        event["requestURI"]
        for event in calls_of_the_operator(api_server, before)
        if played.namespace in event["requestURI"]
    ]
    assert mine == []


def test_a_pod_template_that_is_not_allowed_is_refused_with_its_place(played, running):
    template = {"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}}
    played.node()
    played.profile("p", podTemplate=template)
    played.wait_for("ProfilingJob", "p", "Stalled", "True", "SpecInvalid")
    status = played.status("ProfilingJob", "p")
    message = next(each["message"] for each in status["conditions"] if each["type"] == "Stalled")
    assert message.startswith("spec.podTemplate.spec.volumes[v].hostPath: Forbidden: ")
    assert played.jobs() == []


def with_data(data):
    return {
        "task": {"files": {"train": "tickets.csv"}},
        "data": data,
        "designSpace": {"preset": "tiny"},
        "devices": [{"name": "pi", "simulation": "raspberry-pi-4-cpu"}],
        "storage": {"newClaim": {"size": "1Gi", "retain": False}},
    }


def test_data_apart_reaches_the_worker_and_its_absence_is_the_headline(played, running):
    played.apply("CoDesignSearch", "s", with_data({"configMap": {"name": "tickets"}}))
    pod = played.job("s-cds-worker")["spec"]["template"]["spec"]
    (volume,) = [each for each in pod["volumes"] if each["name"] == "task-data"]
    assert volume["configMap"]["name"] == "tickets"
    (worker,) = pod["containers"]
    (mount,) = [each for each in worker["volumeMounts"] if each["name"] == "task-data"]
    assert (mount["mountPath"], mount["readOnly"]) == ("/var/lib/edgetran/data", True)
    name = played.start("s-cds-worker", "Pending")
    about = {"kind": "Pod", "namespace": played.namespace, "name": name}
    said = 'MountVolume.SetUp failed for volume "task-data" : configmap "tickets" not found'
    event = {
        "metadata": {"generateName": "mount-"},
        "involvedObject": about,
        "reason": "FailedMount",
        "message": said,
        "type": "Warning",
    }
    played.server.call("POST", f"/api/v1/namespaces/{played.namespace}/events", event)
    played.wait_for("CoDesignSearch", "s", "Succeeded", "Unknown", "FailedMount")
    conditions = played.status("CoDesignSearch", "s")["conditions"]
    assert any('configmap "tickets" not found' in each["message"] for each in conditions)


def test_data_that_is_two_things_starts_nothing(played, running):
    both = {"configMap": {"name": "tickets"}, "claim": {"name": "c"}}
    played.apply("CoDesignSearch", "s", with_data(both))
    played.wait_for("CoDesignSearch", "s", "Stalled", "True", "SpecInvalid")
    assert played.jobs() == []


def test_metrics_probes_and_logs(played, running):
    played.node()
    played.profile("p")
    played.start("p-pj-worker")
    played.report(
        "p-pj-results",
        status={"measured": 4, "errors": [{"measure": "latencyMs", "error": 0.25}]},
    )
    wait_until(lambda: played.status("ProfilingJob", "p").get("measured") == 4, "measured")
    for path in ("healthz", "readyz"):
        with urllib.request.urlopen(f"http://127.0.0.1:{PORTS['probePort']}/{path}") as answer:
            assert answer.status == 200
    with urllib.request.urlopen(f"http://127.0.0.1:{PORTS['metricsPort']}/metrics") as answer:
        families = {
            each.name: each for each in text_string_to_metric_families(answer.read().decode())
        }
    assert families["edgetran_build_info"].samples[0].value == 1
    run = {"namespace": played.namespace, "name": "p"}
    errors = families["edgetran_profiling_surrogate_error_ratio"].samples
    (error,) = [sample for sample in errors if run.items() <= sample.labels.items()]
    assert error.value == 0.25
    running_jobs = [
        sample.value
        for sample in families["edgetran_resources"].samples
        if sample.labels["condition"] == "Reconciling" and sample.labels["reason"] == "Running"
    ]
    assert sum(running_jobs) >= 1
    assert sum(each.value for each in families["edgetran_reconcile"].samples) > 0
    assert "uid" not in {
        label for each in families.values() for s in each.samples for label in s.labels
    }
    lines = [line for line in running.lines() if line.get("namespace") == played.namespace]
    assert all({"time", "level", "message", "kind", "resource"} <= line.keys() for line in lines)


def test_it_goes_on_after_the_api_server_was_down(api_server, played, running):
    played.node()
    played.profile("p")
    pod = played.start("p-pj-worker")
    played.wait_for("ProfilingJob", "p", "Reconciling", "True", "Running")
    api_server.tool("restart", "apiserver")
    # What went away while nobody watched is noticed, though no watch tells of it.
    path = f"/api/v1/namespaces/{played.namespace}/configmaps/p-pj-results-0"
    api_server.call("DELETE", path)
    wait_until(lambda: api_server.find(path) is not None, "the results are made again", 60)
    played.report("p-pj-results", finished=True)
    played.end("p-pj-worker", pod, 0)
    played.wait_for("ProfilingJob", "p", "Succeeded", "True")


def test_a_ray_job_is_made_watched_and_read(api_server, played, running):
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "rayjobs.ray.io"},
        "spec": {
            "group": "ray.io",
            "names": {"kind": "RayJob", "plural": "rayjobs", "singular": "rayjob"},
            "scope": "Namespaced",
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "x-kubernetes-preserve-unknown-fields": True,
                        }
                    },
                }
            ],
        },
    }
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    api_server.call("POST", path, definition)
    wait_until(lambda: api_server.find("/apis/ray.io/v1/rayjobs") is not None, "RayJobs are served")
    spec = {
        "task": {"name": "movie-reviews"},
        "designSpace": {"preset": "tiny"},
        "devices": [{"name": "sim", "simulation": "raspberry-pi-4-cpu"}],
        "ray": {"mode": "kuberay", "workers": 2},
        "storage": {"newClaim": {"size": "1Gi"}},
    }
    played.apply("CoDesignSearch", "s", spec)
    job = f"/apis/ray.io/v1/namespaces/{played.namespace}/rayjobs/s-cds-worker"
    wait_until(lambda: api_server.find(job) is not None, "the RayJob is there", 90)
    assert api_server.call("GET", job)["spec"]["entrypoint"] == "edgetran-worker search"
    played.report("s-cds-results", finished=True, reason="MaxTrialsReached")
    running_now = {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"}
    api_server.call("PATCH", f"{job}/status", {"status": running_now})
    time.sleep(1)
    assert played.says("CoDesignSearch", "s", "Succeeded")[0] == "Unknown"
    done = {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}
    api_server.call("PATCH", f"{job}/status", {"status": done})
    played.wait_for("CoDesignSearch", "s", "Succeeded", "True")
    assert played.says("CoDesignSearch", "s", "SearchComplete") == ("True", "MaxTrialsReached")


def searched(played, artifacts):
    """A search on this namespace's board whose worker has ended with winner and baseline."""
    played.node()
    spec = {
        "task": {"name": "movie-reviews"},
        "designSpace": {"preset": "tiny"},
        "devices": [{"name": "pi", "nodeSelector": {"edgetran.io/device": played.device}}],
        "storage": {"newClaim": {"size": "1Gi"}},
    }
    played.apply("CoDesignSearch", "s", spec)
    played.finish("s-pi")
    told = [
        {
            "id": number,
            "architecture": "ab",
            "device": "pi",
            "accuracy": 0.9,
            "objective": objective,
            "artifact": artifact,
            "latencyMs": {"value": 4.0, "source": "predicted"},
        }
        for number, (artifact, objective) in enumerate(zip(artifacts, (0.7, 0.5), strict=True))
    ]
    found = {"best": told[0], "baseline": told[1]}
    played.finish("s", "cds", reason="MaxTrialsReached", status=found)


def measured(artifacts, objectives):
    """What the measuring worker says of winner and baseline."""
    return {
        "finalists": [
            {
                "finalist": name,
                "artifact": artifact,
                "objective": objective,
                "latencyMs": {"value": 5.0, "source": "measured"},
            }
            for name, artifact, objective in zip(
                ("winner", "baseline"), artifacts, objectives, strict=True
            )
        ]
    }


@pytest.mark.parametrize(
    ("objectives", "verified", "reason"),
    [((0.6, 0.5), "True", "WinnerMeasured"), ((0.4, 0.5), "False", "WorseThanBaseline")],
)
def test_a_searchs_winner_is_measured_on_its_board_before_the_search_has_succeeded(
    played, running, objectives, verified, reason
):
    artifacts = ("a" * 64, "b" * 64)
    searched(played, artifacts)
    job = played.job("s--verify-pj-worker")
    assert job["spec"]["template"]["metadata"]["labels"]["edgetran.io/measuring"] == "true"
    played.wait_for("CoDesignSearch", "s", "WinnerVerified", "Unknown")
    assert played.says("CoDesignSearch", "s", "Succeeded")[0] == "Unknown"
    pod = played.start("s--verify-pj-worker")
    status = measured(artifacts, objectives)
    played.report("s--verify-pj-results", finished=True, reason="Succeeded", status=status)
    played.end("s--verify-pj-worker", pod, 0)
    played.wait_for("CoDesignSearch", "s", "WinnerVerified", verified, reason)
    played.wait_for("CoDesignSearch", "s", "Succeeded", "True")
    found = played.status("CoDesignSearch", "s")
    for name in ("best", "baseline"):
        assert found[name]["latencyMs"] == {"value": 5.0, "source": "measured"}
    headline = next(each for each in found["conditions"] if each["type"] == "Succeeded")
    assert ("worse than the baseline" in headline["message"]) == (verified == "False")


def test_a_winner_whose_board_cannot_mount_the_storage_gets_its_artefacts_handed_over(
    played, running
):
    artifacts = ("a" * 64, "b" * 64)
    searched(played, artifacts)
    pod = played.start("s--verify-pj-worker", phase="Pending")
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/1 nodes are available: 1 node(s) had volume node affinity conflict.",
    }
    path = f"/api/v1/namespaces/{played.namespace}/pods/{pod}/status"
    status = {"phase": "Pending", "conditions": [condition]}
    played.server.call("PATCH", path, {"status": status})
    played.job("s--verify-pj-reader")
    played.remove_pods("s--verify-pj-worker")
    reader = played.start("s--verify-pj-reader")
    path = f"/api/v1/namespaces/{played.namespace}/pods/{reader}/status"
    ready = [{"type": "Ready", "status": "True"}]
    status = {"phase": "Running", "podIP": "10.42.0.7", "conditions": ready}
    played.server.call("PATCH", path, {"status": status})
    volumes = played.job("s--verify-pj-worker")["spec"]["template"]["spec"]["volumes"]
    assert "search" not in {each["name"] for each in volumes}
    pod = played.start("s--verify-pj-worker")
    told = measured(artifacts, (0.6, 0.5))
    played.report("s--verify-pj-results", finished=True, reason="Succeeded", status=told)
    played.end("s--verify-pj-worker", pod, 0)
    played.wait_for("CoDesignSearch", "s", "WinnerVerified", "True", "WinnerMeasured")
    played.wait_for("CoDesignSearch", "s", "Succeeded", "True")
    job = f"/apis/batch/v1/namespaces/{played.namespace}/jobs/s--verify-pj-reader"
    wait_until(lambda: played.server.find(job) is None, "nothing hands over any more", 60)


def test_logs_are_json_lines(running):
    for line in running.log.read_text().splitlines():
        json.loads(line)
