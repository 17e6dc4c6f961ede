"""Ray, as quiet and small as it can be: a local one on the loopback interface, or a running one."""

from __future__ import annotations

import importlib.util
import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgetran.api.field_errors import forbidden, required, unsupported

_OBJECT_STORE_BYTES: Final = 80 * 1024**2
"""Close to Ray's least: only specs and outcomes travel, models go through folders."""

_CONNECT_TIMEOUT_S: Final = 10.0
_CLIENT_ATTEMPTS: Final = 3
_CLIENT_PAUSE_S: Final = 2.0
_FOLDER_PREFIX: Final = "edgetran-ray-"
_ENVIRONMENT: Final = {
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_raylet_start_wait_time_s": "120",
    "RAY_SCHEDULER_EVENTS": "0",
}
_LOCAL_ENVIRONMENT: Final = {
    # Ray takes a loopback address for its node only where it may not form clusters; on Linux too.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}


class RayClusterError(RuntimeError):
    """Ray is missing, does not start or cannot be reached; one sentence."""


@dataclass(frozen=True)
class RaySettings:
    """Where trials run.

    Attributes:
        mode: `local` starts Ray on this machine, on loopback only; `cluster` joins a running one;
            `inline` runs trials in this process, one after another.
        address: of the running cluster: `ray://host:10001` from anywhere, `host:6379` on one of
            its nodes; `auto` for the one that this process is a job of.
    """

    mode: str = "local"
    address: str | None = None

    def __post_init__(self) -> None:
        if self.mode not in ("local", "cluster", "inline"):
            supported = ("local", "cluster", "inline")
            raise ValueError(f"ray.mode: {unsupported(self.mode, supported)}")
        if self.mode == "cluster" and self.address is None:
            raise ValueError(f"ray.address: {required('must be set with mode cluster')}")
        if self.mode != "cluster" and self.address is not None:
            raise ValueError(f"ray.address: {forbidden('may only be set with mode cluster')}")


class RayCluster:
    """A connection to Ray, which is shut down again with everything that it started.

    A local Ray listens on loopback and answers only to a token that this process makes up, because
    whoever may talk to Ray may run code. It belongs to the thread that starts it: the kernel kills
    Ray's processes when that thread, or its process, ends in whatever way. Two small agents of
    Ray's notice only after about a minute; they hold nothing that a next run needs.

    Args:
        settings: local or cluster.
        num_cpus: logical CPUs of a local Ray.
        num_gpus: logical GPUs of a local Ray; None lets Ray look.

    Raises:
        RayClusterError: Ray is not installed, does not start, or the address does not answer.
    """

    def __init__(
        self, settings: RaySettings, *, num_cpus: float, num_gpus: float | None = None
    ) -> None:
        if settings.mode == "cluster" and settings.address != "auto":
            _check_answers(settings.address or "")
        self.ray = _import_ray(local=settings.mode == "local")
        self._folder: Path | None = None
        self._owned = not self.ray.is_initialized()
        if not self._owned:
            return
        options: dict[str, Any] = {
            "log_to_driver": False,
            "logging_level": logging.ERROR,
            "configure_logging": False,
        }
        if settings.mode == "cluster":
            options["address"] = settings.address
        else:
            self._folder = _session_folder()
            options |= {
                "address": "local",
                "num_cpus": max(1, round(num_cpus)),
                "num_gpus": num_gpus,
                "include_dashboard": False,
                "object_store_memory": _OBJECT_STORE_BYTES,
                "_temp_dir": str(self._folder),
            }
        try:
            with _sigterm_left_alone(), _no_dashboard(local=self._folder is not None):
                self._init(options)
        except Exception as error:  # noqa: BLE001 - Ray raises what its parts raise
            self.close()
            raise RayClusterError(f"ray: {_sentence(error)}{_hint(settings)}") from None

    def _init(self, options: Mapping[str, Any]) -> None:
        """Start Ray or join a cluster, whose head may fail to start a client's server once.

        The head starts a process for each client; a busy one loses it now and then.
        """
        for left in reversed(range(_CLIENT_ATTEMPTS)):
            try:
                self.ray.init(**options)
            except ConnectionAbortedError:
                if not left:
                    raise
                self.ray.shutdown()
                time.sleep(_CLIENT_PAUSE_S)
            else:
                return

    def close(self) -> None:
        """Shut Ray down, if this object started it; may be called again."""
        if self._owned:
            with _sigterm_left_alone():
                self.ray.shutdown()
            self._owned = False
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def _import_ray(*, local: bool) -> Any:
    """Import Ray, which reads its settings and its token from the environment when imported."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    early = "ray" in sys.modules
    if local:
        os.environ |= _LOCAL_ENVIRONMENT
        if not early and "RAY_AUTH_MODE" not in os.environ:
            os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    try:
        import ray
    except ImportError:
        raise RayClusterError('ray is not installed: pip install "edgetran[worker]"') from None
    if local and early:  # somebody imported Ray before its settings were there
        from ray._private import ray_constants

        ray_constants.ENABLE_RAY_CLUSTER = False
    return ray


@contextmanager
def _no_dashboard(*, local: bool) -> Iterator[None]:
    """Keep a local Ray from starting the process that counts usage.

    Ray starts it without a dashboard and with usage statistics off too; it asks three clouds'
    metadata services, one by name, on which of them it runs.
    """
    from ray._private import services

    start = getattr(services, "start_api_server", None)
    if not local or start is None:
        yield
        return
    services.start_api_server = lambda *_, **__: (None, None)
    try:
        yield
    finally:
        services.start_api_server = start


@contextmanager
def _sigterm_left_alone() -> Iterator[None]:
    """Give SIGTERM back to the handler that it had.

    Ray takes it when it starts, with a handler that aborts the process after three seconds, and
    leaves the default action when it shuts down.
    """
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


def _check_answers(address: str) -> None:
    """Find out at once what Ray would say after five minutes, or in the words of its own extras."""
    if address.startswith("ray://") and importlib.util.find_spec("grpc") is None:
        raise RayClusterError(
            f'ray: {address} needs Ray\'s client: pip install "edgetran[ray-cluster]"'
        )
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), _CONNECT_TIMEOUT_S).close()
    except (OSError, ValueError, OverflowError) as error:
        raise RayClusterError(f"ray: no cluster answers at {address} ({error})") from None


def _session_folder() -> Path:
    """A short-named folder for Ray's sockets and logs; those of dead processes are removed.

    Paths of Unix sockets may have 107 characters, of which Ray itself takes about 70.
    """
    base = Path(tempfile.gettempdir())
    if len(str(base)) > 16:
        base = Path("/tmp")  # noqa: S108 - the only place that is surely short; names are unique
    for left in base.glob(f"{_FOLDER_PREFIX}*-*"):
        owner = left.name.removeprefix(_FOLDER_PREFIX).split("-")[0]
        if owner.isdigit() and not Path("/proc", owner).exists() and Path("/proc").exists():
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{_FOLDER_PREFIX}{os.getpid()}-", dir=base))


def _hint(settings: RaySettings) -> str:
    address = settings.address
    if address is None or address == "auto" or address.startswith("ray://"):
        return ""
    return f"; allowed outside the cluster's own nodes is ray://HOST:10001, not {address}"


def _sentence(error: Exception) -> str:
    """The first line, and where that announces what follows (a traceback) its last line too."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return f"{lines[0]} {lines[-1]}" if lines[0].endswith(":") and lines[1:] else lines[0]
