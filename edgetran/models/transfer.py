"""Weight transfer from a trained model to a new one (arXiv 2205.11656, section 3.4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from edgetran.models.alignment import Alignment, align, matching
from edgetran.models.blocks import (
    Axis,
    Block,
    connection_blocks,
    embedding_blocks,
    encoder_blocks,
    whole,
)
from edgetran.models.growth import GrowthError, align_growth, contain_parent
from edgetran.models.modeling import (
    FlexiBertForMaskedLM,
    FlexiBertForSequenceClassification,
    FlexiBertPreTrainedModel,
)
from edgetran.space import Architecture, parameter_count

Method = Literal["ordered", "projection"]


class TransferError(ValueError):
    """A transfer that was asked for wrongly; the message says what is allowed."""


@dataclass(frozen=True)
class TransferReport:
    """What a transfer did.

    Attributes:
        parameters_taken: the child's parameters that the parent determines.
        parameters_total: all parameters of the child.
        function_preserved: whether the child computes what the parent does (to rounding);
            None where that was not asked for.
        obstacle: why the function was not preserved, where that was asked for.
        alignment: what corresponds to what.
    """

    parameters_taken: int
    parameters_total: int
    function_preserved: bool | None
    obstacle: str | None
    alignment: Alignment

    @property
    def ratio(self) -> float:
        """Parameters taken over ÷ all parameters."""
        return self.parameters_taken / self.parameters_total


def predicted_transfer_ratio(
    parent: Architecture,
    child: Architecture,
    *,
    vocab_size: int = 30522,
    max_positions: int = 512,
    num_labels: int = 2,
) -> float:
    """The ratio that an `ordered` transfer between sequence classifiers would report.

    No model is built. Both have the same vocabulary, positions and labels.
    """
    rows = {
        "word_embeddings": (vocab_size, vocab_size),
        "token_type_embeddings": (2, 2),
        "position_embeddings": (max_positions, max_positions),
    }
    alignment = align(parent, child)
    taken = sum(
        matching(parent.layers[aligned.parent], layer)[0]
        for layer, aligned in zip(child.layers, alignment.layers, strict=True)
        if aligned.parent is not None
    )
    taken += sum(
        block.taken(False)
        for blocks in (
            embedding_blocks(parent, child, rows),
            connection_blocks(parent, child, alignment),
            _classifier_blocks(parent, child, (num_labels, num_labels)),
        )
        for block in blocks
    )
    return taken / parameter_count(
        child, vocab_size=vocab_size, max_positions=max_positions, num_labels=num_labels
    )


def transfer_weights(
    parent_model: FlexiBertPreTrainedModel,
    child_model: FlexiBertPreTrainedModel,
    *,
    method: Method = "ordered",
    preserve_function: bool = False,
    seed: int = 0,
) -> TransferReport:
    """Copy into a new model what corresponds in a trained one; the rest keeps its initial values.

    Embeddings, LayerNorms, heads with all that belongs to them, feed-forward matrices,
    hidden-size projections, the pooler and a top of the same kind are carried over.

    Args:
        parent_model: the trained model.
        child_model: the new model, changed in place.
        method: where sizes differ, `ordered` takes the overlapping block and `projection` a
            seeded random projection (orthonormal, one per pair of sizes, so that all matrices
            which read or write a space agree on it).
        preserve_function: whether a child that is a grown parent (more heads, wider or more
            feed-forwards, more layers) shall compute exactly what the parent does. Where it
            cannot, the transfer is an ordinary one and the report says why.
        seed: of the projections.

    Returns:
        The report. `ratio` counts a parameter once, tied ones too.

    Raises:
        TransferError: for an unknown method.

    Example:
        >>> from edgetran.models import FlexiBertConfig, FlexiBertModel, transfer_weights
        >>> parent = FlexiBertModel(FlexiBertConfig(vocab_size=100))
        >>> transfer_weights(parent, FlexiBertModel(parent.config)).ratio
        1.0
    """
    if method not in ("ordered", "projection"):
        raise TransferError(f"method: {method!r} given, allowed are 'ordered' and 'projection'")
    parent, child = (m.config.to_architecture() for m in (parent_model, child_model))
    preserved, obstacle = None, None
    alignment = align(parent, child)
    if preserve_function:
        try:
            alignment = align_growth(parent_model, child_model)
            preserved = True
        except GrowthError as error:
            preserved, obstacle = False, str(error)
    project = method == "projection"
    ours, theirs = _parameters(child_model), _parameters(parent_model)
    projections = _Projections(seed)
    taken = 0
    with torch.no_grad():
        for block in _blocks(parent_model, child_model, alignment):
            if block.child in ours and block.parent in theirs:
                _copy(block, theirs[block.parent], ours[block.child], projections, project)
                taken += block.taken(project)
        if preserved:
            contain_parent(parent_model, child_model, alignment)
    total = sum(parameter.numel() for parameter in child_model.parameters())
    return TransferReport(taken, total, preserved, obstacle, alignment)


def _parameters(model: FlexiBertPreTrainedModel) -> dict[str, Tensor]:
    """Parameters by name, those of the base model without its prefix; a tied one once."""
    prefix = f"{model.base_model_prefix}."
    return {name.removeprefix(prefix): value for name, value in model.named_parameters()}


def _blocks(
    parent_model: FlexiBertPreTrainedModel,
    child_model: FlexiBertPreTrainedModel,
    alignment: Alignment,
) -> Iterator[Block]:
    ours, theirs = child_model.config, parent_model.config
    parent, child = theirs.to_architecture(), ours.to_architecture()
    rows = {
        "word_embeddings": (ours.vocab_size, theirs.vocab_size),
        "token_type_embeddings": (ours.type_vocab_size, theirs.type_vocab_size),
        "position_embeddings": (ours.max_position_embeddings, theirs.max_position_embeddings),
    }
    yield from embedding_blocks(parent, child, rows)
    yield from encoder_blocks(parent, child, alignment)
    yield from connection_blocks(parent, child, alignment)
    yield from _distance_blocks(parent_model, child_model, alignment)
    models = child_model, parent_model
    if all(isinstance(model, FlexiBertForSequenceClassification) for model in models):
        labels = ours.num_labels or 1, theirs.num_labels or 1
        yield from _classifier_blocks(parent, child, labels)
    if all(isinstance(model, FlexiBertForMaskedLM) for model in models):
        yield from _masked_lm_blocks(parent, child, rows["word_embeddings"])


def _classifier_blocks(
    parent: Architecture, child: Architecture, labels: tuple[int, int]
) -> Iterator[Block]:
    width = whole("hidden", child.layers[-1].hidden_size, parent.layers[-1].hidden_size)
    name = "classifier"
    yield Block(f"{name}.weight", f"{name}.weight", (whole("fixed", *labels), width))
    yield Block(f"{name}.bias", f"{name}.bias", (whole("fixed", *labels),))


def _masked_lm_blocks(
    parent: Architecture, child: Architecture, words: tuple[int, int]
) -> Iterator[Block]:
    first, last = (
        whole("hidden", child.layers[i].hidden_size, parent.layers[i].hidden_size) for i in (0, -1)
    )
    tokens = whole("fixed", *words)
    for name, axes in {
        "dense.weight": (first, last),
        "dense.bias": (first,),
        "LayerNorm.weight": (first,),
        "LayerNorm.bias": (first,),
        "decoder.weight": (tokens, first),  # absent where it is tied to the word embeddings
        "decoder.bias": (tokens,),
    }.items():
        yield Block(f"head.{name}", f"head.{name}", axes, scale=name == "LayerNorm.weight")


def _distance_blocks(
    parent_model: FlexiBertPreTrainedModel,
    child_model: FlexiBertPreTrainedModel,
    alignment: Alignment,
) -> Iterator[Block]:
    """Relative positions, where both models have them: tables share the middle, distance 0."""
    ours, theirs = child_model.config, parent_model.config
    if not ours.position_embedding_type == theirs.position_embedding_type == "relative_key":
        return
    longest = ours.max_position_embeddings, theirs.max_position_embeddings
    shared = 2 * min(longest) - 1
    rows = Axis("fixed", (longest[0] - min(longest), shared), (longest[1] - min(longest), shared))
    parent, child = theirs.to_architecture(), ours.to_architecture()
    for i, aligned in enumerate(alignment.layers):
        if aligned.parent is not None:
            dim = whole("dim", child.layers[i].head_dim, parent.layers[aligned.parent].head_dim)
            name = "attention.scores.distance_embeddings"
            yield Block(f"layers.{i}.{name}", f"layers.{aligned.parent}.{name}", (rows, dim))


class _Projections:
    """Seeded random projections between spaces, one per kind and pair of sizes."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._known: dict[tuple[str, int, int], Tensor] = {}

    def __call__(self, kind: str, child: int, parent: int) -> Tensor:
        """(child, parent) with orthonormal rows or columns, whichever are fewer."""
        key = kind, child, parent
        if key not in self._known:
            order = ("hidden", "dim", "unit").index(kind)
            rng = np.random.default_rng([self._seed, order, child, parent])
            tall = rng.standard_normal((max(child, parent), min(child, parent)))
            orthonormal = np.linalg.qr(tall)[0]
            matrix = orthonormal if child >= parent else orthonormal.T
            self._known[key] = torch.from_numpy(np.ascontiguousarray(matrix))
        return self._known[key]


def _copy(
    block: Block, source: Tensor, target: Tensor, projections: _Projections, project: bool
) -> None:
    """Carry one block over: its overlap, or all of it through projections."""
    value = source[
        tuple(slice(first, first + size) for first, size in (a.parent for a in block.axes))
    ]
    view = target[
        tuple(slice(first, first + size) for first, size in (a.child for a in block.axes))
    ]
    if not project:
        overlap = tuple(slice(axis.overlap) for axis in block.axes)
        view[overlap] = value[overlap].to(view)
        return
    for index, axis in enumerate(block.axes):
        if axis.kind == "fixed" or axis.child[1] == axis.parent[1]:
            value = value.narrow(index, 0, axis.taken(True))
            view = view.narrow(index, 0, axis.taken(True))
            continue
        matrix = projections(axis.kind, axis.child[1], axis.parent[1]).to(value.device)
        if block.scale:
            # An elementwise factor is a diagonal: each new one is a mean of the old ones.
            matrix = matrix**2
            matrix = matrix / matrix.sum(1, keepdim=True)
        value = torch.movedim(torch.tensordot(matrix, value.to(matrix), ([1], [index])), 0, index)
    view.copy_(value)
