"""What Kubernetes demands of a custom resource's schema, as a list of what breaks it.

The rules are those of "Specifying a structural schema" in Kubernetes' documentation, and ours: a
bound on every string, list and map, so that no rule and no object can be larger than is foreseen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft4Validator

FORBIDDEN = {"$ref", "allOf", "anyOf", "oneOf", "not", "const", "definitions", "dependencies"} | {
    *("deprecated", "discriminator", "id", "patternProperties", "prefixItems", "propertyNames"),
    *("readOnly", "writeOnly", "xml", "title", "uniqueItems", "nullable"),
}
TYPES = frozenset({"array", "boolean", "integer", "number", "object", "string"})
SCALARS = TYPES - {"array", "object"}
CEL_RESERVED = {"as", "break", "const", "continue", "else", "false", "for", "function", "if"} | {
    *("import", "in", "let", "loop", "namespace", "null", "package", "return", "true", "var"),
    *("void", "while"),
}

Schema = Mapping[str, Any]


def problems(schema: Schema, path: str = "") -> Iterator[str]:
    """Every place of the schema of a whole resource, and what is wrong there."""
    yield from _problems(schema, path)
    for place, part in parts(schema):
        if "default" not in part:
            continue
        if list(Draft4Validator(part).iter_errors(part["default"])):
            yield f"{place}: the default {part['default']!r} breaks the schema itself"
        if prune(part, part["default"]) != part["default"]:
            yield f"{place}: the default has unknown fields"
        if place == ".metadata" or place.startswith(".metadata."):
            yield f"{place}: metadata has no defaults"
    metadata = schema.get("properties", {}).get("metadata", {})
    if set(metadata) - {"type", "properties", "description"}:
        yield ".metadata: only name and generateName may be restricted"
    if set(metadata.get("properties", {})) - {"name", "generateName"}:
        yield ".metadata: only name and generateName may be restricted"


def parts(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Every schema within the schema, itself first, with its place."""
    yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from parts(part, f"{path}.{name}")
    if "items" in schema:
        yield from parts(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), Mapping):
        yield from parts(schema["additionalProperties"], f"{path}{{}}")


def prune(schema: Schema, value: Any) -> Any:
    """The value without the fields that the schema does not know."""
    if isinstance(value, dict):
        if schema.get("x-kubernetes-preserve-unknown-fields"):
            return value
        if "additionalProperties" in schema:
            return {key: prune(schema["additionalProperties"], each) for key, each in value.items()}
        known = schema.get("properties", {})
        return {key: prune(known[key], each) for key, each in value.items() if key in known}
    if isinstance(value, list):
        return [prune(schema.get("items", {}), each) for each in value]
    return value


def with_defaults(schema: Schema, value: Any) -> Any:
    """The value as an API server completes it."""
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        complete = {
            name: part["default"]
            for name, part in properties.items()
            if "default" in part and value.get(name) is None
        }
        complete = {**{k: v for k, v in value.items() if k not in complete}, **complete}
        extra = schema.get("additionalProperties", {})
        return {k: with_defaults(properties.get(k, extra), v) for k, v in complete.items()}
    if isinstance(value, list):
        return [with_defaults(schema.get("items", {}), each) for each in value]
    return value


def _problems(schema: Schema, path: str) -> Iterator[str]:
    for keyword in sorted(FORBIDDEN & schema.keys()):
        yield f"{path}: {keyword} is forbidden"
    type_ = schema.get("type")
    if type_ not in TYPES:
        yield f"{path}: the type is {type_!r}"
    if "properties" in schema and "additionalProperties" in schema:
        yield f"{path}: properties and additionalProperties exclude each other"
    if isinstance(schema.get("additionalProperties"), bool):
        yield f"{path}: additionalProperties is a flag"
    if type_ == "array":
        yield from _list_problems(schema, path)
    if "additionalProperties" in schema and "maxProperties" not in schema:
        yield f"{path}: a map of any size"
    bounded = {"maxLength", "enum", "format"} & schema.keys() or path in (".apiVersion", ".kind")
    if type_ == "string" and not bounded:
        yield f"{path}: text of any length"
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if exclusive in schema and (schema[exclusive] is not True or bound not in schema):
            yield f"{path}: {exclusive} is a flag beside {bound}"
    if "pattern" in schema and re.search(r"\(\?[=!<]|\\[1-9]|\\[Zz]", schema["pattern"]):
        yield f"{path}: RE2 cannot read {schema['pattern']}"
    for name, part in schema.get("properties", {}).items():
        if not (part.get("description") or f"{path}.{name}".startswith(".metadata")):
            yield f"{path}.{name}: no description"
        yield from _problems(part, f"{path}.{name}")
    for name in schema.get("required", ()):
        if name not in schema.get("properties", {}):
            yield f"{path}: {name} is required and unknown"
    if "items" in schema:
        yield from _problems(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), Mapping):
        yield from _problems(schema["additionalProperties"], f"{path}{{}}")
    if "x-kubernetes-validations" in schema:
        yield from _rule_problems(schema, path)


def _list_problems(schema: Schema, path: str) -> Iterator[str]:
    if "items" not in schema:
        yield f"{path}: a list without items"
        return
    if "maxItems" not in schema:
        yield f"{path}: a list of any length"
    items, kind = schema["items"], schema.get("x-kubernetes-list-type")
    if kind == "set" and items.get("type") not in SCALARS:
        yield f"{path}: a set of what is no scalar"
    keys = schema.get("x-kubernetes-list-map-keys", ())
    if (kind == "map") != bool(keys):
        yield f"{path}: list-map-keys without a map, or a map without"
    for key in keys:
        known = items.get("properties", {}).get(key, {})
        if known.get("type") not in SCALARS:
            yield f"{path}: the key {key} is no scalar field of the items"
        elif key not in items.get("required", ()) and "default" not in known:
            yield f"{path}: the key {key} is neither required nor has it a default"
    if kind not in (None, "atomic", "set", "map"):
        yield f"{path}: the list type {kind}"


def _rule_problems(schema: Schema, path: str) -> Iterator[str]:
    rules = [each["rule"] for each in schema["x-kubernetes-validations"]]
    if len(set(rules)) != len(rules):
        yield f"{path}: a rule twice"
    for each in schema["x-kubernetes-validations"]:
        if set(each) - {"rule", "message"}:
            yield f"{path}: {sorted(each)} is more than Kubernetes 1.25 knows"
        if not each.get("message") or len(each["message"]) > 2048 or "\n" in each["message"]:
            yield f"{path}: the message of {each['rule']}"
        if "oldSelf" in each["rule"] and "[]" in path:
            yield f"{path}: old entries of a list cannot be told apart in every list type"
        for name in re.findall(r"self\.(\w+)", each["rule"]):
            if name in CEL_RESERVED:
                yield f"{path}: {name} is a word of CEL and needs an escape"
