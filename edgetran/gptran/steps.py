"""One-step changes of an architecture, and the choice among them by expected gain per cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgetran.api.field_errors import invalid, unsupported
from edgetran.gptran.blocks import GPTranError, Removal
from edgetran.space import HEAD_TYPES, Architecture

GROW_STAGES: Final = ("growHeads", "growFeedForwards", "growLayers")
PRUNE_STAGES: Final = ("pruneHeads", "pruneFeedForwards", "pruneLayers", "pruneHiddenSize")
STAGES: Final = GROW_STAGES + PRUNE_STAGES
"""Every stage of a cycle, by the name that a resource uses."""

TEMPERATURE: Final = 0.5
"""Of the choice among ranked steps: at 0.5, a step of half the value per cost is drawn a
quarter as often. Lower is greedier; the published method draws growth uniformly."""


@dataclass(frozen=True)
class StepSizes:
    """How far one step goes, and the floors that no step breaks.

    The published sizes are for BERT-sized models (widths of 256 to 4096, narrowed by 128; stacks
    grown by 256, 512 or 1024; hidden sizes cut by 48); the defaults are the same shares of a
    layer of any size.

    Attributes:
        pruned_heads: heads removed at once; nearby counts are proposed too.
        narrowed_matrices: feed-forward matrices narrowed at once.
        narrow_fraction: share of a matrix's width that one step adds or removes.
        width_multiple: widths change by multiples of this many units.
        minimum_width: no feed-forward is narrowed below it.
        maximum_stack: feed-forward matrices that growing may stack in a layer.
        appended_widths: widths of an appended matrix; None: that of the matrix before it, and
            twice the hidden size, either of which can pass its input on unchanged.
        head_types: types of the heads that growing adds.
        hidden_fraction: share of the hidden size that one step removes.
        minimum_hidden_size: no hidden size is pruned below it.
    """

    pruned_heads: int = 2
    narrowed_matrices: int = 2
    narrow_fraction: float = 0.25
    width_multiple: int = 16
    minimum_width: int = 32
    maximum_stack: int = 3
    appended_widths: tuple[int, ...] | None = None
    head_types: tuple[str, ...] = HEAD_TYPES
    hidden_fraction: float = 0.0625
    minimum_hidden_size: int = 32

    def __post_init__(self) -> None:
        for name in (
            "pruned_heads",
            "narrowed_matrices",
            "width_multiple",
            "minimum_width",
            "maximum_stack",
            "minimum_hidden_size",
        ):
            if getattr(self, name) < 1:
                raise GPTranError(f"{name}: {invalid(getattr(self, name), 'must be at least 1')}")
        for name in ("narrow_fraction", "hidden_fraction"):
            if not 0 < getattr(self, name) < 1:
                what = "must be above 0 and below 1"
                raise GPTranError(f"{name}: {invalid(getattr(self, name), what)}")
        unknown = set(self.head_types) - set(HEAD_TYPES)
        if unknown or not self.head_types:
            found = min(unknown) if unknown else None
            raise GPTranError(f"head_types: {unsupported(found, HEAD_TYPES)}")

    def block(self, width: int) -> int:
        """Units by which a feed-forward matrix of `width` grows or shrinks in one step."""
        blocks = round(self.narrow_fraction * width / self.width_multiple)
        return max(1, blocks) * self.width_multiple


@dataclass(frozen=True)
class Step:
    """One change of an architecture.

    Attributes:
        stage: the stage it belongs to, one of `STAGES`.
        architecture: what comes out.
        change: the change in words, such as "layer 1: add a c_5 head".
        gain: expected gain in the units of the importance: what growing should bring (> 0), or
            minus what pruning gives up (<= 0).
        removal: the blocks that pruning cuts out; None for growth.
    """

    stage: str
    architecture: Architecture
    change: str
    gain: float = field(compare=False)
    removal: Removal | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "stage": self.stage,
            "architecture": self.architecture.to_model_dict(),
            "change": self.change,
            "gain": float(self.gain),
            "removal": self.removal.to_dict() if self.removal else None,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Step:
        """The inverse of `to_dict`."""
        return cls(
            stage=data["stage"],
            architecture=Architecture.from_model_dict(data["architecture"]),
            change=data["change"],
            gain=data["gain"],
            removal=Removal.from_dict(data["removal"]) if data["removal"] else None,
        )


def step_values(
    steps: Sequence[Step],
    costs: NDArray[np.float64],
    parent_cost: float,
    *,
    negligible: float = 0.0,
) -> NDArray[np.float64]:
    """Worth of each step on a log scale, larger is better.

    Of growth, log(gain / cost); of pruning, log(cost saved / (importance lost + negligible)).
    Losses grow faster than what they save, so without what is negligible the smallest cut would
    always be worth the most.

    Args:
        steps: steps of one stage.
        costs: cost of each step's architecture, shape (len(steps),), in any one unit.
        parent_cost: cost of the architecture that they change, in the same unit.
        negligible: share of the most that any of the steps loses (or of 1 where that is less) that
            may be lost without a thought.

    Returns:
        Shape (len(steps),). A pruning step that saves nothing is worth -inf.
    """
    gains = np.array([step.gain for step in steps], dtype=np.float64)
    changes = np.asarray(costs, dtype=np.float64) - parent_cost
    grows = np.array([step.stage in GROW_STAGES for step in steps])
    smallest = 1e-3 * parent_cost  # growth that looks free is not infinitely good
    tiny = 1e-9 * max(float(np.abs(gains).max(initial=0.0)), 1e-12)
    free = negligible * min(1.0, max(0.0, float(np.max(-gains, initial=0.0))))
    with np.errstate(divide="ignore"):
        grown = np.log(np.maximum(gains, tiny)) - np.log(np.maximum(changes, smallest))
        pruned = np.log(np.maximum(-changes, 0.0)) - np.log(np.maximum(-gains, tiny) + free)
    return np.where(grows, grown, pruned)


def choose_steps(
    steps: Sequence[Step],
    values: NDArray[np.float64],
    count: int,
    rng: np.random.Generator,
    *,
    temperature: float = TEMPERATURE,
) -> list[Step]:
    """The most valuable step, then others drawn without replacement, better ones more often.

    The draw is the Gumbel top-k trick: the `count` largest of value / temperature + Gumbel noise.

    Args:
        steps: what can be done.
        values: worth of each step on a log scale, shape (len(steps),); -inf is never chosen.
        count: how many to choose; fewer come back when there are fewer.
        rng: source of the draw.
        temperature: spread of the draw.

    Returns:
        Steps with distinct graph hashes, in order of choice.
    """
    keys = values / temperature + rng.gumbel(size=len(steps))
    best: dict[str, int] = {}  # of several steps to one architecture, the most valuable
    for index in np.argsort(-values, kind="stable"):
        if np.isfinite(values[index]):
            best.setdefault(steps[index].architecture.graph_hash, int(index))
    indexes = list(best.values())
    drawn = sorted(indexes[1:], key=lambda index: -keys[index])
    return [steps[index] for index in (indexes[:1] + drawn)[:count]]
