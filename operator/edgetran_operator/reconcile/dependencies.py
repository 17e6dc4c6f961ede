"""Resources that the work builds on: whether they are there, agree, and are done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from edgetran.api import ConditionType, Reason, Resource, SpecError, references, resolve
from edgetran.api.errors import path_text
from edgetran.api.field_errors import not_found
from edgetran_operator.reconcile.spec import sentences
from edgetran_operator.snapshot import Dependency, Snapshot


@dataclass(frozen=True)
class Obstacle:
    """Why the work cannot start.

    Attributes:
        reason: the condition's reason.
        message: the condition's message.
        final: whether it never will.
        wait: whether it comes by itself.
    """

    reason: Reason
    message: str
    final: bool = False
    wait: bool = False


_CAUSES: Final = frozenset(
    {
        Reason.DEVICE_BUSY,
        Reason.UNSCHEDULABLE,
        Reason.NO_GPU,
        Reason.CLAIM_PENDING,
        Reason.FAILED_MOUNT,
        Reason.FAILED_ATTACH_VOLUME,
        Reason.ERR_IMAGE_PULL,
        Reason.CREATE_CONTAINER_ERROR,
    }
)
"""Why another resource waits, told by those that wait for it too."""


def condition_of(status: Mapping[str, Any], type_: ConditionType) -> Mapping[str, Any]:
    """A condition of another resource as plain data; empty where it has none."""
    found: Mapping[str, Any] = next(
        (each for each in status.get("conditions", ()) if each.get("type") == type_), {}
    )
    return found


def succeeded(dependency: Dependency) -> bool:
    """Whether all its work is done."""
    return condition_of(dependency.status, ConditionType.SUCCEEDED).get("status") == "True"


def failed(dependency: Dependency) -> bool:
    """Whether it is at its end and failed."""
    status = condition_of(dependency.status, ConditionType.SUCCEEDED).get("status")
    return status == "False" and dependency.status.get("completionTime") is not None


def works(dependency: Dependency) -> bool:
    """Whether its work goes on now, and does not wait."""
    return dependency.status.get("activeSince") is not None


def missing(seen: Snapshot, resource: Resource) -> Obstacle | None:
    """The first reference that leads to nothing."""
    for reference in references(resource):
        if (reference.kind, reference.name) not in seen.dependencies:
            why = (
                f"no {reference.kind} of this name in namespace {seen.namespace}; the work starts "
                "once there is one"
            )
            return Obstacle(
                Reason.DEPENDENCY_MISSING,
                f"{path_text(reference.path)}: {not_found(reference.name, why)}",
            )
    return None


def resources(jobs: Mapping[str, Dependency]) -> tuple[Resource, ...]:
    """What the valid ones ask for."""
    return tuple(job.resource for job in jobs.values() if job.resource is not None)


def disagreement(seen: Snapshot, resource: Resource, others: Iterable[Resource]) -> str | None:
    """Where a resource and those that it refers to cannot belong together."""
    documents = [
        each.model_copy(
            update={"metadata": each.metadata.model_copy(update={"namespace": seen.namespace})}
        )
        for each in (resource, *others)
    ]
    try:
        resolve(documents)
    except SpecError as error:
        own = [problem for problem in error.problems if problem.resource == resource.label]
        return sentences(SpecError(own)) if own else None
    return None


def unfinished(jobs: Mapping[str, Dependency], own: Iterable[str]) -> Obstacle | None:
    """The first ProfilingJob that is not done: a failed one first.

    Args:
        jobs: ProfilingJobs by name.
        own: names of those that were made for the resource.
    """
    made = set(own)
    for name, job in jobs.items():
        if failed(job):
            condition = condition_of(job.status, ConditionType.SUCCEEDED)
            reason = Reason.CHILD_FAILED if name in made else Reason.DEPENDENCY_FAILED
            said = f"{condition.get('reason')}: {condition.get('message')}"
            return Obstacle(reason, f"ProfilingJob/{name} failed: {said}", final=True)
    waiting = [name for name, job in jobs.items() if not succeeded(job)]
    if not waiting:
        return None
    return Obstacle(
        Reason.DEPENDENCY_NOT_READY, f"waits for {_labels(waiting)} to succeed", wait=True
    )


def cause(dependencies: Mapping[str, Dependency], obstacle: Obstacle) -> Obstacle:
    """What keeps the first of those that are waited for, where one of them says so.

    Args:
        dependencies: those that are waited for, as `KIND/NAME`.
        obstacle: what is said where none of them is kept from working.
    """
    if obstacle.final or not obstacle.wait:
        return obstacle
    for label, each in dependencies.items():
        stalled = condition_of(each.status, ConditionType.STALLED)
        told = condition_of(each.status, ConditionType.SUCCEEDED)
        if each.status.get("completionTime") is not None or told.get("status") == "True":
            continue
        held = stalled.get("status") == "True"
        if held or told.get("reason") in _CAUSES:
            try:
                reason = Reason(str(told.get("reason")))
            except ValueError:
                continue
            return Obstacle(reason, f"{label}: {told.get('message')}", wait=not held)
    return obstacle


def profiles(jobs: Mapping[str, Dependency]) -> dict[str, tuple[str, ...]]:
    """Names of the results ConfigMaps that hold something, by ProfilingJob."""
    return {name: tuple(part.name for part in job.parts if part.used) for name, job in jobs.items()}


def lost_results(jobs: Mapping[str, Dependency]) -> Obstacle | None:
    """The first ProfilingJob that is done and whose results are gone."""
    for name, parts in profiles(jobs).items():
        if not parts:
            return Obstacle(
                Reason.RESULTS_LOST,
                f"ProfilingJob/{name} succeeded, but its results were deleted; delete it and "
                "measure again",
            )
    return None


def _labels(names: list[str]) -> str:
    shown = ", ".join(f"ProfilingJob/{name}" for name in names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
