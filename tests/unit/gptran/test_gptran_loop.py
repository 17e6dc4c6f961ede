"""The loop accepts what is better, keeps the budgets, backs up, and loses nothing when killed."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from dataclasses import replace

import pytest
from gptran_world import ROOT, Interrupted

from edgetran.gptran.blocks import GPTranError
from edgetran.gptran.loop import run_gptran
from edgetran.gptran.plan import GPTranPlan
from edgetran.gptran.steps import GROW_STAGES, STAGES
from edgetran.gptran.tree import read_tree
from edgetran.records import read_records
from edgetran.search import Bound, Constraints

PLAN = GPTranPlan(cycles=1, samples_per_stage=2, cost_weight=0.02, tolerance=0.005, seed=7)


def refine(world, plan=PLAN):
    return run_gptran(
        plan,
        world.trainer,
        predictor=world.predictor,
        pool=world.pool,
        folder=world.folder,
    )


def tree_of(world):
    return read_tree(world.folder / "tree.jsonl")


def outcome_of(world):
    """What the tree says, however often the run was stopped."""
    tree = tree_of(world)
    return tree.nodes, tree.rounds


def test_growth_that_helps_is_kept_and_useless_width_is_pruned(world):
    here = world()
    result = refine(here)
    assert result.improved
    assert result.best.metric == pytest.approx(0.79)  # nine heads
    stages = [node.stage for node in result.steps]
    assert stages[:2] == ["root", "growHeads"]
    assert stages[-1] == "pruneFeedForwards"
    assert "pruneHeads" not in stages  # that would have cost quality
    assert result.metric_gain == pytest.approx(0.01)
    assert (result.checkpoint / "architecture.json").exists()
    saved = result.reductions["parameters"]
    assert saved == pytest.approx(1 - result.best.parameters / result.root.parameters)


def test_the_root_wins_honestly_where_every_change_harms(world):
    result = refine(world(lambda architecture: 0.8 if architecture == ROOT else 0.3))
    assert not result.improved
    assert result.best.id == "root"
    assert "no improvement" in result.reason
    assert set(result.reductions.values()) == {0.0}


def test_a_child_better_by_quality_alone_loses_to_a_cheap_one_if_cost_weighs_more(world):
    here = world(lambda architecture: 0.8)
    result = refine(here, replace(PLAN, cost_weight=0.5))
    assert result.best.parameters < result.root.parameters
    assert result.best.metric == 0.8


def test_children_over_a_budget_are_dropped_before_training(world):
    here = world()
    root = here.trainer.parameters(ROOT)
    result = refine(here, replace(PLAN, budgets=Constraints(parameters=Bound(maximum=root))))
    nodes = tree_of(here).nodes
    dropped = [node for node in nodes.values() if node.state == "dropped"]
    assert dropped
    for node in dropped:
        assert node.parameters > root
        assert "parameters" in node.reason
        assert node.id not in here.pool.trained
    assert all(nodes[key].parameters <= root for key in here.pool.trained)
    assert result.best.parameters <= root


def test_a_root_over_its_budget_is_pruned_towards_it(world):
    here = world(lambda architecture: 0.8)
    limit = 0.97 * here.trainer.parameters(ROOT)
    plan = replace(
        PLAN,
        cycles=3,
        stages=("pruneFeedForwards",),
        budgets=Constraints(parameters=Bound(maximum=limit)),
    )
    result = refine(here, plan)
    assert not result.root.within_budgets
    assert result.best.within_budgets
    assert result.best.parameters <= limit


def test_a_budget_below_the_floors_is_refused_with_the_nearest_before_anything_is_trained(world):
    here = world(lambda architecture: 0.8)
    plan = replace(PLAN, budgets=Constraints(parameters=Bound(maximum=10)))
    with pytest.raises(
        GPTranError,
        match=r"budgets\.parameters: Invalid value: 10: must be at least [\d,]+: .* on arithmetic",
    ) as refused:
        refine(here, plan)
    nearest = int(re.search(r"at least ([\d,]+)", str(refused.value))[1].replace(",", ""))
    assert here.pool.trained == []
    shutil.rmtree(here.folder)
    again = world(lambda architecture: 0.8)
    result = refine(again, replace(plan, budgets=Constraints(parameters=Bound(maximum=nearest))))
    assert result.best.parameters == nearest


def test_a_budget_that_the_device_cannot_tell_is_refused_with_its_reason(world):
    here = world()
    here.predictor.energy = False
    plan = replace(PLAN, budgets=Constraints(energy_mj=Bound(maximum=1.0)))
    with pytest.raises(GPTranError, match=r"budgets\.energy_mj.*arithmetic.*no power source"):
        refine(here, plan)


def test_failed_children_are_recorded_and_do_not_stop_the_run(world):
    wide = max(ROOT.layers[0].feed_forward)

    def fail(architecture):
        grown = any(max(layer.feed_forward) > wide for layer in architecture.layers)
        return "diverged at step 3" if grown or architecture.num_layers == 0 else None

    here = world(fail=fail)
    plan = replace(PLAN, stages=("growFeedForwards", "pruneFeedForwards"), samples_per_stage=6)
    refine(here, plan)
    nodes = tree_of(here).nodes.values()
    failed = [node for node in nodes if node.state == "failed"]
    assert failed
    assert all("diverged at step 3" in node.reason for node in failed)
    assert all(node.metric is None and node.checkpoint is None for node in failed)


def test_a_round_in_which_all_fail_stops_the_run_and_is_tried_again(world):
    here = world(fail=lambda architecture: "no space left")
    with pytest.raises(GPTranError, match=r"every child failed.*no space left"):
        refine(here)
    again = world()
    assert refine(again).improved


def test_a_failure_to_make_starting_weights_is_a_failed_child(world):
    here = world()
    start = here.trainer.start

    def fragile(step, parent, folder, seed):
        if folder.name == "1.1":
            raise ValueError("the head does not fit")
        return start(step, parent, folder, seed)

    here.trainer.start = fragile
    refine(here)
    assert "the head does not fit" in tree_of(here).nodes["1.1"].reason


def test_every_stage_makes_children_of_its_own_kind(world):
    here = world(lambda architecture: 0.8)
    refine(here, replace(PLAN, stages=STAGES, patience=20))
    for stage in STAGES:
        made = [node for node in tree_of(here).nodes.values() if node.stage == stage]
        assert made, stage
        for node in made:
            parent = tree_of(here).nodes[node.parent]
            assert (node.parameters < parent.parameters) or stage in GROW_STAGES


def test_patience_ends_a_run_that_finds_nothing(world):
    here = world(lambda architecture: 0.8 if architecture == ROOT else 0.3)
    refine(here, replace(PLAN, cycles=10, patience=3))
    assert max(tree_of(here).rounds) == 3


def test_after_a_fruitless_stage_the_best_open_node_goes_on(world):
    # The first growth stage gives children no better than the root; the second stage must start
    # again from the root, the best-scored node, and not from a worse child.
    here = world(lambda architecture: 0.8)
    refine(here, replace(PLAN, stages=("growHeads", "growFeedForwards")))
    rounds = tree_of(here).rounds
    assert rounds[1].accepted is None
    assert rounds[2].parent == "root"


def test_no_architecture_is_made_twice_over_many_cycles(world):
    here = world()
    refine(here, replace(PLAN, cycles=4))
    nodes = tree_of(here).nodes.values()
    hashes = [node.graph_hash for node in nodes if node.stage != "control"]
    assert len(set(hashes)) == len(hashes)


def test_the_same_seed_gives_the_same_tree_and_another_seed_another(world):
    here = world()
    refine(here)
    first = outcome_of(here)
    seeds = dict(here.pool.seeds)
    shutil.rmtree(here.folder)
    again = world()
    refine(again)
    assert outcome_of(again) == first
    assert again.pool.seeds == seeds
    shutil.rmtree(here.folder)
    other = world()
    refine(other, replace(PLAN, seed=8))
    assert outcome_of(other) != first


def test_a_run_killed_in_any_training_continues_and_trains_no_node_twice(world):
    here = world()
    refine(here)
    whole, trainings = outcome_of(here), sorted(here.pool.trained)
    shutil.rmtree(here.folder)
    finished: list[str] = []
    for _ in range(len(trainings)):
        killed = world(stop_after=1)
        with contextlib.suppress(Interrupted):
            refine(killed)
        finished += killed.pool.trained
    last = world()
    refine(last)
    assert outcome_of(last) == whole
    assert sorted(finished + last.pool.trained) == trainings


def test_a_log_cut_after_any_record_or_within_one_grows_to_the_same_tree(world):
    here = world()
    result = refine(here)
    whole = outcome_of(here)
    path = here.folder / "tree.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    for count in range(len(lines)):
        for torn in (b"", lines[count][: len(lines[count]) // 2]):
            path.write_bytes(b"".join(lines[:count]) + torn)
            present = {r["id"] for r in read_records(path) if r["type"] == "node"}
            again = world()
            assert refine(again) == result
            assert outcome_of(again) == whole
            assert not present & set(again.pool.trained)


def test_a_finished_run_is_only_read(world):
    here = world()
    result = refine(here)
    content = (here.folder / "tree.jsonl").read_bytes()
    again = world()
    assert refine(again) == result
    assert again.pool.trained == []
    assert (here.folder / "tree.jsonl").read_bytes() == content


def test_a_tree_of_before_a_measure_was_added_is_continued(world):
    plan = replace(PLAN, budgets=Constraints(parameters=Bound(maximum=10**9)))
    here = world()
    result = refine(here, plan)
    log = here.folder / "tree.jsonl"
    first, *rest = log.read_text().splitlines(keepends=True)
    record = json.loads(first)
    record["plan"]["budgets"] |= {"accuracy": None, "latency_ms": None}  # as it was written
    log.write_text(json.dumps(record) + "\n" + "".join(rest))
    again = world()
    assert refine(again, plan) == result
    assert again.pool.trained == []


def test_another_plan_may_not_continue_the_tree(world):
    refine(world())
    with pytest.raises(GPTranError, match=r"other settings \(seed, tolerance\)"):
        refine(world(), replace(PLAN, seed=1, tolerance=0.5))


def test_a_finished_tree_is_continued_when_more_cycles_are_asked_for(world):
    here = world()
    refine(here)
    rounds, trained = len(tree_of(here).rounds), set(here.pool.trained)
    more = world()
    refine(more, replace(PLAN, cycles=2, patience=50))
    assert len(tree_of(more).rounds) == 2 * rounds
    assert not trained & set(more.pool.trained)
    fewer = world()
    refine(fewer)
    assert fewer.pool.trained == []


def test_starting_weights_are_cleared_away(world):
    here = world()
    refine(here)
    assert list((here.folder / "starts").iterdir()) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"stages": ("growHead",)},
        {"stages": ()},
        {"cycles": -1},
        {"steps_per_target": 5},
        {"confidence": 1.0},
        {"patience": 0},
        {"tolerance": -0.1},
        {"selection": "training loss"},
    ],
)
def test_impossible_plans_are_refused_by_field(wrong):
    with pytest.raises(GPTranError, match=next(iter(wrong))):
        GPTranPlan(**wrong)


def test_a_winner_whose_weights_are_lost_is_trained_again_with_its_ancestors(world):
    here = world()
    result = refine(here)
    content = (here.folder / "tree.jsonl").read_bytes()
    seeds = here.pool.seeds
    shutil.rmtree(here.folder / "nodes")
    again = world()
    assert refine(again) == result
    path = [node.id for node in result.steps if node.id != "root"]
    assert len(path) > 1
    assert again.pool.trained == path
    assert all(again.pool.seeds[key] == seeds[key] for key in path)
    assert (result.checkpoint / "architecture.json").exists()
    assert (here.folder / "tree.jsonl").read_bytes() == content


def test_a_parent_whose_weights_are_lost_is_trained_again_before_its_children(world):
    whole = world()
    refine(whole)
    expected, trainings = outcome_of(whole), list(whole.pool.trained)
    shutil.rmtree(whole.folder)
    killed = world(stop_after=len(trainings) - 1)
    with contextlib.suppress(Interrupted):
        refine(killed)
    shutil.rmtree(whole.folder / "nodes")
    last = world()
    refine(last)
    assert outcome_of(last) == expected
    nodes = tree_of(last).nodes
    child = next(key for key in last.pool.trained if key not in killed.pool.trained)
    order = last.pool.trained
    assert nodes[child].parent == "root" or order.index(nodes[child].parent) < order.index(child)


def test_the_model_to_refine_is_where_the_trainer_has_it(world):
    here = world()
    refine(here)
    moved = world()
    moved.trainer.root = here.trainer.root.rename(here.folder.parent / "moved")
    shutil.rmtree(here.folder / "nodes")
    assert refine(moved).improved
