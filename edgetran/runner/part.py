"""The part of a chain that one worker of a cluster does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from edgetran import api
from edgetran.api import CoDesignSearch, GPTranRun, ProfilingJob, Resource, SpecError
from edgetran.api.allowances import (
    NO_METERS,
    MeterAllowance,
    absolute_paths,
    tracker_problems,
)
from edgetran.api.errors import path_text
from edgetran.api.field_errors import not_found
from edgetran.runner.chain import Chain, impossible, problem_of, refused_meters

AnyResource = TypeVar("AnyResource", bound=Resource)


def plan_part(
    resource: Resource,
    dependencies: Sequence[Resource],
    meters: MeterAllowance = NO_METERS,
    trackers: tuple[str, ...] = (),
) -> Chain:
    """What the worker of `resource` is to do.

    A ProfilingJob measures where the worker runs, whatever nodes its device names. A search leaves
    measuring and refining to other workers; a refinement with `searchRef` leaves searching to one.

    Args:
        resource: the work.
        dependencies: the resources that it refers to, those of a search behind it included.
        meters: which meters of devices may be read; by default none.
        trackers: what addresses of tracking servers begin with; by default none may be used.

    Raises:
        SpecError: something that cannot be done, or a reference to what was not given.
    """
    problems = impossible([resource], in_cluster=True)
    problems += refused_meters([resource], meters)
    problems += [
        problem_of(resource, path_text(path), sentence)
        for path, sentence in tracker_problems(resource, trackers)
    ]
    problems += [
        problem_of(each, path_text(path), sentence)
        for each in (resource, *dependencies)
        for path, sentence in absolute_paths(each)
    ]
    search = _search(resource, dependencies)
    given = {each.label for each in dependencies}
    for referring in (resource, search):
        if referring is None or (referring is search and problems):
            continue
        problems += [
            problem_of(
                referring,
                path_text(reference.path),
                not_found(
                    reference.name,
                    f"no {reference.kind} of this name was given together with the work",
                ),
            )
            for reference in api.references(referring)
            if f"{reference.kind}/{reference.name}" not in given
        ]
    if problems:
        raise SpecError(problems)
    resources = (*dependencies, resource)
    if isinstance(resource, ProfilingJob):
        return Chain(resources, (resource,), None, None, meters=meters)
    if isinstance(resource, CoDesignSearch):
        return Chain(resources, _jobs_of(resource, dependencies), resource, None, meters=meters)
    assert isinstance(resource, GPTranRun)  # noqa: S101 - there are three kinds
    if search is None:
        jobs = _of_kind(ProfilingJob, dependencies)
        return Chain(resources, jobs, None, resource, meters=meters)
    return Chain(resources, _jobs_of(search, dependencies), None, resource, search, meters)


def _search(resource: Resource, dependencies: Iterable[Resource]) -> CoDesignSearch | None:
    """The search whose winner the resource refines."""
    if not isinstance(resource, GPTranRun) or resource.spec.search_ref is None:
        return None
    name = resource.spec.search_ref.name
    return next(
        (each for each in _of_kind(CoDesignSearch, dependencies) if each.name == name), None
    )


def _jobs_of(search: CoDesignSearch, given: Iterable[Resource]) -> tuple[ProfilingJob, ...]:
    """The jobs that measure a search's devices: as they are given, else as the search implies."""
    named = {job.name: job for job in _of_kind(ProfilingJob, given)}
    implied = api.implied_profiling_jobs(search)
    jobs: dict[str, ProfilingJob] = {}
    for device in search.spec.devices:
        if device.profile_ref is not None:
            jobs[device.profile_ref.name] = named[device.profile_ref.name]
        elif device.name in implied:
            job = implied[device.name]
            jobs[job.name] = named.get(job.name, job)
    return tuple(jobs.values())


def _of_kind(kind: type[AnyResource], resources: Iterable[Resource]) -> tuple[AnyResource, ...]:
    return tuple(each for each in resources if isinstance(each, kind))
