"""Lists and watches: the three kinds, their children, nodes, and events.

Each list replaces all that was known before, so that nothing stays that went away while a watch was
broken. Of ConfigMaps the metadata are watched, and those that are wanted are read whole, a few at a
time. Why kopf's watches are not used: docs/adr/0002-one-way-to-watch.md.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from edgetran_operator.kube.border import UnreadableError, refuse_if_marked, unreadable
from edgetran_operator.kube.client import UNREACHABLE, ApiError, Client
from edgetran_operator.kube.pauses import HEALTHY_SECONDS, Pauses
from edgetran_operator.kube.skipped import place_of
from edgetran_operator.kube.workqueue import WorkQueue

UNSERVED_SECONDS: Final = 60.0
READERS: Final = 8
"""Objects that are read whole at a time: as many are in memory at most."""

_NOT_FOUND: Final = 404
_FINAL: Final = (400, _NOT_FOUND, 406, 410, 422)
"""What the API server says of one object, however often it is asked."""

Place = tuple[str, str]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """One collection to be watched.

    Attributes:
        name: what logs and metrics call it.
        path: the collection's path.
        query: selectors.
        changed: takes an object in that is new or changed.
        gone: takes in that an object is gone.
        known: names (namespace, name) of the objects that are known now.
        forget: takes in that the object of that (namespace, name) is gone.
        served: takes in whether the API exists; None where it does, or soon will.
        skipped: takes in that an object could not be read, and why.
        whole_kind: the kind whose objects are watched by their metadata alone; empty where they
            come whole.
        wanted: whether an object whose metadata came is to be read whole.
    """

    name: str
    path: str
    query: Mapping[str, str]
    changed: Callable[[Mapping[str, Any]], None]
    gone: Callable[[Mapping[str, Any]], None]
    known: Callable[[], Iterable[tuple[str, str]]]
    forget: Callable[[str, str], None]
    served: Callable[[bool], None] | None = None
    skipped: Callable[[Mapping[str, Any], Exception], None] | None = None
    whole_kind: str = ""
    wanted: Callable[[Mapping[str, Any]], bool] | None = None


class Informer:
    """Keeps the cache like one collection.

    An object that cannot be read is passed over, and what was known of it is forgotten: nothing is
    decided by a state that may be long past.

    Attributes:
        source: what is watched.
        synced: set once the collection was listed, and all was read that is wanted whole.
        heard: when the API server last said something, by the monotonic clock; infinite before it
            is asked.
        whole: reads single objects whole.
    """

    def __init__(self, client: Client, source: Source, *, watch_seconds: int) -> None:
        self.source = source
        self.synced = asyncio.Event()
        self.heard = math.inf
        self.whole = Whole(client, source.whole_kind, self._take, self._missing)
        self._client = client
        self._watch_seconds = watch_seconds
        self._pauses = Pauses()

    async def run(self) -> None:
        """List and watch for ever."""
        self.heard = time.monotonic()
        if not self.source.whole_kind:
            await self._run()
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self.whole.run())
            group.create_task(self._run())

    async def _run(self) -> None:
        version: str | None = None
        while True:
            started = time.monotonic()
            try:
                if version is None:
                    version = await self._list()
                    started = time.monotonic()
                version = await self._watch(version)
                said = "it ended at once"
                wait = 0.0
            except ApiError as error:
                if error.status == 404:  # of an API that is not there, nothing exists
                    self.synced.set()
                if error.status == 404 and self.source.served is not None:
                    version = None
                    self.source.served(False)
                    await asyncio.sleep(UNSERVED_SECONDS)
                    continue
                if not error.passes or self._pauses.longest:
                    version = None
                said, wait = str(error), error.retry_after
            except (*UNREACHABLE, ValueError) as error:
                said, wait = str(error) or type(error).__name__, 0.0
            await self._pause(started, said, wait)

    async def _pause(self, started: float, said: str, wait: float) -> None:
        """Wait, unless the watch was sound and the server asks for no pause."""
        if time.monotonic() - started >= HEALTHY_SECONDS:
            self._pauses.reset()
            if not wait:
                return
        seconds = self._pauses.next(wait)
        _log.warning("the watch of %s: %s; resuming in %.1f s", self.source.name, said, seconds)
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            await asyncio.sleep(min(left, HEALTHY_SECONDS))
            self.heard = time.monotonic()  # it is silent because it was asked to be

    async def _list(self) -> str:
        """Take all objects in and forget all others; the list's resourceVersion."""
        found: set[tuple[str, str]] = set()
        source = self.source
        listing = self._client.list(
            source.path, source.query, metadata_only=bool(source.whole_kind)
        )
        async for body in listing:
            found.add(place_of(body))
            self._news(body)
            self.heard = time.monotonic()
            await asyncio.sleep(0)  # a page has hundreds
        for error in listing.page.unreadable:
            self._skip({}, error)
        self.heard = time.monotonic()
        for place in set(source.known()) - found:
            self.whole.forget(place)
            source.forget(*place)
        if source.served is not None:
            source.served(True)
        await self.whole.settled()
        self.synced.set()
        return listing.page.version

    async def _watch(self, version: str) -> str | None:
        """Take changes in until the server ends the watch; where to go on, None for a new list."""
        query = {
            **self.source.query,
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(self._watch_seconds),
        }
        events = self._client.watch(
            self.source.path,
            query,
            silence_seconds=self._watch_seconds + 30,
            metadata_only=bool(self.source.whole_kind),
        )
        async for event in events:
            self.heard = time.monotonic()
            if isinstance(event, UnreadableError):
                self._skip({}, event)
                continue
            kind, body = event.get("type"), event["object"]
            if kind == "ERROR":
                raise _told(body)
            version = _version(body) or version
            if kind == "DELETED":
                self._gone(body)
            elif kind != "BOOKMARK":
                self._news(body)
        self.heard = time.monotonic()
        return version

    def _news(self, body: Mapping[str, Any]) -> None:
        """An object came; where its metadata came alone, the rest is read if it is wanted."""
        if self.source.whole_kind and "data" not in body and "binaryData" not in body:
            try:
                refuse_if_marked(body)
                wanted = self.source.wanted is not None and self.source.wanted(body)
            except Exception as error:  # noqa: BLE001 - one object must not stop the others
                self._skip(body, error)
                return
            if wanted:
                self.whole.want(place_of(body))
                return
        self._take(body)

    def _take(self, body: Mapping[str, Any]) -> None:
        try:
            self.source.changed(body)
        except Exception as error:  # noqa: BLE001 - one object must not stop the others
            self._skip(body, error)

    def _gone(self, body: Mapping[str, Any]) -> None:
        self.whole.forget(place_of(body))
        try:
            self.source.gone(body)
        except Exception as error:  # noqa: BLE001 - one object must not stop the others
            self._skip(body, error)

    def _missing(self, place: tuple[str, str], error: Exception | None) -> None:
        """An object that was to be read whole is gone, or cannot be read."""
        if error is None:
            self.source.forget(*place)
        else:
            self._skip({"metadata": dict(zip(("namespace", "name"), place, strict=True))}, error)

    def _skip(self, body: Mapping[str, Any], error: Exception) -> None:
        place = place_of(body)
        try:
            if place[1]:
                self.source.forget(*place)
        finally:
            if self.source.skipped is not None:
                self.source.skipped(body, error)
            else:
                _log.warning(
                    "of %s, %s is passed over: it %s",
                    self.source.name,
                    "/".join(place),
                    unreadable(error),
                )


class Whole:
    """Reads the objects that are wanted, each again if it is wanted again meanwhile.

    Args:
        client: the connection to the API server.
        kind: their kind.
        take: takes an object in.
        missing: takes in that an object is gone, or why it cannot be read.
    """

    def __init__(
        self,
        client: Client,
        kind: str,
        take: Callable[[Mapping[str, Any]], None],
        missing: Callable[[Place, Exception | None], None],
    ) -> None:
        self._client, self._kind = client, kind
        self._take, self._missing = take, missing
        self._queue: WorkQueue[Place] = WorkQueue()
        self._wanted: dict[Place, int] = {}
        self._settled = asyncio.Event()
        self._settled.set()

    def want(self, place: Place) -> None:
        """Read the object of that namespace and name."""
        self._wanted[place] = self._wanted.get(place, 0) + 1
        self._settled.clear()
        self._queue.add(place)

    def forget(self, place: Place) -> None:
        """The object is gone: an answer that is under way counts no more."""
        self._wanted.pop(place, None)
        self._look()

    async def settled(self) -> None:
        """Wait until all is read that was wanted."""
        await self._settled.wait()

    async def run(self) -> None:
        """Read for ever."""
        async with asyncio.TaskGroup() as group:
            for _ in range(READERS):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            place = await self._queue.get()
            try:
                await self._read(place)
            finally:
                self._queue.done(place)

    async def _read(self, place: Place) -> None:
        turn = self._wanted.get(place)
        if turn is None:
            return
        body: Mapping[str, Any] = {}
        problem: Exception | None = None
        try:
            body = await self._client.read(self._kind, *place)
            refuse_if_marked(body)
        except UnreadableError as error:
            problem = error
        except (ApiError, *UNREACHABLE) as error:
            if isinstance(error, ApiError) and error.status in _FINAL:
                problem = error if error.status != _NOT_FOUND else None
            else:
                wait = error.retry_after if isinstance(error, ApiError) else 0.0
                seconds = self._queue.retry(place, wait)
                _log.warning(
                    "%s %s: %s; resuming in %.1f s", self._kind, "/".join(place), error, seconds
                )
                return
        self._queue.succeeded(place)
        if place not in self._wanted:
            return  # it went away meanwhile
        if self._wanted[place] == turn:
            del self._wanted[place]
        if body and problem is None:
            self._take(body)
        else:
            self._missing(place, problem)
        self._look()

    def _look(self) -> None:
        if not self._wanted:
            self._settled.set()


def _told(body: Mapping[str, Any]) -> ApiError:
    """What the server says within a watch."""
    code = body.get("code")
    details = body.get("details")
    wait = details.get("retryAfterSeconds") if isinstance(details, Mapping) else None
    return ApiError(
        code if isinstance(code, int) else 500,
        str(body.get("reason", "")),
        str(body.get("message", "")),
        min(float(wait), 300.0) if isinstance(wait, int) and wait > 0 else 0.0,
    )


def _version(body: Mapping[str, Any]) -> str:
    metadata = body.get("metadata")
    return str(metadata.get("resourceVersion") or "") if isinstance(metadata, Mapping) else ""
