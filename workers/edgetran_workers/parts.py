"""A part of the results while it is written: gzip that grows by a record at a time."""

from __future__ import annotations

import zlib
from typing import Final

FIRST_LIMIT_BYTES: Final = 64 * 1024
"""Size at which the first part is closed: the summary beside it is written often, and with it the
API server stores the whole ConfigMap again."""

LIMIT_BYTES: Final = 700 * 1024
"""Size at which any other part is closed; a ConfigMap holds 1 MiB."""

_RAW_LIMIT_BYTES: Final = 32 * 1024**2
"""Unpacked size at which a part is closed however well it packs."""


class GrowingPart:
    """One part.

    Args:
        number: its number.
        limit: packed bytes that it never has more of, unless its first record alone has.
    """

    def __init__(self, number: int, limit: int | None = None) -> None:
        self.number = number
        self.records = 0
        self._limit = limit or (LIMIT_BYTES if number else FIRST_LIMIT_BYTES)
        self._packer = zlib.compressobj(6, zlib.DEFLATED, 31)
        self._packed = bytearray()
        self._raw = self._pending = 0

    def add(self, line: bytes) -> bool:
        """Append one line; False where the part is full and stays as it is."""
        if self.records and not self._fits(line):
            return False
        fresh = self._packer.compress(line)
        self._packed += fresh
        self._pending = 0 if fresh else self._pending + len(line)
        self._raw += len(line)
        self.records += 1
        return True

    def packed(self) -> bytes:
        """The part as one whole gzip stream; b"" while it has no record."""
        if not self.records:
            return b""
        return bytes(self._packed) + self._packer.copy().flush()

    def _fits(self, line: bytes) -> bool:
        if self._raw + len(line) > _RAW_LIMIT_BYTES:
            return False
        room = self._limit - len(self._packed)
        if 2 * (self._pending + len(line)) + 64 < room:  # packing never doubles what it packs
            return True
        trial = self._packer.copy()
        return len(trial.compress(line)) + len(trial.flush()) <= room
