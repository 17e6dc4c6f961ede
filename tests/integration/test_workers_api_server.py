"""Results in ConfigMaps of a real API server, with the rights that the operator gives a worker."""

from __future__ import annotations

import io
import json
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from cluster_fixtures import ApiServer, wait_until
from workers_lab import JOB, make_pod

from edgetran.api.wire import PART_KEY, SUMMARY_KEY, WorkerSummary
from edgetran.records import JsonLog, read_records
from edgetran.runner.published import read_part
from edgetran_workers.log import Log
from edgetran_workers.publish import Publisher
from edgetran_workers.report import ConfigMapResults
from edgetran_workers.results import ConflictError, MissingPartError, ResultsError

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]

NAME = "x-pj-results"


class Narrator:
    def __init__(self) -> None:
        self.seen = 0

    def take(self, record: object) -> None:
        self.seen += 1

    def summary(self) -> WorkerSummary:
        return WorkerSummary(metrics={"seen": self.seen})


class Namespace:
    """A namespace with a worker's Role over its results, which an operator would keep."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server
        self.name = server.namespace("workers")
        self.user = f"worker-{self.name}"
        self.maps = f"/api/v1/namespaces/{self.name}/configmaps"
        self.rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{self.name}"
        self.parts = 0
        self._bind()
        self.add_part()
        self.kubeconfig = server.as_user(self.user)

    def add_part(self) -> None:
        """One results ConfigMap more, and the right to change it."""
        self.make(self.parts)
        self.parts += 1
        names = [f"{NAME}-{number}" for number in range(self.parts)]
        rule = {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": names,
            "verbs": ["get", "update", "patch"],
        }
        self.server.call("PATCH", f"{self.rbac}/roles/worker", {"rules": [rule]})

    def make(self, number: int) -> None:
        metadata = {"name": f"{NAME}-{number}", "labels": {"edgetran.io/name": "x"}}
        self.server.call("POST", self.maps, {"metadata": metadata})

    def part(self, number: int) -> dict[str, Any]:
        return self.server.call("GET", f"{self.maps}/{NAME}-{number}")

    def records(self) -> list[dict[str, Any]]:
        import base64

        found = []
        for number in range(self.parts):
            data = (self.part(number).get("binaryData") or {}).get(PART_KEY, "")
            found += [json.loads(each.line) for each in read_part(base64.b64decode(data))]
        return found

    def _bind(self) -> None:
        meta = {"name": "worker"}
        self.server.call("POST", f"{self.rbac}/roles", {"metadata": meta, "rules": []})
        group = "rbac.authorization.k8s.io"
        self.server.call(
            "POST",
            f"{self.rbac}/rolebindings",
            {
                "metadata": meta,
                "roleRef": {"apiGroup": group, "kind": "Role", "name": "worker"},
                "subjects": [{"kind": "User", "name": self.user, "apiGroup": group}],
            },
        )


@pytest.fixture
def namespace(api_server: ApiServer) -> Namespace:
    return Namespace(api_server)


def publisher_of(namespace: Namespace, folder: Path, **settings: Any) -> Publisher:
    publisher = Publisher(
        ConfigMapResults(NAME, namespace.name, namespace.kubeconfig),
        folder,
        Narrator(),
        Log(as_json=True, stream=io.StringIO()),
        pod="pod-1",
        on_replaced=lambda: None,
        **settings,
    )
    publisher.restore(30)
    return publisher


def test_a_part_is_read_and_changed_with_its_version_as_the_lock(namespace: Namespace) -> None:
    store = ConfigMapResults(NAME, namespace.name, namespace.kubeconfig)
    part = store.read(0)
    assert part is not None
    assert (part.records, dict(part.data)) == (b"", {})
    assert store.version(0) == part.version
    version = store.write(0, {"summary.json": "{}"}, b"bytes", part.version)
    again = store.read(0)
    assert again is not None
    assert (again.records, dict(again.data), again.version) == (
        b"bytes",
        {"summary.json": "{}"},
        version,
    )
    with pytest.raises(ConflictError):
        store.write(0, {}, b"late", part.version)
    store.write(0, {"part.json": "1"}, None, version)
    kept = store.read(0)
    assert kept is not None
    assert (kept.records, set(kept.data)) == (b"bytes", {"summary.json", "part.json"})
    assert namespace.part(0)["metadata"]["labels"] == {"edgetran.io/name": "x"}


def test_what_is_not_there_and_what_is_forbidden(namespace: Namespace) -> None:
    store = ConfigMapResults(NAME, namespace.name, namespace.kubeconfig)
    assert store.read(7) is None  # the Role does not name it yet
    namespace.server.call("DELETE", f"{namespace.maps}/{NAME}-0")
    assert store.read(0) is None
    assert store.version(0) is None
    with pytest.raises(MissingPartError):
        store.write(0, {}, b"", "1")
    stranger = ConfigMapResults("another", namespace.name, namespace.kubeconfig)
    with pytest.raises(ResultsError, match="ConfigMap/another-0: 403"):
        stranger.read(0)


def test_megabytes_of_records_roll_over_as_the_operator_makes_parts(
    namespace: Namespace, tmp_path: Path
) -> None:
    log = JsonLog(tmp_path / "trials.jsonl")
    for number in range(40):
        log.append({"number": number, "noise": os.urandom(24_000).hex()})
    publisher = publisher_of(namespace, tmp_path)
    done = threading.Event()

    def operate() -> None:
        while not done.wait(0.1):
            if namespace.part(namespace.parts - 1).get("binaryData"):
                namespace.add_part()

    operator = threading.Thread(target=operate)
    operator.start()
    try:
        assert publisher.finish(60)
    finally:
        done.set()
        operator.join()
    assert namespace.records() == read_records(tmp_path / "trials.jsonl")
    assert namespace.parts >= 3
    closed = [json.loads(namespace.part(n)["data"]["part.json"])["closed"] for n in (0, 1)]
    assert closed == [True, True]
    shutil.rmtree(tmp_path)
    publisher_of(namespace, tmp_path)
    assert read_records(tmp_path / "trials.jsonl") == namespace.records()


def test_a_deleted_configmap_is_filled_again(namespace: Namespace, tmp_path: Path) -> None:
    publisher = publisher_of(namespace, tmp_path, period_s=0.1, check_s=0.2)
    publisher.start()
    JsonLog(tmp_path / "trials.jsonl").append({"number": 0})
    wait_until(lambda: namespace.records() == [{"number": 0}], "the record is published")
    namespace.server.call("DELETE", f"{namespace.maps}/{NAME}-0")
    namespace.make(0)
    wait_until(lambda: namespace.records() == [{"number": 0}], "it is published again")
    wait_until(lambda: SUMMARY_KEY in (namespace.part(0).get("data") or {}), "so is the summary")
    assert publisher.finish(10)


def test_an_outage_of_the_api_server_is_waited_for(namespace: Namespace, tmp_path: Path) -> None:
    publisher = publisher_of(namespace, tmp_path, period_s=0.1)
    publisher.start()
    log = JsonLog(tmp_path / "trials.jsonl")
    log.append({"number": 0})
    wait_until(lambda: len(namespace.records()) == 1, "the record is published")
    namespace.server.tool("stop", "apiserver")
    try:
        log.append({"number": 1})
        before = time.monotonic()
        assert not publisher.finish(2)
        assert time.monotonic() - before < 10
        assert publisher.state.failures > 0
    finally:
        namespace.server.tool("start", "apiserver")
    assert publisher.finish(120)
    assert namespace.records() == [{"number": 0}, {"number": 1}]


def test_a_worker_reports_to_a_real_api_server(namespace: Namespace, tmp_path: Path) -> None:
    pod = make_pod(
        tmp_path / "profile",
        "profile",
        JOB.replace("lab", namespace.name),
        extra=("--kubeconfig", str(namespace.kubeconfig)),
    )
    work = json.loads((pod.root / "work/work.json").read_text())
    work |= {"namespace": namespace.name, "results": NAME}
    (pod.root / "work/work.json").write_text(json.dumps(work))
    assert pod.run() == 0, pod.output
    summary = json.loads(namespace.part(0)["data"][SUMMARY_KEY])
    assert summary["finished"] is True
    assert summary["pod"] == "pod-profile"
    kinds = [record.get("kind") for record in namespace.records()]
    assert kinds.count("measurement") == 6
