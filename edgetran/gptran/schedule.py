"""Pruning to a target in one cut: what goes is chosen over the whole model at the least loss.

The cost of every choice of every layer (heads and units kept, or the layer dropped) is read off
the device's predictor, changing one layer of a reference at a time; a knapsack then picks one
choice per layer. The predicted cost of the model so composed need not be the sum of its parts, so
it is predicted too, and the table is made again around it until it keeps the limits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from edgetran.gptran.blocks import Removal, Values
from edgetran.gptran.cuts import Cuts
from edgetran.gptran.knapsack import Group, solve
from edgetran.gptran.steps import StepSizes
from edgetran.space import Architecture, Layer

Costs = Callable[[Sequence[Architecture]], Values]
"""Costs of architectures in every limited measure, (n,) architectures to (n, m)."""

UNIT_CHOICES: Final = 48
"""Widths that are considered of each stack, evenly spread: 2 % of it from one to the next."""

_HIDDEN_CHOICES: Final = (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75)
"""Shares of the hidden channels that may go."""

_ROUNDS: Final = 6
"""Tables that are made at most; two do where costs add up."""

Choice = tuple[int, int] | None
"""Heads removed and index of the unit choice of a layer; None where it is dropped."""


@dataclass(frozen=True)
class Cut:
    """A removal that keeps the limits.

    Attributes:
        removal: what goes.
        loss: importance that is lost by it.
        costs: predicted costs of what is left, shape (m,).
    """

    removal: Removal
    loss: float
    costs: Values


def best_cut(
    architecture: Architecture,
    cuts: Cuts,
    limits: Values,
    costs: Costs,
    sizes: StepSizes,
    *,
    channels: bool = True,
) -> Cut | None:
    """The removal of the least importance whose costs are within the limits; None if none is found.

    Args:
        architecture: of the model to cut.
        cuts: in which order blocks go and what they are worth.
        limits: shape (m,).
        costs: predicts the m costs of architectures.
        sizes: floors.
        channels: whether hidden channels may go too.
    """

    def with_removed(counts: Iterable[int]) -> list[Cut]:
        cuts_found = (
            _within(_Menu(architecture, cuts, sizes, removed), limits, costs) for removed in counts
        )
        return [cut for cut in cuts_found if cut is not None]

    coarse = _hidden_choices(architecture, cuts, sizes, channels=channels)
    best = min(with_removed(coarse), key=lambda cut: cut.loss, default=None)
    if best is None or not best.removal.channels:
        return best
    chosen = len(best.removal.channels)
    below = max(count for count in coarse if count < chosen)
    finer = with_removed(range(below + sizes.width_multiple, chosen, sizes.width_multiple))
    return min([best, *finer], key=lambda cut: cut.loss)


def floor_costs(architecture: Architecture, costs: Costs, sizes: StepSizes) -> Values:
    """The least of each cost that pruning can reach, shape (m,): one small layer is left."""
    found = costs(
        [
            Architecture((Layer(hidden, (head,), layer.head_dim, widths),))
            for layer in architecture.layers
            for widths in [tuple(min(f, sizes.minimum_width) for f in layer.feed_forward)]
            for hidden in {layer.hidden_size, min(layer.hidden_size, sizes.minimum_hidden_size)}
            for head in sorted(set(layer.head_types))
        ]
    )
    least: Values = found.min(axis=0)
    return least


class _Menu:
    """The choices of every layer, with some hidden channels gone."""

    def __init__(
        self, architecture: Architecture, cuts: Cuts, sizes: StepSizes, channels: int
    ) -> None:
        self.architecture, self.cuts, self.channels = architecture, cuts, channels
        self.units = [_unit_choices(layer, sizes) for layer in architecture.layers]
        self.head_losses = [order.losses[:-1] for order in cuts.heads]  # one head always stays
        self.unit_losses = [
            np.array([sum(o.losses[n] for o, n in zip(stack, each, strict=True)) for each in some])
            for stack, some in zip(cuts.units, self.units, strict=True)
        ]

    @property
    def everything(self) -> tuple[Choice, ...]:
        return tuple((0, 0) for _ in self.architecture.layers)

    def build(self, choices: Sequence[Choice]) -> Architecture:
        """The architecture that is left; at least one layer is."""
        layers = []
        for i, (layer, choice) in enumerate(zip(self.architecture.layers, choices, strict=True)):
            if choice is None:
                continue
            gone = set(self.cuts.heads[i].blocks[: choice[0]].tolist())
            heads = tuple(t for head, t in enumerate(layer.head_types) if head not in gone)
            removed = self.units[i][choice[1]]
            widths = tuple(f - n for f, n in zip(layer.feed_forward, removed, strict=True))
            layers.append(Layer(layer.hidden_size - self.channels, heads, layer.head_dim, widths))
        return Architecture(tuple(layers))

    def loss(self, choices: Sequence[Choice]) -> float:
        loss = 0.0
        if self.channels and self.cuts.channels is not None:
            loss = float(self.cuts.channels.losses[self.channels])
        for i, choice in enumerate(choices):
            if choice is None:
                loss += float(self.cuts.layers[i])
            else:
                loss += float(self.head_losses[i][choice[0]] + self.unit_losses[i][choice[1]])
        return loss

    def removal(self, choices: Sequence[Choice]) -> Removal:
        heads, units = [], []
        for i, choice in enumerate(choices):
            if choice is None:
                continue
            heads += [(i, head) for head in self.cuts.heads[i].first(choice[0])]
            units += [
                (i, matrix, self.cuts.units[i][matrix].first(count))
                for matrix, count in enumerate(self.units[i][choice[1]])
                if count
            ]
        channels = self.cuts.channels
        return Removal(
            heads=tuple(heads),
            units=tuple(units),
            layers=tuple(i for i, choice in enumerate(choices) if choice is None),
            channels=() if channels is None else channels.first(self.channels),
        )


def _within(menu: _Menu, limits: Values, costs: Costs) -> Cut | None:
    """The best cut of a menu, by tables around better and better references."""
    best: Cut | None = None
    reference, aim = menu.everything, limits
    for _ in range(_ROUNDS):
        chosen = _chosen(menu, reference, aim, costs)
        if chosen is None:
            if best is not None or reference != menu.everything:
                break
            # Far from the reference the table may be wrong: try again from the other end.
            chosen = tuple(
                (len(losses) - 1, len(units) - 1)
                for losses, units in zip(menu.head_losses, menu.units, strict=True)
            )
        actual = costs([menu.build(chosen)])[0]
        if (actual <= limits * (1 + 1e-12)).all():
            cut = Cut(menu.removal(chosen), menu.loss(chosen), actual)
            if best is None or cut.loss < best.loss:
                best = cut
            aim = limits
        else:
            aim = aim * np.minimum(1.0, 0.998 * limits / actual)
        if chosen == reference and best is not None:
            break
        reference = chosen
    return best


def _chosen(
    menu: _Menu, reference: Sequence[Choice], limits: Values, costs: Costs
) -> tuple[Choice, ...] | None:
    """The knapsack's choice of each layer, by costs around a reference; one layer always stays."""
    options: list[list[Choice]] = []
    groups: list[Group] = []
    base, tables = _tables(menu, reference, costs)
    for i, (attention, feed_forward, dropped) in enumerate(tables):
        pairs = attention[:, None, :] + feed_forward[None, :, :]  # (heads, units, m)
        losses = menu.head_losses[i][:, None] + menu.unit_losses[i][None, :]
        choices: list[Choice] = [
            (k, u) for k in range(len(attention)) for u in range(pairs.shape[1])
        ]
        table = [pairs.reshape(-1, pairs.shape[2])]
        values = [losses.ravel()]
        if dropped is not None:
            choices.append(None)
            table.append(dropped[None])
            values.append(np.array([menu.cuts.layers[i]]))
        options.append(choices)
        groups.append(Group(np.concatenate(table) + base / len(tables), np.concatenate(values)))

    def picked(found: Sequence[int]) -> tuple[Choice, ...]:
        return tuple(some[index] for some, index in zip(options, found, strict=True))

    found = solve(groups, limits)
    if found is None or any(choice is not None for choice in picked(found)):
        return None if found is None else picked(found)
    kept = (solve(_never_dropped(groups, i), limits) for i in range(len(groups)))
    return min((picked(each) for each in kept if each is not None), key=menu.loss, default=None)


def _never_dropped(groups: Sequence[Group], kept: int) -> list[Group]:
    """The groups without the last choice of one, which drops the layer."""
    return [
        Group(group.costs[:-1], group.losses[:-1]) if i == kept else group
        for i, group in enumerate(groups)
    ]


def _tables(
    menu: _Menu, reference: Sequence[Choice], costs: Costs
) -> tuple[Values, list[tuple[Values, Values, Values | None]]]:
    """The reference's costs, and what each choice of each layer adds to them.

    Per layer: of each number of heads (n, m), of each unit choice beyond that (u, m), and of
    dropping it (m,), which a model's only layer cannot be.
    """
    wanted: list[Sequence[Choice]] = [reference]
    spans: list[tuple[int, int, int, int]] = []
    for i in range(len(reference)):
        heads, units = reference[i] or (0, 0)

        def with_choice(choice: Choice, i: int = i) -> Sequence[Choice]:
            return (*reference[:i], choice, *reference[i + 1 :])

        start = len(wanted)
        wanted += [with_choice((k, units)) for k in range(len(menu.head_losses[i]))]
        middle = len(wanted)
        wanted += [with_choice((heads, u)) for u in range(len(menu.units[i]))]
        end = len(wanted)
        without = with_choice(None)
        if any(choice is not None for choice in without):
            wanted.append(without)
        spans.append((start, middle, end, units))
    rows = costs([menu.build(choices) for choices in wanted])
    ends = [*(span[0] for span in spans), len(rows)]
    tables = []
    for (start, middle, end, units), after in zip(spans, ends[1:], strict=True):
        present = rows[middle + units]  # the reference's own choice, or the whole layer
        dropped = rows[end] - rows[0] if after > end else None
        tables.append((rows[start:middle] - rows[0], rows[middle:end] - present, dropped))
    return rows[0], tables


def _unit_choices(layer: Layer, sizes: StepSizes) -> list[tuple[int, ...]]:
    """Units removed from each matrix of a stack, the same share of each, none first."""
    choices = []
    for share in np.linspace(0, 1, UNIT_CHOICES + 1):
        removed = []
        for width in layer.feed_forward:
            most = max(0, width - sizes.minimum_width)
            blocks = round(share * most / sizes.width_multiple)
            removed.append(most if share == 1 else min(most, blocks * sizes.width_multiple))
        choices.append(tuple(removed))
    return [choices[0], *(b for a, b in pairwise(choices) if a != b)]


def _hidden_choices(
    architecture: Architecture, cuts: Cuts, sizes: StepSizes, *, channels: bool
) -> list[int]:
    """Numbers of hidden channels that may go."""
    if not channels or cuts.channels is None:
        return [0]
    size, multiple = architecture.layers[0].hidden_size, sizes.width_multiple
    counts = {round(share * size / multiple) * multiple for share in _HIDDEN_CHOICES}
    floor = size - sizes.minimum_hidden_size
    return sorted({0} | {count for count in counts | {floor} if 0 < count <= floor})


def words(before: Architecture, after: Architecture, limits: Mapping[str, str]) -> str:
    """A cut in words: what it is for and what is left of heads, units, layers and channels."""

    def counts(architecture: Architecture) -> dict[str, int]:
        layers = architecture.layers
        return {
            "layers": len(layers),
            "heads": sum(layer.num_heads for layer in layers),
            "units": sum(sum(layer.feed_forward) for layer in layers),
            "channels": max(layer.hidden_size for layer in layers),
        }

    old, new = counts(before), counts(after)
    changed = [f"{old[name]:,} to {new[name]:,} {name}" for name in old if old[name] != new[name]]
    aims = ", ".join(f"{name} at most {value}" for name, value in limits.items())
    return f"cut to {aims}: {', '.join(changed) or 'nothing'}"
