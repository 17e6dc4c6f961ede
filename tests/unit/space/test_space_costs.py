import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from space_strategies import architectures, layers

from edgetran.space import (
    HEAD_TYPES,
    OPERATION_KINDS,
    Architecture,
    CostError,
    Layer,
    macs,
    operations,
    parameter_count,
)

BERT_BASE = Architecture.homogeneous(
    num_layers=12, hidden_size=768, num_heads=12, feed_forward=[3072]
)
lengths = st.integers(1, 128)
batches = st.integers(1, 16)


def one_layer(*heads, hidden=32, dim=8, stack=(16,)):
    return Architecture((Layer(hidden, heads, dim, stack),))


def cost(architecture, kind, sequence_length=10, batch_size=3, **options):
    """The one operation of a kind."""
    (found,) = (
        operation
        for operation in operations(architecture, sequence_length, batch_size, **options)
        if operation.kind == kind and operation.layer is not None
    )
    return found


def test_bert_base_has_the_parameters_that_its_checkpoint_has():
    assert parameter_count(BERT_BASE) == 109_483_778
    assert parameter_count(BERT_BASE, vocab_size=28996) == 108_311_810
    assert parameter_count(BERT_BASE, num_labels=3) == 109_484_547


def test_bert_base_has_the_macs_of_its_matrix_products():
    length, hidden, inner = 128, 768, 3072
    per_layer = length * (4 * hidden**2 + 2 * hidden * inner) + 2 * length**2 * hidden
    assert macs(BERT_BASE, length) == 12 * per_layer + hidden**2 + 2 * hidden


@pytest.mark.parametrize(
    ("head", "kind", "expected"),
    [
        ("sa_sdp", "scaled_dot_product", 2 * 10 * 10 * 8),
        ("sa_wma", "scaled_dot_product", 2 * 10 * 10 * 8),
        ("sa_wma", "weighted_query", 10 * 8 * 8),
        ("l_dft", "fourier_transform", 2 * 10 * 10 * 8 + 2 * 10 * 8 * 8),
        ("l_dct", "cosine_transform", 10 * 10 * 8 + 10 * 8 * 8),
        ("c_5", "dynamic_convolution", 10 * (2 * 8 * 8 + 3 * 5 * 8)),
        ("c_9", "dynamic_convolution", 10 * (2 * 8 * 8 + 3 * 9 * 8)),
        ("c_13", "dynamic_convolution", 10 * (2 * 8 * 8 + 3 * 13 * 8)),
    ],
)
def test_the_macs_of_a_head_follow_its_formula(head, kind, expected):
    for heads in (1, 4):
        assert cost(one_layer(*[head] * heads), kind).macs == 3 * heads * expected


@pytest.mark.parametrize(
    ("head", "parameters"),
    [
        ("sa_sdp", 0),
        ("sa_wma", 8 * 8),
        ("l_dft", 0),
        ("l_dct", 0),
        ("c_5", 5 * 8 + 8 * 8 + 8 + (8 * 5 + 5) + (8 * 8 + 8)),
        ("c_13", 13 * 8 + 8 * 8 + 8 + (8 * 13 + 13) + (8 * 8 + 8)),
    ],
)
def test_only_heads_that_use_queries_and_keys_have_them(head, parameters):
    projections = 1 if head.startswith("l_") else 3
    architecture = one_layer(head, head)
    assert cost(architecture, "query_key_value").macs == 30 * 32 * projections * 16
    assert cost(architecture, "query_key_value").parameters == 33 * projections * 16
    heads = sum(
        operation.parameters
        for operation in operations(architecture, 10, 3)
        if operation.kind
        in (
            "weighted_query",
            "scaled_dot_product",
            "fourier_transform",
            "cosine_transform",
            "dynamic_convolution",
        )
    )
    assert heads == 2 * parameters


def test_a_floored_head_dimension_leaves_a_smaller_concatenation():
    architecture = one_layer(*["sa_sdp"] * 12, hidden=128, dim=10)
    assert cost(architecture, "attention_output").macs == 30 * 120 * 128
    assert cost(architecture, "attention_output").parameters == 120 * 128 + 128


def test_a_stack_is_a_chain_of_matrices():
    architecture = one_layer("sa_sdp", hidden=32, stack=(16, 64, 8))
    feed_forward = cost(architecture, "feed_forward")
    assert feed_forward.macs == 30 * (32 * 16 + 16 * 64 + 64 * 8 + 8 * 32)
    assert feed_forward.parameters == 32 * 16 + 16 * 64 + 64 * 8 + 8 * 32 + 16 + 64 + 8 + 32
    assert feed_forward.launches == 4
    assert cost(architecture, "activation").launches == 3
    assert cost(architecture, "activation").bytes_moved == 2 * 4 * 30 * (16 + 64 + 8)


def test_only_a_change_of_hidden_size_is_projected():
    narrow, wide = Layer(32, ("sa_sdp",), 8, (16,)), Layer(48, ("sa_sdp",), 8, (16,))
    projections = [
        (operation.layer, operation.macs, operation.parameters)
        for operation in operations(Architecture((narrow, narrow, wide, narrow)), 10, 3)
        if operation.kind == "hidden_projection"
    ]
    assert projections == [(1, 30 * 32 * 48, 33 * 48), (2, 30 * 48 * 32, 49 * 32)]


def test_a_look_up_moves_bytes_and_multiplies_nothing():
    embedding = operations(BERT_BASE, 128, 2, vocab_size=1000)[0]
    assert (embedding.kind, embedding.layer, embedding.macs) == ("embedding", None, 0)
    assert embedding.parameters == (1000 + 512 + 2) * 768
    assert embedding.bytes_moved < 20 * 256 * 768 * 4  # the positions read, not the vocabulary
    small = operations(BERT_BASE, 128, 2, vocab_size=10)[0]
    assert small.bytes_moved == embedding.bytes_moved


def test_a_linear_reads_input_and_weights_once_and_writes_its_output():
    projection = cost(one_layer("sa_sdp"), "query_key_value")
    assert projection.bytes_moved == 4 * (30 * 32 + 33 * 24 + 30 * 24)


def test_fused_attention_never_writes_its_scores():
    short = cost(one_layer("sa_sdp"), "scaled_dot_product", sequence_length=100)
    long = cost(one_layer("sa_sdp"), "scaled_dot_product", sequence_length=200)
    assert long.bytes_moved == 2 * short.bytes_moved
    assert long.macs == 4 * short.macs


def test_heads_of_one_type_share_their_launches_and_types_are_concatenated():
    def launches(*heads):
        return sum(operation.launches for operation in operations(one_layer(*heads), 10, 3))

    assert launches("c_5") == launches(*["c_5"] * 8)
    assert launches("sa_sdp", "l_dct") > launches("sa_sdp")
    assert cost(one_layer("sa_sdp", "sa_wma"), "attention_output").launches == 1
    assert cost(one_layer("sa_sdp", "l_dct"), "attention_output").launches == 2


@given(architectures, lengths, batches)
def test_the_operations_add_up(architecture, sequence_length, batch_size):
    found = operations(architecture, sequence_length, batch_size)
    assert sum(operation.parameters for operation in found) == parameter_count(architecture)
    assert sum(operation.macs for operation in found) == macs(
        architecture, sequence_length, batch_size
    )
    places = [operation.layer for operation in found if operation.layer is not None]
    assert places == sorted(places)
    assert set(places) == set(range(architecture.num_layers))
    for operation in found:
        assert operation.kind in OPERATION_KINDS
        assert operation.bytes_moved > 0
        assert operation.launches > 0
        assert operation.macs >= 0


@given(architectures, lengths, batches)
def test_macs_grow_with_the_batch_and_weights_are_read_once(
    architecture, sequence_length, batch_size
):
    assert macs(architecture, sequence_length, batch_size) == batch_size * macs(
        architecture, sequence_length
    )
    one = operations(architecture, sequence_length, 1)
    many = operations(architecture, sequence_length, batch_size)
    for single, batched in zip(one, many, strict=True):
        assert single.bytes_moved <= batched.bytes_moved <= batch_size * single.bytes_moved


@given(architectures, lengths)
def test_the_order_of_heads_costs_nothing(architecture, sequence_length):
    canonical = operations(architecture.canonical(), sequence_length, 2)
    assert operations(architecture, sequence_length, 2) == canonical


@given(architectures)
def test_smaller_values_move_fewer_bytes(architecture):
    fp32 = operations(architecture, 16, 2)
    int8 = operations(architecture, 16, 2, bytes_per_value=1)
    for wide, narrow in zip(fp32, int8, strict=True):
        ids = 2 * 32 * 8 if wide.kind == "embedding" else 0
        assert wide.bytes_moved - ids == 4 * (narrow.bytes_moved - ids)
        assert dataclasses.replace(wide, bytes_moved=narrow.bytes_moved) == narrow


@given(layers, st.sampled_from(HEAD_TYPES))
def test_one_more_head_costs_more(layer, head):
    grown = dataclasses.replace(layer, head_types=(*layer.head_types, head))
    assert macs(Architecture((grown,)), 16) > macs(Architecture((layer,)), 16)
    assert parameter_count(Architecture((grown,))) > parameter_count(Architecture((layer,)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: operations(BERT_BASE, 0, 1),
            "sequence_length: Invalid value: 0: must be a whole number of",
        ),
        (lambda: operations(BERT_BASE, 8, True), "batch_size: Invalid value: true"),
        (
            lambda: operations(BERT_BASE, 8, 1, bytes_per_value=0),
            "bytes_per_value: Invalid value: 0",
        ),
        (
            lambda: operations(BERT_BASE, 513, 1),
            "Invalid value: 513: must be at most max_positions, 512",
        ),
        (lambda: parameter_count(BERT_BASE, vocab_size=-1), "vocab_size: Invalid value: -1"),
        (lambda: macs(BERT_BASE, 8, 1.0), "batch_size: Invalid value: 1: must be a whole number"),
    ],
)
def test_an_impossible_workload_is_refused_with_what_is_allowed(call, message):
    with pytest.raises(CostError, match=message):
        call()
