"""Children that the API server refuses."""

import pytest
from operator_world import World, spec_of

from edgetran.api import Reason


@pytest.fixture
def world() -> World:
    world = World()
    world.node("board-a", device="pi")
    return world


def rounds(world, key, count=4):
    for _ in range(count):
        world.reconcile(key)


def test_what_is_refused_as_invalid_is_told_and_not_asked_for_again(world):
    world.refused["Job/p-pj-worker"] = (Reason.SPEC_INVALID, "no such field")
    key = world.apply("ProfilingJob", "p")
    rounds(world, key)
    assert world.says(key, "Stalled") == ("True", "SpecInvalid")
    assert world.condition(key, "Stalled")["message"] == (
        "Job/p-pj-worker is refused: no such field"
    )
    calls = world.calls
    rounds(world, key)
    assert world.calls == calls
    other = world.apply("ProfilingJob", "q")
    world.settle()
    assert world.status(other)["node"] == "board-a", "it keeps no board from others"
    world.finish(other)
    world.refused.clear()
    world.change(key, podTemplate={"spec": {"nodeSelector": {"disk": "ssd"}}})
    world.settle()
    assert world.says(key, "Stalled") == ("", "")


def test_what_a_quota_refuses_is_asked_for_again(world):
    world.refused["Job/p-pj-worker"] = (Reason.INSUFFICIENT_QUOTA, "exceeded quota: q")
    key = world.apply("ProfilingJob", "p")
    rounds(world, key)
    assert world.says(key, "Stalled") == ("True", "InsufficientQuota")
    world.refused.clear()
    world.refusals.clear()
    world.settle()
    assert world.job_of(key) is not None
    assert world.says(key, "Stalled") == ("", "")


def test_results_that_cannot_grow_are_told_while_the_work_goes_on(world):
    key = world.apply("ProfilingJob", "p")
    world.settle()
    world.start_pods()
    world.refused["ConfigMap/p-pj-results-1"] = (Reason.INSUFFICIENT_QUOTA, "exceeded quota: q")
    world.report(key)
    rounds(world, key)
    assert world.says(key, "Stalled") == ("True", "InsufficientQuota")
    assert "p-pj-results-1" in world.condition(key, "Stalled")["message"]
    world.refused.clear()
    world.refusals.clear()
    world.settle()
    assert world.says(key, "Reconciling") == ("True", "Running")


@pytest.mark.parametrize("reason", [Reason.SPEC_INVALID, Reason.CHILD_FAILED])
def test_a_profiling_job_that_is_refused_holds_its_search_up(world, reason):
    world.refused["ProfilingJob/s-pi"] = (reason, "a policy says no")
    key = world.apply("CoDesignSearch", "s")
    rounds(world, key)
    assert world.says(key, "Stalled") == ("True", str(reason))
    assert (
        "ProfilingJob/s-pi is refused: a policy says no"
        in (world.condition(key, "Stalled")["message"])
    )


def test_a_refinement_that_is_refused_holds_its_search_up(world):
    world.refused["GPTranRun/s-refine"] = (Reason.CHILD_FAILED, "a policy says no")
    devices = [{"name": "sim", "simulation": "intel-ncs2"}]
    spec = spec_of("CoDesignSearch", devices=devices, refine={})
    key = world.apply("CoDesignSearch", "s", spec)
    world.settle()
    world.start_pods()
    world.report(key, finished=True)
    world.end_pod(key, 0)
    rounds(world, key)
    assert world.says(key, "Stalled") == ("True", "ChildFailed")
    assert world.says(key, "SearchComplete")[0] == "True"


@pytest.mark.parametrize("kind", ["CoDesignSearch", "GPTranRun"])
def test_work_whose_models_nothing_keeps_is_refused_before_it_starts(world, kind):
    spec = spec_of(kind)
    del spec["storage"]
    key = world.apply(kind, "s", spec)
    world.settle()
    assert world.says(key, "Succeeded") == ("False", "SpecInvalid")
    assert world.says(key, "Stalled") == ("True", "SpecInvalid")
    message = world.condition(key, "Stalled")["message"]
    assert message.startswith("spec.storage: Required value: must be a claim")
    assert "workers.defaultStorage" in message
    assert not [kind for kind, _, _ in world.objects if kind in ("Job", "ProfilingJob")]


CLUSTER = {"mode": "cluster", "address": "ray://ray-head:10001"}


@pytest.mark.parametrize("kind", ["CoDesignSearch", "GPTranRun"])
@pytest.mark.parametrize(
    ("ray", "storage", "given"),
    [
        (
            CLUSTER,
            {"uri": "s3://bucket/folder"},
            "spec.storage.uri: Forbidden: with ray.mode cluster",
        ),
        (
            {"mode": "kuberay", "workers": 1},
            {"uri": "s3://bucket/folder"},
            "spec.storage.uri: Forbidden: with ray.mode kuberay",
        ),
    ],
    ids=["cluster", "kuberay"],
)
def test_ray_workers_elsewhere_need_a_claim(world, kind, ray, storage, given):
    key = world.apply(kind, "r", spec_of(kind, ray=ray, storage=storage))
    world.settle()
    assert world.says(key, "Stalled") == ("True", "SpecInvalid")
    message = world.condition(key, "Stalled")["message"]
    assert given in message
    assert "use a claim or a newClaim" in message
    assert not [name for kind, _, name in world.objects if kind in ("Job", "RayJob", "ConfigMap")]


@pytest.mark.parametrize(
    "ray", [{"mode": "local"}, {"mode": "kuberay", "workers": 0}], ids=["local", "head-alone"]
)
def test_ray_in_one_pod_needs_no_claim(world, ray):
    spec = spec_of("CoDesignSearch", ray=ray, storage={"uri": "s3://bucket/folder"})
    key = world.apply("CoDesignSearch", "r", spec)
    world.settle()
    assert world.says(key, "Stalled")[0] != "True"
