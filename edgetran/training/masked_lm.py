"""Masked-LM steps on a task's own training texts, before fine-tuning.

Source: BERT (arXiv 1810.04805, 3.1) with dynamic masking (RoBERTa, arXiv 1907.11692).
"""

from __future__ import annotations

import torch
from torch import nn
from transformers import AutoModelForMaskedLM, PreTrainedModel, PreTrainedTokenizerBase

from edgetran.training.encoding import Batch

_NOT_PREDICTED = -100
"""The label that cross-entropy leaves out."""


def masked_lm_model(model: PreTrainedModel) -> PreTrainedModel:
    """A masked-LM model around the very encoder of `model`: training one trains the other."""
    top: PreTrainedModel = AutoModelForMaskedLM.from_config(model.config)
    setattr(top, top.base_model_prefix, model.base_model)
    top.tie_weights()
    nn.Module.to(top, next(model.parameters()).device)
    return top


def mask_tokens(
    batch: Batch,
    tokenizer: PreTrainedTokenizerBase,
    probability: float,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Hide tokens and say which to predict.

    Of the chosen tokens 80 % become [MASK], 10 % a random token and 10 % stay. Special tokens are
    never chosen.

    Args:
        batch: what to hide tokens of, (B, S).
        tokenizer: gives the special tokens.
        probability: of a token to be chosen.
        generator: drawn from; on the CPU.

    Returns:
        Input ids (B, S) and labels (B, S), −100 where nothing is predicted.
    """
    ids = batch.input_ids
    special = torch.isin(ids, torch.tensor(tokenizer.all_special_ids))
    draws = torch.rand(ids.shape, generator=generator)
    chosen = (draws < probability) & ~special
    fate = torch.rand(ids.shape, generator=generator)
    random_ids = torch.randint(len(tokenizer), ids.shape, generator=generator)
    hidden = torch.where(fate < 0.8, torch.full_like(ids, _mask_id(tokenizer)), ids)
    hidden = torch.where(fate >= 0.9, random_ids, hidden)
    return torch.where(chosen, hidden, ids), torch.where(chosen, ids, _NOT_PREDICTED)


def masked_lm_loss(
    model: nn.Module, batch: Batch, ids: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy of the hidden tokens; zero, with a gradient, where none is hidden."""
    device = next(model.parameters()).device
    inputs = batch.inputs(device) | {"input_ids": ids.to(device)}
    logits: torch.Tensor = model(**inputs).logits.float()
    chosen = labels.to(device) != _NOT_PREDICTED
    if not chosen.any():
        return logits.sum() * 0.0
    return nn.functional.cross_entropy(logits[chosen], labels.to(device)[chosen])


def _mask_id(tokenizer: PreTrainedTokenizerBase) -> int:
    if tokenizer.mask_token_id is None:
        raise ValueError("mlm_steps: the tokenizer has no mask token; masked-LM steps need one")
    return int(tokenizer.mask_token_id)
