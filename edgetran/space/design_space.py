"""Design spaces as data: which architectures there are, their number, their integer embedding.

Source: FlexiBERT (arXiv 2205.11656) and EdgeTran (arXiv 2303.13745, §III).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import yaml

from edgetran.api.field_errors import duplicate, forbidden, invalid, required, unsupported
from edgetran.api.rules import listed
from edgetran.space.architecture import HEAD_TYPES, Architecture, Layer
from edgetran.space.ranking import multiset_count, word_count

if TYPE_CHECKING:
    pass

SamplingMethod = Literal["hierarchical", "sobol", "lhs", "halton"]

MAX_LAYERS: Final = 1000
"""Deepest architecture of a space: keeps the cardinality a number that can be computed."""

_POSITIVE: Final = "must be a whole number of at least 1"
_MAX_OPTIONS: Final = 2**63 - 1
"""Options of one choice are numbered by 64-bit integers in the embedding."""

_INTEGER_LISTS: Final = {
    "layers": "num_layers",
    "hiddenSizes": "hidden_sizes",
    "heads": "num_heads",
    "feedForwardWidths": "feed_forward_widths",
}
_KEYS: Final = ("layers", "hiddenSizes", "heads", "feedForwardWidths")
_OPTIONAL_KEYS: Final = ("headTypes", "maxFeedForwardStack", "headDimension", "name")
_PRESETS: Final = ("flexibert-2.0", "tiny")


class DesignSpaceError(ValueError):
    """A design space, embedding or request that cannot be; says where and what is allowed."""


@dataclass(frozen=True)
class DesignSpace:
    """Every architecture that can be made of the allowed values, in the order given.

    Depth is one of `num_layers`. Each layer chooses for itself a hidden size h, a number of
    heads n with any mix of head types (their dimension is h // n), and a feed-forward stack
    of 1 .. `max_stack` widths. Architectures that differ only in the order of heads within
    layers count as one. The order of the values is part of the embedding.

    Attributes:
        num_layers: allowed depths, in encoder layers.
        hidden_sizes: allowed hidden sizes h of a layer.
        num_heads: allowed numbers n of heads of a layer.
        head_types: allowed head types, from `HEAD_TYPES`.
        feed_forward_widths: allowed widths of a feed-forward matrix.
        max_stack: most widths in one feed-forward stack.
        name: what the space is called in reports.
        head_dim: dimension of every head, whatever their number: fewer heads then make a layer's
            attention narrower, as in a part of a larger model. None for h // n.

    Raises:
        DesignSpaceError: an empty list, a value given twice, a size below 1, an unknown head
            type, or more heads than a hidden size has dimensions.
    """

    num_layers: tuple[int, ...]
    hidden_sizes: tuple[int, ...]
    num_heads: tuple[int, ...]
    head_types: tuple[str, ...]
    feed_forward_widths: tuple[int, ...]
    max_stack: int = 1
    name: str = "custom"
    head_dim: int | None = None

    def __post_init__(self) -> None:
        for key, field in _INTEGER_LISTS.items():
            values = _tuple(key, getattr(self, field))
            for value in values:
                if not _is_size(value):
                    raise DesignSpaceError(f"{key}: {invalid(value, _POSITIVE)}")
            object.__setattr__(self, field, values)
        object.__setattr__(self, "head_types", _tuple("headTypes", self.head_types))
        for head in self.head_types:
            if head not in HEAD_TYPES:
                raise DesignSpaceError(f"headTypes: {unsupported(head, HEAD_TYPES)}")
        if not _is_size(self.max_stack):
            raise DesignSpaceError(f"maxFeedForwardStack: {invalid(self.max_stack, _POSITIVE)}")
        if self.head_dim is not None and not _is_size(self.head_dim):
            raise DesignSpaceError(f"headDimension: {invalid(self.head_dim, _POSITIVE)}")
        if not isinstance(self.name, str):
            raise DesignSpaceError(f"name: {invalid(self.name, 'must be text')}")
        self._check_combinations()

    def _check_combinations(self) -> None:
        if (deepest := max(self.num_layers)) > MAX_LAYERS:
            raise DesignSpaceError(f"layers: {invalid(deepest, f'must be at most {MAX_LAYERS}')}")
        most_heads, narrowest = max(self.num_heads), min(self.hidden_sizes)
        if self.head_dim is None and most_heads > narrowest:
            what = f"must be at most the smallest of hiddenSizes, {narrowest}"
            raise DesignSpaceError(f"heads: {invalid(most_heads, what)}")
        if self.max_stack > 64 or self.feed_forward_options > _MAX_OPTIONS:
            what = (
                f"must give fewer than 2^63 stacks of {len(self.feed_forward_widths)} "
                "feedForwardWidths"
            )
            raise DesignSpaceError(f"maxFeedForwardStack: {invalid(self.max_stack, what)}")
        if self.attention_options > _MAX_OPTIONS:
            what = f"must give fewer than 2^63 mixes of {len(self.head_types)} headTypes"
            raise DesignSpaceError(f"heads: {invalid(most_heads, what)}")

    @classmethod
    def preset(cls, name: str) -> DesignSpace:
        """The design space called `name`: `flexibert-2.0` (published) or `tiny` (for a laptop).

        Raises:
            DesignSpaceError: for another name.
        """
        if name not in _PRESETS:
            raise DesignSpaceError(f"preset: {unsupported(name, _PRESETS)}")
        text = (resources.files("edgetran.space") / "presets" / f"{name}.yaml").read_text("utf-8")
        return cls.from_dict(yaml.safe_load(text))

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any]) -> DesignSpace:
        """Read the form that resources use: `{"preset": NAME}`, or the lists inline.

        Inline keys: `layers`, `hiddenSizes`, `heads`, `feedForwardWidths`, and optionally
        `headTypes` (all), `maxFeedForwardStack` (1), `headDimension` and `name`.

        Raises:
            DesignSpaceError: naming the key, the value and what it must be.
        """
        if not isinstance(mapping, Mapping):
            what = f"must be a mapping with preset, or with {', '.join(_KEYS)}"
            raise DesignSpaceError(f"design space: {invalid(mapping, what)}")
        if "preset" in mapping:
            if len(mapping) > 1:
                others = ", ".join(sorted(str(key) for key in mapping if key != "preset"))
                why = f"may not be set together with {others}"
                raise DesignSpaceError(f"preset: {forbidden(why)}")
            return cls.preset(mapping["preset"])
        unknown = [str(key) for key in mapping if key not in (*_KEYS, *_OPTIONAL_KEYS)]
        if unknown:
            found = unsupported(min(unknown), ("preset", *_KEYS, *_OPTIONAL_KEYS))
            raise DesignSpaceError(f"design space: {found}")
        missing = [key for key in _KEYS if key not in mapping]
        if missing:
            what = f"must have {listed(missing)}, or preset"
            raise DesignSpaceError(f"design space: {required(what)}")
        return cls(
            num_layers=mapping["layers"],
            hidden_sizes=mapping["hiddenSizes"],
            num_heads=mapping["heads"],
            head_types=mapping.get("headTypes", HEAD_TYPES),
            feed_forward_widths=mapping["feedForwardWidths"],
            max_stack=mapping.get("maxFeedForwardStack", 1),
            name=mapping.get("name", "custom"),
            head_dim=mapping.get("headDimension"),
        )

    @classmethod
    def from_yaml(cls, path: str | os.PathLike[str]) -> DesignSpace:
        """Read a YAML file that holds the mapping of `from_dict`.

        Raises:
            DesignSpaceError: the file cannot be read, is no YAML, or is no design space.
        """
        try:
            mapping = yaml.safe_load(Path(path).read_text("utf-8"))
        except OSError as error:
            raise DesignSpaceError(f"{path}: cannot be read ({error.strerror})") from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise DesignSpaceError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
        try:
            return cls.from_dict(mapping)
        except DesignSpaceError as error:
            raise DesignSpaceError(f"{path}: {error}") from None

    def to_dict(self) -> dict[str, Any]:
        """The inverse of `from_dict`: plain lists, ints and strings."""
        return {
            "name": self.name,
            "layers": list(self.num_layers),
            "hiddenSizes": list(self.hidden_sizes),
            "heads": list(self.num_heads),
            "headTypes": list(self.head_types),
            "feedForwardWidths": list(self.feed_forward_widths),
            "maxFeedForwardStack": self.max_stack,
        } | ({} if self.head_dim is None else {"headDimension": self.head_dim})

    def head_dim_of(self, hidden_size: int, num_heads: int) -> int:
        """Dimension of each of a layer's heads."""
        return hidden_size // num_heads if self.head_dim is None else self.head_dim

    @property
    def max_layers(self) -> int:
        """The largest allowed depth."""
        return max(self.num_layers)

    @cached_property
    def feed_forward_options(self) -> int:
        """Number of feed-forward stacks of a layer."""
        return word_count(len(self.feed_forward_widths), self.max_stack)

    @cached_property
    def attention_offsets(self) -> tuple[int, ...]:
        """First attention index of each number of heads, then the number of all options."""
        offsets = [0]
        for heads in self.num_heads:
            offsets.append(offsets[-1] + multiset_count(heads, len(self.head_types)))
        return tuple(offsets)

    @property
    def attention_options(self) -> int:
        """Number of mixes of heads of a layer, of all allowed numbers of heads."""
        return self.attention_offsets[-1]

    @cached_property
    def layer_options(self) -> int:
        """Number of different layers."""
        return len(self.hidden_sizes) * self.feed_forward_options * self.attention_options

    @cached_property
    def depth_offsets(self) -> tuple[int, ...]:
        """Rank of the first architecture of each depth, then the number of all."""
        offsets = [0]
        for depth in self.num_layers:
            offsets.append(offsets[-1] + self.layer_options**depth)
        return tuple(offsets)

    def cardinality(self) -> int:
        """Exact number of architectures, heads of a layer unordered."""
        return self.depth_offsets[-1]

    def why_not(self, architecture: Architecture) -> str | None:
        """None where the architecture is in the space, else the first choice that is not."""
        if architecture.num_layers not in self.num_layers:
            return f"layers: {unsupported(architecture.num_layers, self.num_layers)}"
        for i, layer in enumerate(architecture.layers):
            if reason := self._why_not_layer(layer):
                return f"layer {i}: {reason}"
        return None

    def _why_not_layer(self, layer: Layer) -> str | None:
        if layer.hidden_size not in self.hidden_sizes:
            return f"hiddenSizes: {unsupported(layer.hidden_size, self.hidden_sizes)}"
        if layer.num_heads not in self.num_heads:
            return f"heads: {unsupported(layer.num_heads, self.num_heads)}"
        if layer.head_dim != (dim := self.head_dim_of(layer.hidden_size, layer.num_heads)):
            why = f" (hidden size {layer.hidden_size} // {layer.num_heads} heads)"
            what = f"must be {dim}{why if self.head_dim is None else ''}"
            return f"head dimension: {invalid(layer.head_dim, what)}"
        for head in layer.head_types:
            if head not in self.head_types:
                return f"headTypes: {unsupported(head, self.head_types)}"
        if len(layer.feed_forward) > self.max_stack:
            what = f"must have at most maxFeedForwardStack widths, {self.max_stack}"
            return f"feed_forward: {invalid(layer.feed_forward, what)}"
        for width in layer.feed_forward:
            if width not in self.feed_forward_widths:
                return f"feedForwardWidths: {unsupported(width, self.feed_forward_widths)}"
        return None

    def contains(self, architecture: Architecture) -> bool:
        """Whether the architecture is one of the space; the order of its heads is free."""
        return self.why_not(architecture) is None


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _tuple(key: str, values: Any) -> tuple[Any, ...]:
    """A list as a tuple; refuses what is no list, is empty, or holds something twice."""
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise DesignSpaceError(f"{key}: {invalid(values, 'must be a list')}")
    if not values:
        raise DesignSpaceError(f"{key}: {invalid(values, 'must have at least 1 entry')}")
    for i, value in enumerate(values):
        if value in values[:i]:
            raise DesignSpaceError(f"{key}[{i}]: {duplicate(value)}")
    return tuple(values)
