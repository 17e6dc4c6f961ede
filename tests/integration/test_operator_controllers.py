"""The operator beside Kubernetes' own controllers: real Jobs, quotas and garbage collection."""

import pytest
from cluster_fixtures import wait_until
from operator_process import operator
from played_cluster import Played

pytestmark = pytest.mark.integration

KINDS_OF_CHILDREN = (
    "/apis/batch/v1/namespaces/{}/jobs",
    "/api/v1/namespaces/{}/pods",
    "/api/v1/namespaces/{}/configmaps",
    "/api/v1/namespaces/{}/serviceaccounts",
    "/api/v1/namespaces/{}/persistentvolumeclaims",
    "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    "/apis/edgetran.io/v1alpha1/namespaces/{}/profilingjobs",
)


def board(played):
    """A device that is a node of the test's own."""
    played.node()
    return {"name": "board", "nodeSelector": {"edgetran.io/device": played.device}}


@pytest.fixture
def played(control_plane, tmp_path):
    """A namespace that an operator of its own watches alone."""
    played = Played(control_plane, control_plane.namespace("ctl"))
    account = f"/api/v1/namespaces/{played.namespace}/serviceaccounts/default"
    wait_until(lambda: control_plane.find(account) is not None, "the namespace is ready")
    settings = {"namespaces": [played.namespace]}
    with operator(control_plane.kubeconfig, tmp_path, settings) as process:
        yield played
        assert process.alive
        assert process.crashes() == []
        assert process.stop() == 0


def names_of_children(played, name):
    """Everything whose name begins with that of the resource."""
    found = []
    for path in KINDS_OF_CHILDREN:
        items = played.server.call("GET", path.format(played.namespace))["items"]
        found += [item["metadata"]["name"] for item in items]
    return sorted(each for each in found if each.startswith(f"{name}-"))


def test_everything_that_a_search_made_goes_away_with_it(played):
    spec = {
        "task": {"name": "movie-reviews"},
        "designSpace": {"preset": "tiny"},
        "devices": [board(played)],
        "storage": {"newClaim": {"size": "1Gi", "retain": False}},
    }
    played.apply("CoDesignSearch", "s", spec)
    wait_until(lambda: played.pods(), "the pod of the ProfilingJob is made")
    children = names_of_children(played, "s")
    assert {"s-board", "s-cds-spec", "s-board-pj-worker", "s-board-pj-results-0"} <= set(children)
    played.server.call("DELETE", played.path("CoDesignSearch", "s"))
    wait_until(lambda: not names_of_children(played, "s"), "all children are gone")


def test_a_quota_on_pods_is_told_and_work_goes_on_when_it_is_lifted(played):
    quota = {"metadata": {"name": "tight"}, "spec": {"hard": {"pods": "0"}}}
    path = f"/api/v1/namespaces/{played.namespace}/resourcequotas"
    played.server.call("POST", path, quota)
    wait_until(
        lambda: played.server.call("GET", f"{path}/tight").get("status", {}).get("hard"), "a quota"
    )
    played.apply("ProfilingJob", "p", {"device": board(played), "designSpace": {"preset": "tiny"}})
    played.wait_for("ProfilingJob", "p", "Stalled", "True", "InsufficientQuota")
    conditions = played.status("ProfilingJob", "p")["conditions"]
    message = next(each["message"] for each in conditions if each["type"] == "Stalled")
    assert "exceeded quota: tight" in message
    played.server.call("DELETE", f"{path}/tight")
    wait_until(lambda: played.pods(), "the Job makes its pod", 90)
    played.wait_for("ProfilingJob", "p", "Reconciling", "True")
    assert played.says("ProfilingJob", "p", "Stalled") == ("", "")


def test_a_quota_on_jobs_is_told_too(played):
    quota = {"metadata": {"name": "tight"}, "spec": {"hard": {"count/jobs.batch": "0"}}}
    path = f"/api/v1/namespaces/{played.namespace}/resourcequotas"
    played.server.call("POST", path, quota)
    wait_until(
        lambda: played.server.call("GET", f"{path}/tight").get("status", {}).get("hard"), "a quota"
    )
    played.apply("ProfilingJob", "p", {"device": board(played), "designSpace": {"preset": "tiny"}})
    played.wait_for("ProfilingJob", "p", "Stalled", "True", "InsufficientQuota")


def test_suspending_takes_the_pods_away_and_deleting_at_any_stage_leaves_nothing(played):
    spec = {"device": board(played), "designSpace": {"preset": "tiny"}}
    played.apply("ProfilingJob", "p", spec)
    wait_until(lambda: played.pods(), "the pod is made")
    played.change("ProfilingJob", "p", suspend=True)
    played.wait_for("ProfilingJob", "p", "Suspended", "True")
    wait_until(lambda: not played.pods(), "the pod is gone")
    assert played.jobs() == []
    played.change("ProfilingJob", "p", suspend=False)
    wait_until(lambda: played.pods(), "the pod is made again")
    played.server.call("DELETE", played.path("ProfilingJob", "p"))
    wait_until(lambda: not names_of_children(played, "p"), "all children are gone")


def test_a_resource_of_the_same_name_starts_afresh(played):
    spec = {"device": board(played), "designSpace": {"preset": "tiny"}}
    for seed in range(3):
        created = played.apply("ProfilingJob", "p", {**spec, "seed": seed})
        path = f"/apis/batch/v1/namespaces/{played.namespace}/jobs/p-pj-worker"

        def owned(path=path, uid=created["metadata"]["uid"]):
            job = played.server.find(path)
            return job is not None and job["metadata"]["ownerReferences"][0]["uid"] == uid

        wait_until(owned, "the Job is the new resource's")
        work = f"/api/v1/namespaces/{played.namespace}/configmaps/p-pj-spec"
        data = played.server.call("GET", work)["data"]["resource.yaml"]
        assert f'"seed": {seed}' in data
        played.server.call("DELETE", played.path("ProfilingJob", "p"))


def test_a_namespaced_operator_leaves_other_namespaces_alone(control_plane, played):
    other = Played(control_plane, control_plane.namespace("left"))
    other.profile("p", suspend=True)
    played.profile("p", suspend=True)
    played.wait_for("ProfilingJob", "p", "Suspended", "True")
    assert "conditions" not in other.status("ProfilingJob", "p")


def test_a_resource_is_deleted_when_its_time_to_live_is_over(played):
    spec = {"device": board(played), "designSpace": {"preset": "tiny"}, "activeDeadlineSeconds": 1}
    played.apply("ProfilingJob", "p", {**spec, "ttlSecondsAfterFinished": 2})
    wait_until(lambda: played.pods(), "the pod is made")
    assert played.says("ProfilingJob", "p", "Succeeded")[0] == "Unknown", "waiting does not count"
    (pod,) = played.pods()
    played._pod_status(pod["metadata"]["name"], "Running", {"running": {}})
    played.wait_for("ProfilingJob", "p", "Succeeded", "False", "DeadlineExceeded")
    path = played.path("ProfilingJob", "p")
    wait_until(lambda: played.server.find(path) is None, "the resource is deleted")
    wait_until(lambda: not names_of_children(played, "p"), "all children are gone")
