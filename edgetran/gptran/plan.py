"""What a GPTran run is asked to do: cycles, stages, budgets, and how children are judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from edgetran.gptran.blocks import GPTranError
from edgetran.gptran.steps import STAGES, StepSizes
from edgetran.search import Constraints

SELECTIONS: Final = ("metric", "loss")


@dataclass(frozen=True)
class GPTranPlan:
    """A run of GPTran.

    Attributes:
        stages: the stages of one cycle, in order, from `STAGES`.
        cycles: how often the stages are gone through.
        samples_per_stage: children trained in one stage.
        budgets: bounds that children must keep.
        selection: what decides: the task's "metric", or the held-out "loss".
        tolerance: loss of quality, in units of the selection, that pruning may cost, and that the
            result may lie below the root.
        cost_weight: quality that halving the cost is worth, in units of the selection. 0.02:
            two points of accuracy.
        patience: rounds in a row without an accepted child after which the run stops.
        sizes: step sizes and floors.
        seed: source of all randomness.
    """

    stages: tuple[str, ...] = ("growHeads", "growFeedForwards", "pruneHeads", "pruneFeedForwards")
    cycles: int = 1
    samples_per_stage: int = 5
    budgets: Constraints = field(default_factory=Constraints)
    selection: str = "metric"
    tolerance: float = 0.01
    cost_weight: float = 0.02
    patience: int = 5
    sizes: StepSizes = field(default_factory=StepSizes)
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = [stage for stage in self.stages if stage not in STAGES]
        if unknown or not self.stages:
            raise GPTranError(
                f"stages: {unknown[0] if unknown else 'none'} given, allowed are "
                f"{', '.join(STAGES)}"
            )
        for name in ("cycles", "samples_per_stage", "patience"):
            if getattr(self, name) < 1:
                raise GPTranError(f"{name}: {getattr(self, name)} given, allowed is 1 or more")
        for name in ("tolerance", "cost_weight", "seed"):
            if getattr(self, name) < 0:
                raise GPTranError(f"{name}: {getattr(self, name)} given, allowed is 0 or more")
        if self.selection not in SELECTIONS:
            raise GPTranError(
                f"selection: {self.selection!r} given, allowed are {', '.join(SELECTIONS)}"
            )

    def rounds(self) -> list[tuple[int, str]]:
        """(cycle, stage) of every round, cycles counted from 1."""
        return [(cycle, stage) for cycle in range(1, self.cycles + 1) for stage in self.stages]

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the tree, as plain JSON data.

        Not `cycles` and `patience`: they say how far it grows, and a tree may be continued further.
        """
        data: dict[str, Any] = _listed(asdict(self))
        data["budgets"] = {name: asdict(bound) for name, bound in self.budgets.bounds().items()}
        del data["cycles"], data["patience"]
        return data


def _listed(value: Any) -> Any:
    """The value with tuples as lists, as JSON gives it back."""
    if isinstance(value, Mapping):
        return {key: _listed(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_listed(each) for each in value]
    return value
