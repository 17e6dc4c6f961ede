"""An API server of its own for a benchmark, and what is put there."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from edgetran_operator.kube.client import Client, path_of

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
USER = "edgetran-operator-benchmark"
NAMESPACE = "default"
PARALLEL_CREATIONS = 32
QUEUED = {"name": "board", "nodeSelector": {"edgetran.io/device": "board"}}
RUNNING = {"name": "here", "host": True}


@dataclass
class Server:
    """An API server of its own.

    Attributes:
        kubeconfig: of its administrator.
        operator_kubeconfig: of the user that the operator is.
        audit: a JSON line per request.
    """

    kubeconfig: Path
    operator_kubeconfig: Path
    audit: Path

    def calls(self, offset: int) -> Counter[str]:
        """The operator's requests from an offset of the audit log on, watches left out."""
        found: Counter[str] = Counter()
        with self.audit.open() as lines:
            lines.seek(offset)
            for line in lines:
                event = json.loads(line)
                if event["user"]["username"] == USER and event["verb"] != "watch":
                    found[f"{event['verb']} {event.get('objectRef', {}).get('resource', '-')}"] += 1
        return found


@contextmanager
def api_server(folder: Path) -> Iterator[Server]:
    """etcd and an API server that end with the block."""
    tool = [sys.executable, str(ROOT / "hack" / "cluster"), "--folder", str(folder / "state")]
    audit = folder / "audit.log"
    process = subprocess.Popen(
        [*tool, "api-only", "--hold", "--audit", str(audit)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        kubeconfig = process.stdout.readline().strip()
        asked = ["kubeconfig", "--user", USER, "--group", "system:masters"]
        own = subprocess.run([*tool, *asked], capture_output=True, text=True, check=True)
        yield Server(Path(kubeconfig), Path(own.stdout.strip()), audit)
    finally:
        process.stdin.close()
        process.wait(60)


async def prepare(client: Client) -> None:
    """The three kinds, and a board."""
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    for file in sorted((ROOT / "crds").glob("*.yaml")):
        await client._ask(
            "POST", "CustomResourceDefinition", path, yaml.safe_load(file.read_text())
        )
    await asyncio.sleep(2)
    node = {"metadata": {"name": "board", "labels": {"edgetran.io/device": "board"}}}
    await client._ask("POST", "Node", path_of("Node"), node)
    await client._ask(
        "PATCH",
        "Node",
        path_of("Node", None, "board"),
        {"spec": {"taints": None}},
        None,
        "application/merge-patch+json",
    )
    ready = {"conditions": [{"type": "Ready", "status": "True", "reason": "", "message": ""}]}
    await client.merge("Node", "", "board", {"status": ready}, "status")


async def create(client: Client, count: int, device: dict[str, Any]) -> None:
    """Create ProfilingJobs, many at a time."""
    numbers = iter(range(count))

    async def some() -> None:
        for number in numbers:
            body = {
                "apiVersion": "edgetran.io/v1alpha1",
                "kind": "ProfilingJob",
                "metadata": {"name": f"job-{number:05d}"},
                "spec": {"device": device, "designSpace": {"preset": "tiny"}},
            }
            await client.create("ProfilingJob", NAMESPACE, body)

    await asyncio.gather(*(some() for _ in range(PARALLEL_CREATIONS)))
