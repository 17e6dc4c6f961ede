"""The loop of GPTran: cycles of grow and prune stages over the tree of models.

Each round takes one stage to the best open node of the tree: it proposes changes, predicts what
they cost on the device, drops those over the budgets, trains the others in parallel from the
parent's weights, and lets the best acceptable child go on (GPTran of Tuli and Jha, arXiv
2303.13745; here aware of the hardware, selecting on held-out data, and resumable at any moment).

Weights may be lost while the tree stays: those of a node that is needed are trained again, as they
were trained first.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from edgetran.gptran.blocks import GPTranError
from edgetran.gptran.judge import Judge
from edgetran.gptran.model_trainer import ModelTrainer
from edgetran.gptran.plan import GPTranPlan
from edgetran.gptran.proposing import Proposer
from edgetran.gptran.steps import Step
from edgetran.gptran.tree import ROOT_ID, Node, Round, Tree
from edgetran.profiling import Predictor
from edgetran.progress import Progress, SilentProgress
from edgetran.search import HARDWARE_MEASURES, Measures

if TYPE_CHECKING:
    from edgetran.training import TrialOutcome, TrialPool

TITLE: Final = "grow and prune"
"""The stage under which progress is reported."""


class BudgetError(GPTranError):
    """A budget on a figure that is not known on the device."""


@dataclass(frozen=True)
class GPTranResult:
    """What a run came to.

    Attributes:
        best: the node that won; the root itself where no child is better.
        root: the node that the run began with.
        steps: the nodes from the root to the winner, both included.
        checkpoint: folder of the winner's weights.
        reductions: by measure, the share of the root's figure that the winner saves (negative:
            spends more); None where a figure is unknown.
        metric_gain: the winner's validation metric less the root's.
        reason: one sentence on the outcome.
    """

    best: Node
    root: Node
    steps: tuple[Node, ...]
    checkpoint: Path
    reductions: Mapping[str, float | None]
    metric_gain: float
    reason: str

    @property
    def improved(self) -> bool:
        """Whether a child beat the root."""
        return self.best.id != self.root.id


def run_gptran(
    plan: GPTranPlan,
    trainer: ModelTrainer,
    *,
    predictor: Predictor,
    pool: TrialPool,
    folder: str | os.PathLike[str],
    progress: Progress | None = None,
) -> GPTranResult:
    """Grow and prune a trained model; continue where an earlier run in `folder` stopped.

    Args:
        plan: what to do.
        trainer: holds the model to begin with; makes and judges models of its task.
        predictor: predicts what an architecture costs on the device.
        pool: trains the children of a round in parallel.
        folder: holds `tree.jsonl` and, under `nodes`, every trained child.
        progress: is told of every child.

    Raises:
        BudgetError: a budget cannot be checked on this device.
        GPTranError: the folder belongs to another plan, or every child of a round failed.
    """
    folder = Path(folder)
    tree = Tree(folder / "tree.jsonl", {**plan.identity, "children": dict(trainer.settings)})
    root_node = tree.root or _plant(plan, tree, trainer, predictor)
    judge = Judge(plan, root_node)
    proposer = Proposer(judge, trainer, predictor)
    run = _Run(tree, judge, proposer, pool, progress or SilentProgress())
    run.to_end()
    return _result(judge, tree, run.checkpoint(judge.best(tree)))


def _plant(plan: GPTranPlan, tree: Tree, trainer: ModelTrainer, predictor: Predictor) -> Node:
    """Judge the model that the run begins with and record it."""
    checkpoint = trainer.root
    architecture = trainer.architecture(checkpoint)
    parameters = trainer.parameters(architecture)
    hardware = predictor.predict([architecture])[0]
    measures = Measures.untrained(hardware, parameters)
    for name in plan.budgets.bounds():
        figure = measures.figure(name)
        if hardware.feasible and figure.value is None and name != "accuracy":
            raise BudgetError(
                f"budgets.{name}: cannot be kept on {predictor.device}, where it is not known "
                f"({figure.reason}); remove the budget or choose another device"
            )
    evaluation = trainer.evaluate(checkpoint)
    node = Node(
        id=ROOT_ID,
        parent=None,
        cycle=0,
        stage="root",
        architecture=architecture,
        change="the model to refine",
        state="trained",
        parameters=parameters,
        hardware=hardware,
        metric=evaluation.metric,
        loss=evaluation.loss,
        checkpoint=os.path.relpath(checkpoint.resolve(), tree.folder.resolve()),
        seconds=evaluation.seconds,
    )
    excess, reason = Judge(plan, node).excess(node.measures)
    tree.add_node(replace(node, within_budgets=excess == 0, reason=reason))
    return tree.nodes[ROOT_ID]


@dataclass(frozen=True)
class _Run:
    tree: Tree
    judge: Judge
    proposer: Proposer
    pool: TrialPool
    progress: Progress

    def to_end(self) -> None:
        plan = self.judge.plan
        rounds = plan.rounds()
        ended = min(len(rounds), sum(each.ended for each in self.tree.rounds.values()))
        children = plan.samples_per_stage
        self.progress.start(TITLE, total=len(rounds) * children, done=ended * children)
        for number, (cycle, stage) in enumerate(rounds, start=1):
            begun = self.tree.rounds.get(number)
            if begun is not None and begun.ended:
                continue
            if begun is None and self._rounds_without_gain() >= plan.patience:
                self.progress.log(
                    f"GPTran stops before round {number}: {plan.patience} rounds in a row brought "
                    "no child that is better than its parent"
                )
                break
            self._finish(begun or self._begin(number, cycle, stage))
        self.progress.finish(TITLE, note=self._note())

    def checkpoint(self, node: Node) -> Path:
        """Folder of a trained node's weights, which are trained again where they are lost."""
        if node.parent is None:
            return self.proposer.trainer.root
        folder = self.tree.checkpoint(node)
        if folder.is_dir():
            return folder
        begun = self.tree.rounds[int(node.id.split(".")[0])]
        parent = self.tree.nodes[node.parent]
        self.checkpoint(parent)  # before this node is announced: its parent goes first
        self.progress.log(f"GPTran node {node.id}: its weights are lost; it is trained again")
        index = list(begun.steps).index(node.id)
        self._submit(node, begun.steps[node.id], parent, self._seed(begun, index))
        for outcome in self.pool.completed():
            if outcome.error is not None:
                raise GPTranError(
                    f"node {node.id}: failed when it was trained again: {outcome.error}"
                )
        shutil.rmtree(self._start_folder(node.id), ignore_errors=True)
        return folder

    def _rounds_without_gain(self) -> int:
        count = 0
        for number in sorted(self.tree.rounds, reverse=True):
            if self.tree.rounds[number].accepted is not None:
                break
            count += 1
        return count

    def _begin(self, number: int, cycle: int, stage: str) -> Round:
        known = {node.graph_hash for node in self.tree.nodes.values()}
        for node in self.judge.open_nodes(self.tree, stage):
            steps = self.proposer.propose(node, self.checkpoint(node), stage, number, known)
            if steps:
                children = {f"{number}.{i}": step for i, step in enumerate(steps, start=1)}
                return self.tree.start_round(Round(number, cycle, stage, node.id, children))
        return self.tree.start_round(Round(number, cycle, stage, None))

    def _finish(self, begun: Round) -> None:
        accepted, reason, trials = None, "no open node can be changed in this way", 0
        if begun.parent is not None:
            parent = self.tree.nodes[begun.parent]
            trials = self._make_children(begun, parent)
            accepted, reason = self._choose(begun, parent)
        self.tree.end_round(begun.number, accepted, reason)
        self.progress.log(
            f"GPTran round {begun.number}, cycle {begun.cycle}, {begun.stage}: {reason}"
        )
        rest = max(0, self.judge.plan.samples_per_stage - trials)
        self.progress.advance(TITLE, steps=rest, note=self._note())

    def _choose(self, begun: Round, parent: Node) -> tuple[str | None, str]:
        children = [self.tree.nodes[child] for child in begun.steps]
        trained = [child for child in children if child.state == "trained"]
        failed = [child for child in children if child.state == "failed"]
        if failed and not trained:
            raise GPTranError(
                f"round {begun.number}: every child failed; the first one, {failed[0].id}, "
                f"because: {failed[0].reason}"
            )
        chosen = self.judge.choose(trained, parent)
        if chosen is not None:
            return chosen.id, f"{chosen.change} (score {self.judge.score(chosen):+.4f})"
        if trained:
            return None, f"no child of {parent.id} is better than it"
        return None, f"every child of {parent.id} is over the budgets"

    def _make_children(self, begun: Round, parent: Node) -> int:
        """Record every child that is not in the tree; return how many were trained now."""
        states = {self.tree.nodes[child].state for child in begun.steps if child in self.tree.nodes}
        again = "failed" in states and "trained" not in states  # that is what stopped the run
        submitted: dict[str, Node] = {}
        for index, (child, step) in enumerate(begun.steps.items()):
            present = self.tree.nodes.get(child)
            if present is not None and not (again and present.state == "failed"):
                continue
            node = self._dropped(child, step, parent, begun.cycle)
            if not self.proposer.is_kept(node.measures, parent):
                self.tree.add_node(node)
                continue
            self.checkpoint(parent)
            try:
                submitted[child] = self._submit(node, step, parent, self._seed(begun, index))
            except (ValueError, RuntimeError) as error:
                failed = replace(node, state="failed", reason=f"{type(error).__name__}: {error}")
                self.tree.add_node(failed)
                self.progress.log(f"GPTran child {child} failed: {failed.reason}")
        for outcome in self.pool.completed():
            self._record(submitted[outcome.key], outcome)
        return len(submitted)

    def _dropped(self, child: str, step: Step, parent: Node, cycle: int) -> Node:
        """The child as it is recorded if it is not trained."""
        measures = self.proposer.measures(step.architecture)
        excess, reason = self.judge.excess(measures)
        return Node(
            id=child,
            parent=parent.id,
            cycle=cycle,
            stage=step.stage,
            architecture=step.architecture,
            change=step.change,
            state="dropped",
            parameters=measures.parameters,
            hardware=measures.hardware,
            reason=reason,
            within_budgets=excess == 0,
        )

    def _submit(self, node: Node, step: Step, parent: Node, seed: int) -> Node:
        trainer = self.proposer.trainer
        start = self._start_folder(node.id)
        ratio = trainer.start(step, self.checkpoint(parent), start, seed)
        checkpoint = Path("nodes") / node.id
        spec = trainer.trial(node.architecture, start, self.tree.folder / checkpoint, seed)
        self.pool.submit(node.id, spec)
        return replace(node, transfer_ratio=ratio, checkpoint=checkpoint.as_posix())

    def _record(self, node: Node, outcome: TrialOutcome) -> None:
        if outcome.error is not None:
            node = replace(node, state="failed", reason=outcome.error, checkpoint=None)
            self.progress.log(f"GPTran child {node.id} failed: {outcome.error}")
        else:
            evaluation = self.proposer.trainer.judge(outcome)
            node = replace(
                node,
                state="trained",
                metric=evaluation.metric,
                loss=evaluation.loss,
                seconds=evaluation.seconds,
            )
            excess, reason = self.judge.excess(node.measures)
            node = replace(node, within_budgets=excess == 0, reason=reason)
        self.tree.add_node(node)
        shutil.rmtree(self._start_folder(node.id), ignore_errors=True)
        self.progress.advance(TITLE, note=self._note())

    def _seed(self, begun: Round, index: int) -> int:
        """Of a round's child, by its place among its siblings."""
        parts = (self.judge.plan.seed, begun.number, index)
        return int(np.random.SeedSequence(parts).generate_state(1)[0])

    def _start_folder(self, child: str) -> Path:
        return self.tree.folder / "starts" / child

    def _note(self) -> str:
        best = self.judge.best(self.tree)
        return f"best {best.id}, score {self.judge.score(best):+.4f}"


def _result(judge: Judge, tree: Tree, checkpoint: Path) -> GPTranResult:
    best = judge.best(tree)
    root = judge.root
    gain = (best.metric or 0.0) - (root.metric or 0.0)
    reductions = {name: _saved(root, best, name) for name in (*HARDWARE_MEASURES, "parameters")}
    if not best.within_budgets:
        reason = f"no model keeps the budgets; {best.id} breaks them least: {best.reason}"
    elif best.id == ROOT_ID:
        reason = "no improvement: no child has a better score than the root"
    else:
        reason = f"{best.id} has the best score, {judge.score(best):+.4f} over the root"
    return GPTranResult(best, root, tuple(tree.path(best.id)), checkpoint, reductions, gain, reason)


def _saved(root: Node, best: Node, name: str) -> float | None:
    before, after = root.measures.value(name), best.measures.value(name)
    return 1 - after / before if before and after is not None else None
