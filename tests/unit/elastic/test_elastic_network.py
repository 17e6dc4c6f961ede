"""An elastic network is made of a trained parent, trained, judged and kept."""

import copy
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetran.elastic import (
    elastic_space,
    evaluate_parts,
    largest_part,
    load_elastic,
    make_elastic,
    predict_parts,
    save_elastic,
    smallest_part,
    train_elastic,
)
from edgetran.elastic import evaluation as evaluation_module
from edgetran.elastic import training as training_module
from edgetran.models import (
    FlexiBertConfig,
    FlexiBertForSequenceClassification,
    PruneMap,
    prune,
)
from edgetran.models.elastic import ElasticFlexiBert
from edgetran.models.elastic_parent import ElasticError
from edgetran.space import Architecture, Layer, sampling
from edgetran.training import PlanError, TrainingPlan, evaluate, predict
from edgetran.training.optimisation import TrainingDiverged, copy_tensors

PARENT = Architecture.homogeneous(num_layers=3, hidden_size=24, num_heads=4, feed_forward=[32])
PLAN = TrainingPlan(
    steps=12,
    learning_rate=2e-3,
    max_length=16,
    distillation_weight=0.9,
    distillation_hidden_weight=0.1,
)


def drawn(space, count, seed=0):
    return sampling.sample(space, count, np.random.default_rng(seed))


def test_the_network_holds_its_parent_unchanged(parent, data, elastic):
    before = predict(parent, data, "validation")
    np.testing.assert_allclose(
        predict_parts(elastic, data, [PARENT], "validation", dtype=torch.float32)[0],
        before,
        atol=1e-4,
    )


def test_a_head_and_a_layer_that_do_nothing_are_the_first_to_go(parent, data, calibration):
    idle = copy.deepcopy(parent)
    with torch.no_grad():
        for layer in idle.flexibert.layers:
            layer.attention.output.weight[:, 6:12] = 0  # the second head
            layer.feed_forward.dense[1].weight[:, :8] = 0
        first = idle.flexibert.layers[0]
        for linear in (first.attention.output, first.feed_forward.dense[1]):
            linear.weight.zero_()
            linear.bias.zero_()
    made = make_elastic(idle, calibration, ("sa_sdp",))
    assert made.removal[0] == 0
    small = Architecture((Layer(24, ("sa_sdp",) * 3, 6, (24,)),) * 2)
    kept = PruneMap.everything(PARENT).without_layer(0)
    for layer in (1, 2):
        kept = kept.without_heads(layer, [1]).without_units(layer, 0, range(8))
    np.testing.assert_allclose(
        predict_parts(made, data, [small], "validation", dtype=torch.float32)[0],
        predict(prune(idle, kept), data, "validation"),
        atol=1e-4,
    )


def test_many_parts_in_one_pass_are_judged_as_each_by_itself(data, elastic, space, monkeypatch):
    monkeypatch.setattr(evaluation_module, "_AT_A_TIME", 5)
    layer = Layer(24, ("sa_sdp",) * 4, 6, (32,))
    shared = [Architecture((layer,) * 3), Architecture((layer, layer, PARENT.layers[0]))]
    parts = [*drawn(space, 9), *shared, *shared]
    judged = evaluate_parts(elastic, data, parts, dtype=torch.float32)
    assert len(judged) == len(parts)
    for part, metrics in zip(parts, judged, strict=True):
        alone = evaluate(elastic.extract(part), data, "validation")
        assert metrics["accuracy"] == alone["accuracy"]
        assert metrics["loss"] == pytest.approx(alone["loss"], abs=1e-4)


def test_half_the_bits_hardly_move_an_estimate(data, elastic, space):
    parts = drawn(space, 8)
    whole, half = (
        [metrics["loss"] for metrics in evaluate_parts(elastic, data, parts, dtype=dtype)]
        for dtype in (torch.float32, torch.bfloat16)
    )
    assert half == pytest.approx(whole, abs=0.03)
    assert half != whole


def test_layers_that_parts_share_run_once(data, elastic, monkeypatch):
    ran = []
    run = type(elastic).run_layer

    def counted(self, part, *rest, **options):
        ran.append(part)
        return run(self, part, *rest, **options)

    monkeypatch.setattr(type(elastic), "run_layer", counted)
    last = [Layer(24, ("sa_sdp",), 6, (width,)) for width in (8, 16, 32)]
    predict_parts(
        elastic,
        data,
        [Architecture((*PARENT.layers[:2], layer)) for layer in last],
        "validation",
    )
    assert len(ran) == 2 + 3


def test_training_brings_small_parts_to_what_the_parent_knows(
    data, elastic, space, signals, parent
):
    parts = [smallest_part(space), *drawn(space, 12)]
    before = [metrics["loss"] for metrics in evaluate_parts(elastic, data, parts)]
    train_elastic(elastic, data, space, replaced(steps=150), 0, signals)
    after = evaluate_parts(elastic, data, parts)
    assert np.mean([metrics["loss"] for metrics in after]) < np.mean(before) / 2
    assert np.median([metrics["accuracy"] for metrics in after]) >= 0.95
    largest = evaluate_parts(elastic, data, [largest_part(space)])[0]
    assert largest["accuracy"] >= evaluate(parent, data, "validation")["accuracy"] - 0.02


def replaced(**changes):
    return TrainingPlan(**{**PLAN.to_dict(), **changes})


def test_a_step_is_a_sandwich_of_the_largest_the_smallest_and_random_parts(
    data, elastic, space, signals, monkeypatch
):
    seen = []
    view = type(elastic).view
    monkeypatch.setattr(
        type(elastic), "view", lambda self, part: seen.append(part) or view(self, part)
    )
    train_elastic(elastic, data, space, replaced(steps=3), 0, signals, random_parts=2)
    steps = [seen[i : i + 4] for i in range(0, len(seen), 4)]
    assert len(steps) == 3
    assert all(step[:2] == [largest_part(space), smallest_part(space)] for step in steps)
    assert len({part for step in steps for part in step[2:]}) > 3


class Killed(BaseException):
    pass


@pytest.mark.parametrize("at", [1, 7, 11])
def test_a_training_that_was_killed_goes_on_as_if_it_had_not_been(
    data, parent, calibration, space, signals, tmp_path, monkeypatch, at
):
    def network():
        return make_elastic(parent, calibration, space.head_types, space.hidden_sizes)

    whole, state = network(), tmp_path / "state"
    train_elastic(whole, data, space, PLAN, 3, signals)

    monkeypatch.setattr(training_module, "SAVE_EVERY_S", 0.0)

    def kill(step, total):
        if step > at:
            raise Killed

    with pytest.raises(Killed):
        train_elastic(network(), data, space, PLAN, 3, signals, state_path=state, callback=kill)
    done = []
    again = network()
    result = train_elastic(
        again,
        data,
        space,
        PLAN,
        3,
        signals,
        state_path=state,
        callback=lambda step, total: done.append(step),
    )
    assert done[0] == at + 1
    assert result.steps == PLAN.steps
    for name, tensor in copy_tensors(whole).items():
        torch.testing.assert_close(copy_tensors(again)[name], tensor, rtol=0, atol=0)


def test_the_state_of_another_training_is_not_continued(
    data, elastic, space, signals, tmp_path, monkeypatch
):
    monkeypatch.setattr(training_module, "SAVE_EVERY_S", 0.0)
    state, done = tmp_path / "state", []
    train_elastic(elastic, data, space, PLAN, 3, signals, state_path=state)
    train_elastic(
        elastic,
        data,
        space,
        PLAN,
        4,
        signals,
        state_path=state,
        callback=lambda step, total: done.append(step),
    )
    assert done[0] == 1


def test_a_network_survives_its_folder(data, elastic, space, signals, tmp_path):
    train_elastic(elastic, data, space, PLAN, 0, signals)
    save_elastic(elastic, tmp_path / "net", {"steps": 12})
    again = load_elastic(tmp_path / "net")
    parts = drawn(space, 4)
    np.testing.assert_array_equal(
        predict_parts(again, data, parts, "test"), predict_parts(elastic, data, parts, "test")
    )


@pytest.mark.parametrize("fault", ["weights", "half", "record"])
def test_a_folder_that_is_not_whole_is_refused_in_one_sentence(elastic, tmp_path, fault):
    folder = tmp_path / "net"
    save_elastic(elastic, folder, {})
    weights = folder / "elastic.safetensors"
    if fault == "weights":
        weights.unlink()
    elif fault == "half":
        weights.write_bytes(weights.read_bytes()[:1000])
    else:
        record = json.loads((folder / "elastic.json").read_text())
        (folder / "elastic.json").write_text(json.dumps({**record, "head_types": ["c_9"]}))
    with pytest.raises(ElasticError, match="is incomplete"):
        load_elastic(folder)


def test_a_loss_that_is_no_number_ends_the_training(data, elastic, space, signals):
    with torch.no_grad():
        elastic.parent.classifier.bias.fill_(float("nan"))
    with pytest.raises(TrainingDiverged, match="step 1"):
        train_elastic(elastic, data, space, PLAN, 0, signals)


def test_a_budget_is_in_steps(data, elastic, space, signals):
    with pytest.raises(PlanError, match="steps: none given"):
        train_elastic(elastic, data, space, TrainingPlan(epochs=1), 0, signals)


@settings(max_examples=40, deadline=None)
@given(
    layers=st.lists(st.integers(1, 3), min_size=1, unique=True),
    heads=st.lists(st.integers(1, 4), min_size=1, unique=True),
    widths=st.lists(st.integers(1, 32), min_size=1, unique=True),
    seed=st.integers(0, 1000),
)
def test_every_architecture_of_an_elastic_space_is_a_part_of_its_parent(
    layers, heads, widths, seed
):
    made = elastic_space(
        PARENT, layers=layers, heads=heads, feed_forward_widths=widths, head_types=("sa_sdp", "c_5")
    )
    config = FlexiBertConfig.from_architecture(PARENT, vocab_size=20, max_position_embeddings=8)
    network = ElasticFlexiBert(FlexiBertForSequenceClassification(config), made.head_types)
    for part in [*drawn(made, 5, seed), largest_part(made), smallest_part(made)]:
        assert network.why_not(part) is None
        assert made.contains(part)


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"layers": [4]}, "layers: Invalid value: 4: must be at most 3, as many as the parent has"),
        (
            {"heads": [2, 5]},
            "heads: Invalid value: 5: must be at most 4, as many as the parent has",
        ),
        ({"feed_forward_widths": [64]}, "feedForwardWidths: Invalid value: 64: must be at most 32"),
    ],
)
def test_a_space_that_is_not_inside_the_parent_is_refused(choice, words):
    with pytest.raises(ElasticError, match=words):
        elastic_space(PARENT, **choice)
