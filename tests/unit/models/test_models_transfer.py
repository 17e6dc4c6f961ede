"""What corresponds is carried over, growth starts from the parent's function, ratios are told."""

import dataclasses
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models_reference import EVERY_TYPE, build, draw_batch
from transformers import BertConfig, BertModel

from edgetran.models import (
    FlexiBertForMaskedLM,
    FlexiBertForSequenceClassification,
    FlexiBertModel,
    TransferError,
    align,
    from_bert,
    predicted_transfer_ratio,
    transfer_weights,
)
from edgetran.models.alignment import align_heads
from edgetran.models.layout import HeadLayout
from edgetran.space import HEAD_TYPES, Architecture, Layer

FIRST, SECOND, THIRD = EVERY_TYPE.layers
change = dataclasses.replace

layers = st.builds(
    Layer,
    st.sampled_from([8, 12]),
    st.lists(st.sampled_from(HEAD_TYPES), min_size=1, max_size=5).map(tuple),
    st.integers(1, 4),
    st.lists(st.integers(1, 9), min_size=1, max_size=3).map(tuple),
)
architectures = st.lists(layers, min_size=1, max_size=4).map(
    lambda found: Architecture(tuple(found))
)


def arch(*layers):
    return Architecture(layers)


def logits(model):
    return model(*draw_batch()).logits.detach()


# Alignment


def test_heads_align_by_type_then_by_family_never_by_place():
    parent = ("sa_sdp", "c_5", "l_dft", "c_9")
    child = ("c_9", "c_13", "sa_wma", "l_dct", "sa_sdp", "sa_sdp")
    assert align_heads(parent, child) == (3, 1, None, 2, 0, None)


def test_layers_align_where_most_is_shared():
    """A layer inserted in front moves every other layer: places say nothing."""
    new = Layer(16, ("l_dct",), 3, (4,))
    alignment = align(EVERY_TYPE, arch(new, *EVERY_TYPE.layers))
    assert [layer.parent for layer in alignment.layers] == [None, 0, 1, 2]
    assert alignment.layers[1].heads == tuple(range(7))


def test_equal_layers_align_by_relative_depth():
    deep, shallow = (
        Architecture.homogeneous(num_layers=n, hidden_size=8, num_heads=2, feed_forward=[8])
        for n in (6, 2)
    )
    assert [layer.parent for layer in align(deep, shallow).layers] == [1, 4]


def test_feed_forward_widths_align_where_most_is_shared():
    parent, child = (arch(change(FIRST, feed_forward=f)) for f in ((5, 20), (20,)))
    assert align(parent, child).layers[0].feed_forward == (1,)
    assert align(child, parent).layers[0].feed_forward == (None, 0)


# Ordinary transfer


@settings(max_examples=60, deadline=None)
@given(architectures, architectures)
def test_the_predicted_ratio_is_the_one_that_happens(parent, child):
    models = [build(FlexiBertForSequenceClassification, a, vocab_size=9) for a in (parent, child)]
    report = transfer_weights(*models)
    predicted = predicted_transfer_ratio(parent, child, vocab_size=9, max_positions=40)
    assert report.ratio == predicted
    assert 0 < report.ratio <= 1
    assert report.function_preserved is None


@pytest.mark.parametrize(
    "model_class", [FlexiBertForSequenceClassification, FlexiBertForMaskedLM, FlexiBertModel]
)
@pytest.mark.parametrize("positions", ["absolute", "relative_key"])
@pytest.mark.parametrize("method", ["ordered", "projection"])
def test_an_equal_child_becomes_the_parent(model_class, positions, method):
    parent, child = (
        build(model_class, EVERY_TYPE, seed=seed, position_embedding_type=positions)
        for seed in (0, 1)
    )
    report = transfer_weights(parent, child, method=method)
    assert report.ratio == 1
    theirs = parent.state_dict()
    assert all(torch.equal(theirs[name], value) for name, value in child.state_dict().items())


def test_reordered_heads_become_the_parent():
    reordered = arch(change(FIRST, head_types=FIRST.head_types[::-1]), SECOND, THIRD)
    parent = build(FlexiBertForSequenceClassification, EVERY_TYPE)
    child = build(FlexiBertForSequenceClassification, reordered, seed=1)
    assert transfer_weights(parent, child).ratio == 1
    assert torch.allclose(logits(child), logits(parent), atol=1e-6)


def test_a_head_brings_its_queries_keys_values_and_output_columns():
    parent_layer = Layer(8, ("c_5", "sa_wma"), 2, (4,))
    child_layer = Layer(8, ("l_dft", "sa_wma", "c_9"), 2, (4,))
    parent, child = (
        build(FlexiBertModel, arch(layer), seed=seed)
        for seed, layer in enumerate((parent_layer, child_layer))
    )
    transfer_weights(parent, child)
    ours, theirs = child.layers[0].attention, parent.layers[0].attention

    def rows(attention, layer, head, part):
        layout = HeadLayout.of(layer)
        first = (0, layout.num_queries, 2 * layout.num_queries)[part]
        slot = layout.slots[head] if part == 2 else layout.query_slot(head)
        return attention.query_key_value.weight[(first + slot) * 2 : (first + slot + 1) * 2]

    for child_head, parent_head in ((1, 1), (2, 0)):
        for part in range(3):
            mine = rows(ours, child_layer, child_head, part)
            assert torch.equal(mine, rows(theirs, parent_layer, parent_head, part))
    assert torch.equal(ours.scores.weighting, theirs.scores.weighting)
    # The kernel of span 5 stands in the middle of the one of span 9.
    assert torch.equal(ours.convolution.depthwise[2:7], theirs.convolution.depthwise)
    assert torch.equal(ours.convolution.pointwise, theirs.convolution.pointwise)
    # Slots: parent sa_wma, c_5; child sa_wma, l_dft, c_9.
    assert torch.equal(ours.output.weight[:, :2], theirs.output.weight[:, :2])
    assert torch.equal(ours.output.weight[:, 4:], theirs.output.weight[:, 2:])


def test_what_has_no_parent_keeps_its_initial_values():
    parent = build(FlexiBertModel, arch(FIRST))
    child, untouched = (build(FlexiBertModel, arch(FIRST, FIRST), seed=1) for _ in range(2))
    report = transfer_weights(parent, child)
    new = [i for i, layer in enumerate(report.alignment.layers) if layer.parent is None]
    before = untouched.layers[new[0]].state_dict()
    after = child.layers[new[0]].state_dict()
    assert all(torch.equal(before[name], value) for name, value in after.items())


def test_overlaps_are_taken_where_sizes_differ():
    parent = build(FlexiBertForSequenceClassification, arch(SECOND, THIRD), num_labels=3)
    wide = [change(layer, hidden_size=30) for layer in (SECOND, THIRD)]
    child = build(FlexiBertForSequenceClassification, arch(*wide), seed=1, num_labels=2)
    transfer_weights(parent, child)
    ours, theirs = child.flexibert, parent.flexibert
    words = ours.embeddings.word_embeddings.weight
    assert torch.equal(words[:, :24], theirs.embeddings.word_embeddings.weight)
    assert torch.equal(ours.pooler.weight[:24, :24], theirs.pooler.weight)
    assert torch.equal(child.classifier.weight[:, :24], parent.classifier.weight[:2])
    norm = ours.layers[0].attention.LayerNorm.weight
    assert torch.equal(norm[:24], theirs.layers[0].attention.LayerNorm.weight)


def test_hidden_size_projections_are_carried_over():
    parent, child = (build(FlexiBertModel, EVERY_TYPE, seed=seed) for seed in (0, 1))
    transfer_weights(parent, child)
    ours, theirs = child.layers[0].projection, parent.layers[0].projection
    assert torch.equal(ours.weight, theirs.weight)
    assert torch.equal(ours.bias, theirs.bias)


def test_projections_are_seeded_and_take_whole_blocks():
    wide = Architecture(tuple(change(layer, hidden_size=32) for layer in EVERY_TYPE.layers))
    parent = build(FlexiBertForSequenceClassification, EVERY_TYPE)
    results, ratios = [], []
    for seed in (0, 0, 1):
        child = build(FlexiBertForSequenceClassification, wide, seed=1)
        ratios.append(transfer_weights(parent, child, method="projection", seed=seed).ratio)
        results.append(logits(child))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])
    assert ratios[0] > predicted_transfer_ratio(EVERY_TYPE, wide, vocab_size=40, max_positions=40)


def test_a_projected_linear_map_is_the_same_map_in_a_larger_space():
    """Random projections agree with each other: what one matrix writes the next one reads."""
    narrow = Architecture.homogeneous(num_layers=1, hidden_size=8, num_heads=1, feed_forward=[8])
    wide = Architecture.homogeneous(num_layers=1, hidden_size=24, num_heads=3, feed_forward=[8])
    parent = build(FlexiBertForSequenceClassification, narrow)
    child = build(FlexiBertForSequenceClassification, wide, seed=1)
    transfer_weights(parent, child, method="projection")
    ours, theirs = (
        model.flexibert.embeddings.word_embeddings.weight @ model.classifier.weight.T
        for model in (child, parent)
    )
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_an_unknown_method_is_refused():
    model = build(FlexiBertModel, EVERY_TYPE)
    with pytest.raises(
        TransferError, match="'magic' given, allowed are 'ordered' and 'projection'"
    ):
        transfer_weights(model, model, method="magic")


def test_a_bert_is_a_parent():
    config = BertConfig(
        num_hidden_layers=2,
        hidden_size=16,
        num_attention_heads=2,
        intermediate_size=24,
        vocab_size=40,
        max_position_embeddings=40,
    )
    parent = from_bert(BertModel(config).eval())
    layer = Layer(16, ("sa_sdp", "sa_sdp", "c_5", "l_dct"), 8, (24, 48))
    child = build(FlexiBertModel, arch(layer, layer), noise=0)
    report = transfer_weights(parent, child, preserve_function=True)
    assert report.function_preserved
    batch = draw_batch()
    assert torch.allclose(
        child(*batch).last_hidden_state, parent(*batch).last_hidden_state, atol=1e-5
    )


# Growth

GROWN = {
    "heads": arch(
        change(FIRST, head_types=("l_dft", "sa_sdp", *FIRST.head_types, "c_5", "sa_wma")),
        change(SECOND, head_types=("c_13", *SECOND.head_types, "sa_sdp")),
        THIRD,
    ),
    "widths": arch(
        change(FIRST, feed_forward=(31,)),
        change(SECOND, feed_forward=(13, 20)),
        change(THIRD, feed_forward=(8, 9, 8)),
    ),
    "a stack of twice the units": arch(
        change(FIRST, feed_forward=(20, 40)),
        change(SECOND, feed_forward=(12, 24, 18)),
        change(THIRD, feed_forward=(8, 8, 8, 16)),
    ),
    "a stack of as many units": arch(
        change(FIRST, feed_forward=(20, 20)),
        change(SECOND, feed_forward=(12, 18, 18)),
        change(THIRD, feed_forward=(8, 8, 8, 8, 8)),
    ),
    "a stack before the others": arch(
        change(FIRST, feed_forward=(32, 20)), change(SECOND, feed_forward=(48, 12, 18)), THIRD
    ),
    "two stacks": arch(FIRST, SECOND, change(THIRD, feed_forward=(50, 50, 8, 8, 8))),
    "a first layer": arch(Layer(16, ("c_5",), 3, (9,)), *EVERY_TYPE.layers),
    "a layer before a projection": arch(
        FIRST, change(FIRST, head_types=("sa_sdp",)), SECOND, THIRD
    ),
    "layers at the end": arch(*EVERY_TYPE.layers, SECOND, THIRD),
    "everything": arch(
        Layer(16, ("l_dct",), 5, (3, 4)),
        change(FIRST, head_types=(*FIRST.head_types, "c_13"), feed_forward=(25, 25)),
        SECOND,
        Layer(24, ("sa_wma", "c_5"), 5, (9,)),
        change(THIRD, feed_forward=(8, 8, 10, 16)),
    ),
}


@pytest.mark.parametrize("grown", GROWN.values(), ids=GROWN)
@pytest.mark.parametrize("positions", ["absolute", "relative_key"])
@pytest.mark.parametrize("top", [FlexiBertForSequenceClassification, FlexiBertForMaskedLM])
def test_growth_preserves_the_function(grown, positions, top):
    parent = build(top, EVERY_TYPE, position_embedding_type=positions)
    child = build(top, grown, seed=1, position_embedding_type=positions)
    report = transfer_weights(parent, child, preserve_function=True)
    assert report.function_preserved
    assert report.obstacle is None
    assert (logits(child) - logits(parent)).abs().max() < 1e-5


@pytest.mark.parametrize("grown", GROWN.values(), ids=GROWN)
def test_what_has_grown_can_be_trained(grown):
    parent = build(FlexiBertForSequenceClassification, EVERY_TYPE)
    child = build(FlexiBertForSequenceClassification, grown, seed=1)
    transfer_weights(parent, child, preserve_function=True)
    optimizer = torch.optim.SGD(child.parameters(), lr=0.1)
    for _ in range(2):  # zero outputs learn in the first step, what feeds them in the second
        optimizer.zero_grad()
        child(*draw_batch(), labels=torch.tensor([0, 1, 0])).loss.backward()
        optimizer.step()
    stuck = [n for n, p in child.named_parameters() if not p.grad.abs().max() > 0]
    assert stuck == []


@pytest.mark.parametrize(
    ("child", "settings", "reason"),
    [
        (arch(change(FIRST, head_types=FIRST.head_types[1:]), SECOND, THIRD), {}, "c_9 are gone"),
        (arch(change(FIRST, feed_forward=(19,)), SECOND, THIRD), {}, r"\[19\] cannot pass on"),
        (arch(change(FIRST, feed_forward=(20, 19)), SECOND, THIRD), {}, r"too narrow matrices"),
        (arch(change(FIRST, head_dim=4), SECOND, THIRD), {}, "head dimension 3 became 4"),
        (
            arch(change(FIRST, hidden_size=17), SECOND, THIRD),
            {},
            "layer 0: it is new with hidden size 17, but receives 16",
        ),
        (arch(FIRST, SECOND), {}, "no layer of the child contains layer 2 of the parent"),
        (
            arch(FIRST, Layer(20, ("sa_sdp",), 5, (9,)), SECOND, THIRD),
            {},
            "layer 1: it is new with hidden size 20, but receives 16",
        ),
        (EVERY_TYPE, {"vocab_size": 41}, "vocab_size differs: 40 and 41"),
        (EVERY_TYPE, {"num_labels": 3}, "num_labels differs"),
        (EVERY_TYPE, {"max_position_embeddings": 30}, "transform_length differs"),
    ],
)
def test_what_cannot_be_preserved_is_told_and_transferred_all_the_same(child, settings, reason):
    parent = build(FlexiBertForSequenceClassification, EVERY_TYPE)
    models = [build(FlexiBertForSequenceClassification, child, seed=1, **settings) for _ in "ab"]
    report = transfer_weights(parent, models[0], preserve_function=True)
    assert report.function_preserved is False
    assert report.obstacle is not None
    assert re.search(reason, report.obstacle)
    transfer_weights(parent, models[1])
    ordinary = models[1].state_dict()
    assert all(torch.equal(ordinary[name], v) for name, v in models[0].state_dict().items())
