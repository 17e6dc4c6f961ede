"""Every sub-architecture of an elastic network is a view, and extraction makes the same model."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models_reference import build, draw_batch

from edgetran.models import FlexiBertForSequenceClassification, prune
from edgetran.models.elastic import ElasticFlexiBert
from edgetran.models.elastic_fit import fit_slots
from edgetran.models.elastic_parent import ElasticError, sort_by_importance
from edgetran.models.pruning import PruneMap
from edgetran.space import HEAD_TYPES, Architecture, Layer

PARENT = Architecture.homogeneous(num_layers=3, hidden_size=24, num_heads=4, feed_forward=[20])
DIM = 6


def calibration(count=4):
    batches = [draw_batch(seed=seed, batch=6) for seed in range(count)]
    return [
        dict(zip(("input_ids", "attention_mask", "token_type_ids"), b, strict=True))
        for b in batches
    ]


def parent(seed=0):
    return build(FlexiBertForSequenceClassification, PARENT, seed=seed, noise=0.3)


WIDTHS = (24, 16, 9)


def network(head_types=HEAD_TYPES, hidden_sizes=WIDTHS):
    elastic = ElasticFlexiBert(parent(), head_types, hidden_sizes).eval()
    fit_slots(elastic, calibration())
    with torch.no_grad():
        for projection in elastic.projections:  # as after some training
            projection.weight += 0.1 * torch.randn(projection.weight.shape)
            projection.bias += 0.1 * torch.randn(projection.bias.shape)
    return elastic


NETWORK = network()
BATCH = calibration(1)[0]


def logits(model, batch=BATCH):
    with torch.no_grad():
        return model(**batch).logits


@st.composite
def parts(draw):
    """A sub-architecture: layers, heads of any types in any order, hidden sizes, widths."""
    depth = draw(st.integers(1, 3))
    return Architecture(
        tuple(
            Layer(
                draw(st.sampled_from(WIDTHS)),
                tuple(draw(st.lists(st.sampled_from(HEAD_TYPES), min_size=1, max_size=4))),
                DIM,
                (draw(st.integers(1, 20)),),
            )
            for _ in range(depth)
        )
    )


@settings(max_examples=60, deadline=None)
@given(parts())
def test_a_view_and_the_extracted_model_agree(architecture):
    extracted = NETWORK.extract(architecture)
    assert extracted.config.to_architecture() == architecture
    torch.testing.assert_close(
        logits(NETWORK.view(architecture)), logits(extracted), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("head_type", HEAD_TYPES)
def test_they_agree_for_every_head_type_and_in_every_hidden_state(head_type):
    layer = Layer(24, (head_type,) * 3, DIM, (13,))
    architecture = Architecture((layer, layer))
    with torch.no_grad():
        ours = NETWORK.view(architecture)(output_hidden_states=True, **BATCH).hidden_states
        theirs = NETWORK.extract(architecture)(output_hidden_states=True, **BATCH).hidden_states
    tokens = BATCH["attention_mask"].bool()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one[tokens], other[tokens], rtol=1e-5, atol=1e-5)


@given(parts(), st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_the_order_of_heads_does_not_matter(architecture, random):
    shuffled = Architecture(
        tuple(
            replace(la, head_types=tuple(random.sample(la.head_types, la.num_heads)))
            for la in architecture.layers
        )
    )
    torch.testing.assert_close(
        logits(NETWORK.view(architecture)), logits(NETWORK.view(shuffled)), rtol=0, atol=0
    )


def test_the_largest_view_is_the_parent():
    torch.testing.assert_close(logits(NETWORK.view(PARENT)), logits(parent()), rtol=1e-5, atol=1e-5)


def test_sorting_by_importance_keeps_the_function_and_puts_the_best_first():
    model = parent()
    heads = [[0.1, 0.4, 0.2, 0.3]] * 3
    units = [[float(i) for i in range(20)]] * 3
    sort_by_importance(model, heads, units)
    torch.testing.assert_close(logits(model), logits(parent()), rtol=1e-5, atol=1e-5)

    elastic = ElasticFlexiBert(model, ["sa_sdp"]).eval()
    small = Architecture((Layer(24, ("sa_sdp",) * 2, DIM, (5,)),) * 3)
    keep = PruneMap.everything(PARENT)
    for layer in range(3):
        keep = keep.without_heads(layer, [0, 2]).without_units(layer, 0, range(15))
    expected = logits(prune(parent(), keep))
    torch.testing.assert_close(logits(elastic.view(small)), expected, rtol=1e-5, atol=1e-5)


def test_channels_are_sorted_by_importance_and_the_first_are_what_a_narrower_part_keeps():
    model = parent()
    importance = [float((7 * channel) % 24) for channel in range(24)]
    order = sort_by_importance(model, [[0.0] * 4] * 3, [[0.0] * 20] * 3, importance)
    assert [importance[channel] for channel in order] == sorted(importance, reverse=True)
    torch.testing.assert_close(logits(model), logits(parent()), rtol=1e-5, atol=1e-5)

    narrow = Architecture((Layer(16, ("sa_sdp",) * 4, DIM, (20,)),) * 3)
    elastic = ElasticFlexiBert(model, ["sa_sdp"], [16]).eval()
    keep = PruneMap.everything(PARENT)
    for layer in range(3):
        keep = keep.without_hidden(layer, order[16:])
    expected = logits(prune(parent(), keep))
    torch.testing.assert_close(logits(elastic.view(narrow)), expected, rtol=1e-5, atol=1e-5)


def test_a_projection_begins_as_the_channels_that_both_layers_have():
    elastic = ElasticFlexiBert(parent(), ["sa_sdp"], [16]).eval()
    wide, narrow = (Layer(width, ("sa_sdp",) * 4, DIM, (20,)) for width in (24, 16))
    down, up, level = (
        elastic.view(Architecture(layers))
        for layers in ((wide, narrow), (narrow, wide), (wide, wide))
    )
    with torch.no_grad():
        handed, cut, grown = (
            view(output_hidden_states=True, **BATCH).hidden_states[1] for view in (level, down, up)
        )
    torch.testing.assert_close(cut, handed[..., :16])
    assert grown.shape[-1] == 24
    assert bool((grown[..., 16:] == 0).all())


@settings(max_examples=30, deadline=None)
@given(parts())
def test_the_first_position_of_a_last_layer_is_the_same_when_it_is_all_that_is_asked_for(
    architecture,
):
    parts_ = NETWORK.parts(architecture)
    with torch.no_grad():
        hidden, context = NETWORK.embed(BATCH, parts_[0].shape.hidden_size)
        for part in parts_[:-1]:
            hidden = NETWORK.run_layer(part, hidden, context)
        whole = NETWORK.run_layer(parts_[-1], hidden, context)
        first = NETWORK.run_layer(parts_[-1], hidden, context, first_only=True)
    assert first.shape[1] == 1
    torch.testing.assert_close(first, whole[:, :1], rtol=1e-5, atol=1e-5)


def test_layers_go_in_the_order_noted():
    elastic = network(["sa_sdp"])
    elastic.removal.copy_(torch.tensor([1, 0]))
    shallow = Architecture(PARENT.layers[:2])
    assert [part.index for part in elastic.parts(shallow)] == [0, 2]
    expected = logits(prune(parent(), PruneMap.everything(PARENT).without_layer(1)))
    torch.testing.assert_close(logits(elastic.view(shallow)), expected, rtol=1e-5, atol=1e-5)


def test_a_type_goes_where_it_does_the_least_harm():
    elastic = network(["sa_sdp", "c_5"])
    elastic.harm.zero_()
    elastic.harm[:, :, 1] = torch.tensor([5.0, 4.0, 0.1, 0.2])
    (part,) = elastic.parts(Architecture((Layer(24, ("c_5", "sa_sdp", "sa_sdp"), DIM, (8,)),)))
    assert elastic.assigned(part) == (0, 1, 2)  # of the first three heads, the third is replaced


def test_fitting_brings_a_replaced_head_nearer_to_the_parents():
    raw = ElasticFlexiBert(parent()).eval()
    for head_type in HEAD_TYPES[1:]:
        layer = Layer(24, ("sa_sdp", "sa_sdp", "sa_sdp", head_type), DIM, (20,))
        architecture = Architecture((layer,) * 3)
        target = logits(parent())
        before = (logits(raw.view(architecture)) - target).norm()
        after = (logits(NETWORK.view(architecture)) - target).norm()
        assert after < before, head_type
    assert bool((NETWORK.harm[:, :, 1] < 1e-3).all())  # a weighted head begins as the parent's
    assert bool((NETWORK.harm[:, :, 2:] > 0).all())


def test_gradients_of_a_view_reach_the_shared_weights_that_it_uses():
    elastic = network()
    layer = Layer(24, ("sa_sdp", "c_5"), DIM, (8,))
    elastic.view(Architecture((layer,)))(**BATCH).logits.sum().backward()
    (part,) = elastic.parts(Architecture((layer,)))
    dense = elastic.encoder.layers[part.index].feed_forward.dense[0].weight.grad
    assert bool((dense[:8] != 0).any())
    assert bool((dense[8:] == 0).all())
    convolved = elastic.assigned(part)[1]
    used = elastic.slots[part.index]["c_5"].output.grad
    assert bool((used[:, convolved] != 0).any())
    others = [head for head in range(4) if head != convolved]
    assert bool((used[:, others] == 0).all())


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (Layer(32, ("sa_sdp",), DIM, (8,)), "hidden size 32, the network has 24, 16"),
        (Layer(20, ("sa_sdp",), DIM, (8,)), "hidden size 20, the network has 24, 16"),
        (Layer(24, ("sa_sdp",), 8, (8,)), "head dimension 8, the parent's is 6"),
        (Layer(24, ("sa_sdp",) * 5, DIM, (8,)), "5 heads, the parent has 4"),
        (Layer(24, ("l_dft",), DIM, (8,)), "a head l_dft, the network has sa_sdp, c_5"),
        (Layer(24, ("sa_sdp",), DIM, (21,)), "feed-forward width 21, the parent's is 20"),
        (Layer(24, ("sa_sdp",), DIM, (8, 8)), "a stack of 2 feed-forward widths"),
    ],
)
def test_an_architecture_that_is_no_part_is_refused_in_words(layer, reason):
    elastic = ElasticFlexiBert(parent(), ["sa_sdp", "c_5"], [16])
    with pytest.raises(ElasticError, match=f"layer 0: {reason}"):
        elastic.view(Architecture((layer,)))
    with pytest.raises(ElasticError, match="4 layers, the parent has 3"):
        elastic.extract(Architecture(PARENT.layers[:1] * 4))


@pytest.mark.parametrize(
    ("architecture", "reason"),
    [
        (Architecture((*PARENT.layers, Layer(24, ("sa_sdp",) * 4, DIM, (8,)))), "layers differ"),
        (Architecture((Layer(24, ("sa_sdp", "c_5"), 12, (8,)),)), "heads of type c_5"),
        (Architecture((Layer(24, ("sa_sdp",) * 4, DIM, (8, 8)),)), "stacks of 2"),
    ],
)
def test_a_parent_of_another_shape_is_refused(architecture, reason):
    with pytest.raises(ElasticError, match=reason):
        ElasticFlexiBert(build(FlexiBertForSequenceClassification, architecture))
