"""Architectures and design spaces as a resource writes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from edgetran.api.base import ApiModel
from edgetran.api.field_errors import required
from edgetran.api.rules import Broken, Rule, distinct, exactly_one, listed, wrong
from edgetran.api.scalars import LIST_SET, Allowed

HeadType = Literal["sa_sdp", "sa_wma", "l_dft", "l_dct", "c_5", "c_9", "c_13"]
LayerCount = Annotated[int, Field(ge=1, le=48)]
HiddenSize = Annotated[int, Field(ge=1, le=8192)]
HeadCount = Annotated[int, Field(ge=1, le=128)]
FeedForwardWidth = Annotated[int, Field(ge=1, le=65536)]
HeadOperation = Annotated[
    str,
    Field(pattern=r"^(sa_sdp|sa_wma|l_dft|l_dct|c_5|c_9|c_13)_[1-9][0-9]{0,3}$", max_length=16),
    Allowed(
        "a head TYPE_DIMENSION such as sa_sdp_64, TYPE one of sa_sdp, sa_wma, l_dft, l_dct, c_5, "
        "c_9 and c_13"
    ),
]
FeedForwardStack = Annotated[
    tuple[FeedForwardWidth, ...], Field(strict=False, min_length=1, max_length=8)
]


def _heads_fit(model: Any) -> Iterator[Broken]:
    if model.heads > model.hidden_size:
        yield ("heads",), wrong(model.heads)


class HomogeneousArchitecture(ApiModel):
    """The same encoder layer several times, as BERT is."""

    layers: LayerCount = Field(description="Number of encoder layers.")
    hidden_size: HiddenSize = Field(description="Width of every layer's input and output.")
    heads: HeadCount = Field(description="Attention heads per layer.")
    feed_forward: FeedForwardStack = Field(
        description="Widths of each layer's feed-forward stack, such as [512]."
    )
    head_type: HeadType = Field("sa_sdp", description="Type of every head.")

    RULES = (
        Rule(
            name="headsUpToHiddenSize",
            fields=("heads", "hidden_size"),
            at="heads",
            message="must be at most hiddenSize",
            check=_heads_fit,
            cel="self.heads <= self.hiddenSize",
        ),
    )


_PER_LAYER = ("h", "f", "o")


def _per_layer_lengths(model: Any) -> Iterator[Broken]:
    for key, values in zip(
        _PER_LAYER, (model.hidden_sizes, model.feed_forwards, model.operations), strict=True
    ):
        if len(values) != model.num_layers:
            yield (key,), wrong(values)


def _one_head_dimension(model: Any) -> Iterator[Broken]:
    for index, layer in enumerate(model.operations):
        dimensions = {int(head.rpartition("_")[2]) for head in layer}
        if len(dimensions) > 1:
            yield ("o", index), wrong(", ".join(layer))


class ModelDict(ApiModel):
    """The published form of any FlexiBERT architecture: `{l, h, f, o}`."""

    num_layers: LayerCount = Field(alias="l", description="Number of encoder layers.")
    hidden_sizes: Annotated[
        tuple[HiddenSize, ...], Field(strict=False, min_length=1, max_length=48)
    ] = Field(alias="h", description="Hidden size of each layer.")
    feed_forwards: Annotated[
        tuple[FeedForwardStack, ...], Field(strict=False, min_length=1, max_length=48)
    ] = Field(alias="f", description="Feed-forward widths of each layer.")
    operations: Annotated[
        tuple[
            Annotated[tuple[HeadOperation, ...], Field(strict=False, min_length=1, max_length=128)],
            ...,
        ],
        Field(strict=False, min_length=1, max_length=48),
    ] = Field(alias="o", description="Heads of each layer, such as [sa_sdp_64, c_5_64].")

    RULES = (
        Rule(
            name="oneEntryPerLayer",
            fields=("num_layers", "hidden_sizes", "feed_forwards", "operations"),
            at="h, f and o",
            message="must have one entry per layer, of which l says the number",
            check=_per_layer_lengths,
            cel="self.h.size() == self.l && self.f.size() == self.l && self.o.size() == self.l",
        ),
        Rule(
            name="oneHeadDimensionPerLayer",
            fields=("operations",),
            at="o",
            message="must have heads of one dimension within a layer",
            check=_one_head_dimension,
            cel="self.o.all(layer, layer.all(head, head.split('_')[2] == layer[0].split('_')[2]))",
        ),
    )


class ArchitectureSource(ApiModel):
    """One architecture, by its shape or by its model dict."""

    homogeneous: HomogeneousArchitecture | None = Field(
        None, description="The same layer several times."
    )
    model_dict: ModelDict | None = Field(None, description="Every layer by itself.")

    RULES = (exactly_one("homogeneous", "model_dict"),)

    def to_model_dict(self) -> dict[str, Any]:
        """The published form `{l, h, f, o}` as plain lists, ints and strings."""
        if self.model_dict is not None:
            return self.model_dict.model_dump(mode="json", by_alias=True)
        shape = self.homogeneous
        assert shape is not None  # noqa: S101  (a rule of this model)
        head = f"{shape.head_type}_{shape.hidden_size // shape.heads}"
        return {
            "l": shape.layers,
            "h": [shape.hidden_size] * shape.layers,
            "f": [list(shape.feed_forward) for _ in range(shape.layers)],
            "o": [[head] * shape.heads for _ in range(shape.layers)],
        }


_INLINE = (
    "layers",
    "hidden_sizes",
    "heads",
    "head_types",
    "feed_forward_widths",
    "max_feed_forward_stack",
)
_INLINE_REQUIRED = ("layers", "hidden_sizes", "heads", "feed_forward_widths")
_INLINE_ALIASES = (
    "layers",
    "hiddenSizes",
    "heads",
    "headTypes",
    "feedForwardWidths",
    "maxFeedForwardStack",
)
_REQUIRED_ALIASES = ("layers", "hiddenSizes", "heads", "feedForwardWidths")


class ElasticChoices(ApiModel):
    """What may shrink and change of a parent: every candidate is a part of it."""

    layers: Annotated[tuple[LayerCount, ...], Field(strict=False, min_length=1, max_length=48)] | (
        None
    ) = Field(
        None,
        description="Allowed numbers of the parent's layers that stay, the least needed go first; "
        "every number where omitted.",
        json_schema_extra=LIST_SET,
    )
    heads: Annotated[tuple[HeadCount, ...], Field(strict=False, min_length=1, max_length=64)] | (
        None
    ) = Field(
        None,
        description="Allowed numbers of the parent's heads that a layer keeps, the most important "
        "ones; quarters of the parent's where omitted.",
        json_schema_extra=LIST_SET,
    )
    head_types: Annotated[tuple[HeadType, ...], Field(strict=False, min_length=1, max_length=7)] = (
        Field(
            ("sa_sdp",),
            description="What a head may be: sa_sdp, as the parent's are, or what takes its place.",
            json_schema_extra=LIST_SET,
        )
    )
    feed_forward_widths: (
        Annotated[tuple[FeedForwardWidth, ...], Field(strict=False, min_length=1, max_length=64)]
        | None
    ) = Field(
        None,
        description="Allowed numbers of the parent's feed-forward units that a layer keeps, the "
        "most important ones; quarters of the parent's where omitted.",
        json_schema_extra=LIST_SET,
    )

    hidden_sizes: (
        Annotated[tuple[HiddenSize, ...], Field(strict=False, min_length=1, max_length=64)] | None
    ) = Field(
        None,
        description="Allowed numbers of the hidden state's channels that a layer keeps, the most "
        "important ones; the parent's where omitted.",
        json_schema_extra=LIST_SET,
    )

    RULES = (
        distinct("layers"),
        distinct("heads"),
        distinct("head_types"),
        distinct("feed_forward_widths"),
        distinct("hidden_sizes"),
    )


def _preset_or_inline(model: Any) -> Iterator[Broken]:
    inline = [
        alias
        for field, alias in zip(_INLINE, _INLINE_ALIASES, strict=True)
        if getattr(model, field) is not None
    ]
    missing = [
        alias
        for field, alias in zip(_INLINE_REQUIRED, _REQUIRED_ALIASES, strict=True)
        if getattr(model, field) is None
    ]
    whole = [name for name in ("preset", "elastic") if getattr(model, name) is not None]
    if whole and (inline or len(whole) > 1):
        yield (), wrong(dict.fromkeys([*whole, *inline]))
    elif whole:
        return
    elif not inline:
        yield (), required
    elif missing:
        yield (), wrong(dict.fromkeys(inline))


def _every_head_count_fits(model: Any) -> Iterator[Broken]:
    if not model.heads or not model.hidden_sizes:
        return
    smallest = min(model.hidden_sizes)
    for index, heads in enumerate(model.heads):
        if heads > smallest:
            yield ("heads", index), wrong(heads)


class DesignSpaceSource(ApiModel):
    """The architectures to choose from: a preset, the parts of a parent, or every choice inline."""

    preset: Literal["flexibert-2.0", "tiny"] | None = Field(
        None,
        description="A design space that ships: flexibert-2.0 (1.7e88 architectures of 2 to 12 "
        "layers) or tiny (2 to 4 layers, 64 to 192 wide, for a laptop).",
    )
    elastic: ElasticChoices | None = Field(
        None, description="The parts of the parent that `spec.parent` names."
    )
    layers: Annotated[tuple[LayerCount, ...], Field(strict=False, min_length=1, max_length=48)] | (
        None
    ) = Field(None, description="Allowed numbers of encoder layers.", json_schema_extra=LIST_SET)
    hidden_sizes: (
        Annotated[tuple[HiddenSize, ...], Field(strict=False, min_length=1, max_length=64)] | None
    ) = Field(
        None, description="Allowed hidden sizes, chosen per layer.", json_schema_extra=LIST_SET
    )
    heads: Annotated[tuple[HeadCount, ...], Field(strict=False, min_length=1, max_length=64)] | (
        None
    ) = Field(
        None, description="Allowed numbers of heads, chosen per layer.", json_schema_extra=LIST_SET
    )
    head_types: Annotated[tuple[HeadType, ...], Field(strict=False, min_length=1, max_length=7)] | (
        None
    ) = Field(
        None,
        description="Allowed types of heads, mixed within a layer; all seven where omitted.",
        json_schema_extra=LIST_SET,
    )
    feed_forward_widths: (
        Annotated[tuple[FeedForwardWidth, ...], Field(strict=False, min_length=1, max_length=64)]
        | None
    ) = Field(
        None,
        description="Allowed widths of feed-forward layers, chosen one by one.",
        json_schema_extra=LIST_SET,
    )
    max_feed_forward_stack: Annotated[int, Field(ge=1, le=8)] | None = Field(
        None, description="Most feed-forward layers in one stack; 1 where omitted."
    )

    RULES = (
        Rule(
            name="presetOrInline",
            fields=("preset", "elastic", *_INLINE),
            message=f"must set either preset, elastic, or at least {listed(_REQUIRED_ALIASES)}",
            check=_preset_or_inline,
            cel="has(self.preset) || has(self.elastic) ? has(self.preset) != has(self.elastic) "
            "&& !("
            + " || ".join(f"has(self.{alias})" for alias in _INLINE_ALIASES)
            + ") : ("
            + " && ".join(f"has(self.{alias})" for alias in _REQUIRED_ALIASES)
            + ")",
        ),
        Rule(
            name="everyHeadCountUpToEveryHiddenSize",
            fields=("heads", "hidden_sizes"),
            at="heads",
            message="must be at most the smallest of hiddenSizes",
            check=_every_head_count_fits,
            cel="!has(self.heads) || !has(self.hiddenSizes) || "
            "self.heads.all(n, self.hiddenSizes.all(h, n <= h))",
        ),
        distinct("layers"),
        distinct("hidden_sizes"),
        distinct("heads"),
        distinct("head_types"),
        distinct("feed_forward_widths"),
    )

    def to_mapping(self) -> dict[str, Any]:
        """`{"preset": NAME}`, `{"elastic": …}`, or every choice with what was omitted filled in."""
        mapping = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        if self.preset is None and self.elastic is None:
            mapping.setdefault("headTypes", list(get_args(HeadType)))
            mapping.setdefault("maxFeedForwardStack", 1)
        return mapping
