"""A podTemplate that is mended before anything ran makes the worker anew; later it is refused."""

import pytest
from operator_world import World, check_status, spec_of

from edgetran_operator.plan import Plan

FIRST = {"spec": {"nodeSelector": {"disk": "ssd"}}}
MENDED = {"spec": {"nodeSelector": {"disk": "nvme"}}}


@pytest.fixture
def world():
    world = World()
    world.node("board-a", device="pi")
    return world


def disk_of(job):
    return job["spec"]["template"]["spec"].get("nodeSelector", {}).get("disk")


def made(world, kind="ProfilingJob", name="p", **spec):
    key = world.apply(kind, name, spec_of(kind, podTemplate=FIRST, **spec))
    world.settle()
    return key


def test_the_worker_is_made_anew_with_the_new_template(world):
    key = made(world)
    before = world.job_of(key)
    assert disk_of(before) == "ssd"
    world.change(key, podTemplate=MENDED)
    world.settle()
    after = world.job_of(key)
    assert disk_of(after) == "nvme"
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    assert world.says(key, "Stalled") == ("", "")
    assert "SpecChangeRefused" not in world.told(key)
    check_status(world.status(key))
    world.finish(key)
    assert world.says(key, "Succeeded")[0] == "True"


def test_a_template_that_is_taken_away_before_anything_ran_is_gone(world):
    key = made(world)
    spec = dict(world.objects[key]["spec"])
    del spec["podTemplate"]
    world.apply(key.kind, key.name, spec)
    world.settle()
    assert disk_of(world.job_of(key)) is None


@pytest.mark.parametrize("when", ["running", "suspended", "failed", "ended"])
def test_once_something_ran_the_change_is_refused_and_told(world, when):
    key = made(world, backoffLimit=5)
    world.start_pods()
    world.settle()
    if when == "failed":
        world.end_pod(key, 1)
    elif when == "ended":
        world.finish(key)
    elif when == "suspended":
        world.wait(60)
        world.change(key, suspend=True)
    world.settle()
    world.change(key, podTemplate=MENDED)
    world.settle()
    if when != "ended":
        assert "once work has begun" in str(world.status(key)["conditions"])
    if when == "suspended":
        world.change(key, suspend=False)
        world.settle()
    assert disk_of(world.job_of(key)) == "ssd"
    assert when == "running" or world.status(key)


def test_another_change_beside_it_is_refused_with_it(world):
    """Of a server that has no rules of its own."""
    key = made(world)
    world.change(key, podTemplate=MENDED, seed=7)
    world.settle()
    assert disk_of(world.job_of(key)) == "ssd"
    assert "seed is immutable" in str(world.status(key)["conditions"])


def test_a_new_template_that_is_not_allowed_makes_no_worker(world):
    key = made(world)
    world.change(key, podTemplate={"spec": {"hostPID": True}})
    world.settle()
    assert world.job_of(key) is None
    assert world.says(key, "Stalled") == ("True", "SpecInvalid")
    world.change(key, podTemplate=MENDED)
    world.settle()
    assert disk_of(world.job_of(key)) == "nvme"


class DiesAfter(World):
    """An operator that dies after so many writes and starts anew."""

    left = None

    def carry_out(self, key, plan):
        if self.left is None:
            super().carry_out(key, plan)
            return
        for part in _one_by_one(plan):
            if self.left == 0:
                self.left = None
                self.restart_operator()
                return
            self.left -= 1
            super().carry_out(key, part)


def _one_by_one(plan):
    if plan.status:
        yield Plan(status=plan.status)
    yield from (Plan(status={}, apply=(each,)) for each in plan.apply)
    yield from (Plan(status={}, change=(each,)) for each in plan.change)
    yield from (Plan(status={}, delete=(each,)) for each in plan.delete)


@pytest.mark.parametrize("writes", range(12))
def test_an_operator_that_dies_at_any_write_takes_the_change_over_afterwards(writes):
    world = DiesAfter()
    world.node("board-a", device="pi")
    key = made(world)
    world.left = writes
    world.change(key, podTemplate=MENDED)
    world.settle()
    assert disk_of(world.job_of(key)) == "nvme"
    assert world.says(key, "Stalled") == ("", "")


def test_a_searchs_template_goes_on_to_what_was_made_for_it_until_that_ran(world):
    key = made(world, "CoDesignSearch", "s")
    child = next(each for each in world.existing() if each.kind == "ProfilingJob")
    assert disk_of(world.job_of(child)) == "ssd"
    world.change(key, podTemplate=MENDED)
    world.settle()
    assert disk_of(world.job_of(child)) == "nvme"

    world.start_pods()
    world.settle()
    world.change(key, podTemplate=FIRST)
    world.settle()
    assert disk_of(world.job_of(child)) == "nvme"
    assert "once work has begun" in str(world.status(key)["conditions"])
    world.finish(child)
    world.settle()
    assert disk_of(world.job_of(key)) == "nvme"


def test_a_claim_of_the_settings_stays_the_runs_own(world):
    """The spec that work begins with has it, though the resource has not."""
    from dataclasses import replace

    from edgetran_operator.settings import DefaultStorage, Settings

    settings = replace(Settings(), default_storage=DefaultStorage("fast"))
    world = World(settings)
    spec = spec_of("GPTranRun", podTemplate=FIRST)
    device = {"name": "h", "simulation": "raspberry-pi-4-cpu"}
    spec |= {"model": "m", "task": {"name": "movie-reviews"}, "device": device}
    for field in ("searchRef", "storage"):
        del spec[field]
    key = world.apply("GPTranRun", "g", spec)
    world.settle()
    assert disk_of(world.job_of(key)) == "ssd"
    world.change(key, podTemplate=MENDED)
    world.settle()
    assert disk_of(world.job_of(key)) == "nvme"
    assert world.says(key, "Stalled") == ("", "")
