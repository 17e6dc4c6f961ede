"""Whether an object is one that a release of Kubernetes knows, every field included.

The schemas are those of kubernetes-validate, which reads them again for every object.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
from jsonschema import Draft202012Validator, ValidationError
from referencing import Registry, Resource

SCHEMAS = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
RELEASES = sorted(
    {path.name.split("-")[0].removeprefix("v") for path in SCHEMAS.iterdir()},
    key=lambda release: [int(part) for part in release.split(".")],
)
"""From the oldest to the newest that is known, such as 1.25.0."""

__all__ = ["RELEASES", "SCHEMAS", "ValidationError", "check"]


def check(body: Mapping[str, Any], release: str) -> None:
    """Raise ValidationError where the release does not know the object as it is.

    Args:
        body: the object.
        release: such as 1.34.0, one of RELEASES.
    """
    group, _, version = body["apiVersion"].rpartition("/")
    place = f"{group.partition('.')[0]}-{version}" if group else version
    _validator(release, f"{body['kind'].lower()}-{place}").validate(body)


@cache
def _validator(release: str, name: str) -> Draft202012Validator:
    return Draft202012Validator(_read(release, name), registry=_definitions(release))


@cache
def _definitions(release: str) -> Registry[Any]:
    """What the schemas of a release refer to."""
    return (Resource.from_contents(_read(release, "_definitions")) @ Registry()).crawl()


def _read(release: str, name: str) -> Any:
    return json.loads((SCHEMAS / f"v{release}-local-strict" / f"{name}.json").read_text())
