"""How late the event loop is: what delays every answer, and a hang before anything else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

INTERVAL_SECONDS: Final = 0.1


class LoopLag:
    """Measures the loop's lag ten times a second.

    Attributes:
        last: the latest measurement, in seconds.
    """

    def __init__(self, observe: Callable[[float], None]) -> None:
        self._observe = observe
        self.last = 0.0

    async def run(self) -> None:
        """Measure for ever."""
        while True:
            started = time.perf_counter()
            await asyncio.sleep(INTERVAL_SECONDS)
            self.last = max(0.0, time.perf_counter() - started - INTERVAL_SECONDS)
            self._observe(self.last)
