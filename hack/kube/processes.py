"""The processes of one cluster, each kept with its command line so that it can be started again."""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kube.errors import LocalClusterError

_STOP_SECONDS = 15.0
_PORTS = range(12_000, 30_000)
"""Below Linux's ephemeral ports (32768 and up) and the NodePorts of Kubernetes (30000 and up)."""
_LOG_LINES = 5


def run(*command: str | Path, check: bool = True, text: str | None = None) -> str:
    """What a command prints when it reads `text`.

    Raises:
        LocalClusterError: it failed and `check` is true.
    """
    done = subprocess.run(
        [str(word) for word in command], input=text, capture_output=True, text=True, check=False
    )
    if check and done.returncode:
        words = " ".join(str(word) for word in command[:4])
        raise LocalClusterError(f"{words} … failed: {(done.stderr or done.stdout).strip()[-400:]}")
    return done.stdout


def free_ports(count: int) -> list[int]:
    """TCP ports of the loopback interface that nothing listens on.

    They lie outside the range of which the kernel takes the ports of outgoing connections: between
    the end of a process and its next start no connection takes the port that it listened on.

    Raises:
        LocalClusterError: there are not so many.
    """
    found: list[int] = []
    candidates = random.sample(_PORTS, len(_PORTS))
    with ExitStack() as sockets:
        for port in candidates:
            if len(found) == count:
                return found
            each = sockets.enter_context(socket.socket())
            with suppress(OSError):
                each.bind(("127.0.0.1", port))
                found.append(port)
    raise LocalClusterError(f"{count} free TCP ports are needed; {_PORTS} holds {len(found)}")


def _start_time(pid: int) -> str | None:
    """What tells a process from a later one of the same number; None where it has ended."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in ("Z", "X") else fields[18]


@dataclass(frozen=True)
class Processes:
    """The processes whose records lie in `folder`, their output in `logs`."""

    folder: Path
    logs: Path

    def names(self) -> list[str]:
        """Every process that was ever started."""
        return sorted(record.stem for record in self.folder.glob("*.json"))

    def pid(self, name: str) -> int | None:
        """Its number while it runs."""
        record = self._record(name)
        pid = int(record.get("pid", 0))
        return pid if pid and _start_time(pid) == record["startTime"] else None

    def start(self, name: str, command: Sequence[str | Path] | None = None) -> None:
        """Start `command`, or what was started under that name before; nothing where it runs.

        Raises:
            LocalClusterError: without a command, for a name that was never started.
        """
        if command is None:
            self._command(name)
        with self._alone():
            self._start(name, command)

    def _start(self, name: str, command: Sequence[str | Path] | None = None) -> None:
        words = self._command(name) if command is None else [str(word) for word in command]
        if self.pid(name) is not None:
            return
        self.logs.mkdir(parents=True, exist_ok=True)
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        started = _start_time(process.pid)
        self._write(name, {"command": words, "pid": process.pid, "startTime": started})

    def revive(self) -> list[str]:
        """Start again what ended without being stopped, as systemd does; the names of those.

        Kubernetes counts on it: its API server ends itself where etcd keeps it waiting.
        """
        if not self.folder.exists():
            return []
        with self._alone():
            ended = [
                name
                for name in self.names()
                if not self._record(name).get("stopped") and self.pid(name) is None
            ]
            for name in ended:
                with self.log(name).open("a") as log:
                    log.write(f"cluster: {name} ended by itself and is started again\n")
                self._start(name)
        return ended

    def stop(self, name: str, *, kill: bool = False) -> None:
        """End it: with SIGTERM, and with SIGKILL where that does not help or `kill` asks for it.

        Raises:
            LocalClusterError: for a name that was never started.
        """
        self._command(name)
        with self._alone():
            pid = self.pid(name)
            self._write(name, {**self._record(name), "stopped": True})
        if pid is None:
            return
        signals = (signal.SIGKILL,) if kill else (signal.SIGTERM, signal.SIGKILL)
        for each in signals:
            with suppress(ProcessLookupError):
                os.kill(pid, each)
            deadline = time.monotonic() + _STOP_SECONDS
            while time.monotonic() < deadline:
                if self.pid(name) is None:
                    return
                time.sleep(0.02)

    def log(self, name: str) -> Path:
        """The file that holds its output."""
        return self.logs / f"{name}.log"

    def wait_until(
        self, what: str, ready: Callable[[], bool], *, of: str, seconds: float = 60.0
    ) -> None:
        """Wait until `ready`, at most so many `seconds` and only while the process `of` runs.

        Raises:
            LocalClusterError: it ended or took too long; the message has the end of its log.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if ready():
                return
            if self.pid(of) is None:
                raise LocalClusterError(f"{of} ended before {what}; {self._last_words(of)}")
            time.sleep(0.1)
        raise LocalClusterError(f"{what}: not after {seconds:.0f} s; {self._last_words(of)}")

    def _last_words(self, name: str) -> str:
        lines = self.log(name).read_text(errors="replace").splitlines()[-_LOG_LINES:]
        return f"{self.log(name)} ends with:\n" + "\n".join(lines)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other command starts or stops processes meanwhile."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _write(self, name: str, record: dict[str, Any]) -> None:
        draft = self._path(name).with_suffix(".new")
        draft.write_text(json.dumps(record))
        draft.replace(self._path(name))  # others read it without the lock

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _record(self, name: str) -> dict[str, Any]:
        try:
            record: dict[str, Any] = json.loads(self._path(name).read_text())
        except FileNotFoundError:
            return {}
        return record

    def _command(self, name: str) -> list[str]:
        command = self._record(name).get("command")
        if command is None:
            known = ", ".join(self.names()) or "nothing, since no cluster is up"
            raise LocalClusterError(f"no component {name}; allowed is {known}")
        return list(command)
