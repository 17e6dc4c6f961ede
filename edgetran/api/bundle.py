"""Resources that stand together: loaded, checked against one another, and put in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from edgetran.api.codesign_search import CoDesignSearch
from edgetran.api.common import WorkloadSpec
from edgetran.api.device import Device
from edgetran.api.errors import SpecError, SpecProblem, path_text
from edgetran.api.explain import suggestion
from edgetran.api.field_errors import duplicate, forbidden, invalid, not_found, required, shown
from edgetran.api.gptran_run import GPTranRun
from edgetran.api.profiling_job import ProfilingJob
from edgetran.api.resource import Resource
from edgetran.api.rules import Path as Place
from edgetran.api.rules import camel, listed
from edgetran.api.settings import apply_settings
from edgetran.api.validate import KINDS, label_of, parse_resource
from edgetran.api.yaml_text import Document, read_files, read_text

AnyResource = TypeVar("AnyResource", bound=Resource)

Key = tuple[str, str, str]
"""Namespace, kind and name."""


@dataclass(frozen=True, slots=True)
class ResolvedReference:
    """One resource's reference to another by name."""

    path: Place
    kind: str
    name: str


def references(resource: Resource) -> list[ResolvedReference]:
    """Everything that `resource` refers to, with the place and the kind that is expected."""
    if isinstance(resource, ProfilingJob):
        finalists = resource.spec.finalists_of
        if finalists is not None:
            path = ("spec", "finalistsOf", finalists.field, "name")
            return [ResolvedReference(path, finalists.kind, finalists.name)]
        return [
            ResolvedReference(("spec", "warmStartFrom", i, "name"), "ProfilingJob", reference.name)
            for i, reference in enumerate(resource.spec.warm_start_from or ())
        ]
    if isinstance(resource, CoDesignSearch):
        return [
            ResolvedReference(
                ("spec", "devices", i, "profileRef", "name"),
                "ProfilingJob",
                device.profile_ref.name,
            )
            for i, device in enumerate(resource.spec.devices)
            if device.profile_ref is not None
        ]
    if isinstance(resource, GPTranRun):
        found = []
        if resource.spec.search_ref is not None:
            name = resource.spec.search_ref.name
            found.append(ResolvedReference(("spec", "searchRef", "name"), "CoDesignSearch", name))
        if resource.spec.device is not None and resource.spec.device.profile_ref is not None:
            name = resource.spec.device.profile_ref.name
            found.append(
                ResolvedReference(("spec", "device", "profileRef", "name"), "ProfilingJob", name)
            )
        return found
    return []


@dataclass(frozen=True)
class Bundle:
    """Resources whose references all lead to one another.

    Attributes:
        resources: in an order in which each stands after those that it refers to.
    """

    resources: tuple[Resource, ...]

    def get(self, kind: str, name: str, namespace: str | None = None) -> Resource:
        """The resource of that kind and name.

        Raises:
            KeyError: there is none.
        """
        for resource in self.resources:
            if _key(resource) == (namespace or "default", kind, name):
                return resource
        raise KeyError(f"{kind}/{name}")

    def dependencies(self, resource: Resource) -> tuple[Resource, ...]:
        """The resources that `resource` refers to."""
        return tuple(
            self.get(reference.kind, reference.name, resource.metadata.namespace)
            for reference in references(resource)
        )

    def of_kind(self, kind: type[AnyResource]) -> tuple[AnyResource, ...]:
        """All resources of one kind."""
        return tuple(resource for resource in self.resources if isinstance(resource, kind))


def load_text(text: str, source: str = "<text>", settings: Sequence[str] = ()) -> list[Resource]:
    """The resources in YAML `text`, with `settings` such as "spec.seed=1" applied.

    Raises:
        SpecError: with every problem found.
    """
    return _parse(apply_settings(_some(read_text(text, source), source), settings))


def load_resources(*paths: str | Path, settings: Sequence[str] = ()) -> list[Resource]:
    """The resources in YAML files and folders, with `settings` applied.

    Raises:
        SpecError: with every problem found.
    """
    return _parse(apply_settings(_read_some(paths), settings))


def load_bundle(*paths: str | Path, settings: Sequence[str] = ()) -> Bundle:
    """The resources in YAML files and folders, their references checked.

    Raises:
        SpecError: with every problem found, those of references among resources included.
    """
    documents = apply_settings(_read_some(paths), settings)
    resources, problems, broken = _parse_all(documents)
    problems += _reference_problems(resources, broken)
    if problems:
        raise SpecError(problems)
    return Bundle(tuple(_in_order(resources)))


def resolve(resources: Iterable[Resource]) -> Bundle:
    """The bundle of `resources`.

    Raises:
        SpecError: for two resources of one name, a reference to a resource that is missing, of
            another kind or of another setting, and references in a circle.
    """
    given = list(resources)
    problems = list(_reference_problems(given, set()))
    if problems:
        raise SpecError(problems)
    return Bundle(tuple(_in_order(given)))


def _read_some(paths: Sequence[str | Path]) -> list[Document]:
    return _some(read_files(paths), ", ".join(map(str, paths)))


def _some(documents: list[Document], source: str) -> list[Document]:
    if not documents:
        message = f"no resource was given; allowed is one or more of {', '.join(KINDS)}"
        raise SpecError([SpecProblem(source, "", "", message)])
    return documents


def _key(resource: Resource) -> Key:
    return (resource.metadata.namespace or "default", resource.kind, resource.metadata.name)


def _parse(documents: Sequence[Document]) -> list[Resource]:
    resources, problems, _ = _parse_all(documents)
    if problems:
        raise SpecError(problems)
    return resources


def _parse_all(
    documents: Sequence[Document],
) -> tuple[list[Resource], list[SpecProblem], set[str]]:
    """Good resources, problems, and the labels `KIND/NAME` of documents that have any."""
    resources: list[Resource] = []
    problems: list[SpecProblem] = []
    broken: set[str] = set()
    for document in documents:
        try:
            resources.append(parse_resource(document.data, document.source))
        except SpecError as error:
            label = label_of(document.data)
            broken.add(label)
            problems += (
                problem
                if problem.resource
                else SpecProblem(
                    f"{problem.source}:{document.line}", "", problem.path, problem.message
                )
                for problem in error.problems
            )
    return resources, problems, broken


def _reference_problems(resources: Sequence[Resource], broken: set[str]) -> list[SpecProblem]:
    by_key: dict[Key, Resource] = {}
    problems: list[SpecProblem] = []
    for resource in resources:
        first = by_key.setdefault(_key(resource), resource)
        if first is not resource:
            problems.append(
                SpecProblem(
                    resource.source,
                    resource.label,
                    "metadata.name",
                    duplicate(resource.name)
                    + (f", given already in {first.source}" if first.source else ""),
                )
            )
    for resource in by_key.values():
        for reference in references(resource):
            if f"{reference.kind}/{reference.name}" in broken:
                continue
            namespace = resource.metadata.namespace or "default"
            found = by_key.get((namespace, reference.kind, reference.name))
            messages = (
                [(reference.path, _missing(reference, namespace, by_key))]
                if found is None
                else list(_mismatches(resource, reference, found))
            )
            problems += (
                SpecProblem(resource.source, resource.label, path_text(path), message)
                for path, message in messages
            )
    problems += _circle_problems(by_key)
    return problems


def _missing(reference: ResolvedReference, namespace: str, by_key: dict[Key, Resource]) -> str:
    names = sorted(
        name for space, kind, name in by_key if (space, kind) == (namespace, reference.kind)
    )
    others = [
        f"{kind} in namespace {space}" if space != namespace else kind
        for space, kind, name in by_key
        if name == reference.name and (space, kind) != (namespace, reference.kind)
    ]
    but = f" ({reference.name} is a {listed(sorted(others))})" if others else ""
    hint = suggestion(reference.name, names)
    there = f"{f'{hint} There' if hint else '; there'} is {listed(names)}" if names else ""
    return not_found(
        reference.name, f"no {reference.kind} of this name was given with it{but}{there}"
    )


_COMPARED = ("host", "node_selector", "engine", "accelerator", "precision", "threads")


def _mismatches(
    resource: Resource, reference: ResolvedReference, found: Resource
) -> Iterator[tuple[Place, str]]:
    """Where `resource` differs from the ProfilingJob whose measurements are to count for it."""
    if not isinstance(found, ProfilingJob):
        return
    if found.spec.finalists_of is not None:
        what = "must be a ProfilingJob with designSpace or models; it measures finalists of a run"
        yield reference.path, invalid(found.name, what)
        return
    if isinstance(resource, ProfilingJob):
        yield from _other_workload(resource.spec.workload, found)
        return
    place = reference.path[:-2]
    device: Device | None = None
    workload = None
    if isinstance(resource, CoDesignSearch):
        index = place[-1]
        assert isinstance(index, int)  # noqa: S101
        device, workload = resource.spec.devices[index], resource.spec.workload
    elif isinstance(resource, GPTranRun):
        device, workload = resource.spec.device, resource.spec.workload
    if device is None:
        return
    measured = found.spec.device
    for field in _COMPARED:
        here, there = getattr(device, field), getattr(measured, field)
        if here != there:
            alias = Device.model_fields[field].alias or field
            yield (*place, alias), _differs(here, found, there)
    if workload is not None:
        yield from _other_workload(workload, found)


def _other_workload(workload: WorkloadSpec, found: ProfilingJob) -> Iterator[tuple[Place, str]]:
    measured = found.spec.workload
    if workload != measured:
        for name in WorkloadSpec.model_fields:
            here, there = getattr(workload, name), getattr(measured, name)
            if here != there:
                yield ("spec", "workload", camel(name)), _differs(here, found, there)


def _differs(here: object, found: ProfilingJob, there: object) -> str:
    has = "none" if there is None else shown(_said(there))
    what = f"must be the same as in {found.label}, which has {has}"
    return required(what) if here is None else invalid(_said(here), what)


def _said(value: object) -> object:
    """A value of a device's field, a node selector's labels written out."""
    if isinstance(value, dict):
        return ", ".join(f"{key}={entry}" for key, entry in value.items())
    return value


def _walk(by_key: Mapping[Key, Resource]) -> tuple[list[Key], list[list[Key]]]:
    """All keys by kind, each after those that it refers to; and every circle of references."""
    order: dict[Key, None] = {}
    circles: list[list[Key]] = []
    kinds = list(KINDS)
    for start in sorted(by_key, key=lambda key: kinds.index(key[1])):
        path = [] if start in order else [start]
        targets = [iter(_targets(by_key[start], by_key))]
        while path:
            target = next(targets[-1], None)
            if target is None:
                targets.pop()
                order[path.pop()] = None
            elif target in path:
                circles.append([*path[path.index(target) :], target])
            elif target not in order:
                path.append(target)
                targets.append(iter(_targets(by_key[target], by_key)))
    return list(order), circles


def _circle_problems(by_key: Mapping[Key, Resource]) -> Iterator[SpecProblem]:
    for circle in _walk(by_key)[1]:
        resource = by_key[circle[0]]
        place = next(
            reference.path
            for reference in references(resource)
            if (reference.kind, reference.name) == circle[1][1:]
        )
        names = " → ".join(by_key[member].label for member in circle)
        yield SpecProblem(
            resource.source,
            resource.label,
            path_text(place),
            forbidden(f"references in a circle: {names}"),
        )


def _targets(resource: Resource, by_key: Mapping[Key, Resource]) -> list[Key]:
    namespace = resource.metadata.namespace or "default"
    keys = [(namespace, reference.kind, reference.name) for reference in references(resource)]
    return [key for key in keys if key in by_key]


def _in_order(resources: Sequence[Resource]) -> list[Resource]:
    by_key = {_key(resource): resource for resource in resources}
    return [by_key[key] for key in _walk(by_key)[0]]
