"""Strategic merge patches of pods, as `kubectl patch` does them.

https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

MERGE_KEYS: Final[Mapping[str, str]] = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "ports": "containerPort",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
    "resourceClaims": "name",
}
"""Lists whose entries are told apart by a key, and so merged."""

APPENDED: Final = frozenset({"tolerations", "envFrom"})
"""Lists that grow: what is generated there is needed for the work to run at all."""

DIRECTIVE: Final = "$patch"


def strategic_merge(base: Any, patch: Any, field: str = "") -> Any:
    """`base` with `patch` merged over it; neither is changed.

    Null takes a field away. `$patch: replace` and `$patch: delete` are honoured in mappings and in
    entries of lists that are merged by a key.
    """
    if isinstance(base, Mapping) and isinstance(patch, Mapping):
        return _merge_mappings(base, patch)
    if isinstance(base, list) and isinstance(patch, list):
        return _merge_lists(base, patch, field)
    return _plain(patch)


def _merge_mappings(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    if patch.get(DIRECTIVE) == "replace":
        return {key: _plain(value) for key, value in patch.items() if key != DIRECTIVE}
    if patch.get(DIRECTIVE) == "delete":
        return {}
    merged = dict(base)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif key in merged:
            merged[key] = strategic_merge(merged[key], value, key)
        else:
            merged[key] = _plain(value)
    return merged


def _merge_lists(base: list[Any], patch: list[Any], field: str) -> list[Any]:
    key = MERGE_KEYS.get(field)
    if field in APPENDED:
        return [*base, *(_plain(entry) for entry in patch if entry not in base)]
    if key is None or not all(isinstance(entry, Mapping) for entry in patch):
        return [_plain(entry) for entry in patch]
    merged = list(base)
    for entry in patch:
        place = next(
            (
                index
                for index, old in enumerate(merged)
                if isinstance(old, Mapping) and key in entry and old.get(key) == entry[key]
            ),
            None,
        )
        if place is None:
            if entry.get(DIRECTIVE) != "delete":
                merged.append(_plain(entry))
        elif entry.get(DIRECTIVE) == "delete":
            del merged[place]
        else:
            merged[place] = _merge_mappings(merged[place], entry)
    return merged


def _plain(value: Any) -> Any:
    """A copy of a patch's part without nulls and directives, as where there was nothing before."""
    if isinstance(value, Mapping):
        return {
            key: _plain(part)
            for key, part in value.items()
            if part is not None and key != DIRECTIVE
        }
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return value
