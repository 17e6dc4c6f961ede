"""Ways to watch, side by side: kopf's indices, kopf's events beside our informers, informers alone.

    python benchmarks/operator/watching.py [--resources N …] [--repeats N] [--load bare|whole …]
    python benchmarks/operator/watching.py --pages 50 200 500

Each way is a process of its own that knows the same API server, one after the other, in turns:

- `indices`: kopf handlers with an index of every kind, as kopf's documentation has it;
- `mixed`: kopf's events for the three kinds, our informers for all others;
- `informers`: our informers for everything, as the operator has it.

Loads: `bare` are ProfilingJobs; `whole` are ProfilingJobs with a Job, a pod and two ConfigMaps
each, one of which holds 16 KiB of results. Settling ends once all is known and each ProfilingJob
was handed on to be reconciled; then each is changed once, and the time counts until all were
handed on again. Nothing is reconciled. With --pages, informers alone settle, with lists in pages of
so many objects. Results go to benchmarks/results/watching-HARDWARE.json.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import os
import re
import selectors
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import kopf
from rich.console import Console
from rich.table import Table
from server import NAMESPACE, PARALLEL_CREATIONS, QUEUED, RESULTS, ROOT, api_server, create, prepare

import edgetran_operator.kube.client
from edgetran.api import GROUP, KINDS, VERSION
from edgetran.devices.host import host_info
from edgetran_operator.controller.controller import Controller
from edgetran_operator.controller.loop_lag import LoopLag
from edgetran_operator.controller.sources import resource_sources, sources
from edgetran_operator.kube.client import Client, path_of
from edgetran_operator.kube.informers import Informer
from edgetran_operator.kube.views import job_view, node_view, part_view, pod_view
from edgetran_operator.metrics.collector import Measures
from edgetran_operator.settings import Settings

WAYS = ("indices", "mixed", "informers")
LOADS = ("bare", "whole")
GIVEN_UP_SECONDS = 300
LABELS = {"app.kubernetes.io/name": "edgetran", "app.kubernetes.io/managed-by": "edgetran"}


class Handed:
    """The ProfilingJobs that were handed on to be reconciled.

    Attributes:
        settled: all of them were, once.
        changed: all of them were, after their change.
    """

    def __init__(self, count: int, turn: str) -> None:
        self._seen: dict[str, set[str]] = {"settled": set(), "changed": set()}
        self._count, self._turn = count, turn
        self.settled, self.changed = asyncio.Event(), asyncio.Event()

    def note(self, name: str, labels: Mapping[str, str]) -> None:
        """One was."""
        for which, event in (("settled", self.settled), ("changed", self.changed)):
            if which == "settled" or labels.get("turn") == self._turn:
                self._seen[which].add(name)
            if len(self._seen[which]) == self._count:
                event.set()


async def indices(_: Path, handed: Handed) -> AsyncIterator[None]:
    """Kopf with an index of every kind."""
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry)(kopf.login_with_kubeconfig)
    views = {
        ("", "v1", "pods"): pod_view,
        ("", "v1", "nodes"): node_view,
        ("", "v1", "configmaps"): lambda body: part_view(body, 0),
        ("batch", "v1", "jobs"): job_view,
    }
    for place, view in views.items():
        labels = None if place[2] == "nodes" else LABELS
        kopf.index(*place, registry=registry, id=place[2], labels=labels)(_indexed(view))

    async def note(name: str, labels: Mapping[str, str], **_: Any) -> None:
        handed.note(name, labels)

    for model in KINDS.values():
        place = (GROUP, VERSION, model.PLURAL)
        kopf.index(*place, registry=registry, id=model.PLURAL)(_indexed(dict))
        kopf.on.event(*place, registry=registry, id=f"event-{model.PLURAL}")(note)
    settings = kopf_settings()
    operator = kopf.operator(registry=registry, settings=settings, clusterwide=True)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(asyncio.create_task(operator).cancel)
        await handed.settled.wait()
        yield


def _indexed(view: Any) -> Any:
    async def index(body: Mapping[str, Any], namespace: str | None, name: str, **_: Any) -> Any:
        return {(namespace, name): view(dict(body))}

    return index


class NoDiffBase(kopf.DiffBaseStorage):
    """Spares kopf the copies that only change handlers need."""

    def build(self, *, body: kopf.Body, extra_fields: Iterable[Any] | None = None) -> Any:  # noqa: ARG002
        return {}

    def fetch(self, *, body: kopf.Body) -> Any:  # noqa: ARG002
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        pass


def kopf_settings() -> kopf.OperatorSettings:
    """Kopf as quick as its settings make it."""
    found = kopf.OperatorSettings()
    found.posting.enabled = False
    found.peering.standalone = True
    found.persistence.diffbase_storage = NoDiffBase()
    found.queueing.idle_timeout = 0.001
    return found


async def mixed(kubeconfig: Path, handed: Handed) -> AsyncIterator[None]:
    """Kopf's events for the three kinds, informers for all others."""
    async with controller_of(kubeconfig, handed) as controller, asyncio.TaskGroup() as group:
        for kind in KINDS:
            async for body in controller.client.list(path_of(kind)):
                controller.observe_resource(kind, body)
                await asyncio.sleep(0)
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(kopf.login_with_kubeconfig)
        for kind, model in KINDS.items():
            place = (GROUP, VERSION, model.PLURAL)
            kopf.on.event(*place, registry=registry, id=f"event-{model.PLURAL}")(
                _note(controller, kind)
            )
        settings = kopf_settings()
        settings.queueing.worker_limit = 20
        settings.watching.chunk_size = 50
        tasks = [
            group.create_task(kopf.operator(registry=registry, settings=settings, clusterwide=True))
        ]
        tasks += await watched(controller, sources(controller), group)
        yield
        for task in tasks:
            task.cancel()


def _note(controller: Controller, kind: str) -> Any:
    async def note(event: Mapping[str, Any], **_: Any) -> None:
        controller.observe_resource(kind, event["object"], gone=event["type"] == "DELETED")

    return note


async def informers(kubeconfig: Path, handed: Handed) -> AsyncIterator[None]:
    """Informers for everything."""
    async with controller_of(kubeconfig, handed) as controller, asyncio.TaskGroup() as group:
        tasks = await watched(controller, resource_sources(controller), group)
        tasks += await watched(controller, sources(controller), group)
        yield
        for task in tasks:
            task.cancel()


async def watched(
    controller: Controller, found: Iterable[Any], group: asyncio.TaskGroup
) -> list[Any]:
    """Tasks of informers, once all is known."""
    made = [Informer(controller.client, each, watch_seconds=240) for each in found]
    for each in made:
        if each.source.whole_kind:
            controller.read_whole = each.whole.want
    tasks = [group.create_task(each.run()) for each in made]
    for each in made:
        await each.synced.wait()
    return tasks


@contextlib.asynccontextmanager
async def controller_of(kubeconfig: Path, handed: Handed) -> AsyncIterator[Controller]:
    """The operator's controller, which hands on what it would reconcile."""
    client = await Client.connect(kubeconfig)
    controller = Controller(client, Settings(), Measures())
    labels: dict[str, Mapping[str, str]] = {}
    taken = controller.observe_resource

    def observe(kind: str, body: Mapping[str, Any], *, gone: bool = False) -> None:
        labels[body["metadata"]["name"]] = body["metadata"].get("labels", {})
        taken(kind, body, gone=gone)

    controller.observe_resource = observe  # type: ignore[method-assign]

    async def hand_on() -> None:
        while True:
            key = await controller.queue.get()
            handed.note(key.name, labels.get(key.name, {}))
            controller.queue.done(key)

    task = asyncio.create_task(hand_on())
    try:
        yield controller
    finally:
        task.cancel()
        await client.close()


async def be_watched(way: str, kubeconfig: Path, count: int, turn: str) -> None:
    """One way, in a process of its own: a line once it settled, and one once all was changed."""
    lags: list[float] = []
    lag = asyncio.create_task(LoopLag(lags.append).run())
    handed = Handed(count, turn)
    started = time.perf_counter()
    way, _, page = way.partition("@")
    edgetran_operator.kube.client.LIST_CHUNK = int(page or edgetran_operator.kube.client.LIST_CHUNK)
    run = {"indices": indices, "mixed": mixed, "informers": informers}[way](kubeconfig, handed)
    async with contextlib.aclosing(run):
        await anext(run)
        await handed.settled.wait()
        tell("settled", time.perf_counter() - started, lags)
        lags.clear()
        await handed.changed.wait()
        tell("changed", 0.0, lags)
        lag.cancel()
        sys.stdout.flush()
        os._exit(0)  # how it ends is not measured


def tell(what: str, seconds: float, lags: list[float]) -> None:
    """Say how it stands."""
    status = Path("/proc/self/status").read_text()
    memory = {
        field: int(cast("re.Match[str]", re.search(rf"{field}:\s+(\d+) kB", status))[1]) / 1024
        for field in ("VmRSS", "VmHWM")
    }
    found = {
        "what": what,
        "seconds": seconds,
        "memoryMib": memory["VmRSS"],
        "peakMemoryMib": memory["VmHWM"],
        "cpuSeconds": time.process_time(),
        "loopLagP99Seconds": sorted(lags)[int(0.99 * (len(lags) - 1))] if lags else 0.0,
        "loopLagMostSeconds": max(lags, default=0.0),
    }
    print(json.dumps(found), flush=True)


def try_way(way: str, kubeconfig: Path, count: int, turn: str) -> dict[str, Any]:
    """Run one way; what it said."""
    command = [sys.executable, __file__, "--be", way, "--resources", str(count)]
    process = subprocess.Popen(
        [*command, "--kubeconfig", str(kubeconfig), "--turn", turn],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "KUBECONFIG": str(kubeconfig)},
    )
    assert process.stdout is not None
    try:
        settled = line_of(process, GIVEN_UP_SECONDS)
        if settled is None:
            return {"settled": None}
        if "@" in way:
            return {"settled": settled}
        started = time.perf_counter()
        asyncio.run(change(kubeconfig, count, turn))
        written = time.perf_counter() - started
        changed = line_of(process, GIVEN_UP_SECONDS)
        seconds = time.perf_counter() - started
        if changed is None:
            return {"settled": settled, "changed": None}
        changed |= {"seconds": seconds, "writtenSeconds": written}
        return {"settled": settled, "changed": changed}
    finally:
        process.kill()
        process.wait()


def line_of(process: subprocess.Popen[str], seconds: float) -> dict[str, Any] | None:
    """The next line that it says; None where it says none in time."""
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        if not selector.select(seconds):
            return None
    text = process.stdout.readline()
    found: dict[str, Any] | None = json.loads(text) if text else None
    return found


async def add_children(client: Client, count: int) -> None:
    """A Job, a pod and two ConfigMaps for each ProfilingJob."""
    page = client.list(path_of("ProfilingJob", NAMESPACE))
    owners = iter([body["metadata"] async for body in page][:count])

    async def some() -> None:
        for owner in owners:
            for kind, body in children_of(owner):
                await client.create(kind, NAMESPACE, body)

    await asyncio.gather(*(some() for _ in range(PARALLEL_CREATIONS)))


def children_of(owner: Mapping[str, Any]) -> Iterable[tuple[str, dict[str, Any]]]:
    name = owner["name"]
    labels = {**LABELS, "edgetran.io/kind": "ProfilingJob", "edgetran.io/name": name}
    reference = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "ProfilingJob",
        "name": name,
        "uid": owner["uid"],
        "controller": True,
    }
    pod = {"restartPolicy": "Never", "containers": [{"name": "worker", "image": "worker"}]}
    files = {"resource.yaml": json.dumps({"spec": QUEUED}), "work.json": "{}" + " " * 2000}
    blob = base64.b64encode(os.urandom(16 * 1024)).decode()
    summary = json.dumps({"progress": "1/8", "status": {"measured": 1}})
    bodies: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("Job", "worker", {"spec": {"template": {"metadata": {"labels": labels}, "spec": pod}}}),
        ("Pod", "worker-abcde", {"spec": pod}),
        ("ConfigMap", "spec", {"data": files}),
        (
            "ConfigMap",
            "results-0",
            {"binaryData": {"records.jsonl.gz": blob}, "data": {"summary.json": summary}},
        ),
    )
    for kind, suffix, body in bodies:
        metadata = {"name": f"{name}-pj-{suffix}", "labels": labels, "ownerReferences": [reference]}
        yield kind, {"metadata": metadata, **body}


async def change(kubeconfig: Path, count: int, turn: str) -> None:
    """Change each ProfilingJob once."""
    client = await Client.connect(kubeconfig)
    numbers = iter(range(count))

    async def some() -> None:
        for number in numbers:
            patch = {"metadata": {"labels": {"turn": turn}}}
            await client.merge("ProfilingJob", NAMESPACE, f"job-{number:05d}", patch)

    await asyncio.gather(*(some() for _ in range(PARALLEL_CREATIONS)))
    await client.close()


async def loaded(kubeconfig: Path, count: int, load: str) -> None:
    """Put the load on the server."""
    client = await Client.connect(kubeconfig)
    await prepare(client)
    await create(client, count, QUEUED)
    if load == "whole":
        await add_children(client, count)
    await client.close()


def compare(load: str, count: int, repeats: int, ways: Sequence[str]) -> list[dict[str, Any]]:
    """Some ways in turns at one load; a figure is the median of its repeats."""
    tries: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as folder, api_server(Path(folder)) as server:
        asyncio.run(loaded(server.kubeconfig, count, load))
        for turn in range(repeats):
            first = turn % len(ways)
            for way in (*ways[first:], *ways[:first]):
                tries[way].append(try_way(way, server.kubeconfig, count, f"{turn}-{way}"))
                Console().print(load, count, way, tries[way][-1])
    return [{"load": load, "resources": count, "way": way, **medians(tries[way])} for way in ways]


def medians(tries: list[dict[str, Any]]) -> dict[str, Any]:
    """The median of each figure; None where it did not settle in any of them."""
    found: dict[str, Any] = {"repeats": len(tries)}
    for what in ("settled", "changed"):
        told = [each[what] for each in tries if each.get(what)]
        found[what] = (
            {
                field: statistics.median(each[field] for each in told)
                for field in told[0]
                if field != "what"
            }
            if len(told) == len(tries)
            else None
        )
    return found


def show(found: Iterable[dict[str, Any]]) -> None:
    """A table for the terminal."""
    table = Table(
        "Load", "Resources", "Way", "Settled s", "MiB", "Peak MiB", "Lag p99 ms", "Changed s"
    )
    for each in found:
        settled, changes = each["settled"], each["changed"]
        table.add_row(
            each["load"],
            str(each["resources"]),
            each["way"],
            *(
                f"{settled[field] * factor:.1f}" if settled else "—"
                for field, factor in (
                    ("seconds", 1),
                    ("memoryMib", 1),
                    ("peakMemoryMib", 1),
                    ("loopLagP99Seconds", 1000),
                )
            ),
            f"{changes['seconds']:.1f}" if changes else "—",
        )
    Console().print(table)


def main() -> None:
    """Measure, show and store."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--resources", type=int, nargs="+", default=[1000, 5000])
    parser.add_argument("--load", nargs="+", choices=LOADS, default=LOADS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--pages", type=int, nargs="+", default=())
    parser.add_argument("--be", help=argparse.SUPPRESS)
    parser.add_argument("--kubeconfig", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--turn", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.be:
        asyncio.run(be_watched(given.be, given.kubeconfig, given.resources[0], given.turn))
        return
    ways = tuple(f"informers@{page}" for page in given.pages) or WAYS
    host = host_info()
    name = re.sub(r"[^a-z0-9]+", "-", host.cpu_model.lower()).strip("-")
    path = RESULTS / f"watching-{name}-{host.usable_cores:g}-cores.json"
    kept = json.loads(path.read_text())["runs"] if path.exists() else []
    runs = {(each["load"], each["resources"], each["way"]): each for each in kept}
    for load in given.load:
        for count in given.resources:
            for each in compare(load, count, given.repeats, ways):
                runs[each["load"], each["resources"], each["way"]] = each
            content = {
                "host": {"cpu": host.cpu_model, "cores": host.usable_cores},
                "runs": [runs[key] for key in sorted(runs)],
            }
            path.write_text(json.dumps(content, indent=1) + "\n")
    show(runs[key] for key in sorted(runs))
    Console().print(f"written to {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
