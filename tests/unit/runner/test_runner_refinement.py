"""What a GPTranRun says is what GPTran is asked to do."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgetran.api import GPTranRunSpec, SpecError
from edgetran.api.bundle import load_text
from edgetran.devices import HardwareFigures
from edgetran.gptran import GPTranResult, Node, Targets
from edgetran.runner import translate
from edgetran.runner.finals import Finalist
from edgetran.runner.run import FIRST_RATE, FIRST_TRAINING, control_of, first_training
from edgetran.runner.training_history import TrainingHistory
from edgetran.space import Architecture
from edgetran.training import TrainingPlan

SEARCH = {"searchRef": {"name": "tickets"}}


def spec_of(**fields):
    return GPTranRunSpec.model_validate(SEARCH | fields)


def test_targets_and_their_steps_reach_the_plan():
    spec = spec_of(
        targets={"speedup": [2, 4], "parameters": [1000], "encoderReduction": [1.5]},
        stepsPerTarget=3,
        cycles=0,
        confidence=0.9,
    )
    plan = translate.gptran_plan(spec, None, 0)
    assert plan.targets == Targets((2.0, 4.0), (1000,), (1.5,))
    assert (plan.steps_per_target, plan.cycles, plan.confidence) == (3, 0, 0.9)
    assert not translate.gptran_plan(spec_of(), None, 0).targets


def test_children_learn_from_the_refined_model_unless_told_otherwise():
    spec = spec_of()
    taught = translate.training_plan(spec.training, 64, spec.distillation)
    assert (taught.distillation_weight, taught.distillation_hidden_weight) == (0.5, 0.1)
    alone = spec_of(distillation={"teacher": "none", "hiddenWeight": 0.7})
    plan = translate.training_plan(alone.training, 64, alone.distillation)
    assert plan.distillation_hidden_weight == TrainingPlan().distillation_hidden_weight


@pytest.mark.parametrize(
    ("plan", "steps", "seconds", "epochs"),
    [
        (TrainingPlan(steps=10), FIRST_TRAINING * 10, None, None),
        (TrainingPlan(max_seconds=5, epochs=1), None, FIRST_TRAINING * 5, FIRST_TRAINING),
        (TrainingPlan(), None, None, None),
    ],
)
def test_a_given_model_is_first_trained_longer_and_more_gently_than_a_child(
    plan, steps, seconds, epochs
):
    first = first_training(plan)
    assert (first.steps, first.max_seconds, first.epochs) == (steps, seconds, epochs)
    assert first.learning_rate == FIRST_RATE
    assert first_training(TrainingPlan(learning_rate=1e-5)).learning_rate == 1e-5


def test_a_plan_repeated_has_so_many_times_the_budget():
    assert TrainingPlan().repeated(2).epochs == 6
    assert TrainingPlan(steps=7).repeated(3).steps == 21
    assert TrainingPlan(steps=7).repeated(1) == TrainingPlan(steps=7)


def test_the_control_counts_what_the_given_model_was_trained_before_as_the_winner_does(tmp_path):
    architecture = Architecture.homogeneous(
        num_layers=1, hidden_size=32, num_heads=2, feed_forward=[32]
    )
    hardware = HardwareFigures.infeasible("simulated", "none is needed")
    base = Node("root", None, 0, "root", architecture, "", "trained", 10, hardware)
    nodes = []
    for name, stage, parent in (("1.1", "schedule", "root"), ("control.1", "control", "root")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "trial.json").write_text(json.dumps({"outcome": {"steps": 8}}))
        node = replace(base, id=name, parent=parent, stage=stage, checkpoint=name, seconds=2.0)
        nodes.append(node)
    winner, control = nodes
    root = Finalist("Given model", "pi", Path("m"), TrainingHistory(5.0, 32, ("tuned",)))
    result = GPTranResult(winner, base, (base, winner), Path("w"), {}, 0.0, "", control)
    found = control_of(root, result, tmp_path)
    won = root.history.with_nodes(result.steps, tmp_path)
    assert (found.history.steps, found.history.seconds) == (won.steps, won.seconds) == (40, 7.0)
    assert (found.device, found.checkpoint) == ("pi", tmp_path / "control.1")
    assert control_of(root, replace(result, control=None), tmp_path) is None


REFUSED = {
    "targets: {}": "targets",
    "targets: {speedup: [1]}": "targets.speedup",
    "targets: {speedup: [2, 2]}": "targets.speedup",
    "targets: {speedup: []}": "targets.speedup",
    "targets: {parameters: [0]}": "targets.parameters",
    "stepsPerTarget: 5": "stepsPerTarget",
    "confidence: 1": "confidence",
    "distillation: {teacher: bert}": "distillation.teacher",
}


@pytest.mark.parametrize(("line", "place"), REFUSED.items())
def test_impossible_targets_are_refused_with_their_place(line, place):
    text = (
        "apiVersion: edgetran.io/v1alpha1\nkind: GPTranRun\nmetadata: {name: a}\n"
        f"spec:\n  searchRef: {{name: b}}\n  {line}\n"
    )
    with pytest.raises(SpecError, match=f"spec.{place}"):
        load_text(text)
