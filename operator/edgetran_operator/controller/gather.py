"""From the cache to the snapshot of one resource."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from edgetran.api import KINDS, Resource, SpecError, parse_resource, spec_hash
from edgetran.api.names import SPEC
from edgetran.api.wire import RESOURCE_FILE
from edgetran_operator.kube.border import UnreadableError, read_json
from edgetran_operator.kube.cache import Cache, Entry, Family, Key
from edgetran_operator.reconcile.spec import sentences, status_tells_of_work, with_storage
from edgetran_operator.resources.pod import claims_of
from edgetran_operator.scheduling.board_book import BoardBook
from edgetran_operator.settings import Settings
from edgetran_operator.snapshot import (
    Dependency,
    DeploymentView,
    PartView,
    PodView,
    Refusal,
    Snapshot,
    VerdictsView,
    WorkerView,
    WorkFiles,
)

_REMEMBERED: Final = 500
"""Parsed specs that are kept: parsing is most of what a reconciliation costs."""


class Gatherer:
    """Builds snapshots.

    Attributes:
        rayjobs_served: whether the RayJob API is there; None while nobody asked.
        namespaces_in_affinity: whether the server knows namespaceSelector in pod affinity.
        pod_failure_policy: whether the server knows which failures of a Job's pods are none.
    """

    def __init__(self, cache: Cache, boards: BoardBook, settings: Settings) -> None:
        self._cache = cache
        self._boards = boards
        self._settings = settings
        self._parsed: OrderedDict[tuple[Key, bytes | str], Resource | str] = OrderedDict()
        self.rayjobs_served: bool | None = None
        self.namespaces_in_affinity = True
        self.pod_failure_policy = False

    def snapshot(
        self, key: Key, refusals: Mapping[str, Refusal], now: datetime | None = None
    ) -> Snapshot | None:
        """The snapshot of a resource; None where there is none."""
        entry = self._cache.resources.get(key)
        if entry is None:
            return None
        family = self._cache.families.get(key, Family())
        own = {
            place: record
            for place, record in family.children.items()
            if place[0] == "Pod" or record.owner_uid == entry.uid
        }
        left_over = next(
            (f"{kind}/{name}" for kind, name in family.children if (kind, name) not in own), ""
        )
        foreign = next(
            (
                f"{kind}/{name}"
                for (kind, name), record in family.children.items()
                if kind != "Pod" and not record.owner_uid
            ),
            "",
        )
        views = [record.view for record in own.values()]
        worker = next((view for view in views if isinstance(view, WorkerView)), None)
        work = next((view for view in views if isinstance(view, WorkFiles)), None)
        newest = self._newest(key, entry)
        dependencies = self._dependencies(entry)
        begun = _begun(entry, views, dependencies)
        first, copy_problem = self._first(key, entry, work, begun=begun)
        copy_problem = copy_problem or _changed_beside(key, work, worker)
        return Snapshot(
            now=(now or datetime.now(UTC)).replace(microsecond=0),
            settings=self._settings,
            kind=key.kind,
            name=key.name,
            namespace=key.namespace,
            uid=entry.uid,
            generation=entry.generation,
            deleting=entry.deleting,
            resource=newest if isinstance(newest, Resource) else None,
            problem=newest if isinstance(newest, str) else None,
            status=entry.status,
            first=first,
            work=work,
            copy_problem=copy_problem,
            begun=begun,
            worker=worker,
            pods=tuple(view for view in views if isinstance(view, PodView)),
            parts=_parts(views),
            deployment=next((v for v in views if isinstance(v, DeploymentView)), None),
            verdicts=next((v for v in views if isinstance(v, VerdictsView)), VerdictsView()),
            board=self._boards.verdict(key),
            dependencies=dependencies,
            left_over=left_over,
            foreign=foreign,
            **self._troubles(key, views, first or newest),
            no_pod=self._cache.no_pod(worker, key) if worker is not None else "",
            refusals=refusals,
            rayjobs_served=self.rayjobs_served,
            namespaces_in_affinity=self.namespaces_in_affinity,
            pod_failure_policy=self.pod_failure_policy,
        )

    def _troubles(self, key: Key, views: list[Any], resource: Any) -> dict[str, tuple[str, str]]:
        """What events say of the newest pod and of the claims of storage and data."""
        pods = [view for view in views if isinstance(view, PodView) and view.phase == "Pending"]
        if not pods:
            return {}
        of = self._cache.troubles.of
        pod = max(pods, key=lambda each: (each.created, each.name))
        claims: Iterable[str] = claims_of(resource) if isinstance(resource, Resource) else ()
        told = (of("PersistentVolumeClaim", key.namespace, claim) for claim in claims)
        return {
            "pod_trouble": of("Pod", key.namespace, pod.name),
            "claim_trouble": next((each for each in told if each[1]), ("", "")),
        }

    def _newest(self, key: Key, entry: Entry) -> Resource | str:
        if entry.unreadable:
            return entry.unreadable
        return self._remember(key, entry.spec, lambda: entry.document(key))

    def _first(
        self, key: Key, entry: Entry, work: WorkFiles | None, *, begun: bool = True
    ) -> tuple[Resource | None, str]:
        """The spec that work began with, and why it is not known though work may have begun.

        Whoever may write ConfigMaps may write this one: it is believed where it has the hash that
        the status has, and before work began where it says what the resource itself says.
        """
        newest = self._newest(key, entry)
        own = spec_hash(newest) if isinstance(newest, Resource) else None
        fixed = entry.status.get("specHash") or own
        name = f"ConfigMap/{key.name}-{KINDS[key.kind].SHORT_NAME}-{SPEC}"
        if work is None:
            if own == fixed or not entry.status.get("results"):
                return None, ""
            return None, (
                f"{name} was deleted, and the spec is not the one that the work began with; "
                "change the spec back, or delete the resource and create it again"
            )
        first = self._read(key, work)
        if first is not None and spec_hash(first) == fixed:
            return first, ""
        if first is not None and not begun and isinstance(newest, Resource):
            own = spec_hash(with_storage(newest, self._settings, first))
            if spec_hash(first) == own:
                return first, ""  # it was written anew, and the status was not yet
        return None, (
            f"{name} is not what the operator made of the spec that the work began with, so it is "
            "ignored; delete it, and the operator recreates it from the spec"
        )

    def _read(self, key: Key, work: WorkFiles) -> Resource | None:
        """The resource in a spec ConfigMap; None where it is none, or another one."""
        text = work.files.get(RESOURCE_FILE)
        if text is None:
            return None
        try:
            document = read_json(text)
        except UnreadableError:
            return None
        found = self._remember(key, text, lambda: document)
        if not isinstance(found, Resource) or (found.kind, found.name) != (key.kind, key.name):
            return None
        return found if found.metadata.namespace in (None, key.namespace) else None

    def _remember(self, key: Key, text: bytes | str, document: Any) -> Resource | str:
        place = (key, text)
        known = self._parsed.get(place)
        if known is None:
            known = _parse(document())
            self._parsed[place] = known
            if len(self._parsed) > _REMEMBERED:
                self._parsed.popitem(last=False)
        else:
            self._parsed.move_to_end(place)
        return known

    def _dependencies(self, entry: Entry) -> dict[tuple[str, str], Dependency]:
        """What the resource refers to, and the ProfilingJobs that those refer to in turn."""
        wanted = list(entry.refers)
        for each in wanted:  # which grows meanwhile
            other = self._cache.resources.get(each)
            if other is not None:
                new = (job for job in other.refers if job.kind == "ProfilingJob")
                wanted += (job for job in new if job not in wanted)
        found = {}
        for each in wanted:
            other = self._cache.resources.get(each)
            if other is None or other.deleting:
                continue
            family = self._cache.families.get(each, Family())
            views = [
                record.view for record in family.children.values() if record.owner_uid == other.uid
            ]
            work = next((view for view in views if isinstance(view, WorkFiles)), None)
            parsed = self._newest(each, other)
            newest = parsed if isinstance(parsed, Resource) else None
            found[each.kind, each.name] = Dependency(
                resource=self._first(each, other, work)[0] or newest,
                newest=newest,
                uid=other.uid,
                status=other.status,
                parts=_parts(views),
                owner=other.owner,
            )
        return found


def _changed_beside(key: Key, work: WorkFiles | None, worker: WorkerView | None) -> str:
    """That the files beside the spec are not those that the worker was made for; empty otherwise.

    A worker compares them itself before it begins.
    """
    if work is None or worker is None or not work.beside_spec:  # not read yet
        return ""
    if worker.work_hash in ("", work.beside_spec):
        return ""
    name = f"ConfigMap/{key.name}-{KINDS[key.kind].SHORT_NAME}-{SPEC}"
    return (
        f"{name} was changed: its files beside {RESOURCE_FILE} are not those that "
        f"{worker.kind}/{worker.name} was made for; delete it, and the operator recreates it"
    )


def _begun(
    entry: Entry, views: list[Any], dependencies: Mapping[tuple[str, str], Dependency]
) -> bool:
    """Whether a worker of a resource, or of one that was made for it, ever ran."""
    own = [
        entry.status,
        *(each.status for each in dependencies.values() if each.owner == entry.uid),
    ]
    return (
        any(status_tells_of_work(status) for status in own)
        or any(view.ran for view in views if isinstance(view, WorkerView | PodView))
        or any(view.used for view in views if isinstance(view, PartView))
    )


def _parts(views: list[Any]) -> tuple[PartView, ...]:
    parts = (view for view in views if isinstance(view, PartView))
    return tuple(sorted(parts, key=lambda part: part.number))


def _parse(document: Any) -> Resource | str:
    """The resource, or all its problems in one line."""
    try:
        return parse_resource(document)
    except SpecError as error:
        return sentences(error)
