"""A few distilled steps fit a model to int8; what comes out is an ordinary model."""

import numpy as np
import pytest
import torch

from edgetran.artifacts import Form, open_artifact, weights_sha256
from edgetran.devices import Workload
from edgetran.profiling import build_model
from edgetran.runner.artifacts import AWARE, ModelArtifacts
from edgetran.space import Architecture
from edgetran.training import (
    Example,
    Task,
    build_tokenizer,
    encode_task,
    evaluate,
    load_model,
    predict,
    save_model,
    train_quantization_aware,
)
from edgetran.training.quantization_aware import _see, _with_rounding

STEPS = 12
FORM = Form("onnxruntime", "int8", method="static", aware_steps=STEPS)


def examples(count):
    return tuple(Example(f"a fine film {i}", None, i % 2) for i in range(count))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    task = Task(
        name="films",
        train=examples(64),
        validation=examples(20),
        test=examples(20),
        label_names=("bad", "good"),
        metrics=("accuracy",),
    )
    cache = tmp_path_factory.mktemp("cache")
    return encode_task(task, build_tokenizer(task, vocab_size=120, cache_dir=cache), 16)


@pytest.fixture(scope="module")
def checkpoint(data, tmp_path_factory):
    architecture = Architecture.homogeneous(
        num_layers=1, hidden_size=32, num_heads=2, feed_forward=[64]
    )
    model = build_model(architecture, Workload(1, 16, vocab_size=data.vocab_size))
    folder = tmp_path_factory.mktemp("model") / "checkpoint"
    save_model(model, data, folder)
    return folder


def test_rounding_is_that_of_int8_and_validation_moves_no_range(checkpoint, data):
    plain = load_model(checkpoint)
    expected = predict(plain, data, "validation")
    rounded = _with_rounding(load_model(checkpoint))
    _see(rounded, data)
    rounded.eval()
    ranges = {name: each.clone() for name, each in rounded.named_buffers()}
    assert any("input_rounding" in name for name in ranges)
    found = predict(rounded, data, "validation")
    off = np.abs(found - expected).max()
    assert 0 < off < 0.1 * np.abs(expected).max()
    after = dict(rounded.named_buffers())
    for name, before in ranges.items():
        if "observer_enabled" not in name:
            assert torch.equal(after[name], before), name


def test_an_interrupted_training_is_gone_on_with_and_comes_to_the_same(
    checkpoint, data, tmp_path, monkeypatch
):
    whole = train_quantization_aware(checkpoint, tmp_path / "whole", data, STEPS)
    names = set(load_model(checkpoint).state_dict())
    assert set(load_model(whole).state_dict()) == names, "no ranges are left in it"
    assert weights_sha256(whole) != weights_sha256(checkpoint)

    class Killed(BaseException):
        pass

    def kill(progress):
        if progress.step == STEPS - 2:
            raise Killed

    monkeypatch.setattr("edgetran.training.fine_tuning._SAVE_EVERY_S", 0.0)
    with pytest.raises(Killed):
        train_quantization_aware(checkpoint, tmp_path / "killed", data, STEPS, kill)
    assert list((tmp_path / "killed").glob("*.safetensors")), "its state was kept"
    steps = []
    again = train_quantization_aware(
        checkpoint, tmp_path / "killed", data, STEPS, lambda progress: steps.append(progress.step)
    )
    assert len(steps) < STEPS
    assert weights_sha256(again) == weights_sha256(whole)
    steps.clear()
    assert train_quantization_aware(checkpoint, tmp_path / "killed", data, STEPS) == again
    assert not steps


@pytest.mark.parametrize(("scores", "kept"), [((0.5, 0.75), True), ((0.75, 0.75), False)])
def test_it_is_kept_only_where_the_artefact_scores_better(
    scores, kept, checkpoint, data, tmp_path, monkeypatch
):
    models = ModelArtifacts(checkpoint, tmp_path / "artifacts", data)
    given = iter(scores)
    monkeypatch.setattr(
        "edgetran.runner.artifacts.evaluate", lambda *_, **__: {"accuracy": next(given)}
    )
    artifact = models.make(FORM)
    assert artifact.calibration["split"] == "train"
    assert ("awareSteps" in artifact.quantization) == kept
    assert (artifact.source_sha256 != weights_sha256(checkpoint)) == kept
    (note,) = models.notes
    assert note.startswith("onnxruntime int8 static: quantisation-aware training of 12 steps")
    assert note.endswith("it is kept" if kept else "the weights as trained are kept")
    again = ModelArtifacts(checkpoint, tmp_path / "artifacts", data)
    assert again.make(FORM) == artifact, "no score is asked for twice"
    assert again.notes == models.notes
    assert list((tmp_path / "artifacts").rglob(AWARE))


def test_the_kept_artefact_scores_what_was_compared(checkpoint, data, tmp_path):
    models = ModelArtifacts(checkpoint, tmp_path / "artifacts", data, batch_size=4)
    artifact = models.make(FORM)
    with open_artifact(artifact, FORM.make_engine(1), None) as session:
        found = evaluate(session, data, "validation", batch_size=4)["accuracy"]
    assert f"{found:.4f}" in models.notes[0]


def test_without_being_asked_for_nothing_is_trained(checkpoint, data, tmp_path):
    models = ModelArtifacts(checkpoint, tmp_path / "artifacts", data)
    artifact = models.make(Form("onnxruntime", "int8"))
    assert artifact.source_sha256 == weights_sha256(checkpoint)
    assert not list((tmp_path / "artifacts").glob("aware-*"))
    assert not models.notes
