"""The models compute what the formulas say, whatever the architecture and the padding."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models_reference import EVERY_TYPE, build, classify, draw_batch, encode

from edgetran.models import FlexiBertForSequenceClassification, FlexiBertModel
from edgetran.models.layout import HeadLayout
from edgetran.space import HEAD_TYPES, Architecture, Layer

layers = st.builds(
    Layer,
    st.sampled_from([8, 12, 16]),
    st.lists(st.sampled_from(HEAD_TYPES), min_size=1, max_size=6).map(tuple),
    st.integers(1, 5),
    st.lists(st.integers(1, 12), min_size=1, max_size=3).map(tuple),
)
architectures = st.lists(layers, min_size=1, max_size=3).map(
    lambda found: Architecture(tuple(found))
)


@settings(max_examples=20, deadline=None)
@given(architectures, st.sampled_from(["absolute", "relative_key"]), st.integers(1, 20))
def test_forward_and_gradient_agree_with_loops_over_formulas(architecture, positions, length):
    model = build(
        FlexiBertForSequenceClassification, architecture, position_embedding_type=positions
    )
    batch = draw_batch(seed=length, length=length)
    direction = torch.randn(3, 2, generator=torch.Generator().manual_seed(1))
    ours = model(*batch).logits
    theirs = classify(model, *batch)
    assert torch.allclose(ours.double(), theirs, atol=1e-5)
    parameters = list(model.parameters())
    gradients = [
        torch.autograd.grad((result * direction).sum(), parameters, allow_unused=True)
        for result in (ours, theirs)
    ]
    for (name, _), mine, reference in zip(model.named_parameters(), *gradients, strict=True):
        mine, reference = (torch.zeros(1) if g is None else g for g in (mine, reference))
        tolerance = 1e-5 * max(1.0, float(reference.abs().max()))
        assert float((mine - reference).abs().max()) < tolerance, name


@pytest.mark.parametrize("length", [1, 31, 32, 33, 40])
def test_every_head_type_agrees_with_the_formulas_at_lengths_around_a_block(length):
    model = build(FlexiBertModel, EVERY_TYPE)
    ids, mask, types = draw_batch(batch=2, length=length)
    ours = model(ids, mask, types).last_hidden_state
    for b, theirs in enumerate(encode(model, ids, mask, types)):
        assert torch.allclose(ours[b].double(), theirs, atol=1e-5)


@pytest.mark.parametrize("head_type", HEAD_TYPES)
def test_each_head_changes_the_output_and_receives_gradient(head_type):
    architecture = Architecture((Layer(16, (head_type, "sa_sdp", head_type), 4, (8,)),))
    model = build(FlexiBertModel, architecture, noise=0.3)
    batch = draw_batch()
    before = model(*batch).last_hidden_state.detach()
    layout = HeadLayout.of(architecture.layers[0])
    attention = model.layers[0].attention
    for head in (0, 2):
        first = (2 * layout.num_queries + layout.slots[head]) * 4
        value_rows = slice(first, first + 4)
        loss = model(*batch).last_hidden_state.square().sum()
        gradient = torch.autograd.grad(loss, attention.query_key_value.weight)[0]
        assert gradient[value_rows].abs().max() > 1e-3
        columns = slice(layout.slots[head] * 4, layout.slots[head] * 4 + 4)
        with torch.no_grad():
            saved = attention.output.weight[:, columns].clone()
            attention.output.weight[:, columns] = 0
            changed = model(*batch).last_hidden_state
            attention.output.weight[:, columns] = saved
        assert (changed - before).abs().max() > 1e-3


def test_every_parameter_receives_gradient():
    model = build(FlexiBertForSequenceClassification, EVERY_TYPE)
    model(*draw_batch(), labels=torch.tensor([0, 1, 0])).loss.backward()
    dead = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert dead == []


@settings(max_examples=15, deadline=None)
@given(architectures, st.integers(1, 10), st.integers(1, 13))
def test_an_output_does_not_depend_on_the_padding_of_its_batch(architecture, length, padding):
    model = build(FlexiBertForSequenceClassification, architecture)
    ids, _, types = draw_batch(length=length + padding)
    mask = torch.ones_like(ids)
    mask[1:, length:] = 0
    alone = model(ids[1:, :length], None, types[1:, :length]).logits
    padded = model(ids, mask, types).logits[1:]
    assert torch.allclose(alone, padded, atol=1e-6)


def test_an_example_of_padding_alone_stays_finite():
    model = build(FlexiBertForSequenceClassification, EVERY_TYPE)
    ids, mask, _ = draw_batch()
    mask[1] = 0
    for explicit in (False, True):
        assert model(ids, mask, output_attentions=explicit).logits.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_close(dtype):
    model = build(FlexiBertForSequenceClassification, EVERY_TYPE, noise=0.02)
    batch = draw_batch()
    exact = model(*batch).logits
    half = model.to(dtype)(*batch).logits
    assert half.dtype == dtype
    assert (half.float() - exact).abs().max() < 1e-2


def test_heads_that_use_none_have_no_query_key_and_scores():
    layer = Layer(16, ("l_dft", "l_dct", "c_5", "sa_sdp"), 4, (8,))
    attention = build(FlexiBertModel, Architecture((layer,))).layers[0].attention
    assert attention.query_key_value.out_features == (2 + 2 + 4) * 4
    only_transforms = Architecture((Layer(16, ("l_dft", "l_dct"), 4, (8,)),))
    model = build(FlexiBertModel, only_transforms)
    assert model.layers[0].attention.query_key_value.out_features == 2 * 4
    outputs = model(*draw_batch(), output_attentions=True)
    assert outputs.attentions[0].shape == (3, 0, 9, 9)


def test_heads_may_stand_in_any_order():
    """The order of heads in the architecture is a permutation of the same model."""
    shuffled = EVERY_TYPE
    sorted_heads = shuffled.canonical()
    model, other = (build(FlexiBertModel, a) for a in (shuffled, sorted_heads))
    other.load_state_dict(model.state_dict())
    batch = draw_batch()
    assert torch.equal(model(*batch).last_hidden_state, other(*batch).last_hidden_state)


def test_a_weighted_head_starts_near_a_plain_one():
    plain = Architecture((Layer(16, ("sa_sdp",) * 2, 8, (8,)),))
    weighted = Architecture((Layer(16, ("sa_wma",) * 2, 8, (8,)),))
    a, b = (build(FlexiBertModel, x, noise=0) for x in (plain, weighted))
    b.load_state_dict(a.state_dict(), strict=False)
    identity = torch.eye(8).expand(2, 8, 8)
    assert torch.allclose(b.layers[0].attention.scores.weighting, identity, atol=0.15)
    assert not torch.equal(b.layers[0].attention.scores.weighting, identity)


def test_the_first_token_of_any_vocabulary_is_trained():
    """The published code froze id 0 at zero, RoBERTa's classification token among others."""
    model = build(FlexiBertForSequenceClassification, EVERY_TYPE, noise=0)
    embedding = model.get_input_embeddings()
    assert embedding.weight[0].abs().max() > 0
    model(torch.zeros(1, 5, dtype=torch.long), labels=torch.tensor([1])).loss.backward()
    assert embedding.weight.grad[0].abs().max() > 0


def test_transforms_preserve_the_norm():
    """The published transforms were not normalised."""
    from edgetran.models.heads import dct_matrix, dft_matrices

    matrix = dct_matrix(64)
    assert torch.allclose(matrix @ matrix.T, torch.eye(64).double(), atol=1e-12)
    cosine, sine = dft_matrices(64)
    assert torch.allclose(cosine @ cosine + sine @ sine, torch.eye(64).double(), atol=1e-12)
