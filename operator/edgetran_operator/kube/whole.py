"""Reads objects whole whose metadata alone are watched, a few at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from edgetran_operator.kube.border import UnreadableError, refuse_if_marked
from edgetran_operator.kube.client import UNREACHABLE, ApiError, Client
from edgetran_operator.kube.workqueue import WorkQueue

READERS: Final = 8
"""How many are read at a time: as many are in memory at most."""

_NOT_FOUND: Final = 404
_FINAL: Final = (400, _NOT_FOUND, 406, 410, 422)
"""What the API server says of one object, however often it is asked."""

Place = tuple[str, str]
_log = logging.getLogger(__name__)


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
