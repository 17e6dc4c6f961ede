"""The loop: news into the cache, keys into the queue, snapshot → decision → action."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from edgetran.api import KINDS
from edgetran_operator.controller.apply import Carrier, OutdatedError
from edgetran_operator.controller.gather import Gatherer
from edgetran_operator.kube.border import UNREADABLE, UnreadableError
from edgetran_operator.kube.cache import Cache, Key
from edgetran_operator.kube.client import UNREACHABLE, ApiError, Client
from edgetran_operator.kube.skipped import Skipped
from edgetran_operator.kube.workqueue import WorkQueue
from edgetran_operator.metrics.collector import LoopMeasures
from edgetran_operator.reconcile import reconcile
from edgetran_operator.scheduling.board_book import BoardBook
from edgetran_operator.settings import Settings

BOARDS_SECONDS: Final = 0.05
"""Least time between two rounds of giving boards out; many changes are taken together."""
OUTDATED_SECONDS: Final = 1.0
"""Time for the watch to bring what a refused write did not know."""
REFUSED_SECONDS: Final = 30.0
"""Time after which a child is asked for again that a quota or a policy refused."""

_log = logging.getLogger(__name__)


class Controller:
    """Everything that happens between the watches and the API server.

    Attributes:
        client: the connection to the API server.
        cache: what the watches told.
        boards: who measures where.
        queue: resources to be reconciled.
        gatherer: builds snapshots.
        measures: what is counted.
        acts: whether this operator is the one that acts.
        ray_jobs_wanted: set once a resource asks for a RayJob.
        skipped: tells of objects that cannot be read.
        read_whole: asks for ConfigMaps, by namespace and name, whose metadata alone are known.
    """

    def __init__(self, client: Client, settings: Settings, measures: LoopMeasures) -> None:
        self.settings = settings
        self.measures = measures
        self.skipped = Skipped(measures.skipped)
        self.read_whole: Callable[[tuple[str, str]], None] = lambda _: None
        self.cache = Cache()
        self.boards = BoardBook(self.cache, settings)
        self.gatherer = Gatherer(self.cache, self.boards, settings)
        self.queue: WorkQueue[Key] = WorkQueue()
        self.ray_jobs_wanted = asyncio.Event()
        self.client = client
        self.acts = not settings.leader_election.enabled
        self._carrier = Carrier(client, self.cache)
        self._boards_news = asyncio.Event()

    def enqueue(self, keys: Iterable[Key]) -> None:
        """Something that matters to these resources changed."""
        keys = set(keys)
        self.boards.note(keys)
        self._look_at_boards()
        for key in keys:
            if key in self.cache.resources:
                self.queue.add(key)

    def nodes_changed(self) -> None:
        """Something about nodes changed that boards are chosen by."""
        self.boards.stale = True
        self._look_at_boards()

    def rayjobs_served(self, served: bool) -> None:
        """The RayJob API was found, or found to be missing."""
        if self.gatherer.rayjobs_served is not served:
            self.gatherer.rayjobs_served = served
            self.enqueue(key for key, entry in self.cache.resources.items() if entry.wants_ray_job)

    def _look_at_boards(self) -> None:
        if self.boards.stale:
            self._boards_news.set()

    def observe_resource(self, kind: str, body: Mapping[str, Any], *, gone: bool = False) -> None:
        """News of a resource of one of the three kinds; one that is nonsense is passed over."""
        collection = KINDS[kind].PLURAL
        try:
            self._take_resource(kind, body, gone=gone)
        except Exception as error:  # noqa: BLE001 - one resource must not stop the others
            self.skipped.say(collection, body, error)
            return
        if gone or UNREADABLE not in body:
            self.skipped.readable(collection, body)
        else:
            self.skipped.say(collection, body, UnreadableError(*body[UNREADABLE]))

    def _take_resource(self, kind: str, body: Mapping[str, Any], *, gone: bool) -> None:
        metadata = body["metadata"]
        key = Key(kind, metadata["namespace"], metadata["name"])
        if gone:
            self.forget_resource(key, metadata["uid"])
            return
        new = key not in self.cache.resources
        self.enqueue(self.cache.resource({**body, "kind": kind}))
        for place in self.cache.light_children(key) if new else ():
            self.read_whole(place)
        if self.cache.resources[key].wants_ray_job:
            self.ray_jobs_wanted.set()

    def forget_resource(self, key: Key, uid: str | None = None) -> None:
        """A resource is gone: whichever has that name, or the one with that uid."""
        touched = self.cache.forget(key, uid)
        self._carrier.refusals.pop(key, None)
        self.enqueue({key, *touched})

    async def run(self) -> None:
        """Reconcile for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._give_boards_out())
            for _ in range(self.settings.reconcilers):
                group.create_task(self._work())

    async def _give_boards_out(self) -> None:
        while True:
            await self._boards_news.wait()
            self._boards_news.clear()
            started = time.perf_counter()
            try:
                for key in self.boards.refresh():
                    self.queue.add(key)
            except Exception:  # noqa: BLE001 - the next change is another chance
                _log.exception("boards could not be assigned; retrying at the next change")
            taken = time.perf_counter() - started
            await asyncio.sleep(max(BOARDS_SECONDS, 10 * taken))

    async def _work(self) -> None:
        while True:
            key = await self.queue.get()
            await asyncio.sleep(0)  # most keys need no answer of the API server: let others in
            started = time.perf_counter()
            result = "error"
            try:
                result = await self._reconcile(key)
            except OutdatedError as error:
                result = "outdated"
                _log.debug("%s", error, extra=key.about())
                if key in self.cache.resources:
                    self.queue.add_after(key, OUTDATED_SECONDS)
            except (ApiError, *UNREACHABLE) as error:
                wait = error.retry_after if isinstance(error, ApiError) else 0.0
                seconds = self.queue.retry(key, wait)
                said = str(error) or type(error).__name__
                _log.warning("%s; retrying in %g s", said, seconds, extra=key.about())
            except Exception:  # noqa: BLE001 - one resource must not stop the others
                seconds = self.queue.retry(key)
                _log.exception("unexpected; retrying in %g s", seconds, extra=key.about())
            finally:
                self.queue.done(key)
            self.measures.reconciled(key.kind, result, time.perf_counter() - started)

    async def _reconcile(self, key: Key) -> str:
        if not self.boards.knows(key):
            self.boards.stale = True
            self._look_at_boards()  # the verdict puts the key into the queue again
            return "waiting"
        refusals = self._carrier.refusals.get(key, {})
        seen = self.gatherer.snapshot(key, refusals)
        if seen is None:
            return "gone"
        plan = reconcile(seen)
        if plan.requeue_after is not None:
            self.queue.add_after(key, plan.requeue_after + 0.5)
        if plan.at_rest:
            self.queue.succeeded(key)
            return "unchanged"
        touched = await self._carrier.apply(key, seen, plan)
        if not (plan.apply or plan.change or plan.delete):
            self.boards.note({key})
            touched.discard(key)  # only its own status changed, as decided
        self.enqueue(touched)
        self.queue.succeeded(key)
        if any(refusal.passes for refusal in self._carrier.refusals.get(key, {}).values()):
            self.queue.add_after(key, REFUSED_SECONDS)
        return "changed"
