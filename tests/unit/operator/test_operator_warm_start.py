"""ProfilingJobs that start from the measurements of others, and those that nothing can come of."""

import json

import pytest
from operator_world import World, spec_of

from edgetran_operator.kube.cache import Key


@pytest.fixture
def world() -> World:
    world = World()
    world.node("board-a", device="pi")
    return world


def job(world: World, name: str, *starts: str, **changes: object) -> Key:
    if starts:
        changes["warmStartFrom"] = [{"name": start} for start in starts]
    key = world.apply("ProfilingJob", name, spec_of("ProfilingJob", **changes))
    world.settle()
    return key


def finish(world: World, key: Key) -> None:
    world.start_pods()
    world.settle()
    world.report(key, progress="8/8")
    world.finish(key)


def test_a_warm_start_waits_for_the_profiles_that_it_starts_from(world):
    first = job(world, "first")
    second = job(world, "second", "first")
    assert world.says(second, "Reconciling") == ("True", "DependencyNotReady")
    assert "ProfilingJob/first" in world.condition(second, "Reconciling")["message"]
    finish(world, first)
    world.settle()
    assert world.status(second)["node"] == "board-a"
    pod = world.job_of(second)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert "/etc/edgetran/inputs/pj-first/0" in mounted


def test_a_job_that_waits_for_a_profile_leaves_the_board_to_the_one_that_makes_it(world):
    second = job(world, "second", "first")
    assert world.says(second, "Stalled") == ("True", "DependencyMissing")
    first = job(world, "first")
    world.settle()
    assert world.status(first)["node"] == "board-a"
    assert world.job_of(second) is None
    finish(world, first)
    world.settle()
    assert world.status(second)["node"] == "board-a"


def test_a_job_whose_start_failed_fails(world):
    first = job(world, "first", backoffLimit=0)
    second = job(world, "second", "first")
    world.start_pods()
    world.settle()
    world.end_pod(first, 10, "SpecInvalid", "no such file")
    world.settle()
    assert world.says(first, "Succeeded")[0] == "False"
    assert world.says(second, "Succeeded") == ("False", "DependencyFailed")


@pytest.mark.parametrize(
    "refers",
    [
        {"a": "a"},
        {"a": "b", "b": "a"},
        {"a": "b", "b": "c", "c": "a"},
    ],
)
def test_references_in_a_circle_are_told_whoever_came_first(world, refers):
    keys = [job(world, name, other) for name, other in refers.items()]
    world.settle()
    told = [world.condition(key, "Stalled") for key in keys]
    assert all(condition["reason"] == "SpecInvalid" for condition in told), told
    assert all("references in a circle" in condition["message"] for condition in told)
    assert world.jobs() == []


def test_an_invalid_job_does_not_keep_its_board_from_others(world):
    bad = spec_of("ProfilingJob")
    bad["device"]["precision"] = "fp16"
    wrong = world.apply("ProfilingJob", "wrong", bad)
    world.settle()
    assert world.says(wrong, "Stalled") == ("True", "SpecInvalid")
    good = job(world, "good")
    world.settle()
    assert world.status(good)["node"] == "board-a"
    assert "node" not in world.status(wrong) or world.status(wrong)["node"] is None
    assert json.dumps(world.status(wrong)).count("board-a") == 0
