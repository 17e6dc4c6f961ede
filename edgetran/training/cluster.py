"""Ray, as quiet and small as it can be: a local one on the loopback interface, or a running one."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import socket
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_OBJECT_STORE_BYTES: Final = 80 * 1024**2
"""Close to Ray's least: only specs and outcomes travel, models go through folders."""

_CONNECT_TIMEOUT_S: Final = 10.0
_FOLDER_PREFIX: Final = "edgetran-ray-"
_ENVIRONMENT: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
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


class ClusterError(RuntimeError):
    """Ray is missing, does not start or cannot be reached; one sentence."""


@dataclass(frozen=True)
class RaySettings:
    """Where trials run.

    Attributes:
        mode: `local` starts Ray on this machine, on loopback only; `cluster` joins a running one;
            `inline` runs trials in this process, one after another.
        address: of the running cluster, as `host:port` or `ray://host:port`.
    """

    mode: str = "local"
    address: str | None = None

    def __post_init__(self) -> None:
        if self.mode not in ("local", "cluster", "inline"):
            raise ValueError(f"ray.mode: {self.mode!r}; allowed are local, cluster, inline")
        if (self.mode == "cluster") != (self.address is not None):
            raise ValueError("ray.address: needed for mode cluster, and for that mode only")


class Cluster:
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
        ClusterError: Ray is not installed, does not start, or the address does not answer.
    """

    def __init__(
        self, settings: RaySettings, *, num_cpus: float, num_gpus: float | None = None
    ) -> None:
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
            _check_answers(settings.address or "")
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
            self.ray.init(**options)
        except Exception as error:  # noqa: BLE001 - Ray raises what its parts raise
            self.close()
            raise ClusterError(f"ray: {_first_line(error)}") from None

    def close(self) -> None:
        """Shut Ray down, if this object started it; may be called again."""
        if self._owned:
            self.ray.shutdown()
            self._owned = False
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def _import_ray(*, local: bool) -> Any:
    """Import Ray, which reads its settings and its token from the environment when imported."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if local and "ray" not in sys.modules:
        os.environ |= _LOCAL_ENVIRONMENT
        if "RAY_AUTH_MODE" not in os.environ:
            os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    try:
        import ray
    except ImportError:
        raise ClusterError('ray is not installed: pip install "edgetran[worker]"') from None
    return ray


def _check_answers(address: str) -> None:
    """Ask the address itself first: Ray would ask it for five minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), _CONNECT_TIMEOUT_S).close()
    except (OSError, ValueError, OverflowError) as error:
        raise ClusterError(f"ray: no cluster answers at {address} ({error})") from None


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


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
