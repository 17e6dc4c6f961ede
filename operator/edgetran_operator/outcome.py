"""What one reconciliation decides: status first, then children, deletions and events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


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
class Outcome:
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
