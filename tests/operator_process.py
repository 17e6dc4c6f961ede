"""The operator as a process of its own, as it is deployed, against a real API server."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_STOP_SECONDS = 30


@dataclass
class OperatorProcess:
    """A running operator.

    Attributes:
        command: its command line, to start it again.
        log: the file that its lines go to, those of earlier processes included.
        process: the process that runs now.
    """

    command: list[str]
    log: Path
    process: subprocess.Popen[bytes]

    @classmethod
    def start(
        cls, kubeconfig: Path, folder: Path, settings: Mapping[str, Any] | None = None
    ) -> OperatorProcess:
        """Start one with the administrator's `settings`; it serves no ports unless they say so."""
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "settings.yaml"
        config.write_text(yaml.safe_dump({"metricsPort": -1, "probePort": -1, **(settings or {})}))
        command = [sys.executable, "-m", "edgetran_operator.cli", "--config", str(config)]
        command += ["--kubeconfig", str(kubeconfig)]
        log = folder / "operator.log"
        return cls(command, log, _spawn(command, log))

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process.poll() is None

    def kill(self) -> None:
        """End it as a power cut does."""
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """Start it again after its end."""
        assert not self.alive
        self.process = _spawn(self.command, self.log)

    def stop(self) -> int:
        """End it as Kubernetes does; the exit status."""
        if self.alive:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(_STOP_SECONDS)

    def lines(self) -> list[dict[str, Any]]:
        """What it logged; lines that are no JSON are text under `message`."""
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                found.append({"message": line})
        return found

    def crashes(self) -> list[str]:
        """Tracebacks that it logged."""
        text = self.log.read_text(errors="replace")
        return [line for line in text.splitlines() if "Traceback (most recent call last)" in line]


@contextmanager
def operator(
    kubeconfig: Path, folder: Path, settings: Mapping[str, Any] | None = None
) -> Iterator[OperatorProcess]:
    """An operator that ends with the block."""
    running = OperatorProcess.start(kubeconfig, folder, settings)
    try:
        yield running
    finally:
        if running.alive:
            running.kill()


def _spawn(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"},
            start_new_session=True,
            preexec_fn=_end_with_the_tests,
        )


def _end_with_the_tests() -> None:
    """Ask the kernel to kill this process when the tests end, in whatever way they do."""
    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
