"""What one reconciliation decides, and what collects it: conditions, status, children, events."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from pydantic import ValidationError

from edgetran.api import (
    KINDS,
    Condition,
    ConditionType,
    Reason,
    find_condition,
    remove_condition,
    set_condition,
)
from edgetran.api.codesign_search import CoDesignSearchStatus
from edgetran.api.common import CommonStatus
from edgetran.api.gptran_run import GPTranRunStatus
from edgetran.api.profiling_job import ProfilingJobStatus
from edgetran_operator.snapshot import Snapshot

STATUS_LIMIT_BYTES: Final = 10_000
MESSAGE_LIMIT: Final = 600
"""Characters of a condition's message, so that all conditions together stay small."""

STATUS_MODELS: Final[Mapping[str, type[CommonStatus]]] = {
    "ProfilingJob": ProfilingJobStatus,
    "CoDesignSearch": CoDesignSearchStatus,
    "GPTranRun": GPTranRunStatus,
}
assert set(STATUS_MODELS) == set(KINDS)  # noqa: S101

_QUIET: Final = frozenset(
    {
        Reason.PENDING,
        Reason.RUNNING,
        Reason.DEVICE_BUSY,
        Reason.DEPENDENCY_NOT_READY,
        Reason.NODES_MATCHED,
        Reason.NOT_COMPARED,
    }
)
"""Reasons that say how work goes; nobody needs to be told of them one by one."""
_WARNINGS: Final = frozenset(
    {
        Reason.SPEC_INVALID,
        Reason.SPEC_CHANGE_REFUSED,
        Reason.SPEC_COPY_REFUSED,
        Reason.FOREIGN_CHILD,
        Reason.NO_MATCHING_NODE,
        Reason.DEVICE_LOST,
        Reason.DEPENDENCY_MISSING,
        Reason.DEPENDENCY_FAILED,
        Reason.CHILD_FAILED,
        Reason.WORKER_RETRIED,
        Reason.INSUFFICIENT_QUOTA,
        Reason.PROFILE_UNUSABLE,
        Reason.UNSCHEDULABLE,
        Reason.NO_GPU,
        Reason.CLAIM_PENDING,
        Reason.FAILED_MOUNT,
        Reason.FAILED_ATTACH_VOLUME,
        Reason.ERR_IMAGE_PULL,
        Reason.CREATE_CONTAINER_ERROR,
        Reason.DEADLINE_EXCEEDED,
        Reason.MAX_FAILED_TRIALS_REACHED,
        Reason.NO_FEASIBLE_CANDIDATE,
        Reason.STORAGE_UNAVAILABLE,
        Reason.RAY_UNAVAILABLE,
        Reason.RESULTS_LOST,
        Reason.NOT_AS_MEASURED,
    }
)

Status = Literal["True", "False", "Unknown"]


@dataclass(frozen=True, slots=True)
class Child:
    """An object to be applied as it stands here."""

    body: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """Kind of the object."""
        kind: str = self.body["kind"]
        return kind

    @property
    def name(self) -> str:
        """Name of the object."""
        name: str = self.body["metadata"]["name"]
        return name

    @property
    def label(self) -> str:
        """`KIND/NAME`."""
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class Change:
    """A merge patch of a child that exists."""

    kind: str
    name: str
    patch: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Deletion:
    """An object to be deleted, in the background, if it is still the one that was seen.

    The uid is empty for what is not watched: whichever has that name.
    """

    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Event:
    """A corev1.Event about the resource."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The decision.

    Attributes:
        status: fields of the status to change, None for those to remove; empty where it stays.
        apply: children to apply, in this order, once the status is stored.
        change: children to change.
        delete: objects to delete.
        events: what to tell, once the status is stored.
        requeue_after: seconds until time alone may change the decision; None where it cannot.
    """

    status: Mapping[str, Any]
    apply: tuple[Child, ...] = ()
    change: tuple[Change, ...] = ()
    delete: tuple[Deletion, ...] = ()
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None

    @property
    def at_rest(self) -> bool:
        """Whether carrying it out calls nothing."""
        return not (self.status or self.apply or self.change or self.delete or self.events)


class StatusBuilder:
    """Collects what one reconciliation decides; `plan` closes it.

    Attributes:
        seen: the snapshot.
        before: the status as it is, read.
        fields: fields of the status that change, by their Python names.
        apply: children to apply.
        change: children to change.
        delete: objects to delete.
        counts_time: whether the seconds of work go on being counted.
        waits: whether a worker is wanted and does not run.
    """

    def __init__(self, seen: Snapshot) -> None:
        self.seen = seen
        self.before = read_status(seen.kind, seen.status)
        self.conditions: tuple[Condition, ...] = self.before.conditions
        self.fields: dict[str, Any] = {}
        self.apply: list[Child] = []
        self.change: list[Change] = []
        self.delete: list[Deletion] = []
        self.counts_time = False
        self.waits = False
        self._events: list[Event] = []
        self._requeue: list[float] = []

    @property
    def now(self) -> datetime:
        """The time of the snapshot."""
        return self.seen.now

    @property
    def ended(self) -> bool:
        """Whether the resource was at its end already."""
        return self.before.completion_time is not None

    def active_seconds(self) -> int:
        """Seconds of work until now."""
        since = self.before.active_since
        going_on = max(0, int((self.now - since).total_seconds())) if since is not None else 0
        return self.before.active_seconds + going_on

    def waiting_since(self) -> datetime:
        """Since when a worker that is wanted does not run."""
        return self.before.waiting_since or self.now

    def set(self, type_: ConditionType, status: Status, reason: Reason, message: str = "") -> None:
        """Set a condition."""
        self.conditions = set_condition(
            self.conditions,
            type_,
            status,
            reason,
            cut(message),
            now=self.now,
            observed_generation=self.seen.generation,
        )

    def drop(self, *types: ConditionType) -> None:
        """Remove conditions."""
        for type_ in types:
            self.conditions = remove_condition(self.conditions, type_)

    def going_on(self, reason: Reason, message: str) -> None:
        """The work goes on, or waits for something that comes by itself."""
        self.set(ConditionType.SUCCEEDED, "Unknown", reason, message)
        self.set(ConditionType.RECONCILING, "True", reason, message)
        self.drop(ConditionType.STALLED)

    def held_up(self, reason: Reason, message: str) -> None:
        """The work cannot go on without a change of the spec or the cluster."""
        self.set(ConditionType.SUCCEEDED, "Unknown", reason, message)
        self.set(ConditionType.STALLED, "True", reason, message)
        self.drop(ConditionType.RECONCILING)

    def suspended(self, message: str) -> None:
        """The work is held back on request."""
        self.set(ConditionType.SUSPENDED, "True", Reason.SUSPENDED, message)
        self.set(ConditionType.SUCCEEDED, "Unknown", Reason.SUSPENDED, message)
        self.drop(ConditionType.STALLED, ConditionType.RECONCILING)

    def failed(self, reason: Reason, message: str) -> None:
        """The work is at its end and failed."""
        self.set(ConditionType.SUCCEEDED, "False", reason, message)
        self.set(ConditionType.STALLED, "True", reason, message)
        self.drop(ConditionType.RECONCILING)
        self._end()

    def succeeded(self, message: str) -> None:
        """The work is at its end and done."""
        self.set(ConditionType.SUCCEEDED, "True", Reason.SUCCEEDED, message)
        self.drop(ConditionType.STALLED, ConditionType.RECONCILING)
        self._end()

    def _end(self) -> None:
        self.fields["completion_time"] = self.now
        self.counts_time = False
        self.waits = False

    def tell(self, reason: Reason, message: str) -> None:
        """Post an event together with the status; only where the status changes too."""
        self._events.append(_event(reason, message))

    def look_again(self, seconds: float) -> None:
        """Time alone may change the decision then."""
        self._requeue.append(max(0.0, seconds))

    def look_again_at(self, moment: datetime) -> None:
        """Time alone may change the decision at that moment."""
        self.look_again((moment - self.now) / timedelta(seconds=1))

    def plan(self) -> Plan:
        """The decision; its status holds only what differs from the status as it is."""
        self.fields["observed_generation"] = self.seen.generation
        self.fields["conditions"] = self.conditions
        self.fields["waiting_since"] = self.waiting_since() if self.waits else None
        if not self.counts_time:
            self._count(None)
        changed = self._changes()
        if self.counts_time and (changed or self.before.active_since is None):
            self._count(self.now)
            changed = self._changes()
        events = (*self._transitions(), *self._events) if changed else ()
        return Plan(
            status=changed,
            apply=tuple(self.apply),
            change=tuple(self.change),
            delete=tuple(self.delete),
            events=events,
            requeue_after=min(self._requeue, default=None),
        )

    def _count(self, since: datetime | None) -> None:
        self.fields["active_seconds"] = self.active_seconds()
        self.fields["active_since"] = since

    def _changes(self) -> dict[str, Any]:
        after = fit(write_status(self.before.model_copy(update=self.fields)))
        seen = self.seen.status
        changed: dict[str, Any] = {
            key: value for key, value in after.items() if seen.get(key) != value
        }
        # What is empty is left out here and may be filled in by the schema's defaults there.
        changed |= {key: None for key, value in seen.items() if key not in after and value}
        return changed

    def _transitions(self) -> list[Event]:
        """An event for each condition whose status or reason is new, one per reason."""
        events: dict[str, Event] = {}
        for condition in self.conditions:
            old = find_condition(self.before.conditions, condition.type)
            same = old is not None and (old.status, old.reason) == (
                condition.status,
                condition.reason,
            )
            if same or condition.reason in _QUIET or condition.reason not in list(Reason):
                continue
            events.setdefault(condition.reason, _event(Reason(condition.reason), condition.message))
        for event in self._events:
            events.pop(event.reason, None)
        return list(events.values())


def _event(reason: Reason, message: str) -> Event:
    return Event("Warning" if reason in _WARNINGS else "Normal", str(reason), cut(message, 1000))


def cut(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """`text`, cut to `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def read_status(kind: str, status: Mapping[str, Any]) -> CommonStatus:
    """The status as a model; what of it is not of this version is left out."""
    model = STATUS_MODELS[kind]
    try:
        return model.model_validate(dict(status))
    except ValidationError as error:
        wrong = {str(details["loc"][0]) for details in error.errors() if details["loc"]}
        return model.model_validate(
            {key: value for key, value in status.items() if key not in wrong}
        )


def write_status(status: CommonStatus) -> dict[str, Any]:
    """Plain data without nulls, and without what is empty."""
    data = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {key: value for key, value in data.items() if value not in ([], {}, "")}


def fit(status: dict[str, Any]) -> dict[str, Any]:
    """`status` within STATUS_LIMIT_BYTES: a shorter Pareto list first, then shorter messages."""
    limit = MESSAGE_LIMIT
    while len(json.dumps(status, ensure_ascii=False).encode()) > STATUS_LIMIT_BYTES:
        front = status.get("paretoFront", [])
        if len(front) > 1:
            status = {**status, "paretoFront": front[: len(front) // 2]}
        elif limit > 20:
            limit //= 2
            status = {
                **status,
                "conditions": [
                    {**condition, "message": cut(condition.get("message", ""), limit)}
                    for condition in status.get("conditions", [])
                ],
            }
        else:
            return status
    return status
