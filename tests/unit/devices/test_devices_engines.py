"""Engines agree with each other, leave the caller's world as it was, and refuse in words."""

import copy
import dataclasses
import types

import numpy as np
import pytest
import torch

from edgetran.devices import EngineError, Workload, engine, example_inputs

WORKLOAD = Workload(batch_size=2, sequence_length=16, vocab_size=100)


class Classifier(torch.nn.Module):
    """A small real transformer with the models' calling convention."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(100, 32)
        self.attention = torch.nn.Linear(32, 32)
        self.wide = torch.nn.Linear(32, 64)
        self.narrow = torch.nn.Linear(64, 32)
        self.norm = torch.nn.LayerNorm(32)
        self.per_head = torch.nn.Parameter(torch.randn(2, 16, 16) / 4)
        self.top = torch.nn.Linear(32, 2)

    def forward(self, input_ids, attention_mask, token_type_ids):
        x = self.embedding(input_ids)
        x = x + 0.1 * token_type_ids.to(x.dtype).unsqueeze(-1)
        mask = (1.0 - attention_mask.to(x.dtype)).unsqueeze(1) * -1e4
        scores = self.attention(x) @ x.transpose(1, 2) / 32**0.5 + mask
        x = self.norm(x + torch.softmax(scores, -1) @ x)
        heads = x.unflatten(-1, (2, 16)).transpose(1, 2) @ self.per_head
        x = self.norm(x + heads.transpose(1, 2).flatten(-2))
        x = self.norm(x + self.narrow(torch.nn.functional.gelu(self.wide(x))))
        return types.SimpleNamespace(logits=self.top(x[:, 0]))


class Exportable(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, token_type_ids):
        return self.model(input_ids, attention_mask, token_type_ids).logits


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Classifier().eval()


@pytest.fixture(scope="module")
def onnx_path(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    inputs = {k: torch.from_numpy(v) for k, v in example_inputs(WORKLOAD).items()}
    torch.onnx.export(
        Exportable(copy.deepcopy(model)).eval(),
        kwargs=inputs,
        f=path,
        input_names=list(inputs),
        output_names=["logits"],
        dynamic_shapes={name: {0: torch.export.Dim.DYNAMIC} for name in inputs},
        dynamo=True,
        verbose=False,
    )
    return path


@pytest.fixture(scope="module")
def reference(model):
    with torch.inference_mode():
        return model(
            **{k: torch.from_numpy(v) for k, v in example_inputs(WORKLOAD).items()}
        ).logits.numpy()


TOLERANCE = {"fp32": 1e-5, "bf16": 5e-2, "fp16": 1e-2, "int8": 5e-2}


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("torch", "fp32"),
        ("torch", "bf16"),
        ("torch", "int8"),
        ("onnxruntime", "fp32"),
        ("onnxruntime", "int8"),
        ("openvino", "fp32"),
        ("openvino", "fp16"),
        ("openvino", "int8"),
    ],
)
def test_every_engine_and_precision_gives_the_same_logits(
    name, precision, model, onnx_path, reference, tmp_path
):
    chosen = engine(name, precision=precision, threads=1)
    if chosen.available() is not None:
        pytest.skip(chosen.available())
    loadable = model if name == "torch" else chosen.convert(onnx_path, tmp_path)[0]
    with chosen.load(loadable, WORKLOAD) as session:
        logits = session.run(example_inputs(WORKLOAD))
    assert logits.shape == (2, 2)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, reference, atol=TOLERANCE[precision])
    if precision == "int8":
        assert np.abs(logits - reference).max() > 1e-7, "nothing was quantised"


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_a_session_of_no_workload_runs_batches_of_any_shape(name, model, onnx_path, tmp_path):
    chosen = engine(name, precision="int8", threads=1)
    if chosen.available() is not None:
        pytest.skip(chosen.available())
    path, quantization = chosen.convert(onnx_path, tmp_path)
    assert quantization["method"] == "dynamic"
    with chosen.load(path) as session:
        for batch in (1, 3):
            inputs = example_inputs(dataclasses.replace(WORKLOAD, batch_size=batch))
            assert session.run(inputs).shape == (batch, 2)


def test_torch_converts_no_files(tmp_path):
    with pytest.raises(EngineError, match=r"allowed is a torch\.nn\.Module"):
        engine("torch").convert(tmp_path / "model.onnx", tmp_path)


def test_int8_activations_are_quantised_whatever_the_threads(model):
    one, two = (engine("torch", precision="int8", threads=n).load(model, WORKLOAD) for n in (1, 2))
    inputs = example_inputs(WORKLOAD)
    np.testing.assert_allclose(one.run(inputs), two.run(inputs), atol=1e-5)


def test_torch_runs_with_its_threads_and_restores_those_before():
    seen = []

    class Spy(torch.nn.Module):
        def forward(self, input_ids):
            seen.append(torch.get_num_threads())
            return types.SimpleNamespace(logits=torch.zeros(len(input_ids), 2))

    before = torch.get_num_threads()
    session = engine("torch", threads=before + 1).load(Spy(), WORKLOAD)
    session.run({"input_ids": np.ones((2, 4), dtype=np.int64)})
    assert seen == [before + 1]
    assert torch.get_num_threads() == before


def test_threads_are_restored_when_the_model_fails():
    class Broken(torch.nn.Module):
        def forward(self, input_ids):
            raise RuntimeError("broken")

    before = torch.get_num_threads()
    with pytest.raises(RuntimeError, match="broken"):
        engine("torch", threads=before + 1).load(Broken(), WORKLOAD).run(
            {"input_ids": np.ones((1, 1), dtype=np.int64)}
        )
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_the_module_given_is_left_as_it_is(model, precision):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    engine("torch", precision=precision).load(model, WORKLOAD)
    assert isinstance(model.wide, torch.nn.Linear)
    for name, value in model.state_dict().items():
        assert value.dtype == before[name].dtype
        assert torch.equal(value, before[name])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"name": "onxruntime"},
            'engine: Unsupported value: "onxruntime": supported values: "torch"',
        ),
        (
            {"name": "torch", "precision": "int4"},
            'torch precision on cpu: Unsupported value: "int4": supported',
        ),
        ({"name": "torch", "threads": 0}, "threads: Invalid value: 0: must be at least 1"),
        ({"name": "openvino", "target": "cuda"}, 'openvino target: Unsupported value: "cuda"'),
    ],
)
def test_what_an_engine_does_not_have_is_refused_with_what_it_has(arguments, message):
    with pytest.raises(EngineError) as caught:
        engine(**arguments)
    assert message in str(caught.value)


def test_inputs_are_compared_with_the_models(model, onnx_path):
    session = engine("onnxruntime", threads=1).load(onnx_path, WORKLOAD)
    inputs = example_inputs(WORKLOAD)
    with pytest.raises(EngineError, match="token_type_ids is missing"):
        session.run({k: v for k, v in inputs.items() if k != "token_type_ids"})
    with pytest.raises(EngineError, match="did you mean input_ids"):
        engine("torch").load(model, WORKLOAD).run({"input_id": inputs["input_ids"]})


def test_a_model_of_the_wrong_kind_is_refused(model, tmp_path):
    with pytest.raises(EngineError, match=r"path of an \.onnx file"):
        engine("onnxruntime").load(model, WORKLOAD)
    with pytest.raises(EngineError, match=r"allowed is a torch\.nn\.Module"):
        engine("torch").load(tmp_path / "model.onnx", WORKLOAD)
    with pytest.raises(EngineError, match="is not a file"):
        engine("onnxruntime").load(tmp_path / "absent.onnx", WORKLOAD)


def test_a_file_that_is_no_model_is_refused(tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(EngineError, match=r"broken\.onnx cannot be loaded"):
        engine("onnxruntime").load(path, WORKLOAD)


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("onnxruntime", "onnxruntime", "edgetran[onnx]"),
        ("openvino", "openvino", "edgetran[openvino]"),
        ("torch", "torch", "edgetran[worker]"),
    ],
)
def test_an_engine_that_is_not_installed_names_its_extra(name, package, extra, monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda wanted: None if wanted == package else find(wanted)
    )
    chosen = engine(name)
    assert f'pip install "{extra}"' in chosen.available()
    with pytest.raises(EngineError, match="is not installed"):
        chosen.load("model.onnx", WORKLOAD)


def test_example_inputs_repeat_with_their_seed_and_stay_in_the_vocabulary():
    first, second = example_inputs(WORKLOAD, seed=3), example_inputs(WORKLOAD, seed=3)
    assert np.array_equal(first["input_ids"], second["input_ids"])
    assert first["input_ids"].shape == (2, 16)
    assert first["input_ids"].min() >= 5
    assert first["input_ids"].max() < 100
    assert not np.array_equal(first["input_ids"], example_inputs(WORKLOAD, 4)["input_ids"])
