from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from space_strategies import design_spaces, seeds

from edgetran.space import DesignSpace, DesignSpaceError, sampling

FLEXIBERT = DesignSpace.preset("flexibert-2.0")
TINY = DesignSpace.preset("tiny")
METHODS = ("hierarchical", "sobol", "lhs", "halton")


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("space", [FLEXIBERT, TINY])
def test_every_method_draws_distinct_members(space, method):
    drawn = sampling.sample(space, 50, rng(), method)
    assert len(drawn) == 50
    assert len({architecture.graph_hash for architecture in drawn}) == 50
    assert all(space.contains(architecture) for architecture in drawn)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_draws_the_same_and_another_seed_something_else(method):
    assert sampling.sample(TINY, 20, rng(7), method) == sampling.sample(TINY, 20, rng(7), method)
    assert sampling.sample(TINY, 20, rng(7), method) != sampling.sample(TINY, 20, rng(8), method)


@pytest.mark.parametrize("method", METHODS)
def test_every_level_of_the_hierarchy_is_uniform(method):
    drawn = sampling.sample(FLEXIBERT, 600, rng(1), method)
    depths = Counter(architecture.num_layers for architecture in drawn)
    layers = [layer for architecture in drawn for layer in architecture.layers]
    levels = (
        (depths, FLEXIBERT.num_layers),
        (Counter(layer.hidden_size for layer in layers), FLEXIBERT.hidden_sizes),
        (Counter(layer.num_heads for layer in layers), FLEXIBERT.num_heads),
        (Counter(len(layer.feed_forward) for layer in layers), (1, 2, 3)),
    )
    for counts, allowed in levels:
        for value in allowed:
            share = counts[value] / counts.total()
            assert share == pytest.approx(1 / len(allowed), rel=0.25)


@pytest.mark.parametrize("method", ["sobol", "lhs"])
def test_low_discrepancy_draws_spread_more_evenly_than_chance(method):
    drawn = sampling.sample(TINY, 96, rng(3), method, distinct=False)
    depths = Counter(architecture.num_layers for architecture in drawn)
    first_widths = Counter(architecture.layers[0].hidden_size for architecture in drawn)
    for counts in (depths, first_widths):
        assert all(abs(counts[value] - 32) <= 3 for value in counts)


@pytest.mark.parametrize("method", METHODS)
def test_a_space_smaller_than_the_sample_is_given_whole_and_no_more(method):
    space = DesignSpace((1, 2), (8,), (1,), ("sa_sdp", "c_5"), (4, 8))
    drawn = sampling.sample(space, 100, rng(), method)
    assert len(drawn) == space.cardinality() == 4 + 16
    assert len({architecture.graph_hash for architecture in drawn}) == 20


@pytest.mark.parametrize("method", METHODS)
def test_a_space_hardly_larger_than_the_sample_is_drawn_from_without_end(method):
    """Nearly all of the space is 2 layers deep, but every other draw is 1 layer deep."""
    space = DesignSpace((1, 2), (8,), (2, 4), ("sa_sdp", "c_5"), (4, 8))
    cardinality = space.cardinality()
    drawn = sampling.sample(space, cardinality - 1, rng(), method)
    assert len({architecture.graph_hash for architecture in drawn}) == cardinality - 1


def test_rare_members_are_found_by_rank_when_chance_would_need_too_long():
    space = DesignSpace((1,), (64,), (1, 20), ("sa_sdp", "c_5", "c_9", "l_dct"), (4,))
    assert space.cardinality() == 4 + 1771
    drawn = sampling.sample(space, 1700, rng())
    assert len({architecture.graph_hash for architecture in drawn}) == 1700


def test_a_sample_may_repeat_where_that_is_wanted():
    space = DesignSpace((1,), (8,), (1,), ("sa_sdp",), (4, 8))
    drawn = sampling.sample(space, 50, rng(), distinct=False)
    assert len(drawn) == 50
    assert len(set(drawn)) == 2


@given(design_spaces, st.integers(0, 12), seeds, st.sampled_from(METHODS))
@settings(max_examples=40, deadline=None)
def test_a_sample_has_the_size_asked_for_or_that_of_the_space(space, n, seed, method):
    drawn = sampling.sample(space, n, rng(seed), method)
    assert len(drawn) == min(n, space.cardinality())
    assert len({architecture.graph_hash for architecture in drawn}) == len(drawn)
    assert all(space.contains(architecture) for architecture in drawn)


def test_a_wrong_request_is_refused_with_what_is_allowed():
    with pytest.raises(DesignSpaceError, match="n: Invalid value: -1: must be at least 0"):
        sampling.sample(TINY, -1, rng())
    with pytest.raises(DesignSpaceError, match='"grid": supported values: "hierarchical", "sob'):
        sampling.sample(TINY, 1, rng(), "grid")
