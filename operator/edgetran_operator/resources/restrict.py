"""What `spec.podTemplate` may set: what is free, and what the administrator may allow.

What is judged is the pod that comes out, beside the one that would be made without the template:
every difference is looked up in the lists below, and what stands in none of them is refused. So
neither a null nor a field of a later Kubernetes gets past.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from edgetran.api import CoDesignSearch, ProfilingJob, Resource
from edgetran.api.field_errors import forbidden, invalid, required
from edgetran_operator.resources.affinity import REQUIRED
from edgetran_operator.resources.restrict_container import judge_containers
from edgetran_operator.resources.restricting import TemplateJudge, below, entries, mapping, mappings
from edgetran_operator.settings import Settings

_OWN: Final = {
    "restartPolicy": "must stay as it is: the Job itself restarts failed pods",
    "nodeName": "bypasses the scheduler; use nodeSelector or affinity",
    "activeDeadlineSeconds": "use spec.activeDeadlineSeconds, which counts all pods",
    "ephemeralContainers": "use containers",
    "automountServiceAccountToken": "must stay true: the worker reports its results with it",
}
"""Fields of a PodSpec that no setting opens, and why."""

_BY_ALLOWANCE: Final = {
    "hostNetwork": "host_namespaces",
    "hostPID": "host_namespaces",
    "hostIPC": "host_namespaces",
    "serviceAccountName": "service_accounts",
    "serviceAccount": "service_accounts",
    "schedulerName": "scheduling",
    "imagePullSecrets": "secrets",
}
_FREE_VOLUMES: Final = frozenset({"configMap", "downwardAPI", "emptyDir", "persistentVolumeClaim"})
_VOLUMES_BY_ALLOWANCE: Final = {"hostPath": "host_path", "secret": "secrets"}
_FREE_SOURCES: Final = frozenset({"configMap", "downwardAPI"})
_SOURCES_BY_ALLOWANCE: Final = {"secret": "secrets", "serviceAccountToken": "service_accounts"}

_OWN_VOLUMES: Final = frozenset(
    {"home", "search", "shm", "storage", "sysfs", "task-data", "tmp", "work"}
)
_OWN_VOLUMES_BEGIN: Final = "in-"
"""Names that a pod of the operator's has, or gets where the work builds on other results."""
_RESERVED_DOMAINS: Final = ("edgetran.io", "kubernetes.io", "k8s.io", "ray.io")
"""Labels of these belong to those who decide by them: schedulers, controllers, policies."""
_RESERVED_LABELS: Final = frozenset({"job-name", "controller-uid"})
_HOST_TOPOLOGY: Final = "kubernetes.io/hostname"

_LISTS: Final = (
    "containers",
    "initContainers",
    "volumes",
    "tolerations",
    "imagePullSecrets",
    "topologySpreadConstraints",
)
_CONTAINER_LISTS: Final = ("env", "envFrom", "volumeMounts", "ports", "volumeDevices")


def podtemplate_problems(
    patch: Mapping[str, Any],
    base: Mapping[str, Any],
    merged: Mapping[str, Any],
    settings: Settings,
) -> list[tuple[str, str]]:
    """Every part of a template that is malformed or refused: where, and the field's error.

    Args:
        patch: the user's template: `metadata` and `spec`.
        base: the pod without it.
        merged: the pod with it, as it would be made.
        settings: what the administrator allows.
    """
    given = mapping(patch.get("spec"))
    malformed = [*_directives(patch, ""), *_malformed(given)]
    if malformed:
        return malformed
    judge = TemplateJudge(settings)
    _judge_metadata(judge, mapping(base.get("metadata")), mapping(merged.get("metadata")))
    old, new = base["spec"], merged["spec"]
    for field in sorted({*old, *new}):
        before, after = old.get(field), new.get(field)
        if before == after:
            continue
        path = f"spec.{field}"
        if field in _JUDGED:
            _JUDGED[field](judge, path, before, after)
        elif field in _BY_ALLOWANCE:
            if (before or None) != (after or None):
                judge.need(path, _BY_ALLOWANCE[field])
        elif field in _OWN:
            judge.never(path, _OWN[field])
        else:
            judge.unlisted(path)
    judge_containers(judge, old, new)
    return judge.found


def device_problems(resource: Resource, settings: Settings) -> list[tuple[str, str]]:
    """What devices ask for and the administrator does not allow: where, and the field's error."""
    judge = TemplateJudge(settings)
    for path, device in _devices(resource):
        if device.energy is not None and device.energy.host_sensors:
            judge.need(f"{path}.energy.hostSensors", "host_sensors")
        judge.listed(f"{path}.runtimeClassName", device.runtime_class_name, "runtime_classes")
        for index, toleration in enumerate(device.tolerations or ()):
            given = toleration.model_dump(by_alias=True, exclude_none=True)
            _toleration(judge, f"{path}.tolerations[{index}]", given)
    return judge.found


def _devices(resource: Resource) -> Iterator[tuple[str, Any]]:
    """Devices that pods are made for, or will be for what a search stands for."""
    if isinstance(resource, ProfilingJob):
        yield "spec.device", resource.spec.device
    elif isinstance(resource, CoDesignSearch):
        for index, device in enumerate(resource.spec.devices):
            if device.simulation is None and device.profile_ref is None:
                yield f"spec.devices[{index}]", device


def _toleration(judge: TemplateJudge, path: str, toleration: Mapping[str, Any]) -> None:
    """A toleration without a key is one of every taint, those of control planes included."""
    if not toleration.get("key"):
        judge.need(f"{path}.key", "scheduling", "a key")


def _malformed(spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for field in _LISTS:
        if not mappings(spec.get(field)):
            yield f"spec.{field}", invalid(spec[field], "must be a list of mappings")
            return
    for field in ("affinity", "nodeSelector", "securityContext"):
        if not isinstance(spec.get(field, {}), Mapping | None):
            yield f"spec.{field}", invalid(spec[field], "must be a mapping")
    yield from _malformed_affinity(spec)
    for field in ("volumes", "containers", "initContainers"):
        for index, each in enumerate(spec.get(field) or ()):
            if not isinstance(each.get("name"), str):
                where = f"spec.{field}[{index}].name"
                kind = "container" if field != "volumes" else "volume"
                yield where, required(f"must be the name of a {kind}")
    for field in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(field) or ()):
            where = f"spec.{field}[{index}]"
            for each in _CONTAINER_LISTS:
                if not mappings(container.get(each)):
                    yield f"{where}.{each}", invalid(container[each], "must be a list of mappings")
            for each in ("securityContext", "resources", "lifecycle"):
                if not isinstance(container.get(each), Mapping | None):
                    yield f"{where}.{each}", invalid(container[each], "must be a mapping")


def _malformed_affinity(spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What cannot be added to the affinity that the work needs, nulls among it."""
    if "affinity" not in spec:
        return
    given, path = spec["affinity"], "spec.affinity"
    for part, wanted in given.items() if isinstance(given, Mapping) else ((None, given),):
        where = path if part is None else f"{path}.{part}"
        if not isinstance(wanted, Mapping):
            yield where, invalid(wanted, "must be a mapping, added to what the work needs")
            continue
        for field, terms in wanted.items():
            below_nodes = part == "nodeAffinity" and field == REQUIRED
            found = (
                terms.get("nodeSelectorTerms")
                if below_nodes and isinstance(terms, Mapping)
                else terms
            )
            if not isinstance(found, list) or not mappings(found):
                yield f"{where}.{field}", invalid(terms, "must be a list of terms to add")
            elif below_nodes and not all(
                isinstance(term.get(each, []), list)
                for term in found
                for each in ("matchExpressions", "matchFields")
            ):
                yield f"{where}.{field}", invalid(terms, "must have lists of requirements")


def _directives(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Directives of a strategic merge: what they take away is what keeps the pod in."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            # Labels and annotations are merged as they are; their keys hold no dollar.
            if key.startswith("$"):
                yield below(path, key), forbidden("name the fields that change instead")
            else:
                yield from _directives(part, below(path, key))
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _directives(part, f"{path}[{index}]")


def _judge_metadata(judge: TemplateJudge, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    before, after = mapping(old.get("labels")), mapping(new.get("labels"))
    for key in sorted(set(after) - set(before)):
        domain, _, name = key.rpartition("/")
        if name in _RESERVED_LABELS or any(
            domain == each or domain.endswith(f".{each}") for each in _RESERVED_DOMAINS
        ):
            why = f"labels of {', '.join(_RESERVED_DOMAINS)} and the Job's are reserved"
            judge.never(f"metadata.labels[{key}]", why)
    before, after = mapping(old.get("annotations")), mapping(new.get("annotations"))
    for key in sorted(after):
        free = "/" not in key or any(
            key == each or (each.endswith("/") and key.startswith(each))
            for each in judge.allow.annotations
        )
        if not free and before.get(key) != after[key]:
            judge.unnamed(f"metadata.annotations[{key}]", "annotations")


def _node_selector(judge: TemplateJudge, path: str, before: Any, after: Any) -> None:
    old, new = mapping(before), mapping(after)
    if any(new.get(key) != value for key, value in old.items()):
        judge.never(path, "may only ask for more labels; those already there must stay")


def _tolerations(judge: TemplateJudge, path: str, before: Any, after: Any) -> None:
    old = before or []
    for index, toleration in enumerate(after or ()):
        if toleration not in old:
            _toleration(judge, f"{path}[{index}]", toleration)
    if any(toleration not in (after or ()) for toleration in old):
        judge.never(path, "may only be extended")


def _affinity(judge: TemplateJudge, path: str, before: Any, after: Any) -> None:
    """A required anti-affinity keeps others away too: it may reach no further than its own node."""
    anti = "podAntiAffinity"
    old = entries(mapping(mapping(before).get(anti)).get(REQUIRED))
    for index, term in enumerate(entries(mapping(mapping(after).get(anti)).get(REQUIRED))):
        if term in old:
            continue
        wide = not isinstance(term, Mapping) or (
            term.get("topologyKey") != _HOST_TOPOLOGY
            or term.get("namespaceSelector") is not None
            or term.get("namespaces")
        )
        if wide:
            judge.need(
                f"{path}.{anti}.{REQUIRED}[{index}]",
                "scheduling",
                f"topologyKey {_HOST_TOPOLOGY} and the own namespace",
            )


def _grace(judge: TemplateJudge, path: str, _: Any, after: Any) -> None:
    judge.grace_period(path, after)


def _priority_class(judge: TemplateJudge, path: str, _: Any, after: Any) -> None:
    judge.listed(path, after, "priority_classes")


def _runtime_class(judge: TemplateJudge, path: str, _: Any, after: Any) -> None:
    judge.listed(path, after, "runtime_classes")


def _host_users(judge: TemplateJudge, path: str, _: Any, after: Any) -> None:
    if after is not False:  # false gives the pod users of its own, which keeps it in the better
        judge.need(path, "privileged")


def _free(judge: TemplateJudge, path: str, before: Any, after: Any) -> None:
    """Nothing but the pod's own place depends on it."""


def _context(judge: TemplateJudge, path: str, before: Any, after: Any) -> None:
    judge.context(path, mapping(before), mapping(after))


def _volumes(judge: TemplateJudge, path: str, before: Any, after: Any) -> None:
    old = {volume["name"]: volume for volume in before or ()}
    new = {volume["name"]: volume for volume in after or ()}
    for name in old:
        if name not in new:
            judge.never(path, f"must keep the volume {name}")
    for name, volume in new.items():
        where = f"{path}[{name}]"
        if name in old:
            _own_volume(judge, where, old[name], volume)
        else:
            _further_volume(judge, where, volume)


def _own_volume(
    judge: TemplateJudge, path: str, old: Mapping[str, Any], new: Mapping[str, Any]
) -> None:
    """A volume that the work needs: another size, where it is an emptyDir, and nothing else."""
    if old == new:
        return
    before, after = mapping(old.get("emptyDir")), mapping(new.get("emptyDir"))
    resized = {**new, "emptyDir": {**after, "sizeLimit": before.get("sizeLimit")}}
    if "emptyDir" not in old or resized != {**old, "emptyDir": {"sizeLimit": None, **before}}:
        judge.never(path, "is the work's own; add a volume of another name, or set spec.storage")
    else:
        judge.size(f"{path}.emptyDir.sizeLimit", after.get("sizeLimit"), str(new["name"]))


def _further_volume(judge: TemplateJudge, path: str, volume: Mapping[str, Any]) -> None:
    if volume["name"] in _OWN_VOLUMES or str(volume["name"]).startswith(_OWN_VOLUMES_BEGIN):
        judge.never(path, "the name is reserved for the work's own volume")
    for type_ in sorted(set(volume) - {"name"}):
        where = f"{path}.{type_}"
        if type_ == "projected":
            for index, source in enumerate(entries(mapping(volume[type_]).get("sources"))):
                _projected(judge, f"{where}.sources[{index}]", mapping(source))
        elif type_ not in _FREE_VOLUMES:
            judge.need(where, _VOLUMES_BY_ALLOWANCE.get(type_, "volumes"))
        elif type_ == "emptyDir":
            judge.size(f"{where}.sizeLimit", mapping(volume[type_]).get("sizeLimit"), "")


def _projected(judge: TemplateJudge, path: str, source: Mapping[str, Any]) -> None:
    for kind in sorted(set(source) - _FREE_SOURCES):
        judge.need(f"{path}.{kind}", _SOURCES_BY_ALLOWANCE.get(kind, "volumes"))


_JUDGED: Final[Mapping[str, Callable[[TemplateJudge, str, Any, Any], None]]] = {
    "affinity": _affinity,
    "containers": _free,  # looked into one by one
    "hostUsers": _host_users,
    "initContainers": _free,
    "nodeSelector": _node_selector,
    "priorityClassName": _priority_class,
    "runtimeClassName": _runtime_class,
    "securityContext": _context,
    "terminationGracePeriodSeconds": _grace,
    "tolerations": _tolerations,
    "topologySpreadConstraints": _free,
    "volumes": _volumes,
}
