"""Cuts to a target: the least loss within the limits, whatever the predictor does."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgetran.gptran.blocks import Importance
from edgetran.gptran.cuts import Cuts
from edgetran.gptran.schedule import best_cut, floor_costs, words
from edgetran.gptran.steps import StepSizes
from edgetran.space import Architecture, encoder_parameters, parameter_count

SMALL = Architecture.homogeneous(num_layers=3, hidden_size=32, num_heads=3, feed_forward=[64])
SIZES = StepSizes(width_multiple=16, minimum_width=16, minimum_hidden_size=16)


def encoder(architectures):
    return np.array([[float(encoder_parameters(a))] for a in architectures])


def latency(architectures):
    """A device on which costs do not add up: a fixed part, and cheap wide layers."""
    return np.array(
        [[1.0 + sum(la.num_heads**0.8 + max(la.feed_forward[0], 32) / 32 for la in a.layers)]
         for a in architectures]
    )  # fmt: skip


def random_cuts(seed):
    rng = np.random.default_rng(seed)
    return Cuts.of(
        Importance(
            heads=tuple(rng.uniform(0.1, 3, 3) for _ in range(3)),
            units=tuple((rng.uniform(0, 0.2, 64),) for _ in range(3)),
            layers=rng.uniform(2, 9, 3),
        )
    )


def every_cut(cuts, costs):
    """(loss, cost) of every choice there is, by brute force."""
    options = [*product(range(3), (0, 16, 32, 48)), None]
    for picked in product(options, repeat=3):
        if any(choice is not None for choice in picked):
            loss, layers = 0.0, []
            for i, choice in enumerate(picked):
                if choice is None:
                    loss += cuts.layers[i]
                    continue
                heads, units = choice
                loss += cuts.heads[i].losses[heads] + cuts.units[i][0].losses[units]
                layers.append(
                    Architecture.homogeneous(
                        num_layers=1, hidden_size=32, num_heads=3, feed_forward=[64 - units]
                    ).layers[0]
                )
                layers[-1] = type(layers[-1])(
                    32, layers[-1].head_types[heads:], layers[-1].head_dim, (64 - units,)
                )
            yield loss, costs([Architecture(tuple(layers))])[0, 0]


@given(st.integers(0, 1000), st.floats(0.1, 1.0))
@settings(max_examples=8, deadline=None)
@example(seed=46, share=0.125)  # every layer would go: which one stays is decided by the loss
def test_no_cut_within_the_limit_loses_less_where_costs_add_up(seed, share):
    cuts = random_cuts(seed)
    limit = np.floor(encoder([SMALL])[0] * share)  # whole parameters: no limit is a rounding away
    found = best_cut(SMALL, cuts, limit, encoder, SIZES)
    least = min((loss for loss, cost in every_cut(cuts, encoder) if cost <= limit[0]), default=None)
    if least is None:
        assert found is None
    else:
        assert found.loss == pytest.approx(least)
        left = found.removal.apply(SMALL)
        assert encoder([left])[0] <= limit
        assert encoder([left])[0] == pytest.approx(found.costs)


@pytest.mark.parametrize("share", [0.9, 0.7, 0.5, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_a_predictor_whose_parts_do_not_add_up_is_met_all_the_same(seed, share):
    cuts = random_cuts(seed)
    limit = latency([SMALL])[0] * share
    found = best_cut(SMALL, cuts, limit, latency, SIZES)
    least = min(loss for loss, cost in every_cut(cuts, latency) if cost <= limit[0])
    assert latency([found.removal.apply(SMALL)])[0] <= limit
    assert least - 1e-9 <= found.loss <= 1.35 * least + 0.1


def test_several_limits_hold_at_once():
    def both(architectures):
        return np.hstack([encoder(architectures), latency(architectures)])

    limits = both([SMALL])[0] * [0.8, 0.5]
    found = best_cut(SMALL, random_cuts(1), limits, both, SIZES)
    assert (both([found.removal.apply(SMALL)])[0] <= limits).all()


def test_a_limit_that_the_model_keeps_already_removes_nothing():
    found = best_cut(SMALL, random_cuts(1), encoder([SMALL])[0], encoder, SIZES)
    assert found.removal.apply(SMALL) == SMALL
    assert found.loss == 0


def test_channels_go_where_nothing_else_can():
    def everything(architectures):
        return np.array(
            [[float(parameter_count(a, vocab_size=2000, max_positions=64))] for a in architectures]
        )

    importance = Importance.uniform(SMALL)
    limit = everything([SMALL])[0] * 0.55
    assert best_cut(SMALL, Cuts.of(importance), limit, everything, SIZES, channels=False) is None
    found = best_cut(SMALL, Cuts.of(importance), limit, everything, SIZES)
    assert found.removal.apply(SMALL).layers[0].hidden_size == 16


def test_below_the_floors_there_is_no_cut_and_the_floor_is_known():
    floor = floor_costs(SMALL, encoder, SIZES)
    assert best_cut(SMALL, random_cuts(0), floor * 0.99, encoder, SIZES) is None
    found = best_cut(SMALL, Cuts.of(Importance.uniform(SMALL)), floor, encoder, SIZES)
    assert encoder([found.removal.apply(SMALL)])[0] == floor


def test_a_cut_is_told_in_words():
    left = best_cut(SMALL, random_cuts(1), encoder([SMALL])[0] / 2, encoder, SIZES)
    text = words(SMALL, left.removal.apply(SMALL), {"encoder parameters": "half"})
    assert text.startswith("cut to encoder parameters at most half: ")
    assert "units" in text
