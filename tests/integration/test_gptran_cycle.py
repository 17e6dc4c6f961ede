"""A real cycle: a trained model is grown and pruned, with real weights, and can be used after."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from edgetran.devices import Workload, catalogue
from edgetran.gptran import GPTranError, GPTranPlan, Targets, read_tree, run_gptran
from edgetran.gptran.task_trainer import TaskTrainer
from edgetran.profiling import simulated_predictor
from edgetran.space import Architecture, encoder_parameters
from edgetran.training import (
    TaskReference,
    TrainingPlan,
    TrialPool,
    TrialSpec,
    load_model,
    predict,
    run_trial,
)

pytestmark = pytest.mark.integration

ARCHITECTURE = Architecture.homogeneous(
    num_layers=2, hidden_size=64, num_heads=2, feed_forward=[128]
)
WORDS = ["plain", "table", "river", "cloud", "stone", "paper", "green", "early", "north", "quiet"]


def write_task(folder):
    """Sentences whose label says whether a good or a bad word is in them."""
    rng = np.random.default_rng(0)
    for name, count in (("train", 240), ("validation", 80), ("test", 40)):
        with open(folder / f"{name}.jsonl", "w") as file:
            for index in range(count):
                label = index % 2
                words = list(rng.choice(WORDS, 6))
                words[rng.integers(6)] = ("awful", "lovely")[label]
                file.write(json.dumps({"text": " ".join(words), "label": label}) + "\n")
    files = {name: str(folder / f"{name}.jsonl") for name in ("train", "validation", "test")}
    return TaskReference(files=files)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("gptran")


@pytest.fixture(scope="module")
def trainer(home):
    task = write_task(home)
    plan = TrainingPlan(steps=30, learning_rate=1e-3, batch_size=32, max_length=16)
    spec = TrialSpec(
        architecture=ARCHITECTURE.to_model_dict(),
        task=task,
        plan=plan,
        seed=0,
        output=str(home / "root"),
        vocab_size=120,
        cache_dir=str(home / "cache"),
    )
    outcome = run_trial(spec)
    assert outcome.error is None
    return TaskTrainer(
        task=task,
        training=TrainingPlan(steps=8, learning_rate=3e-4, batch_size=32, max_length=16),
        root=home / "root",
        vocab_size=120,
        calibration_examples=64,
        cache_dir=str(home / "cache"),
    )


PLAN = GPTranPlan(samples_per_stage=1, tolerance=0.05)


def refine(trainer, folder, plan=PLAN):
    device = catalogue()["raspberry-pi-4-cpu"]
    predictor = simulated_predictor(device, Workload(1, 16, 120, 2), "fp32")
    with TrialPool(parallelism=0) as pool:
        return run_gptran(plan, trainer, predictor=predictor, pool=pool, folder=folder)


def test_a_cycle_grows_and_prunes_a_trained_model(home, trainer):
    result = refine(trainer, home / "gptran")
    tree = read_tree(home / "gptran" / "tree.jsonl")
    trained = [node for node in tree.nodes.values() if node.state == "trained"]
    assert {node.stage for node in trained} <= {"root", "control", *PLAN.stages}
    assert {node.stage for node in trained} >= {"root", "control", "pruneHeads"}
    assert all(len(node.outcomes.right) == 80 for node in trained)
    for node in trained:
        if not tree.checkpoint(node).is_dir():
            continue  # it lost, and nothing goes on from it
        model = load_model(tree.checkpoint(node))
        assert model.config.to_architecture() == node.architecture
        assert sum(p.numel() for p in model.parameters()) == node.parameters
        assert node.hardware.latency_ms.source == "simulated"
        if node.id != "root":
            assert node.transfer_ratio > 0.8
            # Eight steps alone teach nothing: what is known comes from the parent.
            assert node.metric > 0.9
    assert result.best.metric >= result.root.metric - PLAN.tolerance
    logits = predict(load_model(result.checkpoint), trainer.data, "test")
    assert np.isfinite(logits).all()


def test_a_child_that_was_trained_but_not_recorded_is_not_trained_again(home, trainer):
    folder = home / "killed"
    result = refine(trainer, folder)
    log = folder / "tree.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    nodes = [i for i, line in enumerate(lines) if b'"type":"node"' in line]
    weights = {path: path.stat().st_mtime_ns for path in folder.glob("nodes/*/model.safetensors")}
    assert weights
    log.write_bytes(b"".join(lines[: nodes[-2]]))  # killed before the last two were recorded
    assert refine(trainer, folder) == result
    assert {path: path.stat().st_mtime_ns for path in weights} == weights


def test_children_may_learn_from_the_root_too(home, trainer):
    folder = home / "distilled"
    taught = replace(
        trainer,
        training=replace(trainer.training, distillation_hidden_weight=0.1),
        teacher=str(home / "root"),
        teacher_cache=str(folder / "teacher"),
    )
    result = refine(taught, folder)
    assert len(list((folder / "teacher").iterdir())) == 1  # asked once for all
    tree = read_tree(folder / "tree.jsonl")
    assert all(node.state == "trained" for node in tree.nodes.values())
    assert result.best.metric >= result.root.metric - PLAN.tolerance


def test_targets_give_a_family_of_real_models_in_one_run(home, trainer):
    folder = home / "family"
    plan = GPTranPlan(targets=Targets(encoder_reduction=(2.0, 4.0)), cycles=0, tolerance=0.05)
    result = refine(replace(trainer, teacher=str(home / "root")), folder, plan)
    whole = encoder_parameters(ARCHITECTURE)
    for member, factor in zip(result.family, (2.0, 4.0), strict=True):
        model = load_model(member.checkpoint)
        assert model.config.to_architecture() == member.node.architecture
        assert encoder_parameters(member.node.architecture) <= whole / factor
        assert member.node.metric > 0.9
    assert result.control.parameters == result.root.parameters
    assert 0 < result.confidence < 1
    assert refine(replace(trainer, teacher=str(home / "root")), folder, plan) == result


@pytest.mark.parametrize("kind", ["secondOrder", "fisher", "taylor", "magnitude"])
def test_every_importance_gives_cuts_of_a_real_model(home, trainer, kind):
    cuts, even = replace(trainer, importance_by=kind).cuts(home / "root")
    assert [len(order.blocks) for order in cuts.heads] == [2, 2]
    assert [len(order.blocks) for (order,) in cuts.units] == [128, 128]
    assert even.heads[0].losses[-1] == 1


def test_magnitude_may_decide_what_is_pruned(home, trainer):
    importance = replace(trainer, importance_by="magnitude").importance(home / "root")
    assert [len(values) for values in importance.heads] == [2, 2]
    with pytest.raises(GPTranError, match="importance"):
        replace(trainer, importance_by="random")
    with pytest.raises(
        GPTranError, match="calibrationExamples: Invalid value: 7: must be at least 8"
    ):
        replace(trainer, calibration_examples=7)
