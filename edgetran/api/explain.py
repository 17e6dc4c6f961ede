"""What a place in a resource allows, and what is wrong there, in Kubernetes' words for it.

Pydantic finds the mistakes; the words come from the models' own bounds, so that every message
says what was given and what it must be.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import AwareDatetime, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from edgetran.api.base import ApiModel
from edgetran.api.field_errors import HIDDEN, forbidden, invalid, required, unsupported
from edgetran.api.rules import listed
from edgetran.api.scalars import Allowed

Type = tuple[Any, tuple[Any, ...]]
"""An annotation and the metadata that bounds it."""


def _origin(annotation: Any) -> Any:
    return get_origin(annotation)


def is_list(type_: Type) -> bool:
    """Whether lists stand at `type_`."""
    return _origin(type_[0]) is tuple


def field_type(field: FieldInfo) -> Type:
    """The type of a model's field."""
    return _type(field.annotation, tuple(field.metadata))


def _type(annotation: Any, metadata: tuple[Any, ...] = ()) -> Type:
    """`annotation` with Annotated and `| None` taken off."""
    origin = _origin(annotation)
    if origin is Annotated:
        inner, *extra = get_args(annotation)
        flat: list[Any] = []
        for item in extra:
            flat += item.metadata if isinstance(item, FieldInfo) else [item]
        return _type(inner, (*flat, *metadata))
    if origin in (Union, UnionType):
        members = [member for member in get_args(annotation) if member is not NoneType]
        if len(members) == 1:
            return _type(members[0], metadata)
    return annotation, metadata


def fields_by_alias(model: type[ApiModel]) -> dict[str, FieldInfo]:
    """The fields of `model` by the names that resources use."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def step(type_: Type, part: str | int) -> Type | None:
    """The type one step below `type_`; None where there is no such place."""
    annotation, _ = type_
    if isinstance(annotation, type) and issubclass(annotation, ApiModel):
        field = fields_by_alias(annotation).get(str(part))
        return field_type(field) if field else None
    if _origin(annotation) is tuple and isinstance(part, int):
        return _type(get_args(annotation)[0])
    if _origin(annotation) is dict and isinstance(part, str):
        return _type(get_args(annotation)[1])
    return (Any, ()) if annotation is Any else None


def _find(model: type[ApiModel], path: Sequence[str | int]) -> Type | None:
    type_: Type | None = (model, ())
    for part in path:
        if type_ is None:
            return None
        type_ = step(type_, part)
    return type_


def allowed(type_: Type) -> str:
    """What `type_` allows, as the end of a sentence that begins "must be"."""
    annotation, metadata = type_
    for item in metadata:
        if isinstance(item, Allowed):
            return item.words
    origin = _origin(annotation)
    if origin is Literal:
        return _choice([_json(value) for value in get_args(annotation)])
    if annotation is bool:
        return "true or false"
    if annotation is int:
        return "a whole number" + _range(metadata)
    if annotation is float:
        return "a number" + _range(metadata)
    if annotation is str:
        return "text" + _sizes(metadata, "character")
    if annotation is AwareDatetime:
        return "a time such as 2026-01-31T12:00:00Z"
    if origin is tuple:
        return f"a list{_sizes(metadata, 'entry')}, each {allowed(_type(get_args(annotation)[0]))}"
    if origin is dict:
        return f"a mapping{_sizes(metadata, 'entry')}"
    if isinstance(annotation, type) and issubclass(annotation, ApiModel):
        return f"a mapping with {listed(list(fields_by_alias(annotation)))}"
    return "a value"


def _is_secret(type_: Type) -> bool:
    return any(isinstance(item, Allowed) and item.secret for item in type_[1])


def _choice(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"one of {', '.join(words)}"


def _bounds(metadata: tuple[Any, ...]) -> dict[str, Any]:
    bounds: dict[str, Any] = {}
    for item in metadata:
        for name in ("ge", "gt", "le", "lt", "min_length", "max_length"):
            if isinstance(
                item,
                annotated_types.Ge
                | annotated_types.Gt
                | annotated_types.Le
                | annotated_types.Lt
                | annotated_types.MinLen
                | annotated_types.MaxLen,
            ) and hasattr(item, name):
                bounds[name] = getattr(item, name)
    return bounds


def _range(metadata: tuple[Any, ...]) -> str:
    bounds = {name: _number(bound) for name, bound in _bounds(metadata).items()}
    low = f" from {bounds['ge']}" if "ge" in bounds else ""
    low = f" above {bounds['gt']}" if "gt" in bounds else low
    if "lt" in bounds:
        return f"{low} and below {bounds['lt']}" if low else f" below {bounds['lt']}"
    if "le" not in bounds:
        return low + (" up" if "ge" in bounds else "")
    if "gt" in bounds:
        return f"{low} and up to {bounds['le']}"
    return f"{low} to {bounds['le']}" if low else f" up to {bounds['le']}"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


def _sizes(metadata: tuple[Any, ...], unit: str) -> str:
    bounds = _bounds(metadata)
    low, high = bounds.get("min_length", 0), bounds.get("max_length")
    units = "entries" if unit == "entry" else f"{unit}s"
    if high is None:
        return f" of at least {low} {units}" if low else ""
    return f" of {low} to {high} {units}" if low else f" of at most {high} {units}"


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def suggestion(word: str, choices: Iterable[str]) -> str:
    """What to suggest in place of `word`: `; did you mean A or B?`, empty where none is close."""
    by_lower = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(word.lower()[:100], list(by_lower), n=2, cutoff=0.6)
    return f"; did you mean {listed([by_lower[c] for c in close], 'or')}?" if close else ""


def unknown_field(name: Any, model: type[ApiModel]) -> str:
    """What to say about a key that `model` does not have."""
    names = list(fields_by_alias(model))
    hint = suggestion(str(name), names)
    known = f"{hint} Known" if hint else "; known"
    return forbidden(f"unknown field{known} fields: {', '.join(names)}")


def own_errors(error: ValidationError) -> list[ErrorDetails]:
    """The errors that a value itself is to blame for, not what follows from another error.

    A list with wrong entries is also reported as too short, since Pydantic counts the good ones.
    """
    return [
        details
        for details in error.errors(include_url=False)
        if details["type"] != "too_short" or len(details["input"]) < details["ctx"]["min_length"]
    ]


_BOUNDS: Final = {
    "greater_than_equal": ("ge", "must be at least {}"),
    "greater_than": ("gt", "must be above {}"),
    "less_than_equal": ("le", "must be at most {}"),
    "less_than": ("lt", "must be below {}"),
    "too_short": ("min_length", "must have at least {}"),
    "too_long": ("max_length", "must have at most {}"),
    "string_too_long": ("max_length", "must have at most {} characters"),
}
"""Pydantic's errors of one bound, what it calls the bound, and what to say of it."""


def explain(model: type[ApiModel], error: ErrorDetails) -> tuple[tuple[str | int, ...], str]:
    """The place of a Pydantic error below `model`, and what is wrong with the field there."""
    path = tuple(error["loc"])
    is_key = bool(path) and path[-1] == "[key]"
    if is_key:
        path = path[:-1]
    kind = error["type"]
    if kind in ("extra_forbidden", "invalid_key"):
        parent = _find(model, path[:-1])
        if parent is not None and isinstance(parent[0], type) and issubclass(parent[0], ApiModel):
            return path, unknown_field(path[-1], parent[0])
    type_ = _find(model, path[:-1] if is_key else path)
    if is_key and type_ is not None and _origin(type_[0]) is dict:
        return path, invalid(path[-1], f"must be {allowed(_type(get_args(type_[0])[0]))}")
    words = allowed(type_) if type_ is not None else "a value of another type"
    if kind == "missing":
        return path, required(f"must be {words}")
    value = HIDDEN if type_ is not None and _is_secret(type_) else error["input"]
    if kind == "literal_error" and type_ is not None:
        return path, unsupported(value, get_args(type_[0]))
    return path, invalid(value, _demand(error, type_, words))


def _demand(error: ErrorDetails, type_: Type | None, words: str) -> str:
    """What a value must be: the one bound that it breaks, or all that its place asks for."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "allowed":
        return f"must be {context['allowed']}"
    if kind in _BOUNDS and not _has_words(type_):
        name, demand = _BOUNDS[kind]
        bound = _number(context[name])
        if kind in ("too_short", "too_long"):
            bound += " entry" if bound == "1" else " entries"
        return demand.format(bound)
    quotes = kind == "string_type" and isinstance(error["input"], bool | int | float)
    return f"must be {words}{', written in quotes' if quotes else ''}"


def _has_words(type_: Type | None) -> bool:
    return type_ is not None and any(isinstance(item, Allowed) for item in type_[1])
