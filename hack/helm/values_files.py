"""values.yaml, values.schema.json and the README's table, from the models of the values.

Parts that are the operator's settings as they are stand in its code, as dataclasses of pydantic.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Final, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from helm.values import Values

_WIDTH: Final = 100
_HEADER: Final = (
    "# Written by hack/chart.py (make chart): edit hack/helm/values.py, not this file.\n"
)


def values_yaml() -> str:
    """The text of values.yaml: every value with its default, under its description."""
    return _HEADER + "\n".join(_yaml_lines(Values, Values(), 0)) + "\n"


def fields(model: Any) -> Mapping[str, FieldInfo]:
    """The fields of a part by name."""
    found: Mapping[str, FieldInfo] = model.__pydantic_fields__
    return found


def is_part(value: Any) -> bool:
    """Whether a value has values of its own with descriptions."""
    return hasattr(type(value), "__pydantic_fields__")


def _yaml_lines(model: type, defaults: Any, depth: int) -> Iterator[str]:
    indent = "  " * depth
    for name, field in fields(model).items():
        if depth == 0:
            yield ""
        for line in textwrap.wrap(_description(field), _WIDTH - len(indent) - 2):
            yield f"{indent}# {line}"
        value = getattr(defaults, name)
        if is_part(value) and not isinstance(value, _flat(value)):
            yield f"{indent}{field.alias}:"
            yield from _yaml_lines(type(value), value, depth + 1)
        else:
            yield textwrap.indent(_entry(str(field.alias), _plain(value)), indent)


def _flat(value: Any) -> type | tuple[()]:
    """The model's own type where it is written as plain data, without descriptions within."""
    from helm.values import ContainerResources

    return ContainerResources if isinstance(value, ContainerResources) else ()


def _entry(key: str, value: Any) -> str:
    if value in ({}, []):
        return f"{key}: {value}"
    return yaml.safe_dump({key: value}, sort_keys=False, width=_WIDTH).rstrip()


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(by_alias=True, exclude_defaults=True)
    if isinstance(value, tuple):
        return list(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def values_schema() -> str:
    """The text of values.schema.json, without references, in draft 7, which every Helm 3 reads."""
    raw = Values.model_json_schema(by_alias=True)
    schema = _inlined(raw, raw.get("$defs", {}))
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "EdgeTran", **schema}
    schema["properties"]["global"] = {"type": "object", "description": "Values of parent charts."}
    # A list of namespaces would be without effect where all are watched.
    schema["allOf"] = [
        {
            "if": {"properties": {"scope": {"const": "Cluster"}}},
            "then": {
                "properties": {"watch": {"properties": {"namespaces": {"maxItems": 0}}}},
            },
        }
    ]
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _inlined(schema: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_inlined(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        target = definitions[schema["$ref"].rpartition("/")[2]]
        schema = {**target, **{key: part for key, part in schema.items() if key != "$ref"}}
    kept: dict[str, Any] = {}
    for key, part in schema.items():
        if key in ("$defs", "title", "default"):  # defaults stand in values.yaml
            continue
        if key == "description":
            part = " ".join(part.split())
        if key == "properties":
            kept[key] = {name: _inlined(each, definitions) for name, each in part.items()}
        else:
            kept[key] = _inlined(part, definitions)
    if "patternProperties" in kept:
        kept["additionalProperties"] = False
    return kept


def values_table() -> str:
    """A Markdown table of every value: key, type, default, meaning."""
    lines = ["| Value | Type | Default | Meaning |", "|---|---|---|---|"]
    lines += _rows(Values, Values(), "")
    return "\n".join(lines) + "\n"


def _rows(model: type, defaults: Any, path: str) -> Iterator[str]:
    for name, field in fields(model).items():
        value = getattr(defaults, name)
        key = f"{path}{field.alias}"
        if is_part(value):
            yield from _rows(type(value), value, f"{key}.")
            continue
        default = json.dumps(_plain(value), ensure_ascii=False)
        cells = (f"`{key}`", _type(field.annotation), f"`{default}`", _description(field))
        yield "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _type(annotation: Any) -> str:
    origin = get_origin(annotation)
    if origin in (list, tuple) or annotation is list:
        return "list"
    if origin is dict or annotation is dict:
        return "object"
    if isinstance(annotation, type):
        return {"str": "text", "int": "integer", "float": "number", "bool": "boolean"}.get(
            annotation.__name__, "object"
        )
    return ", ".join(f"`{each}`" if each else '`""`' for each in get_args(annotation))


def _description(field: FieldInfo) -> str:
    return " ".join((field.description or "").split())
