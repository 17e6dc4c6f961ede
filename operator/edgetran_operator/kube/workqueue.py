"""A queue of keys: each at most once, never at two workers at a time, with delays and backoff."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)

FIRST_BACKOFF_SECONDS: Final = 0.5
LAST_BACKOFF_SECONDS: Final = 60.0


class WorkQueue(Generic[Item]):
    """Keys to be worked on.

    A key that is added while it is worked on comes once more afterwards. Of several delays for
    one key the shortest counts.
    """

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock or asyncio.get_running_loop().time
        self._ready: dict[Item, None] = {}
        self._working: set[Item] = set()
        self._again: set[Item] = set()
        self._due: dict[Item, float] = {}
        self._heap: list[tuple[float, int, Item]] = []
        self._order = itertools.count()
        self._failures: dict[Item, int] = {}
        self._news = asyncio.Event()

    def __len__(self) -> int:
        return len(self._ready)

    def add(self, item: Item) -> None:
        """Work on the key as soon as a worker is free."""
        self._due.pop(item, None)
        if item in self._working:
            self._again.add(item)
        elif item not in self._ready:
            self._ready[item] = None
            self._news.set()

    def add_after(self, item: Item, seconds: float) -> None:
        """Work on the key then, unless something asks for it before."""
        due = self._clock() + seconds
        if item in self._ready or self._due.get(item, due + 1) <= due:
            return
        self._due[item] = due
        heapq.heappush(self._heap, (due, next(self._order), item))
        if len(self._heap) > 2 * len(self._due) + 1000:
            self._heap = [entry for entry in self._heap if self._due.get(entry[2]) == entry[0]]
            heapq.heapify(self._heap)
        self._news.set()

    def retry(self, item: Item, at_least: float = 0.0) -> float:
        """Work on a key again that failed; the seconds until then double with each failure.

        Args:
            item: the key.
            at_least: seconds that the server asked for; keys do not come all at once afterwards.
        """
        failures = self._failures.get(item, 0)
        self._failures[item] = failures + 1
        seconds = min(LAST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2.0 ** min(failures, 20))
        if at_least:
            seconds = max(seconds, at_least * random.uniform(1.0, 1.25))  # noqa: S311
        self.add_after(item, seconds)
        return seconds

    def succeeded(self, item: Item) -> None:
        """Forget a key's failures."""
        self._failures.pop(item, None)

    async def get(self) -> Item:
        """The next key; `done` must follow."""
        while True:
            wait = self._promote()
            if self._ready:
                item = next(iter(self._ready))
                del self._ready[item]
                self._working.add(item)
                if self._ready:
                    self._news.set()
                return item
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), wait)
            except TimeoutError:
                continue

    def done(self, item: Item) -> None:
        """The worker is done with the key."""
        self._working.discard(item)
        if item in self._again:
            self._again.discard(item)
            self.add(item)

    def _promote(self) -> float | None:
        """Make keys ready whose time has come; seconds until the next one's, None without one."""
        now = self._clock()
        while self._heap:
            due, _, item = self._heap[0]
            if self._due.get(item) != due:
                heapq.heappop(self._heap)  # something asked for it before, or sooner
            elif due <= now:
                heapq.heappop(self._heap)
                self.add(item)
            else:
                return due - now
        return None
