"""One volume per claim in a pod: a kubelet mounts one of two that are of the same claim, and waits.

https://github.com/kubernetes/kubernetes/issues/28502
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

_CLAIM: Final = "persistentVolumeClaim"
_CONTAINERS: Final = ("initContainers", "containers", "ephemeralContainers")


def one_volume_per_claim(pod: Mapping[str, Any]) -> dict[str, Any]:
    """A pod's template whose volumes of one claim are one, the first, which all mounts are of.

    Mounts of a volume that could only be read stay so.
    """
    spec = pod["spec"]
    first: dict[str, str] = {}
    stands_for: dict[str, str] = {}
    only_read: set[str] = set()
    writable: set[str] = set()
    volumes = spec.get("volumes")
    for volume in volumes if isinstance(volumes, list) else []:
        claim = volume.get(_CLAIM) if isinstance(volume, Mapping) else None
        if not isinstance(claim, Mapping):
            continue
        name = str(volume.get("name"))
        stands_for[name] = first.setdefault(str(claim.get("claimName")), name)
        if claim.get("readOnly"):
            only_read.add(name)
        else:
            writable.add(stands_for[name])
    if len(first) == len(stands_for):
        return dict(pod)
    kept = [
        _for_all(volume, writable)
        for volume in spec["volumes"]
        if stands_for.get(volume["name"], volume["name"]) == volume["name"]
    ]
    containers = {
        field: [_mounting(container, stands_for, only_read) for container in spec[field]]
        for field in _CONTAINERS
        if field in spec
    }
    return {**pod, "spec": {**spec, "volumes": kept, **containers}}


def _for_all(volume: Mapping[str, Any], writable: set[str]) -> dict[str, Any]:
    """A volume that can be written where one of those that it stands for could."""
    if _CLAIM not in volume or volume["name"] not in writable:
        return dict(volume)
    claim = {key: value for key, value in volume[_CLAIM].items() if key != "readOnly"}
    return {**volume, _CLAIM: claim}


def _mounting(
    container: Mapping[str, Any], stands_for: Mapping[str, str], only_read: set[str]
) -> dict[str, Any]:
    mounts = list(_mounts(container, stands_for, only_read))
    return {**container, "volumeMounts": mounts} if mounts else dict(container)


def _mounts(
    container: Mapping[str, Any], stands_for: Mapping[str, str], only_read: set[str]
) -> Iterator[dict[str, Any]]:
    for mount in container.get("volumeMounts", ()):
        name = mount.get("name", "")
        read = {"readOnly": True} if name in only_read else {}
        yield {**mount, "name": stands_for.get(name, name), **read}
