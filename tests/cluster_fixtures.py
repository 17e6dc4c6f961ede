"""Fixtures that start a real Kubernetes: its API server alone, or three nodes.

Both are started by `hack/cluster --hold`, which takes everything down when its standard input is
closed: also where the tests are killed.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from edgetran.api import GROUP, VERSION

if TYPE_CHECKING:
    from kubernetes.client import ApiClient
    from kubernetes.dynamic import DynamicClient

ROOT = Path(__file__).resolve().parents[1]
CLUSTER_TOOL = ROOT / "hack" / "cluster"
CRDS = ROOT / "crds"

EXISTING = "EDGETRAN_KUBECONFIG"
"""Names the kubeconfig of a cluster that exists, with nodes labelled edgetran.io/device=NAME."""

BOARD = "edgetran.io/device"
"""The label that says which device a node is."""

_NUMBERS = itertools.count()
_DOWN_SECONDS = 60


@dataclass(frozen=True)
class ApiServer:
    """A real API server that knows EdgeTran's resources.

    Attributes:
        kubeconfig: the kubeconfig of its administrator.
        folder: what `hack/cluster --folder` takes; None where the cluster existed before.
        audit: a JSON line per request; None where the cluster existed before.
    """

    kubeconfig: Path
    folder: Path | None = None
    audit: Path | None = None

    @cached_property
    def client(self) -> ApiClient:
        """A client with the administrator's rights."""
        from kubernetes import config

        return config.new_client_from_config(config_file=str(self.kubeconfig))

    @cached_property
    def _dynamic(self) -> DynamicClient:
        from kubernetes.dynamic import DynamicClient

        # What a server at another run's port answered is not what this one does.
        cache = self.folder / "discovery.json" if self.folder else None
        return DynamicClient(self.client, cache_file=str(cache) if cache else None)

    def call(self, method: str, path: str, body: object = None, **query: str) -> Any:
        """The JSON answer to a request; raises kubernetes.client.ApiException where refused.

        A PATCH is a merge patch.
        """
        merge = {"content_type": "application/merge-patch+json"} if method == "PATCH" else {}
        answer = self._dynamic.request(
            method.lower(),
            path,
            body=body,
            query_params=list(query.items()),
            serialize=False,
            **merge,
        )
        return json.loads(answer.data)

    def find(self, path: str) -> Any:
        """The object at the path; None where there is none."""
        from kubernetes.client import ApiException

        try:
            return self.call("GET", path)
        except ApiException as error:
            if error.status != 404:
                raise
            return None

    def kubectl(
        self, *words: str | Path, stdin: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """What kubectl answers."""
        done = subprocess.run(
            ["kubectl", "--kubeconfig", str(self.kubeconfig), *map(str, words)],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(map(str, words))}: {done.stderr}")
        return done

    def namespace(self, prefix: str = "test") -> str:
        """The name of a new namespace."""
        worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
        name = f"{prefix}-{worker}-{os.getpid()}-{next(_NUMBERS)}"
        self.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        return name

    def tool(self, *words: str) -> str:
        """What `hack/cluster` answers about it, such as `restart apiserver`."""
        if self.folder is None:
            pytest.fail(f"this test stops parts of a cluster, and {EXISTING} names one that exists")
        command = [sys.executable, str(CLUSTER_TOOL), "--folder", str(self.folder), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def as_user(self, user: str, groups: Sequence[str] = ()) -> Path:
        """The kubeconfig of another user, who may do what RBAC allows."""
        words = [word for group in groups for word in ("--group", group)]
        return Path(self.tool("kubeconfig", "--user", user, *words))

    def audited(self) -> list[dict[str, Any]]:
        """Every request that it got so far."""
        assert self.audit is not None
        return [json.loads(line) for line in self.audit.read_text().splitlines()]


@dataclass(frozen=True)
class Cluster(ApiServer):
    """A real cluster with nodes.

    Attributes:
        boards: the nodes that are devices: the value of their label edgetran.io/device by name.
    """

    boards: Mapping[str, str] = field(default_factory=dict)

    def namespace(self, prefix: str = "test") -> str:
        """The name of a new namespace in which pods can be made."""
        name = super().namespace(prefix)
        minor = int(re.sub(r"\D", "", self.call("GET", "/version")["minor"]))
        account = f"/api/v1/namespaces/{name}/serviceaccounts/default"

        def complete() -> bool:
            found = self.find(account)
            return found is not None and (minor >= 24 or "secrets" in found)

        wait_until(complete, f"pods of {name} have a ServiceAccount")
        return name


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """etcd and an API server alone: nothing runs pods, Jobs or garbage collection."""
    with held_cluster(tmp_path_factory.mktemp("api-server"), "api-only") as server:
        apply_crds(server)
        yield server


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """An API server with Kubernetes' own controllers: Jobs make pods, which never get a node."""
    folder = tmp_path_factory.mktemp("control-plane")
    with held_cluster(folder, "api-only", "--controllers") as server:
        apply_crds(server)
        yield server


@pytest.fixture(scope="session")
def cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """Three nodes: `server`, `board-a` and `board-b`; or the cluster that EXISTING names."""
    beside = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) > 1
    if beside and not request.config.getoption("loadgroup", default=False):
        pytest.fail(
            "tests on the cluster run one after another: allowed are --dist loadgroup or no -n"
        )
    existing = os.environ.get(EXISTING)
    if existing is not None:
        cluster = Cluster(Path(existing), boards=_boards(ApiServer(Path(existing))))
        if len(cluster.boards) < 2:
            pytest.fail(
                f"{EXISTING}={existing}: {len(cluster.boards)} nodes with the label "
                "edgetran.io/device=NAME; allowed is a cluster with two of different names"
            )
        apply_crds(cluster)
        yield cluster
        return
    with held_cluster(tmp_path_factory.mktemp("cluster"), "up") as server:
        apply_crds(server)
        yield Cluster(server.kubeconfig, server.folder, server.audit, _boards(server))


def apply_crds(server: ApiServer) -> None:
    """Create or replace the three kinds' definitions and wait until they are served."""
    from kubernetes.client import ApiException

    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    for file in sorted(CRDS.glob("*.yaml")):
        definition = yaml.load(file.read_text(), yaml.CSafeLoader)
        name, names = definition["metadata"]["name"], definition["spec"]["names"]
        try:
            server.call("POST", path, definition)
        except ApiException as error:
            if error.status != 409:
                raise
            version = server.call("GET", f"{path}/{name}")["metadata"]["resourceVersion"]
            definition["metadata"]["resourceVersion"] = version
            server.call("PUT", f"{path}/{name}", definition)
        listed = f"/apis/{GROUP}/{VERSION}/{names['plural']}"
        wait_until(partial(server.find, listed), f"{name} is served")


def wait_until(
    ready: Callable[[], object], what: str | Callable[[], str], seconds: float = 60
) -> None:
    """Wait until `ready` says so; the test fails with `what` where that takes longer."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:g} s: {what if isinstance(what, str) else what()}")
        time.sleep(0.1)


def _boards(server: ApiServer) -> dict[str, str]:
    nodes = server.call("GET", "/api/v1/nodes")["items"]
    labels = {node["metadata"]["name"]: node["metadata"].get("labels", {}) for node in nodes}
    return {name: each[BOARD] for name, each in sorted(labels.items()) if BOARD in each}


@contextmanager
def held_cluster(folder: Path, *words: str) -> Iterator[ApiServer]:
    """A cluster that ends with the block, however this process ends."""
    audit = folder / "audit.log"
    command = [sys.executable, CLUSTER_TOOL, "--folder", folder / "state", *words]
    process = subprocess.Popen(
        [*map(str, command), "--hold", "--audit", str(audit)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C ends the tests, whose end then takes it down
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        kubeconfig = process.stdout.readline().strip()
        if not kubeconfig:
            pytest.fail(f"hack/cluster {words[0]} did not start; its message is in the output")
        yield ApiServer(Path(kubeconfig), folder / "state", audit)
    finally:
        process.stdin.close()
        process.wait(_DOWN_SECONDS)
        process.stdout.close()
