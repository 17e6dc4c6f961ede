"""Changing one field of a resource from the command line: `--set spec.search.maxTrials=5`."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edgetran.api.base import ApiModel
from edgetran.api.errors import SpecError, SpecProblem, path_text
from edgetran.api.explain import Type, fields_by_alias, is_list, step, suggestion, unknown_field
from edgetran.api.field_errors import forbidden
from edgetran.api.resource import Resource
from edgetran.api.rules import listed
from edgetran.api.validate import KINDS, label_of
from edgetran.api.yaml_text import Document, read_text

_SETTING = re.compile(
    r"(?:(?P<kind>[A-Za-z0-9]+)(?:/(?P<name>[a-z0-9-]+))?[:.])??"
    r"(?P<path>(?:spec|metadata)(?:[.\[][^=]*)?)=(?P<value>.*)",
    re.DOTALL,
)
_PART = re.compile(r"(?:^|\.)([A-Za-z_][A-Za-z0-9_-]*)|\[([^\[\]]+)\]")
_FORM = "must be [KIND[/NAME]:]PATH=VALUE such as spec.search.maxTrials=5"


@dataclass(frozen=True, slots=True)
class Setting:
    """One assignment.

    Attributes:
        text: as it was written.
        kind: only resources of this kind; None means every kind that has the path.
        name: only the resource of this name; None means every one.
        path: keys, and within brackets the index or the name of a list's entry.
        value: plain data; None takes the field away.
    """

    text: str
    kind: str | None
    name: str | None
    path: tuple[str, ...]
    value: Any


class _NoPlaceError(Exception):
    """The path leads nowhere; how deep it led, and what to say."""

    def __init__(self, depth: int, message: str) -> None:
        super().__init__(message)
        self.depth = depth
        self.message = message


def parse_setting(text: str) -> Setting:
    """Read `[KIND[/NAME]:]PATH=VALUE`, e.g. `CoDesignSearch/quickstart:spec.search.maxTrials=5`.

    KIND may be a short name such as cds; VALUE is YAML, and an empty one takes the field away.
    List entries are named by index or name: `spec.devices[0]`, `spec.devices[this-host]`.

    Raises:
        SpecError: saying what is wrong with it.
    """
    match = _SETTING.fullmatch(text)
    if match is None:
        raise _problem(text, f"not an assignment; {_FORM}")
    kind = match["kind"]
    if kind is not None:
        names = {name.lower(): name for name in KINDS}
        names |= {model.SHORT_NAME: name for name, model in KINDS.items()}
        if kind.lower() not in names:
            raise _problem(
                text,
                f"unknown kind {kind}{suggestion(kind, KINDS)}; known kinds: {', '.join(KINDS)}",
            )
        kind = names[kind.lower()]
    parts: list[str] = []
    end = 0
    for part in _PART.finditer(match["path"]):
        if part.start() != end:
            break
        parts.append(part[1] or part[2])
        end = part.end()
    if end != len(match["path"]):
        raise _problem(text, f"{match['path']} is not a path; {_FORM}")
    try:
        documents = read_text(match["value"], "")
    except SpecError as error:
        raise _problem(text, f"the value is {error.problems[0].message}") from None
    if len(documents) > 1:
        raise _problem(text, f"the value has several documents; {_FORM}")
    value = documents[0].data if documents else None
    return Setting(text, kind, match["name"], tuple(parts), value)


def set_path(resource: Mapping[str, Any], setting: str) -> dict[str, Any]:
    """A copy of the resource's plain data with one field set.

    Raises:
        SpecError: the setting is for another resource, or its path leads nowhere.
    """
    (document,) = apply_settings([Document("", 1, dict(resource))], [setting])
    changed: dict[str, Any] = document.data
    return changed


def apply_settings(documents: Sequence[Document], settings: Sequence[str]) -> list[Document]:
    """The documents with every setting applied to each resource that it is for.

    Raises:
        SpecError: for settings that are malformed or are for none of the documents.
    """
    changed = list(documents)
    problems: list[SpecProblem] = []
    for text in settings:
        try:
            changed = _apply(changed, parse_setting(text))
        except SpecError as error:
            problems += error.problems
    if problems:
        raise SpecError(problems)
    return changed


def _problem(text: str, message: str) -> SpecError:
    return SpecError([SpecProblem(f"--set {text[:120]}", "", "", message)])


def _apply(documents: list[Document], setting: Setting) -> list[Document]:
    changed: list[Document] = []
    nowhere: list[_NoPlaceError] = []
    hits = 0
    for document in documents:
        model = _model(document.data)
        if model is None or not _is_for(setting, document.data):
            changed.append(document)
            continue
        try:
            data = _assign(document.data, (model, ()), setting)
        except _NoPlaceError as error:
            nowhere.append(error)
            changed.append(document)
            continue
        hits += 1
        changed.append(replace(document, data=data))
    if hits:
        return changed
    if nowhere:
        closest = max(nowhere, key=lambda error: (error.depth, "did you mean" in error.message))
        raise _problem(setting.text, closest.message)
    labels = [label_of(document.data) for document in documents if _model(document.data)]
    wanted = f"{setting.kind}/{setting.name}" if setting.name else setting.kind or "resource"
    choice = f"there is {listed(labels)}" if labels else "no resource was given"
    raise _problem(setting.text, f"there is no {wanted}; {choice}")


def _model(data: Any) -> type[Resource] | None:
    kind = data.get("kind") if isinstance(data, Mapping) else None
    return KINDS.get(kind) if isinstance(kind, str) else None


def _is_for(setting: Setting, data: Mapping[str, Any]) -> bool:
    if setting.kind is not None and data.get("kind") != setting.kind:
        return False
    metadata = data.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    return setting.name is None or name == setting.name


def _assign(data: Mapping[str, Any], type_: Type, setting: Setting) -> dict[str, Any]:
    """A copy of `data` with the setting's value in its place."""
    root: dict[str, Any] = copy.deepcopy(dict(data))
    holder: Any = root
    key: str | int = ""
    walked: list[str | int] = []
    for depth, word in enumerate(setting.path):
        if depth:
            holder = _descend(holder, key, type_)
        key, type_ = _step(holder, type_, word, walked)
        walked.append(key)
    if setting.value is None and isinstance(holder, dict):
        holder.pop(key, None)
    else:
        holder[key] = setting.value
    return root


def _descend(holder: Any, key: str | int, type_: Type) -> Any:
    """What stands at `key`, made where it is missing."""
    below = holder.get(key) if isinstance(holder, dict) else holder[key]
    wanted: type = list if is_list(type_) else dict
    if not isinstance(below, wanted):
        below = wanted()
        holder[key] = below
    return below


def _step(
    holder: Any, type_: Type, word: str, walked: Sequence[str | int]
) -> tuple[str | int, Type]:
    """The key or index that `word` means below `type_`, and the type there."""
    where = path_text(walked)
    annotation = type_[0]
    key: str | int = word
    if is_list(type_):
        key = _index(holder, word, where, len(walked))
    below = step(type_, key)
    if below is not None:
        return key, below
    if isinstance(annotation, type) and issubclass(annotation, ApiModel):
        message = unknown_field(word, annotation)
        if word in fields_by_alias(annotation):
            message = forbidden("this field cannot be set")
    else:
        message = forbidden("there is nothing below it")
    raise _NoPlaceError(len(walked), f"{path_text([*walked, word])}: {message}")


def _index(entries: Any, word: str, where: str, depth: int) -> int:
    if word.isascii() and word.isdigit() and len(word) < 7 and int(word) < len(entries):
        return int(word)
    names = [entry.get("name") if isinstance(entry, Mapping) else None for entry in entries]
    if word in names:
        return names.index(word)
    known = [str(name) for name in names if name is not None]
    choice = f"an index up to {len(entries) - 1}" if entries else "the list is empty"
    choice += f" or one of {', '.join(known)}" if known else ""
    raise _NoPlaceError(depth, f"{where}[{word}]: {forbidden(f'no such entry; there is {choice}')}")
