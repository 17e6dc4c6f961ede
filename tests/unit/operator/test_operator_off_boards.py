"""Boards are for measuring: what trains keeps off them unless it is allowed."""

import pytest
from operator_world import World, spec_of
from test_operator_headlines import pod_of, unschedulable

from edgetran_operator.kube.cache import Key

JOB = Key("ProfilingJob", "ns", "s-pi")
REFINE = Key("GPTranRun", "ns", "s-refine")
NO_BOARD = {"key": "edgetran.io/device", "operator": "DoesNotExist"}
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
ELSEWHERE = "0/2 nodes are available: 2 node(s) didn't match {}."


@pytest.fixture
def world() -> World:
    world = World()
    world.node("board-a", device="pi")
    return world


def searching(world: World, **changes: object) -> Key:
    key = world.apply("CoDesignSearch", "s", spec_of("CoDesignSearch", **changes))
    world.settle()
    world.finish(JOB)
    return key


def asked(pod):
    """What a pod's node affinity demands, by expressions."""
    affinity = pod["spec"].get("affinity", {}).get("nodeAffinity", {})
    terms = affinity.get(REQUIRED, {}).get("nodeSelectorTerms", [])
    return [expression for term in terms for expression in term.get("matchExpressions", ())]


def pod_template(world, key):
    return world.job_of(key)["spec"]["template"]


def test_a_search_and_its_refinement_train_on_nodes_that_are_no_boards(world):
    key = searching(world, refine={})
    assert asked(pod_template(world, key)) == [NO_BOARD]
    world.finish(key)
    assert asked(pod_template(world, REFINE)) == [NO_BOARD]


def test_what_measures_runs_on_its_board_all_the_same(world):
    world.apply("CoDesignSearch", "s")
    world.settle()
    assert asked(pod_template(world, JOB)) == []


def test_what_a_template_asks_of_nodes_comes_on_top(world):
    zone = {"key": "zone", "operator": "In", "values": ["a"]}
    affinity = {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": [zone]}]}}}
    template = {"spec": {"affinity": affinity}}
    key = searching(world, podTemplate=template)
    assert asked(pod_template(world, key)) == [NO_BOARD, zone]


def test_trainers_of_ray_keep_off_too(world):
    searching(world, ray={"mode": "kuberay", "workers": 2})
    cluster = world.objects["RayJob", "ns", "s-cds-worker"]["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert asked(group["template"]) == [NO_BOARD]


def test_boards_are_trained_on_where_that_is_allowed(world):
    key = searching(world, trainOnBoards=True, refine={})
    assert asked(pod_template(world, key)) == []
    world.finish(key)
    assert asked(pod_template(world, REFINE)) == []


@pytest.mark.parametrize(
    "words", ["Pod's node affinity/selector", "node selector", "node affinity"]
)
def test_a_cluster_of_boards_alone_is_told_what_to_do_and_then_does_it(world, words):
    key = searching(world)
    pod_of(world, key, **unschedulable(ELSEWHERE.format(words)))
    world.settle()
    assert world.says(key, "Succeeded") == ("Unknown", "Unschedulable")
    assert "spec.trainOnBoards: true" in world.condition(key, "Succeeded")["message"]
    world.change(key, trainOnBoards=True)
    world.settle()
    assert asked(pod_template(world, key)) == []
    assert "SpecChangeRefused" not in world.told(key)
    world.start_pods()
    world.settle()
    assert world.says(key, "Succeeded") == ("Unknown", "Running")


def test_it_may_change_while_a_refinement_waits_too(world):
    key = searching(world, refine={})
    world.finish(key)
    pod_of(world, REFINE, **unschedulable(ELSEWHERE.format("node selector")))
    world.settle()
    world.change(key, trainOnBoards=True)
    world.settle()
    assert world.objects[REFINE]["spec"]["trainOnBoards"] is True
    assert asked(pod_template(world, REFINE)) == []


def test_nothing_is_said_of_boards_where_they_are_not_what_is_in_the_way(world):
    key = searching(world)
    pod_of(world, key, **unschedulable("0/2 nodes are available: 2 Insufficient cpu."))
    world.settle()
    assert "trainOnBoards" not in world.condition(key, "Succeeded")["message"]
