"""An API server, the operator's controller, and its informers."""

import asyncio

from kubernetes.aio import client as api
from poison import OURS, Server, serve

from edgetran_operator.controller.controller import Controller
from edgetran_operator.controller.sources import ray_job_sources, resource_sources, sources
from edgetran_operator.kube.cache import Key
from edgetran_operator.kube.client import Client
from edgetran_operator.kube.informers import Informer
from edgetran_operator.metrics.collector import LoopMeasures
from edgetran_operator.settings import Settings

EVIL = Key("ProfilingJob", "ns", "evil")


def child(key=EVIL, **metadata):
    """Metadata of a child."""
    uid = f"uid-profilingjobs-{key.namespace}-{key.name}"
    return {
        "labels": {**OURS, "edgetran.io/kind": key.kind, "edgetran.io/name": key.name},
        "ownerReferences": [{"uid": uid, "controller": True, "kind": key.kind}],
        **metadata,
    }


class Scene:
    """A server, the operator's controller, and its informers."""

    def __init__(self, *, ray=False):
        self.server = Server()
        self.ray = ray
        self.said = []

    def play(self, script):
        async def scene():
            configuration = api.Configuration(host=f"http://127.0.0.1:{self.server.port}")
            client = Client(api.ApiClient(configuration))
            self.measures = LoopMeasures()
            self.controller = Controller(client, Settings(), self.measures)
            self.cache = self.controller.cache
            own, others = (
                [Informer(client, each, watch_seconds=60) for each in found(self.controller)]
                for found in (resource_sources, sources)
            )
            if self.ray:
                found = ray_job_sources(self.controller)
                others += [Informer(client, each, watch_seconds=60) for each in found]
            self.informers = [*own, *others]
            whole = next(each.whole for each in self.informers if each.source.whole_kind)
            self.controller.read_whole = whole.want
            self.tasks = []
            try:
                for group in (own, others):
                    self.tasks += [asyncio.create_task(each.run()) for each in group]
                    for each in group:
                        await asyncio.wait_for(each.synced.wait(), 300)
                await script(self)
                assert not [task for task in self.tasks if task.done()]
            finally:
                for task in self.tasks:
                    task.cancel()
                await asyncio.gather(*self.tasks, return_exceptions=True)
                await client.close()

        serve(self.server, scene)

    def put(self, made, key=EVIL, **members):
        plural, name, usual = made
        found = {"metadata": child(key), **usual, **members}
        self.server.put(plural, name.format(key.name), **found)

    def views(self, kind, key=EVIL):
        family = self.cache.families.get(key)
        return list(family.views(kind)) if family is not None else []

    def count(self, collection):
        (metric,) = [
            each
            for each in self.measures.registry.collect()
            if each.name == "edgetran_objects_unreadable"
        ]
        return sum(
            sample.value
            for sample in metric.samples
            if sample.name.endswith("_total") and sample.labels["collection"] == collection
        )
