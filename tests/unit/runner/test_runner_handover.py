"""A folder that is handed over is of use to people who have neither us nor torch."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_task import LAYERS, encoded

from edgetran.artifacts import Artifact, Form, open_artifact
from edgetran.devices import Workload
from edgetran.profiling import build_model
from edgetran.runner import handover
from edgetran.runner.artifacts import ModelArtifacts
from edgetran.runner.folder import RunFolderError
from edgetran.runner.judged_artifact import judge_artifact
from edgetran.runner.measured import measured_record
from edgetran.training import save_model

FORMS = [
    Form("onnxruntime", "fp32"),
    Form("onnxruntime", "int8", method="static"),
    Form("openvino", "int8"),
    Form("torch", "fp32"),
]
TEXTS = ["a fine film 3", "a fine film 4a fine film 4"]
WITHOUT = """
import runpy, sys
for name in {missing}:
    sys.modules[name] = None
sys.argv = ["example.py", *{texts}]
runpy.run_path({path!r}, run_name="__main__")
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return encoded(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def exported(data, tmp_path_factory):
    """Exported folders by their form, each written once."""
    folder = tmp_path_factory.mktemp("exports")
    workload = Workload(1, 16, vocab_size=data.vocab_size)
    model = build_model(LAYERS, workload)
    model.config.id2label = {0: "bad", 1: "good"}
    with torch.no_grad():  # so that different texts have different classes
        model.classifier.weight.mul_(50)
    save_model(model, data, folder / "checkpoint")
    models = ModelArtifacts(folder / "checkpoint", folder / "artifacts", data)
    setting = SimpleNamespace(data=data, workload=workload)

    def get(form):
        target = folder / form.name
        if not target.exists():
            judged = judge_artifact(models, form, data, batch_size=1)
            figures = judged.accuracies(data)
            measured = measured_record("films", workload, figures, judged.test_predictions(data))
            handover._write(target, "Films", models, judged, setting, measured, "my-models/bert")
        return target

    return get


def classes_of(folder, form, data):
    """What the artefact in a folder says of `TEXTS`, run by ourselves."""
    names = json.loads((folder / "config.json").read_text())["id2label"]
    with open_artifact(Artifact.load(folder), form.make_engine(1), None) as session:
        for text in TEXTS:
            encoded_text = data.tokenizer([text], return_tensors="np", return_token_type_ids=True)
            logits = session.run({k: v.astype(np.int64) for k, v in encoded_text.items()})
            yield names[str(int(logits.argmax()))]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_the_example_classifies_in_a_fresh_process_with_the_engine_alone(form, exported, data):
    folder = exported(form)
    missing = [] if form.engine == "torch" else ["torch", "transformers", "edgetran"]
    code = WITHOUT.format(missing=missing, texts=TEXTS, path=str(folder / "example.py"))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    printed = [line.split("\t") for line in done.stdout.splitlines()]
    assert [text for _, text in printed] == TEXTS
    assert [label for label, _ in printed] == list(classes_of(folder, form, data))


def test_the_card_says_what_the_model_is_how_good_and_made_of_what(exported):
    folder = exported(FORMS[1])
    card = (folder / "README.md").read_text()
    artifact = Artifact.load(folder)
    for words in (
        "# Films",
        "made for onnxruntime int8 static",
        "Labels: bad, good",
        "40 train, 20 validation, 20 test",
        "| accuracy, test part |",
        "measured: this file in onnxruntime",
        "layer  1  width   32 │ 2 × sa_sdp of 16 │ feed-forward 64",
        "## Intended use",
        "- Data: none",
        "my-models/bert; its licence applies",
        artifact.sha256,
    ):
        assert words in card
    for name in (
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "measured.json",
        "example.py",
    ):
        assert (folder / name).is_file()
        assert f"`{name}`" in card or name == "tokenizer_config.json"
    assert artifact.calibration["split"] == "train"


def test_a_plain_bert_is_there_for_transformers_too(exported, data):
    from transformers import AutoModelForSequenceClassification, BertForSequenceClassification

    folder = exported(Form("torch", "fp32"))
    bert = AutoModelForSequenceClassification.from_pretrained(folder / "bert").eval()
    assert type(bert) is BertForSequenceClassification
    inputs = data.tokenizer(TEXTS[:1], return_tensors="pt", return_token_type_ids=True)
    with torch.no_grad():
        expected = bert(**inputs).logits.numpy()
    form = Form("torch", "fp32")
    with open_artifact(Artifact.load(folder), form.make_engine(1), None) as session:
        given = {name: value.numpy() for name, value in inputs.items()}
        np.testing.assert_allclose(session.run(given), expected, atol=1e-4)


def test_pushing_to_a_folder_copies_all_of_it(exported, tmp_path):
    folder = exported(FORMS[0])
    assert handover.push(folder, str(tmp_path / "there")) == str(tmp_path / "there")
    names = {path.relative_to(folder) for path in folder.rglob("*")}
    assert names == {
        path.relative_to(tmp_path / "there") for path in (tmp_path / "there").rglob("*")
    }
    assert Artifact.load(tmp_path / "there").sha256 == Artifact.load(folder).sha256
    with pytest.raises(RunFolderError, match="exists; allowed is a new folder"):
        handover.push(folder, str(tmp_path / "there"))


def test_what_was_changed_since_is_not_pushed(exported, tmp_path):
    handover.push(exported(FORMS[0]), str(tmp_path / "there"))
    (tmp_path / "there" / "model.onnx").write_bytes(b"other")
    with pytest.raises(RunFolderError, match="it has been changed"):
        handover.push(tmp_path / "there", str(tmp_path / "elsewhere"))
    with pytest.raises(RunFolderError, match="`edgetran export` writes a folder to push"):
        handover.push(tmp_path, str(tmp_path / "elsewhere"))
    assert not (tmp_path / "elsewhere").exists()


PUSH = """
import sys
from pathlib import Path
from edgetran.runner.handover import push
try:
    push(Path(sys.argv[1]), sys.argv[2])
except ValueError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("to", "settings", "sentence"),
    [
        ("hub:me/films", {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set; nothing was sent"),
        (
            "hub:me/films",
            {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_TOKEN": "hf_none"},
            "cannot be reached",
        ),
        ("hub:a/b/c", {"HF_TOKEN": "hf_none"}, "hub:a/b/c: "),
    ],
)
def test_a_hub_that_cannot_be_reached_is_said_in_one_sentence(to, settings, sentence, exported):
    done = subprocess.run(
        [sys.executable, "-c", PUSH, str(exported(FORMS[0])), to],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
        env={"HF_ENDPOINT": "http://127.0.0.1:9", **os.environ, **settings},
    )
    assert sentence in done.stdout
    assert len(done.stdout.splitlines()) == 1
