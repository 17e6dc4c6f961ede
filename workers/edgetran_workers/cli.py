"""The command line of workers: `edgetran-worker profile|search|gptran`, `serve`, `hand-over`.

Exit statuses are those of `edgetran.api.ExitCode`.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from edgetran.api.allowances import MeterAllowance
from edgetran.api.wire import (
    ALLOW_COMMANDS,
    ALLOW_METER,
    ALLOW_TRACKER,
    COMMANDS,
    HAND_OVER_COMMAND,
    LOG_VARIABLE,
    METRICS_PORT,
    POD_VARIABLE,
    SERVE_COMMAND,
    SPEC_HASH_VARIABLE,
    WORK_HASH_VARIABLE,
    WORKER_PROGRAM,
)
from edgetran_workers.environment import prepare_environment, quiet_libraries
from edgetran_workers.log import Log
from edgetran_workers.pod_paths import PodPaths


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == [SERVE_COMMAND]:
        _serve(words[1:])
    if words[:1] == [HAND_OVER_COMMAND]:
        _hand_over(words[1:])
    given = _parser().parse_args(words)
    prepare_environment()
    quiet_libraries()

    from edgetran_workers.results import FolderResults, ResultsStore
    from edgetran_workers.work import Work
    from edgetran_workers.worker import WorkerSettings, run_worker

    def open_results(work: Work) -> ResultsStore:
        if given.results_dir is not None:
            return FolderResults(given.results_dir)
        from edgetran_workers.report import ConfigMapResults

        return ConfigMapResults(work.results, work.namespace, given.kubeconfig)

    settings = WorkerSettings(
        command=given.command,
        paths=PodPaths(
            given.work, given.storage, given.search_storage, given.data, given.termination_log
        ),
        pod=os.environ.get(POD_VARIABLE) or socket.gethostname(),
        open_results=open_results,
        metrics_port=given.metrics_port,
        spec_hash=os.environ.get(SPEC_HASH_VARIABLE, ""),
        work_hash=os.environ.get(WORK_HASH_VARIABLE, ""),
        log=Log(as_json=os.environ.get(LOG_VARIABLE) == "json"),
        meters=MeterAllowance(given.allow_commands, tuple(given.allow_meter)),
        trackers=tuple(given.allow_tracker),
    )
    status = run_worker(settings)
    sys.stdout.flush()
    sys.exit(status)


def _serve(words: Sequence[str]) -> NoReturn:
    prepare_environment()
    quiet_libraries()
    from edgetran_workers.serve import serve_main

    status = serve_main(words, Log(as_json=os.environ.get(LOG_VARIABLE) == "json"))
    sys.stdout.flush()
    sys.exit(status)


def _hand_over(words: Sequence[str]) -> NoReturn:
    prepare_environment()
    from edgetran_workers.hand_over import hand_over_main

    status = hand_over_main(words, Log(as_json=os.environ.get(LOG_VARIABLE) == "json"))
    sys.stdout.flush()
    sys.exit(status)


def _parser() -> argparse.ArgumentParser:
    usual = PodPaths()
    parser = argparse.ArgumentParser(
        prog=WORKER_PROGRAM,
        description="Does the work of one ProfilingJob, CoDesignSearch or GPTranRun in a pod that "
        "the operator has made.",
    )
    parser.add_argument("command", choices=tuple(COMMANDS), help="what to do")
    parser.add_argument(
        "--work", type=Path, default=usual.work, help="folder of the mounted work (%(default)s)"
    )
    parser.add_argument(
        "--storage", type=Path, default=usual.storage, help="where run folders lie (%(default)s)"
    )
    parser.add_argument(
        "--search-storage",
        type=Path,
        default=usual.search,
        help="storage of the search whose winner is refined (%(default)s)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=usual.data,
        help="the task's files, where they lie apart from the storage (%(default)s)",
    )
    parser.add_argument(
        "--termination-log",
        type=Path,
        default=usual.termination_log,
        help="file that says how the worker ended (%(default)s)",
    )
    parser.add_argument(
        "--metrics-port",
        type=int,
        default=METRICS_PORT,
        help="port of /metrics; 0 takes a free one, -1 serves none (%(default)s)",
    )
    # What the administrator allows comes with the command, which is fixed once the pod is made.
    parser.add_argument(
        ALLOW_COMMANDS, action="store_true", help="run the programs that meters are"
    )
    parser.add_argument(
        ALLOW_METER,
        action="append",
        default=[],
        metavar="ADDRESS",
        help="read meters whose address begins so; may be repeated",
    )
    parser.add_argument(
        ALLOW_TRACKER,
        action="append",
        default=[],
        metavar="ADDRESS",
        help="show trials to tracking servers whose address begins so; may be repeated",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--kubeconfig", type=Path, help="API server for the results; the pod's own where omitted"
    )
    where.add_argument(
        "--results-dir", type=Path, help="keep the results in a folder instead of ConfigMaps"
    )
    return parser
