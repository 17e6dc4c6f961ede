"""A model's folder is known by config.json and the heads of its weights, before it is loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models_reference import EVERY_TYPE, build
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    RobertaConfig,
    RobertaModel,
)

from edgetran.models import (
    CheckpointError,
    FlexiBertForMaskedLM,
    FlexiBertForSequenceClassification,
    FlexiBertModel,
    read_checkpoint,
)

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "vocab_size": 90,
    "max_position_embeddings": 40,
}
THREE = {0: "x", 1: "y", 2: "z"}


def bert(kind: type = BertForSequenceClassification, **changes: object) -> torch.nn.Module:
    return kind(BertConfig(**SIZES | {"id2label": THREE} | changes))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bert") / "model"
    bert().save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "model"))


def change_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_weights(folder: Path, change: Callable[[dict], dict]) -> None:
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


def test_sizes_and_classes_are_known_without_loading(folder: Path) -> None:
    found = read_checkpoint(folder)
    assert found.family == "bert"
    assert found.classes == ("x", "y", "z")
    assert (found.vocab_size, found.positions, found.token_types) == (90, 40, 2)
    assert found.architecture.num_layers == 2
    assert found.architecture.layers[0].head_ops == ("sa_sdp_16", "sa_sdp_16")


@pytest.mark.parametrize("kind", [BertModel, BertForMaskedLM, BertForTokenClassification])
def test_a_model_that_classifies_no_sequences_has_no_classes(kind: type, tmp_path: Path) -> None:
    bert(kind).save_pretrained(tmp_path)
    assert read_checkpoint(tmp_path).classes is None


@pytest.mark.parametrize(
    ("kind", "classes"),
    [
        (FlexiBertForSequenceClassification, ("LABEL_0", "LABEL_1")),
        (FlexiBertModel, None),
        (FlexiBertForMaskedLM, None),
    ],
)
def test_the_own_family_is_known_too(kind: type, classes: object, tmp_path: Path) -> None:
    build(kind, EVERY_TYPE).save_pretrained(tmp_path)
    found = read_checkpoint(tmp_path)
    assert found.family == "flexibert"
    assert found.architecture == EVERY_TYPE
    assert found.classes == classes


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_float_is_allowed(dtype: torch.dtype, tmp_path: Path) -> None:
    bert().to(dtype).save_pretrained(tmp_path)
    assert read_checkpoint(tmp_path).classes == ("x", "y", "z")


def test_shards_are_read_together(tmp_path: Path) -> None:
    bert().save_pretrained(tmp_path, max_shard_size="20KB")
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 2
    assert read_checkpoint(tmp_path).classes == ("x", "y", "z")
    shards[1].unlink()
    with pytest.raises(CheckpointError, match=f"1 of them are not there, such as {shards[1].name}"):
        read_checkpoint(tmp_path)


def test_the_names_of_older_checkpoints_are_known(folder: Path) -> None:
    def older(weights: dict) -> dict:
        rename = (("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta"))
        named = {}
        for name, value in weights.items():
            for new, old in rename:
                name = name.replace(new, old)
            named[name] = value
        return named | {"bert.embeddings.position_ids": torch.arange(40)[None]}

    change_weights(folder, older)
    assert read_checkpoint(folder).classes == ("x", "y", "z")


def without(*parts: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        change_weights(
            folder, lambda w: {n: v for n, v in w.items() if not any(p in n for p in parts)}
        )

    return change


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def pointer(name: str) -> Callable[[Path], None]:
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1234\n"
    return lambda folder: (folder / name).write_text(text) and None


def cut(count: int) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "model.safetensors"
        path.write_bytes(path.read_bytes()[:count])

    return change


def longer(folder: Path) -> None:
    with open(folder / "model.safetensors", "ab") as file:
        file.write(b"12345")


def quantised(folder: Path) -> None:
    change_weights(
        folder,
        lambda w: {n: v.to(torch.int8) if "query.weight" in n else v for n, v in w.items()},
    )


def linked(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("blobs/1234")


def configured(**changes: object) -> Callable[[Path], None]:
    return lambda folder: change_config(folder, **changes)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (shutil.rmtree, "does not exist"),
        (lambda f: (f / "config.json").unlink(), "holds no config.json"),
        (lambda f: (f / "config.json").write_text("{"), "config.json is not JSON, or is cut off"),
        (lambda f: (f / "config.json").write_text("[" * 99_999), "config.json is not JSON"),
        (lambda f: (f / "config.json").write_text("[]"), "config.json is not a JSON object"),
        (pointer("config.json"), "config.json is a git-lfs pointer"),
        (configured(model_type="roberta"), "of the family 'roberta'; allowed are flexibert and"),
        (configured(model_type=None), "without model_type"),
        (configured(auto_map={"AutoModel": "m.M"}), r"code of its own \(auto_map\)"),
        (configured(quantization_config={"quant_method": "gptq"}), r"is quantised \(gptq\)"),
        (configured(is_decoder=True), "is_decoder: true; allowed are encoders"),
        (configured(position_embedding_type="relative_key"), "position_embedding_type"),
        (configured(hidden_act="zap"), "hidden_act 'zap'"),
        (configured(hidden_size="big"), "hidden_size big; allowed is a positive"),
        (configured(vocab_size=-1), "vocab_size -1; allowed is a positive"),
        (configured(num_attention_heads=5), "hidden_size 32 is no multiple"),
        (configured(num_hidden_layers=10**9), "num_hidden_layers 1000000000, and the weights"),
        (configured(num_hidden_layers=3), "lack 16 of the 57 tensors"),
        (configured(num_hidden_layers=1), "hold 16 tensors that config.json has no place for"),
        (configured(intermediate_size=49), r"has the shape \[48.*says \[49"),
        (configured(id2label={"0": "a", "1": "b"}), r"classifier.* has the shape \[3.*says \[2"),
        (configured(id2label={"0": "a", "7": "b", "2": "c"}), "does not number its classes"),
        (configured(vocab_size=2**31 - 1, hidden_size=2**31 - 2), "config.json"),
        (pointer("model.safetensors"), "model.safetensors is a git-lfs pointer.*git lfs pull"),
        (lambda f: (f / "model.safetensors").unlink(), "holds no weights; allowed is model.safe"),
        (pickled, r"pytorch_model.bin \(pickle\) alone.*save_pretrained"),
        (linked, "is a link to a file that is not there"),
        (cut(0), "of 0 bytes, is not a safetensors file, or is cut off"),
        (cut(5), "is cut off"),
        (cut(1000), "of 1,000 bytes, is not a safetensors file, or is cut off"),
        (cut(-1), "is cut off, with .* bytes of weights"),
        (longer, "has 5 bytes more than its head says"),
        (without("LayerNorm"), "the weights lack 10 of the"),
        (without("classifier"), "lack 2 of the .* such as classifier.bias"),
        (without("pooler"), "such as pooler.dense.bias"),
        (without("embeddings"), "the weights are not those of a bert model"),
        (quantised, "is quantised: .*query.weight is in I8"),
        (lambda f: (f / "model.safetensors").write_text("<html>Not found" * 9), "no safetensors"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(
    folder: Path, damage: Callable[[Path], object], words: str
) -> None:
    damage(folder)
    with pytest.raises(CheckpointError, match=words) as caught:
        read_checkpoint(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "model",
    [
        lambda: RobertaModel(RobertaConfig(**SIZES)),
        lambda: DistilBertModel(DistilBertConfig(dim=32, n_layers=1, n_heads=2, vocab_size=90)),
    ],
)
def test_a_real_model_of_another_family_is_refused_by_its_name(
    model: Callable, tmp_path: Path
) -> None:
    model().save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"family '(roberta|distilbert)'"):
        read_checkpoint(tmp_path)


@settings(max_examples=60, deadline=None)
@given(length=st.integers(0, 64), at=st.integers(0, 400), byte=st.binary(min_size=1, max_size=9))
def test_spoilt_weights_are_refused_or_read_and_nothing_else(
    saved: Path, tmp_path_factory, length: int, at: int, byte: bytes
) -> None:
    folder = Path(shutil.copytree(saved, tmp_path_factory.mktemp("spoilt") / "model"))
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[at : at + len(byte)] = byte
    path.write_bytes(content[: len(content) - length])
    try:
        assert read_checkpoint(folder).positions == 40
    except CheckpointError as error:
        assert str(folder) in str(error)  # noqa: PT017 - either is right
