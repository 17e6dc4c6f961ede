"""What `spec.podTemplate` may set in containers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from posixpath import normpath
from typing import Any, Final

from edgetran_operator.resources.restricting import TemplateJudge, mapping

CONTAINERS: Final = ("containers", "initContainers")
MOUNTABLE: Final = ("/data", "/media", "/mnt", "/models", "/srv")
"""Where volumes may be mounted: no program and no setting of one lies there."""
_OWN_FOLDERS: Final = ("/etc/edgetran", "/var/lib/edgetran")

_PROGRAM: Final = frozenset({"args", "command", "image", "imagePullPolicy", "workingDir"})
_PROBES: Final = frozenset({"livenessProbe", "readinessProbe", "startupProbe"})
_MOST_VARIABLES: Final = 100
_LONGEST_VALUE: Final = 4096
_FREE_ORIGINS: Final = frozenset({"configMapKeyRef", "fieldRef", "resourceFieldRef"})


def judge_containers(judge: TemplateJudge, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Judge the containers of a PodSpec beside those that it has without the template."""
    own = {volume["name"]: volume for volume in old.get("volumes", ())}
    for field in CONTAINERS:
        before = {container["name"]: container for container in old.get(field) or ()}
        for container in new.get(field) or ():
            name = container["name"]
            path = f"spec.{field}[{name}]"
            if name not in before:
                judge.need(path, "images", "the container worker alone")
            _container(judge, path, before.get(name), container, own)
    if not any(container["name"] == "worker" for container in new.get("containers") or ()):
        judge.never("spec.containers", "must keep the container worker")


def _container(
    judge: TemplateJudge,
    path: str,
    known: Mapping[str, Any] | None,
    new: Mapping[str, Any],
    own_volumes: Mapping[str, Any],
) -> None:
    old = known or {}
    for field in sorted({*old, *new} - {"name"}):
        before, after = old.get(field), new.get(field)
        if before == after:
            continue
        where = f"{path}.{field}"
        if field in _PROGRAM:
            judge.need(where, "images") if known is not None else None
        elif field in _PROBES:
            _action(judge, where, mapping(after))
        elif field == "volumeMounts":
            mine = own_volumes if known is not None else _of_the_node(own_volumes)
            _mounts(judge, where, before or (), after or (), mine)
        elif field in _JUDGED:
            _JUDGED[field](judge, where, before, after)
        else:
            judge.unlisted(where)


def _env(judge: TemplateJudge, path: str, before: Any, after: Any) -> None:
    old = {variable["name"]: variable for variable in before or ()}
    new = list(after or ())
    if len(new) - len(old) > _MOST_VARIABLES:
        judge.wrong(path, new, f"must have at most {_MOST_VARIABLES} variables of its own")
        return
    if any(variable not in new for variable in old.values()):
        judge.never(path, "may only set more variables; those already there must stay")
    for variable in new:
        if variable not in old.values():
            _variable(judge, f"{path}[{variable.get('name')}]", variable)


def _variable(judge: TemplateJudge, path: str, variable: Mapping[str, Any]) -> None:
    name, value = str(variable.get("name")), variable.get("value")
    # Variables such as LD_PRELOAD and PYTHONPATH run programs, as another image would.
    if not judge.allow.images and not _named(name, judge.allow.env):
        judge.unnamed(path, "env")
    if value is not None and (not isinstance(value, str) or len(value) > _LONGEST_VALUE):
        judge.wrong(f"{path}.value", value, f"must be text of at most {_LONGEST_VALUE} characters")
    elif value and "$(" in value:  # it would carry a key of the storage's Secret elsewhere
        judge.need(f"{path}.value", "secrets", "a value without $(…)")
    for origin in sorted(set(mapping(variable.get("valueFrom"))) - _FREE_ORIGINS):
        where = f"{path}.valueFrom.{origin}"
        judge.need(where, "secrets") if origin == "secretKeyRef" else judge.unlisted(where)


def _named(name: str, names: tuple[str, ...]) -> bool:
    return any(name.startswith(each[:-1]) if each.endswith("*") else name == each for each in names)


def _env_from(judge: TemplateJudge, path: str, before: Any, after: Any) -> None:
    if any(source not in (after or ()) for source in before or ()):
        judge.never(path, "may only be extended")
    for index, source in enumerate(after or ()):
        if source in (before or ()):
            continue
        where = f"{path}[{index}]"
        if "secretRef" in source:
            judge.need(f"{where}.secretRef", "secrets", "spec.storage.secret")
        else:
            judge.need(where, "images", "env, since a ConfigMap may hold any variable")


def _of_the_node(volumes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: volume for name, volume in volumes.items() if "hostPath" in volume}


def _mounts(
    judge: TemplateJudge, path: str, before: Any, after: Any, own_volumes: Mapping[str, Any]
) -> None:
    if any(mount not in after for mount in before):
        judge.never(path, "may only add mounts; those already there must stay")
    for mount in after:
        if mount not in before:
            _mount(judge, f"{path}[{mount.get('mountPath')}]", mount, own_volumes)


def _mount(
    judge: TemplateJudge, path: str, mount: Mapping[str, Any], own_volumes: Mapping[str, Any]
) -> None:
    if str(mount.get("name")) in own_volumes:
        judge.never(path, "is the work's own volume; mount one that spec.podTemplate adds")
    place = str(mount.get("mountPath"))
    if any(normpath(place).startswith(folder) for folder in _OWN_FOLDERS):
        judge.never(path, "the folder is the work's own")
    inside = normpath(place) == place.rstrip("/") and any(
        place == folder or place.startswith(f"{folder}/") for folder in MOUNTABLE
    )
    if not inside:
        judge.need(path, "images", f"a folder in {', '.join(MOUNTABLE)}")
    if mount.get("mountPropagation") not in (None, "None"):
        judge.need(f"{path}.mountPropagation", "privileged")
    if "subPathExpr" in mount:
        judge.never(f"{path}.subPathExpr", "use subPath")


def _ports(judge: TemplateJudge, path: str, before: Any, after: Any) -> None:
    if any(port not in (after or ()) for port in before or ()):
        judge.never(path, "may only add ports; those already there must stay")
    for index, port in enumerate(after or ()):
        for field in ("hostIP", "hostPort"):
            if port.get(field):
                judge.need(f"{path}[{index}].{field}", "host_namespaces")


def _resources(judge: TemplateJudge, path: str, before: Any, after: Any) -> None:
    old, new = mapping(before), mapping(after)
    for part in ("limits", "requests"):
        for name in mapping(old.get(part)):
            if name not in mapping(new.get(part)):
                judge.never(f"{path}.{part}.{name}", "may be changed, but not removed")
    for part in sorted(set(new) - {"limits", "requests"}):
        judge.unlisted(f"{path}.{part}")


def _context(judge: TemplateJudge, path: str, before: Any, after: Any) -> None:
    judge.context(path, mapping(before), mapping(after))


def _lifecycle(judge: TemplateJudge, path: str, before: Any, after: Any) -> None:  # noqa: ARG001
    for moment, action in sorted(mapping(after).items()):
        if moment in ("postStart", "preStop"):
            _action(judge, f"{path}.{moment}", mapping(action))
        else:
            judge.unlisted(f"{path}.{moment}")


def _action(judge: TemplateJudge, path: str, action: Mapping[str, Any]) -> None:
    """What the kubelet does for a probe or a hook: on the node's network, or in the container."""
    if "exec" in action:
        judge.need(f"{path}.exec", "images")
    for kind in ("httpGet", "tcpSocket"):
        if mapping(action.get(kind)).get("host"):
            judge.need(f"{path}.{kind}.host", "host_namespaces", "the pod's own address")
    if "terminationGracePeriodSeconds" in action:
        seconds = action["terminationGracePeriodSeconds"]
        judge.grace_period(f"{path}.terminationGracePeriodSeconds", seconds)


def _devices(judge: TemplateJudge, path: str, before: Any, after: Any) -> None:  # noqa: ARG001
    judge.need(path, "volumes")


_JUDGED: Final[Mapping[str, Callable[[TemplateJudge, str, Any, Any], None]]] = {
    "env": _env,
    "envFrom": _env_from,
    "lifecycle": _lifecycle,
    "ports": _ports,
    "resources": _resources,
    "securityContext": _context,
    "volumeDevices": _devices,
}
