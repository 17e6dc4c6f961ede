"""How models are compared: quality, cost, score, acceptance, and where to go on from.

quality = the validation metric, or minus the validation loss
cost    = geometric mean of latency, energy and parameters (those that are known), each
          relative to the root; the root costs 1
score   = quality - quality(root) - cost_weight · log2(cost)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from edgetran.api.measures import HARDWARE
from edgetran.devices import HardwareFigures
from edgetran.gptran.milestones import effective_budgets
from edgetran.gptran.paired import confidence
from edgetran.gptran.plan import GPTranPlan
from edgetran.gptran.steps import GROW_STAGES
from edgetran.gptran.tree import CONTROL, ROOT_ID, SCHEDULE, Node, Tree
from edgetran.search import Constraints, Measures


@dataclass(frozen=True)
class Judge:
    """Compares nodes with the root and with each other under one plan."""

    plan: GPTranPlan
    root: Node

    @cached_property
    def budgets(self) -> Constraints:
        """What the result must keep: the budgets, and the most demanding targets."""
        return effective_budgets(self.plan, self.root)

    def quality(self, node: Node) -> float:
        """What training achieved, larger is better; -inf for a node that is not trained."""
        value = node.metric if self.plan.selection == "metric" else node.loss
        if node.state != "trained" or value is None:
            return -math.inf
        return value if self.plan.selection == "metric" else -value

    def cost(self, parameters: int, hardware: HardwareFigures) -> float:
        """Cost relative to the root's, 1 being equal."""
        ratios = [parameters / self.root.parameters]
        for measure in (each for each in HARDWARE if each.summable):
            value = hardware.of(measure).value
            reference = self.root.hardware.of(measure).value
            if value and reference:
                ratios.append(value / reference)
        return math.prod(ratios) ** (1 / len(ratios))

    def score(self, node: Node) -> float:
        """Gain in quality over the root, and what the cost saved is worth; the root has 0."""
        saved = -math.log2(self.cost(node.parameters, node.hardware))
        return self.quality(node) - self.quality(self.root) + self.plan.cost_weight * saved

    def excess(self, measures: Measures) -> tuple[float, str | None]:
        """By how much figures break the budgets, 0 when they keep them, and how in words.

        An architecture that the device cannot run at all has an infinite excess.
        """
        if not measures.hardware.feasible:
            return math.inf, measures.hardware.infeasible_reason
        budgets = self.budgets
        return budgets.excess(measures), "; ".join(budgets.violations(measures)) or None

    def accepts(self, child: Node, parent: Node, base: Node) -> bool:
        """Whether a trained child may go on.

        A big cut does what was asked for. Growth must gain quality, and where the examples are
        known, a paired test must be as sure of it as the plan says: the best of a few children
        that differ by chance alone always seems to gain. Pruning must save cost, and lose at
        most the tolerance against its parent and in all, that is against `base`, the root or the
        big cut from which the cycles began.
        """
        if child.stage == SCHEDULE:
            return True
        gain = self.quality(child) - self.quality(parent)
        if child.stage in GROW_STAGES:
            sure = confidence(child.outcomes, parent.outcomes)
            return gain > 0 and (sure is None or sure >= self.plan.confidence)
        saves = self.cost(child.parameters, child.hardware) < self.cost(
            parent.parameters, parent.hardware
        )
        in_all = self.quality(child) - self.quality(base)
        return saves and min(gain, in_all) >= -self.plan.tolerance

    def helped(self, best: Node, control: Node | None) -> bool | None:
        """Whether a result is better than training alone; None where there is no control to ask.

        It has to have the better score, and to cost less or to be more accurate as surely as the
        plan asks for: of several children that differ by chance alone, one is always ahead.
        """
        if best.id == ROOT_ID:
            return False
        if control is None:
            return None
        cheaper = self.cost(best.parameters, best.hardware) < self.cost(
            control.parameters, control.hardware
        )
        sure = confidence(best.outcomes, control.outcomes)
        surely = sure is None or sure >= self.plan.confidence
        return self.score(best) > self.score(control) and (cheaper or surely)

    def choose(self, children: Sequence[Node], parent: Node, base: Node) -> Node | None:
        """The accepted child with the best score, the earliest of equals; None when none is."""
        accepted = [child for child in children if self.accepts(child, parent, base)]
        return max(accepted, key=self.score, default=None)

    def open_nodes(self, tree: Tree, stage: str) -> list[Node]:
        """Nodes from which a stage can go on, best first.

        A child that the last round accepted comes first. Then, by score, the trained nodes that
        this stage has not been tried on; then those it has been tried on, which may have further
        children. Nodes further below the root's quality than the tolerance are never gone on
        from.
        """
        tried = [each.parent for each in tree.rounds.values() if each.stage == stage]
        floor = self.quality(self.root) - self.plan.tolerance
        accepted = {each.accepted for each in tree.rounds.values()}
        nodes = [
            node
            for node in tree.nodes.values()
            if node.state == "trained"
            and node.stage != CONTROL
            and (node.id == ROOT_ID or node.id in accepted or self.quality(node) >= floor)
        ]
        nodes.sort(key=lambda node: (tried.count(node.id), -self.score(node)))
        last = tree.rounds[max(tree.rounds)].accepted if tree.rounds else None
        return sorted(nodes, key=lambda node: node.id != last)

    def best(self, tree: Tree) -> Node:
        """The result: `best_of` all nodes of the tree."""
        return self.best_of(tree.nodes.values())

    def best_of(self, nodes: Iterable[Node]) -> Node:
        """The best score among those within the budgets and near the root's quality.

        Near is at most the tolerance below it. The root itself may win, the control never does:
        it is what the result is compared with. Where no node keeps the budgets, the one that
        breaks them least wins.
        """
        floor = self.quality(self.root) - self.plan.tolerance
        return max(
            (node for node in nodes if node.state == "trained" and node.stage != CONTROL),
            key=lambda node: (
                -self.excess(node.measures)[0],
                self.quality(node) >= floor,
                self.score(node),
            ),
        )
