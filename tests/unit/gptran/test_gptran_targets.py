"""Targets are met by a few big cuts, whose family and control are nodes of the tree."""

from __future__ import annotations

import contextlib
import itertools
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from gptran_world import ROOT, Interrupted

from edgetran.devices import HardwareFigures
from edgetran.gptran.blocks import GPTranError
from edgetran.gptran.judge import Judge
from edgetran.gptran.loop import run_gptran
from edgetran.gptran.model_trainer import ValidationScore
from edgetran.gptran.paired import Outcomes, confidence
from edgetran.gptran.plan import GPTranPlan, Targets
from edgetran.gptran.tree import Node, read_tree
from edgetran.search import Bound, Constraints
from edgetran.space import encoder_parameters
from edgetran.training import RayClusterError

PLAN = GPTranPlan(cycles=0, samples_per_stage=2, seed=7, targets=Targets(speedup=(3.0, 1.5)))


def refine(world, plan=PLAN):
    return run_gptran(
        plan, world.trainer, predictor=world.predictor, pool=world.pool, folder=world.folder
    )


def tree_of(world):
    return read_tree(world.folder / "tree.jsonl")


def equal(architecture):
    return 0.8


def test_one_run_gives_a_model_for_every_speedup_from_the_mildest_on(world):
    here = world(equal)
    result = refine(here)
    assert [member.target for member in result.family] == ["speedup 1.5", "speedup 3"]
    latency = result.root.hardware.latency_ms.value
    for member, factor in zip(result.family, (1.5, 3.0), strict=True):
        reached = latency / member.node.hardware.latency_ms.value
        assert factor <= reached < 1.5 * factor
        assert (member.checkpoint / "architecture.json").exists()
    assert result.best == result.family[-1].node
    assert result.family[1].node.parent == result.family[0].node.id
    assert here.pool.trained == ["1.1", "2.1", "control.2"]


def test_a_budget_that_the_root_breaks_is_met_in_one_cut(world):
    here = world(equal)
    limit = 0.4 * here.predictor.predict([ROOT])[0].latency_ms.value
    plan = replace(
        PLAN, targets=Targets(), budgets=Constraints(latency_ms=Bound(maximum=limit)), cycles=0
    )
    result = refine(here, plan)
    assert result.best.within_budgets
    assert 0.6 * limit < result.best.hardware.latency_ms.value <= limit
    assert here.pool.trained == ["1.1", "control.1"]
    assert result.family == ()


def test_a_target_may_be_reached_in_several_steps_with_a_training_after_each(world):
    here = world(equal)
    plan = replace(PLAN, targets=Targets(speedup=(4.0,)), steps_per_target=3)
    result = refine(here, plan)
    path = [node for node in result.steps if node.stage == "schedule"]
    latencies = [node.hardware.latency_ms.value for node in (result.root, *path)]
    factors = [before / after for before, after in itertools.pairwise(latencies)]
    assert min(factors) > 1.1
    assert np.prod(factors) >= 4
    assert here.pool.trained[-1] == "control.3"


def test_each_kind_of_target_starts_from_the_given_model(world):
    here = world(equal)
    count = here.trainer.parameters(ROOT)
    targets = Targets(speedup=(2.0,), encoder_reduction=(3.0,), parameters=(count // 2,))
    result = refine(here, replace(PLAN, targets=targets))
    assert [member.node.parent for member in result.family] == ["root"] * 3
    fewer, smaller = result.family[1].node, result.family[2].node
    assert encoder_parameters(fewer.architecture) <= encoder_parameters(ROOT) / 3
    assert smaller.parameters <= count // 2


def test_a_target_beyond_the_floors_is_refused_with_the_most_that_can_be(world):
    here = world(equal)
    with pytest.raises(
        GPTranError, match=r"targets\.speedup: Invalid value: 5000: must be at most [\d.]+"
    ) as no:
        refine(here, replace(PLAN, targets=Targets(speedup=(5000.0,))))
    most = float(re.search(r"at most ([\d.]+)", str(no.value))[1])
    assert here.pool.trained == []
    shutil.rmtree(here.folder)
    result = refine(world(equal), replace(PLAN, targets=Targets(speedup=(0.99 * most,))))
    assert result.family[0].node is not None


@pytest.mark.parametrize("wrong", [{"speedup": (1.0,)}, {"parameters": (0,)}])
def test_targets_that_are_none_are_refused_by_field(wrong):
    with pytest.raises(GPTranError, match=rf"targets\.{next(iter(wrong))}"):
        Targets(**wrong)


def test_cycles_go_on_from_the_last_cut_within_its_limits(world):
    here = world(equal)
    result = refine(here, replace(PLAN, cycles=1))
    limit = result.root.hardware.latency_ms.value / 3
    later = [node for node in tree_of(here).nodes.values() if node.cycle == 1]
    assert {node.parent for node in later if node.id.startswith("3.")} == {"2.1"}
    for node in later:
        if node.state == "trained":
            assert node.hardware.latency_ms.value <= limit


def test_a_killed_schedule_continues_and_trains_no_node_twice(world):
    here = world(equal)
    whole, trainings = refine(here), sorted(here.pool.trained)
    shutil.rmtree(here.folder)
    finished: list[str] = []
    for _ in trainings:
        killed = world(equal, stop_after=1)
        with contextlib.suppress(Interrupted):
            refine(killed)
        finished += killed.pool.trained
    last = world(equal)
    assert refine(last) == whole
    assert sorted(finished + last.pool.trained) == trainings


def outcomes(architecture, rng=None):
    """Of 400 examples, those right at the model's quality; fewer heads, fewer of them."""
    heads = sum(layer.num_heads for layer in architecture.layers)
    return Outcomes(right=np.arange(400) < 280 + 10 * heads)


def test_the_result_says_how_sure_a_paired_test_is_against_the_control(world):
    here = world(equal)
    judge = here.trainer.judge

    def seen(outcome):
        found = judge(outcome)
        right = outcomes(here.trainer.architecture(outcome.folder))
        return ValidationScore(right.right.mean(), found.loss, found.seconds, right)

    here.trainer.judge = seen
    completed = here.pool.completed

    def with_folder():
        specs = dict(here.pool.waiting)
        for outcome in completed():
            outcome.folder = specs[outcome.key].folder
            yield outcome

    here.pool.completed = with_folder
    result = refine(here)
    assert result.control.id == "control.2"
    assert result.control.architecture == ROOT
    assert result.confidence == pytest.approx(
        confidence(result.best.outcomes, result.control.outcomes)
    )
    assert result.confidence < 0.05  # it has fewer heads
    assert "against the control's" in result.reason
    assert f"{result.confidence:.0%} sure" in result.reason
    assert tree_of(here).nodes["1.1"].outcomes == outcomes(result.steps[1].architecture)


def test_growth_that_may_be_chance_is_not_accepted(world):
    def run(gain):
        here = world()
        judge = here.trainer.judge

        def seen(outcome):
            found = judge(outcome)
            right = np.arange(400) < 300 + gain
            return replace(found, metric=float(right.mean()), outcomes=Outcomes(right=right))

        here.trainer.judge = seen
        evaluate = here.trainer.evaluate
        here.trainer.evaluate = lambda checkpoint: replace(
            evaluate(checkpoint), metric=0.75, outcomes=Outcomes(right=np.arange(400) < 300)
        )
        plan = GPTranPlan(stages=("growHeads",), cycles=1, samples_per_stage=1, confidence=0.9)
        refine(here, plan)
        ended = tree_of(here).rounds[1]
        shutil.rmtree(here.folder)
        return ended

    assert run(gain=2).accepted is None
    sure = run(gain=12)
    assert sure.accepted == "1.1"
    assert sure.confidence > 0.99


def test_pruning_step_by_step_may_not_lose_more_than_the_tolerance_in_all(world):
    def slope(architecture):
        return 0.5 + 0.0001 * sum(sum(layer.feed_forward) for layer in architecture.layers)

    here = world(slope)
    plan = GPTranPlan(
        stages=("pruneFeedForwards",), cycles=12, samples_per_stage=2, tolerance=0.008, patience=12
    )
    refine(here, plan)
    tree = tree_of(here)
    accepted = [tree.nodes[each.accepted] for each in tree.rounds.values() if each.accepted]
    assert accepted
    assert min(node.metric for node in accepted) >= tree.root.metric - plan.tolerance


def test_a_cluster_that_does_not_start_fails_the_run_and_no_child(world):
    here = world(equal)

    def refused(key, spec):
        raise RayClusterError("ray: no cluster answers")

    here.pool.submit = refused
    with pytest.raises(RayClusterError, match="no cluster answers"):
        refine(here)
    assert set(tree_of(here).nodes) == {"root"}
    again = world(equal)
    assert refine(again).improved


def test_weights_that_nothing_goes_on_from_are_removed(world):
    here = world()
    result = refine(here, GPTranPlan(cycles=2, samples_per_stage=4, seed=3))
    tree = tree_of(here)
    kept = {path.name for path in (here.folder / "nodes").iterdir()}
    accepted = {each.accepted for each in tree.rounds.values() if each.accepted}
    way = {node.id for node in result.steps[1:]}
    assert way <= kept <= accepted | way | {result.control.id}
    assert len(kept) < sum(node.state == "trained" for node in tree.nodes.values()) - 1


def test_what_training_alone_does_as_well_has_not_helped():
    hardware = HardwareFigures.infeasible("simulated", "none is needed")
    root = Node(
        "root", None, 0, "root", ROOT, "", "trained", 100, hardware,
        metric=0.75, outcomes=Outcomes(right=np.arange(400) < 300),
    )  # fmt: skip

    def like(name, stage, right, parameters=100):
        known = Outcomes(right=np.arange(400) < right)
        return replace(
            root, id=name, parent="root", stage=stage, parameters=parameters,
            metric=right / 400, outcomes=known,
        )  # fmt: skip

    judge = Judge(GPTranPlan(cost_weight=0.02), root)
    control = like("control.1", "control", 304)
    assert judge.helped(root, control) is False
    assert judge.helped(like("1.1", "growHeads", 305, 110), control) is False  # by chance
    assert judge.helped(like("1.1", "growHeads", 320, 101), control) is True
    assert judge.helped(like("1.1", "pruneHeads", 303, 50), control) is True  # half the size
    assert judge.helped(like("1.1", "pruneHeads", 280, 50), control) is False  # at that price
    assert judge.helped(like("1.1", "growHeads", 305, 101), None) is None
