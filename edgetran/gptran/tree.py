"""The tree of models: GPTran's whole state, in a log that is appended after every event.

The log holds, in the order in which they happened, records of four types:

    {"type": "plan", "schema_version": 1, "plan": …}        first, whose run this is
    {"type": "node", …}                                      a model: trained, dropped or failed
    {"type": "round", "round": 1, "parent": …, "steps": …}   which children a round will make
    {"type": "choice", "round": 1, "accepted": …}            how the round ended

A round's children are in the log before work on them begins, so a killed run continues with the
very same children whatever the hardware rounds differently.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from edgetran.devices import Figure, HardwareFigures
from edgetran.gptran.blocks import GPTranError
from edgetran.gptran.paired import Outcomes
from edgetran.gptran.steps import Step
from edgetran.records import JsonLog, read_records
from edgetran.search import Measures
from edgetran.space import Architecture

SCHEMA_VERSION: Final = 1
ROOT_ID: Final = "root"
CONTROL: Final = "control"
"""Stage of the root trained on without any change, and the beginning of its ids: the number after
it says as long as how many children."""

SCHEDULE: Final = "schedule"
"""Stage of the big cuts to targets and budgets."""

STATES: Final = ("trained", "dropped", "failed")


@dataclass(frozen=True)
class Node:
    """One model of the tree.

    Attributes:
        id: "root", ROUND.INDEX such as "3.1", or "control.2".
        parent: id of the node that it was made from; None for the root.
        cycle: cycle in which it was made, from 1; 0 for those before the cycles and the control.
        stage: stage in which it was made, "root", "schedule" or "control".
        architecture: its architecture.
        change: what was changed, in words.
        state: "trained"; "dropped" before training, being over budget; or "failed".
        reason: why it was dropped, why it failed, or which budget it breaks.
        parameters: number of parameters.
        hardware: what it costs on the device, per sequence.
        metric: the task's selection metric on the validation split; None unless trained.
        loss: loss on the validation split; None unless trained.
        within_budgets: whether it keeps every budget.
        transfer_ratio: share of its starting weights that come from the parent.
        checkpoint: folder of its weights, relative to the tree's folder where it lies below it.
        seconds: time that its training and evaluation took, s.
        outcomes: how it does on each validation example; None where that is not known.
    """

    id: str
    parent: str | None
    cycle: int
    stage: str
    architecture: Architecture
    change: str
    state: str
    parameters: int
    hardware: HardwareFigures
    reason: str | None = None
    metric: float | None = None
    loss: float | None = None
    within_budgets: bool = True
    transfer_ratio: float | None = None
    checkpoint: str | None = None
    seconds: float | None = None
    outcomes: Outcomes | None = None

    @property
    def graph_hash(self) -> str:
        """Identity of its architecture."""
        return self.architecture.graph_hash

    @property
    def measures(self) -> Measures:
        """Its figures, as constraints and objectives read them."""
        untrained = Measures.untrained(self.hardware, self.parameters)
        if self.metric is None:
            return untrained
        return untrained.with_accuracy(Figure(self.metric, "", "measured"))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "id": self.id,
            "parent": self.parent,
            "cycle": self.cycle,
            "stage": self.stage,
            "architecture": self.architecture.to_model_dict(),
            "graph_hash": self.graph_hash,
            "change": self.change,
            "state": self.state,
            "reason": self.reason,
            "parameters": self.parameters,
            "hardware": self.hardware.to_dict(),
            "metric": self.metric,
            "loss": self.loss,
            "within_budgets": self.within_budgets,
            "transfer_ratio": self.transfer_ratio,
            "checkpoint": self.checkpoint,
            "seconds": self.seconds,
            "outcomes": None if self.outcomes is None else self.outcomes.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Node:
        """The inverse of `to_dict`; the graph hash is computed again, never believed."""
        values = {key: data[key] for key in cls.__dataclass_fields__ if key != "outcomes"}
        outcomes = data.get("outcomes")
        values["outcomes"] = None if outcomes is None else Outcomes.from_dict(outcomes)
        values["architecture"] = Architecture.from_model_dict(data["architecture"])
        values["hardware"] = HardwareFigures.from_dict(data["hardware"])
        return cls(**values)


@dataclass(frozen=True)
class Round:
    """One stage of one cycle, on one node.

    Attributes:
        number: counted from 1 over all cycles.
        cycle: counted from 1.
        stage: what kind of change it makes.
        parent: id of the node whose children it makes; None where nothing could be changed.
        steps: the change that makes each child, by the child's id.
        accepted: id of the child that goes on; None where none does.
        ended: whether the choice has been made.
        reason: why it ended so.
        confidence: how sure a paired test is that the accepted child is better than its parent;
            None where none was accepted or it is not known.
    """

    number: int
    cycle: int
    stage: str
    parent: str | None
    steps: Mapping[str, Step] = field(default_factory=dict)
    accepted: str | None = None
    ended: bool = False
    reason: str | None = None
    confidence: float | None = None


class Tree:
    """The nodes and rounds of a run, written to the log as they are added.

    Args:
        path: the log, usually `gptran/tree.jsonl`; continued where it exists.
        plan: what identifies the run, plain JSON data.

    Raises:
        GPTranError: the log is of another plan or schema version, or contradicts itself.
    """

    def __init__(self, path: str | os.PathLike[str], plan: Mapping[str, Any]) -> None:
        self.folder = Path(path).parent
        self.nodes: dict[str, Node] = {}
        self.rounds: dict[int, Round] = {}
        self._log = JsonLog(path)
        records = list(self._log)
        if not records:
            self._log.append({"type": "plan", "schema_version": SCHEMA_VERSION, "plan": dict(plan)})
        else:
            _check_plan(path, records[0], plan)
        for record in records[1:]:
            self._take(record)

    @property
    def control(self) -> Node | None:
        """The root trained on for longest without any change; None where that is not done yet."""
        trained = [node for node in self.nodes.values() if node.stage == CONTROL]
        return max(trained, key=lambda node: int(node.id.split(".")[1]), default=None)

    @property
    def root(self) -> Node | None:
        """The model that the run began with, once it is evaluated."""
        return self.nodes.get(ROOT_ID)

    def children(self, node_id: str) -> list[Node]:
        """Nodes made from `node_id`, in order of creation."""
        return [node for node in self.nodes.values() if node.parent == node_id]

    def path(self, node_id: str) -> list[Node]:
        """The nodes from the root to `node_id`, both included."""
        path = []
        current: str | None = node_id
        while current is not None:
            path.append(self.nodes[current])
            current = self.nodes[current].parent
        return path[::-1]

    def checkpoint(self, node: Node) -> Path:
        """Folder of a trained node's weights."""
        if node.checkpoint is None:
            raise GPTranError(f"node {node.id}: has no checkpoint, it is {node.state}")
        return self.folder / node.checkpoint  # an absolute checkpoint stays itself

    def add_node(self, node: Node) -> None:
        """Record a node that has reached its final state."""
        self._write({"type": "node", **node.to_dict()})

    def start_round(self, begun: Round) -> Round:
        """Record what a round will make, before it begins."""
        self._write(
            {
                "type": "round",
                "round": begun.number,
                "cycle": begun.cycle,
                "stage": begun.stage,
                "parent": begun.parent,
                "steps": {child: step.to_dict() for child, step in begun.steps.items()},
            }
        )
        return self.rounds[begun.number]

    def end_round(
        self, number: int, accepted: str | None, reason: str, confidence: float | None = None
    ) -> None:
        """Record which child of a round goes on, or that none does, why, and how sure that is."""
        self._write(
            {
                "type": "choice",
                "round": number,
                "accepted": accepted,
                "reason": reason,
                "confidence": confidence,
            }
        )

    def _write(self, record: dict[str, Any]) -> None:
        self._log.append(record)
        self._take(record)

    def _take(self, record: Mapping[str, Any]) -> None:
        try:
            _TAKE[record["type"]](self, record)
        except KeyError as error:
            raise GPTranError(f"{self._log.path}: {error} is missing or unknown") from None

    def _take_node(self, record: Mapping[str, Any]) -> None:
        node = Node.from_dict(record)
        self.nodes[node.id] = node

    def _take_round(self, record: Mapping[str, Any]) -> None:
        steps = {child: Step.from_dict(step) for child, step in record["steps"].items()}
        self.rounds[record["round"]] = Round(
            record["round"], record["cycle"], record["stage"], record["parent"], steps
        )

    def _take_choice(self, record: Mapping[str, Any]) -> None:
        self.rounds[record["round"]] = replace(
            self.rounds[record["round"]],
            accepted=record["accepted"],
            ended=True,
            reason=record["reason"],
            confidence=record.get("confidence"),
        )


_TAKE: Final = {
    "node": Tree._take_node,
    "round": Tree._take_round,
    "choice": Tree._take_choice,
}


def read_tree(path: str | os.PathLike[str]) -> Tree:
    """The tree of a log, whatever its plan, for looking at it.

    Raises:
        GPTranError: there is no tree in the file.
    """
    records = read_records(path)
    if not records or records[0].get("type") != "plan":
        raise GPTranError(f"{path}: holds no tree; give the gptran/tree.jsonl of a run")
    return Tree(path, records[0]["plan"])


def _check_plan(path: str | os.PathLike[str], first: Mapping[str, Any], plan: Any) -> None:
    if first.get("type") != "plan" or first.get("schema_version") != SCHEMA_VERSION:
        raise GPTranError(
            f"{path}: is not a tree of schema version {SCHEMA_VERSION}; give another folder"
        )
    old, new = _without_nulls(first["plan"]), _without_nulls(plan)
    if old != new:
        different = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
        raise GPTranError(
            f"{path}: belongs to a run with other settings ({', '.join(different)}); "
            "continue it with the same ones or give another folder"
        )


def _without_nulls(value: Any) -> Any:
    """The data without keys that say nothing: logs of before a measure was added lack its bound."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    return value
