"""What the watches told: every resource, and views of its children, of nodes and of events."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, NamedTuple

from edgetran.api import API_VERSION, KINDS
from edgetran.api.field_errors import forbidden
from edgetran.api.names import profiling_job_name, refinement_name, verification_name
from edgetran.api.wire import KIND_LABEL, NAME_LABEL
from edgetran_operator.kube.border import UNREADABLE, UnreadableError, refuse_if_marked
from edgetran_operator.kube.troubles import Troubles
from edgetran_operator.kube.views import (
    child_of,
    controller_uid,
    deployment_view,
    job_view,
    moment,
    node_view,
    part_view,
    pod_view,
    ray_job_view,
    verdicts_view,
    work_files,
)
from edgetran_operator.snapshot import (
    DeploymentView,
    NodeView,
    PartView,
    PodView,
    VerdictsView,
    WorkerView,
    WorkFiles,
)


class Key(NamedTuple):
    """One resource."""

    kind: str
    namespace: str
    name: str

    def about(self) -> dict[str, str]:
        """What a log record says of it."""
        return {"kind": self.kind, "namespace": self.namespace, "resource": self.name}


@dataclass(slots=True)
class Entry:
    """A resource as the API server has it.

    Attributes:
        uid: its unique identifier.
        version: its resourceVersion.
        generation: number of its spec's version.
        created: when it came.
        deleting: whether its deletion was asked for.
        owner: uid of the resource that made it; empty where a user did.
        spec: its spec as JSON, which takes a fraction of the memory of plain data.
        status: its status as plain data.
        refers: resources that it waits for or builds on.
        unreadable: why its spec cannot be read; empty where it can.
    """

    uid: str
    version: str
    generation: int
    created: datetime
    deleting: bool
    owner: str
    spec: bytes
    status: Mapping[str, Any]
    refers: tuple[Key, ...] = ()
    unreadable: str = ""

    @property
    def wants_ray_job(self) -> bool:
        """Whether its worker is a RayJob."""
        return b'"mode":"kuberay"' in self.spec

    def document(self, key: Key) -> dict[str, Any]:
        """The resource as plain data, its status and the server's metadata left out."""
        return {
            "apiVersion": API_VERSION,
            "kind": key.kind,
            "metadata": {"name": key.name, "namespace": key.namespace},
            "spec": json.loads(self.spec),
        }


View = WorkerView | PodView | PartView | WorkFiles | DeploymentView | VerdictsView
"""What is kept of a child."""


@dataclass(frozen=True, slots=True)
class Record:
    """One child: which resource it belongs to, and what is kept of it.

    Attributes:
        uid: its unique identifier.
        version: its resourceVersion.
        owner_uid: that of the resource that manages it.
        view: what is kept.
        light: whether its content was left out, since it is of no resource that is known.
    """

    uid: str
    version: str
    owner_uid: str
    view: View
    light: bool = False


@dataclass(slots=True)
class Family:
    """The children of one resource, by (kind, name)."""

    children: dict[tuple[str, str], Record] = field(default_factory=dict)

    def views(self, kind: type[Any]) -> Iterator[Any]:
        """Views of one type."""
        return (each.view for each in self.children.values() if isinstance(each.view, kind))


CHILD_KINDS: Final = ("Job", "RayJob", "Pod", "ConfigMap", "Deployment")
_KINDS_BY_SUFFIX: Final[Mapping[str, tuple[str, ...]]] = {
    "worker": ("Job", "RayJob"),
    "served": ("Deployment", "ConfigMap"),
}
"""Of what kind a child with that suffix is, where it is no ConfigMap."""
SPEC_BYTES: Final = 2**18
"""Most bytes of a spec: what is kept grows with the number of resources, not with their texts."""
STATUS_BYTES: Final = 2**16
EVENTS_KEPT: Final = 8
"""Most events that are kept for one resource."""
_EVENT_CHARACTERS: Final = 1024


class Cache:
    """Everything that is known of the cluster; only ever changed by what the API server said.

    Each method that takes news returns the resources that they may matter to.
    """

    def __init__(self) -> None:
        self.resources: dict[Key, Entry] = {}
        self.families: dict[Key, Family] = {}
        self.nodes: dict[str, NodeView] = {}
        self._no_pod: dict[Key, dict[str, tuple[str, str, str]]] = {}
        self._events: dict[tuple[str, str], Key] = {}
        self.troubles = Troubles()
        self._dependents: defaultdict[Key, set[Key]] = defaultdict(set)
        self._owners: dict[tuple[str, str, str], Key] = {}

    # Resources

    def resource(self, body: Mapping[str, Any]) -> set[Key]:
        """Take in a resource of one of the three kinds."""
        metadata = body["metadata"]
        key = Key(body["kind"], metadata["namespace"], metadata["name"])
        before = self.resources.get(key)
        version = metadata["resourceVersion"]
        if before is not None and not _newer(metadata, before):
            return set()
        spec, text, problem = _spec(body)
        entry = Entry(
            uid=metadata["uid"],
            version=version,
            generation=metadata.get("generation", 0),
            created=moment(metadata.get("creationTimestamp")),
            deleting="deletionTimestamp" in metadata,
            owner=controller_uid(metadata),
            spec=text,
            status=_status(body, before),
            refers=_refers(key, spec),
            unreadable=problem,
        )
        self.resources[key] = entry
        self._refer(key, before.refers if before else (), entry.refers)
        if before is None or _told(before) != _told(entry):
            return {key, *self._dependents.get(key, ())}
        return {key}

    def forget(self, key: Key, uid: str | None = None) -> set[Key]:
        """A resource is gone."""
        entry = self.resources.get(key)
        if entry is None or (uid is not None and entry.uid != uid):
            return set()
        del self.resources[key]
        for event in list(self._no_pod.get(key, ())):
            self.forget_event(key.namespace, event)
        self._refer(key, entry.refers, ())
        return set(self._dependents.get(key, ()))

    def resources_of_kind(self, kind: str, namespace: str | None) -> set[tuple[str, str]]:
        """Namespace and name of every resource of a kind, in one namespace or all."""
        return {
            (key.namespace, key.name)
            for key in self.resources
            if key.kind == kind and namespace in (None, key.namespace)
        }

    def _refer(self, key: Key, before: Iterable[Key], after: Iterable[Key]) -> None:
        for each in set(before) - set(after):
            self._dependents[each].discard(key)
            if not self._dependents[each]:
                del self._dependents[each]
        for each in after:
            self._dependents[each].add(key)

    # Children

    def child(self, kind: str, body: Mapping[str, Any]) -> set[Key]:
        """Take in a Job, RayJob, Pod, ConfigMap or Deployment.

        Raises:
            UnreadableError: it is one of ours, and cannot be read.
        """
        metadata = body["metadata"]
        owner = self._owner(kind, metadata)
        if owner is None:
            return self.forget_child(kind, metadata["namespace"], metadata["name"])
        place = (kind, metadata["name"])
        before = self._record(owner, place)
        if before is not None and not before.light and not _newer(metadata, before):
            return set()
        refuse_if_marked(body)
        known = self._is_of(owner, metadata)
        view = _view(kind, body, whole=known)
        if view is None:
            return set()
        former = self._owners.get((kind, metadata["namespace"], metadata["name"]))
        touched: set[Key] = set()
        if former is not None and former != owner:
            touched = self.forget_child(kind, metadata["namespace"], metadata["name"])
        family = self.families.setdefault(owner, Family())
        version = metadata["resourceVersion"]
        light = kind == "ConfigMap" and not known
        record = Record(metadata["uid"], version, controller_uid(metadata), view, light)
        family.children[place] = record
        self._owners[kind, metadata["namespace"], metadata["name"]] = owner
        if before is not None and before.view == view and before.owner_uid == record.owner_uid:
            return touched
        return touched | self._touched(owner, view)

    def wants_whole(self, metadata: Mapping[str, Any]) -> bool:
        """Whether a ConfigMap of which the metadata came is to be read whole."""
        owner = self._owner("ConfigMap", metadata)
        found = child_of(metadata["name"])
        if owner is None or found is None or found[2] not in ("spec", "served", "results-0"):
            return False
        before = self._record(owner, ("ConfigMap", metadata["name"]))
        new = before is None or before.light or _newer(metadata, before)
        return new and self._is_of(owner, metadata)

    def light_children(self, key: Key) -> list[tuple[str, str]]:
        """Namespace and name of a resource's ConfigMaps whose content was left out so far."""
        family, entry = self.families.get(key), self.resources.get(key)
        if family is None or entry is None:
            return []
        return [
            (key.namespace, name)
            for (kind, name), record in family.children.items()
            if kind == "ConfigMap" and record.light and record.owner_uid == entry.uid
        ]

    def problem(self, kind: str, body: Mapping[str, Any]) -> UnreadableError | None:
        """What of a child could not be read though the rest could; None where all was."""
        metadata = body["metadata"]
        owner = self._owners.get((kind, metadata["namespace"], metadata["name"]))
        record = self._record(owner, (kind, metadata["name"])) if owner is not None else None
        problem = getattr(record.view, "problem", None) if record is not None else None
        return UnreadableError(*problem) if problem else None

    def _owner(self, kind: str, metadata: Mapping[str, Any]) -> Key | None:
        """The resource whose child this is by its labels and, but for pods, its name."""
        owner = _owner_key(metadata)
        if owner is None or kind == "Pod":
            return owner
        found = child_of(metadata["name"])
        if found is None or found[:2] != (owner.kind, owner.name):
            return None
        kinds = _KINDS_BY_SUFFIX.get(found[2], ("ConfigMap",))
        return owner if kind in kinds else None

    def _is_of(self, owner: Key, metadata: Mapping[str, Any]) -> bool:
        entry = self.resources.get(owner)
        return entry is not None and controller_uid(metadata) == entry.uid

    def _record(self, owner: Key, place: tuple[str, str]) -> Record | None:
        family = self.families.get(owner)
        return family.children.get(place) if family is not None else None

    def forget_child(
        self, kind: str, namespace: str, name: str, uid: str | None = None
    ) -> set[Key]:
        """A child is gone."""
        owner = self._owners.get((kind, namespace, name))
        if owner is None:
            return set()
        family = self.families[owner]
        record = family.children[kind, name]
        if uid is not None and record.uid != uid:
            return set()
        del family.children[kind, name]
        del self._owners[kind, namespace, name]
        if not family.children:
            del self.families[owner]
        return self._touched(owner, record.view)

    def mark_deleting(self, kind: str, namespace: str, name: str, uid: str) -> None:
        """A child's deletion was asked for, and the watch has not said so yet."""
        owner = self._owners.get((kind, namespace, name))
        record = self.families[owner].children.get((kind, name)) if owner is not None else None
        if owner is None or record is None or record.uid != uid:
            return
        if isinstance(record.view, WorkerView | DeploymentView):
            view = replace(record.view, deleting=True)
            self.families[owner].children[kind, name] = replace(record, view=view)

    def children_of_kind(self, kind: str, namespace: str | None) -> set[tuple[str, str]]:
        """Namespace and name of every child of a kind, in one namespace or all."""
        return {
            (space, name)
            for each, space, name in self._owners
            if each == kind and namespace in (None, space)
        }

    def _touched(self, owner: Key, view: object) -> set[Key]:
        if isinstance(view, PartView) and owner in self.resources:
            return {owner, *self._dependents.get(owner, ())}
        return {owner}

    # Nodes and events

    def node(self, body: Mapping[str, Any]) -> bool:
        """Take in a node; whether anything changed that boards are chosen by."""
        view = node_view(body)
        changed = self.nodes.get(view.name) != view
        self.nodes[view.name] = view
        return changed

    def forget_node(self, name: str) -> bool:
        """A node is gone."""
        return self.nodes.pop(name, None) is not None

    def event(self, body: Mapping[str, Any]) -> set[Key]:
        """Take in an event about a Job of its own namespace that cannot make its pod.

        An event about another namespace is anybody's word: the API server lets whoever may write
        events in one namespace say what he likes about objects of others.
        """
        refuse_if_marked(body)
        metadata, about = body["metadata"], body.get("involvedObject") or {}
        namespace, event = metadata["namespace"], metadata["name"]
        found = child_of(about.get("name", ""))
        if found is None or about.get("namespace") != namespace:
            return self.forget_event(namespace, event)
        key = Key(found[0], namespace, found[1])
        if key not in self.resources:
            return self.forget_event(namespace, event)
        message = _without_pod(body.get("message", ""))[:_EVENT_CHARACTERS]
        told = (about["name"], about.get("uid", ""), message)
        kept = self._no_pod.setdefault(key, {})
        if kept.get(event) == told:
            return set()
        kept.pop(event, None)
        kept[event] = told
        self._events[namespace, event] = key
        while len(kept) > EVENTS_KEPT:
            oldest = next(iter(kept))
            del kept[oldest], self._events[namespace, oldest]
        return {key}

    def forget_event(self, namespace: str, name: str) -> set[Key]:
        """An event is gone."""
        key = self._events.pop((namespace, name), None)
        if key is None:
            return set()
        del self._no_pod[key][name]
        if not self._no_pod[key]:
            del self._no_pod[key]
        return {key}

    def no_pod(self, worker: WorkerView, key: Key) -> str:
        """What keeps a resource's Job from making its pod; empty where nothing is known to."""
        for name, uid, message in reversed(self._no_pod.get(key, {}).values()):
            if (name, uid) == (worker.name, worker.uid):
                return message
        return ""

    def events(self, namespace: str | None) -> set[tuple[str, str]]:
        """Namespace and name of the events that are kept, in one namespace or all."""
        return {place for place in self._events if namespace in (None, place[0])}


def _newer(metadata: Mapping[str, Any], before: Entry | Record) -> bool:
    """Whether it tells more than what is known: news may come by a watch and by an answer."""
    version: str = metadata["resourceVersion"]
    if metadata["uid"] != before.uid:
        return True
    if version.isdecimal() and before.version.isdecimal():
        return int(version) > int(before.version)
    return version != before.version


def _owner_key(metadata: Mapping[str, Any]) -> Key | None:
    labels = metadata.get("labels") or {}
    kind, name = labels.get(KIND_LABEL), labels.get(NAME_LABEL)
    return Key(kind, metadata["namespace"], name) if kind in KINDS and name else None


def _spec(body: Mapping[str, Any]) -> tuple[Any, bytes, str]:
    """A resource's spec, as JSON, and why it cannot be read; the first two empty then."""
    problem = f"the resource {body[UNREADABLE][1]}" if UNREADABLE in body else ""
    if not problem:
        spec = body.get("spec")
        text = json.dumps(spec, separators=(",", ":")).encode()
        if len(text) <= SPEC_BYTES:
            return spec, text, ""
        problem = f"spec: {forbidden(f'{len(text)} bytes; must have at most {SPEC_BYTES}')}"
    return None, b"null", problem


def _status(body: Mapping[str, Any], before: Entry | None) -> Mapping[str, Any]:
    """A resource's status; what was known of it where it did not come with the rest."""
    status = body.get("status")
    if not isinstance(status, Mapping) and UNREADABLE in body:
        return before.status if before is not None else {}
    if not isinstance(status, Mapping) or len(json.dumps(status)) > STATUS_BYTES:
        return {}
    return status


def _view(kind: str, body: Mapping[str, Any], *, whole: bool) -> View | None:
    if kind == "Job":
        return job_view(body)
    if kind == "RayJob":
        return ray_job_view(body)
    if kind == "Pod":
        return pod_view(body)
    if kind == "Deployment":
        return deployment_view(body)
    found = child_of(body["metadata"]["name"])
    if found is None or found[2] == "worker":
        return None
    if found[2] == "spec":
        return work_files(body) if whole else WorkFiles({})
    if found[2] == "served":
        return verdicts_view(body) if whole else VerdictsView()
    return part_view(body, int(found[2].removeprefix("results-")), whole=whole)


def _told(entry: Entry) -> tuple[Any, ...]:
    """What of a resource others decide by."""
    conditions = tuple(
        (each.get("type"), each.get("status"), each.get("reason"))
        for each in entry.status.get("conditions", ())
    )
    works = entry.status.get("activeSince") is not None
    waits = [
        each.get("message")
        for each in entry.status.get("conditions", ())
        if each.get("type") == "Succeeded" and each.get("reason") != "Running" and not works
    ]
    end = entry.status.get("completionTime")
    return entry.uid, entry.generation, end, works, waits, conditions


def _refers(key: Key, spec: Any) -> tuple[Key, ...]:
    """Resources that decisions about this one look at, as far as a spec that may be bad tells."""
    if not isinstance(spec, Mapping):
        return ()
    names: list[tuple[str, Any]] = []
    if key.kind == "ProfilingJob":
        names += (("ProfilingJob", _name(each)) for each in _mappings(spec.get("warmStartFrom")))
        source = spec.get("finalistsOf")
        if isinstance(source, Mapping):
            names.append(("CoDesignSearch", _name(source.get("searchRef"))))
            names.append(("GPTranRun", _name(source.get("refinementRef"))))
    elif key.kind == "CoDesignSearch":
        for device in _mappings(spec.get("devices")):
            name = _name(device.get("profileRef"))
            own = device.get("name")
            if name is None and isinstance(own, str) and len(key.name) + len(own) < 63:
                name = profiling_job_name(key.name, own)
            names.append(("ProfilingJob", name))
        if isinstance(spec.get("refine"), Mapping):
            names.append(("GPTranRun", refinement_name(key.name[:50])))
        names.append(("ProfilingJob", verification_name(key.name[:50])))
    elif key.kind == "GPTranRun":
        names.append(("CoDesignSearch", _name(spec.get("searchRef"))))
        own_device = spec.get("device")
        if isinstance(own_device, Mapping):
            names.append(("ProfilingJob", _name(own_device.get("profileRef"))))
        names.append(("ProfilingJob", verification_name(key.name[:50])))
    return tuple(Key(kind, key.namespace, name) for kind, name in names if isinstance(name, str))


def _mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    entries = value if isinstance(value, list) else []
    return (each for each in entries if isinstance(each, Mapping))


def _name(reference: object) -> Any:
    return reference.get("name") if isinstance(reference, Mapping) else None


def _without_pod(message: str) -> str:
    """The sentence without the pod's name, which is another one at each attempt."""
    return message.partition(" is forbidden: ")[2] or message
