"""The operator under exactly the rights that the chart gives it, in both scopes."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster_fixtures import ROOT, ApiServer, wait_until
from helm_python import Config
from operator_process import OperatorProcess, operator

from edgetran.api import KINDS, load_resources, to_dict

pytestmark = [pytest.mark.integration, pytest.mark.slow]

CHART = ROOT / "charts" / "edgetran"
GROUP = "/apis/edgetran.io/v1alpha1"


@dataclass(frozen=True)
class Installed:
    """A release, and its operator as a process with the release's rights.

    Attributes:
        server: where it is installed.
        release: its name, and that of its ServiceAccount and namespace.
        user: whom the operator acts as.
        process: the operator.
    """

    server: ApiServer
    release: str
    user: str
    process: OperatorProcess

    def requests(self) -> list[dict[str, Any]]:
        """Requests of the operator."""
        return [each for each in self.server.audited() if each["user"].get("username") == self.user]


@pytest.fixture(params=["Cluster", "Namespaced"])
def installed(
    control_plane: ApiServer, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Installed]:
    server, scope = control_plane, request.param
    release = f"edgetran-{scope.lower()}"
    values = {"scope": scope, "crds": {"enabled": False}}
    with Config(kubeconfig_path=server.kubeconfig, namespace=release) as helm:
        helm.install(CHART, release, values, create_namespace=True)
        try:
            path = f"/api/v1/namespaces/{release}/configmaps/{release}-settings"
            settings = yaml.safe_load(server.call("GET", path)["data"]["operator.yaml"])
            user = f"system:serviceaccount:{release}:{release}"
            groups = ["system:serviceaccounts", "system:authenticated"]
            ports = {"metricsPort": -1, "probePort": -1}
            kubeconfig = server.as_user(user, groups)
            with operator(kubeconfig, tmp_path, {**settings, **ports}) as process:
                yield Installed(server, release, user, process)
        finally:
            helm.uninstall(release)


def documents() -> list[dict[str, Any]]:
    return [to_dict(each) for each in load_resources(ROOT / "examples" / "search.yaml")]


def status_of(server: ApiServer, namespace: str, document: dict[str, Any]) -> dict[str, Any]:
    plural = KINDS[document["kind"]].PLURAL
    path = f"{GROUP}/namespaces/{namespace}/{plural}/{document['metadata']['name']}"
    found: dict[str, Any] = server.call("GET", path).get("status", {})
    return found


def test_nothing_that_the_operator_does_is_forbidden(installed: Installed) -> None:
    server, namespace = installed.server, installed.release

    def of_another_test(place: str | None) -> bool:
        """Whether something is about what an earlier test left, which may be on its way out."""
        return place not in (None, namespace)

    for number in (1, 2):
        labels = {"edgetran.io/device": ("raspberry-pi-5", "jetson-orin-nano")[number - 1]}
        node = {"metadata": {"name": f"{namespace}-{number}", "labels": labels}}
        server.call("POST", "/api/v1/nodes", node)
        ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        server.call("PATCH", f"/api/v1/nodes/{namespace}-{number}/status", ready)
    try:
        text = yaml.safe_dump_all(documents())
        server.kubectl("apply", "--validate=false", "-n", namespace, "-f", "-", stdin=text)
        for document in documents():
            told = partial(status_of, server, namespace, document)
            wait_until(told, f"{document['kind']} has a status")
        jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
        wait_until(lambda: len(server.call("GET", jobs)["items"]) == 2, "both boards have a Job")
        held = f"{GROUP}/namespaces/{namespace}/profilingjobs/raspberry-pi-5"
        server.call("PATCH", held, {"spec": {"suspend": True}})
        wait_until(lambda: len(server.call("GET", jobs)["items"]) == 1, "its Job is deleted")
        server.kubectl("delete", "pj,cds,gpt", "--all", "-n", namespace)
        refused = [
            f"{each['verb']} {each['requestURI']}"
            for each in installed.requests()
            if each.get("responseStatus", {}).get("code") == 403
            and not of_another_test(each.get("objectRef", {}).get("namespace"))
        ]
        assert refused == []
        lines = [
            json.dumps(line)
            for line in installed.process.lines()
            if not of_another_test(line.get("namespace"))
        ]
        assert not [line for line in lines if "forbidden" in line.lower() or "Traceback" in line]
    finally:
        for number in (1, 2):
            server.call("DELETE", f"/api/v1/nodes/{namespace}-{number}")


def test_namespaced_neither_asks_for_nor_may_read_other_namespaces(installed: Installed) -> None:
    server, namespace = installed.server, installed.release
    wait_until(installed.requests, "the operator asks for something")
    account = f"--as={installed.user}"
    elsewhere = server.kubectl(
        "auth", "can-i", "list", "configmaps", "-n", "default", account, check=False
    )
    secrets = server.kubectl(
        "auth", "can-i", "get", "secrets", "-n", namespace, account, check=False
    )
    assert secrets.stdout.strip() == "no"
    assert elsewhere.stdout.strip() == ("yes" if "cluster" in namespace else "no")
