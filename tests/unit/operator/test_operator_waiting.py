"""Workers that do not start: what that holds up, and what it does not."""

import pytest
from operator_world import World, check_status, spec_of

from edgetran_operator.kube.cache import Key
from edgetran_operator.settings import Images, Settings

SETTINGS = Settings(board_start_seconds=300, stalled_after_seconds=600)


@pytest.fixture
def world() -> World:
    made = World(SETTINGS)
    made.node("board-a", device="pi")
    return made


def apply_two(world: World) -> tuple[Key, Key]:
    """Two jobs for one board; the first one has it."""
    first = world.apply("ProfilingJob", "a")
    world.wait(1)
    second = world.apply("ProfilingJob", "b")
    world.settle()
    assert world.status(first)["node"] == "board-a"
    return first, second


def test_a_job_whose_pod_does_not_start_gives_its_board_to_the_next(world):
    first, second = apply_two(world)
    world.wait(299)
    world.settle()
    assert world.says(second, "Reconciling") == ("True", "DeviceBusy")
    assert world.reconcile(first).requeue_after == 1
    world.wait(1)
    world.settle()
    assert world.status(second)["node"] == "board-a"
    assert world.job_of(second) is not None
    assert world.job_of(first) is None
    assert world.says(first, "Reconciling") == ("True", "DeviceBusy")
    assert "did not start" in world.condition(first, "Reconciling")["message"]
    check_status(world.status(first))

    world.start_pods()
    world.wait(10_000)
    world.settle()
    world.finish(second)
    assert world.status(first)["node"] == "board-a", "its turn comes again"
    world.finish(first)
    assert world.says(first, "Succeeded") == ("True", "Succeeded")


def test_a_restarted_operator_knows_who_gave_its_board_back(world):
    first, second = apply_two(world)
    world.wait(301)
    world.settle()
    world.restart_operator()
    world.settle()
    assert world.status(second)["node"] == "board-a"
    assert "node" not in world.status(first)


def test_a_board_that_nobody_else_wants_is_kept(world):
    key = world.apply("ProfilingJob", "a")
    world.settle()
    uid = world.job_of(key)["metadata"]["uid"]
    world.wait(10_000)
    world.settle()
    assert world.job_of(key)["metadata"]["uid"] == uid
    assert world.status(key)["node"] == "board-a"


def test_a_job_that_measures_keeps_its_board_however_long(world):
    first, second = apply_two(world)
    world.start_pods()
    world.settle()
    world.wait(100_000)
    world.settle()
    assert world.status(first)["node"] == "board-a"
    assert world.says(second, "Reconciling") == ("True", "DeviceBusy")


def test_two_jobs_that_never_start_take_turns(world):
    first, second = apply_two(world)
    holders = []
    for _ in range(4):
        world.wait(300)
        world.settle()
        holders += [key.name for key in (first, second) if "node" in world.status(key)]
    assert holders == ["b", "a", "b", "a"]


def test_a_worker_that_does_not_start_is_stalled_after_the_stated_time(world):
    key = world.apply("ProfilingJob", "a")
    world.settle()
    world.wait(599)
    world.settle()
    assert world.says(key, "Stalled") == ("", "")
    assert world.reconcile(key).requeue_after == 1
    world.wait(1)
    world.settle()
    assert world.says(key, "Stalled")[0] == "True"
    check_status(world.status(key))
    world.start_pods()
    world.settle()
    assert world.says(key, "Stalled") == ("", "")
    assert world.says(key, "Reconciling") == ("True", "Running")
    assert "waitingSince" not in world.status(key)


def test_the_deadline_is_looked_at_from_the_moment_that_the_pod_runs(world):
    key = world.apply("ProfilingJob", "p", spec_of("ProfilingJob", activeDeadlineSeconds=45))
    world.settle()
    world.start_pods()
    plan = world.reconcile(key)
    assert plan.requeue_after == 45, "the answer to its own status wakes nobody"


def test_time_that_a_search_waits_for_a_board_does_not_count_against_its_deadline(world):
    world.apply("ProfilingJob", "other")
    world.settle()
    world.start_pods()
    world.wait(1)
    key = world.apply("CoDesignSearch", "s", spec_of("CoDesignSearch", activeDeadlineSeconds=45))
    world.settle()
    world.wait(10_000)
    world.settle()
    assert world.says(key, "Succeeded")[0] == "Unknown"
    assert world.status(key)["activeSeconds"] == 0
    world.finish(Key("ProfilingJob", "ns", "other"))
    world.start_pods()
    world.settle()
    world.wait(30)
    world.finish(Key("ProfilingJob", "ns", "s-pi"))
    world.wait(10_000)
    world.settle()
    assert world.status(key)["activeSeconds"] == 30, "its own worker waits for its pod"
    world.start_pods()
    world.settle()
    world.wait(15)
    world.settle()
    assert world.says(key, "Succeeded") == ("False", "DeadlineExceeded")


def set_images(world: World, cpu: str) -> None:
    """The administrator changes the chart's values, and the operator starts anew."""
    world.settings = Settings(images=Images(cpu=cpu))
    world.restart_operator()
    world.settle()


def image_of(world: World, key: Key) -> str:
    job = world.job_of(key)
    assert job is not None
    image: str = job["spec"]["template"]["spec"]["containers"][0]["image"]
    return image


@pytest.mark.parametrize("pods", [True, False], ids=["pod", "no-pod"])
def test_a_worker_that_never_ran_is_made_anew_when_its_image_is_another_one(world, pods):
    set_images(world, "worker:nosuch")
    key = world.apply("ProfilingJob", "p")
    world.settle()
    if pods:
        world.start_pods()
        (pod,) = world._live_pods(world.job_of(key))
        pod["status"] = {"phase": "Pending"}
        world._store(pod)
    set_images(world, "worker:right")
    world.settle()
    assert image_of(world, key) == "worker:right"
    assert world.status(key)["failures"] == 0
    calls = world.calls
    world.restart_operator()
    world.settle()
    assert world.calls == calls, "once is enough"


def test_a_worker_that_runs_or_ran_is_left_alone_by_new_values(world):
    set_images(world, "worker:old")
    key = world.apply("ProfilingJob", "p")
    world.settle()
    world.start_pods()
    world.settle()
    set_images(world, "worker:new")
    assert image_of(world, key) == "worker:old"
    world.end_pod(key, 1)
    world.settle()
    assert image_of(world, key) == "worker:old"
