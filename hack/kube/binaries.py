"""The programs that a cluster is made of: Kubernetes from its cache, the rest from Debian."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from kube.errors import LocalClusterError

_HACK: Final = Path(__file__).resolve().parent.parent
BUILD: Final = _HACK / "build-kube"
BUILD_CRD_SERVER: Final = _HACK / "build-crd-server"

CONTROL_PLANE: Final = {"etcd": "etcd-server", "openssl": "openssl"}
"""Programs that etcd and an API server need, and the Debian package of each."""

NODES: Final = {
    "containerd": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
}
"""Programs that nodes need as well, and the Debian package of each."""


def kubernetes() -> Path:
    """The folder of Kubernetes' own programs, built where they are missing.

    Raises:
        LocalClusterError: they cannot be built here.
    """
    built = subprocess.run([BUILD], stdout=subprocess.PIPE, text=True, check=False)
    if built.returncode:
        raise LocalClusterError("Kubernetes could not be built; the lines above say why")
    return Path(built.stdout.strip().splitlines()[-1])


def crd_server() -> Path:
    """The folder of the server of custom resources of a current Kubernetes, built where missing.

    Raises:
        LocalClusterError: it cannot be built here.
    """
    built = subprocess.run([BUILD_CRD_SERVER], stdout=subprocess.PIPE, text=True, check=False)
    if built.returncode:
        raise LocalClusterError("the server could not be built; the lines above say why")
    return Path(built.stdout.strip().splitlines()[-1]) / "bin"


def require(*groups: dict[str, str]) -> None:
    """Install the Debian packages of programs that are missing.

    Raises:
        LocalClusterError: some are missing and this user may not install them.
    """
    wanted = {program: package for group in groups for program, package in group.items()}
    missing = sorted({package for program, package in wanted.items() if not _found(program)})
    if not missing:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise LocalClusterError(f"missing here: run as root: apt-get install {' '.join(missing)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", *missing]):
        done = subprocess.run(
            ["apt-get", "-q", *command],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise LocalClusterError(f"apt-get {' '.join(command)} failed: {done.stderr.strip()}")


def _found(program: str) -> bool:
    places = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    return shutil.which(program, path=places) is not None
