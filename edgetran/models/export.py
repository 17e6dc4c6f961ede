"""Export to ONNX: any FlexiBERT, dynamic batch and length, standard operators only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import torch

from edgetran.models.modeling import (
    FlexiBertForMaskedLM,
    FlexiBertForSequenceClassification,
    FlexiBertModel,
    FlexiBertPreTrainedModel,
)
from edgetran.models.onnx_graph import OnnxWriter, write_encoder, write_lm_head, write_pooler

_LARGEST_BYTES: Final = 2_000_000_000
"""More than protobuf's 2 GiB needs a file of its own for the weights."""


@torch.no_grad()
def export_onnx(model: FlexiBertPreTrainedModel, path: str | os.PathLike[str]) -> Path:
    """Write a model as ONNX.

    Inputs are `input_ids`, `attention_mask` and `token_type_ids`, int64 of shape (batch, length),
    length up to the model's positions. The output is `logits`; for `FlexiBertModel`
    `last_hidden_state` and, where it has a pooler, `pooler_output`.

    Args:
        model: the model; it is written as in evaluation mode and left as it is.
        path: file to write; the folder must exist.

    Returns:
        The path.

    Raises:
        ImportError: when the extra is not installed: `pip install "edgetran[onnx]"`.
        ModelConfigError: an activation that ONNX does not have.
    """
    try:
        import onnx
    except ImportError as error:
        raise ImportError('ONNX export needs onnx: pip install "edgetran[onnx]"') from error
    path = Path(path)
    writer = OnnxWriter(model.config.hidden_act)
    written = writer.model(_outputs(writer, model))
    if written.ByteSize() < _LARGEST_BYTES:
        onnx.save(written, path)
    else:
        onnx.save(written, path, save_as_external_data=True, location=f"{path.name}.data")
    return path


def _outputs(
    writer: OnnxWriter, model: FlexiBertPreTrainedModel
) -> dict[str, tuple[str, list[str | int]]]:
    """The graph's outputs by name: the tensor and its shape."""
    config = model.config
    encoder = model if isinstance(model, FlexiBertModel) else model.flexibert
    assert isinstance(encoder, FlexiBertModel)  # noqa: S101 - every top has one
    hidden = write_encoder(writer, encoder)
    if isinstance(model, FlexiBertForMaskedLM):
        logits = write_lm_head(writer, model.head, hidden)
        return {"logits": (logits, ["batch", "length", config.vocab_size])}
    pooled = write_pooler(writer, encoder, hidden)
    if isinstance(model, FlexiBertForSequenceClassification):
        assert pooled is not None  # noqa: S101 - a classifier's encoder has one
        logits = writer.linear(pooled, "classifier", model.classifier)
        return {"logits": (logits, ["batch", model.num_labels])}
    outputs: dict[str, tuple[str, list[str | int]]] = {
        "last_hidden_state": (hidden, ["batch", "length", config.hidden_size])
    }
    if pooled is not None:
        outputs["pooler_output"] = (pooled, ["batch", config.hidden_size])
    return outputs
