"""Which ProfilingJob measures on which node: one per node, in the order in which they came.

A pure function over all ProfilingJobs of all namespaces, so that any number of operators that see
the same cluster decide the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from operator import attrgetter
from typing import Final

from edgetran_operator.snapshot import BoardVerdict, NodeView, Taint

ARCHITECTURE_LABEL: Final = "kubernetes.io/arch"
_NAMED_NODES: Final = 5

Selector = tuple[tuple[str, str], ...]
"""Labels and their values, sorted."""

Toleration = tuple[str, str, str, str]
"""Key, operator, value and effect of a toleration; empty where omitted."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A ProfilingJob that uses or wants a board.

    Attributes:
        key: what it is called, as `NAMESPACE/NAME`.
        created: when it came, or gave a board back that its worker did not start on.
        selector: labels that its board has.
        tolerations: taints that its board may have.
        node: the board that its status names; empty where none.
        has_worker: whether a worker of its runs or may run on that board.
        waits: whether it wants a board now.
    """

    key: str
    created: datetime
    selector: Selector
    tolerations: tuple[Toleration, ...] = ()
    node: str = ""
    has_worker: bool = False
    waits: bool = True


def assign(claims: Iterable[Claim], nodes: Mapping[str, NodeView]) -> dict[str, BoardVerdict]:
    """The verdict for each claim, by key.

    A board stays with the claim that has a worker on it, else with the one that came first; free
    ones go to those that wait, first come first served. A claim is behind the last one before it
    that wants the same boards, so what it waits for changes only when its own turn comes nearer.
    """
    ordered = sorted(claims, key=attrgetter("created", "key"))
    verdicts: dict[str, BoardVerdict] = {}
    holders = _holders(ordered, nodes, verdicts)
    last: dict[str, str] = dict(holders)
    """The claim that stands last in each node's line."""
    queue = [claim for claim in ordered if claim.waits and claim.key not in verdicts]
    wanted_boards: set[str] = set()
    boards: dict[tuple[Selector, tuple[Toleration, ...]], list[str] | BoardVerdict] = {}
    for claim in queue:
        wanted = (claim.selector, claim.tolerations)
        if wanted not in boards:
            boards[wanted] = [name for name in _matching(*wanted, nodes) if _usable(nodes[name])]
            if not boards[wanted]:
                boards[wanted] = BoardVerdict(problem=explain_no_match(*wanted, nodes))
        usable = boards[wanted]
        if isinstance(usable, BoardVerdict):
            verdicts[claim.key] = usable
            continue
        free = next((name for name in usable if name not in last), None)
        if free is not None:
            verdicts[claim.key] = _own(nodes[free])
            last[free] = claim.key
            continue
        verdicts[claim.key] = BoardVerdict(behind=last[usable[0]])
        last[usable[0]] = claim.key
        wanted_boards.update(usable)
    return {
        key: replace(verdict, wanted=True) if verdict.node in wanted_boards else verdict
        for key, verdict in verdicts.items()
    }


def _holders(
    ordered: Sequence[Claim], nodes: Mapping[str, NodeView], verdicts: dict[str, BoardVerdict]
) -> dict[str, str]:
    """Who holds each board; writes the holders' verdicts."""
    holders: dict[str, str] = {}
    placed = (claim for claim in ordered if claim.node)
    for claim in sorted(placed, key=lambda each: not each.has_worker):
        node = nodes.get(claim.node)
        if node is None or claim.node in holders:
            continue
        if not claim.has_worker and not (claim.waits and _fits(claim, node)):
            continue
        holders[claim.node] = claim.key
        verdicts[claim.key] = _own(node)
    return holders


def _own(node: NodeView) -> BoardVerdict:
    lost = None if node.ready else f"node {node.name} is not ready; its kubelet does not answer"
    return BoardVerdict(
        node=node.name, lost=lost, architecture=node.labels.get(ARCHITECTURE_LABEL, "")
    )


def _usable(node: NodeView) -> bool:
    return node.ready and node.schedulable


def _fits(claim: Claim, node: NodeView) -> bool:
    return node.name in _matching(claim.selector, claim.tolerations, {node.name: node})


def _matching(
    selector: Selector,
    tolerations: tuple[Toleration, ...],
    nodes: Mapping[str, NodeView],
) -> list[str]:
    return sorted(
        name
        for name, node in nodes.items()
        if all(node.labels.get(label) == value for label, value in selector)
        and not _untolerated(node, tolerations)
    )


def _untolerated(node: NodeView, tolerations: tuple[Toleration, ...]) -> list[Taint]:
    """Taints that keep a pod away; those of a node that is not ready are no property of a board."""
    return [
        taint
        for taint in node.taints
        if not taint.key.startswith("node.kubernetes.io/")
        and not any(_tolerates(toleration, taint) for toleration in tolerations)
    ]


def _tolerates(toleration: Toleration, taint: Taint) -> bool:
    key, operator, value, effect = toleration
    if effect and effect != taint.effect:
        return False
    if not key:
        return operator == "Exists"
    return key == taint.key and (operator == "Exists" or value == taint.value)


def explain_no_match(
    selector: Selector,
    tolerations: tuple[Toleration, ...],
    nodes: Mapping[str, NodeView],
) -> str:
    """Which label is missing on which nodes, the nearest ones first; or what else keeps away."""
    wanted = ", ".join(f"{label}={value}" for label, value in selector)
    if not nodes:
        return f"spec.device.nodeSelector: no node has {wanted}; the cluster has no nodes"
    reasons = sorted(
        (_distance(selector, node), name, _why_not(selector, tolerations, node))
        for name, node in nodes.items()
    )
    said = "; ".join(f"{name} {why}" for _, name, why in reasons[:_NAMED_NODES])
    more = f"; and {len(reasons) - _NAMED_NODES} more nodes" if len(reasons) > _NAMED_NODES else ""
    return f"spec.device.nodeSelector: no node matches {wanted}: {said}{more}"


def _distance(selector: Selector, node: NodeView) -> int:
    return sum(node.labels.get(label) != value for label, value in selector)


def _why_not(selector: Selector, tolerations: tuple[Toleration, ...], node: NodeView) -> str:
    wrong = [
        f"has {label}={node.labels[label]}" if label in node.labels else f"has no label {label}"
        for label, value in selector
        if node.labels.get(label) != value
    ]
    if wrong:
        return " and ".join(wrong)
    taints = _untolerated(node, tolerations)
    if taints:
        named = ", ".join(f"{taint.key}={taint.value}:{taint.effect}" for taint in taints)
        return f"has the taint {named}, which spec.device.tolerations does not tolerate"
    return "is not ready" if not node.ready else "is cordoned"
