"""What a ProfilingJob goes through, from the first look to its end."""

from datetime import timedelta

import pytest
from operator_world import START, World, check_status, spec_of

from edgetran_operator.kube.cache import Key


@pytest.fixture
def world() -> World:
    return World()


def run(world: World, **changes: object) -> Key:
    """A job whose worker runs on a board."""
    world.node("board-a", device="pi")
    key = world.apply("ProfilingJob", "p", spec_of("ProfilingJob", **changes))
    world.settle()
    world.start_pods()
    world.settle()
    return key


def test_a_job_gets_a_board_then_a_worker_then_succeeds(world):
    key = run(world)
    assert world.says(key, "DevicesAvailable") == ("True", "NodesMatched")
    assert world.says(key, "Reconciling") == ("True", "Running")
    assert world.status(key)["node"] == "board-a"
    assert world.status(key)["startTime"] == world.stamp()

    world.report(key, status={"measured": 3, "failed": 1}, progress="3/8")
    world.settle()
    assert world.status(key)["measured"] == 3
    assert world.status(key)["progress"] == "3/8"

    world.wait(30)
    world.finish(key, progress="8/8", status={"measured": 8})
    assert world.says(key, "Succeeded") == ("True", "Succeeded")
    assert world.says(key, "ProfilingComplete") == ("True", "TargetErrorReached")
    assert world.status(key)["completionTime"] == world.stamp()
    assert world.status(key)["activeSeconds"] == 30
    assert world.status(key)["results"] == ["p-pj-results-0"]
    check_status(world.status(key))


def test_a_job_at_its_end_calls_nothing_any_more(world):
    key = run(world)
    world.finish(key)
    calls = world.calls
    for _ in range(3):
        world.wait(10_000)
        world.settle()
    world.restart_operator()
    world.settle()
    assert world.calls == calls


def test_a_running_job_calls_nothing_while_nothing_happens(world):
    run(world)
    calls = world.calls
    world.wait(3600)
    world.settle()
    assert world.calls == calls


def test_without_a_node_the_message_says_which_label_is_missing_where(world):
    world.node("board-a", device="jetson")
    world.node("server")
    key = world.apply("ProfilingJob", "p")
    world.settle()
    assert world.says(key, "DevicesAvailable") == ("False", "NoMatchingNode")
    assert world.says(key, "Stalled") == ("True", "NoMatchingNode")
    message = world.condition(key, "Stalled")["message"]
    assert "board-a has edgetran.io/device=jetson" in message
    assert "server has no label edgetran.io/device" in message
    assert not world.jobs()

    world.node("server", device="pi")
    world.settle()
    assert world.says(key, "Stalled") == ("", "")
    assert world.status(key)["node"] == "server"


def test_one_job_measures_on_a_board_at_a_time_in_the_order_in_which_they_came(world):
    world.node("board-a", device="pi")
    keys = []
    for number, namespace in enumerate(("x", "y", "z")):
        keys.append(world.apply("ProfilingJob", f"p{number}", namespace=namespace))
        world.wait(1)
    world.settle()
    assert [job["metadata"]["namespace"] for job in world.jobs()] == ["x"]
    assert world.says(keys[1], "Reconciling") == ("True", "DeviceBusy")
    assert world.says(keys[1], "DevicesAvailable")[0] == "True"
    assert "ProfilingJob x/p0 comes first" in world.condition(keys[1], "Reconciling")["message"]
    assert "ProfilingJob y/p1 comes first" in world.condition(keys[2], "Reconciling")["message"]

    before = world.condition(keys[2], "Reconciling")
    world.finish(keys[0])
    assert world.status(keys[1])["node"] == "board-a"
    assert world.condition(keys[2], "Reconciling") == before
    world.finish(keys[1])
    world.finish(keys[2])
    assert all(world.says(key, "Succeeded")[0] == "True" for key in keys)


def test_suspending_ends_the_worker_and_gives_the_board_back_and_resuming_goes_on(world):
    key = run(world)
    other = world.apply("ProfilingJob", "q")
    world.settle()
    assert world.says(other, "Reconciling") == ("True", "DeviceBusy")
    world.wait(100)
    world.change(key, suspend=True)
    world.settle()
    assert world.says(key, "Suspended") == ("True", "Suspended")
    assert world.says(key, "Reconciling") == ("", "")
    assert world.status(key)["activeSeconds"] == 100
    assert world.job_of(key) is None
    assert world.status(other)["node"] == "board-a"

    world.wait(1000)
    world.finish(other)
    world.change(key, suspend=False)
    world.settle()
    assert world.says(key, "Suspended") == ("False", "Resumed")
    assert world.job_of(key) is not None
    world.start_pods()
    world.settle()
    world.wait(11)
    world.finish(key)
    assert world.status(key)["activeSeconds"] == 111
    assert "Suspended" in world.told(key)
    assert "Resumed" in world.told(key)


def test_the_deadline_counts_work_and_neither_suspension_nor_a_pod_that_does_not_start(world):
    key = run(world, activeDeadlineSeconds=100)
    world.wait(60)
    world.change(key, suspend=True)
    world.settle()
    world.wait(10_000)
    world.change(key, suspend=False)
    world.settle()
    world.wait(10_000)
    world.settle()
    assert world.status(key)["activeSeconds"] == 60
    world.start_pods()
    world.settle()
    plan = world.reconcile(key)
    assert plan.requeue_after == 40
    world.wait(39)
    world.settle()
    assert world.says(key, "Succeeded")[0] == "Unknown"
    world.wait(1)
    world.settle()
    assert world.says(key, "Succeeded") == ("False", "DeadlineExceeded")
    assert world.says(key, "Stalled") == ("True", "DeadlineExceeded")
    assert not world.jobs()
    check_status(world.status(key))


def test_time_in_the_queue_does_not_count(world):
    world.node("board-a", device="pi")
    first = world.apply("ProfilingJob", "a")
    world.wait(1)
    second = world.apply("ProfilingJob", "b", spec_of("ProfilingJob", activeDeadlineSeconds=10))
    world.settle()
    world.start_pods()
    world.settle()
    world.wait(1000)
    world.settle()
    assert world.says(second, "Reconciling") == ("True", "DeviceBusy")
    world.finish(first)
    assert world.says(second, "Succeeded")[0] == "Unknown"


def test_an_ended_job_is_deleted_when_its_time_to_live_is_over(world):
    key = run(world, ttlSecondsAfterFinished=300)
    world.finish(key)
    plan = world.reconcile(key)
    assert plan.requeue_after == 300
    world.change(key, ttlSecondsAfterFinished=100)
    world.settle()
    world.wait(100)
    world.settle()
    assert key not in world.objects
    assert not world.jobs()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (10, "SpecInvalid"),
        (13, "ChildFailed"),
        (16, "DependencyFailed"),
    ],
)
def test_a_terminal_exit_code_is_not_tried_again_and_its_sentence_is_told(world, code, reason):
    key = run(world)
    world.end_pod(key, code, reason, "spec.models[0]: no such folder; use another")
    world.settle()
    assert world.says(key, "Succeeded") == ("False", reason)
    message = world.condition(key, "Succeeded")["message"]
    assert message == "spec.models[0]: no such folder; use another"
    assert world.job_of(key)["spec"]["parallelism"] == 0, "its pod stays, and so do its logs"
    world.start_pods()
    world.settle()
    assert world.status(key)["failures"] == 1


def test_other_failures_are_counted_and_tried_again_up_to_the_limit(world):
    key = run(world, backoffLimit=1)
    world.end_pod(key, 1, "StorageUnavailable", "the disk is full")
    world.settle()
    assert world.status(key)["failures"] == 1
    assert world.says(key, "Succeeded")[0] == "Unknown"
    assert "WorkerRetried" in world.told(key)
    world.start_pods()
    world.end_pod(key, 14, "StorageUnavailable", "the disk is full")
    world.settle()
    assert world.says(key, "Succeeded") == ("False", "StorageUnavailable")
    message = world.condition(key, "Succeeded")["message"]
    assert "failed 2 times and spec.backoffLimit is 1" in message
    assert "the disk is full" in message
    assert world.status(key)["failures"] == 2


def test_failures_are_counted_over_suspension(world):
    key = run(world)
    world.end_pod(key, 1)
    world.settle()
    world.change(key, suspend=True)
    world.settle()
    world.change(key, suspend=False)
    world.settle()
    world.start_pods()
    world.end_pod(key, 137)
    world.settle()
    assert world.status(key)["failures"] == 2


def test_a_changed_backoff_limit_reaches_the_running_job(world):
    key = run(world)
    world.change(key, backoffLimit=7)
    world.settle()
    assert world.job_of(key)["spec"]["backoffLimit"] == 7


def test_a_refused_change_is_told_and_the_first_spec_goes_on(world):
    key = run(world)
    world.change(key, seed=5, backoffLimit=9)
    world.settle()
    assert world.says(key, "Reconciling") == ("True", "SpecChangeRefused")
    message = world.condition(key, "Reconciling")["message"]
    assert "spec.seed: Forbidden: seed is immutable" in message
    assert world.status(key)["observedGeneration"] == 2
    assert world.job_of(key)["spec"]["backoffLimit"] == 9, "what may change is honoured"
    assert world.says(key, "Succeeded")[0] == "Unknown"
    world.change(key, seed=0)
    world.settle()
    assert world.says(key, "Reconciling") == ("True", "Running")


def test_a_spec_that_becomes_invalid_does_not_stop_the_work(world):
    key = run(world)
    world.change(key, seed="x")
    world.settle()
    assert world.says(key, "Reconciling") == ("True", "SpecChangeRefused")
    world.finish(key)
    assert world.says(key, "Succeeded") == ("True", "Succeeded")


def test_an_invalid_spec_is_answered_in_the_words_of_the_api_and_recovers(world):
    world.node("board-a", device="pi")
    key = world.apply("ProfilingJob", "p", spec_of("ProfilingJob", seed=-1))
    world.settle()
    assert world.says(key, "Stalled") == ("True", "SpecInvalid")
    assert "spec.seed" in world.condition(key, "Stalled")["message"]
    assert not world.jobs()
    world.change(key, seed=1)
    world.settle()
    assert world.says(key, "Stalled") == ("", "")
    assert world.jobs()


def test_a_change_before_the_work_began_is_honoured(world):
    key = world.apply("ProfilingJob", "p", spec_of("ProfilingJob", suspend=True))
    world.settle()
    world.change(key, seed=9, suspend=False)
    world.node("board-a", device="pi")
    world.settle()
    work = world.objects["ConfigMap", "ns", "p-pj-spec"]["data"]["resource.yaml"]
    assert '"seed": 9' in work


def test_a_simulated_device_has_nothing_to_measure(world):
    device = {"name": "x", "simulation": "raspberry-pi-4-cpu"}
    key = world.apply("ProfilingJob", "p", spec_of("ProfilingJob", device=device))
    world.settle()
    assert world.says(key, "Stalled") == ("True", "SpecInvalid")
    assert "calculated, not measured" in world.condition(key, "Stalled")["message"]


def test_the_host_is_no_device_in_a_cluster_and_the_way_to_name_one_is_said(world):
    spec = spec_of("ProfilingJob", device={"name": "here", "host": True})
    key = world.apply("ProfilingJob", "p", spec)
    devices = [*spec_of("CoDesignSearch")["devices"], {"name": "here", "host": True}]
    search = world.apply("CoDesignSearch", "s", spec_of("CoDesignSearch", devices=devices))
    world.settle()
    for each, place in ((key, "spec.device.host"), (search, "spec.devices[2].host")):
        assert world.says(each, "Stalled") == ("True", "SpecInvalid")
        message = world.condition(each, "Stalled")["message"]
        assert message.startswith(f"{place}: Forbidden")
        assert "kubectl label node NODE edgetran.io/device=NAME" in message
    assert world.jobs() == []


def test_results_grow_by_one_empty_part_with_the_right_to_write_it_first(world):
    key = run(world)
    assert "p-pj-results-1" not in {name for _, _, name in world.objects}
    world.report(key)
    plan = world.reconcile(key)
    kinds = [child.label for child in plan.apply]
    assert kinds.index("Role/p-pj-worker") < kinds.index("ConfigMap/p-pj-results-1")
    role = world.objects["Role", "ns", "p-pj-worker"]
    assert role["rules"][0]["resourceNames"] == ["p-pj-results-0", "p-pj-results-1"]
    assert role["rules"][0]["verbs"] == ["get", "update", "patch"]


def test_deleted_results_of_running_work_are_made_again(world):
    key = run(world)
    world.report(key)
    world.settle()
    world.report(key, part=1)
    world.settle()
    world.delete("ConfigMap", "p-pj-results-0")
    world.delete("ConfigMap", "p-pj-results-2")
    world.settle()
    names = {name for kind, _, name in world.objects if kind == "ConfigMap"}
    assert names >= {"p-pj-results-0", "p-pj-results-1", "p-pj-results-2"}


def test_a_worker_that_ended_well_without_its_results_is_started_again(world):
    key = run(world)
    world.report(key)
    world.settle()
    world.end_pod(key, 0)
    world.settle()
    uid = world.job_of(key)["metadata"]["uid"]
    world.wait(30)
    world.settle()
    assert world.job_of(key)["metadata"]["uid"] == uid, "results may come late"
    world.wait(31)
    world.settle()
    assert world.job_of(key)["metadata"]["uid"] != uid
    assert world.status(key)["failures"] == 1
    world.finish(key)
    assert world.says(key, "Succeeded") == ("True", "Succeeded")


def test_results_deleted_after_the_end_are_told_of_once(world):
    key = run(world)
    world.finish(key)
    world.delete("ConfigMap", "p-pj-results-0")
    world.settle()
    world.settle()
    assert world.told(key).count("ResultsLost") == 1
    assert world.says(key, "Succeeded") == ("True", "Succeeded")


def test_a_deleted_job_object_is_made_again(world):
    key = run(world)
    world.delete("Job", "p-pj-worker")
    world.settle()
    assert world.job_of(key) is not None


def test_a_board_that_goes_silent_is_waited_for(world):
    key = run(world)
    world.node("board-a", device="pi", ready=False)
    world.settle()
    assert world.says(key, "DevicesAvailable") == ("False", "DeviceLost")
    assert world.says(key, "Stalled") == ("True", "DeviceLost")
    uid = world.job_of(key)["metadata"]["uid"]
    world.node("board-a", device="pi")
    world.settle()
    assert world.says(key, "Reconciling") == ("True", "Running")
    assert world.job_of(key)["metadata"]["uid"] == uid


def test_a_board_that_is_no_node_any_more_is_replaced(world):
    key = run(world)
    world.remove_node("board-a")
    world.settle()
    assert world.says(key, "Stalled") == ("True", "NoMatchingNode")
    assert not world.jobs()
    world.node("board-b", device="pi")
    world.settle()
    assert world.status(key)["node"] == "board-b"
    world.finish(key)
    assert world.says(key, "Succeeded")[0] == "True"


def test_a_pod_that_no_node_takes_is_explained(world):
    key = run(world)
    pod = next(body for place, body in world.objects.items() if place[0] == "Pod")
    pod["status"] = {
        "phase": "Pending",
        "conditions": [
            {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": "0/3 nodes are available: 3 Insufficient memory.",
            }
        ],
    }
    world._store(pod)
    world.settle()
    assert world.says(key, "Reconciling") == ("True", "Unschedulable")
    assert "Insufficient memory" in world.condition(key, "Reconciling")["message"]


def test_a_quota_that_keeps_the_job_from_its_pod_is_told(world):
    world.node("board-a", device="pi")
    key = world.apply("ProfilingJob", "p")
    world.settle()
    job = world.job_of(key)
    said = 'Error creating: pods "p-pj-worker-x" is forbidden: exceeded quota: q, limited: pods=0'
    world.cache.event(
        {
            "metadata": {"name": "e", "namespace": "ns"},
            "involvedObject": {
                "kind": "Job",
                "name": job["metadata"]["name"],
                "namespace": "ns",
                "uid": job["metadata"]["uid"],
            },
            "message": said,
        }
    )
    world.settle()
    assert world.says(key, "Stalled") == ("True", "InsufficientQuota")
    assert "exceeded quota: q" in world.condition(key, "Stalled")["message"]
    world.start_pods()
    world.settle()
    assert world.says(key, "Reconciling") == ("True", "Running")


def test_a_resource_that_is_being_deleted_gets_no_children(world):
    world.node("board-a", device="pi")
    key = world.apply("ProfilingJob", "p")
    world.objects[key]["metadata"]["deletionTimestamp"] = world.stamp()
    world._store(world.objects[key])
    world.settle()
    assert not world.jobs()
    assert world.calls == 0


def test_children_of_an_earlier_resource_of_the_same_name_are_waited_for(world):
    key = run(world)
    world.objects.pop(key)
    world.cache.forget(key)
    world.apply("ProfilingJob", "p")
    world.reconcile(key)
    assert "of an earlier ProfilingJob" in world.condition(key, "Reconciling")["message"]
    world.gone.add(world.job_of(key)["metadata"]["ownerReferences"][0]["uid"])
    world._collect_garbage()
    world.settle()
    owner = world.job_of(key)["metadata"]["ownerReferences"][0]["uid"]
    assert owner == world.objects[key]["metadata"]["uid"]


def test_conditions_change_their_time_only_when_their_status_flips(world):
    key = run(world)
    world.wait(50)
    world.report(key, progress="5/8")
    world.settle()
    condition = world.condition(key, "Succeeded")
    assert condition["lastTransitionTime"] == START.strftime("%Y-%m-%dT%H:%M:%SZ")
    world.finish(key)
    later = (START + timedelta(seconds=50)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert world.condition(key, "Succeeded")["lastTransitionTime"] == later
