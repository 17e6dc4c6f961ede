"""Evictions, drains and stops are no failures, and a failure counts until the work got further."""

import pytest
from operator_world import World, check_status, spec_of

from edgetran_operator.kube.views import pod_view

SIMULATED = [{"name": "sim", "simulation": "raspberry-pi-4-cpu"}]


@pytest.fixture(params=[True, False], ids=["podFailurePolicy", "before-1.26"])
def world(request):
    return World(pod_failure_policy=request.param)


def search(world, **changes):
    key = world.apply(
        "CoDesignSearch", "s", spec_of("CoDesignSearch", devices=SIMULATED, **changes)
    )
    world.settle()
    world.start_pods()
    world.settle()
    return key


def goes_on(world, key):
    check_status(world.status(key))
    return world.says(key, "Succeeded")[0] == "Unknown" and world.says(key, "Stalled") == ("", "")


@pytest.mark.parametrize("code", [143, 137], ids=["in-time", "killed"])
def test_a_search_of_a_week_outlives_a_drain_every_hour(world, code):
    key = search(world)
    for hour in range(7 * 24):
        world.start_pods()
        world.settle()
        if hour % 5 == 0:  # it gets further now and then, and not between any two drains
            world.report(key, progress=f"{hour // 5}/64")
        world.wait(3600)
        world.drain(key, code)
        assert goes_on(world, key), hour
    assert world.status(key)["failures"] == 0
    world.finish(key)
    assert world.says(key, "Succeeded")[0] == "True"


def test_the_operator_may_be_away_during_drains(world):
    key = search(world, backoffLimit=1)
    for step in range(20):
        world.start_pods()
        world.report(key, progress=f"{step}/64")
        world.settle()
        world.end_pod(key, 143)
        world.restart_operator()
        world.settle()
        assert goes_on(world, key), step


def test_a_worker_that_is_stopped_without_progress_is_started_again(world):
    key = search(world, backoffLimit=0)
    for _ in range(5):
        world.drain(key)
        assert goes_on(world, key)
        world.start_pods()
        world.settle()


def test_failures_count_anew_once_the_work_got_further(world):
    key = search(world, backoffLimit=2)
    for step in range(12):
        world.start_pods()
        world.report(key, progress=f"{step // 2}/64")
        world.settle()
        world.end_pod(key, 137)
        world.settle()
        assert goes_on(world, key), step
        assert world.status(key)["failures"] in (1, 2)


def test_progress_that_was_made_before_is_no_progress(world):
    """A worker that loses its state repeats its first steps and fails there again and again."""
    key = search(world, backoffLimit=3)
    attempts = 0
    while goes_on(world, key):
        world.start_pods()
        world.report(key, progress="0/64")
        world.settle()
        world.report(key, progress="1/64")
        world.settle()
        world.end_pod(key, 1, message="out of memory")
        world.settle()
        attempts += 1
        assert attempts < 10
    assert attempts == 4
    assert world.says(key, "Succeeded") == ("False", "ChildFailed")
    message = world.condition(key, "Succeeded")["message"]
    assert "failed 4 times and spec.backoffLimit is 3" in message


def test_failures_are_counted_over_jobs_that_were_made_anew(world):
    """Suspending makes another Job, which knows nothing of the attempts of the one before."""
    key = search(world, backoffLimit=1)
    world.end_pod(key, 1)
    world.settle()
    world.change(key, suspend=True)
    world.settle()
    world.change(key, suspend=False)
    world.settle()
    world.start_pods()
    world.end_pod(key, 1)
    world.settle()
    assert world.says(key, "Succeeded") == ("False", "ChildFailed")
    assert world.job_of(key)["spec"]["parallelism"] == 0, "nothing of it runs on"


def test_the_job_itself_knows_what_is_no_failure_where_the_server_does():
    world = World(pod_failure_policy=True)
    key = search(world)
    job = world.job_of(key)["spec"]
    disrupted, stopped = job["podFailurePolicy"]["rules"]
    assert disrupted == {
        "action": "Ignore",
        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
    }
    assert stopped["onExitCodes"] == {"containerName": "worker", "operator": "In", "values": [143]}
    assert job["template"]["spec"]["restartPolicy"] == "Never", "the policy is for such pods alone"
    old = World(pod_failure_policy=False)
    assert "podFailurePolicy" not in old.job_of(search(old))["spec"]


@pytest.mark.parametrize(
    ("status", "disrupted"),
    [
        ({"reason": "Evicted", "message": "The node was low on resource: memory."}, True),
        ({"reason": "Evicted", "message": "Usage of EmptyDir volume exceeds the limit"}, False),
        ({"reason": "NodeShutdown", "message": "Node is in progress of shutting down"}, True),
        ({"conditions": [{"type": "DisruptionTarget", "status": "True"}]}, True),
        ({"conditions": [{"type": "DisruptionTarget", "status": "False"}]}, False),
        ({}, False),
    ],
)
def test_what_ended_a_pod_is_told_apart(status, disrupted):
    ended = {"name": "worker", "state": {"terminated": {"exitCode": 137}}}
    pod = {
        "metadata": {"name": "p", "labels": {}},
        "status": {"phase": "Failed", "containerStatuses": [ended], **status},
    }
    assert pod_view(pod).disrupted is disrupted
