"""The program `kubectl-edgetran`: what happens to work in a cluster, and what came of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Final

import typer
from rich.console import Console, RenderableType
from rich.live import Live

from edgetran.api.wire import SUMMARY_KEY
from edgetran.cli.errors import BAD_INPUT, errors, fail
from edgetran.kubectl.boards_view import boards_of, boards_view
from edgetran.kubectl.cluster import Cluster, NotFoundError
from edgetran.kubectl.files import get_run, put_files
from edgetran.kubectl.logs import log_lines, newest_pods
from edgetran.kubectl.reading import Data, has_ended, is_true, label, results_name
from edgetran.kubectl.results import fetch_run
from edgetran.kubectl.status_view import status_view
from edgetran.kubectl.trial_log import trial_lines

WATCH_PERIOD_S: Final = 2.0

app = typer.Typer(
    name="kubectl edgetran",
    help="Look at the work of EdgeTran in a cluster; bring data in and models out.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)

NameArgument = Annotated[
    str,
    typer.Argument(
        metavar="[KIND/]NAME",
        help="A ProfilingJob (pj), CoDesignSearch (cds) or GPTranRun (gpt).",
    ),
]
NamespaceOption = Annotated[
    str | None,
    typer.Option("--namespace", "-n", help="The namespace; the context's own if omitted."),
]
ContextOption = Annotated[
    str | None, typer.Option("--context", help="The kubeconfig context to use.")
]
KubeconfigOption = Annotated[
    Path | None,
    typer.Option("--kubeconfig", metavar="FILE", help="The kubeconfig; $KUBECONFIG, or "
                 "~/.kube/config if omitted."),
]  # fmt: skip
OutputOption = Annotated[
    str | None,
    typer.Option("--output", "-o", metavar="json", help="json prints plain data."),
]
ImageOption = Annotated[
    str | None,
    typer.Option("--image", help="Image of the pod that reads or writes; a worker's if omitted."),
]


def main() -> None:
    """Entry point of the console script."""
    app()


@app.command()
def status(
    name: NameArgument,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Keep showing it until the work has ended.")
    ] = False,
    output: OutputOption = None,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """How the work stands: conditions, progress, time left, the best so far."""
    with errors():
        as_json = _wants_json(output)
        cluster = Cluster(kubeconfig, context, namespace)
        data = cluster.find(name)
        if as_json:
            print(json.dumps({"resource": data, "summary": _summary(cluster, data)}, indent=2))  # noqa: T201
            return

        def look() -> tuple[RenderableType, bool]:
            fresh = cluster.resource(data["kind"], data["metadata"]["name"])
            if fresh is None:
                raise NotFoundError(f"{name} is gone: it was deleted")
            screen = status_view(fresh, _summary(cluster, fresh), datetime.now(UTC))
            return screen, has_ended(fresh) or is_true(fresh, "Stalled")

        if watch:
            _watch(look)
        else:
            Console().print(look()[0])


@app.command()
def logs(
    name: NameArgument,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Keep printing new lines.")
    ] = False,
    tail: Annotated[
        int | None, typer.Option(min=0, metavar="LINES", help="Only the last lines.")
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="The JSON lines as the workers wrote them.")
    ] = False,
    trial: Annotated[
        int | None,
        typer.Option(min=0, metavar="NUMBER", help="One trial of a search, and where it ran."),
    ] = None,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """The logs of the workers that run, or of the last one that did."""
    with errors(), suppress(KeyboardInterrupt):
        cluster = Cluster(kubeconfig, context, namespace)
        data = cluster.find(name)
        if trial is not None:
            for line in trial_lines(cluster, data, trial, raw=raw):
                print(line)  # noqa: T201
            return
        pods = newest_pods(cluster, data)
        for line in log_lines(cluster, pods, follow=follow, tail=tail, raw=raw):
            print(line, flush=follow)  # noqa: T201


@app.command()
def show(
    name: NameArgument,
    output: OutputOption = None,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """The result of a run; of an unfinished one, how far it is."""
    with errors(), TemporaryDirectory() as place:
        as_json = _wants_json(output)
        cluster = Cluster(kubeconfig, context, namespace)
        data = cluster.find(name)
        folder = fetch_run(cluster, data, Path(place))
        if as_json:
            print((folder / "result.json").read_text(), end="")  # noqa: T201
            return
        from edgetran.report import result_view
        from edgetran.report.reading import read_run
        from edgetran.report.tables import trials_table

        console = Console()
        if not has_ended(data):
            console.print(
                f"{label(data)} is not finished: this is how far it is.\n", highlight=False
            )
        console.print(result_view(folder))
        search = read_run(folder).search
        if search is not None and search.trials:
            console.print(trials_table(search.trials, (t.number for t, _ in search.front)))


@app.command()
def report(
    name: NameArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write it.")
    ] = Path("report.html"),
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Write report.html of a run here; of an unfinished one, how far it is."""
    with errors(), TemporaryDirectory() as place:
        cluster = Cluster(kubeconfig, context, namespace)
        folder = fetch_run(cluster, cluster.find(name), Path(place))

        from edgetran.records import write_atomically
        from edgetran.report import write_report

        write_atomically(output, write_report(folder).read_bytes())
        print(output)  # noqa: T201


@app.command("profile")
def export_profile(
    name: NameArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write it.")
    ],
    device: Annotated[
        str | None, typer.Option("--device", metavar="NAME", help="Which device of a search.")
    ] = None,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Write what was measured of a device to one file, from which another board may start.

    It is the file of `edgetran profile export`, for `spec.priors` of a ProfilingJob.
    """
    with errors(), TemporaryDirectory() as place:
        cluster = Cluster(kubeconfig, context, namespace)
        folder = fetch_run(cluster, cluster.find(name), Path(place))
        from edgetran.runner.exchange import export_device
        from edgetran.runner.folder import RunFolderError

        try:
            profile, digest = export_device(folder, device, output)
        except RunFolderError as error:
            raise RunFolderError(str(error).replace(f"{folder}", name)) from None
        print(f"{output}: {len(profile.measurements)} measurements, {digest[:12]}…")  # noqa: T201


@app.command()
def get(
    name: NameArgument,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="The folder here; NAME if omitted."),
    ] = None,
    everything: Annotated[
        bool,
        typer.Option("--all", help="With checkpoints, the tree's models and every sample."),
    ] = False,
    image: ImageOption = None,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Bring the models, the report and the logs of a run here from its volume.

    Every file is checked; after an interruption the same command continues where it stopped.
    """
    with errors(output):
        cluster = Cluster(kubeconfig, context, namespace)
        data = cluster.find(name)
        target = output or Path(data["metadata"]["name"])
        get_run(cluster, data, target, everything=everything, image=image)
        print(target)  # noqa: T201


@app.command()
def put(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE…", help="Files or folders on this machine.")
    ],
    claim: Annotated[
        str, typer.Option("--claim", "-c", metavar="NAME", help="The PersistentVolumeClaim.")
    ],
    folder: Annotated[
        str, typer.Option("--folder", metavar="PATH", help="Where on the volume.")
    ] = "",
    size: Annotated[
        str | None,
        typer.Option(
            "--size", metavar="5Gi", help="Create the claim, this large, if it does not exist."
        ),
    ] = None,
    storage_class: Annotated[
        str | None, typer.Option("--storage-class", metavar="NAME", help="Class of a new claim.")
    ] = None,
    image: ImageOption = None,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Bring data of this machine to the volume of a claim, for `spec.task.files`.

    Every file is checked; after an interruption the same command continues where it stopped.
    """
    with errors():
        put_files(
            Cluster(kubeconfig, context, namespace),
            files,
            claim,
            folder=folder,
            size=size,
            storage_class=storage_class,
            image=image,
        )


@app.command()
def devices(
    output: OutputOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """The nodes that are devices: who measures there now, who waits, whether they are ready."""
    with errors():
        as_json = _wants_json(output)
        cluster = Cluster(kubeconfig, context)
        nodes = cluster.boards()
        boards = boards_of(nodes, cluster.resources("ProfilingJob", everywhere=True))
        if as_json:
            print(json.dumps([board.to_dict() for board in boards], indent=2))  # noqa: T201
        else:
            Console().print(boards_view(boards))


def _wants_json(output: str | None) -> bool:
    if output not in (None, "json"):
        fail(f"--output: {output} was given; allowed is json", BAD_INPUT)
    return output == "json"


def _summary(cluster: Cluster, data: Data) -> dict[str, Any] | None:
    """What the worker last said of itself; None before it said anything."""
    first = cluster.config_map(results_name(data, 0))
    try:
        summary = json.loads(((first or {}).get("data") or {})[SUMMARY_KEY])
    except (KeyError, ValueError):
        return None
    return summary if isinstance(summary, dict) else None


def _watch(look: Callable[[], tuple[RenderableType, bool]]) -> None:
    """Show the screen again and again until it is the last; Ctrl-C ends it too."""
    console = Console()
    show = _lively if console.is_terminal else _line_by_line
    with suppress(KeyboardInterrupt):
        show(console, look)


def _lively(console: Console, look: Callable[[], tuple[RenderableType, bool]]) -> None:
    with Live(console=console, auto_refresh=False) as live:
        while True:
            screen, ended = look()
            live.update(screen, refresh=True)
            if ended:
                return
            time.sleep(WATCH_PERIOD_S)


def _line_by_line(console: Console, look: Callable[[], tuple[RenderableType, bool]]) -> None:
    """A new screen only where something changed: what is read later stays readable."""
    before = ""
    while True:
        screen, ended = look()
        with console.capture() as captured:
            console.print(screen)
        if captured.get() != before:
            print(captured.get(), flush=True)  # noqa: T201
        before = captured.get()
        if ended:
            return
        time.sleep(WATCH_PERIOD_S)
