"""What `spec.podTemplate` may not do unless the administrator's settings allow it.

What is judged is the pod that comes out, beside the one that would be made without the patch: so
neither a null nor a directive of the merge gets past.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from edgetran_operator.children.merge import DIRECTIVE, strategic_merge
from edgetran_operator.settings import Allowances

_OWN: Final = {
    "restartPolicy": "what the Job needs, since it starts failed pods again itself",
    "nodeName": "nodeSelector or affinity, since nodeName goes past the scheduler",
    "activeDeadlineSeconds": "spec.activeDeadlineSeconds, which counts all pods",
    "ephemeralContainers": "containers",
    "automountServiceAccountToken": "true, since the worker reports its results with it",
}
_POD_FIELDS: Final = {
    "hostNetwork": "hostNamespaces",
    "hostPID": "hostNamespaces",
    "hostIPC": "hostNamespaces",
    "hostUsers": "privileged",
    "serviceAccountName": "serviceAccounts",
    "serviceAccount": "serviceAccounts",
}
"""Fields of a PodSpec and the allowance that lets them change."""

_FREE_CONTEXT: Final = frozenset(
    {
        "fsGroup",
        "fsGroupChangePolicy",
        "supplementalGroups",
        "supplementalGroupsPolicy",
        "runAsUser",
        "runAsGroup",
        "readOnlyRootFilesystem",
    }
)
"""Fields of a security context that may change without weakening what keeps pods apart."""

_CONTAINERS: Final = ("containers", "initContainers")
_LISTS: Final = (
    *_CONTAINERS,
    "volumes",
    "tolerations",
    "imagePullSecrets",
    "hostAliases",
    "topologySpreadConstraints",
)
_CONTAINER_LISTS: Final = ("env", "envFrom", "volumeMounts", "ports", "volumeDevices")
_ALLOWANCES: Final = {
    "images": "images",
    "hostPath": "host_path",
    "hostNamespaces": "host_namespaces",
    "privileged": "privileged",
    "serviceAccounts": "service_accounts",
}


def podtemplate_problems(
    patch: Mapping[str, Any], base: Mapping[str, Any], allow: Allowances
) -> list[tuple[str, str]]:
    """Every part of a patch that is malformed or refused: where, and a sentence.

    Args:
        patch: the user's patch of the PodSpec.
        base: the PodSpec that it is merged over.
        allow: what the administrator allows.
    """
    malformed = [*_directives(patch, ""), *_malformed(patch)]
    if malformed:
        return malformed
    granted = {name for name, field in _ALLOWANCES.items() if getattr(allow, field)}
    return [
        (path, sentence)
        for path, allowance, sentence in _weakened(base, strategic_merge(base, patch))
        if allowance not in granted
    ]


def _malformed(patch: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for field in _LISTS:
        if not _is_list_of_mappings(patch.get(field)):
            yield field, "not a list of mappings; allowed is what a PodSpec has there"
            return
    for field in _CONTAINERS:
        for index, container in enumerate(patch.get(field) or ()):
            if not isinstance(container.get("name"), str):
                yield f"{field}[{index}].name", "missing; allowed is a container's, such as worker"
            for each in _CONTAINER_LISTS:
                if not _is_list_of_mappings(container.get(each)):
                    where = f"{field}[{index}].{each}"
                    yield where, "not a list of mappings; allowed is what a Container has there"
    for holder, path in _holders(patch):
        context = holder.get("securityContext")
        if context is not None and not isinstance(context, Mapping):
            yield _below(path, "securityContext"), "not a mapping; allowed is a security context"


def _weakened(
    base: Mapping[str, Any], merged: Mapping[str, Any]
) -> Iterator[tuple[str, str | None, str]]:
    """Changes that need an allowance: where, which one (None: none helps), and a sentence."""
    for field, instead in _OWN.items():
        if merged.get(field) != base.get(field):
            yield field, None, f"given; allowed is {instead}"
    for field, allowance in _POD_FIELDS.items():
        if (merged.get(field) or None) != (base.get(field) or None):
            yield field, allowance, _refused(allowance)
    before = [volume for volume in base.get("volumes", []) if "hostPath" in volume]
    for index, volume in enumerate(merged.get("volumes", [])):
        if "hostPath" in volume and volume not in before:
            where = f"volumes[{volume.get('name', index)}].hostPath"
            yield where, "hostPath", _refused("hostPath")
    yield from _weaker_context(base, merged, "")
    for field in _CONTAINERS:
        old = {container["name"]: container for container in base.get(field, [])}
        for container in merged.get(field, []):
            name = container["name"]
            if name not in old:
                yield f"{field}[{name}]", "images", f"a further container: {_refused('images')}"
            yield from _weaker_container(old.get(name, {}), container, f"{field}[{name}]")
    if not any(container["name"] == "worker" for container in merged.get("containers", [])):
        yield "containers", None, "takes the container worker away; allowed is to change it"


def _weaker_container(
    base: Mapping[str, Any], merged: Mapping[str, Any], path: str
) -> Iterator[tuple[str, str | None, str]]:
    if base and merged.get("image") != base.get("image"):
        yield f"{path}.image", "images", _refused("images")
    for index, port in enumerate(merged.get("ports", [])):
        if port.get("hostPort"):
            where = f"{path}.ports[{index}].hostPort"
            yield where, "hostNamespaces", _refused("hostNamespaces")
    yield from _weaker_context(base, merged, path)


def _weaker_context(
    base: Mapping[str, Any], merged: Mapping[str, Any], path: str
) -> Iterator[tuple[str, str | None, str]]:
    old, new = base.get("securityContext") or {}, merged.get("securityContext") or {}
    for field in sorted({*old, *new}):
        if field not in _FREE_CONTEXT and new.get(field) != old.get(field):
            where = _below(path, f"securityContext.{field}")
            yield where, "privileged", _refused("privileged")
    for field in ("runAsUser", "runAsGroup"):
        if new.get(field) == 0 and old.get(field) != 0:
            yield _below(path, f"securityContext.{field}"), "privileged", _refused("privileged")


def _holders(spec: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], str]]:
    """What may have a security context."""
    yield spec, ""
    for field in _CONTAINERS:
        for index, container in enumerate(spec.get(field) or ()):
            yield container, f"{field}[{index}]"


def _directives(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Directives of a strategic merge that are not known here, or stand where they cannot."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            if not key.startswith("$"):
                yield from _directives(part, _below(path, key))
            elif key != DIRECTIVE or part not in ("replace", "delete"):
                yield _below(path, key), f"given; allowed is {DIRECTIVE}: replace or delete"
            elif not path:
                yield key, "given for the whole pod; allowed is a part of it"
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _directives(part, f"{path}[{index}]")


def _below(path: str, field: str) -> str:
    return f"{path}.{field}" if path else field


def _is_list_of_mappings(value: Any) -> bool:
    return value is None or (
        isinstance(value, list) and all(isinstance(entry, Mapping) for entry in value)
    )


def _refused(allowance: str) -> str:
    return f"given; allowed is what the settings permit, and allow.{allowance} is not set"
