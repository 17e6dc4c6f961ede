"""Fisher and second-order importance against autograd and brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from gptran_models import batches, build
from torch import nn

from edgetran.gptran.cuts import Cuts, Order
from edgetran.gptran.importance import fisher_importance, taylor_importance
from edgetran.gptran.second_order import Moments, collect_moments, obs_order, second_order_cuts
from edgetran.models.gating import gates


def mask_gradients(model):
    """The derivative of each example's loss by each gate, by autograd: lists per gate."""
    rows = []
    for batch in batches():
        for position in range(len(batch.labels)):
            one = {k: v[position : position + 1] for k, v in batch.inputs("cpu").items()}
            with gates(model) as g:
                loss = model(**one, labels=batch.labels[position : position + 1]).loss
                rows.append(
                    torch.autograd.grad(loss, [*g.heads, *itertools.chain(*g.feed_forward)])
                )
    return [torch.stack(gate).double().numpy() for gate in zip(*rows, strict=True)]


def test_fisher_is_half_the_mean_square_of_the_gradient_by_each_mask():
    model = build()
    found = fisher_importance(model, batches())
    flat = [*found.heads, *(values for stack in found.units for values in stack)]
    for values, gradients in zip(flat, mask_gradients(model), strict=True):
        np.testing.assert_allclose(values, (gradients**2).mean(0) / 2, rtol=1e-3, atol=1e-12)


def test_taylor_is_the_mean_size_of_the_gradient_by_each_mask():
    model = build()
    found = taylor_importance(model, batches())
    flat = [*found.heads, *(values for stack in found.units for values in stack)]
    for values, gradients in zip(flat, mask_gradients(model), strict=True):
        np.testing.assert_allclose(values, np.abs(gradients).mean(0), rtol=1e-3, atol=1e-9)


RNG = np.random.default_rng(5)
INPUTS = RNG.normal(size=(40, 6)) @ RNG.normal(size=(6, 6))  # correlated columns
ROWS = np.hstack([INPUTS, np.ones((40, 1))])
GRADIENTS = RNG.normal(size=(40, 3))


def small_layer():
    torch.manual_seed(1)
    linear = nn.Linear(6, 3).double()
    moments = Moments(
        torch.from_numpy(ROWS.T @ ROWS), torch.from_numpy(GRADIENTS.T @ GRADIENTS / 40), 8
    )
    return linear, moments


def least_loss(linear, gone):
    """The least weighted squared error without some columns, by an ordinary solver."""
    whole = torch.cat([linear.weight, linear.bias[:, None]], 1).detach().numpy()
    kept = [column for column in range(7) if column not in gone]
    wanted = ROWS @ whole.T
    best, *_ = np.linalg.lstsq(ROWS[:, kept], wanted, rcond=None)
    errors = ROWS[:, kept] @ best - wanted  # (t, outputs)
    fisher = GRADIENTS.T @ GRADIENTS / 40
    return float(np.einsum("to,op,tp->", errors, fisher, errors)) / 2 / 8


@pytest.mark.parametrize("size", [1, 2, 3])
def test_every_prefix_of_the_order_costs_what_the_best_fit_without_it_costs(size):
    linear, moments = small_layer()
    blocks = [range(first, first + size) for first in range(0, 6, size)]
    order = obs_order(linear, moments, blocks, ridge=0, damping=0)
    for count in range(len(blocks) + 1):
        gone = {column for block in order.blocks[:count] for column in blocks[block]}
        assert order.losses[count] == pytest.approx(least_loss(linear, gone), abs=1e-9)


def test_the_first_to_go_is_the_one_whose_best_fit_is_the_best_of_all():
    linear, moments = small_layer()
    order = obs_order(linear, moments, [[column] for column in range(6)], ridge=0, damping=0)
    losses = [least_loss(linear, {column}) for column in range(6)]
    assert order.blocks[0] == np.argmin(losses)
    pairs = {pair: least_loss(linear, set(pair)) for pair in itertools.combinations(range(6), 2)}
    assert order.losses[2] <= np.median(list(pairs.values()))


def test_several_at_once_cost_together_what_the_best_fit_without_them_costs():
    linear, moments = small_layer()
    order = obs_order(
        linear, moments, [[column] for column in range(6)], at_once=3, ridge=0, damping=0
    )
    for count in (3, 6):
        gone = set(order.blocks[:count].tolist())
        assert order.losses[count] == pytest.approx(least_loss(linear, gone), abs=1e-9)
    assert (np.diff(order.losses) >= 0).all()


def test_a_unit_that_is_the_double_of_another_is_free_to_remove():
    linear, _ = small_layer()
    twin = np.hstack([INPUTS[:, :5], INPUTS[:, 4:5], np.ones((40, 1))])
    moments = Moments(torch.from_numpy(twin.T @ twin), torch.eye(3, dtype=torch.float64), 8)
    order = obs_order(linear, moments, [[column] for column in range(6)], ridge=1e-9)
    assert order.blocks[0] in (4, 5)
    assert order.losses[1] < 1e-6 * order.losses[2]


def test_moments_leave_out_padding_and_do_not_depend_on_the_batches():
    model = build()
    whole = collect_moments(model, batches(count=2))
    moments = whole[0].attention
    assert moments.inputs[-1, -1] == sum(int(b.attention_mask.sum()) for b in batches(count=2))
    assert moments.examples == 16


def test_second_order_orders_every_block_of_a_real_model_and_leaves_it_as_it_was():
    model = build()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    cuts = second_order_cuts(model, batches())
    assert [sorted(order.blocks) for order in cuts.heads] == [[0, 1, 2, 3], [0, 1, 2]]
    assert [[len(order.blocks) for order in stack] for stack in cuts.units] == [[40, 24], [64]]
    assert all((np.diff(order.losses) >= 0).all() for order in cuts.heads)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_an_order_by_importance_adds_it_up_from_the_least():
    order = Order.by(np.array([3.0, 1.0, 2.0]))
    assert order.blocks.tolist() == [1, 2, 0]
    assert order.losses.tolist() == [0, 1, 3, 6]
    assert order.first(2) == (1, 2)


def test_cuts_of_an_importance_cover_every_part():
    cuts = Cuts.of(fisher_importance(build(), batches()))
    assert len(cuts.heads) == len(cuts.units) == len(cuts.layers) == 2
    assert len(cuts.channels.blocks) == 48
