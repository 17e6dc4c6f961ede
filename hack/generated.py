"""What every script that generates files of the repository does with them: write, or check."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).resolve().parent.parent


def write_or_check(
    arguments: Sequence[str], wanted: Mapping[Path, str], *, by: str, beside: Iterable[Path] = ()
) -> int:
    """Write the files that are not as they must be, or with `--check` name them.

    Args:
        arguments: those of the command line: nothing, or `--check`.
        wanted: the text of each generated file.
        by: the command that writes them.
        beside: files that exist where only generated ones may; those not `wanted` are removed.

    Returns:
        The exit status: 1 where `--check` found a stale file, 2 for other arguments.
    """
    if list(arguments) not in ([], ["--check"]):
        given = " ".join(arguments)
        print(f"{Path(sys.argv[0]).name}: {given} given; allowed is --check", file=sys.stderr)
        return 2
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    extra = [path for path in beside if path not in wanted]
    if arguments:
        for path in (*stale, *extra):
            name = path.relative_to(_ROOT) if path.is_relative_to(_ROOT) else path
            print(f"{name} is stale: {by}", file=sys.stderr)
        return int(bool(stale or extra))
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path])
    for path in extra:
        path.unlink()
    return 0
