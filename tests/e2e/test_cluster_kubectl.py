"""`kubectl edgetran` beside real pods: what it says while a board is measured, and afterwards."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cluster_chain import address, apply, conditions, shared_cache, worker_settings
from cluster_fixtures import BOARD, Cluster, wait_until
from operator_process import operator

from edgetran.api import load_text, to_dict

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

JOB = """
apiVersion: edgetran.io/v1alpha1
kind: ProfilingJob
metadata: {name: NAME}
spec:
  device: {name: board, nodeSelector: {LABEL: VALUE}, threads: 1}
  designSpace: {preset: tiny}
  workload: {sequenceLength: 16}
  measurement: {mode: quick}
  sampling: {initial: 4, batch: 2, maxMeasurements: 6, targetError: 0.0001}
"""


def job(name: str, device: str) -> dict[str, Any]:
    text = JOB.replace("NAME", name).replace("LABEL", BOARD).replace("VALUE", device)
    (resource,) = load_text(text)
    return to_dict(resource)


def test_a_run_is_watched_shown_and_reported(
    cluster: Cluster, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    namespace = cluster.namespace("kubectl")
    node, device = next(iter(cluster.boards.items()))

    def command(*words: str) -> list[str]:
        kubeconfig = ["--kubeconfig", str(cluster.kubeconfig)]
        return [sys.executable, "-m", "edgetran.kubectl", *words, *kubeconfig]

    def plugin(*words: str) -> str:
        done = subprocess.run(command(*words), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def boards() -> dict[str, Any]:
        found = json.loads(plugin("devices", "-o", "json"))
        return next(each for each in found if each["node"] == node)

    def pods() -> list[Any]:
        place = f"/api/v1/namespaces/{namespace}/pods"
        selector = "edgetran.io/name=first"
        items: list[Any] = cluster.call("GET", place, labelSelector=selector)["items"]
        return items

    def runs() -> bool:
        return any(pod["status"]["phase"] in ("Running", "Succeeded") for pod in pods())

    def state(name: str) -> str | None:
        found = conditions(cluster.call("GET", address("ProfilingJob", namespace, name)))
        return found.get("Succeeded", {}).get("status")

    settings = worker_settings(shared_cache(tmp_path_factory.mktemp("cache")))
    with operator(cluster.kubeconfig, tmp_path_factory.mktemp("operator"), settings):
        apply(cluster, namespace, [job("first", device)])
        wait_until(runs, lambda: json.dumps(pods()), 120)
        apply(cluster, namespace, [job("second", device)])
        wait_until(
            lambda: boards()["queue"] == [f"{namespace}/second"], lambda: json.dumps(boards()), 60
        )
        assert boards()["measuring"] == f"{namespace}/first"
        assert boards()["ready"] is True

        here = ("-n", namespace)
        following = subprocess.Popen(
            command("logs", "first", "-f", *here), stdout=subprocess.PIPE, text=True
        )
        watched = plugin("status", "first", "--watch", *here)
        followed = following.communicate(timeout=60)[0].splitlines()
        assert state("first") == "True"
        assert "6/6" in watched
        assert f"Node: {node}" in watched
        assert any("profile board" in line for line in followed), followed
        assert not any(line.startswith("{") for line in followed)

        shown = plugin("show", "first", *here)
        assert "6 architectures measured" in shown
        assert "Latency" in shown
        page = tmp_path / "first.html"
        plugin("report", "first", "--output", str(page), *here)
        assert "board" in page.read_text()
        raw = plugin("logs", "first", "--raw", *here).splitlines()
        assert all(json.loads(line)["message"] for line in raw)
        wait_until(lambda: state("second") == "True", lambda: json.dumps(boards()), 120)
        assert boards()["queue"] == []
        cluster.call("DELETE", f"/api/v1/namespaces/{namespace}")
