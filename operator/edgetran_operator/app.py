"""The whole operator in one event loop: kopf's process, watches, controller, probes, metrics."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import uuid
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, cast

import kopf

from edgetran.api.wire import NAMESPACE_VARIABLE, POD_VARIABLE
from edgetran_operator.controller.controller import Controller
from edgetran_operator.controller.loop_lag import LoopLag
from edgetran_operator.controller.probes import Health, serve_probes
from edgetran_operator.controller.sources import ray_job_sources, resource_sources, sources
from edgetran_operator.kube.client import Client, path_of
from edgetran_operator.kube.informers import Informer
from edgetran_operator.kube.lease import Leadership, LeaseLostError
from edgetran_operator.metrics.collector import LoopMeasures
from edgetran_operator.process import process_registry, process_settings
from edgetran_operator.settings import Settings

_NAMESPACES_IN_AFFINITY = (1, 22)
"""Version of Kubernetes from which on pod affinity knows namespaceSelector."""
_POD_FAILURE_POLICY = (1, 26)
"""Version from which on Jobs have a podFailurePolicy by default."""

_log = logging.getLogger(__name__)


async def run_operator(
    settings: Settings, kubeconfig: Path | None = None, stop: asyncio.Event | None = None
) -> None:
    """Run until SIGTERM or SIGINT, or until `stop` is set.

    Raises:
        OSError: a port that is taken.
        LeaseLostError: another operator may act from now on.
    """
    if kubeconfig is not None:
        os.environ["KUBECONFIG"] = str(kubeconfig)  # where kopf looks for it
    client = await Client.connect(kubeconfig)
    try:
        await _run(client, settings, stop)
    finally:
        await client.close()


async def _run(client: Client, settings: Settings, stop: asyncio.Event | None) -> None:
    measures = LoopMeasures()
    controller = Controller(client, settings, measures)
    version = await _server_version(client)
    controller.gatherer.namespaces_in_affinity = version >= _NAMESPACES_IN_AFFINITY
    controller.gatherer.pod_failure_policy = version >= _POD_FAILURE_POLICY
    seconds = settings.watch_timeout_seconds
    own = [Informer(client, each, watch_seconds=seconds) for each in resource_sources(controller)]
    informers = [Informer(client, each, watch_seconds=seconds) for each in sources(controller)]
    readers = {each.source.path: each.whole for each in informers if each.source.whole_kind}
    everywhere = readers.get(path_of("ConfigMap"))

    def read_whole(place: tuple[str, str]) -> None:
        (everywhere or readers[path_of("ConfigMap", place[0])]).want(place)

    controller.read_whole = read_whole
    lag = LoopLag(measures.lag)
    health = Health(settings, lag)
    health.informers = [*own, *informers]
    async with contextlib.AsyncExitStack() as stack:
        if settings.probe_port >= 0:
            runner = await serve_probes(health, settings.probe_port)
            stack.push_async_callback(runner.cleanup)
        if settings.metrics_port >= 0:
            stack.callback(measures.serve(settings.metrics_port, controller))
        _log.info("the operator runs against Kubernetes %d.%d", *version)
        background = [
            lag.run(),
            _watch(controller, own, informers),
            _watch_ray_jobs(client, controller),
        ]
        operator = kopf.operator(
            registry=process_registry(),
            settings=process_settings(),
            # kopf's own would name the user, and a pod's may have no name.
            identity=cast("Any", socket.gethostname()),
            clusterwide=not settings.namespaces,
            namespaces=settings.namespaces,
            stop_flag=stop,
        )
        await _until_first(operator, background)


async def _watch(
    controller: Controller, own: Sequence[Informer], others: Sequence[Informer]
) -> None:
    """Watch, and reconcile once all that existed before is known.

    The three kinds come first: what is a child, and who gets a board, is told by all of them. Where
    one of several operators acts, all of them watch, so that the next one knows everything at once.
    """
    async with asyncio.TaskGroup() as group:
        for informers in (own, others):
            for informer in informers:
                group.create_task(informer.run())
            for informer in informers:
                await informer.synced.wait()
        if controller.settings.leader_election.enabled:
            leadership = _leadership(controller)
            group.create_task(leadership.keep())
            await leadership.held.wait()
            controller.acts = True
        group.create_task(controller.run())


def _leadership(controller: Controller) -> Leadership:
    """A pod's name is its identity: a container that starts again in it goes on at once."""
    election = controller.settings.leader_election
    namespace = election.namespace or os.environ.get(NAMESPACE_VARIABLE) or "default"
    identity = os.environ.get(POD_VARIABLE) or f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"
    return Leadership(controller.client, namespace, election.lease, identity)


async def _watch_ray_jobs(client: Client, controller: Controller) -> None:
    """Watch RayJobs from the first resource on that asks for one."""
    await controller.ray_jobs_wanted.wait()
    seconds = controller.settings.watch_timeout_seconds
    async with asyncio.TaskGroup() as group:
        for source in ray_job_sources(controller):
            group.create_task(Informer(client, source, watch_seconds=seconds).run())


async def _until_first(
    main: Coroutine[Any, Any, None], others: Sequence[Coroutine[Any, Any, None]]
) -> None:
    """Run all until `main` ends or one of the others fails."""
    tasks = [asyncio.create_task(main), *(asyncio.create_task(each) for each in others)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ended = [task for task in tasks if task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in ended:
        try:
            task.result()
        except BaseExceptionGroup as group:
            lost = group.subgroup(LeaseLostError)
            if lost is None:
                raise
            raise lost.exceptions[0] from None


async def _server_version(client: Client) -> tuple[int, int]:
    """Major and minor version of the API server."""
    answer = await client.get("/version")
    major, minor = (
        int("".join(char for char in answer[part] if char.isdigit()) or 0)
        for part in ("major", "minor")
    )
    return major, minor
