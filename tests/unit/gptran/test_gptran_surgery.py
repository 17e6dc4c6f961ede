"""Children compute what they should: grown ones as the parent, pruned ones as it when masked."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch
from gptran_models import ARCHITECTURE, build, inputs
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edgetran.gptran.blocks import GPTranError, Importance, Removal
from edgetran.gptran.growing import grow_feed_forwards, grow_heads, grow_layers
from edgetran.gptran.steps import StepSizes
from edgetran.gptran.surgery import cut, grow
from edgetran.models.layout import HeadLayout
from edgetran.space import HEAD_TYPES, Architecture, Layer


@torch.no_grad()
def logits(model):
    return model(**inputs()).logits


@contextlib.contextmanager
def masked(model, removal):
    """The model with the outputs of the removed blocks multiplied by zero."""
    handles = []

    def zero(module: nn.Module, columns):
        def hook(_, arguments):
            value = arguments[0].clone()
            value[..., columns] = 0
            return (value,)

        handles.append(module.register_forward_pre_hook(hook))

    for index, layer in enumerate(model.config.to_architecture().layers):
        slots, dim = HeadLayout.of(layer).slots, layer.head_dim
        gone = [slots[head] for i, head in removal.heads if i == index]
        columns = [slot * dim + k for slot in gone for k in range(dim)]
        zero(model.flexibert.layers[index].attention.output, columns)
        for i, matrix, units in removal.units:
            if i == index:
                zero(model.flexibert.layers[index].feed_forward.dense[matrix + 1], list(units))
    for index in removal.layers:
        layer = model.flexibert.layers[index]
        handles.append(layer.register_forward_hook(lambda _, args, out: (args[0], out[1])))
    yield
    for handle in handles:
        handle.remove()


@st.composite
def removals(draw) -> tuple[Architecture, Removal]:
    layers, heads, units = [], [], []
    for index in range(draw(st.integers(1, 2))):
        types = draw(st.lists(st.sampled_from(HEAD_TYPES), min_size=1, max_size=6))
        widths = draw(st.lists(st.sampled_from([8, 12]), min_size=1, max_size=2))
        layers.append(Layer(24, tuple(types), 8, tuple(widths)))
        gone = draw(st.sets(st.integers(0, len(types) - 1), max_size=len(types) - 1))
        heads += [(index, head) for head in sorted(gone)]
        for matrix, width in enumerate(widths):
            cut_units = draw(st.sets(st.integers(0, width - 1), max_size=width - 1))
            units.append((index, matrix, tuple(sorted(cut_units))))
    architecture = Architecture(tuple(layers))
    gone_layers = draw(st.sets(st.integers(0, len(layers) - 1), max_size=len(layers) - 1))
    return architecture, Removal(tuple(heads), tuple(units), layers=tuple(sorted(gone_layers)))


@given(removals(), st.integers(0, 100))
@settings(max_examples=25, deadline=None)
def test_pruned_and_masked_models_agree(case, seed):
    architecture, removal = case
    parent = build(architecture, seed=seed)
    with masked(parent, removal):
        expected = logits(parent)
    child, ratio = cut(parent, removal, seed=1)
    assert ratio == 1.0
    assert child.config.to_architecture() == removal.apply(architecture)
    torch.testing.assert_close(logits(child), expected, rtol=0, atol=1e-5)


def test_pruning_really_removes_parameters_and_leaves_the_parent_alone():
    parent = build()
    before = {name: value.clone() for name, value in parent.state_dict().items()}
    child, _ = cut(parent, Removal(heads=((0, 1), (1, 2)), units=((1, 0, (0, 5, 63)),)), seed=0)
    assert child.num_parameters() < parent.num_parameters()
    assert all(torch.equal(before[name], value) for name, value in parent.state_dict().items())


def test_channels_are_cut_out_of_everything_that_reads_or_writes_them():
    parent = build()
    child, ratio = cut(parent, Removal(channels=(0, 7, 40)), seed=0)
    assert ratio == 1.0
    assert {layer.hidden_size for layer in child.config.to_architecture().layers} == {45}
    assert torch.isfinite(logits(child)).all()
    words = parent.flexibert.embeddings.word_embeddings.weight
    kept = [c for c in range(48) if c not in (0, 7, 40)]
    assert torch.equal(child.flexibert.embeddings.word_embeddings.weight, words[:, kept])
    rows = parent.flexibert.layers[1].attention.query_key_value.weight
    assert torch.equal(child.flexibert.layers[1].attention.query_key_value.weight, rows[:, kept])
    last = parent.flexibert.layers[1].feed_forward.dense[-1].weight
    assert torch.equal(child.flexibert.layers[1].feed_forward.dense[-1].weight, last[kept])


def test_a_matrix_cut_out_of_a_stack_is_merged_with_the_next():
    parent = build()
    child, ratio = cut(parent, Removal(matrices=((0, 1),)), seed=0)
    assert ratio == 1.0
    assert child.config.to_architecture().layers[0].feed_forward == (40,)
    before, after = (m.flexibert.layers[0].feed_forward.dense for m in (parent, child))
    merged = before[2].weight.double() @ before[1].weight.double()
    torch.testing.assert_close(after[1].weight.double(), merged, rtol=0, atol=1e-6)


def test_what_cannot_be_cut_exactly_is_an_ordinary_transfer():
    mixed = Architecture((ARCHITECTURE.layers[0], Layer(32, ("sa_sdp",), 16, (32,))))
    child, ratio = cut(build(mixed), Removal(layers=(0,)), seed=0)
    assert child.config.to_architecture().layers == mixed.layers[1:]
    assert 0.5 < ratio <= 1.0


def test_an_impossible_cut_is_refused():
    with pytest.raises(GPTranError, match="layer 1"):
        cut(build(), Removal(heads=((1, 0), (1, 1), (1, 2))), seed=0)


def test_every_growth_step_keeps_the_function():
    parent = build()
    expected = logits(parent)
    importance, sizes = Importance.uniform(ARCHITECTURE), StepSizes()
    for propose in (grow_heads, grow_feed_forwards, grow_layers):
        for step in propose(ARCHITECTURE, importance, sizes):
            child, report = grow(parent, step.architecture, seed=0)
            assert report.function_preserved, step.change
            torch.testing.assert_close(logits(child), expected, rtol=0, atol=1e-5)
            assert 0.6 < report.ratio < 1


def test_the_seed_decides_the_new_weights_alone():
    parent = build()
    grown = grow_heads(ARCHITECTURE, Importance.uniform(ARCHITECTURE), StepSizes())[0].architecture
    weights = [
        dict(grow(parent, grown, seed)[0].named_parameters())[
            "flexibert.layers.0.attention.query_key_value.weight"
        ]
        for seed in (3, 3, 4)
    ]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    state = torch.get_rng_state()
    grow(parent, grown, 5)
    assert np.array_equal(state.numpy(), torch.get_rng_state().numpy())
