"""`edgetran validate`, `run`, `show` and `report`: resources, and the folders of their runs."""

from __future__ import annotations

import importlib.util
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console

from edgetran import api
from edgetran.api.allowances import MeterAllowance
from edgetran.cli.errors import BAD_INPUT, FAILED, errors, fail

if TYPE_CHECKING:
    from edgetran.runner.folder import RunFolder

FileOption = Annotated[
    list[Path],
    typer.Option("--file", "-f", help="YAML file or folder with resources; may be repeated."),
]
ResumeOption = Annotated[
    bool,
    typer.Option(
        help="Continue the unfinished run of the same resources that DIR holds; --no-resume "
        "requires an empty folder."
    ),
]
CommandsOption = Annotated[
    bool,
    typer.Option(
        "--allow-commands",
        help="Run the program that `energy.meter: command:…` names; only for specs that you trust.",
    ),
]
RunFolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a run.")]


def validate(
    files: FileOption,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Change a field, as in `edgetran run`."),
    ] = None,
) -> None:
    """Check resources without running anything; every mistake is reported at once."""
    with errors():
        bundle = api.load_bundle(*files, settings=settings or ())
    for resource in bundle.resources:
        print(f"{resource.label}: valid")  # noqa: T201


def run(
    files: FileOption,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Folder of the run; runs/NAME-OF-FILE if omitted."
        ),
    ] = None,
    resume: ResumeOption = True,
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
    allow_commands: CommandsOption = False,
) -> None:
    """Measure, search and refine on this machine, as the resources say.

    DIR records every step: after Ctrl-C, a crash or a power cut, the same command continues where
    it stopped.
    """
    changes = list(settings or ())
    if seed is not None:
        changes.append(f"spec.seed={seed}")
    folder = output if output is not None else Path("runs") / files[0].stem
    with errors(folder):
        bundle = api.load_bundle(*files, settings=changes)
        run_bundle(bundle, folder, resume=resume, allow_commands=allow_commands)


def show(folder: RunFolderArgument) -> None:
    """Print the result of a run again."""
    from edgetran.runner.folder import RunFolder

    with errors(folder):
        _show(RunFolder(folder), Console())


def report(folder: RunFolderArgument) -> None:
    """Write report.html of a run again."""
    from edgetran.report import write_report
    from edgetran.runner.folder import RunFolder

    with errors(folder):
        RunFolder(folder).read_result()
        print(write_report(folder))  # noqa: T201


def track(folder: RunFolderArgument) -> None:
    """Send to the tracking server what it has not got yet of a run.

    The server is the one of the run's `spec.tracking`. Nothing is sent twice.
    """
    from edgetran.runner.folder import RunFolder

    with errors(folder), RunFolder(folder) as held:
        if not held.spec.exists():
            fail(f"{folder}: holds no spec.yaml; give the folder of a run", BAD_INPUT)
        quiet_libraries()
        if not _send(held, Console(), asked=True):
            raise typer.Exit(FAILED)


def _send(folder: RunFolder, console: Console, *, asked: bool = False) -> bool:
    """Send what a tracking server has not got of a run that is not working; whether it has it."""
    from edgetran.records import JsonLog
    from edgetran.runner.progress import TerminalProgress
    from edgetran.runner.tracker import tracker_of_folder, tracking_problem

    tracker = tracker_of_folder(folder)
    if tracker is None:
        if asked:
            fail(
                f"{folder.spec}: spec.tracking: Required value: set it, and run the same resources "
                "in the same folder",
                BAD_INPUT,
            )
        return True
    reason = tracking_problem()
    if reason is not None:
        fail(f"spec.tracking.mlflow: {reason}", FAILED)
    with TerminalProgress(console, JsonLog(folder.log)) as progress:
        sent = tracker.finish(progress)
    if sent and asked:
        console.print(f"{folder.path}: the server has all of it", highlight=False, soft_wrap=True)
    return sent


def run_bundle(
    bundle: api.Bundle, path: Path, *, resume: bool, allow_commands: bool = False
) -> None:
    """Do what the resources ask for in the folder `path`, and print the result."""
    from edgetran.runner.chain import plan_chain

    chain = plan_chain(bundle, MeterAllowance(commands=allow_commands))
    _require_extras(trains=chain.task is not None)
    quiet_libraries()

    from edgetran.records import JsonLog
    from edgetran.runner.folder import RunFolder
    from edgetran.runner.inputs import RunInputs
    from edgetran.runner.progress import TerminalProgress
    from edgetran.runner.run import run_chain

    console = Console()
    with RunFolder(path) as folder:
        continued = folder.claim(api.dump(*chain.resources), resume=resume)
        if continued:
            RunInputs(folder, chain, Path.cwd()).check(complete=folder.complete)
        if folder.complete:
            console.print(f"{path}: this run is already complete; its result:\n", highlight=False)
            _show(folder, console)
            _send(folder, console)
            return
        if continued:
            console.print(f"{path}: continuing where it stopped", highlight=False)
        with (
            _terminated_like_interrupted(),
            TerminalProgress(console, JsonLog(folder.log)) as progress,
        ):
            run_chain(chain, folder, progress)
        _show(folder, console)


def _show(folder: RunFolder, console: Console) -> None:
    from edgetran.report import result_view, write_report

    result = folder.read_result()
    if not folder.report.exists():
        write_report(folder.path)
    console.print()
    console.print(result_view(folder.path))
    console.print(f"\nReport: {folder.report}", highlight=False, soft_wrap=True)
    if result["winner"] is not None:
        for path, words in _models(folder, result):
            console.print(f"Model:  {path} ({words})", highlight=False, soft_wrap=True)


def _models(folder: RunFolder, result: Mapping[str, Any]) -> list[tuple[Path, str]]:
    """What the run hands over, and for which engine and in which precision it is made."""
    exports = [
        (folder.path / each["path"], f"{each['engine']} {each['precision']}")
        for each in result.get("exports") or []
    ]
    return [*exports[:1], (folder.model, "torch fp32, as trained"), *exports[1:]]


def _require_extras(*, trains: bool) -> None:
    """Refuse before hours of work what would fail for want of a package at their end."""
    packages = {
        "worker": ["torch", "transformers", "ray", "sklearn"],
        "report": ["jinja2", "plotly"],
    }
    if trains:
        packages["onnx"] = ["onnx", "onnxruntime"]
    for extra, names in packages.items():
        missing = [name for name in names if importlib.util.find_spec(name) is None]
        if missing:
            fail(f'{missing[0]} is not installed: pip install "edgetran[{extra}]"', FAILED)


def quiet_libraries() -> None:
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
