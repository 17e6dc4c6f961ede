"""Artefacts are opened as they are, known by their hash, and compute what their model does."""

import hashlib
import json
import subprocess
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from edgetran.artifacts import (
    SIDECAR,
    Artifact,
    ArtifactError,
    Form,
    content_sha256,
    copy_content,
    find_artifact,
    make_artifact,
    open_artifact,
)
from edgetran.devices import Calibration, EngineError, Workload, engine, example_inputs
from edgetran.models import FlexiBertConfig, FlexiBertForSequenceClassification
from edgetran.profiling import build_model
from edgetran.space import Architecture

WORKLOAD = Workload(2, 16, vocab_size=200)
FORMS = [
    Form("torch", "fp32"),
    Form("torch", "bf16"),
    Form("torch", "int8"),
    Form("torch", "fp16", computed_in="fp32"),
    Form("onnxruntime", "fp32"),
    Form("onnxruntime", "int8"),
    Form("openvino", "fp32"),
    Form("openvino", "fp16"),
    Form("openvino", "int8"),
    Form("onnxruntime", "int8", method="static"),
    Form("onnxruntime", "int8", method="weight-only"),
    Form("openvino", "int8", method="static"),
    Form("openvino", "int8", method="weight-only"),
    Form("onnxruntime", "int4"),
    Form("openvino", "int4"),
]
CALIBRATION = Calibration.of((example_inputs(WORKLOAD, seed) for seed in range(4)), split="train")
CLOSE = {"fp32": 1e-5, "fp16": 1e-2, "bf16": 5e-2, "int8": 1e-1, "int4": 2e-1}


@pytest.fixture(scope="module")
def model():
    layers = Architecture.homogeneous(num_layers=2, hidden_size=32, num_heads=2, feed_forward=[64])
    return build_model(layers, WORKLOAD)


@pytest.fixture(scope="module")
def reference(model):
    with torch.inference_mode():
        tensors = {k: torch.from_numpy(v) for k, v in example_inputs(WORKLOAD).items()}
        return model(**tensors).logits.numpy()


@pytest.fixture(scope="module")
def artifacts(model, tmp_path_factory):
    """Artefacts by their form, each made once."""
    made = {}

    def get(form):
        reason = form.make_engine().available()
        if reason is not None:
            pytest.skip(reason)
        if form not in made:
            folder = tmp_path_factory.mktemp("artifacts") / form.name
            made[form] = make_artifact(
                model, form, folder, source_sha256="abc", calibration=CALIBRATION
            )
        return made[form]

    return get


def run(artifact, form, workload=WORKLOAD):
    with open_artifact(artifact, form.make_engine(1), workload) as session:
        return session.run(example_inputs(WORKLOAD))


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_an_artifact_computes_what_its_model_does(form, artifacts, reference):
    artifact = artifacts(form)
    assert (artifact.engine, artifact.precision) == (form.engine, form.precision)
    logits = run(artifact, form)
    np.testing.assert_allclose(logits, reference, atol=CLOSE[form.precision])
    np.testing.assert_allclose(run(artifact, form, None), logits, atol=1e-3)
    if form.precision != "fp32":
        assert np.abs(logits - reference).max() > 1e-7, "nothing was rounded"
    assert (artifact.quantization is not None) == form.precision.startswith("int")


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_an_artifact_is_found_again_by_what_it_was_made_from(form, artifacts):
    artifact = artifacts(form)
    folder = artifact.path.parent
    assert Artifact.load(folder) == artifact == find_artifact(folder, form, "abc")
    assert find_artifact(folder, form, "of other weights") is None
    assert find_artifact(folder, replace(form, precision="bf16x"), "abc") is None
    assert find_artifact(folder.parent / "nowhere", form, "abc") is None


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_static_int8_names_the_examples_that_it_was_calibrated_by(name, artifacts):
    form = Form(name, "int8", method="static")
    artifact = artifacts(form)
    assert artifact.calibration == CALIBRATION.record
    assert artifact.calibration["examples"] == 8
    assert artifacts(Form(name, "int8")).calibration is None
    folder = artifact.path.parent
    assert find_artifact(folder, form, "abc", CALIBRATION) == artifact
    others = Calibration.of([example_inputs(WORKLOAD, 9)] * 4, split="train")
    assert others.record["sha256"] != CALIBRATION.record["sha256"]
    assert find_artifact(folder, form, "abc", others) is None


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("given", [None, Calibration.of([example_inputs(WORKLOAD)])])
def test_static_int8_without_enough_examples_is_refused_in_one_sentence(
    name, given, model, tmp_path
):
    form = Form(name, "int8", method="static")
    with pytest.raises(EngineError, match=r"[02] examples given; allowed .* at least 8"):
        make_artifact(model, form, tmp_path / "x", calibration=given)


def test_methods_of_int8_are_told_apart(artifacts):
    for name in ("onnxruntime", "openvino"):
        forms = [Form(name, "int8", method=m) for m in (None, "static", "weight-only")]
        assert len({artifacts(form).sha256 for form in forms}) == 3
        found = artifacts(forms[0])
        assert find_artifact(found.path.parent, forms[1], "abc") is None
    with pytest.raises(EngineError, match='torch int8 method: Unsupported value: "static"'):
        Form("torch", "int8", method="static").make_engine()


def test_openvino_int8_computes_the_same_without_being_told_how(artifacts):
    import openvino

    inputs = example_inputs(WORKLOAD)
    for method in ("dynamic", "weight-only"):
        form = Form("openvino", "int8", method=method)
        graph = openvino.Core().read_model(artifacts(form).path / "model.xml")
        compiled = openvino.Core().compile_model(graph, "CPU")
        group = compiled.get_property("DYNAMIC_QUANTIZATION_GROUP_SIZE")
        assert group == (32 if method == "dynamic" else 0)
        assert np.abs(compiled(inputs)["logits"] - run(artifacts(form), form)).max() < 1e-2


def test_int8_files_hold_int8_weights(model, artifacts):
    import onnx
    from safetensors.torch import load_file

    weights = load_file(artifacts(Form("torch", "int8")).path / "model.safetensors")
    linear = sum(isinstance(module, torch.nn.Linear) for module in model.modules())
    assert sum(tensor.dtype == torch.int8 for tensor in weights.values()) == linear
    graph = onnx.load(artifacts(Form("onnxruntime", "int8")).path).graph
    kinds = [each.data_type for each in graph.initializer]
    assert kinds.count(onnx.TensorProto.INT8) >= 2 * 4  # query, key and value may be one


def test_a_torch_artifact_of_half_precision_takes_half_the_room(artifacts):
    sizes = {
        form.precision: (artifacts(form).path / "model.safetensors").stat().st_size
        for form in FORMS[:2]
    }
    assert sizes["bf16"] < 0.6 * sizes["fp32"]


def test_torch_int8_computes_exactly_what_the_engine_makes_of_the_module(model, artifacts):
    form = Form("torch", "int8")
    direct = engine("torch", precision="int8", threads=1).load(model)
    np.testing.assert_array_equal(run(artifacts(form), form), direct.run(example_inputs(WORKLOAD)))


def test_the_model_given_is_left_as_it_is(model, tmp_path):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    for form in FORMS[:3]:
        artifact = make_artifact(model, form, tmp_path / form.name)
        run(artifact, form)
    assert torch.equal(torch.random.get_rng_state(), state)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_the_same_model_gives_the_same_hash(model, artifacts, tmp_path):
    for form in (Form("torch", "int8"), Form("onnxruntime", "int8")):
        again = make_artifact(model, form, tmp_path / form.name)
        assert again.sha256 == artifacts(form).sha256


def test_a_folder_is_hashed_by_names_and_contents_alone(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for folder, names in ((one, ("b", "a/c")), (two, ("a/c", "b"))):
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(name)
            time.sleep(0.01)
    assert content_sha256(one) == content_sha256(two)
    listed = subprocess.run(
        ["sha256sum", "a/c", "b"], cwd=one, capture_output=True, check=True
    ).stdout
    assert content_sha256(one) == hashlib.sha256(listed).hexdigest()
    assert content_sha256(one / "b") == hashlib.sha256(b"b").hexdigest()
    (two / "b").rename(two / "d")
    assert content_sha256(one) != content_sha256(two)


def test_content_that_was_changed_is_refused_by_hash(artifacts, tmp_path):
    copied = artifacts(Form("torch", "int8")).copied_to(tmp_path / "here")
    assert Artifact.load(tmp_path / "here") == copied
    weights = copied.path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00")
    with pytest.raises(ArtifactError, match="it has been changed"):
        Artifact.load(tmp_path / "here")
    weights.unlink()
    assert find_artifact(tmp_path / "here", Form("torch", "int8"), "abc") is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schemaVersion": 2}, "schemaVersion 2"),
        ({"file": "../model"}, "a name in its own folder"),
        ({"sha256": None}, "SHA-256"),
    ],
)
def test_a_record_that_cannot_be_trusted_is_refused(change, message, artifacts, tmp_path):
    copied = artifacts(Form("torch", "fp32")).copied_to(tmp_path / "here")
    sidecar = copied.path.parent / SIDECAR
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | change))
    with pytest.raises(ArtifactError, match=message):
        Artifact.load(tmp_path / "here")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schemaVersion": 1}'])
def test_a_sidecar_that_is_none_is_refused(text, tmp_path):
    with pytest.raises(ArtifactError, match=r"holds no artifact\.json"):
        Artifact.load(tmp_path)
    (tmp_path / SIDECAR).write_text(text)
    with pytest.raises(ArtifactError, match="is not the record of an artefact"):
        Artifact.load(tmp_path)


def test_an_artifact_opens_in_its_own_engine_alone(artifacts):
    artifact = artifacts(Form("torch", "fp32"))
    with pytest.raises(EngineError, match="is made for torch, not for onnxruntime"):
        open_artifact(artifact, engine("onnxruntime"), WORKLOAD)


def test_an_engine_that_is_not_installed_makes_none(model, tmp_path, monkeypatch):
    from edgetran.devices.engines import OnnxRuntimeEngine

    monkeypatch.setattr(OnnxRuntimeEngine, "available", lambda self: "it is not installed")
    with pytest.raises(EngineError, match="it is not installed"):
        make_artifact(model, Form("onnxruntime", "int8"), tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_a_model_that_the_format_lacks_an_operator_for_is_refused_in_one_sentence(tmp_path):
    layers = Architecture.homogeneous(num_layers=1, hidden_size=32, num_heads=2, feed_forward=[8])
    config = FlexiBertConfig.from_architecture(layers, vocab_size=20, hidden_act="laplace")
    model = FlexiBertForSequenceClassification(config)
    with pytest.raises(EngineError, match="onnxruntime: hidden_act: 'laplace'"):
        make_artifact(model, Form("onnxruntime", "fp32"), tmp_path / "x")


def test_a_file_gets_a_second_name_whole(tmp_path):
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "b").write_bytes(b"before")
    copy_content(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"one"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]
