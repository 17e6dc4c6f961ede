"""From plain data to a resource, or to every problem of it at once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from edgetran.api.base import RULES_LATER, ApiModel
from edgetran.api.codesign_search import CoDesignSearch
from edgetran.api.errors import SpecError, SpecProblem, path_text
from edgetran.api.explain import (
    explain,
    field_type,
    fields_by_alias,
    own_errors,
    step,
    suggestion,
)
from edgetran.api.field_errors import invalid, required, unsupported
from edgetran.api.gptran_run import GPTranRun
from edgetran.api.plain import not_plain
from edgetran.api.profiling_job import ProfilingJob
from edgetran.api.resource import API_VERSION, Resource
from edgetran.api.rules import Path, listed

AnyModel = TypeVar("AnyModel", bound=ApiModel)

KINDS: Final[dict[str, type[Resource]]] = {
    "ProfilingJob": ProfilingJob,
    "CoDesignSearch": CoDesignSearch,
    "GPTranRun": GPTranRun,
}
"""The kinds, each after those that it may refer to."""


def parse_resource(data: Any, source: str = "") -> Resource:
    """The resource that `data` describes.

    Raises:
        SpecError: with every problem of it.
    """
    found_where = not_plain(data)
    if found_where is not None:
        place, message = found_where
        raise SpecError([SpecProblem(source, label_of(data), path_text(place), message)])
    problems = list(_envelope_problems(data, source))
    if problems:
        raise SpecError(problems)
    kind = KINDS[data["kind"]]
    resource, found = _validate(kind, data)
    if found or resource is None:
        label = label_of(data)
        raise SpecError(
            SpecProblem(source, label, path_text(path), message) for path, message in found
        )
    resource._source = source
    return resource


def label_of(data: Any) -> str:
    """`KIND/NAME` of a document that may be wrong elsewhere; empty where it has neither."""
    if not isinstance(data, Mapping):
        return ""
    metadata = data.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    words = [word[:80] for word in (data.get("kind"), name) if isinstance(word, str) and word]
    return "/".join(words)


def _envelope_problems(data: Any, source: str) -> Iterator[SpecProblem]:
    """What keeps a document from being one of our kinds at all."""
    if not isinstance(data, Mapping):
        yield SpecProblem(
            source,
            "",
            "",
            invalid(data, "must be a mapping with apiVersion, kind, metadata and spec"),
        )
        return
    label = label_of(data)
    version, kind = data.get("apiVersion"), data.get("kind")
    if version != API_VERSION:
        yield SpecProblem(source, label, "apiVersion", _no_choice(version, [API_VERSION]))
    if not isinstance(kind, str) or kind not in KINDS:
        hint = suggestion(kind, KINDS) if isinstance(kind, str) else ""
        yield SpecProblem(source, label, "kind", _no_choice(kind, KINDS) + hint)


def _no_choice(value: object, choices: Iterable[str]) -> str:
    if value is None:
        return required(f"must be {listed(list(choices), 'or')}")
    return unsupported(value, choices)


def _validate(
    model: type[Resource], data: Mapping[Any, Any]
) -> tuple[Resource | None, list[tuple[Path, str]]]:
    """The resource and no problems, or every problem of its fields and rules."""
    try:
        resource = _construct(model, data)
    except ValidationError as error:
        found: dict[Path, str] = {}
        spoiled: set[Path] = set()
        for details in own_errors(error):
            path, message = explain(model, details)
            found.setdefault(path, message)
            spoiled.add(_key_of(data, details["loc"]))
        problems = list(found.items())
        for path, part in _sound_parts(model, data):
            problems += _broken_rules(part, path, spoiled)
        return None, problems
    return resource, list(_broken_rules(resource, (), set()))


def _construct(model: type[AnyModel], data: Any) -> AnyModel:
    return model.model_validate(data, context=RULES_LATER, by_alias=True, by_name=False)


def _broken_rules(model: ApiModel, path: Path, spoiled: set[Path]) -> Iterator[tuple[Path, str]]:
    """Broken rules of `model` and all below it, but those that read a field left out as wrong."""
    for violation in model.violations():
        reads = {
            (*path, type(model).model_fields[field].alias or field) for field in violation.fields
        }
        if not reads & spoiled:
            yield (*path, *violation.path), violation.message
    for name, field in type(model).model_fields.items():
        yield from _rules_below(getattr(model, name), (*path, field.alias or name), spoiled)


def _rules_below(value: Any, path: Path, spoiled: set[Path]) -> Iterator[tuple[Path, str]]:
    if isinstance(value, ApiModel):
        yield from _broken_rules(value, path, spoiled)
    elif isinstance(value, tuple):
        for index, entry in enumerate(value):
            yield from _rules_below(entry, (*path, index), spoiled)


def _sound_parts(
    model: type[ApiModel], data: Any, path: Path = ()
) -> Iterator[tuple[Path, ApiModel]]:
    """The largest parts of `data` that can be built once wrong fields are left out."""
    if not isinstance(data, Mapping):
        return
    try:
        yield path, _construct(model, _without_wrong_fields(model, data))
    except ValidationError:
        for alias, field in fields_by_alias(model).items():
            yield from _sound_below(field_type(field), data.get(alias), (*path, alias))


def _sound_below(type_: Any, value: Any, path: Path) -> Iterator[tuple[Path, ApiModel]]:
    annotation = type_[0]
    if isinstance(annotation, type) and issubclass(annotation, ApiModel):
        yield from _sound_parts(annotation, value, path)
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            below = step(type_, index)
            if below is not None:
                yield from _sound_below(below, entry, (*path, index))


def _without_wrong_fields(model: type[ApiModel], data: Mapping[Any, Any]) -> Any:
    """A copy of `data` without the fields that are unknown or have a wrong value."""
    try:
        _construct(model, data)
    except ValidationError as error:
        trimmed = json.loads(json.dumps(data))  # a copy in which nothing is shared
        wrong = {
            _key_of(data, details["loc"])
            for details in own_errors(error)
            if details["type"] != "missing"
        }
        for *above, key in sorted(wrong, key=len, reverse=True):
            holder: Any = trimmed
            for part in above:
                holder = holder[part]
            del holder[key]
        return trimmed
    return data


def _key_of(data: Any, path: Path) -> Path:
    """`path` up to the last key of a mapping that it goes through."""
    last = 0
    for depth, part in enumerate(path, start=1):
        if isinstance(data, dict) and part in data:
            last, data = depth, data[part]
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            break
    return path[:last]
