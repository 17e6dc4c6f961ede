"""A pod's worth of folders for each worker, and the worker started in them as a process."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from edgetran.api.wire import PART_KEY, SUMMARY_KEY
from edgetran.records import read_records
from edgetran.runner.published import read_part

JOB = """
apiVersion: edgetran.io/v1alpha1
kind: ProfilingJob
metadata: {name: s-board, namespace: lab, uid: 11111111-0000}
spec:
  device: {name: board, nodeSelector: {edgetran.io/device: board}, threads: 1}
  designSpace: {layers: [1, 2], hiddenSizes: [16, 32], heads: [1, 2], feedForwardWidths: [16, 32]}
  workload: {batchSize: 1, sequenceLength: 8}
  measurement: {mode: quick, maxRepeats: 0}
  sampling: {initial: 4, batch: 2, maxMeasurements: 6, targetError: 0.0001}
"""
SEARCH = """
apiVersion: edgetran.io/v1alpha1
kind: CoDesignSearch
metadata: {name: s, namespace: lab, uid: 22222222-0000}
spec:
  task:
    files: {train: data/train.csv}
    tokenizer: {vocabSize: 128}
  designSpace: {layers: [1, 2], hiddenSizes: [16, 32], heads: [1, 2], feedForwardWidths: [16, 32]}
  workload: {batchSize: 1, sequenceLength: 8}
  devices:
    - {name: board, nodeSelector: {edgetran.io/device: board}, threads: 1}
  objective: {weights: {accuracy: 0.5, latency: 0.5}}
  search: {method: random, maxTrials: 5, initialTrials: 2, parallelTrials: 1}
  training: {steps: 3, batchSize: 8}
  baseline: {architecture: {homogeneous: {layers: 1, hiddenSize: 16, heads: 1, feedForward: [16]}}}
"""
REFINEMENT = """
apiVersion: edgetran.io/v1alpha1
kind: GPTranRun
metadata: {name: s-refine, namespace: lab, uid: 33333333-0000}
spec:
  searchRef: {name: s}
  stages: [growHeads, pruneFeedForwards]
  samplesPerStage: 2
  tolerance: 0.5
  minimumSizes: {feedForward: 8, hiddenSize: 8}
  training: {steps: 2, batchSize: 8}
"""
KINDS = {"profile": ("pj-s-board-11111111", "s-board-pj"), "search": ("cds-s-22222222", "s-cds"),
         "gptran": ("gpt-s-refine-33333333", "s-refine-gpt")}  # fmt: skip

PATIENCE_S = 1200.0
"""Other work may take nearly all of the machine."""

_STARTED: list[subprocess.Popen[bytes]] = []


@dataclass
class Pod:
    """The folders of one worker.

    Attributes:
        root: holds all of them.
        command: profile, search or gptran.
        extra: further arguments of the worker.
    """

    root: Path
    command: str
    extra: tuple[str, ...] = ()

    @property
    def storage(self) -> Path:
        return self.root / "storage"

    @property
    def folder(self) -> Path:
        return self.storage / "lab" / KINDS[self.command][0]

    @property
    def results(self) -> Path:
        return self.root / "results"

    @property
    def termination(self) -> dict[str, str]:
        return json.loads((self.root / "termination").read_text())

    @property
    def records(self) -> list[tuple[str, dict[str, Any]]]:
        """Everything published, as a reader finds it."""
        parts = sorted(self.results.iterdir(), key=lambda part: int(part.name))
        return [
            (record.log, json.loads(record.line))
            for part in parts
            if (part / PART_KEY).exists()
            for record in read_part((part / PART_KEY).read_bytes())
        ]

    def published(self, log: str) -> list[dict[str, Any]]:
        return [record for name, record in self.records if name == log]

    @property
    def summary(self) -> dict[str, Any]:
        return json.loads((self.results / "0" / SUMMARY_KEY).read_text())

    def start(self) -> subprocess.Popen[bytes]:
        """Start the worker; `end_all` ends it where a test did not."""
        for own in ("home", "tmp"):  # a pod has both for itself
            (self.root / own).mkdir(exist_ok=True)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root / "home"),
            "TMPDIR": str(self.root / "tmp"),
            "RAY_TMPDIR": "/tmp",  # noqa: S108 - paths of its sockets have to be short
            "EDGETRAN_LOG": "json",
            "POD_NAME": f"pod-{self.root.name}",
            "OMP_NUM_THREADS": "1",
        }
        arguments = {
            "--work": self.root / "work",
            "--storage": self.storage,
            "--search-storage": self.root / "search",
            "--termination-log": self.root / "termination",
            "--metrics-port": "0",
        }
        if not self.extra:
            arguments["--results-dir"] = self.results
        words = [str(word) for pair in arguments.items() for word in pair]
        with open(self.root / "output", "ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "edgetran_workers", self.command, *words, *self.extra],
                stdout=output,
                stderr=output,
                env=environment,
                cwd=self.root,
            )
        _STARTED.append(process)
        return process

    def run(self) -> int:
        return self.start().wait(PATIENCE_S)

    @property
    def output(self) -> str:
        return (self.root / "output").read_text()


def make_pod(
    root: Path,
    command: str,
    resource: str,
    dependencies: str = "",
    *,
    profile: Pod | None = None,
    search: Pod | None = None,
    storage: object = None,
    extra: tuple[str, ...] = (),
) -> Pod:
    """The pod that the operator would make."""
    pod = Pod(root, command, extra)
    work = root / "work"
    work.mkdir(parents=True)
    folder, results = KINDS[command]
    profiles = {} if profile is None else {"s-board": [str(profile.results / "0")]}
    searched = None
    if search is not None:
        searched = {"folder": f"lab/{KINDS['search'][0]}", "storage": "claim"}
        (root / "search").symlink_to(search.storage)
    (work / "resource.yaml").write_text(resource)
    if dependencies:
        (work / "dependencies.yaml").write_text(dependencies)
    (work / "work.json").write_text(
        json.dumps(
            {
                "results": f"{results}-results",
                "namespace": "lab",
                "storage": storage,
                "folder": f"lab/{folder}",
                "inputs": {"profiles": profiles, "search": searched},
            }
        )
    )
    write_data(pod.storage / "data")
    return pod


def write_data(folder: Path) -> None:
    """A task of two classes that tells itself by its words."""
    folder.mkdir(parents=True)
    rng = random.Random(0)  # noqa: S311 - test data
    good, bad = ["fine", "great", "lovely", "superb"], ["dull", "poor", "awful", "boring"]
    lines = ["text,label"]
    for number in range(120):
        words = good if number % 2 else bad
        lines.append(f"a {rng.choice(words)} and {rng.choice(words)} film {number},{number % 2}")
    (folder / "train.csv").write_text("\n".join(lines) + "\n")


def end_all() -> None:
    """Kill what a test that failed has left."""
    while _STARTED:
        process = _STARTED.pop()
        if process.poll() is None:
            kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to the worker and all that it started, as the end of a container is."""
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    end(family)


def end(family: Iterable[psutil.Process]) -> None:
    """What the end of a container does to the processes that its first one has left."""
    left = [child for child in family if child.is_running()]
    for child in left:
        with suppress(psutil.NoSuchProcess):
            child.kill()
    psutil.wait_procs(left, timeout=30)


def wait_for(pod: Pod, process: subprocess.Popen[bytes], log: str, count: int) -> None:
    """Until the worker has so many records in a log of its folder."""
    deadline = time.monotonic() + PATIENCE_S
    while len(read_records(pod.folder / log)) < count:
        assert process.poll() is None, pod.output
        assert time.monotonic() < deadline, pod.output
        time.sleep(0.05)
