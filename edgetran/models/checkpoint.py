"""What a given model's folder holds, known before anything of it is loaded.

`config.json` and the heads of the weight files say family, sizes, classes and which tensors there
are; a folder that contradicts itself is refused here, in one sentence.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from transformers import BertConfig, BertForSequenceClassification, PreTrainedModel
from transformers.activations import ACT2FN

from edgetran.models.config import FlexiBertConfig
from edgetran.models.modeling import FlexiBertForSequenceClassification
from edgetran.models.weights_files import (
    CheckpointError,
    TensorHead,
    read_json,
    read_tensor_heads,
)
from edgetran.space import Architecture

BERT: Final = "bert"
FLEXIBERT: Final = FlexiBertConfig.model_type

_FAMILIES: Final = "flexibert and bert"
_FLOATS: Final = ("F32", "F16", "BF16", "F64")
_SIZES: Final = (
    "vocab_size",
    "max_position_embeddings",
    "type_vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
)
_SHARED_SIZES: Final = 3
_MOST_CLASSES: Final = 100_000
_HEAD: Final = "classifier."
_POOLER: Final = "pooler."
_BUFFERS: Final = ("embeddings.position_ids", "embeddings.token_type_ids")
_ENCODER: Final = ("embeddings.", "encoder.", "layers.", "transforms.", _POOLER)


@dataclass(frozen=True)
class Checkpoint:
    """A model's folder whose parts agree with one another.

    Attributes:
        folder: the folder.
        family: `flexibert` or `bert`.
        architecture: as FlexiBERT sees it.
        vocab_size: rows of the word embeddings.
        positions: the longest sequence.
        token_types: number of token types.
        classes: names of the classes that its classifier tells apart, in their order; None where
            it has no classifier.
    """

    folder: Path
    family: str
    architecture: Architecture
    vocab_size: int
    positions: int
    token_types: int
    classes: tuple[str, ...] | None


def read_checkpoint(folder: str | os.PathLike[str]) -> Checkpoint:
    """The model in a local folder, from `config.json` and the heads of its weights alone.

    Raises:
        CheckpointError: no model, one of another family or with code of its own, quantised
            weights, or weights that are absent, cut off, a pointer, or not what `config.json`
            says; one sentence that names the folder.

    Example:
        >>> import tempfile
        >>> from edgetran.models import FlexiBertConfig, FlexiBertModel, read_checkpoint
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     FlexiBertModel(FlexiBertConfig(vocab_size=100)).save_pretrained(folder)
        ...     read_checkpoint(folder).vocab_size
        100
    """
    folder = Path(folder)
    if not folder.is_dir():
        found = "is not a folder" if folder.exists() else "does not exist"
        raise CheckpointError(f"{folder} {found}; allowed is the folder of a model")
    if (folder / "adapter_config.json").exists() and not (folder / "config.json").exists():
        raise CheckpointError(
            f"{folder} holds an adapter; allowed is a whole model, merged with it"
        )
    data = read_json(folder / "config.json", folder)
    _refuse_foreign(data, folder)
    heads = read_tensor_heads(folder)
    config = _config(data, heads, folder)
    names = _weights(config, _plain_names(heads), _is_classifier(data), folder)
    has_head = any(name.startswith(_HEAD) for name in names)
    return Checkpoint(
        folder=folder,
        family=config.model_type,
        architecture=_architecture(config),
        vocab_size=config.vocab_size,
        positions=config.max_position_embeddings,
        token_types=config.type_vocab_size,
        classes=tuple(str(config.id2label[i]) for i in range(config.num_labels))
        if has_head
        else None,
    )


def _refuse_foreign(data: Mapping[str, Any], folder: Path) -> None:
    """Refuse what is not a plain model of the two families."""
    family = data.get("model_type")
    if family not in (BERT, FLEXIBERT):
        found = "without model_type" if family is None else f"of the family {str(family)[:60]!r}"
        raise CheckpointError(f"{folder} holds a model {found}; allowed are {_FAMILIES}")
    if data.get("auto_map"):
        raise CheckpointError(
            f"{folder}: config.json asks for code of its own (auto_map), which is never run; "
            f"allowed are the families {_FAMILIES} as transformers has them"
        )
    if data.get("quantization_config"):
        method = data["quantization_config"]
        method = method.get("quant_method") if isinstance(method, Mapping) else None
        raise CheckpointError(
            f"{folder} is quantised ({str(method or 'quantization_config')[:40]}); allowed are "
            "weights in float32, float16 or bfloat16"
        )
    for name in ("is_decoder", "add_cross_attention"):
        if data.get(name):
            raise CheckpointError(f"{folder}: config.json has {name}: true; allowed are encoders")
    positions = data.get("position_embedding_type") or "absolute"
    if family == BERT and positions != "absolute":
        raise CheckpointError(
            f"{folder}: config.json has position_embedding_type {str(positions)[:40]!r}; allowed "
            "is 'absolute'"
        )


def _config(data: dict[str, Any], heads: Mapping[str, TensorHead], folder: Path) -> Any:
    """The configuration as an object, its sizes checked before anything is made of them."""
    bert = data["model_type"] == BERT
    for name in _SIZES if bert else _SIZES[:_SHARED_SIZES]:
        value = data.get(name, 1)
        if type(value) is not int or not 1 <= value < 2**31:
            raise CheckpointError(
                f"{folder}: config.json has {name} {str(value)[:40]}; allowed is a positive "
                "whole number"
            )
    count = data.get("num_labels", 2)
    if type(count) is not int or not 1 <= count <= _MOST_CLASSES:
        raise CheckpointError(
            f"{folder}: config.json has num_labels {str(count)[:40]}; allowed is 1 to "
            f"{_MOST_CLASSES:,}"
        )
    layers = data.get("num_hidden_layers", 1) if bert else 1
    if layers > len(heads):
        raise CheckpointError(
            f"{folder}: config.json has num_hidden_layers {layers}, and the weights hold "
            f"{len(heads)} tensors; allowed is the number of layers that they hold"
        )
    if data.get("hidden_act", "gelu") not in ACT2FN:
        raise CheckpointError(
            f"{folder}: config.json has hidden_act {str(data['hidden_act'])[:40]!r}; allowed are "
            "'gelu' and the other activations that transformers knows"
        )
    try:
        config: Any = (BertConfig if bert else FlexiBertConfig).from_dict(data)
        labels = {int(index): name for index, name in config.id2label.items()}
        if sorted(labels) != list(range(config.num_labels)):
            raise ValueError("id2label does not number its classes from 0 on")
        if bert and config.hidden_size % config.num_attention_heads:
            raise ValueError(
                f"hidden_size {config.hidden_size} is no multiple of num_attention_heads "
                f"{config.num_attention_heads}"
            )
        if _architecture(config).num_layers > len(heads):
            raise ValueError(f"more layers than the {len(heads)} tensors that the weights hold")
    except Exception as error:  # noqa: BLE001 - transformers raises many kinds
        said = (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
        raise CheckpointError(f"{folder}: config.json: {said[:300]}") from None
    return config


def _architecture(config: Any) -> Architecture:
    if isinstance(config, FlexiBertConfig):
        return config.to_architecture()
    return Architecture.homogeneous(
        num_layers=config.num_hidden_layers,
        hidden_size=config.hidden_size,
        num_heads=config.num_attention_heads,
        feed_forward=[config.intermediate_size],
    )


def _is_classifier(data: Mapping[str, Any]) -> bool:
    """Whether config.json says that the model is a classifier of sequences."""
    kinds = data.get("architectures") or ()
    return isinstance(kinds, list) and any(
        str(kind).endswith("ForSequenceClassification") for kind in kinds
    )


def _plain_names(heads: Mapping[str, TensorHead]) -> dict[str, TensorHead]:
    """Names without the encoder's prefix, and in today's words."""
    plain = {}
    for name, head in heads.items():
        short = name.removeprefix("bert.").removeprefix("flexibert.")
        if short.endswith(("LayerNorm.gamma", "LayerNorm.beta")):
            short = short.removesuffix("gamma").removesuffix("beta")
            short += "weight" if name.endswith("gamma") else "bias"
        plain[short] = head
    return plain


def _weights(
    config: Any, found: Mapping[str, TensorHead], classifier: bool, folder: Path
) -> set[str]:
    """Names of the tensors that are used.

    Raises:
        CheckpointError: they are not those of the configuration.
    """
    expected = _expected(config, folder)
    if not any(name in found for name in expected if name.startswith("embeddings.")):
        raise CheckpointError(
            f"{folder}: the weights are not those of a {config.model_type} model: they hold "
            f"{', '.join(sorted(found)[:1]) or 'no tensor'}; allowed is an encoder"
        )
    wanted = {
        name
        for name in expected
        if not name.startswith((_HEAD, _POOLER))
        or classifier
        or (name.startswith(_POOLER) and any(other.startswith(_POOLER) for other in found))
    }
    missing = sorted(wanted - set(found))
    if missing:
        raise CheckpointError(
            f"{folder}: the weights lack {len(missing)} of the {len(wanted)} tensors that "
            f"config.json asks for, such as {missing[0]}; allowed are all of them"
        )
    for name in sorted(wanted):
        head = found[name]
        if head.shape != expected[name]:
            raise CheckpointError(
                f"{folder}: config.json and the weights disagree: {name} has the shape "
                f"{list(head.shape)}, and config.json says {list(expected[name])}"
            )
        if head.dtype not in _FLOATS:
            raise CheckpointError(
                f"{folder} is quantised: {name} is in {head.dtype}; allowed are weights in "
                "float32, float16 or bfloat16"
            )
    strange = sorted(
        name
        for name in set(found) - set(expected)
        if name.startswith(_ENCODER) and name not in _BUFFERS
    )
    if strange:
        raise CheckpointError(
            f"{folder}: the weights hold {len(strange)} tensors that config.json has no place "
            f"for, such as {strange[0]}; allowed are those of the model that it describes"
        )
    return wanted


def _expected(config: Any, folder: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a classifier of that configuration, without memory for its weights."""
    kind: Any = FlexiBertForSequenceClassification
    if not isinstance(config, FlexiBertConfig):
        kind = BertForSequenceClassification
    try:
        with torch.device("meta"):
            model: PreTrainedModel = kind(config)
    except (RuntimeError, OverflowError, MemoryError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{folder}: config.json has sizes of no model ({said})") from None
    prefix = f"{model.base_model_prefix}."
    return {
        name.removeprefix(prefix): tuple(value.shape) for name, value in model.state_dict().items()
    }
