"""Hand the artefacts of a run's finalists over to a board that cannot mount their volume.

An HTTP server on the volume's node, which the board's worker reads like any other storage: a list
of files, and the files. There is no other way in: what no row of the result names is not served,
nothing is written, and the address holds a word that only those know who may read the run's
resources.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from edgetran.api import ExitCode
from edgetran.api.wire import HAND_OVER_COMMAND, HAND_OVER_PORT, SEARCH_PATH, WORKER_PROGRAM
from edgetran.runner.finalist_rows import measurable_rows
from edgetran.runner.folder import RunFolder, RunFolderError
from edgetran_workers.failures import write_termination
from edgetran_workers.log import Log
from edgetran_workers.pod_paths import PodPaths
from edgetran_workers.storage import LIST_NAME, list_text

HEALTH_PATH: Final = "/healthz"
_STOP_SECONDS: Final = 2.0


def hand_over_main(arguments: Sequence[str], log: Log) -> int:
    """`edgetran-worker hand-over`: serve until SIGTERM; the exit status."""
    given = _parser().parse_args(arguments)
    run = RunFolder(given.storage / given.folder)
    try:
        files = files_of_finalists(run)
        asyncio.run(_serve(application(run, files, f"/{given.word}/{given.folder}"), given, log))
    except (RunFolderError, OSError, KeyError, TypeError) as error:
        message = f"{run.path}: its artefacts cannot be handed over: {error}"
        log.error(message)
        write_termination(given.termination_log, ExitCode.DEPENDENCY_FAILED, message)
        return int(ExitCode.DEPENDENCY_FAILED)
    return int(ExitCode.DONE)


def files_of_finalists(run: RunFolder) -> dict[str, int]:
    """Sizes in bytes of the result and of all that artefacts of finalists consist of, by path.

    Raises:
        RunFolderError: the run has no result.
        OSError: the volume cannot be read.
    """
    found = {run.result.name: run.result.stat().st_size}
    whole = run.path.resolve()
    for row in measurable_rows(run.read_result()).values():
        folder = (run.path / row["artifact"]["path"]).parent
        if not folder.resolve().is_relative_to(run.artifacts.resolve()):
            continue  # it leads elsewhere, and is no artefact of this run
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.resolve().is_relative_to(whole):
                found[path.relative_to(run.path).as_posix()] = path.stat().st_size
    return found


def application(run: RunFolder, files: Mapping[str, int], root: str) -> web.Application:
    """The server.

    Args:
        run: whose files are served.
        files: which ones, by path, with their sizes.
        root: path of the run's folder in addresses.
    """

    async def answer(request: web.Request) -> web.StreamResponse:
        path = request.path
        if path == HEALTH_PATH:
            return web.Response(text="ok")
        inside = path.removeprefix(f"{root}/") if path.startswith(f"{root}/") else ""
        if inside == LIST_NAME:
            return web.Response(text=list_text(files), content_type="application/json")
        if inside in files:
            return web.FileResponse(run.path / inside)
        raise web.HTTPNotFound

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    return app


async def _serve(app: web.Application, given: argparse.Namespace, log: Log) -> None:
    stop = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(ValueError, NotImplementedError, RuntimeError):
            asyncio.get_running_loop().add_signal_handler(each, stop.set)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP_SECONDS)
    await runner.setup()
    try:
        site = web.TCPSite(runner, None, given.port)
        await site.start()
        log.info(f"the artefacts of {given.folder} are handed over at port {given.port}")
        await stop.wait()
    finally:
        await runner.cleanup()


def _parser() -> argparse.ArgumentParser:
    usual = PodPaths()
    parser = argparse.ArgumentParser(
        prog=f"{WORKER_PROGRAM} {HAND_OVER_COMMAND}",
        description="Hands the artefacts of a run's finalists over to the pod that measures them.",
    )
    add: Any = parser.add_argument
    add("--folder", required=True, help="the run's folder below its storage")
    add("--storage", type=Path, default=Path(SEARCH_PATH), help="where run folders lie")
    add("--word", required=True, help="first part of the path of every address")
    add("--port", type=int, default=HAND_OVER_PORT)
    add("--termination-log", type=Path, default=usual.termination_log)
    return parser
