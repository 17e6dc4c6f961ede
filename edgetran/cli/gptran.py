"""`edgetran gptran`: look at growing and pruning."""

from __future__ import annotations

import typer
from rich.console import Console

from edgetran.cli.errors import errors
from edgetran.cli.runs import RunFolderArgument

gptran_app = typer.Typer(help="Look at growing and pruning.", no_args_is_help=True)


@gptran_app.command("tree")
def tree(folder: RunFolderArgument) -> None:
    """Draw the tree of models that growing and pruning made."""
    from edgetran.gptran import draw_tree, read_tree
    from edgetran.runner.folder import RunFolder

    with errors(folder):
        path = RunFolder(folder).gptran / "tree.jsonl"
        if not path.exists():
            raise ValueError(f"{path}: no such file; this run has not grown or pruned anything")
        Console().print(draw_tree(read_tree(path)))
