"""Objects as the API server sends them, and what is kept of them."""

import json

import pytest

from edgetran_operator.kube.views import (
    child_of,
    job_view,
    moment,
    node_view,
    part_view,
    pod_view,
    ray_job_view,
    work_files,
)
from edgetran_operator.snapshot import Taint

META = {
    "name": "p-pj-worker",
    "namespace": "ns",
    "uid": "u",
    "creationTimestamp": "2026-01-01T00:00:00Z",
}


def pod(**status):
    owner = {"uid": "job", "controller": True, "kind": "Job"}
    return {
        "metadata": {**META, "ownerReferences": [{"uid": "other"}, owner]},
        "spec": {"nodeName": "board-a"},
        "status": {"phase": "Running", **status},
    }


def container(**state):
    return {
        "containerStatuses": [{"name": "sidecar", "state": {}}, {"name": "worker", "state": state}]
    }


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("p-pj-worker", ("ProfilingJob", "p", "worker")),
        ("a-b-cds-spec", ("CoDesignSearch", "a-b", "spec")),
        ("x-gpt-results-12", ("GPTranRun", "x", "results-12")),
        ("x-pj-pj-worker", ("ProfilingJob", "x-pj", "worker")),
        ("x-worker", None),
        ("x-pj-results-", None),
        ("x-pj-storage", None),
    ],
)
def test_a_childs_name_tells_whose_it_is(name, found):
    assert child_of(name) == found


def test_a_job_by_its_conditions():
    job = {
        "metadata": {**META, "annotations": {"edgetran.io/failures-before": "2"}},
        "spec": {"backoffLimit": 4, "parallelism": 1},
        "status": {"failed": 3, "startTime": "2026-01-01T00:00:01Z"},
    }
    view = job_view(job)
    assert (view.failures_before, view.failed_pods, view.backoff_limit) == (2, 3, 4)
    assert not view.ended
    end = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "m"}
    job["status"]["conditions"] = [{**end, "lastTransitionTime": "2026-01-01T00:01:00Z"}]
    view = job_view(job)
    assert view.failed
    assert (view.reason, view.message) == ("BackoffLimitExceeded", "m")
    assert view.finished == moment("2026-01-01T00:01:00Z")
    job["status"]["conditions"] = [{"type": "Complete", "status": "True"}]
    job["status"]["completionTime"] = "2026-01-01T00:02:00Z"
    view = job_view(job)
    assert view.complete
    assert view.finished == moment("2026-01-01T00:02:00Z")
    job["status"]["conditions"] = [{"type": "Failed", "status": "False"}]
    assert not job_view(job).ended
    assert job_view({"metadata": META, "spec": {"parallelism": 0}}).stopped
    assert job_view({"metadata": {**META, "deletionTimestamp": "x"}}).deleting


@pytest.mark.parametrize(
    ("status", "complete", "failed"),
    [
        ({}, False, False),
        ({"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"}, False, False),
        ({"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}, True, False),
        ({"jobDeploymentStatus": "Complete", "jobStatus": "FAILED"}, False, True),
        ({"jobDeploymentStatus": "Complete"}, False, False),
        ({"jobDeploymentStatus": "Running", "jobStatus": "SUCCEEDED"}, False, False),
        ({"jobDeploymentStatus": "Failed", "reason": "DeadlineExceeded"}, False, True),
        ({"jobDeploymentStatus": "ValidationFailed"}, False, True),
        ({"jobDeploymentStatus": "Retrying", "jobStatus": "FAILED"}, False, False),
    ],
)
def test_a_ray_job_needs_both_words_for_success(status, complete, failed):
    view = ray_job_view({"metadata": META, "spec": {}, "status": status})
    assert (view.complete, view.failed) == (complete, failed)


def test_a_pods_end_tells_the_workers_own_words():
    told = json.dumps({"reason": "StorageUnavailable", "message": "the disk is full"})
    ended = {"exitCode": 14, "message": told, "reason": "Error"}
    view = pod_view(pod(phase="Failed", **container(terminated=ended)))
    assert view.exit_code == 14
    assert view.message == "the disk is full"
    assert view.worker_uid == "job"
    assert not view.live


@pytest.mark.parametrize(
    ("ended", "message"),
    [
        (
            {"exitCode": 1, "message": "Traceback\n  x\nValueError: no\n", "reason": "Error"},
            "ValueError: no",
        ),
        ({"exitCode": 137, "reason": "OOMKilled"}, "OOMKilled"),
        ({"exitCode": 1, "message": "[1]", "reason": "Error"}, "[1]"),
        ({"exitCode": 0, "reason": "Completed"}, ""),
        (
            {"exitCode": 128, "reason": "StartError", "message": "no such file"},
            "StartError: no such file",
        ),
    ],
)
def test_an_end_without_words_of_the_worker_is_still_explained(ended, message):
    assert pod_view(pod(phase="Failed", **container(terminated=ended))).message == message


def test_an_eviction_is_explained():
    view = pod_view(pod(phase="Failed", reason="Evicted", message="low on memory"))
    assert view.message == "Evicted: low on memory"
    assert view.exit_code is None


@pytest.mark.parametrize(
    ("waiting", "said"),
    [
        ({"reason": "ContainerCreating"}, ""),
        ({"reason": "ErrImagePull", "message": "not found"}, "ErrImagePull: not found"),
        (
            {"reason": "ImagePullBackOff", "message": 'back-off 5m0s pulling image "x"'},
            'ImagePullBackOff: back-off pulling image "x"',
        ),
        ({"reason": "CreateContainerConfigError"}, "CreateContainerConfigError"),
    ],
)
def test_a_container_that_does_not_start_is_explained_in_words_that_stay(waiting, said):
    assert pod_view(pod(phase="Pending", **container(waiting=waiting))).waiting == said


def test_the_scheduler_is_quoted():
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    view = pod_view(pod(phase="Pending", conditions=[{**condition, "message": "0/3 nodes"}]))
    assert view.unschedulable == "0/3 nodes"
    assert pod_view(pod(conditions=[condition])).unschedulable == "no node takes it"
    done = {"type": "PodScheduled", "status": "True"}
    assert pod_view(pod(conditions=[done])).unschedulable == ""


def test_of_results_only_the_summary_is_kept():
    body = {
        "metadata": {**META, "name": "p-pj-results-0"},
        "binaryData": {"records.jsonl.gz": "H4sI" * 100_000},
        "data": {
            "part.json": '{"records": 7, "closed": true}',
            "summary.json": '{"finished": true}',
        },
    }
    view = part_view(body, 0)
    assert (view.used, view.records, view.summary.finished) == (True, 7, True)
    assert part_view(body, 1).summary is None
    assert not part_view({"metadata": body["metadata"]}, 0).used


@pytest.mark.parametrize("text", ["", "no JSON", "[1]", "1", '{"records": "x"}'])
def test_results_that_someone_spoiled_are_no_crash(text):
    data = {"part.json": text, "summary.json": text}
    view = part_view({"metadata": META, "data": data}, 0)
    assert view.records == 0


def test_work_is_known_again_by_the_hash_of_what_lies_beside_the_spec():
    body = {"metadata": META, "data": {"work.json": "{}"}}
    assert work_files(body).beside_spec == work_files(dict(body)).beside_spec
    other = {"metadata": META, "data": {"work.json": "{ }"}}
    assert work_files(body).beside_spec != work_files(other).beside_spec


def test_a_node_by_what_boards_are_chosen_by():
    node = {
        "metadata": {"name": "a", "labels": {"x": "y"}},
        "spec": {
            "unschedulable": True,
            "taints": [
                {"key": "k", "value": "v", "effect": "NoSchedule"},
                {"key": "soft", "effect": "PreferNoSchedule"},
            ],
        },
        "status": {"conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "1"}]},
    }
    view = node_view(node)
    assert (view.ready, view.schedulable) == (True, False)
    assert view.taints == (Taint("k", "v", "NoSchedule"),)
    node["status"]["conditions"][0]["lastHeartbeatTime"] = "2"
    assert node_view(node) == view, "a heartbeat is no news"
    node["status"]["conditions"][0]["status"] = "Unknown"
    assert not node_view(node).ready
