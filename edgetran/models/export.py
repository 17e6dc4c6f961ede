"""Export to ONNX: any FlexiBERT, dynamic batch and length, standard operators only."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from edgetran.models.heads import BLOCK
from edgetran.models.modeling import FlexiBertModel, FlexiBertPreTrainedModel

INPUT_NAMES = ("input_ids", "attention_mask", "token_type_ids")
DEFAULT_OPSET = 20
EXAMPLE_LENGTH = 3 * BLOCK + 1
"""Several blocks, the last one not full, not all positions: an ordinary length."""


class _Exported(nn.Module):
    """A model as a function of three tensors."""

    def __init__(self, model: FlexiBertPreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor
    ) -> tuple[Tensor, ...]:
        outputs = self.model(input_ids, attention_mask, token_type_ids, return_dict=True)
        if isinstance(self.model, FlexiBertModel):
            pooled = outputs.pooler_output
            return (outputs.last_hidden_state,) + (() if pooled is None else (pooled,))
        return (outputs.logits,)


def export_onnx(
    model: FlexiBertPreTrainedModel, path: str | os.PathLike[str], *, opset: int = DEFAULT_OPSET
) -> Path:
    """Write a model as ONNX.

    Inputs are `input_ids`, `attention_mask` and `token_type_ids`, int64 of shape (batch, length),
    length up to the model's positions. The output is `logits`; for `FlexiBertModel`
    `last_hidden_state` and, where it has a pooler, `pooler_output`.

    Args:
        model: the model; it is exported in evaluation mode and keeps its own mode.
        path: file to write; the folder must exist.
        opset: version of ONNX's operator set.

    Returns:
        The path.

    Raises:
        ImportError: when the extra is not installed: `pip install "edgetran[onnx]"`.
    """
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError('ONNX export needs onnxscript: pip install "edgetran[onnx]"') from error
    path, training = Path(path), model.training
    module = _Exported(model).eval()
    shape = 2, max(2, min(EXAMPLE_LENGTH, model.config.max_position_embeddings - 1))
    inputs = [torch.full(shape, value, device=model.device) for value in (0, 1, 0)]
    outputs = ["logits"]
    if isinstance(model, FlexiBertModel):
        outputs = ["last_hidden_state"] + ["pooler_output"] * (model.pooler is not None)
    try:
        with _quiet():
            program = torch.onnx.export(
                module,
                tuple(inputs),
                input_names=list(INPUT_NAMES),
                output_names=outputs,
                dynamic_shapes=({0: "batch", 1: "length"},) * len(inputs),
                opset_version=opset,
                dynamo=True,
                verbose=False,
            )
            assert program is not None  # noqa: S101 — with dynamo there is one
            program.save(path)
    finally:
        model.train(training)
    return path


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress from the console; what fails raises."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
