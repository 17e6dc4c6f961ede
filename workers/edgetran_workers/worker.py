"""One worker from its mounted work to its end: restore, do the work, publish, say how it ended."""

from __future__ import annotations

import importlib.util
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgetran import api
from edgetran.api import ExitCode, Reason, reason_of
from edgetran.api.allowances import NO_METERS, MeterAllowance
from edgetran.api.names import STORAGE
from edgetran.api.wire import CLAIM
from edgetran.records import JsonLog
from edgetran.runner.chain import Chain
from edgetran.runner.folder import RunFolder
from edgetran.runner.inputs import RunInputs
from edgetran.runner.inside import refuse_paths_outside
from edgetran.runner.part import plan_part
from edgetran.runner.run import run_chain
from edgetran.runner.tracker import tracker_of_chain
from edgetran_workers.failures import (
    MissingPackageError,
    exit_code_of,
    is_foreseen,
    sentence_of,
    write_termination,
)
from edgetran_workers.inputs import base_of, device_of, prior_results
from edgetran_workers.log import Log
from edgetran_workers.metrics import WorkerCollector, serve
from edgetran_workers.pod_paths import PodPaths
from edgetran_workers.progress import LoggedProgress
from edgetran_workers.publish import PERIOD_S, Publisher
from edgetran_workers.refinement_reporter import RefinementReporter
from edgetran_workers.reporters import reporter_of
from edgetran_workers.results import ResultsError, ResultsStore
from edgetran_workers.stopping import on_sigterm
from edgetran_workers.storage import Copier, RemoteFolder, StorageError
from edgetran_workers.summary import StatusReporter, Summary
from edgetran_workers.work import Work, read_work

START_PATIENCE_S: Final = 600.0
"""How long a worker waits for the API server before it begins: without what was published it might
repeat work."""

END_PATIENCE_S: Final = 900.0
"""How long a worker that is done tries to publish the last of it."""

FAILURE_PATIENCE_S: Final = 30.0
"""How long a worker that failed tries to publish what it has."""

MEASURING_PERIOD_S: Final = 5.0
"""Time between two writes of a worker that only measures: what publishes takes a little time of
the device that is measured."""

STOP_S: Final = 7.0
"""Time that is taken after SIGTERM to publish and to copy."""

_WORKING: Final = ("torch", "transformers", "sklearn")
_TRAINING: Final = ("ray", "onnx", "onnxruntime")
_REPORTING: Final = ("jinja2", "plotly")


@dataclass(frozen=True)
class WorkerSettings:
    """How a worker is run.

    Attributes:
        command: profile, search or gptran.
        paths: where things are.
        pod: name of the pod.
        open_results: gives the store of a work's results.
        metrics_port: port of /metrics; 0 takes a free one, -1 serves none.
        log: where lines go.
        meters: which meters of devices may be read.
        trackers: what addresses of tracking servers begin with.
        spec_hash: of the spec that the pod was made for; empty where any may be worked on.
        work_hash: of the other files that it was made for, in the same way.
    """

    command: str
    paths: PodPaths
    pod: str
    open_results: Callable[[Work], ResultsStore]
    metrics_port: int
    log: Log
    meters: MeterAllowance = NO_METERS
    trackers: tuple[str, ...] = ()
    spec_hash: str = ""
    work_hash: str = ""


def run_worker(settings: WorkerSettings) -> int:
    """Do the work; the exit status. SIGTERM ends the process from within."""
    worker = _Worker(settings)
    on_sigterm(worker.stop)
    return worker.run()


class _Worker:
    def __init__(self, settings: WorkerSettings) -> None:
        self._settings, self._log = settings, settings.log
        self._summary: Summary | None = None
        self._publisher: Publisher | None = None
        self._copier: Copier | None = None
        self._copying = False
        self._stopping = threading.Event()
        self._replaced = False

    def run(self) -> int:
        """Do the work and leave a termination message; the exit status."""
        try:
            reason, message = self._work()
            code = ExitCode.DONE
            self._log.info(f"done: {message}")
        except BaseException as error:  # noqa: BLE001 - whatever it is, the pod must say it
            if self._stopping.is_set():
                threading.Event().wait()  # the thread that stops the worker ends the process
            code, message = exit_code_of(error), sentence_of(error)
            reason = reason_of(code)
            self._fail(error, reason, message)
        write_termination(self._settings.paths.termination_log, code, message, reason)
        return int(code)

    def stop(self) -> None:
        """End the process after SIGTERM, with all state saved."""
        signal.alarm(0)  # Ray's handler, where it came first, would abort in three seconds
        self._stopping.set()
        code, message = ExitCode.STOPPED, "stopped by SIGTERM; finished work is kept"
        if self._replaced:
            code, message = ExitCode.UNEXPECTED, "another worker has taken over this work"
        self._log.info(message)
        if not self._replaced:
            ends = [threading.Thread(target=self._publish_last, args=(code, message), daemon=True)]
            if self._copier is not None and self._copying:
                ends.append(threading.Thread(target=self._copy_last, args=(STOP_S,), daemon=True))
            deadline = time.monotonic() + STOP_S + 1
            for end in ends:
                end.start()
            for end in ends:
                end.join(max(0.0, deadline - time.monotonic()))
        write_termination(self._settings.paths.termination_log, code, message)
        os._exit(code)

    def _work(self) -> tuple[Reason, str]:
        paths, log = self._settings.paths, self._log
        given = self._settings
        work = read_work(paths.work, given.command, given.spec_hash, given.work_hash)
        resource = work.resource
        log.tell_about(kind=resource.kind, namespace=work.namespace, name=resource.name)
        chain = plan_part(resource, work.dependencies, given.meters, given.trackers)
        _require_packages(trains=chain.task is not None)
        path = paths.storage / work.folder
        if work.storage not in (None, CLAIM):
            remote = RemoteFolder(work.storage or "", work.folder, path)
            self._copier = Copier(remote, log)
            remote.restore()
        with RunFolder(path) as folder:
            progress = LoggedProgress(log, JsonLog(folder.log))
            reporter = reporter_of(chain, resource)
            self._summary = Summary(
                resource, reporter, seconds_left=progress.seconds_left, artifacts=_artifacts(work)
            )
            publisher = Publisher(
                self._settings.open_results(work),
                folder.path,
                self._summary,
                log,
                pod=self._settings.pod,
                on_replaced=self._give_way,
                period_s=MEASURING_PERIOD_S if chain.task is None else PERIOD_S,
            )
            publisher.restore(START_PATIENCE_S)
            self._publisher = publisher  # from here on what ends the worker is published too
            folder.claim(api.dump(*chain.resources))
            publisher.add_file(folder.spec)
            publisher.start()
            if self._copier is not None:
                self._copier.start()
                self._copying = True
            self._serve_metrics(work, folder.path)
            if folder.complete:
                RunInputs(folder, chain, base_of(chain, paths)).check(complete=True)
                tracker = tracker_of_chain(chain, folder, _artifacts(work))
                if tracker is not None:
                    tracker.finish(progress)
            else:
                self._run(work, chain, folder, progress, reporter)
            if chain.finalists_of is None:
                self._report(folder)
            if self._copier is not None and not self._copier.finish():
                raise StorageError("storage: not everything could be copied")
            self._copying = False
            publisher.collect()  # the result is told after all that led to it
            for file in (*sorted(folder.profiles.glob("*.surrogate.json")), folder.result):
                publisher.add_file(file)
            self._summary.finish()
            if not publisher.finish(END_PATIENCE_S):
                raise ResultsError("results: they could not be published")
        return reporter.ending()

    def _run(
        self,
        work: Work,
        chain: Chain,
        folder: RunFolder,
        progress: LoggedProgress,
        reporter: StatusReporter,
    ) -> None:
        prior = prior_results(work, chain, self._settings.paths)
        if isinstance(reporter, RefinementReporter):
            reporter.device = device_of(chain, prior)
        base = base_of(chain, self._settings.paths)
        refuse_paths_outside(chain.resources, base)
        run_chain(chain, folder, progress, prior=prior, base=base, place=_artifacts(work))

    def _report(self, folder: RunFolder) -> None:
        missing = _missing(_REPORTING)
        if missing is not None:
            self._log.warning(f"report.html is left out, since {missing} is not installed")
        elif not folder.report.exists():
            from edgetran.report import write_report

            write_report(folder.path)

    def _serve_metrics(self, work: Work, folder: Path) -> None:
        port = self._settings.metrics_port
        if port < 0:
            return
        assert self._summary is not None  # noqa: S101 - made before
        assert self._publisher is not None  # noqa: S101 - made before
        about = {
            "kind": work.resource.kind,
            "namespace": work.namespace,
            "name": work.resource.name,
        }
        collector = WorkerCollector(self._summary.summary, self._publisher.state, about, folder)
        try:
            port = serve(collector, port)
        except OSError as error:
            self._log.warning(f"/metrics is not served: port {port}: {error.strerror or error}")
        else:
            self._log.info(f"/metrics is served on port {port}", port=port)

    def _fail(self, error: BaseException, reason: Reason, message: str) -> None:
        details = "" if is_foreseen(error) else "".join(traceback.format_exception(error))
        self._log.error(message, details=details, reason=str(reason))
        if self._summary is not None:
            self._summary.stop(reason, message)
        if self._copying:
            self._copy_last(FAILURE_PATIENCE_S)
        if self._publisher is not None and not self._publisher.finish(FAILURE_PATIENCE_S):
            self._log.warning("results: the last of them could not be published")

    def _publish_last(self, code: ExitCode, message: str) -> None:
        if self._summary is not None and self._publisher is not None:
            self._summary.stop(reason_of(code), message)
            self._publisher.finish(STOP_S)

    def _copy_last(self, seconds: float) -> None:
        assert self._copier is not None  # noqa: S101 - asked before
        try:
            if not self._copier.finish(seconds):
                self._log.warning("storage: not everything could be copied")
        except StorageError as error:
            self._log.warning(str(error))

    def _give_way(self) -> None:
        """Another worker does this work now: end without touching anything of it."""
        self._replaced = True
        os.kill(os.getpid(), signal.SIGTERM)


def _artifacts(work: Work) -> str | None:
    """Where models and reports are kept, in words; None for nowhere."""
    if work.storage is None:
        return None
    if work.storage != CLAIM:
        return f"{work.storage}/{work.folder}"
    storage = work.resource.spec.storage
    claim = None if storage is None else storage.claim
    name = api.child_name(work.resource, STORAGE) if claim is None else claim.name
    folder = (
        work.folder
        if claim is None or claim.sub_path is None
        else f"{claim.sub_path}/{work.folder}"
    )
    return f"PersistentVolumeClaim/{name}: {folder}"


def _require_packages(*, trains: bool) -> None:
    """Refuse before hours of work what would fail for want of a package at their end."""
    missing = _missing(_WORKING + (_TRAINING if trains else ()))
    if missing is not None:
        raise MissingPackageError(
            f"{missing} is not installed; use an image that has it for this kind of work"
        )


def _missing(names: tuple[str, ...]) -> str | None:
    return next((name for name in names if importlib.util.find_spec(name) is None), None)
