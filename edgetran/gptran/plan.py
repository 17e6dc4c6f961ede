"""What a GPTran run is asked to do: targets, cycles, stages, budgets, how children are judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from edgetran.api.field_errors import invalid, unsupported
from edgetran.gptran.blocks import GPTranError
from edgetran.gptran.steps import STAGES, StepSizes
from edgetran.search import Constraints

SELECTIONS: Final = ("metric", "loss")

MOST_STEPS: Final = 4
"""Big steps to one target: the field's schedules have no more."""


@dataclass(frozen=True)
class Targets:
    """How small or fast models are to become; every entry gives one model of a family.

    Attributes:
        speedup: how many times faster than the given model, by the device's prediction.
        parameters: numbers of parameters at most.
        encoder_reduction: how many times fewer parameters in the layers.
    """

    speedup: tuple[float, ...] = ()
    parameters: tuple[int, ...] = ()
    encoder_reduction: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in ("speedup", "encoder_reduction"):
            for value in getattr(self, name):
                if value <= 1:
                    raise GPTranError(f"targets.{name}: {invalid(value, 'must be above 1')}")
        for count in self.parameters:
            if count < 1:
                raise GPTranError(f"targets.parameters: {invalid(count, 'must be at least 1')}")

    def __bool__(self) -> bool:
        return bool(self.speedup or self.parameters or self.encoder_reduction)


@dataclass(frozen=True)
class GPTranPlan:
    """A run of GPTran.

    Attributes:
        targets: what pruning solves for before any cycle. Without targets it solves for the
            budgets, where the given model breaks them.
        steps_per_target: big steps to each target, with a training after each.
        stages: the stages of one cycle, in order, from `STAGES`.
        cycles: how often the stages are gone through; 0 leaves it at the targets.
        samples_per_stage: children trained in one stage.
        budgets: bounds that children must keep.
        selection: what decides: the task's "metric", or the held-out "loss".
        tolerance: loss of quality, in units of the selection, that the cycles' pruning may cost
            in all, and that the result may lie below the root.
        confidence: how sure a paired test on the validation examples must be that growing helped.
        cost_weight: quality that halving the cost is worth, in units of the selection. 0.02:
            two points of accuracy.
        patience: rounds in a row without an accepted child after which the run stops.
        sizes: step sizes and floors.
        seed: source of all randomness.
    """

    stages: tuple[str, ...] = ("growHeads", "growFeedForwards", "pruneHeads", "pruneFeedForwards")
    targets: Targets = field(default_factory=Targets)
    steps_per_target: int = 1
    cycles: int = 1
    samples_per_stage: int = 5
    budgets: Constraints = field(default_factory=Constraints)
    selection: str = "metric"
    tolerance: float = 0.01
    confidence: float = 0.8
    cost_weight: float = 0.02
    patience: int = 5
    sizes: StepSizes = field(default_factory=StepSizes)
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = [stage for stage in self.stages if stage not in STAGES]
        if unknown or not self.stages:
            raise GPTranError(f"stages: {unsupported(unknown[0] if unknown else None, STAGES)}")
        if self.cycles < 0:
            raise GPTranError(f"cycles: {invalid(self.cycles, 'must be at least 0')}")
        if not 1 <= self.steps_per_target <= MOST_STEPS:
            what = f"must be from 1 to {MOST_STEPS}"
            raise GPTranError(f"steps_per_target: {invalid(self.steps_per_target, what)}")
        if not 0 <= self.confidence < 1:
            what = "must be from 0 and below 1"
            raise GPTranError(f"confidence: {invalid(self.confidence, what)}")
        for name in ("samples_per_stage", "patience"):
            if getattr(self, name) < 1:
                raise GPTranError(f"{name}: {invalid(getattr(self, name), 'must be at least 1')}")
        for name in ("tolerance", "cost_weight", "seed"):
            if getattr(self, name) < 0:
                raise GPTranError(f"{name}: {invalid(getattr(self, name), 'must be at least 0')}")
        if self.selection not in SELECTIONS:
            raise GPTranError(f"selection: {unsupported(self.selection, SELECTIONS)}")

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
