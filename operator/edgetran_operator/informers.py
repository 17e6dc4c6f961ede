"""Lists and watches of everything but the three kinds: children, nodes, and events about Jobs.

kopf does not tell which objects went away while a watch was broken. For the three kinds that shows
at the next write; for what they are decided by it must be known, so here each list replaces all
that was known before.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from edgetran_operator.client import UNREACHABLE, ApiError, Client

CHUNK: Final = 500
FIRST_BACKOFF_SECONDS: Final = 0.5
LAST_BACKOFF_SECONDS: Final = 30.0
UNSERVED_SECONDS: Final = 60.0
GONE: Final = 410

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
        served: takes in whether the API exists; None where it always does.
    """

    name: str
    path: str
    query: Mapping[str, str]
    changed: Callable[[Mapping[str, Any]], None]
    gone: Callable[[Mapping[str, Any]], None]
    known: Callable[[], Iterable[tuple[str, str]]]
    forget: Callable[[str, str], None]
    served: Callable[[bool], None] | None = None


class Informer:
    """Keeps the cache like one collection.

    Attributes:
        source: what is watched.
        synced: set once the collection was listed.
        heard: when the API server last said something, by the monotonic clock.
    """

    def __init__(self, client: Client, source: Source, *, watch_seconds: int) -> None:
        self.source = source
        self.synced = asyncio.Event()
        self.heard = time.monotonic()
        self._client = client
        self._watch_seconds = watch_seconds
        self._backoff = FIRST_BACKOFF_SECONDS

    async def run(self) -> None:
        """List and watch for ever."""
        version: str | None = None
        while True:
            try:
                if version is None:
                    version = await self._list()
                version = await self._watch(version)
                self._backoff = FIRST_BACKOFF_SECONDS
            except ApiError as error:
                if error.status == GONE:
                    version = None
                elif error.status == 404 and self.source.served is not None:
                    version = None
                    self.source.served(False)
                    await asyncio.sleep(UNSERVED_SECONDS)
                else:
                    version = None
                    await self._pause(str(error))
            except (*UNREACHABLE, ValueError) as error:
                await self._pause(str(error) or type(error).__name__)

    async def _pause(self, said: str) -> None:
        _log.warning("the watch of %s: %s", self.source.name, said)
        await asyncio.sleep(self._backoff)
        self._backoff = min(LAST_BACKOFF_SECONDS, 2 * self._backoff)

    async def _list(self) -> str:
        """Take all objects in and forget all others; the list's resourceVersion."""
        found: set[tuple[str, str]] = set()
        query = {**self.source.query, "limit": str(CHUNK)}
        while True:
            answer = await self._client.get(self.source.path, query)
            for body in answer["items"]:
                metadata = body["metadata"]
                found.add((metadata.get("namespace", ""), metadata["name"]))
                self.source.changed(body)
                await asyncio.sleep(0)  # a page has hundreds
            self.heard = time.monotonic()
            following = answer["metadata"].get("continue")
            if not following:
                break
            query["continue"] = following
        for place in set(self.source.known()) - found:
            self.source.forget(*place)
        if self.source.served is not None:
            self.source.served(True)
        self.synced.set()
        version: str = answer["metadata"]["resourceVersion"]
        return version

    async def _watch(self, version: str) -> str | None:
        """Take changes in until the server ends the watch; where to go on, None for a new list."""
        query = {
            **self.source.query,
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(self._watch_seconds),
        }
        events = self._client.watch(
            self.source.path, query, silence_seconds=self._watch_seconds + 30
        )
        async for event in events:
            self.heard = time.monotonic()
            kind, body = event["type"], event["object"]
            if kind == "ERROR":
                raise ApiError(
                    body.get("code", 500), body.get("reason", ""), body.get("message", "")
                )
            version = body["metadata"]["resourceVersion"]
            if kind == "DELETED":
                self.source.gone(body)
            elif kind != "BOOKMARK":
                self.source.changed(body)
        self.heard = time.monotonic()
        return version
