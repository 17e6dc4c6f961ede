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
from edgetran.gptran.model_trainer import ModelTrainer
from edgetran.gptran.steps import GROW_STAGES, Step, StepSizes, choose_steps, step_values
from edgetran.gptran.tree import Node
from edgetran.profiling import Predictor
from edgetran.search import Measures
from edgetran.space import Architecture

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
"""Growth sites per child whose gain is measured: a gradient each, a small share of a training."""


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
        if stage in GROW_STAGES:
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
        return step_values(steps, np.array(costs), parent_cost)

    def _predict(self, architectures: Sequence[Architecture]) -> list[HardwareFigures]:
        return list(self.predictor.predict(list(architectures)))
