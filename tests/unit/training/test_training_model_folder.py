"""A model's folder: what is read from it fits the task, and what is written is whole."""

from __future__ import annotations

import errno
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
)

from edgetran.models import read_checkpoint
from edgetran.training import (
    EncodedTask,
    TaskError,
    TaskReference,
    check_fit,
    encoded_task,
    load_model,
    load_tokenizer,
    save_model,
)
from edgetran.training.disk import new_folder

LENGTH = 12


@pytest.fixture
def data(reviews: TaskReference, cache: Path) -> EncodedTask:
    return encoded_task(reviews, LENGTH, 300, cache_dir=str(cache))


def bert(kind: type = BertForSequenceClassification, **changes: object) -> torch.nn.Module:
    sizes = {
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "vocab_size": 300,
        "max_position_embeddings": 64,
    }
    return kind(BertConfig(**sizes | changes))


@contextmanager
def file_size_limit(count: int) -> Iterator[None]:
    """The kernel takes so many bytes of a file and refuses the rest, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_model_of_the_tasks_sizes_fits(data: EncodedTask, tmp_path: Path) -> None:
    bert().save_pretrained(tmp_path)
    check_fit(read_checkpoint(tmp_path), data)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_labels": 3}, r"3 classes \(LABEL_0, .*the task has 2 classes \(bad, good\)"),
        ({"vocab_size": 50}, "embeddings for 50 tokens, and the tokenizer has"),
        ({"max_position_embeddings": 8}, "at most 8 tokens, and texts are cut to 12"),
    ],
)
def test_a_model_of_other_sizes_is_refused_with_both_numbers(
    data: EncodedTask, tmp_path: Path, changes: dict, words: str
) -> None:
    bert(**changes).save_pretrained(tmp_path)
    with pytest.raises(TaskError, match=words) as caught:
        check_fit(read_checkpoint(tmp_path), data)
    assert str(tmp_path) in str(caught.value)
    assert "allowed is" in str(caught.value)


def test_a_model_without_the_second_token_type_is_refused_for_pairs(
    cache: Path, tmp_path: Path
) -> None:
    rows = [f"text {i} one,text {i} two,{i % 2}" for i in range(90)]
    (tmp_path / "pairs.csv").write_text("\n".join(["text,text2,label", *rows]) + "\n")
    task = TaskReference(files={"train": str(tmp_path / "pairs.csv")})
    data = encoded_task(task, LENGTH, 300, cache_dir=str(cache))
    bert(type_vocab_size=1).save_pretrained(tmp_path / "model")
    with pytest.raises(TaskError, match=r"has 1 token types.* with 2; allowed"):
        check_fit(read_checkpoint(tmp_path / "model"), data)


@pytest.mark.parametrize("kind", [BertModel, BertForTokenClassification])
def test_a_model_without_a_classifier_gets_one_of_the_width_that_is_asked_for(
    kind: type, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    given = bert(kind, num_labels=3)
    given.save_pretrained(tmp_path)
    capfd.readouterr()
    model = load_model(tmp_path, num_labels=3)
    assert capfd.readouterr() == ("", "")
    assert model.classifier.weight.shape == (3, 32)
    if kind is BertForTokenClassification:
        assert not torch.equal(model.classifier.weight, given.classifier.weight)
    assert torch.equal(
        load_model(tmp_path, num_labels=3).classifier.weight, model.classifier.weight
    )
    assert not model.classifier.bias.any()


def test_half_precision_is_trained_further_in_float32(tmp_path: Path) -> None:
    bert().half().save_pretrained(tmp_path)
    assert load_model(tmp_path).dtype == torch.float32


def test_a_folder_that_is_no_model_is_a_task_error_of_one_line(tmp_path: Path) -> None:
    bert().save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(TaskError, match=r"^model: .*model.safetensors is cut off, with"):
        load_model(tmp_path)


def test_a_disk_that_fills_leaves_the_old_model_and_nothing_else(
    data: EncodedTask, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    save_model(bert(), data, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with file_size_limit(20_000), pytest.raises(OSError, match="File too large") as caught:
        save_model(bert(), data, folder)
    assert caught.value.errno == errno.EFBIG
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_a_killed_process_left_is_taken_away(tmp_path: Path) -> None:
    left = tmp_path / ".model.999999.tmp"
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half")
    with new_folder(tmp_path / "model") as folder:
        (folder / "config.json").write_text("{}")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "holds neither tokenizer.json nor vocab.txt"),
        (
            {"tokenizer.json": "version https://git-lfs.github.com/spec/v1\noid sha256:0\n"},
            "tokenizer.json is a git-lfs pointer",
        ),
        ({"tokenizer.json": '{"a": '}, "cannot be read"),
        (
            {"vocab.txt": "[PAD]\n", "tokenizer_config.json": '{"auto_map": {"x": "y"}}'},
            r"code of its own \(auto_map\)",
        ),
        ({"vocab.txt": "[PAD]\n", "tokenizer_config.json": "{"}, "tokenizer_config.json is not J"),
    ],
)
def test_a_tokenizer_that_cannot_be_used_is_refused_in_one_sentence(
    tmp_path: Path, files: dict[str, str], words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(TaskError, match=words) as caught:
        load_tokenizer(tmp_path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
