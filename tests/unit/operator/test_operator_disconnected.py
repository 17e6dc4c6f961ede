"""What comes, changes and goes while nothing is heard of the API server is known afterwards."""

import json

import pytest
from operator_scene import Scene, child
from operator_world import spec_of
from poison import until

from edgetran.api import KINDS
from edgetran_operator.kube.cache import Key
from edgetran_operator.metrics.collector import StateCollector

NAMES = ("stays", "changes", "goes", "comes")
REFINED = {"model": "folder", "task": {"name": "movie-reviews"}, "device": {"name": "h"}}
POD = {"spec": {}, "status": {"phase": "Running"}}


def of_resources(kind):
    return lambda cache: {
        key.name: entry.version for key, entry in cache.resources.items() if key.kind == kind
    }


def of_children(kind):
    return lambda cache: {
        key.name: record.version
        for key, family in cache.families.items()
        for (each, _), record in family.children.items()
        if each == kind
    }


def of_jobs_events(cache):
    return {
        name: message for kept in cache._no_pod.values() for name, (_, _, message) in kept.items()
    }


def of_troubles(kind, name):
    return lambda cache: {
        each: told[1] for each in NAMES if (told := cache.troubles.of(kind, "ns", name(each)))[0]
    }


def event(about_kind, name, reason, message):
    about = {"kind": about_kind, "namespace": "ns", "name": name, "uid": "u"}
    texts = {"reason": json.dumps(reason), "message": json.dumps(message)}
    return {"involvedObject": about, **texts}


def put(scene, kind, name, turn):
    """An object of a kind, of which the resource is named `name`."""
    owner = child(Key("ProfilingJob", "ns", name))
    server = scene.server
    if kind in KINDS:
        server.put(KINDS[kind].PLURAL, name, spec=spec_of(kind, seed=turn))
    elif kind == "Job":
        server.put("jobs", f"{name}-pj-worker", metadata=owner, spec={"backoffLimit": turn})
    elif kind == "RayJob":
        server.put("rayjobs", f"{name}-pj-worker", metadata=owner, spec={"backoffLimit": turn})
    elif kind == "Pod":
        server.put("pods", f"{name}-pj-worker-abcde", metadata=owner, **POD)
    elif kind == "ConfigMap":
        server.put("configmaps", f"{name}-pj-results-0", metadata=owner, data={"n": str(turn)})
    elif kind == "Node":
        labels = {"edgetran.io/device": f"device-{turn}"}
        server.put("nodes", name, namespace="", metadata={"labels": labels})
    else:
        about, suffix, reason = EVENTS[kind]
        told = event(about, f"{name}{suffix}", reason, f"turn {turn}")
        server.put("events", name, **told)


EVENTS = {
    "Event of a Job": ("Job", "-pj-worker", "FailedCreate"),
    "Event of a pod's mount": ("Pod", "-pj-worker-abcde", "FailedMount"),
    "Event of a pod's volume": ("Pod", "-pj-worker-abcde", "FailedAttachVolume"),
    "Event of a claim": ("PersistentVolumeClaim", "-storage", "ProvisioningFailed"),
    "Event of a claim that is bound to nothing": (
        "PersistentVolumeClaim",
        "-storage",
        "FailedBinding",
    ),
}
SEEN = {
    **{kind: of_resources(kind) for kind in KINDS},
    **{kind: of_children(kind) for kind in ("Job", "RayJob", "Pod", "ConfigMap")},
    "Node": lambda cache: {name: dict(view.labels) for name, view in cache.nodes.items()},
    "Event of a Job": of_jobs_events,
    **{
        kind: of_troubles(about, lambda name, suffix=suffix: f"{name}{suffix}")
        for kind, (about, suffix, _) in EVENTS.items()
        if about != "Job"
    },
}
PLURAL = {
    **{kind: KINDS[kind].PLURAL for kind in KINDS},
    "Job": "jobs",
    "RayJob": "rayjobs",
    "Pod": "pods",
    "ConfigMap": "configmaps",
    "Node": "nodes",
}


def drop(scene, kind, name):
    plural = PLURAL.get(kind, "events")
    suffix = {
        "Job": "-pj-worker",
        "RayJob": "-pj-worker",
        "Pod": "-pj-worker-abcde",
        "ConfigMap": "-pj-results-0",
    }.get(kind, "")
    scene.server.drop(plural, name + suffix, "" if kind == "Node" else "ns")


def labels_of_metrics(scene):
    return {
        value
        for metric in StateCollector(scene.controller).collect()
        for sample in metric.samples
        for value in sample.labels.values()
    }


@pytest.mark.parametrize("again", ["a new list", "a watch from where it broke"])
@pytest.mark.parametrize("kind", SEEN)
def test_what_happened_while_disconnected_is_known_afterwards(kind, again):
    seen = SEEN[kind]

    async def script(scene):
        before = seen(scene.cache)
        assert set(before) == {"stays", "changes", "goes"}
        scene.server.cut()
        put(scene, kind, "comes", 2)
        put(scene, kind, "changes", 2)
        drop(scene, kind, "goes")
        if again == "a new list":
            scene.server.oldest = scene.server.version
        scene.server.down = False
        await until(lambda: set(seen(scene.cache)) == {"stays", "changes", "comes"})
        await until(lambda: seen(scene.cache)["changes"] != before["changes"])
        assert seen(scene.cache)["stays"] == before["stays"]
        if kind in KINDS or kind == "Node":
            assert "goes" not in labels_of_metrics(scene)
            assert "comes" in labels_of_metrics(scene)

    scene = Scene(ray=True)
    if kind not in KINDS and kind != "Node":
        for name in NAMES:
            scene.server.put("profilingjobs", name, spec=spec_of("ProfilingJob"))
    for name in ("stays", "changes", "goes"):
        put(scene, kind, name, 1)
    scene.play(script)


def test_a_resource_that_went_away_meanwhile_gives_its_board_to_the_next(caplog):
    """With it go what the boards and the refusals knew of it."""
    first, second = Key("ProfilingJob", "ns", "goes"), Key("ProfilingJob", "ns", "stays")

    async def script(scene):
        boards = scene.controller.boards
        boards.refresh()
        assert boards.verdict(first).node == "board"
        assert boards.verdict(second).behind == "ns/goes"
        scene.server.cut()
        scene.server.drop("profilingjobs", "goes")
        scene.server.oldest = scene.server.version
        scene.server.down = False
        await until(lambda: first not in scene.cache.resources)
        boards.refresh()
        assert boards.verdict(second).node == "board"

    scene = Scene()
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    labels = {"labels": {"edgetran.io/device": "pi"}}
    scene.server.put("nodes", "board", namespace="", metadata=labels, status=ready)
    for name, hour in (("goes", 0), ("stays", 1)):
        made = {"creationTimestamp": f"2026-01-01T0{hour}:00:00Z"}
        scene.server.put("profilingjobs", name, spec=spec_of("ProfilingJob"), metadata=made)
    scene.play(script)
