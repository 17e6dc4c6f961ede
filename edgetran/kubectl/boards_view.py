"""The boards of a cluster: what they are, who measures on them, and who waits for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from edgetran.api import ConditionType
from edgetran.api.wire import DEVICE_LABEL
from edgetran.kubectl.reading import Data, has_ended, is_true, status_of


@dataclass(frozen=True)
class BoardRow:
    """One node that is a device.

    Attributes:
        node: the node's name.
        device: the value of its label.
        architecture: of its processor.
        ready: whether its kubelet answers.
        schedulable: whether pods may be placed on it.
        taints: `KEY=VALUE:EFFECT` of each, those that a lost node gets left out.
        measuring: NAMESPACE/NAME of the ProfilingJob that has it; empty where none.
        queue: those that wait for it, the next one first.
    """

    node: str
    device: str
    architecture: str
    ready: bool
    schedulable: bool
    taints: tuple[str, ...]
    measuring: str
    queue: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return asdict(self) | {"taints": list(self.taints), "queue": list(self.queue)}


def boards_of(nodes: Iterable[Data], jobs: Iterable[Data]) -> list[BoardRow]:
    """The boards, by device and node.

    Args:
        nodes: the nodes that have the label edgetran.io/device.
        jobs: all ProfilingJobs that may use them.
    """
    going_on = sorted(
        (job for job in jobs if not has_ended(job) and job["spec"].get("device")),
        key=lambda job: (str(job["metadata"].get("creationTimestamp")), _called(job)),
    )
    boards = [_board(node, going_on) for node in nodes]
    return sorted(boards, key=lambda board: (board.device, board.node))


def boards_view(boards: Sequence[BoardRow]) -> RenderableType:
    """The boards as a table.

    Returns:
        What `rich` can print, from 80 columns on.
    """
    if not boards:
        return Text(
            f"No node is a device: none has the label {DEVICE_LABEL}. Say which ones are: "
            f"kubectl label node NODE {DEVICE_LABEL}=NAME"
        )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for title in ("Device", "Node", "State", "Measures now", "Queue", "Taints"):
        table.add_column(title, overflow="fold")
    for board in boards:
        state = Text("ready", "green") if board.ready else Text("not ready", "bold red")
        if not board.schedulable:
            state.append(", cordoned", "yellow")
        if board.architecture:
            state.append(f"\n{board.architecture}", "dim")
        table.add_row(
            board.device,
            board.node,
            state,
            Text(board.measuring or "free", "" if board.measuring else "dim"),
            "\n".join(board.queue),
            "\n".join(board.taints),
        )
    return table


def _board(node: Data, jobs: Sequence[Data]) -> BoardRow:
    metadata, spec = node["metadata"], node.get("spec") or {}
    labels: Mapping[str, str] = metadata.get("labels") or {}
    name = str(metadata["name"])
    holder = next((job for job in jobs if status_of(job).get("node") == name), None)
    waiting = [
        job
        for job in jobs
        if not status_of(job).get("node")
        and not is_true(job, ConditionType.SUSPENDED)
        and not job["spec"].get("suspend")
        and _matches(job["spec"]["device"].get("nodeSelector"), labels)
    ]
    ready = any(
        each["type"] == "Ready" and each["status"] == "True"
        for each in (node.get("status") or {}).get("conditions") or ()
    )
    return BoardRow(
        node=name,
        device=labels.get(DEVICE_LABEL, ""),
        architecture=labels.get("kubernetes.io/arch", ""),
        ready=ready,
        schedulable=not spec.get("unschedulable"),
        taints=tuple(
            _taint(taint)
            for taint in spec.get("taints") or ()
            if not str(taint.get("key")).startswith("node.kubernetes.io/")
        ),
        measuring="" if holder is None else _called(holder),
        queue=tuple(_called(job) for job in waiting),
    )


def _matches(selector: Mapping[str, str] | None, labels: Mapping[str, str]) -> bool:
    if not selector:
        return False
    return all(labels.get(key) == value for key, value in selector.items())


def _taint(taint: Data) -> str:
    value = f"={taint['value']}" if taint.get("value") else ""
    return f"{taint.get('key')}{value}:{taint.get('effect')}"


def _called(job: Data) -> str:
    return f"{job['metadata'].get('namespace')}/{job['metadata']['name']}"
