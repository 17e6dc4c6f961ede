"""Carries a plan out: the status first, then what follows from it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from edgetran.api import API_VERSION, KINDS, Reason
from edgetran.api.wire import KIND_LABEL, NAME_LABEL
from edgetran_operator.kube.border import UnreadableError
from edgetran_operator.kube.cache import CHILD_KINDS, Cache, Key
from edgetran_operator.kube.client import UNREACHABLE, ApiError, Client
from edgetran_operator.kube.views import controller_uid
from edgetran_operator.plan import Change, Child, Deletion, Event, Plan
from edgetran_operator.snapshot import Refusal, Snapshot

COMPONENT: Final = "edgetran-operator"
_FORBIDDEN: Final = 403
_INVALID: Final = (400, 422)
_UNREADABLE: Final = ("unable to convert", "failed to create typed", "not declared in schema")
"""What server-side apply says, with status 500, of a value of the wrong type."""
_log = logging.getLogger(__name__)


class OutdatedError(Exception):
    """The resource changed since it was seen; the watch says how."""


class Carrier:
    """Carries plans out, and puts every answer into the cache at once.

    Attributes:
        refusals: children that the API server refused, by resource and `KIND/NAME`.
    """

    def __init__(self, client: Client, cache: Cache) -> None:
        self._client = client
        self._cache = cache
        self.refusals: dict[Key, dict[str, Refusal]] = {}

    async def apply(self, key: Key, seen: Snapshot, plan: Plan) -> set[Key]:
        """Do what was decided; the resources that the answers may matter to.

        Raises:
            OutdatedError: the decision was about an earlier state.
            ApiError: the API server refused something for another reason than the spec.
        """
        touched: set[Key] = set()
        if plan.status:
            touched |= await self._store(key, seen, plan.status)
        refused = await self._apply(key, seen, plan, touched)
        for change in plan.change:
            touched |= await self._change(key, change)
        for deletion in plan.delete:
            touched |= await self._delete(key, deletion)
        for event in plan.events:
            await self._tell(key, seen, event)
        if refused:
            touched.add(key)
        return touched

    async def _store(self, key: Key, seen: Snapshot, status: Any) -> set[Key]:
        entry = self._cache.resources.get(key)
        if entry is None or entry.uid != seen.uid:
            raise OutdatedError(f"{key.kind} {key.namespace}/{key.name} is gone")
        patch = {"metadata": {"resourceVersion": entry.version}, "status": status}
        try:
            body = await self._client.merge(key.kind, key.namespace, key.name, patch, "status")
        except ApiError as error:
            if error.status == 409:
                raise OutdatedError(error.message) from None
            if error.status == 404:
                self.refusals.pop(key, None)
                self._cache.forget(key, seen.uid)
                raise OutdatedError(error.message) from None
            raise
        return self._cache.resource(body)

    async def _apply(self, key: Key, seen: Snapshot, plan: Plan, touched: set[Key]) -> bool:
        """Apply children in order, up to one that the API server refuses."""
        known = self.refusals.get(key, {})
        for child in plan.apply:
            refusal = await self._foreign(key, seen, child)
            try:
                if refusal is None:
                    body = await self._client.apply(child.body, key.namespace)
            except ApiError as error:
                refusal = _refusal(child, seen.generation, error)
                if refusal is None:
                    raise
            if refusal is not None:
                self.refusals[key] = {child.label: refusal}
                _log.warning("%s is refused: %s", child.label, refusal.message, extra=key.about())
                return known.get(child.label) != refusal
            touched |= self._take_in(child.kind, body)
        if plan.apply:
            self.refusals.pop(key, None)
        return False

    async def _foreign(self, key: Key, seen: Snapshot, child: Child) -> Refusal | None:
        """Whether a claim is there that nobody made for a run, and would be deleted with it."""
        if child.kind != "PersistentVolumeClaim":
            return None
        try:  # a patch of nothing reads it, which needs no right of its own
            body = await self._client.merge(child.kind, key.namespace, child.name, {})
        except ApiError as error:
            if error.status != 404:
                raise
            return None
        found, wanted = body["metadata"], child.body["metadata"]
        owner = controller_uid(found)
        if "ownerReferences" in wanted:
            if owner:  # another run's: the API server knows only one owner
                return None
        elif owner == seen.uid or (not owner and _same_run(found, wanted)):
            return None  # a claim that is kept: of this run, or of an earlier one of its name
        message = (
            "it exists and is not this resource's own; mount it with spec.storage.claim, or give "
            "the resource another name"
        )
        return Refusal(child.label, seen.generation, Reason.FOREIGN_CHILD, message)

    def _take_in(self, kind: str, body: Any) -> set[Key]:
        """Take an answer in; one that cannot be read is left to the watch, which says so."""
        try:
            if kind in CHILD_KINDS:
                return self._cache.child(kind, body)
            if kind in KINDS:
                return self._cache.resource(body)
        except UnreadableError as error:
            _log.debug("%s in an answer %s", kind, error)
        return set()

    async def _change(self, key: Key, change: Change) -> set[Key]:
        try:
            body = await self._client.merge(change.kind, key.namespace, change.name, change.patch)
        except ApiError as error:
            if error.status != 404:
                raise
            return self._cache.forget_child(change.kind, key.namespace, change.name)
        return self._take_in(change.kind, body)

    async def _delete(self, key: Key, deletion: Deletion) -> set[Key]:
        place = (deletion.kind, key.namespace, deletion.name)
        try:
            await self._client.delete(*place, deletion.uid)
        except ApiError as error:
            if error.status not in (404, 409):
                raise
            if deletion.kind in KINDS:
                return self._cache.forget(Key(*place), deletion.uid)
            return self._cache.forget_child(*place, deletion.uid)
        if deletion.kind not in KINDS:
            self._cache.mark_deleting(*place, deletion.uid)
        return set()

    async def _tell(self, key: Key, seen: Snapshot, event: Event) -> None:
        """Post an event; that one is lost now and then is not worth doing anything again."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{key.name}.", "namespace": key.namespace},
            "involvedObject": {
                "apiVersion": API_VERSION,
                "kind": key.kind,
                "namespace": key.namespace,
                "name": key.name,
                "uid": seen.uid,
            },
            "type": event.type,
            "reason": event.reason,
            "message": event.message,
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        level = logging.WARNING if event.type == "Warning" else logging.INFO
        _log.log(level, "%s: %s", event.reason, event.message, extra=key.about())
        await _forgiving(self._client.create("Event", key.namespace, body), key)


async def _forgiving(call: Awaitable[Any], key: Key) -> None:
    try:
        await call
    except (ApiError, *UNREACHABLE) as error:
        _log.warning("an event was not posted: %s", error, extra=key.about())


def _same_run(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether an object was made for a resource of the same kind and name."""
    labels = found.get("labels", {})
    return all(labels.get(each) == wanted["labels"][each] for each in (KIND_LABEL, NAME_LABEL))


def _refusal(child: Child, generation: int, error: ApiError) -> Refusal | None:
    """What an answer says about the child itself; None where it is to be asked for again soon."""
    message = error.message
    # What belonged to an earlier owner, or to a namespace on its way out, is gone in a moment.
    if "ownerReferences" in message or "being terminated" in message:
        return None
    reason = None
    if error.status == _FORBIDDEN:
        quota = "exceeded quota" in message
        reason = Reason.INSUFFICIENT_QUOTA if quota else Reason.CHILD_FAILED
        message = message.partition(" is forbidden: ")[2] or message
    elif error.status in _INVALID or any(words in message for words in _UNREADABLE):
        reason = Reason.SPEC_INVALID
    return Refusal(child.label, generation, reason, message) if reason is not None else None
