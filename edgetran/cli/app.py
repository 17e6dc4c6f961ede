"""The program `edgetran`: its commands and groups of commands put together."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from edgetran import __version__
from edgetran.cli.devices import devices_app
from edgetran.cli.errors import FAILED, WORKER_PACKAGES, missing_package
from edgetran.cli.gptran import gptran_app
from edgetran.cli.handover import export, push
from edgetran.cli.profile import profile_app
from edgetran.cli.runs import report, run, show, track, validate
from edgetran.cli.serving import serve

app = typer.Typer(
    help="Find the best transformer and the best edge device for a task: measure, search, refine.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.command()(validate)
app.command()(run)
app.add_typer(profile_app, name="profile")
for command in (show, report, track, export, push, serve):
    app.command()(command)
app.add_typer(devices_app, name="devices")
app.add_typer(gptran_app, name="gptran")


def main() -> None:
    """Entry point of the console script."""
    try:
        app()
    except ModuleNotFoundError as error:  # of a module that a command imports before it begins
        if error.name not in WORKER_PACKAGES:
            raise
        print(f"edgetran: {missing_package(error)}", file=sys.stderr)  # noqa: T201
        sys.exit(FAILED)


def _version(value: bool) -> None:
    if value:
        print(f"edgetran {__version__}")  # noqa: T201
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version
