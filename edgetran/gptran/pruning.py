"""The steps that prune an architecture: heads, feed-forward units or matrices, layers, channels.

Each step removes the least important blocks that it can; the floors of `StepSizes` hold for every
step, so a stage that has nothing left to remove proposes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from edgetran.gptran.blocks import Importance, Removal
from edgetran.gptran.steps import Step, StepSizes
from edgetran.space import Architecture

Cut = tuple[float, Removal, str]
"""Importance that is lost, what is removed, and the removal in words."""


def prune_heads(architecture: Architecture, importance: Importance, sizes: StepSizes) -> list[Step]:
    """The least important heads, over all layers and layer by layer; never a layer's last one."""
    ranked = sorted(
        (
            (layer, head)
            for layer, values in enumerate(importance.heads)
            for head in range(len(values))
        ),
        key=lambda pair: float(importance.heads[pair[0]][pair[1]]),
    )
    sets = [_greedy_heads(architecture, ranked, n) for n in range(1, 2 * sizes.pruned_heads + 1)]
    # Leaving out the very least important one in turn gives the draw alternatives.
    sets += [
        _greedy_heads(architecture, ranked[skip:], sizes.pruned_heads)
        for skip in range(1, len(ranked))
    ]
    for index in range(architecture.num_layers):
        own = [pair for pair in ranked if pair[0] == index]
        sets += [_greedy_heads(architecture, own, n) for n in range(1, sizes.pruned_heads + 1)]
    return _steps(
        "pruneHeads", architecture, (_head_cut(architecture, importance, s) for s in sets)
    )


def prune_feed_forwards(
    architecture: Architecture, importance: Importance, sizes: StepSizes
) -> list[Step]:
    """The least important units of one or several matrices, or one matrix of a stack."""
    narrowings = [
        _narrowing(importance, index, matrix, count)
        for index, layer in enumerate(architecture.layers)
        for matrix, width in enumerate(layer.feed_forward)
        for count in (sizes.block(width), 2 * sizes.block(width))
        if width - count >= sizes.minimum_width
    ]
    singles = sorted(
        (cut for cut in narrowings if _is_single_block(cut, architecture, sizes)),
        key=lambda cut: cut[0],
    )
    together = [_joined(singles[:count]) for count in range(2, 2 * sizes.narrowed_matrices + 1)]
    together += [_joined(pair) for pair in pairwise(singles)]
    matrices = [
        (
            float(importance.units[index][matrix].sum()),
            Removal(matrices=((index, matrix),)),
            f"layer {index}: remove feed-forward {matrix} of width {width}",
        )
        for index, layer in enumerate(architecture.layers)
        if len(layer.feed_forward) > 1
        for matrix, width in enumerate(layer.feed_forward)
    ]
    return _steps("pruneFeedForwards", architecture, [*narrowings, *together, *matrices])


def prune_layers(
    architecture: Architecture, importance: Importance, sizes: StepSizes
) -> list[Step]:
    """One whole layer; never the last one."""
    del sizes  # a layer goes whole
    if architecture.num_layers == 1:
        return []
    return _steps(
        "pruneLayers",
        architecture,
        [
            (float(importance.layers[index]), Removal(layers=(index,)), f"remove layer {index}")
            for index in range(architecture.num_layers)
        ],
    )


def prune_hidden_size(
    architecture: Architecture, importance: Importance, sizes: StepSizes
) -> list[Step]:
    """The least important hidden channels of all layers at once, where all have the same size."""
    if importance.channels is None:
        return []
    size = architecture.layers[0].hidden_size
    block = (
        max(1, round(sizes.hidden_fraction * size / sizes.width_multiple)) * sizes.width_multiple
    )
    order = np.argsort(importance.channels, kind="stable")
    cuts = []
    for count in (block, 2 * block, 4 * block):
        if size - count >= sizes.minimum_hidden_size:
            gone = order[:count]
            cuts.append(
                (
                    float(importance.channels[gone].sum()),
                    Removal(channels=tuple(sorted(int(c) for c in gone))),
                    f"all layers: hidden size from {size} to {size - count}",
                )
            )
    return _steps("pruneHiddenSize", architecture, cuts)


def _greedy_heads(
    architecture: Architecture, ranked: Sequence[tuple[int, int]], count: int
) -> tuple[tuple[int, int], ...]:
    left = [layer.num_heads for layer in architecture.layers]
    taken: list[tuple[int, int]] = []
    for layer, head in ranked:
        if len(taken) < count and left[layer] > 1:
            left[layer] -= 1
            taken.append((layer, head))
    return tuple(sorted(taken))


def _head_cut(
    architecture: Architecture, importance: Importance, heads: tuple[tuple[int, int], ...]
) -> Cut:
    words = [
        f"layer {layer}: remove {architecture.layers[layer].head_types[head]} head {head}"
        for layer, head in heads
    ]
    lost = sum(float(importance.heads[layer][head]) for layer, head in heads)
    return lost, Removal(heads=heads), "; ".join(words)


def _narrowing(importance: Importance, layer: int, matrix: int, count: int) -> Cut:
    values = importance.units[layer][matrix]
    gone = np.argsort(values, kind="stable")[:count]
    width = len(values)
    return (
        float(values[gone].sum()),
        Removal(units=((layer, matrix, tuple(sorted(int(unit) for unit in gone))),)),
        f"layer {layer}: narrow feed-forward {matrix} from {width} to {width - count}",
    )


def _is_single_block(cut: Cut, architecture: Architecture, sizes: StepSizes) -> bool:
    layer, matrix, units = cut[1].units[0]
    return len(units) == sizes.block(architecture.layers[layer].feed_forward[matrix])


def _joined(cuts: Sequence[Cut]) -> Cut:
    return (
        sum(cut[0] for cut in cuts),
        Removal(units=tuple(unit for cut in cuts for unit in cut[1].units)),
        "; ".join(cut[2] for cut in cuts),
    )


def _steps(stage: str, architecture: Architecture, cuts: Iterable[Cut]) -> list[Step]:
    """One step per different removal; an empty removal is none."""
    different = {removal: (lost, words) for lost, removal, words in cuts if removal != Removal()}
    return [
        Step(stage, removal.apply(architecture), words, -lost, removal)
        for removal, (lost, words) in different.items()
    ]
