"""`edgetran export` and `edgetran push`: models for others."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from edgetran.cli.errors import errors
from edgetran.cli.runs import RunFolderArgument


def export(
    folder: RunFolderArgument,
    trial: Annotated[
        int | None,
        typer.Option(min=0, help="Number of a trial of the search; the winner if omitted."),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            help="What opens the model: torch, onnxruntime, openvino, executorch or litert."
        ),
    ] = "onnxruntime",
    precision: Annotated[
        str, typer.Option(help="Numbers that it computes in: fp32, int8, int4 and others.")
    ] = "fp32",
    method: Annotated[
        str, typer.Option(help="How it is made int8: dynamic, static or weight-only.")
    ] = "dynamic",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Folder to write; one in the run's if omitted."
        ),
    ] = None,
) -> None:
    """Write a folder with a model of a run, ready for an engine, and a card that says what it is.

    The winner, or with `--trial` any other point of the search.
    """
    with errors(folder):
        from edgetran.cli.runs import quiet_libraries
        from edgetran.runner.folder import RunFolder

        RunFolder(folder).read_result()
        if method != "dynamic" and precision != "int8":
            raise ValueError(f"--method: {method} given; allowed with --precision int8 alone")
        quiet_libraries()
        from edgetran.artifacts import Form
        from edgetran.runner.handover import export_model

        form = Form(engine, precision, method=None if method == "dynamic" else method)
        form.make_engine().prepare(lambda what: _tell(f"installing {engine}: {what}"))
        with RunFolder(folder) as run:
            made = export_model(run, form, trial=trial, output=output)
        accuracy = made.figures["accuracy"]["value"]
        words = "" if accuracy is None else f"; {accuracy:.4f} on the test part"
        print(f"{made.path}: {made.artifact.words}, {made.artifact.sha256[:12]}…{words}")  # noqa: T201


def push(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="Folder that `edgetran export` wrote.")
    ],
    to: Annotated[
        str, typer.Option("--to", help="hub:OWNER/NAME of the Hugging Face hub, or a new folder.")
    ],
    public: Annotated[
        bool, typer.Option("--public", help="Let everybody read a new repository of the hub.")
    ] = False,
) -> None:
    """Publish an exported model: to a folder, or to a repository of the Hugging Face hub."""
    with errors(model):
        from edgetran.runner.handover import push as push_model

        print(push_model(model, to, public=public))  # noqa: T201


def _tell(sentence: str) -> None:
    print(sentence, file=sys.stderr)  # noqa: T201
