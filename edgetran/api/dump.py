"""The canonical YAML of resources: the same for two that ask for the same."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from edgetran.api.resource import Resource
from edgetran.api.validate import KINDS
from edgetran.api.yaml_text import write_text

_KEPT_METADATA = ("name", "namespace", "labels", "annotations")


def to_dict(resource: Resource, *, status: bool = False) -> dict[str, Any]:
    """Plain data of the resource: every default written out, no nulls, no server's metadata.

    Args:
        resource: what to write.
        status: keep the status too.
    """
    data = resource.model_dump(mode="json", by_alias=True, exclude_none=True)
    data["metadata"] = {
        key: value for key, value in data["metadata"].items() if key in _KEPT_METADATA
    }
    if not status:
        data.pop("status", None)
    return data


def dump(*resources: Resource, status: bool = False) -> str:
    """Canonical YAML: by kind and name, fields in the order of the models.

    Equal for resources that ask for the same, however they were written.
    """
    return write_text(to_dict(resource, status=status) for resource in _sorted(resources))


def same_spec(one: Iterable[Resource], other: Iterable[Resource]) -> bool:
    """Whether both ask for the same work."""
    return dump(*one) == dump(*other)


def _sorted(resources: Iterable[Resource]) -> list[Resource]:
    kinds = list(KINDS)
    return sorted(resources, key=lambda resource: (kinds.index(resource.kind), resource.name))
