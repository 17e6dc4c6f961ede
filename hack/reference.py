#!/usr/bin/env python
"""Write docs/reference.md from the models of `edgetran.api`; `--check` only says if it is stale."""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Final, get_args

from generated import write_or_check
from pydantic.fields import FieldInfo

from edgetran.api import (
    API_VERSION,
    KINDS,
    NAME_LIMITS,
    TERMINAL,
    ConditionType,
    ExitCode,
    Reason,
    Resource,
    reason_of,
)
from edgetran.api.base import ApiModel
from edgetran.api.common import CommonSpec, CommonStatus
from edgetran.api.explain import allowed, field_type, fields_by_alias
from edgetran.api.rules import listed

REFERENCE: Final = Path(__file__).resolve().parent.parent / "docs" / "reference.md"

_INTRODUCTION: Final = f"""\
# Reference

<!-- Written by hack/reference.py from edgetran.api: edit the models, not this file. -->

Every field of the three kinds of `{API_VERSION}`: {{kinds}}. The same models check a file for
`edgetran validate`, `edgetran run` and, as the custom resources' schema, an API server.

- A field that is unknown is refused, with the nearest one that exists.
- A field whose value is null counts as not given.
- Paths are relative to the folder where the command runs, or absolute; `..` is refused.
- Numbers are strict: `"3"` is text and is refused where a number is asked for.
- **required**: the field must be given. "—": nothing where omitted, or
  what its meaning says.
"""


def reference() -> str:
    """The text of docs/reference.md."""
    return "\n".join(_lines()).rstrip() + "\n"


def _lines() -> Iterator[str]:
    yield _INTRODUCTION.format(kinds=listed([f"[{kind}](#{kind.lower()})" for kind in KINDS]))
    specs = {kind: _model_of(model.model_fields["spec"]) for kind, model in KINDS.items()}
    statuses = {kind: _model_of(model.model_fields["status"]) for kind, model in KINDS.items()}
    homes = _homes(specs)
    yield from _contents(specs, homes)
    yield from _envelope()
    for kind, resource in KINDS.items():
        yield from _kind(kind, resource)
        yield from _model(specs[kind])
        for part in homes[kind]:
            yield from _model(part)
    yield "## Shared parts\n"
    yield "Parts of more than one kind.\n"
    for part in homes[""]:
        yield from _model(part)
    yield "## Status\n"
    yield "How the work stands in a cluster. On one machine the run's folder tells it.\n"
    known = {part for parts in homes.values() for part in parts} | set(specs.values())
    models: list[type[ApiModel]] = [CommonStatus, *statuses.values()]
    for model in models:
        for each in (model, *_below(model)):
            if each not in known:
                known.add(each)
                yield from _model(each)
    yield from _words("Condition types", ConditionType)
    yield from _words("Reasons", Reason)
    yield from _exit_codes()


def _homes(specs: dict[str, type[ApiModel]]) -> dict[str, list[type[ApiModel]]]:
    """The parts of each kind's spec that are that kind's alone; under "" those of several."""
    users: dict[type[ApiModel], list[str]] = {CommonSpec: list(specs)}
    for kind, spec in specs.items():
        for part in _below(spec):
            users.setdefault(part, []).append(kind)
    homes: dict[str, list[type[ApiModel]]] = {**{kind: [] for kind in specs}, "": []}
    for part, kinds in users.items():
        homes[kinds[0] if len(kinds) == 1 else ""].append(part)
    return homes


def _contents(
    specs: dict[str, type[ApiModel]], homes: dict[str, list[type[ApiModel]]]
) -> Iterator[str]:
    yield "## Contents\n"
    yield "- [Every resource](#every-resource)"
    for kind, spec in specs.items():
        yield f"- [{kind}](#{kind.lower()}): {_links([spec, *homes[kind]])}"
    yield f"- [Shared parts](#shared-parts): {_links(homes[''])}"
    words = "[condition types](#condition-types), [reasons](#reasons), [exit codes](#exit-codes)"
    yield f"- [Status](#status): {words}\n"


def _links(models: list[type[ApiModel]]) -> str:
    return ", ".join(_link(model) for model in models)


def _link(model: type[ApiModel]) -> str:
    return f"[{model.__name__}](#{model.__name__.lower()})"


def _envelope() -> Iterator[str]:
    yield "## Every resource\n"
    limits = listed([f"{limit} for a {kind}" for kind, limit in NAME_LIMITS.items()])
    name = (
        f"Name, unique among its kind. Most characters: {limits}; names of children must fit too."
    )
    yield from _table(
        [
            ("`apiVersion`", API_VERSION, "**required**", "API group and version."),
            ("`kind`", f"one of {', '.join(KINDS)}", "**required**", "Kind of the resource."),
            (
                "`metadata.name`",
                "lower-case letters, digits and `-`; it begins and ends with a letter or a digit",
                "**required**",
                name,
            ),
            ("`metadata.namespace`", "a name", "—", "Namespace; references stay within it."),
            ("`metadata.labels`", "labels", "—", "Labels to select the resource by."),
            ("`metadata.annotations`", "annotations", "—", "Notes that tools keep."),
            ("`spec`", "a mapping", "**required**", "What is asked for, as below."),
            ("`status`", "a mapping", "—", "How it stands; written by the operator alone."),
        ]
    )


def _kind(kind: str, resource: type[Resource]) -> Iterator[str]:
    yield f"## {kind}\n"
    yield f"{_text(resource)} `kubectl` calls it `{resource.PLURAL}` or `{resource.SHORT_NAME}`.\n"


def _model(model: type[ApiModel]) -> Iterator[str]:
    """A heading, what the part is, a row per field and a line per rule."""
    yield f"### {model.__name__}\n"
    yield f"{_text(model)}\n"
    bases = _documented_bases(model)
    if bases:
        yield f"It has the fields of {listed([_link(base) for base in bases])}, and:\n"
    inherited = {name for base in bases for name in base.model_fields}
    rows = [
        _row(model, alias, field)
        for alias, field in fields_by_alias(model).items()
        if _python_name(model, alias) not in inherited
    ]
    if rows:
        yield from _table(rows)
    old = {rule.name for base in bases for rule in base.RULES}
    rules = [rule for rule in model.RULES if rule.name not in old]
    if rules:
        yield "Rules:\n"
        for rule in rules:
            message = rule.message[0].upper() + rule.message[1:]
            at = re.sub(r"\b(?!or\b|and\b)[\w.]+", r"`\g<0>`", rule.at)
            yield f"- {at} {rule.message}." if at else f"- {message}."
        yield ""
    if model.MUTABLE is not None:
        names = listed(sorted(f"`{_alias(model, name)}`" for name in model.MUTABLE))
        yield f"May be changed in a cluster once the resource exists: {names}.\n"


def _row(model: type[ApiModel], alias: str, field: FieldInfo) -> tuple[str, str, str, str]:
    anchor = f'<a id="{model.__name__}.{alias}"></a>'.lower()
    return (f"{anchor}`{alias}`", _allowed(field), _default(field), field.description or "")


def _allowed(field: FieldInfo) -> str:
    """What the field allows; the parts that have a section of their own as links to it."""
    words, part = allowed(field_type(field)), _part_of(field)
    if part is None:
        return words
    return (
        f"{words.partition(', each ')[0]}, each {_link(part)}" if _is_list(field) else _link(part)
    )


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.default
    if value is None or value == ():
        return "—"
    if isinstance(value, ApiModel):
        given = value.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return f"`{_flow(given)}`" if _differs(value) else "its defaults"
    return f"`{_flow(list(value) if isinstance(value, tuple) else value)}`"


def _differs(value: ApiModel) -> bool:
    """Whether the part is another than the one that nothing given makes."""
    try:
        return value != type(value)()
    except ValueError:  # the part cannot be empty
        return True


def _flow(value: Any) -> str:
    """The value as YAML's flow form writes it."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return value if isinstance(value, str) and value else json.dumps(value)


def _table(rows: list[tuple[str, str, str, str]]) -> Iterator[str]:
    yield "| Field | Allowed | Default | Meaning |"
    yield "|---|---|---|---|"
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |"
    yield ""


def _words(title: str, enumeration: type[Enum]) -> Iterator[str]:
    yield f"### {title}\n"
    yield "| Word | Meaning |"
    yield "|---|---|"
    for word, text in _members(enumeration):
        yield f"| `{word}` | {text} |"
    yield ""


def _exit_codes() -> Iterator[str]:
    yield "### Exit codes\n"
    yield "How a worker's pod ends; the reason is the one that conditions then carry.\n"
    yield "| Code | Reason | Started again | Meaning |"
    yield "|---|---|---|---|"
    for code, text in _members(ExitCode):
        again = "no" if code in TERMINAL or code == ExitCode.DONE else "yes"
        yield f"| {code} | `{reason_of(code)}` | {again} | {text} |"
    yield ""


def _members(enumeration: type[Enum]) -> Iterator[tuple[Any, str]]:
    """The values of an enumeration with the docstrings below them."""
    (tree,) = ast.parse(inspect.getsource(enumeration)).body
    assert isinstance(tree, ast.ClassDef)  # noqa: S101
    for member, text in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(member, ast.Assign) and isinstance(text, ast.Expr):
            yield ast.literal_eval(member.value), ast.literal_eval(text.value)


def _below(model: type[ApiModel]) -> list[type[ApiModel]]:
    """Every part below `model`, its documented bases included, each once, in order."""
    found: dict[type[ApiModel], None] = {}

    def visit(each: type[ApiModel]) -> None:
        for part in (*_documented_bases(each), *map(_part_of, each.model_fields.values())):
            if part is not None and part not in found:
                found[part] = None
                visit(part)

    visit(model)
    return list(found)


def _documented_bases(model: type[ApiModel]) -> list[type[ApiModel]]:
    """Those with fields, but for what the table of measures has made the model of."""
    return [
        base
        for base in model.__bases__
        if issubclass(base, ApiModel)
        and base is not ApiModel
        and base.model_fields
        and base.__name__ != model.__name__
    ]


def _part_of(field: FieldInfo) -> type[ApiModel] | None:
    """The model that stands at the field, or in each entry of its list."""
    annotation = field_type(field)[0]
    if _is_list(field):
        annotation = get_args(annotation)[0]
    return annotation if isinstance(annotation, type) and issubclass(annotation, ApiModel) else None


def _is_list(field: FieldInfo) -> bool:
    annotation = field_type(field)[0]
    return bool(get_args(annotation)) and getattr(annotation, "__origin__", None) is tuple


def _model_of(field: FieldInfo) -> type[ApiModel]:
    model = _part_of(field)
    assert model is not None  # noqa: S101 - every kind has a spec and a status
    return model


def _alias(model: type[ApiModel], name: str) -> str:
    return model.model_fields[name].alias or name


def _python_name(model: type[ApiModel], alias: str) -> str:
    return next(name for name in model.model_fields if _alias(model, name) == alias)


def _text(model: type[ApiModel]) -> str:
    """The docstring up to the attributes, which are not part of a resource."""
    text = inspect.cleandoc(model.__doc__ or "").split("\nAttributes:")[0]
    return " ".join(text.split())


def main(arguments: list[str]) -> int:
    """Write the page, or with `--check` say whether it is stale."""
    return write_or_check(arguments, {REFERENCE: reference()}, by="python hack/reference.py")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
