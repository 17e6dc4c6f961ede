"""The models behave like any model of `transformers`."""

import json
import logging

import pytest
import torch
from models_reference import EVERY_TYPE, build, draw_batch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    BertConfig,
    BertModel,
)

from edgetran.models import (
    FlexiBertConfig,
    FlexiBertForMaskedLM,
    FlexiBertForSequenceClassification,
    FlexiBertModel,
    InputError,
    ModelConfigError,
    WeightsError,
)
from edgetran.space import Architecture, ArchitectureError, parameter_count

CLASSES = {
    AutoModel: FlexiBertModel,
    AutoModelForSequenceClassification: FlexiBertForSequenceClassification,
    AutoModelForMaskedLM: FlexiBertForMaskedLM,
}


@pytest.fixture
def classifier():
    return build(FlexiBertForSequenceClassification, EVERY_TYPE)


@pytest.mark.parametrize(("auto", "model_class"), CLASSES.items())
def test_saving_and_loading_is_exact(auto, model_class, tmp_path):
    model = build(model_class, EVERY_TYPE)
    model.save_pretrained(tmp_path)
    loaded = auto.from_pretrained(tmp_path)
    assert type(loaded) is model_class
    assert type(AutoConfig.from_pretrained(tmp_path)) is FlexiBertConfig
    assert loaded.config.to_architecture() == EVERY_TYPE
    saved = model.state_dict()
    assert saved.keys() == loaded.state_dict().keys()
    assert all(torch.equal(saved[name], value) for name, value in loaded.state_dict().items())
    assert torch.equal(model(*draw_batch())[0], loaded.eval()(*draw_batch())[0])


def test_the_config_file_holds_the_architecture_as_published(classifier, tmp_path):
    classifier.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["architecture"] == EVERY_TYPE.to_model_dict()


def test_weights_that_are_not_used_raise(classifier, tmp_path):
    classifier.save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match=r"not used classifier\.bias, classifier\.weight"):
        FlexiBertModel.from_pretrained(tmp_path)
    assert FlexiBertModel.from_pretrained(tmp_path, strict=False).num_parameters()


def test_weights_that_are_missing_raise(tmp_path):
    build(FlexiBertModel, EVERY_TYPE).save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match=r"missing classifier\.bias, classifier\.weight"):
        AutoModelForSequenceClassification.from_pretrained(tmp_path)


def test_a_config_and_weights_that_disagree_raise(classifier, tmp_path):
    classifier.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["architecture"]["f"][0] = [21]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        WeightsError,
        match=r"disagree about sizes: .*dense\.0.* of shape .* given, allowed is .* \(and",
    ):
        FlexiBertForSequenceClassification.from_pretrained(tmp_path)


def test_a_checkpoint_of_another_family_raises(tmp_path):
    config = BertConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        vocab_size=20,
    )
    BertModel(config).save_pretrained(tmp_path)
    with pytest.raises(ModelConfigError, match=r"family 'bert' .*from_bert"):
        FlexiBertModel.from_pretrained(tmp_path)


def test_parameters_are_those_that_the_space_counts(classifier):
    counted = parameter_count(EVERY_TYPE, vocab_size=40, max_positions=40, num_labels=2)
    assert classifier.num_parameters() == counted


def test_hidden_states_are_the_embeddings_and_what_each_layer_hands_on(classifier):
    outputs = classifier(*draw_batch(), output_hidden_states=True)
    assert [state.shape[-1] for state in outputs.hidden_states] == [16, 24, 24, 24]
    last = classifier.flexibert(*draw_batch()).last_hidden_state
    assert torch.equal(outputs.hidden_states[-1], last)


@pytest.mark.parametrize("positions", ["absolute", "relative_key"])
def test_attentions_are_given_for_the_heads_that_have_them(positions):
    model = build(FlexiBertModel, EVERY_TYPE, position_embedding_type=positions)
    ids, mask, types = draw_batch()
    outputs = model(ids, mask, types, output_attentions=True)
    assert [a.shape for a in outputs.attentions] == [(3, 2, 9, 9), (3, 2, 9, 9), (3, 2, 9, 9)]
    probabilities = outputs.attentions[0]
    assert torch.allclose(probabilities.sum(-1), torch.ones(3, 2, 9))
    assert (probabilities * (mask == 0)[:, None, None]).abs().max() == 0
    fused = model(ids, mask, types).last_hidden_state
    assert torch.allclose(outputs.last_hidden_state, fused, atol=1e-5)


def test_eager_attention_agrees_with_the_fused_one(classifier, tmp_path):
    classifier.save_pretrained(tmp_path)
    eager = FlexiBertForSequenceClassification.from_pretrained(
        tmp_path, attn_implementation="eager"
    )
    batch = draw_batch()
    assert torch.allclose(eager.eval()(*batch).logits, classifier(*batch).logits, atol=1e-6)


def test_outputs_may_be_tuples(classifier):
    loss, logits = classifier(*draw_batch(), labels=torch.tensor([0, 1, 1]), return_dict=False)
    assert loss.shape == ()
    assert logits.shape == (3, 2)


def test_gradient_checkpointing_gives_the_same_gradients(classifier):
    def gradients():
        torch.manual_seed(0)
        classifier.zero_grad()
        classifier.train()(*draw_batch(), labels=torch.tensor([0, 1, 0])).loss.backward()
        return [parameter.grad.clone() for parameter in classifier.parameters()]

    plain = gradients()
    classifier.activation_checkpointing_enable()
    assert classifier.is_activation_checkpointing
    for one, other in zip(plain, gradients(), strict=True):
        assert torch.allclose(one, other, atol=1e-7)


@pytest.mark.parametrize("model_class", [FlexiBertForSequenceClassification, FlexiBertForMaskedLM])
def test_token_embeddings_can_be_resized(model_class, tmp_path):
    model = build(model_class, EVERY_TYPE)
    batch = draw_batch()
    before = model(*batch).logits
    model.resize_token_embeddings(50, mean_resizing=False)
    assert model.config.vocab_size == 50
    after = model(*batch).logits
    assert torch.allclose(after[..., : before.shape[-1]], before, atol=1e-6)
    model.save_pretrained(tmp_path)
    loaded = model_class.from_pretrained(tmp_path).eval()
    assert torch.equal(loaded(*batch).logits, after)


def test_the_decoder_shares_the_word_embeddings():
    model = build(FlexiBertForMaskedLM, EVERY_TYPE)
    assert model.head.decoder.weight is model.get_input_embeddings().weight
    untied = build(FlexiBertForMaskedLM, EVERY_TYPE, tie_word_embeddings=False)
    assert untied.num_parameters() - model.num_parameters() == 40 * 16


def test_the_graph_is_captured_whole():
    """`torch.compile` finds nothing that would break the graph."""
    model = build(FlexiBertForSequenceClassification, Architecture(EVERY_TYPE.layers[:1]))
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True, dynamic=False)
    batch = draw_batch()
    with torch.no_grad():
        assert torch.allclose(compiled(*batch).logits, model(*batch).logits, atol=1e-6)


@pytest.mark.parametrize(
    ("num_labels", "labels"),
    [
        (1, torch.tensor([0.5, -1.0, 2.0])),
        (3, torch.tensor([0, 2, 1])),
        (3, torch.tensor([[1.0, 0, 0], [0, 1, 1], [0, 0, 0]])),
    ],
)
def test_losses_of_regression_classes_and_several_labels(num_labels, labels):
    model = build(FlexiBertForSequenceClassification, EVERY_TYPE, num_labels=num_labels)
    logits = model(*draw_batch()).logits
    if num_labels == 1:
        expected = torch.nn.MSELoss()(logits[:, 0], labels)
    elif labels.dim() == 1:
        expected = torch.nn.CrossEntropyLoss()(logits, labels)
    else:
        expected = torch.nn.BCEWithLogitsLoss()(logits, labels)
    loss = model(*draw_batch(), labels=labels).loss
    assert torch.allclose(loss, expected)
    assert model.config.problem_type is None


def test_masked_lm_loss_ignores_unmasked_tokens():
    model = build(FlexiBertForMaskedLM, EVERY_TYPE)
    ids, mask, types = draw_batch()
    labels = torch.full_like(ids, -100)
    labels[:, 2] = ids[:, 2]
    logits = model(ids, mask, types).logits[:, 2]
    expected = torch.nn.functional.cross_entropy(logits, ids[:, 2])
    assert torch.allclose(model(ids, mask, types, labels=labels).loss, expected)


def test_word_embeddings_may_be_given_instead_of_ids(classifier):
    ids, mask, types = draw_batch()
    words = classifier.get_input_embeddings()(ids)
    given = classifier(inputs_embeds=words, attention_mask=mask, token_type_ids=types).logits
    assert torch.equal(given, classifier(ids, mask, types).logits)


def test_verbosity_never_changes_a_weight():
    logger = logging.getLogger()
    level = logger.level
    try:
        states = []
        for verbosity in (logging.CRITICAL, logging.DEBUG):
            logger.setLevel(verbosity)
            states.append(build(FlexiBertForSequenceClassification, EVERY_TYPE).state_dict())
    finally:
        logger.setLevel(level)
    assert all(torch.equal(states[0][name], value) for name, value in states[1].items())


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (
            {"input_ids": torch.zeros(1, 41, dtype=torch.long)},
            "41 positions given, allowed are at most 40",
        ),
        (
            {
                "input_ids": torch.zeros(2, 5, dtype=torch.long),
                "attention_mask": torch.ones(2, 4),
            },
            r"shape \(2, 4\) given, allowed is \(2, 5\)",
        ),
        (
            {
                "input_ids": torch.zeros(2, 5, dtype=torch.long),
                "attention_mask": torch.ones(2, 1, 5, 5),
            },
            r"shape \(2, 1, 5, 5\) given",
        ),
        ({}, "exactly one of input_ids and inputs_embeds"),
    ],
)
def test_bad_inputs_raise_one_clear_error(classifier, inputs, message):
    with pytest.raises(InputError, match=message):
        classifier(**inputs)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"o": [["sa_sdp_8", "c_5_4"]]}, ArchitectureError, r"o\[0\]: head dimensions \[4, 8\]"),
        ({"o": [["sa_dot_8"]]}, ArchitectureError, r'"sa_dot_8": must be TYPE_'),
        ({"h": [0]}, ArchitectureError, "hidden_size: Invalid value: 0: must be a whole number"),
    ],
)
def test_bad_architectures_raise_one_clear_error(change, error, message):
    model_dict = {"l": 1, "h": [16], "f": [[8]], "o": [["sa_sdp_8"]], **change}
    with pytest.raises(error, match=message):
        FlexiBertConfig(architecture=model_dict)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"transform_length": 8, "max_position_embeddings": 16}, "transform_length: 8 is shorter"),
        ({"position_embedding_type": "rotary"}, "allowed are absolute, relative_key"),
        ({"vocab_size": 0}, "vocab_size: 0 is not a positive integer"),
        ({"hidden_act": "gelo"}, "hidden_act: 'gelo' is unknown"),
    ],
)
def test_bad_settings_raise_one_clear_error(settings, message):
    with pytest.raises(ModelConfigError, match=message):
        FlexiBertConfig(**settings)


def test_a_longer_transform_only_changes_the_heads_that_transform():
    plain = Architecture.homogeneous(
        num_layers=1, hidden_size=8, num_heads=2, feed_forward=[8], head_type="c_5"
    )
    for architecture, same in ((plain, True), (EVERY_TYPE, False)):
        short, long = (
            build(FlexiBertModel, architecture, transform_length=length) for length in (40, 80)
        )
        batch = draw_batch()
        equal = torch.equal(short(*batch).last_hidden_state, long(*batch).last_hidden_state)
        assert equal is same
