"""Exact costs of an architecture: multiply-accumulates, parameters, bytes moved, launches.

One forward pass of a classifier over B sequences of S positions each, P = B·S. Per layer, n heads
of dimension d, widths f_1 .. f_k. The MACs of each kind of operation (heads of FlexiBERT, arXiv
2205.11656; `c_k` of ConvBERT, arXiv 2008.02496):

    query_key_value      P · h · d · (2 (n_sa + n_c) + n), Q and K only for heads that use them
    weighted_query       P · n_wma · d²
    scaled_dot_product   2 · B · n_sa · S² · d, for Q Kᵀ and for the weights times V
    fourier_transform    B · n_dft · (2 S² d + 2 S d²), for C_S V C_d − N_S V N_d with the cosine
                         matrices C and the sine matrices N
    cosine_transform     B · n_dct · (S² d + S d²), for D_S V D_dᵀ
    dynamic_convolution  P · n_c · (2 d² + 3 k d), for the depth-wise and point-wise convolution
                         of K, the kernel, the Linear of V, and the kernel applied to it
    attention_output     P · n · d · h
    feed_forward         P · (h f_1 + f_1 f_2 + … + f_k h)
    hidden_projection    P · h_i · h_{i+1}, where they differ
    pooler, classifier   B · h² and B · h · labels, for token 0 alone

A transform of length T > S, whose input is zero past S and whose output is wanted up to S, needs
the first S rows and columns of its matrices only, so T is not in its cost. Embedding look-up,
normalisation, activation, softmax and other elementwise work move bytes and count no MACs.

MACs are those that the mathematics needs: zeros that an implementation multiplies so that heads
of different spans, or blocks of positions, become one product are not counted.

Bytes and launches are those of an eager runtime. Each launch reads its inputs and its weights
once and writes its output once; attention is fused, so its scores are never written. All `sa`
heads of a layer are one operation, as are all `c` heads; padding is masked before `l` and `c`
heads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final, NamedTuple

from edgetran.api.field_errors import invalid
from edgetran.space.architecture import HEAD_TYPES, Architecture, Layer

OPERATION_KINDS: Final = (
    "embedding",
    "query_key_value",
    "weighted_query",
    "scaled_dot_product",
    "fourier_transform",
    "cosine_transform",
    "dynamic_convolution",
    "attention_output",
    "feed_forward",
    "activation",
    "normalisation",
    "hidden_projection",
    "pooler",
    "classifier",
)
"""Every kind of operation, in the order of the forward pass."""

TOKEN_TYPES: Final = 2
_ID_BYTES: Final = 8  # token and token type ids are 64-bit integers

_CONVOLUTION_SPANS: Final = {head: int(head[2:]) for head in HEAD_TYPES if head.startswith("c_")}


class CostError(ValueError):
    """A workload that cannot be; the message says what was given and what is allowed."""


@dataclass(frozen=True, slots=True)
class Operation:
    """What all operations of one kind in one layer cost, for one forward pass of the batch.

    Attributes:
        kind: one of `OPERATION_KINDS`.
        layer: encoder layer from 0; None for embeddings, pooler and classifier.
        macs: multiply-accumulates.
        parameters: trained values that it holds.
        bytes_moved: bytes read and written.
        launches: number of kernels that an unfused runtime launches.
    """

    kind: str
    layer: int | None
    macs: int
    parameters: int
    bytes_moved: int
    launches: int


class Cost(NamedTuple):
    """An `Operation` of no place yet, whose traffic is counted in values and in ids."""

    kind: str
    macs: int
    parameters: int
    values_moved: int
    launches: int
    ids_moved: int = 0

    def bytes_moved(self, bytes_per_value: int) -> int:
        """Bytes read and written with values of this size."""
        return self.values_moved * bytes_per_value + self.ids_moved * _ID_BYTES

    def placed(self, layer: int | None, bytes_per_value: int) -> Operation:
        """The operation in an encoder layer, or outside all."""
        moved = self.bytes_moved(bytes_per_value)
        return Operation(self.kind, layer, self.macs, self.parameters, moved, self.launches)


def operations(
    architecture: Architecture,
    sequence_length: int,
    batch_size: int,
    *,
    vocab_size: int = 30522,
    bytes_per_value: int = 4,
    max_positions: int = 512,
    num_labels: int = 2,
) -> tuple[Operation, ...]:
    """The operations of one forward pass, in order; their parameters sum to `parameter_count`.

    Args:
        architecture: any architecture, inside a design space or not.
        sequence_length: positions S of each sequence.
        batch_size: sequences B.
        vocab_size: rows of the word embedding.
        bytes_per_value: 4 for fp32, 2 for fp16 and bf16, 1 for int8.
        max_positions: rows of the position embedding.
        num_labels: outputs of the classifier.

    Raises:
        CostError: a number below 1, or a sequence longer than `max_positions`.
    """
    check_workload(
        sequence_length=sequence_length,
        batch_size=batch_size,
        vocab_size=vocab_size,
        bytes_per_value=bytes_per_value,
        max_positions=max_positions,
        num_labels=num_labels,
    )
    layers = architecture.layers
    before = embedding_costs(
        layers[0].hidden_size, sequence_length, batch_size, vocab_size, max_positions
    )
    found = [cost.placed(None, bytes_per_value) for cost in before]
    for i, layer in enumerate(layers):
        costs = layer_costs(layer, sequence_length, batch_size)
        if i + 1 < len(layers):
            following = layers[i + 1].hidden_size
            positions = sequence_length * batch_size
            costs += projection_costs(layer.hidden_size, following, positions)
        found += [cost.placed(i, bytes_per_value) for cost in costs]
    after = top_costs(layers[-1].hidden_size, batch_size, num_labels)
    return (*found, *(cost.placed(None, bytes_per_value) for cost in after))


def parameter_count(
    architecture: Architecture,
    *,
    vocab_size: int = 30522,
    max_positions: int = 512,
    num_labels: int = 2,
) -> int:
    """Trained values of the sequence classifier: embeddings, encoder, pooler, classifier.

    Raises:
        CostError: a number below 1.
    """
    return sum(
        operation.parameters
        for operation in operations(
            architecture,
            1,
            1,
            vocab_size=vocab_size,
            max_positions=max_positions,
            num_labels=num_labels,
        )
    )


def encoder_parameters(architecture: Architecture) -> int:
    """Trained values of the layers: neither embeddings nor what stands on top of the encoder."""
    return sum(
        operation.parameters
        for operation in operations(architecture, 1, 1)
        if operation.layer is not None
    )


def macs(
    architecture: Architecture, sequence_length: int, batch_size: int = 1, *, num_labels: int = 2
) -> int:
    """Multiply-accumulates of one forward pass of `batch_size` sequences.

    Raises:
        CostError: a number below 1.
    """
    return sum(
        operation.macs
        for operation in operations(
            architecture,
            sequence_length,
            batch_size,
            max_positions=max(sequence_length, 1),
            num_labels=num_labels,
        )
    )


@lru_cache(maxsize=1 << 16)
def layer_costs(layer: Layer, sequence_length: int, batch_size: int) -> tuple[Cost, ...]:
    """Costs of one layer without a projection to another hidden size, one entry per kind."""
    return (
        *_attention_costs(layer, sequence_length, batch_size),
        *_feed_forward_costs(layer.hidden_size, layer.feed_forward, sequence_length * batch_size),
        _normalisation(layer.hidden_size, sequence_length * batch_size, adds=1, times=2),
    )


def embedding_costs(
    hidden: int, sequence_length: int, batch_size: int, vocab_size: int, max_positions: int
) -> tuple[Cost, ...]:
    """Costs of two look-ups, the first S positions added to every sequence, a sum, a LayerNorm."""
    positions = sequence_length * batch_size
    rows = vocab_size + max_positions + TOKEN_TYPES
    moved = (9 * positions + sequence_length) * hidden
    return (
        Cost("embedding", 0, rows * hidden, moved, 4, ids_moved=2 * positions),
        _normalisation(hidden, positions, adds=0),
    )


def projection_costs(inputs: int, outputs: int, positions: int) -> tuple[Cost, ...]:
    """Cost of the Linear between two layers: none where their hidden sizes are equal."""
    if inputs == outputs:
        return ()
    return (_linear("hidden_projection", inputs, outputs, positions),)


def top_costs(hidden: int, batch_size: int, num_labels: int) -> tuple[Cost, ...]:
    """Costs of the pooler (Linear and tanh of token 0) and of the classifier."""
    pooler = _linear("pooler", hidden, hidden, batch_size)
    moved = pooler.values_moved + 2 * batch_size * hidden
    return (
        pooler._replace(values_moved=moved, launches=2),
        _linear("classifier", hidden, num_labels, batch_size),
    )


def _attention_costs(layer: Layer, sequence_length: int, batch_size: int) -> list[Cost]:
    positions = sequence_length * batch_size
    hidden, dim = layer.hidden_size, layer.head_dim
    number = {head: layer.head_types.count(head) for head in set(layer.head_types)}
    softmax = number.get("sa_sdp", 0) + number.get("sa_wma", 0)
    convolutions = {  # number of heads by span
        span: number[head] for head, span in _CONVOLUTION_SPANS.items() if head in number
    }
    with_query = softmax + sum(convolutions.values())
    costs = [
        _linear("query_key_value", hidden, (2 * with_query + layer.num_heads) * dim, positions)
    ]
    if weighted := number.get("sa_wma", 0):
        weights = weighted * dim**2
        joined = softmax if "sa_sdp" in number else 0  # with the queries of the other heads
        moved = 2 * positions * (weighted + joined) * dim + weights
        launches = 2 if joined else 1
        costs.append(Cost("weighted_query", positions * weights, weights, moved, launches))
    if softmax:
        values = softmax * positions * dim
        costs.append(Cost("scaled_dot_product", 2 * values * sequence_length, 0, 4 * values, 1))
    if fourier := number.get("l_dft", 0):
        costs.append(_fourier_transform(fourier, dim, sequence_length, positions))
    if cosine := number.get("l_dct", 0):
        costs.append(_cosine_transform(cosine, dim, sequence_length, positions))
    if convolutions:
        costs.append(_dynamic_convolution(convolutions, dim, positions))
    output = _linear("attention_output", layer.inner_size, hidden, positions)
    groups = (softmax, number.get("l_dft"), number.get("l_dct"), convolutions)
    if sum(map(bool, groups)) > 1:  # their outputs are concatenated first
        moved = output.values_moved + 2 * positions * layer.inner_size
        output = output._replace(values_moved=moved, launches=2)
    costs.append(output)
    return costs


def _fourier_transform(heads: int, dim: int, sequence_length: int, positions: int) -> Cost:
    """V masked, two products over positions, two over the head dimension, their difference."""
    values = heads * positions * dim
    moved = 13 * values + 2 * (sequence_length**2 + dim**2)
    return Cost("fourier_transform", 2 * values * (sequence_length + dim), 0, moved, 6)


def _cosine_transform(heads: int, dim: int, sequence_length: int, positions: int) -> Cost:
    """V masked, one product over positions, one over the head dimension."""
    values = heads * positions * dim
    moved = 6 * values + sequence_length**2 + dim**2
    return Cost("cosine_transform", values * (sequence_length + dim), 0, moved, 3)


def _dynamic_convolution(heads_by_span: Mapping[int, int], dim: int, positions: int) -> Cost:
    """K and V masked, K convolved twice, times Q, kernel, softmax, Linear of V, kernel applied."""
    multiply, parameters, values = 0, 0, 0
    for span, heads in heads_by_span.items():
        multiply += positions * heads * (2 * dim**2 + 3 * span * dim)
        parameters += heads * (2 * dim**2 + 2 * span * dim + 2 * dim + span)
        values += positions * heads * (16 * dim + 4 * span)
    return Cost("dynamic_convolution", multiply, parameters, values + parameters, 9)


@lru_cache(maxsize=1 << 14)
def _feed_forward_costs(hidden: int, widths: tuple[int, ...], positions: int) -> tuple[Cost, Cost]:
    matrices = [
        _linear("feed_forward", inputs, outputs, positions)
        for inputs, outputs in pairwise((hidden, *widths, hidden))
    ]
    return (
        Cost(
            "feed_forward",
            sum(matrix.macs for matrix in matrices),
            sum(matrix.parameters for matrix in matrices),
            sum(matrix.values_moved for matrix in matrices),
            len(matrices),
        ),
        Cost("activation", 0, 0, 2 * positions * sum(widths), len(widths)),
    )


def _linear(kind: str, inputs: int, outputs: int, rows: int) -> Cost:
    """A Linear with bias over `rows` vectors."""
    parameters = inputs * outputs + outputs
    moved = rows * (inputs + outputs) + parameters
    return Cost(kind, rows * inputs * outputs, parameters, moved, 1)


def _normalisation(hidden: int, positions: int, *, adds: int, times: int = 1) -> Cost:
    """LayerNorm, with `adds` residual additions before each."""
    moved = times * (positions * hidden * (2 + 3 * adds) + 2 * hidden)
    return Cost("normalisation", 0, times * 2 * hidden, moved, times * (1 + adds))


def check_workload(*, sequence_length: int, max_positions: int, **others: int) -> None:
    """Refuse numbers below 1, and sequences longer than the position embedding."""
    numbers = {"sequence_length": sequence_length, "max_positions": max_positions, **others}
    for name, value in numbers.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            what = "must be a whole number of at least 1"
            raise CostError(f"{name}: {invalid(value, what)}")
    if sequence_length > max_positions:
        what = f"must be at most max_positions, {max_positions}"
        raise CostError(f"sequence_length: {invalid(sequence_length, what)}")
