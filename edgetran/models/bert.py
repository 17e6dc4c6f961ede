"""BERT in, BERT out: a BERT checkpoint is the FlexiBERT whose heads are all `sa_sdp`."""

from __future__ import annotations

import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    BertPreTrainedModel,
    PreTrainedModel,
)

from edgetran.models.config import FlexiBertConfig
from edgetran.models.modeling import (
    FlexiBertForMaskedLM,
    FlexiBertForSequenceClassification,
    FlexiBertModel,
    FlexiBertPreTrainedModel,
)
from edgetran.space import Architecture, Layer

_COUNTERPARTS: dict[type[BertPreTrainedModel], type[FlexiBertPreTrainedModel]] = {
    BertModel: FlexiBertModel,
    BertForSequenceClassification: FlexiBertForSequenceClassification,
    BertForMaskedLM: FlexiBertForMaskedLM,
}
_SHARED_SETTINGS = (
    "vocab_size",
    "max_position_embeddings",
    "type_vocab_size",
    "hidden_act",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "classifier_dropout",
    "initializer_range",
    "layer_norm_eps",
    "pad_token_id",
    "tie_word_embeddings",
    "problem_type",
    "id2label",
    "label2id",
)
_LAYER_NAMES = {
    "attention.output": "attention.output.dense",
    "attention.LayerNorm": "attention.output.LayerNorm",
    "feed_forward.dense.0": "intermediate.dense",
    "feed_forward.dense.1": "output.dense",
    "feed_forward.LayerNorm": "output.LayerNorm",
}
_MASKED_LM_NAMES = {
    "head.dense": "cls.predictions.transform.dense",
    "head.LayerNorm": "cls.predictions.transform.LayerNorm",
    "head.decoder": "cls.predictions.decoder",
}


class BertConversionError(ValueError):
    """A model that has no counterpart in the other family; the message says why."""


def from_bert(model: PreTrainedModel) -> FlexiBertPreTrainedModel:
    """The FlexiBERT that computes what a BERT does.

    Args:
        model: `BertModel`, `BertForSequenceClassification` or `BertForMaskedLM` of any shape
            (`bert-*`, MiniLM, …), for example from `BertModel.from_pretrained(folder)`.

    Returns:
        `FlexiBertModel` or the top of the same kind, in the model's dtype and training mode.

    Raises:
        BertConversionError: for a model of another family or kind, and for a decoder.

    Example:
        >>> from transformers import BertConfig, BertModel
        >>> from edgetran.models import from_bert
        >>> bert = BertModel(BertConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        ...                             intermediate_size=64, vocab_size=100))
        >>> from_bert(bert).config.to_architecture().layers[0].head_ops
        ('sa_sdp_16', 'sa_sdp_16')
    """
    config = model.config
    target = next((flexi for bert, flexi in _COUNTERPARTS.items() if type(model) is bert), None)
    if target is None or not isinstance(config, BertConfig):
        raise BertConversionError(
            f"model: {type(model).__name__} of the family {config.model_type!r} given, allowed are "
            f"{', '.join(kind.__name__ for kind in _COUNTERPARTS)}"
        )
    if config.is_decoder or config.add_cross_attention:
        raise BertConversionError("model: a decoder given, allowed are encoders")
    positions = getattr(config, "position_embedding_type", None) or "absolute"
    if positions != "absolute":
        raise BertConversionError(
            f"position_embedding_type: {positions!r} given, allowed is 'absolute'"
        )
    architecture = Architecture.homogeneous(
        num_layers=config.num_hidden_layers,
        hidden_size=config.hidden_size,
        num_heads=config.num_attention_heads,
        feed_forward=[config.intermediate_size],
    )
    settings = {name: getattr(config, name) for name in _SHARED_SETTINGS}
    pooled = {} if target is not FlexiBertModel else {"add_pooling_layer": model.pooler is not None}
    result = target(FlexiBertConfig.from_architecture(architecture, **settings), **pooled)
    torch.nn.Module.to(result, device=model.device, dtype=model.dtype)
    _copy_all(model, result, to_bert=False)
    result.train(model.training)
    return result


def to_bert(model: FlexiBertPreTrainedModel) -> BertPreTrainedModel:
    """The BERT that computes what a homogeneous FlexiBERT does.

    Args:
        model: a FlexiBERT whose layers are all equal, with `sa_sdp` heads only, n·d = h, one
            feed-forward width and absolute positions.

    Returns:
        `BertModel`, `BertForSequenceClassification` or `BertForMaskedLM`.

    Raises:
        BertConversionError: for an architecture that BERT cannot express, saying where.
    """
    config = model.config
    layer = _homogeneous_layer(config.to_architecture())
    if config.position_embedding_type != "absolute":
        raise BertConversionError(
            f"position_embedding_type: {config.position_embedding_type!r} given, allowed is "
            "'absolute'"
        )
    source = next((bert for bert, flexi in _COUNTERPARTS.items() if type(model) is flexi), None)
    if source is None:
        raise BertConversionError(f"model: {type(model).__name__} has no counterpart in BERT")
    bert_config = BertConfig(
        hidden_size=layer.hidden_size,
        num_hidden_layers=config.num_hidden_layers,
        num_attention_heads=layer.num_heads,
        intermediate_size=layer.feed_forward[0],
        **{name: getattr(config, name) for name in _SHARED_SETTINGS},
    )
    pooled = {} if source is not BertModel else {"add_pooling_layer": model.pooler is not None}
    result = source(bert_config, **pooled)
    torch.nn.Module.to(result, device=model.device, dtype=model.dtype)
    _copy_all(result, model, to_bert=True)
    result.train(model.training)
    return result


def _homogeneous_layer(architecture: Architecture) -> Layer:
    first = architecture.layers[0]
    for i, layer in enumerate(architecture.layers):
        other = next((head for head in layer.head_types if head != "sa_sdp"), None)
        reason = None
        if other:
            reason = f"o[{i}]: a head {other} given, allowed is sa_sdp"
        elif len(layer.feed_forward) > 1:
            reason = f"f[{i}]: {list(layer.feed_forward)} given, allowed is one width"
        elif layer.inner_size != layer.hidden_size:
            reason = (
                f"o[{i}]: {layer.num_heads} heads of dimension {layer.head_dim} given, allowed is "
                f"a product equal to the hidden size {layer.hidden_size}"
            )
        elif layer != first:
            reason = f"layer {i} differs from layer 0; BERT's layers are all equal"
        if reason:
            raise BertConversionError(reason)
    return first


@torch.no_grad()
def _copy_all(bert: PreTrainedModel, flexibert: FlexiBertPreTrainedModel, *, to_bert: bool) -> None:
    """Copy every parameter one way or the other."""
    ours, theirs = (
        dict(model.named_parameters(remove_duplicate=False)) for model in (flexibert, bert)
    )
    for name, parameter in ours.items():
        parts = [theirs[other] for other in _bert_names(name)]
        for part, piece in zip(parts, parameter.chunk(len(parts)), strict=True):
            target, source = (part, piece) if to_bert else (piece, part)
            target.copy_(source)


def _bert_names(name: str) -> list[str]:
    """Names of the BERT parameters that, one above the other, are a FlexiBERT parameter."""
    prefix, _, rest = name.rpartition("flexibert.")
    prefix = "bert." if prefix or name.startswith("flexibert.") else ""
    module, _, kind = rest.rpartition(".")
    if module.startswith("layers."):
        _, index, part = module.split(".", 2)
        layer = f"{prefix}encoder.layer.{index}."
        if part == "attention.query_key_value":
            names = [f"{layer}attention.self.{p}" for p in ("query", "key", "value")]
        else:
            names = [layer + _LAYER_NAMES[part]]
    elif module == "pooler":
        names = [f"{prefix}pooler.dense"]
    else:
        names = [prefix + _MASKED_LM_NAMES.get(module, module)]
    return [f"{module}.{kind}" for module in names]
