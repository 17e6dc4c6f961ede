"""What is watched, and how it gets into the cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from edgetran.api import KINDS
from edgetran_operator.controller.controller import Controller
from edgetran_operator.kube.border import refuse_if_marked
from edgetran_operator.kube.cache import CHILD_KINDS, Key
from edgetran_operator.kube.client import path_of
from edgetran_operator.kube.informers import Source
from edgetran_operator.kube.troubles import SELECTORS, pod_of
from edgetran_operator.kube.views import child_of

OURS: Final = "app.kubernetes.io/name=edgetran,app.kubernetes.io/managed-by=edgetran"
JOB_TROUBLE: Final = "reason=FailedCreate,involvedObject.kind=Job"


def resource_sources(controller: Controller) -> list[Source]:
    """The collections of the three kinds."""
    spaces: list[str | None] = list(controller.settings.namespaces) or [None]
    return [_resources(controller, kind, namespace) for kind in KINDS for namespace in spaces]


def sources(controller: Controller) -> list[Source]:
    """All others but RayJobs, which are watched once a resource asks for one."""
    spaces: list[str | None] = list(controller.settings.namespaces) or [None]
    found = [_nodes(controller)]
    for namespace in spaces:
        without = {"RayJob", *(() if controller.settings.serving else ("Deployment",))}
        found += (
            _children(controller, kind, namespace) for kind in CHILD_KINDS if kind not in without
        )
        found.append(_events(controller, namespace))
        found += (_troubles(controller, namespace, selector) for selector in SELECTORS)
    return found


def ray_job_sources(controller: Controller) -> list[Source]:
    """The collections of RayJobs."""
    spaces: list[str | None] = list(controller.settings.namespaces) or [None]
    return [_children(controller, "RayJob", namespace) for namespace in spaces]


def _resources(controller: Controller, kind: str, namespace: str | None) -> Source:
    collection = KINDS[kind].PLURAL
    return Source(
        name=collection,
        path=path_of(kind, namespace),
        query={},
        changed=lambda body: controller.observe_resource(kind, body),
        gone=lambda body: controller.observe_resource(kind, body, gone=True),
        known=lambda: controller.cache.resources_of_kind(kind, namespace),
        forget=lambda space, name: controller.forget_resource(Key(kind, space, name)),
        skipped=lambda body, error: controller.skipped.say(collection, body, error),
    )


def _children(controller: Controller, kind: str, namespace: str | None) -> Source:
    cache, collection = controller.cache, f"{kind}s"

    def changed(body: Mapping[str, Any]) -> None:
        controller.enqueue(cache.child(kind, body))
        problem = cache.problem(kind, body)
        if problem is None:
            controller.skipped.readable(collection, body)
        else:
            controller.skipped.say(collection, body, problem)

    def gone(body: Mapping[str, Any]) -> None:
        metadata = body["metadata"]
        controller.skipped.readable(collection, body)
        controller.enqueue(
            cache.forget_child(kind, metadata["namespace"], metadata["name"], metadata["uid"])
        )

    return Source(
        name=collection,
        path=path_of(kind, namespace),
        query={"labelSelector": OURS},
        changed=changed,
        gone=gone,
        known=lambda: cache.children_of_kind(kind, namespace),
        forget=lambda space, name: controller.enqueue(cache.forget_child(kind, space, name)),
        served=controller.rayjobs_served if kind == "RayJob" else None,
        skipped=_skipped(controller, collection),
        whole_kind=kind if kind == "ConfigMap" else "",
        wanted=lambda body: cache.wants_whole(body["metadata"]),
    )


def _nodes(controller: Controller) -> Source:
    cache = controller.cache

    def changed(body: Mapping[str, Any]) -> None:
        refuse_if_marked(body)
        if cache.node(body):
            controller.nodes_changed()
        controller.skipped.readable("Nodes", body)

    def forget(_: str, name: str) -> None:
        if cache.forget_node(name):
            controller.nodes_changed()

    return Source(
        name="Nodes",
        path=path_of("Node"),
        query={},
        changed=changed,
        gone=lambda body: forget("", body["metadata"]["name"]),
        known=_without_namespace(lambda: cache.nodes),
        forget=forget,
        skipped=_skipped(controller, "Nodes"),
    )


def _events(controller: Controller, namespace: str | None) -> Source:
    cache = controller.cache

    def changed(body: Mapping[str, Any]) -> None:
        controller.enqueue(cache.event(body))
        controller.skipped.readable("Events", body)

    return Source(
        name="Events",
        path=path_of("Event", namespace),
        query={"fieldSelector": JOB_TROUBLE},
        changed=changed,
        gone=lambda body: controller.enqueue(
            cache.forget_event(body["metadata"]["namespace"], body["metadata"]["name"])
        ),
        known=lambda: cache.events(namespace),
        forget=lambda space, name: controller.enqueue(cache.forget_event(space, name)),
        skipped=_skipped(controller, "Events"),
    )


def _troubles(controller: Controller, namespace: str | None, selector: str) -> Source:
    """Events about pods whose volumes do not come, or about claims that get none."""
    cache, troubles = controller.cache, controller.cache.troubles

    def changed(body: Mapping[str, Any]) -> None:
        refuse_if_marked(body)
        troubles.take_in(body)
        about = body.get("involvedObject") or {}
        found = child_of(pod_of(str(about.get("name"))))
        if about.get("kind") == "Pod" and found is not None:
            key = Key(found[0], body["metadata"]["namespace"], found[1])
            controller.enqueue({key} & cache.resources.keys())

    return Source(
        name=f"Events: {selector}",
        path=path_of("Event", namespace),
        query={"fieldSelector": selector},
        changed=changed,
        gone=lambda body: troubles.forget(body["metadata"]["namespace"], body["metadata"]["name"]),
        known=lambda: troubles.known(namespace, selector),
        forget=troubles.forget,
        skipped=_skipped(controller, "Events"),
    )


def _skipped(
    controller: Controller, collection: str
) -> Callable[[Mapping[str, Any], Exception], None]:
    return lambda body, error: controller.skipped.say(collection, body, error)


def _without_namespace(
    names: Callable[[], Iterable[str]],
) -> Callable[[], Iterable[tuple[str, str]]]:
    return lambda: {("", name) for name in names()}
