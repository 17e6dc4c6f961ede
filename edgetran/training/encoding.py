"""A task as token ids, tokenised once, and the batches that training and evaluation draw from it.

Texts of similar length share a batch, which is padded to its own longest text only: on a CPU the
time of a step follows the number of tokens, padding included.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from edgetran.training.task import Example, Task, TaskError

_BUCKET_BATCHES = 32
"""Batches that are sorted by length together: enough to save padding, few enough to stay random."""

_NO_LABEL = np.nan


@dataclass(frozen=True)
class Batch:
    """One padded batch.

    Attributes:
        input_ids: (B, S) int64.
        attention_mask: (B, S) int64, 0 at padding.
        token_type_ids: (B, S) int64, 1 in the second text of a pair.
        labels: (B,) int64 classes, or float32 numbers for regression.
        positions: (B,) places of the examples in their split.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    token_type_ids: torch.Tensor
    labels: torch.Tensor
    positions: torch.Tensor

    def inputs(self, device: torch.device) -> dict[str, torch.Tensor]:
        """The model's keyword arguments, on `device`."""
        return {
            "input_ids": self.input_ids.to(device),
            "attention_mask": self.attention_mask.to(device),
            "token_type_ids": self.token_type_ids.to(device),
        }


@dataclass(frozen=True)
class EncodedSplit:
    """The token ids of one part, one after another.

    Attributes:
        ids: (T,) int32, all examples' tokens.
        types: (T,) int8, their token types.
        starts: (n + 1,) where each example begins; the last entry is T.
        labels: (n,) float64, NaN where the label is hidden.
    """

    ids: np.ndarray
    types: np.ndarray
    starts: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> np.ndarray:
        """(n,) number of tokens of each example."""
        return np.diff(self.starts)

    @property
    def is_labelled(self) -> bool:
        """Whether every label is known."""
        return not bool(np.isnan(self.labels).any())


@dataclass(frozen=True)
class EncodedTask:
    """A task tokenised with one tokenizer and one length limit.

    Attributes:
        task: the task as loaded.
        tokenizer: what encoded it, saved beside models that are trained on it.
        max_length: the limit to which texts were cut.
        splits: every part by name.
    """

    task: Task
    tokenizer: PreTrainedTokenizerBase
    max_length: int
    splits: Mapping[str, EncodedSplit]

    @property
    def vocab_size(self) -> int:
        """Number of rows that a word embedding for these ids needs."""
        return len(self.tokenizer)

    def split(self, name: str) -> EncodedSplit:
        """One part.

        Raises:
            TaskError: the task has no part of that name.
        """
        if name not in self.splits:
            raise TaskError(f"{self.task.name}: no split {name!r}; it has {', '.join(self.splits)}")
        return self.splits[name]

    def batch(self, split: str, positions: np.ndarray) -> Batch:
        """The examples at `positions` (B,) of a part, padded to the longest of them."""
        part = self.split(split)
        longest = int(part.lengths[positions].max())
        ids = np.full((len(positions), longest), self.tokenizer.pad_token_id, dtype=np.int64)
        mask, types = np.zeros_like(ids), np.zeros_like(ids)
        for row, position in enumerate(positions):
            start, end = part.starts[position], part.starts[position + 1]
            ids[row, : end - start] = part.ids[start:end]
            types[row, : end - start] = part.types[start:end]
            mask[row, : end - start] = 1
        labels = torch.from_numpy(np.nan_to_num(part.labels[positions]))
        return Batch(
            input_ids=torch.from_numpy(ids),
            attention_mask=torch.from_numpy(mask),
            token_type_ids=torch.from_numpy(types),
            labels=labels.float() if self.task.is_regression else labels.long(),
            positions=torch.from_numpy(np.asarray(positions, dtype=np.int64)),
        )

    def ordered_batches(self, split: str, batch_size: int) -> Iterator[Batch]:
        """Every example of a part once, shortest first."""
        order = np.argsort(self.split(split).lengths, kind="stable")
        for start in range(0, len(order), batch_size):
            yield self.batch(split, order[start : start + batch_size])


def encode_task(task: Task, tokenizer: PreTrainedTokenizerBase, max_length: int) -> EncodedTask:
    """Tokenise every part of a task; texts are cut to `max_length`, the longer of a pair first.

    Raises:
        TaskError: `max_length` leaves no room for a word.
    """
    least = 3 if all(example.text2 is None for example in task.train) else 5
    if max_length < least:
        raise TaskError(f"maxLength: {max_length} leaves no room for text; at least {least}")
    splits = {
        name: _encode(examples, tokenizer, max_length) for name, examples in task.splits().items()
    }
    return EncodedTask(task, tokenizer, max_length, splits)


def epoch_batches(
    lengths: np.ndarray, batch_size: int, *, seed: int, epoch: int
) -> list[np.ndarray]:
    """Positions of the examples of each batch of one epoch; a function of its arguments alone.

    Examples are shuffled, then sorted by length within groups of batches, then the batches are
    shuffled. Every example is in exactly one batch.

    Args:
        lengths: (n,) tokens of each example.
        batch_size: examples per batch; the last may be smaller.
        seed: of the run.
        epoch: counts from 0.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))
    batches: list[np.ndarray] = []
    bucket = batch_size * _BUCKET_BATCHES
    for start in range(0, len(order), bucket):
        group = order[start : start + bucket]
        group = group[np.argsort(lengths[group], kind="stable")]
        batches += [group[i : i + batch_size] for i in range(0, len(group), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def _encode(
    examples: tuple[Example, ...], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> EncodedSplit:
    labels = np.array([_NO_LABEL if e.label is None else float(e.label) for e in examples])
    if not examples:
        return EncodedSplit(np.zeros(0, np.int32), np.zeros(0, np.int8), np.zeros(1, int), labels)
    pairs = any(example.text2 is not None for example in examples)
    encoded = tokenizer(
        [example.text for example in examples],
        [example.text2 or "" for example in examples] if pairs else None,
        truncation=True,
        max_length=max_length,
        padding=False,
        return_attention_mask=False,
        return_token_type_ids=True,
    )
    lengths = [len(ids) for ids in encoded["input_ids"]]
    return EncodedSplit(
        ids=np.concatenate([np.array(ids, np.int32) for ids in encoded["input_ids"]]),
        types=np.concatenate([np.array(ids, np.int8) for ids in encoded["token_type_ids"]]),
        starts=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        labels=labels,
    )
