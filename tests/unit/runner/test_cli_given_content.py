"""What a run is given is refused in one line, alone on the screen, where it cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from test_cli import SEARCH, edgetran, refused, with_search
from transformers import BertConfig, BertForSequenceClassification, RobertaConfig, RobertaModel

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"word{i}" for i in range(200))]
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": len(WORDS),
    "max_position_embeddings": 64,
}
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1234\n"


def roberta(folder: Path) -> None:
    RobertaModel(RobertaConfig(**SIZES)).save_pretrained(folder)


def three_classes(folder: Path) -> None:
    BertForSequenceClassification(BertConfig(**SIZES, num_labels=3)).save_pretrained(folder)


def few_positions(folder: Path) -> None:
    config = BertConfig(**SIZES | {"max_position_embeddings": 20})
    BertForSequenceClassification(config).save_pretrained(folder)


def pointer(folder: Path) -> None:
    BertForSequenceClassification(BertConfig(**SIZES)).save_pretrained(folder)
    (folder / "model.safetensors").write_text(POINTER)


def data_file(folder: Path) -> Path:
    path = folder / "data.csv"
    path.write_text("text,label\n" + "".join(f"word{i} {i % 2},{i % 2}\n" for i in range(200)))
    return path


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (roberta, ["family 'roberta'", "allowed are flexibert and bert"]),
        (pointer, ["git-lfs pointer", "git lfs pull"]),
        (three_classes, ["3 classes", "2 classes (0, 1)", "allowed is a model of as many"]),
        (few_positions, ["at most 20 tokens", "sequenceLength is 32"]),
    ],
)
def test_a_given_model_that_cannot_be_refined_is_refused_with_nothing_else_on_the_screen(
    tmp_path: Path, make, words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model"
    make(model)
    (model / "vocab.txt").write_text("\n".join(WORDS))
    resource = {
        "apiVersion": "edgetran.io/v1alpha1",
        "kind": "GPTranRun",
        "metadata": {"name": "g"},
        "spec": {
            "model": str(model),
            "task": {"files": {"train": str(data_file(tmp_path))}},
            "device": {"name": "pi", "simulation": "raspberry-pi-5-cpu"},
            "workload": {"batchSize": 1, "sequenceLength": 32},
        },
    }
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(resource))
    capfd.readouterr()
    result = edgetran("run", "-f", path, "-o", tmp_path / "run")
    refused(result, "GPTranRun/g: spec.model", str(model), *words)
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("make", "word"), [(roberta, "roberta"), (pointer, "git-lfs")])
def test_a_given_model_that_cannot_be_measured_is_refused_the_same(
    tmp_path: Path, make, word: str
) -> None:
    make(tmp_path / "model")
    result = edgetran("profile", "--model", tmp_path / "model", "-o", tmp_path / "run")
    refused(result, "spec.models[0]", str(tmp_path / "model"), word)
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1


def test_a_run_refuses_to_go_on_with_other_data_and_goes_on_with_the_old(tmp_path: Path) -> None:
    data = data_file(tmp_path)
    old = data.read_text()
    # It ends after its data is loaded and before anything is trained.
    path = with_search(
        tmp_path,
        {"task": {"files": {"train": str(data)}}, "constraints": {"latencyMs": {"max": 1e-6}}},
    )
    run = tmp_path / "run"
    refused(edgetran("run", "-f", path, "-o", run), "latency_ms")
    data.write_text(old.replace("word7 1,1", "word7 1,0"))
    for result in (None, '{"schemaVersion": 1}'):
        if result is not None:
            (run / "result.json").write_text(result)
        changed = edgetran("run", "-f", path, "-o", run)
        refused(changed, str(run), f"{SEARCH['kind']}/s: spec.task", "data.csv has changed")
        assert changed.stdout == ""
    (run / "result.json").unlink()
    data.write_text(old)
    refused(edgetran("run", "-f", path, "-o", run), "latency_ms")
