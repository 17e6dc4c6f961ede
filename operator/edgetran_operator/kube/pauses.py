"""How long to wait before the API server is asked again."""

from __future__ import annotations

import random
from typing import Final

FIRST_SECONDS: Final = 0.5
LAST_SECONDS: Final = 30.0
HEALTHY_SECONDS: Final = 10.0
"""A watch that lasted so long was sound, however it ended."""


class Pauses:
    """Pauses that double with each failure, to about half a minute, and begin anew after success.

    Each is shortened by up to a half by chance, so that many clients do not come all at once.
    """

    def __init__(self) -> None:
        self._next = FIRST_SECONDS

    @property
    def longest(self) -> bool:
        """Whether it failed so often that pauses grow no more."""
        return self._next >= LAST_SECONDS

    def reset(self) -> None:
        """All is well."""
        self._next = FIRST_SECONDS

    def next(self, at_least: float = 0.0) -> float:
        """Seconds until the next attempt; `at_least` is what the server asked for."""
        seconds = self._next * random.uniform(0.5, 1.0)  # noqa: S311 - nothing secret
        self._next = min(LAST_SECONDS, 2 * self._next)
        return max(seconds, at_least * random.uniform(1.0, 1.1))  # noqa: S311
