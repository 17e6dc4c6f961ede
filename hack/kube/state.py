"""What is kept about a cluster that is up: its folder, its ports and how to ask its API server."""

from __future__ import annotations

import json
import ssl
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

from kube.errors import LocalClusterError
from kube.pki import Pki
from kube.processes import Processes

_CONTENT_TYPES = {"PATCH": "application/merge-patch+json"}


@dataclass(frozen=True)
class Ports:
    """TCP ports of the control plane, all on loopback but the API server's."""

    api: int
    etcd: int
    etcd_peer: int
    controllers: int
    scheduler: int
    proxy_health: int
    proxy_metrics: int


@dataclass(frozen=True)
class State:
    """The folder of one cluster."""

    root: Path

    @property
    def processes(self) -> Processes:
        """Its processes."""
        return Processes(self.root / "processes", self.root / "logs")

    @property
    def pki(self) -> Pki:
        """Its certificates."""
        return Pki(self.root / "pki")

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig of its administrator."""
        return self.root / "kubeconfig"

    @property
    def nodes(self) -> Path:
        """One folder per node."""
        return self.root / "nodes"

    @property
    def ports(self) -> Ports:
        """The ports that were chosen for it.

        Raises:
            LocalClusterError: no cluster is up.
        """
        try:
            return Ports(**json.loads((self.root / "ports.json").read_text()))
        except FileNotFoundError:
            raise LocalClusterError(
                f"no cluster is up in {self.root}; start one: cluster up"
            ) from None

    @property
    def server(self) -> str:
        """The address of its API server on this machine."""
        return f"https://127.0.0.1:{self.ports.api}"

    def create(self, ports: Ports) -> None:
        """Make the folder with the ports of a new cluster."""
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / "ports.json").write_text(json.dumps(asdict(ports)))

    def write_kubeconfig(self, name: str, path: Path | None = None) -> Path:
        """Write the kubeconfig of the identity `name`, `kubeconfig-NAME` where no path is given."""
        path = path or self.root / f"kubeconfig-{name}"
        path.touch(mode=0o600)
        path.write_text(self.pki.kubeconfig(name, self.server))
        return path

    def ask(self, path: str, *, method: str = "GET", body: Any = None, seconds: float = 5) -> str:
        """What the API server answers its administrator.

        Raises:
            LocalClusterError: it cannot be reached or refuses.
        """
        server = self.server
        context = ssl.create_default_context(cafile=str(self.pki.authority))
        context.load_cert_chain(self.pki.certificate("admin"), self.pki.key("admin"))
        request = urllib.request.Request(  # noqa: S310 - the address is https on this machine
            server + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": _CONTENT_TYPES.get(method, "application/json")},
        )
        try:
            with urllib.request.urlopen(request, timeout=seconds, context=context) as answer:  # noqa: S310
                text: str = answer.read().decode()
                return text
        except HTTPError as error:
            raise LocalClusterError(f"{method} {path}: {_message(error)}") from None
        except (URLError, OSError) as error:
            raise LocalClusterError(f"{server} cannot be reached: {error}") from None

    def ready(self) -> bool:
        """Whether the API server says that it is ready."""
        return self.answers("/readyz")

    def answers(self, path: str) -> bool:
        """Whether the API server has what is asked for."""
        try:
            self.ask(path)
        except LocalClusterError:
            return False
        return True


def _message(error: HTTPError) -> str:
    """What an API server says about a request that it refuses."""
    text = error.read().decode()
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return f"{error.code} {text}"
