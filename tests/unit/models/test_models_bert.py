"""A BERT becomes a FlexiBERT that computes the same, and a homogeneous FlexiBERT a BERT."""

import dataclasses

import pytest
import torch
from models_reference import EVERY_TYPE, build, draw_batch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertModel,
    GPT2Config,
    GPT2Model,
)

from edgetran.models import (
    BertConversionError,
    FlexiBertForMaskedLM,
    FlexiBertForSequenceClassification,
    FlexiBertModel,
    from_bert,
    to_bert,
)
from edgetran.space import Architecture

SHAPES = [(1, 8, 1, 12), (2, 24, 3, 16), (3, 32, 8, 40)]
PAIRS = {
    BertModel: FlexiBertModel,
    BertForSequenceClassification: FlexiBertForSequenceClassification,
    BertForMaskedLM: FlexiBertForMaskedLM,
}


def random_bert(bert_class, shape=(2, 24, 3, 16), **settings):
    layers, hidden, heads, width = shape
    config = BertConfig(
        num_hidden_layers=layers,
        hidden_size=hidden,
        num_attention_heads=heads,
        intermediate_size=width,
        **{"vocab_size": 40, "max_position_embeddings": 40, "num_labels": 3, **settings},
    )
    torch.manual_seed(0)
    model = bert_class(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("bert_class", "flexibert_class"), PAIRS.items())
def test_a_bert_and_its_flexibert_agree(bert_class, flexibert_class, shape):
    bert = random_bert(bert_class, shape)
    model = from_bert(bert)
    assert type(model) is flexibert_class
    assert not model.training
    batch = draw_batch()
    for ours, theirs in zip(model(*batch).to_tuple(), bert(*batch).to_tuple(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("bert_class", PAIRS)
def test_a_bert_survives_the_round_trip_exactly(bert_class):
    bert = random_bert(bert_class)
    back = to_bert(from_bert(bert))
    assert type(back) is bert_class
    assert back.config.num_labels == 3
    ours, theirs = bert.state_dict(), back.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


@pytest.mark.parametrize("settings", [{"hidden_act": "gelu_new"}, {"layer_norm_eps": 1e-5}])
def test_settings_of_the_checkpoint_are_kept(settings):
    bert = random_bert(BertModel, **settings)
    batch = draw_batch()
    ours, theirs = from_bert(bert)(*batch), bert(*batch)
    assert torch.allclose(ours.last_hidden_state, theirs.last_hidden_state, atol=1e-5)


def test_a_bert_without_pooler_has_none_as_flexibert():
    bert = BertModel(random_bert(BertModel).config, add_pooling_layer=False)
    assert from_bert(bert).pooler is None
    assert to_bert(from_bert(bert)).pooler is None


def test_half_precision_checkpoints_stay_half():
    assert from_bert(random_bert(BertModel).half()).dtype == torch.float16


def test_other_families_and_kinds_are_refused():
    other = GPT2Model(GPT2Config(n_layer=1, n_embd=8, n_head=1, vocab_size=10))
    with pytest.raises(BertConversionError, match="GPT2Model of the family 'gpt2' given, allowed"):
        from_bert(other)
    with pytest.raises(BertConversionError, match=r"BertForQuestionAnswering .* allowed are"):
        from_bert(random_bert(BertForQuestionAnswering))
    with pytest.raises(BertConversionError, match="decoder"):
        from_bert(random_bert(BertModel, is_decoder=True))


PLAIN = Architecture.homogeneous(num_layers=2, hidden_size=16, num_heads=2, feed_forward=[8])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"head_types": ("sa_sdp", "c_5")}, r"o\[1\]: a head c_5 given, allowed is sa_sdp"),
        ({"feed_forward": (8, 8)}, r"f\[1\]: \[8, 8\] given, allowed is one width"),
        ({"head_dim": 4}, "2 heads of dimension 4 given"),
        ({"feed_forward": (9,)}, "layer 1 differs from layer 0"),
    ],
)
def test_what_bert_cannot_express_is_refused(change, message):
    layer = dataclasses.replace(PLAIN.layers[1], **change)
    model = build(FlexiBertModel, Architecture((PLAIN.layers[0], layer)))
    with pytest.raises(BertConversionError, match=message):
        to_bert(model)


def test_relative_positions_are_refused():
    model = build(FlexiBertModel, PLAIN, position_embedding_type="relative_key")
    with pytest.raises(BertConversionError, match="'relative_key' given, allowed is 'absolute'"):
        to_bert(model)


def test_any_mix_of_heads_is_refused_where_it_stands():
    with pytest.raises(BertConversionError, match=r"o\[0\]: a head c_9"):
        to_bert(build(FlexiBertModel, EVERY_TYPE))
