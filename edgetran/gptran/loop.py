"""The loop of GPTran: big cuts to the targets, then cycles of grow and prune stages, in a tree.

A big cut is solved for over the whole model (`edgetran.gptran.schedule`) and trained; each target
goes on from the one before. Each round of a cycle takes one stage to the best open node of the
tree: it proposes changes, predicts what they cost on the device, drops those over the budgets,
trains the others in parallel from the parent's weights, and lets the best acceptable child go on
(GPTran of Tuli and Jha, arXiv 2303.13745; here aware of the hardware, selecting on held-out data,
and resumable at any moment).

At the end the model that was given is trained as long as the result was, without any change: what
is not better than this control did not come from growing and pruning.

Weights may be lost while the tree stays: those of a node that is needed are trained again, as they
were trained first. So only those that may be needed are kept.
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
from edgetran.gptran.milestones import BudgetError, Milestone, milestones
from edgetran.gptran.model_trainer import ModelTrainer
from edgetran.gptran.paired import confidence
from edgetran.gptran.plan import GPTranPlan
from edgetran.gptran.proposing import Proposer
from edgetran.gptran.steps import Step
from edgetran.gptran.tree import CONTROL, ROOT_ID, SCHEDULE, Node, Round, Tree
from edgetran.profiling import Predictor
from edgetran.progress import Progress, SilentProgress
from edgetran.search import HARDWARE_MEASURES, Measures
from edgetran.training import RayClusterError

if TYPE_CHECKING:
    from edgetran.training import TrialOutcome, TrialPool

TITLE: Final = "grow and prune"
"""The stage under which progress is reported."""


OPEN_KEPT: Final = 5
"""Open nodes whose weights are kept while a run goes on, besides those on its way."""


@dataclass(frozen=True)
class FamilyMember:
    """What one target came to.

    Attributes:
        target: in a word, such as "speedup 4".
        node: the model that meets it; None where no cut was found.
        checkpoint: folder of its weights.
    """

    target: str
    node: Node | None
    checkpoint: Path | None


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
        control: the root trained as long as the winner, unchanged; None where it was not needed
            or failed.
        confidence: how sure a paired test on the validation examples is that the winner is better
            than the control; None where it is not known.
        helped: whether the winner is better than the control, as `Judge.helped` has it; None
            where there is no control.
        family: one entry per target.
    """

    best: Node
    root: Node
    steps: tuple[Node, ...]
    checkpoint: Path
    reductions: Mapping[str, float | None]
    metric_gain: float
    reason: str
    control: Node | None = None
    confidence: float | None = None
    helped: bool | None = None
    family: tuple[FamilyMember, ...] = ()

    @property
    def improved(self) -> bool:
        """Whether a child beat the root; training alone may do so too, see `helped`."""
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
        BudgetError: a budget cannot be checked on this device, or it or a target is out of reach.
        RayClusterError: there is nowhere to train.
        GPTranError: the folder belongs to another plan, or every child of a round failed.
    """
    folder = Path(folder)
    tree = Tree(folder / "tree.jsonl", {**plan.identity, "children": dict(trainer.settings)})
    root_node = tree.root or _plant(plan, tree, trainer, predictor)
    judge = Judge(plan, root_node)
    proposer = Proposer(judge, trainer, predictor)
    marks = milestones(plan, root_node)
    for milestone in marks:
        if milestone.last:
            proposer.check_reachable(milestone, root_node.architecture)
    run = _Run(tree, judge, proposer, pool, progress or SilentProgress(), marks)
    run.to_end()
    best = judge.best(tree)
    checkpoint = run.checkpoint(best)
    run.sweep(0)
    return _result(judge, tree, checkpoint, run.family())


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
        outcomes=evaluation.outcomes,
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
    milestones: tuple[Milestone, ...]

    def to_end(self) -> None:
        plan = self.judge.plan
        cuts = len(self.milestones)
        rounds = [(0, SCHEDULE)] * cuts + plan.rounds()
        ended = min(len(rounds), sum(each.ended for each in self.tree.rounds.values()))
        children = plan.samples_per_stage
        done = min(ended, cuts) + max(0, ended - cuts) * children
        self.progress.start(TITLE, total=cuts + (len(rounds) - cuts) * children + 1, done=done)
        for number, (cycle, stage) in enumerate(rounds, start=1):
            begun = self.tree.rounds.get(number)
            if begun is not None and begun.ended:
                continue
            if begun is None and self._rounds_without_gain() >= plan.patience:
                self.progress.log(
                    f"GPTran stops before round {number}: {plan.patience} rounds in a row brought "
                    "no child better than its parent"
                )
                break
            if begun is None and stage == SCHEDULE:
                begun = self._begin_cut(number, self.milestones[number - 1])
            self._finish(begun or self._begin(number, cycle, stage))
            self.sweep(OPEN_KEPT)
        self._control(self.judge.best(self.tree))
        self.progress.finish(TITLE, note=self._note())

    def _control(self, best: Node) -> None:
        """Train the root without any change for as long as the winner; a failure is a node too."""
        name = control_id(self.tree, best)
        if name in self.tree.nodes:
            self.progress.advance(TITLE)
            return
        root = self.judge.root
        node = replace(
            root,
            id=name,
            parent=ROOT_ID,
            stage=CONTROL,
            change=f"no change, trained as long as {best.id}",
            transfer_ratio=1.0,
            metric=None,
            loss=None,
            outcomes=None,
        )
        self._record(self._submit_control(node), *self.pool.completed())

    def _submit_control(self, node: Node) -> Node:
        trainer, root = self.proposer.trainer, self.judge.root
        checkpoint = Path("nodes") / node.id
        trainings = int(node.id.split(".")[1])
        seed = int(np.random.SeedSequence((self.judge.plan.seed, 0)).generate_state(1)[0])
        folder = self.tree.folder / checkpoint
        spec = trainer.trial(root.architecture, trainer.root, folder, seed, trainings)
        self.pool.submit(node.id, spec)
        return replace(node, checkpoint=checkpoint.as_posix())

    def family(self) -> tuple[FamilyMember, ...]:
        """The model of each target."""
        members = []
        for number, milestone in enumerate(self.milestones, start=1):
            if not milestone.last or milestone.asked is None:
                continue
            ended = self.tree.rounds.get(number)
            name = None if ended is None else ended.accepted or ended.parent
            node = None if name is None else self.tree.nodes[name]
            if node is not None and not self.proposer.keeps(node.architecture, milestone):
                node = None
            checkpoint = None if node is None else self.checkpoint(node)
            members.append(FamilyMember(milestone.title, node, checkpoint))
        return tuple(members)

    def sweep(self, open_kept: int) -> None:
        """Remove the weights of nodes that nothing goes on from.

        Kept are the accepted nodes, the way to the best one, the control, and some of those that
        are open.
        """
        way = self.tree.path(self.judge.best(self.tree).id)
        kept = {each.accepted for each in self.tree.rounds.values()} | {node.id for node in way}
        trained = [node for node in self.tree.nodes.values() if node.state == "trained"]
        trained.sort(key=lambda node: -self.judge.score(node))
        kept |= {node.id for node in trained[:open_kept]}
        for node in trained:
            inside = node.stage not in ("root", CONTROL) and node.id not in kept
            if inside and node.checkpoint is not None:
                shutil.rmtree(self.tree.folder / node.checkpoint, ignore_errors=True)

    def checkpoint(self, node: Node) -> Path:
        """Folder of a trained node's weights, which are trained again where they are lost."""
        if node.parent is None:
            return self.proposer.trainer.root
        folder = self.tree.checkpoint(node)
        if folder.is_dir():
            return folder
        if node.stage == CONTROL:
            raise GPTranError(f"node {node.id}: the control's weights are lost")
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
            ended = self.tree.rounds[number]
            if ended.accepted is not None or ended.stage == SCHEDULE:
                break
            count += 1
        return count

    def _begin_cut(self, number: int, milestone: Milestone) -> Round:
        """The cut to a milestone, from the one before or from the root."""
        parent = self.judge.root
        before = self.tree.rounds.get(number - 1)
        if not milestone.first and before is not None:
            parent = self.tree.nodes[before.accepted or before.parent or ROOT_ID]
        steps: dict[str, Step] = {}
        if not self.proposer.keeps(parent.architecture, milestone):
            self.progress.log(
                f"GPTran round {number}: weighing every block of {parent.id} to choose what to cut "
                f"for {milestone.title}; this may take minutes"
            )
            step = self.proposer.propose_cut(parent, self.checkpoint(parent), milestone)
            steps = {} if step is None else {f"{number}.1": step}
        return self.tree.start_round(Round(number, 0, SCHEDULE, parent.id, steps))

    def _begin(self, number: int, cycle: int, stage: str) -> Round:
        known = {node.graph_hash for node in self.tree.nodes.values()}
        for node in self.judge.open_nodes(self.tree, stage):
            steps = self.proposer.propose(node, self.checkpoint(node), stage, number, known)
            if steps:
                children = {f"{number}.{i}": step for i, step in enumerate(steps, start=1)}
                return self.tree.start_round(Round(number, cycle, stage, node.id, children))
        return self.tree.start_round(Round(number, cycle, stage, None))

    def _finish(self, begun: Round) -> None:
        accepted, sure, trials = None, None, 0
        reason = "no open node can be changed in this way"
        if begun.parent is not None:
            parent = self.tree.nodes[begun.parent]
            trials = self._make_children(begun, parent)
            accepted, reason = self._choose(begun, parent)
            if accepted is not None:
                sure = confidence(self.tree.nodes[accepted].outcomes, parent.outcomes)
        self.tree.end_round(begun.number, accepted, reason, sure)
        place = "big cut" if begun.stage == SCHEDULE else f"cycle {begun.cycle}, {begun.stage}"
        self.progress.log(f"GPTran round {begun.number}, {place}: {reason}")
        children = 1 if begun.stage == SCHEDULE else self.judge.plan.samples_per_stage
        self.progress.advance(TITLE, steps=max(0, children - trials), note=self._note())

    def _choose(self, begun: Round, parent: Node) -> tuple[str | None, str]:
        children = [self.tree.nodes[child] for child in begun.steps]
        trained = [child for child in children if child.state == "trained"]
        failed = [child for child in children if child.state == "failed"]
        if failed and not trained:
            raise GPTranError(
                f"round {begun.number}: every child failed; the first one, {failed[0].id}, "
                f"because: {failed[0].reason}"
            )
        if begun.stage == SCHEDULE and not children:
            milestone = self.milestones[begun.number - 1]
            if self.proposer.keeps(parent.architecture, milestone):
                return None, f"{parent.id} keeps {milestone.title} already"
            return None, f"no cut of {parent.id} was found that keeps {milestone.title}"
        chosen = self.judge.choose(trained, parent, self._base(parent))
        if chosen is not None:
            return chosen.id, f"{chosen.change} (score {self.judge.score(chosen):+.4f})"
        if trained:
            return None, f"no child of {parent.id} is better than it"
        return None, f"every child of {parent.id} is over the budgets"

    def _base(self, node: Node) -> Node:
        """The root, or the big cut from which the cycles began."""
        path = self.tree.path(node.id)
        return next((each for each in reversed(path) if each.stage == SCHEDULE), path[0])

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
            if begun.stage != SCHEDULE and not self.proposer.is_kept(node.measures, parent):
                self.tree.add_node(node)
                continue
            self.checkpoint(parent)
            try:
                submitted[child] = self._submit(node, step, parent, self._seed(begun, index))
            except (
                RayClusterError
            ):  # no child's fault: the run fails, and tries again when continued
                raise
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
                outcomes=evaluation.outcomes,
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


def control_id(tree: Tree, best: Node) -> str:
    """Id of the control that is trained as long as `best`, once at least."""
    return f"{CONTROL}.{max(1, len(tree.path(best.id)) - 1)}"


def _result(
    judge: Judge, tree: Tree, checkpoint: Path, family: tuple[FamilyMember, ...]
) -> GPTranResult:
    best = judge.best(tree)
    root = judge.root
    gain = (best.metric or 0.0) - (root.metric or 0.0)
    reductions = {name: _saved(root, best, name) for name in (*HARDWARE_MEASURES, "parameters")}
    control = tree.nodes.get(control_id(tree, best))
    if control is not None and control.state != "trained":
        control = None
    sure = None if control is None else confidence(best.outcomes, control.outcomes)
    helped = judge.helped(best, control)
    if not best.within_budgets:
        reason = f"no model keeps the budgets; {best.id} breaks them least: {best.reason}"
    elif best.id == ROOT_ID:
        reason = "no improvement: no child has a better score than the root"
    else:
        reason = f"{best.id} has the best score, {judge.score(best):+.4f} over the root"
        if control is not None and control.metric is not None and best.metric is not None:
            reason += f"; its metric is {best.metric - control.metric:+.4f} against the control's"
            reason += "" if sure is None else f" ({sure:.0%} sure that it is better)"
        if helped is False:
            reason += "; training alone, without any change, does as much"
    return GPTranResult(
        best,
        root,
        tuple(tree.path(best.id)),
        checkpoint,
        reductions,
        gain,
        reason,
        control,
        sure,
        helped,
        family,
    )


def _saved(root: Node, best: Node, name: str) -> float | None:
    before, after = root.measures.value(name), best.measures.value(name)
    return 1 - after / before if before and after is not None else None
