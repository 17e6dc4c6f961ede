"""Importance finds what is useless in a real model, and agrees with what removing it does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gptran_models import batches, build

from edgetran.gptran.importance import (
    magnitude_importance,
    squared_gradient,
    taylor_importance,
)
from edgetran.models.layout import HeadLayout
from edgetran.space import Architecture, Layer
from edgetran.training.encoding import Batch


def loss(model):
    with torch.no_grad():
        values = [model(**b.inputs(torch.device("cpu")), labels=b.labels).loss for b in batches()]
    return float(torch.stack(values).mean())


@torch.no_grad()
def silence_head(model, layer, head):
    shape = model.config.to_architecture().layers[layer]
    slot = HeadLayout.of(shape).slots[head]
    columns = slice(slot * shape.head_dim, (slot + 1) * shape.head_dim)
    model.flexibert.layers[layer].attention.output.weight[:, columns] = 0


@pytest.mark.parametrize(("layer", "head"), [(0, 0), (0, 1), (0, 2), (0, 3), (1, 1), (1, 2)])
def test_a_head_whose_output_is_ignored_is_the_least_important(layer, head):
    model = build()
    silence_head(model, layer, head)
    importance = taylor_importance(model, batches())
    assert importance.heads[layer][head] == 0
    others = np.concatenate(importance.heads)
    assert (others > 0).sum() == len(others) - 1


def test_units_that_are_ignored_have_no_importance_and_the_others_have_some():
    model = build()
    with torch.no_grad():
        model.flexibert.layers[0].feed_forward.dense[1].weight[:, [3, 30]] = 0
        model.flexibert.layers[1].feed_forward.dense[1].weight[:, 7] = 0
    importance = taylor_importance(model, batches())
    assert set(np.flatnonzero(importance.units[0][0] == 0)) == {3, 30}
    assert set(np.flatnonzero(importance.units[1][0] == 0)) == {7}
    assert [len(values) for values in importance.units[0]] == [40, 24]


def test_a_layer_that_hands_on_its_input_is_the_least_important():
    model = build()
    layer = model.flexibert.layers[1]
    with torch.no_grad():  # LN(LN(x)) = LN(x), which layer 0 has given
        for module in (layer.attention.output, layer.feed_forward.dense[-1]):
            module.weight.zero_()
            module.bias.zero_()
    importance = taylor_importance(model, batches())
    assert importance.layers[1] < 1e-4 * importance.layers[0]


def test_importance_predicts_which_head_costs_most_to_remove():
    model = build(seed=3)
    importance = taylor_importance(model, batches())
    before = loss(model)
    changes = []
    for layer, values in enumerate(importance.heads):
        for head in range(len(values)):
            shortened = build(seed=3)
            silence_head(shortened, layer, head)
            changes.append(abs(loss(shortened) - before))
    predicted = np.concatenate(importance.heads)
    assert np.corrcoef(predicted, changes)[0, 1] > 0.3


def test_importance_does_not_depend_on_how_examples_are_batched():
    whole = batches()
    parts = [
        Batch(
            *(
                getattr(b, name)[i : i + 1]
                for name in ("input_ids", "attention_mask", "token_type_ids", "labels", "positions")
            )
        )
        for b in whole
        for i in range(8)
    ]
    one, other = taylor_importance(build(), whole), taylor_importance(build(), parts)
    for a, b in zip(
        (*one.heads, one.layers, one.channels),
        (*other.heads, other.layers, other.channels),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-7)


def test_measuring_leaves_the_model_as_it_was():
    model = build().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    taylor_importance(model, batches())
    magnitude_importance(model)
    squared_gradient(model, batches())
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_an_empty_calibration_set_is_refused():
    with pytest.raises(ValueError, match="calibration set"):
        taylor_importance(build(), [])


def test_magnitude_is_the_mean_squared_weight_of_a_block():
    model = build()
    importance = magnitude_importance(model)
    layer = model.flexibert.layers[1]
    dense = layer.feed_forward.dense
    unit = torch.cat([dense[0].weight[5], dense[1].weight[:, 5]])
    assert importance.units[1][0][5] == pytest.approx((unit**2).mean().item(), rel=1e-5)
    with torch.no_grad():  # the l_dft head, stored in slot 1: its value rows and output columns
        layer.attention.query_key_value.weight[(2 * 2 + 1) * 16 : (2 * 2 + 2) * 16] = 0
        layer.attention.output.weight[:, 16:32] = 0
    importance = magnitude_importance(model)
    assert importance.heads[1][2] == 0
    assert importance.heads[1][0] > 0
    assert importance.heads[1][1] > 0


def test_channels_are_judged_only_where_all_layers_have_the_same_hidden_size():
    assert taylor_importance(build(), batches()).channels.shape == (48,)
    mixed = Architecture((Layer(32, ("sa_sdp",), 16, (32,)), Layer(48, ("sa_sdp",), 16, (32,))))
    for importance in (
        taylor_importance(build(mixed), batches()),
        magnitude_importance(build(mixed)),
    ):
        assert importance.channels is None
        assert len(importance.layers) == 2


def test_the_squared_gradient_is_that_of_the_mean_loss():
    model = build()
    batch = batches(count=1)[0]
    model(**batch.inputs(torch.device("cpu")), labels=batch.labels).loss.backward()
    expected = sum(float((p.grad**2).sum()) for p in model.parameters() if p.grad is not None)
    model.zero_grad(set_to_none=True)
    assert squared_gradient(model, [batch]) == pytest.approx(expected, rel=1e-4)
