"""The border to what others wrote: bounded before it is parsed, and one object at a time.

A tenant decides what his objects hold. A text is measured before any parser sees it: its size, how
deep it is nested, how many values it has. What cannot be read is an `UnreadableError`, which costs
that one object and no other.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final, NoReturn

OBJECT_BYTES: Final = 3 * 2**20
"""Most bytes of one object; the API server takes no larger ones."""
MOST_LEVELS: Final = 64
"""How deep an object may be nested; a pod with all that the API knows has fewer than thirty."""
MOST_VALUES: Final = 20_000
"""How many values an object may have: what a parser makes of each takes about 100 bytes."""
UNREADABLE: Final = "edgetran.io/unreadable"
"""The key that is put on what was saved of an object that cannot be read: reason and sentence."""

_HEAD_BYTES: Final = 2**16
_DIGITS: Final = 20
_SAVED_LEVELS: Final = 8
_SAVED_MARKS: Final = 200_000
"""How much of a spoiled object is looked through for what it is, which takes some 50 ms."""

_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_MARK: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+("?)|[\[\]{}]', re.DOTALL)
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_ONE_KIND: Final = bytes.maketrans(b"{}", b"[]")
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_QUOTE, _OPENING, _CLOSING = b'"'[0], frozenset(b"[{"), frozenset(b"]}")


REASONS: Final = (
    *("TooLarge", "TooDeep", "TooManyValues"),
    *("BadNumber", "NotUnicode", "NotJSON", "NotUnderstood"),
)


class UnreadableError(ValueError):
    """What others wrote cannot be read.

    Attributes:
        reason: one of `REASONS`.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def read_json(
    data: str | bytes,
    *,
    most_bytes: int = OBJECT_BYTES,
    most_levels: int = MOST_LEVELS,
    most_values: int = MOST_VALUES,
) -> Any:
    """JSON that somebody else wrote.

    Raises:
        UnreadableError: it is larger, deeper or richer than allowed, is not JSON, or holds what
            could not be written again: lone surrogates, numbers that are not finite.
    """
    raw = _encoded(data) if isinstance(data, str) else data
    if len(raw) > most_bytes:
        raise UnreadableError("TooLarge", f"has {len(raw)} bytes; allowed are {most_bytes}")
    _measure(raw, most_levels, most_values)
    try:
        value = _DECODER.decode(raw.decode())
    except UnicodeDecodeError:
        raise UnreadableError("NotUnicode", "is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise UnreadableError("NotJSON", f"is not JSON: {error.msg}") from None
    if _SURROGATE.search(raw):
        _encoded(json.dumps(value, ensure_ascii=False))
    return value


def unreadable(error: Exception) -> UnreadableError:
    """What is said of an object that raised `error` while it was read."""
    if isinstance(error, UnreadableError):
        return error
    said = str(error)[:200].encode(errors="replace").decode()
    return UnreadableError("NotUnderstood", f"cannot be understood: {type(error).__name__}: {said}")


def save(data: bytes, error: UnreadableError) -> dict[str, Any] | None:
    """What can be saved of an object that cannot be read: its metadata, and its status if shallow.

    The result has the key `UNREADABLE`, and no spec. None where not even a name is found.
    """
    found: dict[str, Any] = {}
    for key, text in _members(data).items():
        if key in ("apiVersion", "kind", "metadata", "status"):
            try:
                text = text.decode(errors="replace").encode()
                found[key] = read_json(_SURROGATE.sub(rb"\\ufffd", text))
            except UnreadableError:
                continue
    if not isinstance(found.get("metadata"), dict) or "name" not in found["metadata"]:
        return None
    found[UNREADABLE] = (error.reason, str(error))
    return found


def read_object(data: bytes) -> dict[str, Any]:
    """One object of the API, or what can be saved of it.

    Raises:
        UnreadableError: nothing of it can be read.
    """
    try:
        value = read_json(data)
    except UnreadableError as error:
        saved = save(data, error)
        if saved is None:
            raise
        return saved
    if not isinstance(value, dict):
        raise UnreadableError("NotUnderstood", "is not an object")
    return value


def read_event(line: bytes) -> dict[str, Any]:
    """One line of a watch, with what can be saved of its object.

    Raises:
        UnreadableError: nothing of it can be read.
    """
    try:
        value = read_json(line, most_levels=MOST_LEVELS + 1)
    except UnreadableError as error:
        members = _members(line, levels=None)
        saved = save(members.get("object", b""), error)
        kind = members.get("type", b"").strip(b'" ')
        if saved is None or kind not in (b"ADDED", b"MODIFIED", b"DELETED"):
            raise
        return {"type": kind.decode(), "object": saved}
    if not isinstance(value, dict) or not isinstance(value.get("object"), dict):
        raise UnreadableError("NotUnderstood", "is not a watch event")
    return value


def refuse_if_marked(body: Mapping[str, Any]) -> None:
    """Refuse what `save` made of an object.

    Raises:
        UnreadableError: it is that.
    """
    if UNREADABLE in body:
        raise UnreadableError(*body[UNREADABLE])


class PageSplitter:
    """Takes a page of a list apart as it comes, so that no more than one object is held."""

    def __init__(self) -> None:
        self._rest = b""
        self._at = self._depth = 0
        self._inside = self._too_large = False
        self._key = b""
        self._head = bytearray()

    def feed(self, chunk: bytes) -> list[bytes]:
        """The objects that this piece of the text completes; b"" for one that is too large."""
        buffer, at, kept = self._rest + chunk, self._at, 0
        found: list[bytes] = []
        while match := _MARK.search(buffer, at):
            mark = buffer[match.start()]
            if mark == _QUOTE:
                if not match[1]:
                    at = match.start()
                    break  # it goes on in the next piece
                if self._depth == 1:
                    self._key = match[0]
            elif mark in _OPENING:
                if self._inside and self._depth == 2:
                    kept = match.start()
                elif self._depth == 1 and self._key == b'"items"':
                    self._inside = True
                    self._head += buffer[kept : match.end()]
                self._depth += 1
            else:
                self._depth -= 1
                if self._inside and self._depth == 2:
                    found.append(b"" if self._too_large else buffer[kept : match.end()])
                    self._too_large, kept = False, match.end()
                elif self._inside and self._depth == 1:
                    self._inside, kept = False, match.start()
            at = match.end()
        else:
            at = len(buffer)
        self._keep(buffer, at, kept)
        return found

    def _keep(self, buffer: bytes, at: int, kept: int) -> None:
        if not self._inside:
            self._head += buffer[kept:at]
            kept = at
        elif self._depth == 2:
            kept = at
        elif at - kept > OBJECT_BYTES:
            self._too_large, kept = True, at
        self._rest, self._at = buffer[kept:], at - kept
        if len(self._rest) > 2 * OBJECT_BYTES or len(self._head) > _HEAD_BYTES:
            raise UnreadableError("TooLarge", "a page of the list cannot be taken apart")

    def head(self) -> dict[str, Any]:
        """The page without its objects, once all of it was fed.

        Raises:
            UnreadableError: it is not a whole page.
        """
        found = read_json(bytes(self._head))
        if not isinstance(found, dict):
            raise UnreadableError("NotUnderstood", "a list was expected")
        return found


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise UnreadableError("NotUnicode", "holds lone surrogates, which no text has") from None


def _measure(raw: bytes, most_levels: int, most_values: int) -> None:
    """Refuse what is nested too deep or has too many values, without a parser."""
    outside = _STRING.sub(b"", raw)
    values = sum(outside.count(mark) for mark in (b",", b"[", b"{"))
    brackets = outside.translate(_ONE_KIND, _NO_BRACKETS)
    for _ in range(most_levels):
        if not brackets:
            break
        brackets = brackets.replace(b"[]", b"")  # one level at a time, the innermost first
    if (
        b"[]" in brackets or brackets.count(b"[") > most_levels
    ):  # no parser looks into it, closed or not
        levels = min(most_levels, MOST_LEVELS)
        raise UnreadableError("TooDeep", f"is nested deeper than {levels} levels")
    if brackets:
        raise UnreadableError("NotJSON", "is not JSON: its brackets do not match")
    if values > most_values:
        raise UnreadableError("TooManyValues", f"has {values} values; allowed are {most_values}")


def _members(data: bytes, levels: int | None = _SAVED_LEVELS) -> dict[str, bytes]:
    """Members of an object as texts, with null for what is nested deeper than `levels`.

    Only the beginning is looked through where it is very long.
    """
    found: dict[str, bytes] = {}
    parts: list[bytes] = []
    depth = start = 0
    key = ""
    for match in islice(_MARK.finditer(data), _SAVED_MARKS):
        mark = data[match.start()]
        if mark == _QUOTE:
            if depth == 1 and match[1]:
                after = data[match.end() : match.end() + 8].lstrip()
                if after.startswith(b":"):
                    key = match[0][1:-1].decode(errors="replace")
                    start = data.index(b":", match.end()) + 1
                    parts = []
                else:
                    found[key] = match[0]
        elif mark in _OPENING:
            depth += 1
            if levels is not None and depth == levels + 1:
                parts += (data[start : match.start()], b"null")
        else:
            if levels is not None and depth == levels + 1:
                start = match.end()
            depth -= 1
            if depth == 1:
                found[key] = b"".join((*parts, data[start : match.end()]))
                parts = []
    return found


def _whole(text: str) -> int:
    if len(text) > _DIGITS:
        raise UnreadableError("BadNumber", f"has a number of {len(text)} digits")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise UnreadableError("BadNumber", "has a number that is not finite")
    return value


def _no_number(text: str) -> NoReturn:
    raise UnreadableError("BadNumber", f"has {text}, which is not a number")


_DECODER: Final = json.JSONDecoder(parse_int=_whole, parse_float=_finite, parse_constant=_no_number)
