"""The steps that grow an architecture: a head, feed-forward width, a feed-forward matrix, a layer.

Nothing that does not exist yet has an importance, so the expected gain of a site is read off its
neighbourhood with diminishing returns: a block kind of total importance I and size s that grows
to s' gains I·log(s'/s). `edgetran.gptran.importance.growth_gains` replaces this by a measured
figure for the few sites worth the time.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgetran.gptran.blocks import Importance
from edgetran.gptran.steps import Step, StepSizes
from edgetran.space import Architecture, Layer


def grow_heads(architecture: Architecture, importance: Importance, sizes: StepSizes) -> list[Step]:
    """One more head, of every type, in every layer; its dimension is the layer's."""
    type_factor = _type_factors(architecture, importance, sizes)
    steps = []
    for index, layer in enumerate(architecture.layers):
        site = float(importance.heads[index].sum()) * np.log1p(1 / layer.num_heads)
        for head_type in sizes.head_types:
            grown = replace(layer, head_types=(*layer.head_types, head_type))
            steps.append(
                Step(
                    "growHeads",
                    _with_layer(architecture, index, grown),
                    f"layer {index}: add a {head_type} head of dimension {layer.head_dim}",
                    site * type_factor[head_type],
                )
            )
    return steps


def grow_feed_forwards(
    architecture: Architecture, importance: Importance, sizes: StepSizes
) -> list[Step]:
    """A matrix appended to a layer's feed-forward stack, or one of its matrices widened."""
    steps = []
    for index, layer in enumerate(architecture.layers):
        totals = [float(units.sum()) for units in importance.units[index]]
        for matrix, width in enumerate(layer.feed_forward):
            wider = width + sizes.block(width)
            widths = _replaced(layer.feed_forward, matrix, wider)
            steps.append(
                Step(
                    "growFeedForwards",
                    _with_layer(architecture, index, replace(layer, feed_forward=widths)),
                    f"layer {index}: widen feed-forward {matrix} from {width} to {wider}",
                    totals[matrix] * float(np.log(wider / width)),
                )
            )
        if len(layer.feed_forward) < sizes.maximum_stack:
            present = sum(layer.feed_forward)
            for appended in _appended_widths(layer, sizes):
                widths = (*layer.feed_forward, appended)
                steps.append(
                    Step(
                        "growFeedForwards",
                        _with_layer(architecture, index, replace(layer, feed_forward=widths)),
                        f"layer {index}: append a feed-forward of width {appended}",
                        sum(totals) / len(totals) * float(np.log1p(appended / present)),
                    )
                )
    return steps


def grow_layers(architecture: Architecture, importance: Importance, sizes: StepSizes) -> list[Step]:
    """A layer of the same shape after each layer."""
    del sizes  # a layer is copied as it is
    layers = architecture.layers
    share = float(np.log1p(1 / len(layers)))
    return [
        Step(
            "growLayers",
            Architecture((*layers[: index + 1], layer, *layers[index + 1 :])),
            f"add a layer like layer {index} after it",
            float(importance.layers[index]) * share,
        )
        for index, layer in enumerate(layers)
    ]


def _type_factors(
    architecture: Architecture, importance: Importance, sizes: StepSizes
) -> dict[str, float]:
    """How a head of each type compares with the mean head here; 1 for types not present.

    The mean over n heads of a type is shrunk towards 1 by one pseudo-head.
    """
    overall = float(np.mean(np.concatenate(importance.heads))) or 1.0
    seen: dict[str, list[float]] = {head_type: [1.0] for head_type in sizes.head_types}
    for layer, values in zip(architecture.layers, importance.heads, strict=True):
        for head_type, value in zip(layer.head_types, values, strict=True):
            seen.setdefault(head_type, [1.0]).append(float(value) / overall)
    return {head_type: float(np.mean(values)) for head_type, values in seen.items()}


def _appended_widths(layer: Layer, sizes: StepSizes) -> tuple[int, ...]:
    if sizes.appended_widths is not None:
        return sizes.appended_widths
    return tuple(sorted({layer.feed_forward[-1], 2 * layer.hidden_size}))


def _replaced(widths: tuple[int, ...], matrix: int, width: int) -> tuple[int, ...]:
    return (*widths[:matrix], width, *widths[matrix + 1 :])


def _with_layer(architecture: Architecture, index: int, layer: Layer) -> Architecture:
    layers = architecture.layers
    return Architecture((*layers[:index], layer, *layers[index + 1 :]))
