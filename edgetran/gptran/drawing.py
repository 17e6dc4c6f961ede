"""The tree of models as text for a terminal."""

from __future__ import annotations

from collections.abc import Collection

from rich.text import Text
from rich.tree import Tree as Drawing

from edgetran.gptran.tree import ROOT_ID, Node, Tree

_STYLES = {"trained": "", "dropped": "dim", "failed": "red"}


def draw_tree(tree: Tree, best: str | None = None) -> Drawing:
    """The nodes as a `rich` tree: id, change, metric, parameters, latency, and what became of it.

    Args:
        tree: what to draw; a tree without a root gives a line that says so.
        best: id of the winner; it and the nodes on its path are marked.
    """
    if tree.root is None:
        return Drawing(Text("no model has been judged yet", style="dim"))
    path = {node.id for node in tree.path(best)} if best else set()
    drawing = Drawing(_line(tree.root, tree, best, path))
    branches = {ROOT_ID: drawing}
    for node in tree.nodes.values():
        if node.parent is not None:
            branches[node.id] = branches[node.parent].add(_line(node, tree, best, path))
    return drawing


def _line(node: Node, tree: Tree, best: str | None, path: Collection[str]) -> Text:
    style = "bold" if node.id in path else _STYLES[node.state]
    words = [f"{node.id}  {node.change}"]
    if node.metric is not None:
        words.append(f"metric {node.metric:.4f}")
    words.append(f"{node.parameters:,} parameters")
    latency = node.hardware.latency_ms
    if latency.value is not None:
        words.append(f"{latency.value:.3g} ms {latency.source}")
    text = Text(" · ".join(words), style=style)
    if node.id == best:
        text.append("  ← best", style="bold green")
    elif accepted := [each for each in tree.rounds.values() if node.id == each.accepted]:
        sure = accepted[0].confidence
        how = "" if sure is None else f", {sure:.0%} sure that it is better"
        text.append(f"  accepted{how}", style="green")
    if node.state != "trained" or not node.within_budgets:
        state = "over budget" if node.state == "trained" else node.state
        text.append(
            f"  {state}: {node.reason}", style="red" if node.state == "failed" else "yellow"
        )
    return text
