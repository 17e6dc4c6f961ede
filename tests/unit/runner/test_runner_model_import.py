"""A given model becomes the run's own, with the classes of the task in its order."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, BertModel

from edgetran.runner.model_import import given_model, import_model
from edgetran.training import (
    EncodedTask,
    TaskError,
    TaskReference,
    encoded_task,
    load_model,
    load_tokenizer,
    predict,
    save_tokenizer,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> EncodedTask:
    home = tmp_path_factory.mktemp("data")
    rows = [f"word{i % 9} is {('bad', 'good')[i % 2]},{('bad', 'good')[i % 2]}" for i in range(200)]
    (home / "train.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    task = TaskReference(files={"train": str(home / "train.csv")})
    return encoded_task(task, 12, 300, cache_dir=str(home / "cache"))


def write_bert(folder: Path, data: EncodedTask, kind: type = BertForSequenceClassification, **more):
    sizes = {
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "vocab_size": 300,
        "max_position_embeddings": 64,
    }
    model = kind(BertConfig(**sizes | more)).eval()
    model.save_pretrained(folder)
    save_tokenizer(data, folder)
    return model


def test_the_copy_is_whole_and_the_given_folder_is_not_needed_again(
    data: EncodedTask, tmp_path: Path
) -> None:
    write_bert(tmp_path / "given", data)
    expected = predict(load_model(tmp_path / "given"), data, "test")
    given = given_model(tmp_path / "given", 12)
    copy = import_model(given, data, tmp_path / "checkpoints")
    assert import_model(given, data, tmp_path / "checkpoints") == copy
    shutil.rmtree(tmp_path / "given")
    model = load_model(copy)
    assert (predict(model, data, "test") == expected).all()
    assert model.config.id2label == {0: "bad", 1: "good"}
    assert model.config.problem_type == "single_label_classification"
    assert load_tokenizer(copy).get_vocab() == data.tokenizer.get_vocab()
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == [copy.name]


def test_classes_of_the_same_names_are_put_into_the_tasks_order(
    data: EncodedTask, tmp_path: Path
) -> None:
    write_bert(tmp_path / "given", data, id2label={0: "good", 1: "bad"})
    before = predict(load_model(tmp_path / "given"), data, "test")
    copy = import_model(given_model(tmp_path / "given", 12), data, tmp_path / "checkpoints")
    assert (predict(load_model(copy), data, "test") == before[:, ::-1]).all()


def test_a_model_without_a_classifier_gets_the_tasks_width(
    data: EncodedTask, tmp_path: Path
) -> None:
    three = replace(data, task=replace(data.task, label_names=("a", "b", "c")))
    write_bert(tmp_path / "given", data, BertModel)
    copy = import_model(given_model(tmp_path / "given", 12), three, tmp_path / "checkpoints")
    assert load_model(copy).config.id2label == {0: "a", 1: "b", 2: "c"}


def test_two_models_of_one_name_are_two(data: EncodedTask, tmp_path: Path) -> None:
    copies = set()
    for parent, layers in (("a", 1), ("b", 2)):
        write_bert(tmp_path / parent / "model", data, num_hidden_layers=layers)
        given = given_model(tmp_path / parent / "model", 12)
        copies.add(import_model(given, data, tmp_path / "checkpoints"))
    assert len(copies) == 2


def test_a_kill_while_it_is_copied_leaves_nothing_that_counts(
    data: EncodedTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bert(tmp_path / "given", data)
    given = given_model(tmp_path / "given", 12)
    with monkeypatch.context() as patch:
        patch.setattr("edgetran.training.model_folder.save_tokenizer", lambda *_: exit(9))
        with pytest.raises(SystemExit):
            import_model(given, data, tmp_path / "checkpoints")
    assert load_model(import_model(given, data, tmp_path / "checkpoints"))


def test_weights_that_are_not_finite_are_refused(data: EncodedTask, tmp_path: Path) -> None:
    model = write_bert(tmp_path / "given", data)
    with torch.no_grad():
        model.classifier.bias[0] = torch.nan
    model.save_pretrained(tmp_path / "given")
    with pytest.raises(TaskError, match="not finite numbers"):
        import_model(given_model(tmp_path / "given", 12), data, tmp_path / "checkpoints")


def test_a_model_for_shorter_sequences_than_the_workloads_is_refused(
    data: EncodedTask, tmp_path: Path
) -> None:
    write_bert(tmp_path / "given", data)
    with pytest.raises(TaskError, match=r"at most 64 tokens, and .*sequenceLength is 65"):
        given_model(tmp_path / "given", 65)
