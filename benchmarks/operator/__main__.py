"""The operator under load: time, memory, restart, loop lag and calls, on a real API server.

    python benchmarks/operator [--resources N …] [--quiet-seconds S] [--load queued|running …]

etcd, the API server, the load client and the operator share this machine. Loads: `queued` are
ProfilingJobs for one board, of which one gets its worker and all others a place in the queue;
`running` are ProfilingJobs that each get a worker at once, with its six children. Time counts from
the first creation until the last resource has its status (and its Job, where it gets one); peak
memory is the operator process's; calls are what the API server's audit log says of it.
Results go to benchmarks/results/operator-HARDWARE.json, in place of earlier ones of the same load
and number.

(A file operator.py would hide Python's own module from the scripts beside it.)
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table
from server import (
    NAMESPACE,
    QUEUED,
    RESULTS,
    ROOT,
    RUNNING,
    Server,
    api_server,
    create,
    prepare,
)

from edgetran.devices.host import host_info
from edgetran_operator.kube.client import ApiError, Client, path_of

METRICS_PORT, PROBE_PORT = 19290, 19280
TARGETS = {
    (1000, "seconds"): 20.0,
    (5000, "seconds"): 60.0,
    (5000, "peakMemoryMib"): 256.0,
    (5000, "restartSeconds"): 30.0,
    (1000, "loopLagP99Seconds"): 0.1,
    (5000, "loopLagP99Seconds"): 0.1,
}
"""Most that is allowed, for load `queued`."""


class Operator:
    """The operator's process."""

    def __init__(self, server: Server, folder: Path) -> None:
        config = folder / "operator.yaml"
        config.write_text(yaml.safe_dump({"metricsPort": METRICS_PORT, "probePort": PROBE_PORT}))
        self._log = folder / "operator.log"
        command = [sys.executable, "-m", "edgetran_operator.cli", "--config", str(config)]
        self._command = [*command, "--kubeconfig", str(server.operator_kubeconfig)]
        self.start()

    def start(self) -> float:
        """Start it; seconds until it is ready."""
        started = time.perf_counter()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        while not self._ready():
            assert self._process.poll() is None, self._log.read_text()[-2000:]
            time.sleep(0.05)
        return time.perf_counter() - started

    def end(self, how: signal.Signals) -> None:
        """End it."""
        self._process.send_signal(how)
        self._process.wait(60)

    def memory_mib(self, field: str) -> float:
        """VmRSS or its peak VmHWM, in MiB."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        match = re.search(rf"{field}:\s+(\d+) kB", status)
        assert match is not None
        return int(match[1]) / 1024

    def cpu_seconds(self) -> float:
        """CPU time so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def metrics(self) -> dict[str, Any]:
        """Metric families by name."""
        with urllib.request.urlopen(f"http://127.0.0.1:{METRICS_PORT}/metrics") as answer:
            text = answer.read().decode()
        return {family.name: family for family in text_string_to_metric_families(text)}

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PROBE_PORT}/readyz") as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def lag_p99(metrics: dict[str, Any], before: dict[str, Any] | None = None) -> float:
    """The 99th percentile of the loop's lag in seconds, within its histogram's bucket."""

    def counts(source: dict[str, Any] | None) -> dict[float, float]:
        samples = source["edgetran_loop_lag_seconds"].samples if source else []
        return {
            float(each.labels["le"]): each.value for each in samples if each.name.endswith("bucket")
        }

    then = counts(before)
    now = {edge: count - then.get(edge, 0) for edge, count in counts(metrics).items()}
    wanted = 0.99 * now[float("inf")]
    low, below = 0.0, 0.0
    for edge, count in sorted(now.items()):
        if count >= wanted:
            inside = (wanted - below) / max(1e-9, count - below)
            return low + (edge - low) * inside if edge < float("inf") else low
        low, below = edge, count
    return low


async def answered(client: Client, count: int, *, jobs: bool) -> None:
    """Watch until every resource has its status, and its Job where each gets one."""
    done: set[str] = set()
    workers: set[str] = set()

    async def follow(path: str, found: set[str], wanted: int, *, status: bool) -> None:
        while len(found) < wanted:
            query = {"resourceVersion": "0", "timeoutSeconds": "120"}
            async for event in client.watch(path, query, silence_seconds=120):
                body = event["object"]
                if not status or body.get("status", {}).get("observedGeneration"):
                    found.add(body["metadata"]["name"])
                if len(found) >= wanted:
                    return

    followed = [follow(path_of("ProfilingJob", NAMESPACE), done, count, status=True)]
    if jobs:
        path = path_of("Job", NAMESPACE)
        followed.append(follow(path, workers, count, status=False))
    await asyncio.gather(*followed)


async def measure(load: str, count: int, quiet_seconds: float, folder: Path) -> dict[str, Any]:
    """One load on a fresh API server."""
    with api_server(folder) as server:
        client = await Client.connect(server.kubeconfig)
        await prepare(client)
        operator = Operator(server, folder)
        idle_mib = operator.memory_mib("VmRSS")
        before = operator.metrics()
        offset = server.audit.stat().st_size
        started = time.perf_counter()
        device = RUNNING if load == "running" else QUEUED
        following = asyncio.create_task(answered(client, count, jobs=load == "running"))
        await create(client, count, device)
        created = time.perf_counter() - started
        await following
        seconds = time.perf_counter() - started
        await asyncio.sleep(5)
        busy = server.calls(offset)
        lag = lag_p99(operator.metrics(), before)
        peak_mib = operator.memory_mib("VmHWM")
        cpu_seconds = operator.cpu_seconds()
        offset = server.audit.stat().st_size
        await asyncio.sleep(quiet_seconds)
        quiet = server.calls(offset)
        operator.end(signal.SIGKILL)
        offset = server.audit.stat().st_size
        restarted = time.perf_counter()
        ready = operator.start()
        while not reconciled(operator, count):
            await asyncio.sleep(0.1)
        restart = time.perf_counter() - restarted
        await asyncio.sleep(2)
        found = {
            "load": load,
            "resources": count,
            "createdSeconds": created,
            "seconds": seconds,
            "operatorCpuSeconds": cpu_seconds,
            "idleMemoryMib": idle_mib,
            "peakMemoryMib": peak_mib,
            "loopLagP99Seconds": lag,
            "callsPerResource": sum(busy.values()) / count,
            "calls": dict(busy.most_common()),
            "quietSeconds": quiet_seconds,
            "callsInQuiet": dict(quiet),
            "restartReadySeconds": ready,
            "restartSeconds": restart,
            "restartPeakMemoryMib": operator.memory_mib("VmHWM"),
            "restartCalls": dict(server.calls(offset)),
        }
        operator.end(signal.SIGTERM)
        await client.close()
        return found


def reconciled(operator: Operator, count: int) -> bool:
    """Whether every resource was looked at since the start, and none waits."""
    metrics = operator.metrics()
    samples = metrics["edgetran_reconcile"].samples
    looked = sum(
        each.value
        for each in samples
        if each.name.endswith("_total") and each.labels["result"] in ("unchanged", "changed")
    )
    return looked >= count and metrics["edgetran_workqueue_depth"].samples[0].value == 0


def show(found: Sequence[dict[str, Any]]) -> None:
    """A table for the terminal; what misses its target is bold."""
    table = Table(
        "Load",
        "Resources",
        "Reconciled s",
        "Created s",
        "CPU s",
        "Peak MiB",
        "Idle MiB",
        "Lag p99 ms",
        "Calls each",
        "Calls in quiet",
        "Restart s",
    )
    for each in found:

        def cell(field: str, factor: float = 1.0, each: dict[str, Any] = each) -> str:
            value = each[field]
            limit = TARGETS.get((each["resources"], field)) if each["load"] == "queued" else None
            text = f"{value * factor:.1f}"
            return f"[bold]{text}[/]" if limit is not None and value > limit else text

        table.add_row(
            each["load"],
            str(each["resources"]),
            cell("seconds"),
            cell("createdSeconds"),
            cell("operatorCpuSeconds"),
            cell("peakMemoryMib"),
            cell("idleMemoryMib"),
            cell("loopLagP99Seconds", 1000),
            cell("callsPerResource"),
            f"{sum(each['callsInQuiet'].values())} in {each['quietSeconds']:g} s",
            cell("restartSeconds"),
        )
    Console().print(table)


def main() -> None:
    """Measure, show and store."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--resources", type=int, nargs="+", default=[1000, 5000])
    parser.add_argument(
        "--load", nargs="+", choices=["queued", "running"], default=["queued", "running"]
    )
    parser.add_argument("--quiet-seconds", type=float, default=600)
    given = parser.parse_args()
    found = []
    for load in given.load:
        for count in given.resources:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    run = measure(load, count, given.quiet_seconds, Path(folder))
                    found.append(asyncio.run(run))
                except ApiError as error:
                    raise SystemExit(f"the API server refused the load: {error}") from None
            show(found[-1:])
    host = host_info()
    name = re.sub(r"[^a-z0-9]+", "-", host.cpu_model.lower()).strip("-")
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"operator-{name}-{host.usable_cores:g}-cores.json"
    kept = json.loads(path.read_text())["runs"] if path.exists() else []
    runs = {(each["load"], each["resources"]): each for each in (*kept, *found)}
    content = {
        "host": {"cpu": host.cpu_model, "cores": host.usable_cores},
        "runs": [runs[key] for key in sorted(runs)],
    }
    path.write_text(json.dumps(content, indent=1) + "\n")
    show(content["runs"])
    Console().print(f"written to {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
