"""Keeps the verdicts on boards up to date as ProfilingJobs, workers, pods and nodes change."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

from edgetran.api import ConditionType, Reason
from edgetran_operator.kube.cache import Cache, Entry, Family, Key
from edgetran_operator.kube.views import moment
from edgetran_operator.scheduling.boards import Claim, Selector, Toleration, assign
from edgetran_operator.settings import Settings
from edgetran_operator.snapshot import BoardVerdict, PodView, WorkerView


class _BoardWish(NamedTuple):
    """What one version of a job's spec says about its board."""

    uid: str
    generation: int
    selector: Selector
    tolerations: tuple[Toleration, ...]
    suspended: bool


class BoardBook:
    """Who has which board, and who waits for one.

    Verdicts are worked out anew only after something changed that they depend on.
    """

    def __init__(self, cache: Cache, settings: Settings) -> None:
        self._cache = cache
        self._claims: dict[Key, Claim] = {}
        self._wishes: dict[Key, _BoardWish] = {}
        self._verdicts: dict[str, BoardVerdict] = {}
        self._patched = tuple(
            _tolerations(settings.worker_pod_patch.get("spec", {}).get("tolerations"))
        )
        self.stale = True

    def note(self, keys: Iterable[Key]) -> None:
        """Something about these resources changed."""
        for key in keys:
            if key.kind != "ProfilingJob":
                continue
            if key not in self._cache.resources:
                self._wishes.pop(key, None)
            claim = self._claim(key)
            if claim == self._claims.get(key):
                continue
            self.stale = True
            before = self._claims.pop(key, None)
            if claim is not None:
                self._claims[key] = claim
                if before is not None and before.created != claim.created:
                    self._verdicts.pop(claim.key, None)  # it gave its board back

    def refresh(self) -> list[Key]:
        """Work the verdicts out; the resources whose verdict is another one than before."""
        before = self._verdicts
        # A board that was promised stays so while the job's status is being written.
        claims = (
            claim
            if claim.node or (promise := before.get(claim.key)) is None or promise.node is None
            else replace(claim, node=promise.node)
            for claim in self._claims.values()
        )
        self._verdicts = assign(claims, self._cache.nodes)
        self.stale = False
        return [
            key
            for key, claim in self._claims.items()
            if before.get(claim.key) != self._verdicts.get(claim.key)
        ]

    def verdict(self, key: Key) -> BoardVerdict | None:
        """The verdict for a ProfilingJob; None for one that needs no board of its own."""
        claim = self._claims.get(key)
        return self._verdicts.get(claim.key, BoardVerdict()) if claim is not None else None

    def knows(self, key: Key) -> bool:
        """Whether the verdict takes the job as it is into account."""
        claim = self._claims.get(key)
        return claim is None or not claim.waits or claim.key in self._verdicts

    def waiting(self) -> dict[str, int]:
        """How many jobs wait for a board, by the board's name in their spec."""
        found: dict[str, int] = {}
        for key, claim in list(self._claims.items()):
            verdict = self._verdicts.get(claim.key)
            entry = self._cache.resources.get(key)
            if claim.waits and verdict is not None and verdict.node is None and entry is not None:
                name = _device_of(entry)
                found[name] = found.get(name, 0) + 1
        return found

    def _claim(self, key: Key) -> Claim | None:
        entry = self._cache.resources.get(key)
        if entry is None:
            return None
        wish = self._wish_of(key, entry)
        if not wish.selector:
            return None
        family = self._cache.families.get(key)
        node = str(entry.status.get("node") or "")
        occupied = bool(node) and _occupies(family, node)
        ended = entry.status.get("completionTime") is not None
        if ended and not occupied:
            return None
        return Claim(
            key=f"{key.namespace}/{key.name}",
            created=max(entry.created, moment(entry.status.get("boardReturned"))),
            selector=wish.selector,
            tolerations=wish.tolerations,
            node=node,
            has_worker=occupied,
            waits=not (ended or wish.suspended or entry.deleting or _held_up(entry.status)),
        )

    def _wish_of(self, key: Key, entry: Entry) -> _BoardWish:
        known = self._wishes.get(key)
        if known is not None and (known.uid, known.generation) == (entry.uid, entry.generation):
            return known
        if entry.unreadable and known is not None and known.uid == entry.uid:
            return known  # what cannot be read takes no board from its worker
        spec = json.loads(entry.spec)
        spec = spec if isinstance(spec, Mapping) else {}
        device = spec.get("device")
        labels: Any = device.get("nodeSelector") if isinstance(device, Mapping) else None
        selector: Selector = ()
        tolerations: tuple[Toleration, ...] = ()
        if isinstance(device, Mapping) and _is_selector(labels):
            selector = tuple(sorted(labels.items()))
            template = spec.get("podTemplate")
            pod = template.get("spec") if isinstance(template, Mapping) else None
            more = pod.get("tolerations") if isinstance(pod, Mapping) else None
            tolerations = (
                *_tolerations(device.get("tolerations")),
                *_tolerations(more),
                *self._patched,
            )
        suspended = spec.get("suspend") is True
        wish = _BoardWish(entry.uid, entry.generation, selector, tolerations, suspended)
        self._wishes[key] = wish
        return wish


def _device_of(entry: Entry) -> str:
    spec = json.loads(entry.spec)
    device = spec.get("device") if isinstance(spec, Mapping) else None
    return str(device.get("name")) if isinstance(device, Mapping) else ""


def _is_selector(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(each, str) for pair in value.items() for each in pair)
    )


def _tolerations(value: Any) -> Iterator[Toleration]:
    for each in value if isinstance(value, list) else []:
        if isinstance(each, Mapping):
            key, operator, wanted, effect = (
                str(each.get(field) or "") for field in ("key", "operator", "value", "effect")
            )
            yield key, operator or "Equal", wanted, effect


def _occupies(family: Family | None, node: str) -> bool:
    """Whether a worker of the resource runs or may run on the node."""
    if family is None:
        return False
    pods = any(pod.live and pod.node in ("", node) for pod in family.views(PodView))
    return pods or any(not worker.ended for worker in family.views(WorkerView))


_BOARDLESS: Final = frozenset(
    {
        Reason.SPEC_INVALID,
        Reason.SPEC_COPY_REFUSED,
        Reason.FOREIGN_CHILD,
        Reason.DEPENDENCY_MISSING,
        Reason.DEPENDENCY_NOT_READY,
        Reason.DEPENDENCY_FAILED,
    }
)


def _held_up(status: Mapping[str, Any]) -> bool:
    """Whether the job cannot measure yet, so that another one may have the board."""
    conditions = status.get("conditions") or ()
    return any(
        each.get("type") == ConditionType.SUCCEEDED and each.get("reason") in _BOARDLESS
        for each in conditions
    )
