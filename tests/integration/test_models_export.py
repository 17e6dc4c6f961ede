"""Exported models compute what torch does, in ONNX Runtime and OpenVINO, at any shape."""

import importlib.util
import logging

import numpy as np
import pytest
import torch

from edgetran.models import (
    FlexiBertConfig,
    FlexiBertForMaskedLM,
    FlexiBertForSequenceClassification,
    FlexiBertModel,
    ModelConfigError,
    export_onnx,
)
from edgetran.space import HEAD_TYPES, Architecture, Layer

pytestmark = pytest.mark.integration

SMALL = Architecture((Layer(16, ("sa_sdp", "c_5"), 4, (8,)),))
SHAPES = [(1, 1), (3, 20), (2, 48), (5, 33)]
EVERY_TYPE = Architecture(
    (Layer(16, HEAD_TYPES, 4, (20,)), Layer(24, ("sa_wma", "c_5"), 6, (8, 8)))
)


def build(model_class, architecture, **settings):
    torch.manual_seed(0)
    config = FlexiBertConfig.from_architecture(
        architecture, vocab_size=40, max_position_embeddings=48, **settings
    )
    model = model_class(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def draw(batch, length):
    rng = np.random.default_rng(length)
    mask = (np.arange(length) < rng.integers(1, length + 1, (batch, 1))).astype(np.int64)
    return {
        "input_ids": rng.integers(0, 40, (batch, length)),
        "attention_mask": mask,
        "token_type_ids": rng.integers(0, 2, (batch, length)),
    }


def expected(model, inputs):
    with torch.no_grad():
        return model(**{name: torch.from_numpy(value) for name, value in inputs.items()})


@pytest.mark.parametrize(
    ("architecture", "positions"),
    [
        *((Architecture((Layer(16, (head, head), 4, (8,)),)), "absolute") for head in HEAD_TYPES),
        (EVERY_TYPE, "absolute"),
        (EVERY_TYPE, "relative_key"),
    ],
    ids=[*HEAD_TYPES, "all types", "relative positions"],
)
def test_onnx_agrees_for_every_head_type_batch_and_length(
    architecture, positions, tmp_path, capfd, caplog
):
    import onnx
    import onnxruntime

    model = build(
        FlexiBertForSequenceClassification, architecture, position_embedding_type=positions
    )
    with caplog.at_level(logging.WARNING):
        path = export_onnx(model, tmp_path / "model.onnx")
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
    graph = onnx.load(path)
    onnx.checker.check_model(graph)
    assert {node.domain for node in graph.graph.node} == {""}
    assert len(graph.functions) == 0
    complex_types = {onnx.TensorProto.COMPLEX64, onnx.TensorProto.COMPLEX128}
    assert not complex_types & {
        value.type.tensor_type.elem_type for value in graph.graph.value_info
    }
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == list(draw(1, 1))
    assert [i.shape for i in session.get_inputs()] == [["batch", "length"]] * 3
    for shape in SHAPES:
        inputs = draw(*shape)
        logits = session.run(["logits"], inputs)[0]
        assert np.abs(logits - expected(model, inputs).logits.numpy()).max() < 1e-4


@pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="openvino is not installed"
)
def test_openvino_reads_the_export(tmp_path):
    import openvino

    model = build(FlexiBertForSequenceClassification, EVERY_TYPE)
    path = export_onnx(model, tmp_path / "model.onnx")
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for shape in SHAPES:
        inputs = draw(*shape)
        logits = compiled(inputs)["logits"]
        assert np.abs(logits - expected(model, inputs).logits.numpy()).max() < 1e-4


def test_the_bare_encoder_gives_hidden_states_and_pooled_token(tmp_path):
    import onnxruntime

    model = build(FlexiBertModel, SMALL).train()
    path = export_onnx(model, str(tmp_path / "model.onnx"))
    assert model.training
    inputs = draw(2, 9)
    session = onnxruntime.InferenceSession(path)
    hidden, pooled = session.run(["last_hidden_state", "pooler_output"], inputs)
    theirs = expected(model.eval(), inputs)
    assert np.abs(hidden - theirs.last_hidden_state.numpy()).max() < 1e-4
    assert np.abs(pooled - theirs.pooler_output.numpy()).max() < 1e-4


def test_the_masked_language_model_gives_logits_of_every_token(tmp_path):
    import onnxruntime

    model = build(FlexiBertForMaskedLM, SMALL)
    session = onnxruntime.InferenceSession(export_onnx(model, tmp_path / "model.onnx"))
    inputs = draw(3, 21)
    logits = session.run(["logits"], inputs)[0]
    assert np.abs(logits - expected(model, inputs).logits.numpy()).max() < 1e-4


@pytest.mark.parametrize(
    "name",
    ["gelu_new", "gelu_fast", "relu", "silu", "swish", "tanh", "sigmoid", "leaky_relu", "mish",
     "linear"],
)  # fmt: skip
def test_activations_of_given_models_are_theirs(name, tmp_path):
    import onnxruntime

    model = build(FlexiBertForSequenceClassification, SMALL, hidden_act=name)
    session = onnxruntime.InferenceSession(export_onnx(model, tmp_path / "model.onnx"))
    inputs = draw(2, 9)
    logits = session.run(["logits"], inputs)[0]
    assert np.abs(logits - expected(model, inputs).logits.numpy()).max() < 1e-3


def test_an_activation_that_onnx_lacks_is_refused_in_one_sentence(tmp_path):
    model = build(FlexiBertForSequenceClassification, SMALL, hidden_act="laplace")
    with pytest.raises(ModelConfigError, match=r"hidden_act: 'laplace' .*; allowed are gelu, "):
        export_onnx(model, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_an_example_of_padding_alone_stays_finite(tmp_path):
    import onnxruntime

    model = build(FlexiBertForSequenceClassification, EVERY_TYPE)
    session = onnxruntime.InferenceSession(export_onnx(model, tmp_path / "model.onnx"))
    inputs = draw(2, 9)
    inputs["attention_mask"][0] = 0
    assert np.isfinite(session.run(["logits"], inputs)[0]).all()
