"""Kueue: what is made for a resource with its label is suspended until a queue admits it."""

import pytest
from operator_world import World, check_status, spec_of

from edgetran.api.wire import QUEUE_LABEL
from edgetran_operator.kube.cache import Key
from edgetran_operator.settings import Settings

SEARCH = Key("CoDesignSearch", "ns", "s")
JOB = Key("ProfilingJob", "ns", "s-pi")
VERIFY = Key("ProfilingJob", "ns", "s--verify")


class Kueue:
    """What Kueue does with Jobs: one of a queue runs at a time, and quota can be taken back."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.closed: set[str] = set()

    def labelled(self) -> list[dict]:
        return [job for job in self.world.jobs() if QUEUE_LABEL in job["metadata"]["labels"]]

    def admit(self) -> None:
        for job in self.labelled():
            queue = job["metadata"]["labels"][QUEUE_LABEL]
            of_queue = [j for j in self.labelled() if j["metadata"]["labels"][QUEUE_LABEL] == queue]
            busy = any(
                not j["spec"]["suspend"] and not j.get("status", {}).get("conditions")
                for j in of_queue
            )
            if job["spec"]["suspend"] and not busy and queue not in self.closed:
                self._suspend(job, False)

    def evict(self) -> None:
        for job in self.labelled():
            if not job["spec"]["suspend"]:
                self.world._end_pods(job["metadata"]["uid"])
                self._suspend(job, True)

    def _suspend(self, job: dict, suspend: bool) -> None:
        self.world._store({**job, "spec": {**job["spec"], "suspend": suspend}})


@pytest.fixture
def world() -> World:
    world = World(Settings(stalled_after_seconds=600))
    world.node("board-a", device="pi")
    return world


@pytest.fixture
def kueue(world) -> Kueue:
    return Kueue(world)


def queued(world, **changes):
    key = world.apply("CoDesignSearch", "s", spec_of("CoDesignSearch", **changes))
    label(world, key)
    world.settle()
    return key


def label(world, key, queue="edge"):
    body = world.objects[key]
    body["metadata"]["labels"] = {QUEUE_LABEL: queue}
    world._store(body)


def run(world, kueue, key, **summary):
    kueue.admit()
    world.settle()
    world.finish(key, **summary)


def test_everything_that_is_made_has_the_queue_and_waits_to_be_admitted(world, kueue):
    queued(world, refine={})
    for place in (JOB, ("ProfilingJob", "ns", "s-pi")):
        assert world.objects[place]["metadata"]["labels"][QUEUE_LABEL] == "edge"
    job = world.job_of(JOB)
    assert job["metadata"]["labels"][QUEUE_LABEL] == "edge"
    assert job["spec"]["suspend"] is True
    world.start_pods()
    assert world.says(JOB, "Reconciling") == ("True", "AwaitsAdmission")
    assert "queue edge has not admitted it" in world.condition(JOB, "Reconciling")["message"]
    assert world.says(SEARCH, "Reconciling") == ("True", "AwaitsAdmission")

    run(world, kueue, JOB)
    assert world.job_of(SEARCH)["spec"]["suspend"] is True
    run(world, kueue, SEARCH, status={"best": None})
    refine = Key("GPTranRun", "ns", "s-refine")
    assert world.objects[refine]["metadata"]["labels"][QUEUE_LABEL] == "edge"
    assert world.job_of(refine)["spec"]["suspend"] is True
    for key in (SEARCH, JOB, refine):
        check_status(world.status(key))


def test_waiting_in_a_queue_is_neither_stalled_nor_counted(world, kueue):
    queued(world, activeDeadlineSeconds=1000)
    run(world, kueue, JOB)
    world.wait(100_000)
    world.settle()
    assert world.says(SEARCH, "Succeeded") == ("Unknown", "AwaitsAdmission")
    assert world.says(SEARCH, "Stalled") == ("", "")
    kueue.admit()
    world.start_pods()
    world.settle()
    assert world.says(SEARCH, "Reconciling") == ("True", "Running")


def test_quota_that_is_taken_back_is_no_failure_and_the_work_goes_on_later(world, kueue):
    queued(world, backoffLimit=0)
    run(world, kueue, JOB)
    kueue.admit()
    world.start_pods()
    world.settle()
    for _ in range(3):
        kueue.evict()
        world.settle()
        assert world.says(SEARCH, "Succeeded") == ("Unknown", "AwaitsAdmission")
        kueue.admit()
        world.start_pods()
        world.settle()
    assert world.status(SEARCH).get("failures", 0) == 0
    world.finish(SEARCH, status={"best": None})
    assert world.says(SEARCH, "Succeeded")[0] == "True"


def test_one_queue_takes_its_jobs_one_after_the_other(world, kueue):
    queued(world)
    world.node("board-b", device="other")
    device = {"name": "other", "nodeSelector": {"edgetran.io/device": "other"}}
    other = world.apply("ProfilingJob", "other", spec_of("ProfilingJob", device=device))
    label(world, other)
    world.settle()
    kueue.admit()
    waiting = [job for job in kueue.labelled() if job["spec"]["suspend"]]
    assert len(waiting) == 1
    world.start_pods()
    world.settle()
    states = {world.says(key, "Succeeded")[1] for key in (JOB, other)}
    assert states == {"Running", "AwaitsAdmission"}


def test_a_worker_that_never_ran_moves_to_another_queue_with_its_resource(world, kueue):
    queued(world)
    kueue.closed.add("edge")
    kueue.admit()
    label(world, JOB, "other")
    world.settle()
    job = world.job_of(JOB)
    assert job["metadata"]["labels"][QUEUE_LABEL] == "other"
    assert job["spec"]["suspend"] is True
    run(world, kueue, JOB)
    assert world.says(JOB, "Succeeded")[0] == "True"


def test_a_resource_that_kueue_suspends_itself_rests_and_goes_on(world):
    """Its external frameworks drive `spec.suspend` of resources that they know."""
    key = world.apply("CoDesignSearch", "s", spec_of("CoDesignSearch", suspend=True))
    world.settle()
    assert world.says(key, "Suspended")[0] == "True"
    assert world.jobs() == []
    world.change(key, suspend=False)
    world.settle()
    world.finish(JOB)
    world.start_pods()
    world.settle()
    assert world.says(key, "Reconciling") == ("True", "Running")
    world.change(key, suspend=True)
    world.settle()
    assert world.says(key, "Suspended")[0] == "True"
    assert world.job_of(key) is None


def test_without_the_label_nothing_is_suspended(world):
    world.apply("CoDesignSearch", "s")
    world.settle()
    job = world.job_of(JOB)
    assert QUEUE_LABEL not in job["metadata"]["labels"]
    assert "suspend" not in job["spec"]


def test_a_job_that_somebody_suspends_by_hand_says_so(world):
    world.apply("CoDesignSearch", "s")
    world.settle()
    job = world.job_of(JOB)
    world._store({**job, "spec": {**job["spec"], "suspend": True}})
    world.settle()
    assert world.says(JOB, "Reconciling") == ("True", "AwaitsAdmission")
    assert "set its spec.suspend to false" in world.condition(JOB, "Reconciling")["message"]
