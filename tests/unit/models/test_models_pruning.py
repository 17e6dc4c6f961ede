"""Gates tell importance, and a masked model equals its physically pruned export."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models_reference import EVERY_TYPE, build, draw_batch

from edgetran.models import (
    FlexiBertForMaskedLM,
    FlexiBertForSequenceClassification,
    FlexiBertModel,
    PruneError,
    PruneMap,
    gates,
    masked,
    prune,
    pruned_architecture,
)
from edgetran.space import Architecture, Layer

WIDTHS_THAT_CHANGE = Architecture(
    (
        *EVERY_TYPE.layers[:1],
        Layer(16, ("sa_sdp", "c_5"), 4, (8,)),
        *EVERY_TYPE.layers[1:],
    )
)
EVERYTHING = PruneMap.everything(WIDTHS_THAT_CHANGE)
MAPS = {
    "nothing": EVERYTHING,
    "heads": EVERYTHING.without_heads(0, [1, 3, 5])
    .without_heads(2, [0])
    .without_heads(3, range(6)),
    "units": EVERYTHING.without_units(0, 0, range(0, 20, 3)).without_units(3, 1, [1, 2]),
    "widths": EVERYTHING.without_units(2, 0, range(12))
    .without_units(3, 1, range(8))
    .without_units(3, 2, range(8)),
    "the first layer": EVERYTHING.without_layer(0),
    "a layer before a projection": EVERYTHING.without_layer(1),
    "the last layer": EVERYTHING.without_layer(3),
    "hidden values": EVERYTHING.without_hidden(0, [1, 5])
    .without_hidden(1, [1, 5])
    .without_hidden(2, range(3))
    .without_hidden(3, range(3)),
    "hidden values that need a projection": EVERYTHING.without_hidden(
        0, range(2, 12)
    ).without_hidden(3, [0, 7, 9]),
    "all kinds": EVERYTHING.without_layer(1)
    .without_heads(0, [0, 2])
    .without_hidden(0, [3])
    .without_hidden(1, [4])
    .without_units(3, 0, range(8))
    .without_units(2, 1, range(3)),
}


def test_gates_of_one_change_nothing_and_leave_nothing_behind():
    model = build(FlexiBertForSequenceClassification, EVERY_TYPE)
    plain = model(*draw_batch()).logits
    with gates(model):
        assert torch.allclose(model(*draw_batch()).logits, plain, atol=1e-6)
    assert torch.equal(model(*draw_batch()).logits, plain)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_gates_are_removed_when_the_block_fails():
    model = build(FlexiBertModel, EVERY_TYPE)
    with pytest.raises(ZeroDivisionError), gates(model):
        raise ZeroDivisionError
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_the_gradient_of_a_gate_is_what_closing_it_a_little_does():
    """First-order Taylor importance, for heads in the architecture's order, units and layers."""
    model = build(FlexiBertForSequenceClassification, WIDTHS_THAT_CHANGE, noise=0.3).double()
    batch, labels = draw_batch(), torch.tensor([0, 1, 0])
    with gates(model) as opened:
        loss = model(*batch, labels=labels).loss
        gradients = torch.autograd.grad(loss, opened.all())
        assert [g.shape for g in opened.heads] == [(7,), (2,), (4,), (7,)]
        step = 1e-6
        for gate, gradient in zip(opened.all(), gradients, strict=True):
            index = gate.numel() // 2
            with torch.no_grad():
                gate.view(-1)[index] -= step
                closed = model(*batch, labels=labels).loss
                gate.view(-1)[index] += step
            expected = float((loss - closed).detach() / step)
            assert float(gradient.view(-1)[index]) == pytest.approx(expected, rel=1e-3, abs=1e-7)


def test_a_closed_head_gate_is_a_zeroed_output_column():
    model = build(FlexiBertModel, EVERY_TYPE)
    with gates(model, requires_grad=False) as opened:
        opened.heads[0][2] = 0  # l_dct, which is stored at slot 3
        closed = model(*draw_batch()).last_hidden_state
    with torch.no_grad():
        model.layers[0].attention.output.weight[:, 9:12] = 0
    assert torch.allclose(closed, model(*draw_batch()).last_hidden_state, atol=1e-6)


@pytest.mark.parametrize("keep", MAPS.values(), ids=MAPS)
@pytest.mark.parametrize("positions", ["absolute", "relative_key"])
@pytest.mark.parametrize(
    "model_class", [FlexiBertForSequenceClassification, FlexiBertForMaskedLM, FlexiBertModel]
)
def test_a_masked_model_and_its_pruned_export_agree(model_class, positions, keep):
    model = build(model_class, WIDTHS_THAT_CHANGE, noise=0.2, position_embedding_type=positions)
    batch = draw_batch()
    plain = model(*batch)[0]
    exported = prune(model, keep)
    with masked(model, keep):
        expected = model(*batch)[0]
    if model_class is FlexiBertModel:
        expected = expected[..., list(keep.kept_hidden[-1])]
    assert torch.allclose(exported(*batch)[0], expected, atol=1e-5)
    assert exported.config.to_architecture() == pruned_architecture(WIDTHS_THAT_CHANGE, keep)
    assert torch.equal(model(*batch)[0], plain)
    if keep is not EVERYTHING:
        assert exported.num_parameters() < model.num_parameters()
    else:
        assert torch.equal(exported(*batch)[0], plain)


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_any_heads_and_units_can_be_pruned(data):
    keep = EVERYTHING
    for i, layer in enumerate(WIDTHS_THAT_CHANGE.layers):
        heads = st.sets(st.integers(0, layer.num_heads - 1), max_size=layer.num_heads - 1)
        keep = keep.without_heads(i, data.draw(heads))
        for k, width in enumerate(layer.feed_forward):
            keep = keep.without_units(i, k, data.draw(st.sets(st.integers(1, width - 1))))
    model = build(FlexiBertForSequenceClassification, WIDTHS_THAT_CHANGE)
    exported = prune(model, keep)
    with masked(model, keep):
        expected = model(*draw_batch()).logits
    assert torch.allclose(exported(*draw_batch()).logits, expected, atol=1e-5)


def test_pruned_models_are_saved_and_loaded(tmp_path):
    exported = prune(build(FlexiBertForSequenceClassification, WIDTHS_THAT_CHANGE), MAPS["heads"])
    exported.save_pretrained(tmp_path)
    loaded = FlexiBertForSequenceClassification.from_pretrained(tmp_path).eval()
    assert torch.equal(loaded(*draw_batch()).logits, exported(*draw_batch()).logits)


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        (EVERYTHING.without_heads(1, [0, 1]), r"kept_heads\[1\]: nothing is kept"),
        (EVERYTHING.without_units(0, 0, range(20)), r"kept_units\[0\]: no unit is left"),
        (EVERYTHING.without_hidden(2, range(24)), r"kept_hidden\[2\]: nothing is kept"),
        (
            PruneMap((), *(getattr(EVERYTHING, f"kept_{n}") for n in ("heads", "units", "hidden"))),
            "kept_layers: nothing is kept, at least one of 4 is needed",
        ),
        (PruneMap.everything(EVERY_TYPE), "kept_layers|one per layer: 4"),
        (
            EVERYTHING.without_hidden(0, [1]).without_hidden(1, [2]),
            "linear map from width 15 to 15",
        ),
    ],
)
def test_maps_that_leave_no_model_are_refused(keep, message):
    model = build(FlexiBertModel, WIDTHS_THAT_CHANGE)
    with pytest.raises(PruneError, match=message):
        prune(model, keep)


def test_indices_that_do_not_exist_are_refused():
    keep = PruneMap(
        (0, 9), *(getattr(EVERYTHING, f"kept_{n}") for n in ("heads", "units", "hidden"))
    )
    with pytest.raises(PruneError, match="kept_layers: allowed are ascending indices from 0 to 3"):
        pruned_architecture(WIDTHS_THAT_CHANGE, keep)
