"""The Architecture value: layers of heads and feed-forward stacks, and its identity.

Source: FlexiBERT (arXiv 2205.11656) and EdgeTran (arXiv 2303.13745); the graph hash
follows the Weisfeiler-Lehman-style hash of the published design space.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from edgetran.api.field_errors import invalid, required, unsupported
from edgetran.api.rules import listed

_POSITIVE: Final = "must be a whole number of at least 1"
HEAD_TYPES: Final = ("sa_sdp", "sa_wma", "l_dft", "l_dct", "c_5", "c_9", "c_13")
"""Every head type, in the order of the published design space."""

_HASH_ROUNDS: Final = 5


class ArchitectureError(ValueError):
    """An architecture that cannot exist; the message says where and what is allowed."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One encoder layer: attention heads of one dimension, then a feed-forward stack.

    Attributes:
        hidden_size: width h of the layer's input and output.
        head_types: type of each head, in concatenation order, from `HEAD_TYPES`.
        head_dim: dimension d of every head of the layer.
        feed_forward: widths f_1 .. f_k of the feed-forward stack.

    Raises:
        ArchitectureError: for an unknown head type, no heads, no widths or a size below 1.
    """

    hidden_size: int
    head_types: tuple[str, ...]
    head_dim: int
    feed_forward: tuple[int, ...]

    def __post_init__(self) -> None:
        for name in ("hidden_size", "head_dim"):
            value = getattr(self, name)
            if not _is_size(value):
                raise ArchitectureError(f"{name}: {invalid(value, _POSITIVE)}")
        if not self.head_types:
            raise ArchitectureError("head_types: a layer needs at least one head")
        for head in self.head_types:
            if head not in HEAD_TYPES:
                raise ArchitectureError(f"head_types: {unsupported(head, HEAD_TYPES)}")
        if not self.feed_forward:
            raise ArchitectureError("feed_forward: a layer needs at least one width")
        for width in self.feed_forward:
            if not _is_size(width):
                raise ArchitectureError(f"feed_forward: {invalid(width, _POSITIVE)}")

    @property
    def num_heads(self) -> int:
        """Number of heads n."""
        return len(self.head_types)

    @property
    def inner_size(self) -> int:
        """Width n·d of the concatenated heads; the output projection maps it to h."""
        return self.num_heads * self.head_dim

    @property
    def head_ops(self) -> tuple[str, ...]:
        """The heads as published op strings, such as `sa_sdp_64`."""
        return tuple(f"{head}_{self.head_dim}" for head in self.head_types)


@dataclass(frozen=True)
class Architecture:
    """An immutable transformer encoder; equal values build equal models.

    Two architectures that differ only in the order of heads within layers have the same
    `graph_hash` and the same `canonical_json`.

    Raises:
        ArchitectureError: when there is no layer.
    """

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        if not self.layers:
            raise ArchitectureError("layers: an architecture needs at least one layer")

    @classmethod
    def homogeneous(
        cls,
        *,
        num_layers: int,
        hidden_size: int,
        num_heads: int,
        feed_forward: Sequence[int],
        head_type: str = "sa_sdp",
    ) -> Architecture:
        """The same layer `num_layers` times, e.g. a BERT shape; d = hidden_size // num_heads."""
        layer = Layer(
            hidden_size, (head_type,) * num_heads, hidden_size // num_heads, tuple(feed_forward)
        )
        return cls((layer,) * num_layers)

    @classmethod
    def from_model_dict(cls, model_dict: Mapping[str, Any]) -> Architecture:
        """Read the published form `{"l": …, "h": […], "f": [[…]], "o": [["sa_sdp_64", …]]}`.

        Raises:
            ArchitectureError: naming the place, the value and what is allowed.
        """
        _check_keys(model_dict)
        num_layers = model_dict["l"]
        if not _is_size(num_layers):
            raise ArchitectureError(f"l: {invalid(num_layers, _POSITIVE)}")
        for key in ("h", "f", "o"):
            value = model_dict[key]
            if not isinstance(value, Sequence) or isinstance(value, str):
                raise ArchitectureError(f"{key}: {invalid(value, 'must be a list')}")
            if len(value) != num_layers:
                what = f"must have one entry per layer, {num_layers}"
                raise ArchitectureError(f"{key}: {invalid(value, what)}")
        return cls(
            tuple(
                _layer(i, model_dict["h"][i], model_dict["o"][i], model_dict["f"][i])
                for i in range(num_layers)
            )
        )

    def to_model_dict(self) -> dict[str, Any]:
        """The published form, heads in their own order; plain ints, lists and strings."""
        return {
            "l": len(self.layers),
            "h": [layer.hidden_size for layer in self.layers],
            "f": [list(layer.feed_forward) for layer in self.layers],
            "o": [list(layer.head_ops) for layer in self.layers],
        }

    @property
    def num_layers(self) -> int:
        """Number of encoder layers l."""
        return len(self.layers)

    def canonical(self) -> Architecture:
        """The same architecture with each layer's heads sorted in the order of `HEAD_TYPES`."""
        return Architecture(
            tuple(
                Layer(
                    layer.hidden_size,
                    tuple(sorted(layer.head_types, key=HEAD_TYPES.index)),
                    layer.head_dim,
                    layer.feed_forward,
                )
                for layer in self.layers
            )
        )

    @cached_property
    def canonical_json(self) -> str:
        """JSON of the canonical model dict: sorted keys, no spaces."""
        model_dict = self.canonical().to_model_dict()
        return json.dumps(model_dict, sort_keys=True, separators=(",", ":"))

    @cached_property
    def graph_hash(self) -> str:
        """Identity: 32 hexadecimal digits, independent of the order of heads in a layer."""
        return _graph_hash(self)


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _check_keys(model_dict: Mapping[str, Any]) -> None:
    expected = {"l", "h", "f", "o"}
    if not isinstance(model_dict, Mapping):
        raise ArchitectureError(
            f"model dict: {invalid(model_dict, 'must be a mapping with l, h, f, o')}"
        )
    missing, unknown = expected - set(model_dict), set(model_dict) - expected
    if missing:
        raise ArchitectureError(f"model dict: {required(f'must have {listed(sorted(missing))}')}")
    if unknown:
        raise ArchitectureError(
            f"model dict: {unsupported(min(map(str, unknown)), sorted(expected))}"
        )


def _layer(index: int, hidden_size: Any, ops: Any, widths: Any) -> Layer:
    if not isinstance(ops, Sequence) or isinstance(ops, str) or not ops:
        what = "must be a list of heads such as sa_sdp_64"
        raise ArchitectureError(f"o[{index}]: {invalid(ops, what)}")
    if not isinstance(widths, Sequence) or isinstance(widths, str):
        raise ArchitectureError(f"f[{index}]: {invalid(widths, 'must be a list of widths')}")
    heads: list[str] = []
    dims: list[int] = []
    for op in ops:
        head, _, dim = op.rpartition("_") if isinstance(op, str) else ("", "", "")
        if head not in HEAD_TYPES or not (dim.isascii() and dim.isdigit()):
            what = f"must be TYPE_DIMENSION with TYPE one of {', '.join(HEAD_TYPES)}"
            raise ArchitectureError(f"o[{index}]: {invalid(op, what)}")
        heads.append(head)
        dims.append(int(dim))
    if len(set(dims)) > 1:
        raise ArchitectureError(
            f"o[{index}]: head dimensions {sorted(set(dims))} differ; "
            "a layer has one head dimension"
        )
    try:
        return Layer(hidden_size, tuple(heads), dims[0], tuple(widths))
    except ArchitectureError as error:
        raise ArchitectureError(f"layer {index}: {error}") from None


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _graph_hash(architecture: Architecture) -> str:
    labels, edges = _graph(architecture)
    outgoing: list[list[int]] = [[] for _ in labels]
    incoming: list[list[int]] = [[] for _ in labels]
    for source, target in edges:
        outgoing[source].append(target)
        incoming[target].append(source)
    hashes = [
        _md5(str((len(outgoing[v]), len(incoming[v]), label))) for v, label in enumerate(labels)
    ]
    for _ in range(_HASH_ROUNDS):
        hashes = [
            _md5(
                "".join(sorted(hashes[w] for w in incoming[v]))
                + "|"
                + "".join(sorted(hashes[w] for w in outgoing[v]))
                + "|"
                + hashes[v]
            )
            for v in range(len(labels))
        ]
    fingerprint = _md5(str(sorted(hashes)))
    model_dict = architecture.to_model_dict()
    return _md5(fingerprint + str(model_dict["h"]) + str(model_dict["f"]))


def _graph(architecture: Architecture) -> tuple[list[str], list[tuple[int, int]]]:
    """Vertex labels and directed edges of the computational graph, in the published order."""
    labels = ["input"]
    edges: list[tuple[int, int]] = []
    layer_input = 0
    for layer in architecture.layers:
        first_head = len(labels)
        labels += layer.head_ops
        attention_norm = len(labels)
        labels.append("add_norm")
        for head in range(first_head, attention_norm):
            edges += [(layer_input, head), (head, attention_norm)]
        edges.append((layer_input, attention_norm))
        previous = attention_norm
        for width in layer.feed_forward:
            labels.append(f"f{width}")
            edges.append((previous, len(labels) - 1))
            previous = len(labels) - 1
        labels.append("add_norm")
        edges += [(previous, len(labels) - 1), (attention_norm, len(labels) - 1)]
        layer_input = len(labels) - 1
    labels.append("output")
    edges.append((layer_input, len(labels) - 1))
    return labels, edges
