"""Which changes of a resource are refused once it exists."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from edgetran.api.base import (
    BEGUN,
    IMMUTABLE,
    IMMUTABLE_ONCE_BEGUN,
    ApiModel,
    immutable_fields,
)
from edgetran.api.errors import SpecProblem, path_text
from edgetran.api.field_errors import forbidden
from edgetran.api.resource import Resource
from edgetran.api.rules import Path


def refused_changes(
    old: Resource, new: Resource, *, begun: bool | None = None
) -> list[SpecProblem]:
    """A problem for each changed field of the spec that running work cannot change.

    The transition rules in the custom resource's schema refuse the same.

    Args:
        old: the resource as it was.
        new: the resource as it would be.
        begun: whether its work has begun; what the old one's status says where omitted.
    """
    begun = has_begun(getattr(old, "status", None)) if begun is None else begun
    return [
        SpecProblem(new.source, new.label, path_text(path), message)
        for path, message in _below(_spec(old), _spec(new), ("spec",), begun=begun)
    ]


def has_begun(status: object) -> bool:
    """Whether a status, as a model or None, tells that a worker of the resource ever ran."""
    return any(getattr(status, name, None) not in (None, before) for name, before in BEGUN.items())


def spec_hash(resource: Resource) -> str:
    """SHA-256 of what of a resource's spec cannot change, in hexadecimal digits.

    Defaults are left out, so that fields of later versions leave it as it is.
    """
    text = json.dumps([resource.kind, _fixed(_spec(resource))], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def work_hash(files: Mapping[str, str]) -> str:
    """SHA-256 of what a worker reads beside its spec, texts by file name, in hexadecimal digits."""
    return hashlib.sha256(json.dumps(dict(files), sort_keys=True).encode()).hexdigest()


def _fixed(model: ApiModel) -> dict[str, Any]:
    fixed = set(immutable_fields(type(model)))
    found: dict[str, Any] = model.model_dump(mode="json", include=fixed, exclude_defaults=True)
    for name in set(type(model).model_fields) - fixed:
        part = getattr(model, name)
        if isinstance(part, ApiModel) and part.MUTABLE is not None:
            found[name] = _fixed(part)
    return found


def _spec(resource: Resource) -> ApiModel:
    spec: ApiModel = resource.spec
    return spec


def _below(old: ApiModel, new: ApiModel, path: Path, *, begun: bool) -> Iterator[tuple[Path, str]]:
    fixed = immutable_fields(type(new))
    for name, field in type(new).model_fields.items():
        before, after = getattr(old, name), getattr(new, name)
        place = (*path, field.alias or name)
        if name in type(new).UNTIL_BEGUN:
            if begun and before != after:
                yield place, forbidden(f"{place[-1]} {IMMUTABLE_ONCE_BEGUN}")
        elif name in fixed and before != after:
            yield place, forbidden(f"{place[-1]} {IMMUTABLE}")
        elif isinstance(after, ApiModel) and after.MUTABLE is not None:
            yield from _below(before, after, place, begun=begun)
