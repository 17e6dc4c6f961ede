#!/usr/bin/env python
"""Write crds/*.yaml from the models of `edgetran.api`; `--check` only says which are stale."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from generated import write_or_check

from edgetran.api import GROUP, KINDS, NAME_LIMITS, VERSION, Resource
from edgetran.api.measures import HARDWARE
from edgetran.api.scalars import DNS_LABEL

FOLDER: Final = Path(__file__).resolve().parent.parent / "crds"

_HEADER: Final = (
    "# Written by hack/crds.py from edgetran.api (make crds): edit the models, not this file.\n"
)
_LABELS: Final = {"app.kubernetes.io/name": "edgetran", "app.kubernetes.io/part-of": "edgetran"}

Column = tuple[str, str, str, str]
"""Heading, type, JSON path and description of a column of `kubectl get`."""

_SUCCEEDED: Final = '.status.conditions[?(@.type=="Succeeded")]'
_FIRST: Final[tuple[Column, ...]] = (
    ("Succeeded", "string", f"{_SUCCEEDED}.status", "True, False, or Unknown while it runs."),
    ("Progress", "string", ".status.progress", "Steps done of all steps."),
)
_AGE: Final[Column] = ("Age", "date", ".metadata.creationTimestamp", "Time since its creation.")
_REASON: Final[Column] = ("Reason", "string", f"{_SUCCEEDED}.reason", "Why, as one word.")


def _costs(path: str, text: str) -> tuple[Column, ...]:
    """A column for each measure of hardware; `path` and `text` have a place for it."""
    return tuple(
        (
            f"{each.title.replace(' ', '-')}-{each.unit}",
            "number",
            path.format(each.alias),
            text.format(each.description),
        )
        for each in HARDWARE
    )


_BEST_LATENCY, *_BEST_COSTS = _costs(".status.best.{}.value", "{} of the best.")
_MEDIAN_LATENCY, *_MEDIAN_COSTS = _costs(
    ".status.costs.{}.median", "{}, median over what was measured."
)
_BEST: Final[tuple[Column, ...]] = (
    ("Accuracy", "number", ".status.best.accuracy", "Validation metric of the best."),
    _BEST_LATENCY,
    ("Device", "string", ".status.best.device", "Device of the best."),
)
_BEST_WIDE: Final[tuple[Column, ...]] = (
    ("Parameters", "integer", ".status.best.parameters", "Parameters of the best."),
    *_BEST_COSTS,
)

COLUMNS: Final[dict[str, tuple[Column, ...]]] = {
    "ProfilingJob": (
        *_FIRST,
        _MEDIAN_LATENCY,
        ("Device", "string", ".spec.device.name", "Device that is measured."),
        _AGE,
    ),
    "CoDesignSearch": (*_FIRST, *_BEST, _AGE),
    "GPTranRun": (*_FIRST, *_BEST, _AGE),
}
"""What `kubectl get` shows of each kind."""

WIDE_COLUMNS: Final[dict[str, tuple[Column, ...]]] = {
    "ProfilingJob": (
        _REASON,
        *_MEDIAN_COSTS,
        ("Node", "string", ".status.node", "Node that is measured on."),
        ("Unstable", "integer", ".status.unstable", "Measurements that stayed unstable."),
        ("Failures", "integer", ".status.failures", "How often a worker failed."),
    ),
    "CoDesignSearch": (
        _REASON,
        *_BEST_WIDE,
        ("Pareto", "integer", ".status.paretoSize", "Candidates of the Pareto front."),
        ("Failed", "integer", ".status.failed", "Trials that failed."),
    ),
    "GPTranRun": (
        _REASON,
        *_BEST_WIDE,
        ("Stage", "string", ".status.stage", "Stage that runs."),
        ("Models", "integer", ".status.nodes", "Models in the tree."),
    ),
}
"""What `kubectl get -o wide` shows as well."""


def crd(kind: str) -> dict[str, Any]:
    """The CustomResourceDefinition of one of the KINDS."""
    resource = KINDS[kind]
    names = {
        "kind": kind,
        "listKind": f"{kind}List",
        "plural": resource.PLURAL,
        "singular": kind.lower(),
        "shortNames": [resource.SHORT_NAME],
        "categories": ["edgetran"],
    }
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": resource_schema(resource)},
        "subresources": {"status": {}},
        "additionalPrinterColumns": [
            *(_column(column) for column in COLUMNS[kind]),
            *(_column(column) | {"priority": 1} for column in WIDE_COLUMNS[kind]),
        ],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.PLURAL}.{GROUP}", "labels": _LABELS},
        "spec": {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]},
    }


def resource_schema(resource: type[Resource]) -> dict[str, Any]:
    """The structural schema of a whole resource."""
    json_schema = resource.model_json_schema(by_alias=True)
    schema = structural(json_schema, json_schema["$defs"])
    (kind,) = schema["properties"]["kind"].pop("enum")  # the API server sees to these two
    del schema["properties"]["apiVersion"]["enum"]
    name = {"type": "string", "maxLength": NAME_LIMITS[kind], "pattern": DNS_LABEL}
    schema["properties"]["metadata"] = {"type": "object", "properties": {"name": name}}
    return schema


def structural(
    schema: Mapping[str, Any], definitions: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """A JSON schema as Kubernetes' structural schemas put it: every reference in its place.

    Unknown fields need no word, since a structural schema prunes them, and null needs none, since
    an API server takes it for a field that was not given. The default of an object is complete:
    an API server judges it by the object's own rules before it fills in what is within.

    Args:
        schema: a schema as Pydantic writes it.
        definitions: what its references lead to, by name.
    """
    merged = dict(schema)
    for keyword in ("anyOf", "allOf"):
        parts = [part for part in merged.pop(keyword, ()) if part != {"type": "null"}]
        if len(parts) > 1:
            raise ValueError(f"{keyword} of {len(parts)} has no structural form: {parts}")
        for part in parts:
            merged = {**part, **merged}
    if "$ref" in merged:
        name = merged.pop("$ref").rpartition("/")[2]
        return structural({**definitions[name], **merged}, definitions)
    merged.pop("title", None)
    merged.pop("$defs", None)
    if merged.get("default") == "":  # old API servers take it for null, and refuse it
        del merged["default"]
    if isinstance(merged.get("additionalProperties"), bool):
        del merged["additionalProperties"]
    for bound, keyword in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if keyword in merged:  # a number in JSON schema, a flag in OpenAPI 3.0
            merged[bound] = merged[keyword]
            merged[keyword] = True
    for keyword in ("items", "additionalProperties"):
        if keyword in merged:
            merged[keyword] = structural(merged[keyword], definitions)
    if "properties" in merged:
        merged["properties"] = {
            name: structural(part, definitions) for name, part in merged["properties"].items()
        }
    if isinstance(merged.get("default"), Mapping):
        merged["default"] = _complete(merged["default"], merged)
    return dict(_in_order(merged))


def _complete(value: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """The object with every default within it, as an API server completes it."""
    parts = schema.get("properties", {})
    defaults = {name: part["default"] for name, part in parts.items() if "default" in part}
    return {
        name: _complete(part, parts[name]) if isinstance(part, Mapping) and name in parts else part
        for name, part in {**defaults, **value}.items()
    }


def files() -> Iterator[tuple[Path, str]]:
    """Every file of crds/ and what must be in it."""
    for kind, resource in KINDS.items():
        text = yaml.safe_dump(
            _plain(crd(kind)), sort_keys=False, width=100, default_flow_style=False
        )
        yield FOLDER / f"{GROUP}_{resource.PLURAL}.yaml", _HEADER + text


_ORDER: Final = ("description", "type", "format", "required", "default", "enum", "properties")


def _in_order(schema: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key in _ORDER:
        if key in schema:
            yield key, schema[key]
    for key in sorted(schema.keys() - set(_ORDER)):
        yield key, schema[key]


def _plain(value: Any) -> Any:
    """The value with whole numbers without a point, and no object twice, which YAML would link."""
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(part) for part in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _column(column: Column) -> dict[str, Any]:
    return dict(zip(("name", "type", "jsonPath", "description"), column, strict=True))


def main(arguments: list[str]) -> int:
    """Write the files, or with `--check` say which are not as they must be."""
    return write_or_check(arguments, dict(files()), by="make crds", beside=FOLDER.glob("*.yaml"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
