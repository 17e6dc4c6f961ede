"""Growing and pruning steps keep their floors, change one thing, and are drawn by their value."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetran.gptran.blocks import GPTranError, Importance, Removal
from edgetran.gptran.growing import grow_feed_forwards, grow_heads, grow_layers
from edgetran.gptran.pruning import (
    prune_feed_forwards,
    prune_heads,
    prune_hidden_size,
    prune_layers,
)
from edgetran.gptran.steps import Step, StepSizes, choose_steps, step_values
from edgetran.space import HEAD_TYPES, Architecture, Layer

SIZES = StepSizes()
PRUNERS = (prune_heads, prune_feed_forwards, prune_layers, prune_hidden_size)
GROWERS = (grow_heads, grow_feed_forwards, grow_layers)


@st.composite
def architectures(draw) -> Architecture:
    hidden = st.sampled_from([32, 48, 64, 96])
    same = draw(st.booleans())
    size = draw(hidden)
    layers = []
    for _ in range(draw(st.integers(1, 3))):
        types = draw(st.lists(st.sampled_from(HEAD_TYPES), min_size=1, max_size=4))
        widths = draw(st.lists(st.sampled_from([16, 32, 40, 64, 128]), min_size=1, max_size=3))
        layers.append(Layer(size if same else draw(hidden), tuple(types), 16, tuple(widths)))
    return Architecture(tuple(layers))


@st.composite
def judged(draw) -> tuple[Architecture, Importance]:
    architecture = draw(architectures())
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    uniform = Importance.uniform(architecture)
    return architecture, Importance(
        heads=tuple(rng.exponential(size=v.shape) for v in uniform.heads),
        units=tuple(tuple(rng.exponential(size=v.shape) for v in la) for la in uniform.units),
        layers=rng.exponential(size=uniform.layers.shape),
        channels=None if uniform.channels is None else rng.exponential(size=uniform.channels.shape),
    )


def size(architecture: Architecture) -> int:
    """Weights of the encoder's matrices: grows and shrinks with every block."""
    total = 0
    for layer in architecture.layers:
        widths = (layer.hidden_size, *layer.feed_forward, layer.hidden_size)
        total += 2 * layer.hidden_size * layer.inner_size
        total += sum(a * b for a, b in pairwise(widths))
    return total


@given(judged())
@settings(max_examples=60, deadline=None)
def test_pruning_keeps_every_floor_and_makes_the_model_smaller(case):
    architecture, importance = case
    for prune in PRUNERS:
        for step in prune(architecture, importance, SIZES):
            assert step.removal is not None
            assert step.removal.apply(architecture) == step.architecture
            if step.removal.matrices == ():  # a wide matrix may stand between two narrow ones
                assert size(step.architecture) < size(architecture)
            assert step.gain <= 0
            assert step.architecture.num_layers >= 1
            for layer in step.architecture.layers:
                assert layer.num_heads >= 1
                assert min(layer.feed_forward) >= min(
                    SIZES.minimum_width,
                    *(w for la in architecture.layers for w in la.feed_forward),
                )


@given(judged())
@settings(max_examples=60, deadline=None)
def test_growing_adds_to_one_layer_and_loses_nothing(case):
    architecture, importance = case
    for grow in GROWERS:
        steps = grow(architecture, importance, SIZES)
        assert grow is grow_feed_forwards or steps
        for step in steps:
            assert step.removal is None
            assert step.gain > 0
            if "append" not in step.change:  # an appended matrix may be a bottleneck
                assert size(step.architecture) > size(architecture)
            if grow is grow_layers:
                assert step.architecture.num_layers == architecture.num_layers + 1
                continue
            changed = [
                (old, new)
                for old, new in zip(architecture.layers, step.architecture.layers, strict=True)
                if old != new
            ]
            assert len(changed) == 1
            old, new = changed[0]
            assert (new.hidden_size, new.head_dim) == (old.hidden_size, old.head_dim)
            assert new.head_types[: old.num_heads] == old.head_types
            assert len(new.feed_forward) <= max(SIZES.maximum_stack, len(old.feed_forward))


@given(judged())
@settings(max_examples=40, deadline=None)
def test_steps_and_removals_survive_json(case):
    architecture, importance = case
    for propose in (*PRUNERS, *GROWERS):
        for step in propose(architecture, importance, SIZES):
            again = Step.from_dict(step.to_dict())
            assert again == step
            assert again.gain == pytest.approx(step.gain)


def test_the_last_heads_the_last_layer_and_narrow_matrices_cannot_be_pruned():
    smallest = Architecture((Layer(32, ("c_5",), 16, (SIZES.minimum_width,)),))
    importance = Importance.uniform(smallest)
    assert [prune(smallest, importance, SIZES) for prune in PRUNERS] == [[], [], [], []]


def test_the_least_important_heads_are_the_first_choice():
    architecture = Architecture.homogeneous(
        num_layers=2, hidden_size=64, num_heads=4, feed_forward=[128]
    )
    uniform = Importance.uniform(architecture)
    importance = Importance(
        heads=(np.array([5.0, 0.1, 5.0, 5.0]), np.array([5.0, 5.0, 5.0, 0.2])),
        units=uniform.units,
        layers=uniform.layers,
        channels=uniform.channels,
    )
    steps = prune_heads(architecture, importance, SIZES)
    costs = np.array([float(size(step.architecture)) for step in steps])
    values = step_values(steps, costs, size(architecture))
    first = choose_steps(steps, values, 1, np.random.default_rng(0))[0]
    assert first.removal is not None
    assert set(first.removal.heads) <= {(0, 1), (1, 3)}
    assert any(step.removal == Removal(heads=((0, 1), (1, 3))) for step in steps)


def test_the_least_important_units_are_cut_and_a_stack_may_lose_a_matrix():
    architecture = Architecture((Layer(64, ("sa_sdp",), 32, (128, 64)),))
    uniform = Importance.uniform(architecture)
    wide = np.ones(128)
    wide[[3, 50, 127]] = 0.0
    importance = Importance(uniform.heads, ((wide, np.ones(64)),), uniform.layers, None)
    steps = prune_feed_forwards(architecture, importance, SIZES)
    narrowed = [s for s in steps if s.architecture.layers[0].feed_forward == (96, 64)]
    assert {3, 50, 127} <= set(narrowed[0].removal.units[0][2])
    assert any(s.removal.matrices == ((0, 0),) for s in steps)
    assert any(s.architecture.layers[0].feed_forward == (128,) for s in steps)


def test_channels_are_only_cut_where_all_layers_have_the_same_hidden_size():
    layer = Layer(64, ("sa_sdp",), 32, (64,))
    mixed = Architecture((layer, Layer(96, ("sa_sdp",), 32, (64,))))
    assert prune_hidden_size(mixed, Importance.uniform(mixed), SIZES) == []
    same = Architecture((layer, layer))
    for step in prune_hidden_size(same, Importance.uniform(same), SIZES):
        assert len({each.hidden_size for each in step.architecture.layers}) == 1


@pytest.mark.parametrize(
    ("removal", "place"),
    [
        (Removal(heads=((0, 0), (0, 1))), "layer 0"),
        (Removal(heads=((0, 7),)), "layer 0"),
        (Removal(heads=((0, 1), (0, 1))), "layer 0"),
        (Removal(layers=(0,)), "layers"),
        (Removal(units=((0, 0, tuple(range(64))),)), "layer 0"),
        (Removal(matrices=((0, 0),)), "layer 0"),
        (Removal(channels=tuple(range(32))), "layer 0"),
    ],
)
def test_an_impossible_removal_is_refused_with_its_place(removal, place):
    architecture = Architecture((Layer(32, ("sa_sdp", "c_5"), 16, (64,)),))
    with pytest.raises(GPTranError, match=place):
        removal.apply(architecture)


def test_a_type_that_matters_here_is_the_better_head_to_add():
    architecture = Architecture((Layer(64, ("sa_sdp", "c_5"), 32, (128,)),))
    uniform = Importance.uniform(architecture)
    importance = Importance(
        (np.array([9.0, 1.0]),), uniform.units, uniform.layers, uniform.channels
    )
    gains = {
        step.architecture.layers[0].head_types[-1]: step.gain
        for step in grow_heads(architecture, importance, SIZES)
    }
    assert gains["sa_sdp"] > gains["l_dft"] > gains["c_5"]


def _steps(count: int) -> list[Step]:
    return [
        Step(
            "growHeads",
            Architecture((Layer(64, ("sa_sdp",), 32, (16 * (i + 1),)),)),
            str(i),
            gain=1.0,
        )
        for i in range(count)
    ]


@given(st.integers(0, 2**16), st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_choices_are_distinct_reproducible_and_led_by_the_best(seed, count):
    steps = _steps(8)
    values = np.random.default_rng(seed).normal(size=8)
    chosen = choose_steps(steps, values, count, np.random.default_rng(seed))
    assert chosen == choose_steps(steps, values, count, np.random.default_rng(seed))
    assert chosen[0] == steps[int(np.argmax(values))]
    assert len({step.architecture for step in chosen}) == len(chosen) == min(count, 8)


def test_steps_that_save_nothing_are_never_chosen_nor_two_to_one_architecture():
    steps = [*_steps(3), *_steps(1)]
    values = np.array([0.2, -np.inf, 0.5, 1.0])
    chosen = choose_steps(steps, values, 4, np.random.default_rng(0))
    assert chosen == [steps[3], steps[2]]


def test_a_better_step_is_drawn_more_often():
    steps = _steps(3)
    values = np.array([2.0, 1.0, 0.0])
    drawn = [
        choose_steps(steps, values, 2, np.random.default_rng(seed))[1].change for seed in range(400)
    ]
    assert 0.8 < drawn.count("1") / 400 < 0.95  # softmax at temperature 0.5: 0.88


def test_growth_is_worth_gain_per_cost_and_pruning_savings_per_loss():
    cheap, dear = _steps(2)
    values = step_values([cheap, dear], np.array([1.1, 1.5]), 1.0)
    assert values[0] > values[1]
    architecture = cheap.architecture
    harmless, harmful, useless = (
        Step("pruneHeads", architecture, "", gain) for gain in (-0.1, -2.0, -0.1)
    )
    values = step_values([harmless, harmful, useless], np.array([0.9, 0.9, 1.0]), 1.0)
    assert values[0] > values[1] > values[2] == -np.inf


@pytest.mark.parametrize(
    "wrong",
    [
        {"pruned_heads": 0},
        {"minimum_width": 0},
        {"narrow_fraction": 1.0},
        {"head_types": ("sa",)},
        {"head_types": ()},
    ],
)
def test_impossible_step_sizes_are_refused_by_name(wrong):
    with pytest.raises(GPTranError, match=next(iter(wrong))):
        StepSizes(**wrong)
