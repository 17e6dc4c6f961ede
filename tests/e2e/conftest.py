"""A small run of the whole chain, as a user starts it, shared by the tests that look at it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_fixtures import Cluster

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = ROOT / "examples" / "quickstart.yaml"

SMALL = (
    "ProfilingJob:spec.sampling={initial: 4, batch: 2, maxMeasurements: 4}",
    "CoDesignSearch:spec.search={maxTrials: 4, initialTrials: 2, parallelTrials: 2}",
    "CoDesignSearch:spec.training={steps: 20, batchSize: 16}",
    "CoDesignSearch:spec.task.maxTrainingExamples=600",
    "CoDesignSearch:spec.constraints.latencyMs={max: 100000}",
    "GPTranRun:spec.training={steps: 5, batchSize: 16}",
    "GPTranRun:spec.parallelTrials=2",
)
"""The quickstart with budgets in steps: quick, and the same whenever it is run.

On a machine that has other work measured latencies may be any: they exclude no candidate.
"""


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "edgetran.cli", *map(str, arguments)]


def small_run(output: Path, *more: str) -> list[str]:
    settings = [word for setting in (*SMALL, *more) for word in ("--set", setting)]
    return command("run", "-f", QUICKSTART, "--output", output, *settings)


def call(arguments: list[str], **options: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"COLUMNS": "120", "NO_COLOR": "1"}
    return subprocess.run(
        arguments,
        capture_output=True,
        text=True,
        timeout=900,
        env=environment,
        **options,  # type: ignore[call-overload]
    )


@pytest.fixture(autouse=True)
def _no_outage_outlives_its_test(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test stopped and, as it failed, did not start again is there for the next one."""
    yield
    if "cluster" in request.fixturenames:
        cluster: Cluster = request.getfixturevalue("cluster")
        if cluster.folder is not None:
            cluster.tool("start")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a finished small run and what it printed."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    done = call(small_run(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout
