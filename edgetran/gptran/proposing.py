"""Which children a round makes: steps ranked by expected gain per predicted cost."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from edgetran.devices import HardwareFigures
from edgetran.gptran import growing, pruning
from edgetran.gptran.blocks import Importance, Values
from edgetran.gptran.judge import Judge
from edgetran.gptran.milestones import ENCODER, BudgetError, Milestone
from edgetran.gptran.model_trainer import ModelTrainer
from edgetran.gptran.schedule import best_cut, floor_costs, words
from edgetran.gptran.steps import Step, StepSizes, choose_steps, step_values
from edgetran.gptran.tree import SCHEDULE, Node
from edgetran.profiling import Predictor
from edgetran.search import Measures
from edgetran.space import Architecture, encoder_parameters

PROPOSERS: Final[Mapping[str, Callable[[Architecture, Importance, StepSizes], list[Step]]]] = {
    "growHeads": growing.grow_heads,
    "growFeedForwards": growing.grow_feed_forwards,
    "growLayers": growing.grow_layers,
    "pruneHeads": pruning.prune_heads,
    "pruneFeedForwards": pruning.prune_feed_forwards,
    "pruneLayers": pruning.prune_layers,
    "pruneHiddenSize": pruning.prune_hidden_size,
}
"""All steps of each stage."""

SHORTLIST: Final = 3
"""Steps per child whose gain is measured: a gradient or a few passes each, a small share of a
training."""


_IMPOSSIBLE: Final = 1e12
"""Cost of an architecture that the device cannot run: beyond any limit, yet finite, so that
differences of costs stay numbers."""


@dataclass(frozen=True)
class Proposer:
    """Proposes the children of a node under one plan and for one device."""

    judge: Judge
    trainer: ModelTrainer
    predictor: Predictor

    def propose(
        self, node: Node, checkpoint: Path, stage: str, number: int, known: Collection[str]
    ) -> list[Step]:
        """Up to `samples_per_stage` steps within the budgets, and those over them drawn before.

        Args:
            node: what to change.
            checkpoint: folder of its weights.
            stage: which kind of change.
            number: of the round; with the plan's seed it decides the draw.
            known: graph hashes that must not come again.
        """
        plan = self.judge.plan
        importance = self.trainer.importance(checkpoint)
        steps = [
            step
            for step in PROPOSERS[stage](node.architecture, importance, plan.sizes)
            if step.architecture.graph_hash not in known
        ]
        if not steps:
            return []
        values = self._values(steps, node)
        shortlist = np.argsort(-values, kind="stable")[: SHORTLIST * plan.samples_per_stage]
        steps = self.trainer.with_measured_gains(checkpoint, [steps[i] for i in shortlist])
        values = self._values(steps, node)
        rng = np.random.default_rng([plan.seed, number])
        chosen: list[Step] = []
        within = 0
        for step in choose_steps(steps, values, 2 * plan.samples_per_stage, rng):
            if within < plan.samples_per_stage:
                chosen.append(step)
                within += self.is_kept(self.measures(step.architecture), node)
        return chosen

    def propose_cut(self, node: Node, checkpoint: Path, milestone: Milestone) -> Step | None:
        """The cut of a node to a milestone that loses the least once it is made; None without one.

        Several are solved for, by different orders of the blocks and with and without hidden
        channels, and what is left by each is looked at.
        """
        limits = np.array(list(milestone.limits.values()))
        costs = self._costs(list(milestone.limits))
        steps: dict[str, Step] = {}
        for cuts in self.trainer.cuts(checkpoint):
            for channels in (False, True):
                cut = best_cut(
                    node.architecture,
                    cuts,
                    limits,
                    costs,
                    self.judge.plan.sizes,
                    channels=channels,
                )
                if cut is None:
                    continue
                left = cut.removal.apply(node.architecture)
                change = words(node.architecture, left, milestone.words)
                step = Step(SCHEDULE, left, change, -cut.loss, cut.removal)
                steps.setdefault(repr(cut.removal), step)
        if len(steps) < 2:
            return next(iter(steps.values()), None)
        measured = self.trainer.with_measured_gains(checkpoint, list(steps.values()))
        return max(measured, key=lambda step: step.gain)

    def keeps(self, architecture: Architecture, milestone: Milestone) -> bool:
        """Whether an architecture is within a milestone's limits, as predicted."""
        limits = np.array(list(milestone.limits.values()))
        return bool((self._costs(list(milestone.limits))([architecture])[0] <= limits).all())

    def check_reachable(self, milestone: Milestone, architecture: Architecture) -> None:
        """Refuse limits that pruning cannot reach.

        Raises:
            BudgetError: naming the nearest that it can.
        """
        names = list(milestone.limits)
        least = floor_costs(architecture, self._costs(names), self.judge.plan.sizes)
        for name, nearest in zip(names, least, strict=True):
            limit = milestone.limits[name]
            if nearest > limit:
                raise BudgetError(
                    milestone.out_of_reach(name, float(nearest), self.predictor.device)
                )

    def _costs(self, names: Sequence[str]) -> Callable[[Sequence[Architecture]], Values]:
        """What predicts figures of architectures, once each; the impossible are huge."""
        known: dict[str, list[float]] = {}

        def row(architecture: Architecture, hardware: HardwareFigures) -> list[float]:
            measures = Measures.untrained(hardware, self.trainer.parameters(architecture))
            values = []
            for name in names:
                if name == ENCODER:
                    values.append(float(encoder_parameters(architecture)))
                else:
                    value = measures.value(name) if hardware.feasible else None
                    values.append(_IMPOSSIBLE if value is None else value)
            return values

        def costs(architectures: Sequence[Architecture]) -> Values:
            new = {a.canonical_json: a for a in architectures if a.canonical_json not in known}
            for key, architecture, hardware in zip(
                new, new.values(), self._predict(list(new.values())), strict=True
            ):
                known[key] = row(architecture, hardware)
            return np.array([known[a.canonical_json] for a in architectures])

        return costs

    def measures(self, architecture: Architecture) -> Measures:
        """What is known of an architecture before it is trained."""
        return Measures.untrained(
            self._predict([architecture])[0], self.trainer.parameters(architecture)
        )

    def is_kept(self, measures: Measures, parent: Node) -> bool:
        """Whether a child keeps the budgets, or at least brings a parent over them nearer."""
        excess = self.judge.excess(measures)[0]
        return excess == 0 or excess < self.judge.excess(parent.measures)[0]

    def _values(self, steps: Sequence[Step], parent: Node) -> Values:
        architectures = [step.architecture for step in steps]
        costs = [
            self.judge.cost(self.trainer.parameters(architecture), hardware)
            for architecture, hardware in zip(
                architectures, self._predict(architectures), strict=True
            )
        ]
        parent_cost = self.judge.cost(parent.parameters, parent.hardware)
        return step_values(
            steps, np.array(costs), parent_cost, negligible=self.judge.plan.tolerance
        )

    def _predict(self, architectures: Sequence[Architecture]) -> list[HardwareFigures]:
        return list(self.predictor.predict(list(architectures)))
