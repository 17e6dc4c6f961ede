"""What events say of pods whose volumes do not come, and of claims that get none.

The scheduler and the kubelet write into a pod's status that it waits, and why in events alone.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

POD_TROUBLES: Final = ("FailedMount", "FailedAttachVolume")
CLAIM_TROUBLES: Final = ("ProvisioningFailed", "FailedBinding")
TROUBLES: Final = (
    *((reason, "Pod") for reason in POD_TROUBLES),
    *((reason, "PersistentVolumeClaim") for reason in CLAIM_TROUBLES),
)
"""Reasons of events, and the kind that they are about."""
SELECTORS: Final = tuple(f"reason={reason},involvedObject.kind={kind}" for reason, kind in TROUBLES)
"""Field selectors of the events, one each: the API server knows no `or` in them."""
EVENTS_KEPT: Final = 4096
"""Most events in all; beyond, the namespace with the most of them loses its oldest."""
NAMESPACE_EVENTS_KEPT: Final = 512
"""Most events of one namespace: a flood there hides nothing of others."""
_CHARACTERS: Final = 600
_TIMED_OUT: Final = "timed out waiting for the condition"
"""How the kubelet's summary ends that it writes after the event with the cause."""

Place = tuple[str, str, str]
"""Kind, namespace and name of an object."""


class Troubles:
    """The newest events about objects that do not start."""

    def __init__(self) -> None:
        self._events: dict[str, OrderedDict[str, tuple[Place, str, str]]] = {}
        self._by_place: dict[Place, dict[str, tuple[str, str]]] = {}
        self._count = 0

    def take_in(self, body: Mapping[str, Any]) -> None:
        """Take in an event; one about another namespace than its own is anybody's word."""
        about, metadata = body.get("involvedObject") or {}, body["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        self.forget(namespace, name)
        reason = str(body.get("reason"))
        if about.get("namespace") != namespace or (reason, about.get("kind")) not in TROUBLES:
            return
        place = (str(about.get("kind")), namespace, str(about.get("name")))
        message = " ".join(str(body.get("message") or "").split())[:_CHARACTERS]
        kept = self._events.setdefault(namespace, OrderedDict())
        kept[name] = (place, reason, message)
        self._count += 1
        self._by_place.setdefault(place, {})[name] = (reason, message)
        if len(kept) > NAMESPACE_EVENTS_KEPT:
            self.forget(namespace, next(iter(kept)))
        elif self._count > EVENTS_KEPT:
            fullest = max(self._events, key=lambda each: len(self._events[each]))
            self.forget(fullest, next(iter(self._events[fullest])))

    def forget(self, namespace: str, name: str) -> None:
        """An event is gone."""
        kept = self._events.get(namespace, OrderedDict())
        known = kept.pop(name, None)
        if known is None:
            return
        self._count -= 1
        if not kept:
            del self._events[namespace]
        events = self._by_place[known[0]]
        del events[name]
        if not events:
            del self._by_place[known[0]]

    def known(self, namespace: str | None, selector: str) -> set[tuple[str, str]]:
        """Namespace and name of events that a selector finds, in one namespace or all."""
        return {
            (space, name)
            for space, kept in self._events.items()
            for name, (about, reason, _) in kept.items()
            if namespace in (None, space)
            and selector == f"reason={reason},involvedObject.kind={about[0]}"
        }

    def of(self, kind: str, namespace: str, name: str) -> tuple[str, str]:
        """Reason and sentence about an object: the newest that names a cause; empty without one."""
        told = list(self._by_place.get((kind, namespace, name), {}).values())
        causes = [each for each in told if _TIMED_OUT not in each[1]] or told
        return causes[-1] if causes else ("", "")


def pod_of(name: str) -> str:
    """The name of the Job that made a pod, by the pod's name."""
    return re.sub(r"-[a-z0-9]{5}$", "", name)
