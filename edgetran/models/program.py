"""Export as torch's exported program: what the tools of other formats begin with."""

from __future__ import annotations

import copy
import os
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from edgetran.models.modeling import FlexiBertAttention, FlexiBertForSequenceClassification


@torch.no_grad()
def export_program(
    model: FlexiBertForSequenceClassification, path: str | os.PathLike[str], length: int
) -> Path:
    """Write a classifier as an exported program (`.pt2`) of one text of `length` tokens.

    Inputs are `input_ids`, `attention_mask` and `token_type_ids`, int64 of shape (1, length); the
    output is the logits (1, num_labels). Every head type is made of products, sums and softmaxes
    of real numbers; the transforms of `l` heads are products with constant matrices too.

    Args:
        model: the model; it is written as in evaluation mode and left as it is.
        path: file to write; the folder must exist.
        length: tokens of a text, padding included; at most the model's positions.

    Returns:
        The path.
    """
    given = {
        "input_ids": torch.zeros(1, length, dtype=torch.int64),
        "attention_mask": torch.ones(1, length, dtype=torch.int64),
        "token_type_ids": torch.zeros(1, length, dtype=torch.int64),
    }
    given["attention_mask"][0, -1] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own parts that it will replace
        program = torch.export.export(_Logits(model, length).eval(), (), given)
        torch.export.save(program, path)
    return Path(path)


class _Logits(nn.Module):
    """A copy that takes what is in the program and gives the logits alone."""

    def __init__(self, model: FlexiBertForSequenceClassification, length: int) -> None:
        super().__init__()
        self.model = copy.deepcopy(model)
        for module in self.model.modules():
            if isinstance(module, FlexiBertAttention) and module.num_scores:
                _fold_weighting(module)
        transforms = self.model.flexibert.transforms
        for name in ("dft", "dct"):
            if hasattr(transforms, name):  # all of the matrices would be written
                part = getattr(transforms, name)[..., :length, :length]
                setattr(transforms, name, part.contiguous())

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        logits = self.model(input_ids, attention_mask, token_type_ids).logits
        assert isinstance(logits, Tensor)  # noqa: S101 - no labels, so no loss
        return logits


def _fold_weighting(attention: FlexiBertAttention) -> None:
    """Put W of `sa_wma` heads into the projection of their queries: (x·Q + b)·W = x·(Q·W) + b·W.

    LiteRT's converter cannot lower the batched product with W.
    """
    scores, dim = attention.scores, attention.head_dim
    if not scores.weighted:
        return
    rows, bias = attention.query_key_value.weight, attention.query_key_value.bias
    for index, weighting in enumerate(scores.weighting, start=scores.num_sdp):
        head = slice(index * dim, (index + 1) * dim)
        rows[head] = weighting.T @ rows[head]
        bias[head] = bias[head] @ weighting
    scores.weighted = False
