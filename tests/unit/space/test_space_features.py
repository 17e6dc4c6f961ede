import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from space_strategies import architectures

from edgetran.space import (
    FEATURE_NAMES,
    FEATURE_UNITS,
    HEAD_TYPES,
    OPERATION_KINDS,
    RIDGES,
    Architecture,
    CostError,
    DesignSpace,
    Layer,
    feature_matrix,
    features,
    operations,
    parameter_count,
    sampling,
)

TINY = DesignSpace.preset("tiny")
ODD = Architecture(
    (
        Layer(256, ("sa_sdp", "sa_sdp", "sa_wma", "c_5", "l_dct"), 64, (896,)),
        Layer(384, ("l_dft",), 32, (1024, 256)),
    )
)


def test_every_value_has_a_name_and_a_unit():
    found = features(ODD, 64, 1)
    assert found.names == FEATURE_NAMES
    assert found.units == FEATURE_UNITS
    assert found.values.shape == (len(found.names),) == (len(found.units),)
    assert found.values.dtype == np.float64
    assert len(set(found.names)) == len(found.names)
    assert set(found.to_dict()) == set(found.names)


def test_the_structure_is_counted_not_indexed():
    found = features(ODD, 64, 1).to_dict()
    assert found["num_layers"] == 2
    assert found["hidden_projections"] == 1
    assert found["feed_forward_widths"] == 3
    assert [found[f"heads_{head}"] for head in HEAD_TYPES] == [2, 1, 1, 1, 1, 0, 0]
    assert [found[f"dims_{head}"] for head in HEAD_TYPES] == [128, 64, 32, 64, 64, 0, 0]
    assert found["log2_hidden_size_mean"] == pytest.approx((8 + np.log2(384)) / 2)
    assert found["log2_hidden_size_max"] == pytest.approx(np.log2(384))
    assert found["log2_feed_forward_width_mean"] == pytest.approx((np.log2(896) + 10 + 8) / 3)
    assert found["log2_feed_forward_width_max"] == 10
    assert found["parameters"] == parameter_count(ODD)


@given(architectures, st.integers(1, 64), st.integers(1, 8), st.sampled_from((1, 2, 4)))
def test_costs_are_the_sums_of_the_operations(architecture, length, batch, bytes_per_value):
    options = {"vocab_size": 500, "bytes_per_value": bytes_per_value, "num_labels": 3}
    found = features(architecture, length, batch, **options).to_dict()
    costs = operations(architecture, length, batch, **options)
    assert found["macs"] == sum(cost.macs for cost in costs)
    assert found["bytes_moved"] == sum(cost.bytes_moved for cost in costs)
    assert found["launches"] == sum(cost.launches for cost in costs)
    assert found["parameters"] == sum(cost.parameters for cost in costs)
    for kind in OPERATION_KINDS:
        of_kind = [cost for cost in costs if cost.kind == kind]
        assert found[f"bytes_{kind}"] == sum(cost.bytes_moved for cost in of_kind)
        assert found.get(f"macs_{kind}", 0) == sum(cost.macs for cost in of_kind)


@given(architectures, st.integers(1, 64), st.integers(1, 8))
def test_launches_and_rooflines_are_counted_by_operation(architecture, length, batch):
    found = features(architecture, length, batch).to_dict()
    costs = operations(architecture, length, batch)
    for kind in OPERATION_KINDS:
        assert found[f"launches_{kind}"] == sum(c.launches for c in costs if c.kind == kind)
    assert found["bytes_moved"] < found[f"roofline_{max(RIDGES)}"] + 1
    for larger, smaller in pairwise(sorted(RIDGES, reverse=True)):
        assert found[f"roofline_{larger}"] <= found[f"roofline_{smaller}"]
    bound = 2 * found["macs"] / max(RIDGES)
    assert found[f"roofline_{max(RIDGES)}"] >= max(bound, found["bytes_moved"]) * (1 - 1e-12)


def test_the_largest_part_is_the_largest_layer_not_the_sum():
    found = features(ODD, 64, 1).to_dict()
    by_layer = [
        [cost for cost in operations(ODD, 64, 1) if cost.layer == i] for i in range(ODD.num_layers)
    ]
    for kind in ("feed_forward", "scaled_dot_product", "fourier_transform"):
        each = [sum(c.macs for c in costs if c.kind == kind) for costs in by_layer]
        assert found[f"largest_{kind}_macs"] == max(each)
    layers = [[c for c in costs if c.kind != "hidden_projection"] for costs in by_layer]
    assert found["largest_part_macs"] == max(sum(c.macs for c in costs) for costs in layers)
    assert found["largest_part_bytes"] == max(sum(c.bytes_moved for c in costs) for costs in layers)


@given(st.lists(architectures, max_size=6))
def test_a_batch_has_the_rows_that_its_architectures_have_alone(batch):
    matrix = feature_matrix(batch, 32, 2, vocab_size=700)
    assert matrix.shape == (len(batch), len(FEATURE_NAMES))
    assert np.isfinite(matrix).all()
    for row, architecture in zip(matrix, batch, strict=True):
        alone = features(architecture, 32, 2, vocab_size=700).values
        np.testing.assert_allclose(row, alone, rtol=1e-14)


@given(architectures)
def test_the_order_of_heads_is_no_feature(architecture):
    one, other = feature_matrix([architecture, architecture.canonical()], 16, 1)
    np.testing.assert_allclose(one, other, rtol=1e-14)


def test_more_architectures_than_one_chunk_keep_their_order():
    few = sampling.sample(TINY, 7, np.random.default_rng(0))
    matrix = feature_matrix((few[i % 7] for i in range(10_000)), 64, 1)
    np.testing.assert_array_equal(matrix[7:], matrix[:-7])


def test_ten_thousand_architectures_take_seconds_at_most():
    drawn = sampling.sample(TINY, 10_000, np.random.default_rng(0), distinct=False)
    start = time.process_time()
    feature_matrix(drawn, 77, 1)
    assert time.process_time() - start < 5  # under 1 s on an idle core


def test_the_matrix_that_is_returned_can_be_changed_without_harm():
    before = features(ODD, 64, 1).values.copy()
    feature_matrix([ODD], 64, 1)[:] = -1
    features(ODD, 64, 1).values[:] = -1
    np.testing.assert_array_equal(features(ODD, 64, 1).values, before)


def test_an_impossible_workload_is_refused():
    with pytest.raises(
        CostError, match="sequence_length: Invalid value: 600: must be at most max_positions, 512"
    ):
        features(ODD, 600, 1)
    with pytest.raises(CostError, match="vocab_size: Invalid value: 0: must be"):
        feature_matrix([], 10, 1, vocab_size=0)
