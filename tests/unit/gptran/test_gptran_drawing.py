"""The drawing names every node, what became of it, and the winner."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from gptran_world import ROOT, Interrupted
from rich.console import Console

from edgetran.gptran.blocks import GPTranError
from edgetran.gptran.drawing import draw_tree
from edgetran.gptran.loop import run_gptran
from edgetran.gptran.plan import GPTranPlan
from edgetran.gptran.tree import Tree, read_tree
from edgetran.search import Bound, Constraints

PLAN = GPTranPlan(samples_per_stage=2, seed=7)


def text_of(drawing):
    console = Console(file=io.StringIO(), width=300)
    console.print(drawing)
    return console.file.getvalue()


def run(world, plan=PLAN):
    return run_gptran(
        plan, world.trainer, predictor=world.predictor, pool=world.pool, folder=world.folder
    )


def test_every_node_is_drawn_below_its_parent_and_the_winner_is_marked(world):
    here = world()
    result = run(here)
    tree = read_tree(here.folder / "tree.jsonl")
    lines = text_of(draw_tree(tree, result.best.id)).splitlines()
    assert len(lines) == len(tree.nodes)
    places = {}
    for line in lines:
        name = next(node for node in tree.nodes if f"{node}  " in line)
        places[name] = line.index(name)
    for node in tree.nodes.values():
        if node.parent:
            assert places[node.id] == places[node.parent] + 4
    marked = [line for line in lines if "best" in line]
    assert len(marked) == 1
    assert f"{result.best.id}  {result.best.change}" in marked[0]
    assert f"metric {result.best.metric:.4f}" in marked[0]


def test_dropped_and_failed_nodes_say_why(world):
    here = world(fail=lambda a: "diverged [at step 3]" if a.layers[0].num_heads > 4 else None)
    limit = here.trainer.parameters(ROOT) + 4000
    run(
        here,
        replace(PLAN, samples_per_stage=8, budgets=Constraints(parameters=Bound(maximum=limit))),
    )
    text = text_of(draw_tree(read_tree(here.folder / "tree.jsonl")))
    assert "failed: diverged [at step 3]" in text
    assert "dropped: parameters" in text


def test_a_tree_that_has_just_begun_can_be_drawn(world):
    here = world(stop_after=0)
    Tree(here.folder / "tree.jsonl", {})
    assert "no model" in text_of(draw_tree(read_tree(here.folder / "tree.jsonl")))
    (here.folder / "tree.jsonl").unlink()
    with pytest.raises(Interrupted):
        run(here)
    assert "root" in text_of(draw_tree(read_tree(here.folder / "tree.jsonl")))


def test_a_file_without_a_tree_is_refused_by_name(tmp_path):
    with pytest.raises(GPTranError, match=r"tree\.jsonl: holds no tree"):
        read_tree(tmp_path / "tree.jsonl")
    (tmp_path / "trials.jsonl").write_text('{"type": "trial"}\n')
    with pytest.raises(GPTranError, match="holds no tree"):
        read_tree(tmp_path / "trials.jsonl")
