"""Resources that a search or a refinement stands for: made, kept as it asks, held back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from edgetran.api import Reason, Resource
from edgetran.api.common import PLACEMENT
from edgetran.api.field_errors import invalid
from edgetran_operator.plan import StatusBuilder
from edgetran_operator.reconcile.dependencies import Obstacle
from edgetran_operator.reconcile.spec import spec_of, status_tells_of_work
from edgetran_operator.reconcile.worker import refusal_of
from edgetran_operator.resources import Run, implied_child
from edgetran_operator.snapshot import Dependency, Snapshot


def foreign(seen: Snapshot, wanted: Iterable[Resource]) -> Obstacle | None:
    """A resource that someone else made where one of the work's own has to be."""
    for resource in wanted:
        found = seen.dependencies.get((resource.kind, resource.name))
        if found is not None and found.owner != seen.uid:
            what = "search" if seen.kind == "CoDesignSearch" else "refinement"
            return Obstacle(
                Reason.SPEC_INVALID,
                "metadata.name: "
                + invalid(
                    seen.name,
                    f"the {what} makes {resource.label}, and there is one that is not its own; "
                    "use another name, or a profileRef to it",
                ),
            )
    return None


def keep(builder: StatusBuilder, run: Run, wanted: Iterable[Resource]) -> Obstacle | None:
    """Make resources that the work stands for, and pass on what may change in them.

    What the API server says where it refuses one.
    """
    refused = None
    for resource in wanted:
        found = builder.seen.dependencies.get((resource.kind, resource.name))
        target = resource
        if found is not None and found.newest is not None:
            spec = _passed_on(found, found.newest, resource)
            if spec == spec_of(found.newest):
                continue
            target = found.newest.model_copy(update={"spec": spec})
        child = implied_child(run, target)
        refusal = refusal_of(builder.seen, child)
        if refusal is not None:
            refused = Obstacle(refusal.reason, f"{child.label} is refused: {refusal.message}")
        if refusal is None or refusal.passes:
            builder.apply.append(child)
    return refused


def hold(builder: StatusBuilder, run: Run, places: Iterable[tuple[str, str]]) -> None:
    """Hold back own resources, by kind and name, that are not at their end.

    Nothing runs on for work that rests.
    """
    unended = []
    for place in places:
        found = builder.seen.dependencies.get(place)
        if (
            found is not None
            and found.newest is not None
            and found.owner == builder.seen.uid
            and found.status.get("completionTime") is None
        ):
            unended.append(_suspended(found.newest))
    keep(builder, run, unended)


def _passed_on(child: Dependency, newest: Resource, wanted: Resource) -> Any:
    """A child's spec with what its owner decides; its deadline and TTL are its own."""
    spec, target = spec_of(newest), spec_of(wanted)
    decided = {"suspend": target.suspend, "backoff_limit": target.backoff_limit}
    decided |= {name: getattr(target, name) for name in PLACEMENT if hasattr(target, name)}
    if not status_tells_of_work(child.status):
        decided |= {name: getattr(target, name) for name in spec.UNTIL_BEGUN}
    return spec.model_copy(update=decided)


def _suspended(resource: Resource) -> Resource:
    spec = spec_of(resource).model_copy(update={"suspend": True})
    return resource.model_copy(update={"spec": spec})
