"""Serve a run's winner from its storage, and tell the operator whether it is as measured."""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

from edgetran.api import ExitCode
from edgetran.api.wire import (
    MESSAGE_CHARACTERS,
    POD_VARIABLE,
    SERVE_COMMAND,
    STORAGE_PATH,
    VERDICT_MINUTES,
    WORKER_PROGRAM,
    ServedVerdict,
)
from edgetran.artifacts import ArtifactError
from edgetran.serving.drift import Tolerances, Verdict
from edgetran.serving.served_model import ServedModel, ServingError, find_model
from edgetran.serving.server import ModelServer, serve
from edgetran.serving.text_model import TextModel
from edgetran_workers.log import Log
from edgetran_workers.pod_paths import PodPaths
from edgetran_workers.results import ResultsError
from edgetran_workers.storage import RemoteFolder

RETELL_SECONDS: Final = VERDICT_MINUTES * 60 / 3
"""Time after which a verdict that stays is told again, so that it goes on counting."""

_WANTED: Final = (
    "result.json",
    "model/config.json",
    "model/tokenizer.json",
    "model/tokenizer_config.json",
)


class Verdicts(Protocol):
    """Where verdicts are told."""

    def tell(self, pod: str, text: str | None) -> None:
        """Write what a pod says, or take it away.

        Raises:
            ResultsError: nobody answers.
        """


def serve_main(arguments: Sequence[str], log: Log, verdicts: Verdicts | None = None) -> int:
    """`edgetran-worker serve`: serve until SIGTERM; the exit status."""
    given = _parser().parse_args(arguments)
    try:
        asyncio.run(_serve(given, log, verdicts))
    except Exception as error:  # noqa: BLE001 - whatever it is, the pod must say it
        return _failed(error, log, given.termination_log)
    return 0


def _failed(error: Exception, log: Log, termination_log: Path) -> int:
    """Say why nothing is served; the exit status."""
    # What this module imports fills the memory of a small board, and a server needs none of it.
    from edgetran_workers.failures import exit_code_of, is_foreseen, sentence_of, write_termination

    code, message, foreseen = exit_code_of(error), sentence_of(error), is_foreseen(error)
    if isinstance(error, ServingError | ArtifactError):
        code, foreseen = ExitCode.STORAGE_UNAVAILABLE, True
    log.error(message, details="" if foreseen else "".join(traceback.format_exception(error)))
    write_termination(termination_log, code, message)
    return int(code)


async def _serve(given: argparse.Namespace, log: Log, verdicts: Verdicts | None) -> None:
    found = _find(given)
    if verdicts is None:
        from edgetran_workers.report import ConfigMapVerdicts

        verdicts = ConfigMapVerdicts(given.verdict, given.namespace, given.kubeconfig)
    tolerances = Tolerances(given.max_drift, given.max_confidence_drift, given.max_slowdown)
    with TextModel(found) as opened:
        server = ModelServer(opened, tolerances)
        teller = _Teller(server, verdicts, log)
        telling = asyncio.create_task(teller.go_on())
        try:
            await serve(
                server,
                "",
                given.port,
                started=lambda port: log.info(
                    f"{found.artifact.words}, {found.artifact.sha256[:12]}…, is served at port "
                    f"{port}: /v2/models/{found.name}",
                    port=port,
                ),
                told=teller.told,
            )
        finally:
            telling.cancel()
            await teller.take_back()


def _find(given: argparse.Namespace) -> ServedModel:
    """The model in the run's folder, which is fetched first where it is at an address.

    Raises:
        ServingError, ArtifactError, StorageError, RunFolderError: there is none, or another one.
    """
    path: Path = given.storage / given.folder
    if given.uri:
        remote = RemoteFolder(given.uri, given.folder, path)
        remote.restore(lambda name: name in _WANTED or name.startswith("artifacts/"))
    found = find_model(path, name=given.name, artifact=given.artifact)
    if found.artifact.sha256 != given.artifact:
        raise ServingError(
            f"{found.artifact.path}: its SHA-256 is {found.artifact.sha256[:12]}…, and "
            f"{given.artifact[:12]}… is to be served; it is not the artefact that was measured"
        )
    return found


class _Teller:
    """Tells verdicts: new ones at once, others now and then."""

    def __init__(self, server: ModelServer, verdicts: Verdicts, log: Log) -> None:
        self._server, self._verdicts, self._log = server, verdicts, log
        self._pod = os.environ.get(POD_VARIABLE) or socket.gethostname()
        self._told: Verdict | None = None

    async def told(self, verdict: Verdict) -> None:
        """Tell a verdict that is new."""
        self._told = verdict
        level = self._log.warning if verdict.status == "False" else self._log.info
        level(verdict.message)
        await self._tell(verdict)

    async def go_on(self) -> None:
        """Tell it again for ever."""
        while True:
            await asyncio.sleep(RETELL_SECONDS)
            if self._told is not None:
                await self._tell(self._told)

    async def take_back(self) -> None:
        """What a pod said that is no more does not count."""
        await self._write(None)

    async def _tell(self, verdict: Verdict) -> None:
        record = ServedVerdict(
            artifact=self._server.model.artifact.sha256,
            served_as_measured=verdict.status,
            message=verdict.message[:MESSAGE_CHARACTERS],
            updated=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        )
        await self._write(record.model_dump_json(by_alias=True))

    async def _write(self, text: str | None) -> None:
        try:
            await asyncio.to_thread(self._verdicts.tell, self._pod, text)
        except ResultsError as error:
            self._log.warning(f"the verdict could not be told: {error}")


def _parser() -> argparse.ArgumentParser:
    usual = PodPaths()
    parser = argparse.ArgumentParser(
        prog=f"{WORKER_PROGRAM} {SERVE_COMMAND}",
        description="Serves the winner of a run in a pod that the operator has made.",
    )
    add: Any = parser.add_argument
    add("--folder", required=True, help="the run's folder below its storage")
    add("--storage", type=Path, default=Path(STORAGE_PATH), help="where run folders lie")
    add("--uri", default="", help="address that the folder is fetched from")
    add("--artifact", required=True, help="SHA-256 of the artefact")
    add("--name", required=True, help="the model's name in addresses")
    add("--namespace", default="default", help="namespace of the ConfigMap")
    add("--verdict", default="", help="ConfigMap that the verdict is told in")
    add("--port", type=int, default=8080)
    add("--max-drift", type=float, default=Tolerances.shares)
    add("--max-confidence-drift", type=float, default=Tolerances.confidence)
    add("--max-slowdown", type=float, default=Tolerances.latency_ratio)
    add("--termination-log", type=Path, default=usual.termination_log)
    add("--kubeconfig", type=Path, help="API server; the pod's own where omitted")
    return parser
