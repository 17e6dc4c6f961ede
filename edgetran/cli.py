"""The command line: `edgetran`.

Exit status: 0 done, 1 a run that failed, 2 bad input, 130 interrupted by Ctrl-C.
"""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Final, NoReturn

import typer
from rich.console import Console

from edgetran import __version__
from edgetran.api import SpecError, load_bundle

FAILED: Final = 1
BAD_INPUT: Final = 2
INTERRUPTED: Final = 130

app = typer.Typer(
    help="Find the best transformer and the best edge device for a task: measure, search, refine.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
devices_app = typer.Typer(
    help="The devices that a search can choose from, and what this host offers.",
    invoke_without_command=True,
)
app.add_typer(devices_app, name="devices")
gptran_app = typer.Typer(help="Look at growing and pruning.", no_args_is_help=True)
app.add_typer(gptran_app, name="gptran")

FileOption = Annotated[
    list[Path],
    typer.Option("--file", "-f", help="YAML file or folder with resources; may be repeated."),
]
RunFolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a run.")]


def main() -> None:
    """Entry point of the console script."""
    app()


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


@app.command()
def validate(
    files: FileOption,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Change a field, as in `edgetran run`."),
    ] = None,
) -> None:
    """Check resources without running anything; every mistake is told at once."""
    with _errors():
        bundle = load_bundle(*files, settings=settings or ())
    for resource in bundle.resources:
        print(f"{resource.label}: valid")  # noqa: T201


@app.command()
def run(
    files: FileOption,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Folder of the run; runs/NAME-OF-FILE if omitted."
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            help="Continue the unfinished run of the same resources that DIR holds; --no-resume "
            "wants an empty folder."
        ),
    ] = True,
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=2**31 - 1, help="The seed of every resource: spec.seed=SEED."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="PATH=VALUE",
            help="Change a field, e.g. `spec.search.maxTrials=5` or "
            "`CoDesignSearch/quickstart:spec.seed=1`; may be repeated.",
        ),
    ] = None,
) -> None:
    """Measure, search and refine on this machine, as the resources say.

    All that happens is kept in DIR, step by step: after Ctrl-C, a crash or a power cut the same
    command goes on where it stopped.
    """
    changes = list(settings or ())
    if seed is not None:
        changes.append(f"spec.seed={seed}")
    folder = output if output is not None else Path("runs") / files[0].stem
    with _errors(folder):
        bundle = load_bundle(*files, settings=changes)
        _run(bundle, folder, resume=resume)


def _run(bundle: Any, path: Path, *, resume: bool) -> None:
    from edgetran.runner.chain import plan_chain

    chain = plan_chain(bundle)
    _require_extras(trains=chain.task is not None)
    _quiet_libraries()

    from edgetran import api
    from edgetran.runner.folder import RunFolder
    from edgetran.runner.progress import TerminalProgress
    from edgetran.runner.run import run_chain

    console = Console()
    with RunFolder(path) as folder:
        continued = folder.claim(api.dump(*chain.resources), resume=resume)
        if folder.complete:
            console.print(f"{path}: this run is complete; its result again:\n", highlight=False)
            _show(folder, console)
            return
        if continued:
            console.print(f"{path}: continuing where it stopped", highlight=False)
        from edgetran.records import JsonLog

        with (
            _terminated_like_interrupted(),
            TerminalProgress(console, JsonLog(folder.log)) as progress,
        ):
            run_chain(chain, folder, progress)
        _show(folder, console)


@app.command()
def show(folder: RunFolderArgument) -> None:
    """Print the result of a run again."""
    from edgetran.runner.folder import RunFolder

    with _errors(folder):
        _show(RunFolder(folder), Console())


@app.command()
def report(folder: RunFolderArgument) -> None:
    """Write report.html of a run again."""
    from edgetran.report import write_report
    from edgetran.runner.folder import RunFolder

    with _errors(folder):
        RunFolder(folder).read_result()
        print(write_report(folder))  # noqa: T201


def _show(folder: Any, console: Console) -> None:
    from edgetran.report import result_table, write_report

    result = folder.read_result()
    if not folder.report.exists():
        write_report(folder.path)
    console.print()
    console.print(result_table(result))
    console.print(f"\nReport: {folder.report}", highlight=False, soft_wrap=True)
    if result["winner"] is not None:
        console.print(f"Model:  {folder.model} and {folder.onnx}", highlight=False, soft_wrap=True)


@devices_app.callback()
def devices(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """List devices, and what was found on this host."""
    if context.invoked_subcommand is not None:
        return
    from edgetran.devices import catalogue, host_info, power_sources

    host = host_info()
    sources = [(source, source.available()) for source in power_sources()]
    if as_json:
        print(  # noqa: T201
            json.dumps(
                {
                    "host": host.to_dict(),
                    "powerSources": [
                        {"name": source.name, "available": reason is None, "reason": reason}
                        for source, reason in sources
                    ],
                    "simulated": {name: device.description for name, device in catalogue().items()},
                },
                indent=2,
            )
        )
        return
    from edgetran.runner.host_view import devices_view

    Console().print(devices_view(host, sources, catalogue()))


@gptran_app.command("tree")
def gptran_tree(folder: RunFolderArgument) -> None:
    """Draw the tree of models that growing and pruning made."""
    from edgetran.gptran import draw_tree, read_tree
    from edgetran.runner.folder import RunFolder

    with _errors(folder):
        path = RunFolder(folder).gptran / "tree.jsonl"
        if not path.exists():
            raise ValueError(f"{path}: no such file; this run has not grown or pruned anything")
        Console().print(draw_tree(read_tree(path)))


def _require_extras(*, trains: bool) -> None:
    """Refuse before hours of work what would fail for want of a package at their end."""
    packages = {
        "worker": ["torch", "transformers", "ray", "sklearn"],
        "report": ["jinja2", "plotly"],
    }
    if trains:
        packages["onnx"] = ["onnx", "onnxruntime", "onnxscript"]
    for extra, names in packages.items():
        missing = [name for name in names if importlib.util.find_spec(name) is None]
        if missing:
            _fail(f'{missing[0]} is not installed: pip install "edgetran[{extra}]"', FAILED)


def _quiet_libraries() -> None:
    """Warnings and bars of libraries do not disturb ours; errors still come through."""
    import logging
    import warnings

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    warnings.filterwarnings("ignore")
    logging.getLogger().setLevel(logging.ERROR)


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM ends the run as Ctrl-C does: Ray is shut down, the state is kept."""

    def interrupt(signum: int, frame: FrameType | None) -> NoReturn:
        del signum, frame
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _errors(folder: Path | None = None) -> Iterator[None]:
    """One clear message and an exit status for whatever goes wrong."""
    try:
        yield
    except SpecError as error:
        _fail(str(error), BAD_INPUT)
    except KeyboardInterrupt:
        _fail("interrupted; what is done is kept, the same command goes on", INTERRUPTED)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            _fail(
                f"{folder}: no space is left on the disk; what is done is kept: make room and run "
                "the same command again",
                FAILED,
            )
        _fail(f"{error.filename or folder or ''}: {error.strerror or error}".lstrip(": "), FAILED)
    except ValueError as error:
        _fail(str(error), BAD_INPUT)
    except Exception as error:  # noqa: BLE001 - the last resort: a sentence, the details in a file
        _fail(_unexpected(error, folder), FAILED)


def _unexpected(error: Exception, folder: Path | None) -> str:
    """The error in a sentence; the traceback of one that is not ours goes to a file."""
    if type(error).__module__.startswith("edgetran."):
        return str(error)
    import traceback

    text = f"{type(error).__name__}: {_first_line(str(error))}"
    if folder is None or not folder.is_dir():
        return text
    path = folder / "error.txt"
    path.write_text("".join(traceback.format_exception(error)))
    return f"{text} (details in {path})"


def _first_line(text: str) -> str:
    """The first line that says something, without colours."""
    plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
    return next((line.strip() for line in plain.splitlines() if line.strip()), "")


def _fail(message: str, status: int) -> NoReturn:
    for line in message.splitlines():
        print(f"edgetran: {line}", file=sys.stderr)  # noqa: T201
    raise typer.Exit(status)


if __name__ == "__main__":
    main()
