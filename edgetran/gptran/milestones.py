"""The milestones on the way to targets and budgets: which limits each big cut has to keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from edgetran.api.field_errors import invalid
from edgetran.api.measures import COSTS
from edgetran.api.rules import camel
from edgetran.gptran.blocks import GPTranError
from edgetran.gptran.plan import GPTranPlan
from edgetran.gptran.tree import Node
from edgetran.search import Bound, Constraints
from edgetran.space import encoder_parameters

ENCODER: Final = "encoder_parameters"
"""The one limited figure that is no measure of the search."""

_WORDS: Final = {
    **{each.name: (each.words, f" {each.unit}".rstrip()) for each in COSTS},
    ENCODER: ("encoder parameters", ""),
}


_OWN: Final = {
    "targets.speedup": "latency_ms",
    "targets.encoderReduction": ENCODER,
    "targets.parameters": "parameters",
}
"""The figure that each target limits."""


class BudgetError(GPTranError):
    """A budget or a target on a figure that is not known on the device, or out of reach."""


@dataclass(frozen=True)
class Milestone:
    """One big cut.

    Attributes:
        field: what asks for it, as in a resource: "targets.speedup" or "budgets".
        asked: the value that is asked for; None for budgets.
        limits: the most of each figure that may be left.
        first: whether it starts from the given model rather than from the milestone before.
        last: whether it is the target itself rather than a step on the way.
    """

    field: str
    asked: float | None
    limits: Mapping[str, float]
    first: bool
    last: bool

    @property
    def title(self) -> str:
        """The target in a word or two, such as "speedup 4"."""
        name = self.field.removeprefix("targets.")
        return name if self.asked is None else f"{name} {self.asked:,.6g}"

    def out_of_reach(self, name: str, nearest: float, device: str) -> str:
        """The sentence that refuses it, with the nearest that pruning can reach."""
        title, unit = _WORDS[name]
        own = _OWN.get(self.field) == name
        if own and self.asked is not None and name != "parameters":
            ratio = self.asked * self.limits[name] / nearest
            what = (
                f"must be at most {ratio:.4g}: the smallest model that pruning can make of this "
                f"one has a {title} of {nearest:,.4g}{unit} on {device}"
            )
            return f"{self.field}: {invalid(self.asked, what)}"
        field = self.field if own else f"budgets.{camel(name)}"
        exact = f"{nearest:,.0f}" if nearest.is_integer() else f"{nearest:,.6g}"
        what = (
            f"must be at least {exact}{unit}: the smallest model that pruning can make of this "
            f"one takes as much on {device}"
        )
        return f"{field}: {invalid(self.limits[name], what)}"

    @property
    def words(self) -> dict[str, str]:
        """The limits, for people."""
        return {
            _WORDS[name][0]: f"{value:,.6g}{_WORDS[name][1]}" for name, value in self.limits.items()
        }


def known_figures(root: Node) -> dict[str, float]:
    """Every figure of a node that can be limited and is known."""
    figures = {ENCODER: float(encoder_parameters(root.architecture))}
    for measure in COSTS:
        value = root.measures.value(measure.name)
        if value is not None:
            figures[measure.name] = value
    return figures


def milestones(plan: GPTranPlan, root: Node) -> tuple[Milestone, ...]:
    """The big cuts of a plan, in order; none where there is no target and no budget is broken.

    Raises:
        BudgetError: a speed-up on a device whose latency is not known.
    """
    figures = known_figures(root)
    budgets = {
        name: bound.maximum
        for name, bound in plan.budgets.bounds().items()
        if bound.maximum is not None and name in figures
    }
    families = _families(plan, root, figures)
    if not families and any(figures[name] > limit for name, limit in budgets.items()):
        families = {"budgets": [(None, {})]}
    found: list[Milestone] = []
    for field, asked in families.items():
        before = figures
        for index, (value, own) in enumerate(asked):
            limits = {**budgets, **own}
            for name in own.keys() & budgets.keys():
                limits[name] = min(own[name], budgets[name])
            for step in range(1, plan.steps_per_target + 1):
                share = step / plan.steps_per_target
                found.append(
                    Milestone(
                        field,
                        value,
                        {
                            name: max(limit, before[name] ** (1 - share) * limit**share)
                            for name, limit in limits.items()
                        },
                        first=index == 0 and step == 1,
                        last=step == plan.steps_per_target,
                    )
                )
            before = {**figures, **limits}
    return tuple(found)


def effective_budgets(plan: GPTranPlan, root: Node) -> Constraints:
    """The budgets, and the most demanding target of each kind as further ones."""
    figures = known_figures(root)
    bounds = plan.budgets.bounds()
    for asked in _families(plan, root, figures).values():
        for name, limit in asked[-1][1].items():
            if name == ENCODER:  # what is not the encoder stays
                name, limit = "parameters", root.parameters - figures[ENCODER] + limit
            old = bounds.get(name, Bound())
            least = limit if old.maximum is None else min(limit, old.maximum)
            bounds[name] = Bound(None if old.minimum is None else min(old.minimum, least), least)
    return Constraints(**bounds)


def _families(
    plan: GPTranPlan, root: Node, figures: Mapping[str, float]
) -> dict[str, list[tuple[float | None, dict[str, float]]]]:
    """By field, the values asked for from the easiest on, and the limit that each sets."""
    targets = plan.targets
    found: dict[str, list[tuple[float | None, dict[str, float]]]] = {}
    if targets.speedup:
        if "latency_ms" not in figures:
            reason = root.hardware.latency_ms.reason or "it was not measured"
            raise BudgetError(f"targets.speedup: latency is not known on the device ({reason})")
        found["targets.speedup"] = [
            (factor, {"latency_ms": figures["latency_ms"] / factor})
            for factor in sorted(set(targets.speedup))
        ]
    if targets.encoder_reduction:
        found["targets.encoderReduction"] = [
            (factor, {ENCODER: figures[ENCODER] / factor})
            for factor in sorted(set(targets.encoder_reduction))
        ]
    if targets.parameters:
        found["targets.parameters"] = [
            (float(count), {"parameters": float(count)})
            for count in sorted(set(targets.parameters), reverse=True)
        ]
    return found
