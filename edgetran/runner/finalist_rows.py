"""The rows of a result that are artefacts, by the words that status and folders have for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

FINALISTS: Final = ("winner", "searchBest", "baseline")
"""Rows of a result that are artefacts to measure, whatever they come to."""

RUNNERS_UP: Final = "runnersUp"
"""Key of a result that lists the rows of the next best, the best by prediction first."""

RUNNER_UP: Final = "runnerUp"
"""One of these is called so, with its number from 1."""


def measurable_rows(result: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The rows of a result that may be measured: the winner first, `runnerUp1` and so on last."""
    rows = {key: result[key] for key in FINALISTS if result.get(key) is not None}
    more = result.get(RUNNERS_UP) or ()
    return rows | {f"{RUNNER_UP}{number}": row for number, row in enumerate(more, start=1)}
