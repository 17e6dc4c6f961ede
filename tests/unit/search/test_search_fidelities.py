"""What a low fidelity says of a high one is learned from the few that are known at both."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetran.search.fidelities import Correction
from edgetran.space import DesignSpace, sampling

SPACE = DesignSpace.preset("tiny")
ARCHITECTURES = sampling.sample(SPACE, 40, np.random.default_rng(0))


def others(architecture):
    heads = [head for layer in architecture.layers for head in layer.head_types]
    return sum(not head.startswith("sa_") for head in heads) / len(heads)


def accuracies(seed):
    return list(np.random.default_rng(seed).uniform(0.6, 0.9, len(ARCHITECTURES)))


def learned(low, high, known):
    given_ = [high[i] if i in known else None for i in range(len(low))]
    return Correction.fit(ARCHITECTURES, low, given_)


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_without_a_pair_the_estimate_is_what_is_expected(seed):
    low = accuracies(seed)
    mean, deviation = learned(low, low, []).predict(ARCHITECTURES, low)
    np.testing.assert_allclose(mean, low)
    assert bool((deviation > 0.02).all())


@given(st.integers(0, 1000), st.floats(-0.1, 0.1))
@settings(max_examples=30, deadline=None)
def test_what_training_adds_to_all_is_learned_from_a_few(seed, gain):
    low = accuracies(seed)
    high = [value + gain for value in low]
    before = learned(low, high, [])
    after = learned(low, high, range(8))
    mean, deviation = after.predict(ARCHITECTURES[8:], low[8:])
    assert np.abs(mean - high[8:]).max() <= 0.35 * abs(gain) + 1e-9
    assert deviation.mean() < before.predict(ARCHITECTURES[8:], low[8:])[1].mean()
    assert after.gain[0] == pytest.approx(gain, abs=0.1 * abs(gain) + 1e-9)


def test_a_kind_of_candidate_that_estimates_flatter_is_found_out():
    low = accuracies(3)
    high = [value - 0.1 * others(a) for value, a in zip(low, ARCHITECTURES, strict=True)]
    mean, _ = learned(low, high, range(20)).predict(ARCHITECTURES[20:], low[20:])
    corrected = np.abs(mean - high[20:]).mean()
    assert corrected < np.abs(np.array(low[20:]) - high[20:]).mean() / 3


@given(st.integers(0, 1000), st.integers(2, 12))
@settings(max_examples=20, deadline=None)
def test_nine_of_ten_lie_where_they_are_expected(seed, pairs):
    rng = np.random.default_rng(seed)
    low = accuracies(seed)
    high = [value + 0.02 + rng.normal(0, 0.015) for value in low]
    mean, deviation = learned(low, high, range(pairs)).predict(ARCHITECTURES[12:], low[12:])
    inside = np.abs(mean - high[12:]) < 1.645 * deviation
    assert inside.mean() >= 0.75
