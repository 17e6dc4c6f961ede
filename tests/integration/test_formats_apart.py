"""ExecuTorch and LiteRT, in the environments that EdgeTran makes: gigabytes the first time."""

import subprocess
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from edgetran.artifacts import Artifact, Form
from edgetran.devices import EngineError, Workload
from edgetran.profiling import build_model
from edgetran.runner import handover
from edgetran.runner.artifacts import ModelArtifacts
from edgetran.runner.judged_artifact import judge_artifact
from edgetran.runner.measured import measured_record
from edgetran.space import Architecture
from edgetran.training import (
    Example,
    Task,
    build_tokenizer,
    encode_task,
    predict,
    predicted_labels,
    save_model,
)

pytestmark = [pytest.mark.integration, pytest.mark.soak]

FORMS = [
    Form(engine, precision) for engine in ("executorch", "litert") for precision in ("fp32", "int8")
]
CASES = [
    pytest.param(form, positions, id=f"{form.name}-{positions}")
    for positions in ("absolute", "relative_key")
    for form in FORMS
    if (form.precision, positions) != ("int8", "relative_key")  # the operators are those of fp32
]
LEAST_AGREEMENT = 0.995
HEADS = ["sa_sdp_16", "sa_wma_16", "l_dft_16", "l_dct_16", "c_5_16", "c_9_16"]
"""Of every type, so that there is none that a format lacks."""
EVERY_HEAD = Architecture.from_model_dict(
    {"l": 2, "h": [96, 64], "f": [[64], [128, 64]], "o": [HEADS, HEADS[::-1]]}
)
WORDS = ("warm", "dull", "fine", "cold", "bright", "stale", "long", "short", "sad", "gay")


def examples(count):
    return tuple(
        Example(" ".join(WORDS[(i * 7 + j * i) % 10] for j in range(i % 9 + 1)), None, i % 2)
        for i in range(count)
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    task = Task(
        name="films",
        train=examples(40),
        validation=examples(20),
        test=examples(400),
        label_names=("bad", "good"),
        metrics=("accuracy",),
        licence="none",
        source="made up",
    )
    tokenizer = build_tokenizer(task, vocab_size=120, cache_dir=tmp_path_factory.mktemp("cache"))
    return encode_task(task, tokenizer, 24)


@pytest.fixture(scope="module")
def models(request, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(1)
    model = build_model(EVERY_HEAD, Workload(1, 32, vocab_size=data.vocab_size))
    config = model.config
    config.position_embedding_type = request.param
    model = type(model)(config).eval()
    model.config.id2label = {0: "bad", 1: "good"}
    with torch.no_grad():  # so that half of the texts are of either class
        model.classifier.weight.mul_(50)
        logits = torch.from_numpy(predict(model, data, "test"))
        model.classifier.bias -= logits.quantile(0.5, dim=0)
    save_model(model, data, folder / "checkpoint")
    return ModelArtifacts(folder / "checkpoint", folder / "artifacts", data)


@pytest.mark.parametrize(("form", "models"), CASES, indirect=["models"])
def test_a_format_of_another_environment_predicts_as_it_was_trained(form, models, data, tmp_path):
    engine = form.make_engine()
    try:
        engine.prepare()
    except EngineError as error:
        if "cannot be reached" in str(error):
            pytest.skip(str(error))
        raise
    judged = judge_artifact(models, form, data, batch_size=None)
    assert judged.artifact.length == 24
    expected = predicted_labels(judged.trained("test"), regression=False)
    assert set(expected) == {0, 1}
    found = predicted_labels(judged.logits("test"), regression=False)
    if form.precision == "fp32":
        assert (found == expected).mean() >= LEAST_AGREEMENT
    else:  # of random weights, whose classes lie closer together than 8 bits tell
        off = np.abs(judged.logits("test") - judged.trained("test")).max()
        centred = models.model.classifier.bias.detach().abs().max().item()
        assert 0 < off <= 0.1 * centred

    workload = Workload(1, 24, vocab_size=data.vocab_size)
    setting = SimpleNamespace(data=data, workload=workload)
    measured = measured_record("films", workload, judged.accuracies(data), None)
    target = tmp_path / "export"
    handover._write(target, "Films", models, judged, setting, measured, None)
    assert Artifact.load(target).sha256 == judged.artifact.sha256
    assert "one text at a time, padded to 24 tokens" in (target / "README.md").read_text()
    texts = [example.text for example in data.task.test[:40]]
    done = subprocess.run(
        [str(engine.environment.python), "-I", str(target / "example.py"), *texts],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    names = {0: "bad", 1: "good"}
    labels = [line.split("\t")[0] for line in done.stdout.splitlines() if "\t" in line]
    assert labels == [names[int(label)] for label in found[:40]]
