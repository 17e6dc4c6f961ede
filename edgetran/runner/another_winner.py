"""A search that went on to larger limits may have another winner than the one that was refined."""

from __future__ import annotations

from pathlib import Path

from edgetran.records import read_records
from edgetran.runner.folder import RunFolder


def set_aside_other_tree(folder: RunFolder, root: Path) -> Path | None:
    """Move GPTran's folder aside where its tree grew from another trial than `root`.

    Args:
        folder: the run's folder, which holds the search too.
        root: the checkpoint of the search's winner.

    Returns:
        Where the other tree is kept now; None where there is none.

    Raises:
        RecordError: a tree that cannot be read.
    """
    nodes = read_records(folder.gptran / "tree.jsonl")
    planted = next((str(node["checkpoint"]) for node in nodes if node.get("id") == "root"), None)
    if planted is None or Path(planted).name == root.name:
        return None
    number = 1
    while (kept := folder.path / f"gptran-{number}").exists():
        number += 1
    return folder.gptran.rename(kept)
