"""How tests call the command line, and what a refusal looks like."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner, Result

from edgetran.cli import app


def edgetran(*arguments: str | Path | int, columns: int = 100) -> Result:
    """Call `edgetran` with the arguments, on a terminal of so many columns."""
    environment = {"COLUMNS": str(columns), "LINES": "40"}
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env=environment)


def refused(result: Result, *words: str, status: int = 2) -> None:
    """The command ended with one sentence per mistake and no traceback."""
    assert result.exit_code == status, result.output
    assert "Traceback" not in result.output
    assert isinstance(result.exception, SystemExit) or result.exception is None
    for word in words:
        assert word in result.stderr, result.stderr
