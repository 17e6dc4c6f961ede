"""What is wrong with a field, in the words of Kubernetes' `field.Error`: what follows `PATH: `.

An API server, the operator, the workers and the library speak alike of one field:
`spec.devices[1].threads: Invalid value: 0: must be at least 1`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from edgetran.api.errors import one_line

_MAX_SHOWN: Final = 60
_MAX_SEARCHED: Final = 4096
_MAX_KEYS: Final = 5
_MOST_WHOLE: Final = 1e15
"""Where a float has no fractions left that a reader would miss."""

_USER_INFO: Final = re.compile(r"([a-z][a-z0-9+.-]*://)?\S+@")
_QUERY: Final = re.compile(r"(://[^\s?#]*)[?#]\S*")


class _Hidden:
    """Stands for a value that no message repeats."""

    def __str__(self) -> str:
        return "<hidden, as it may hold a password>"


HIDDEN: Final = _Hidden()
"""In place of a value that may hold a password."""


def invalid(value: object, what: str) -> str:
    """A value that breaks a bound or a form; `what` begins with "must".

    Example:
        >>> invalid(0, "must be at least 1")
        'Invalid value: 0: must be at least 1'
    """
    return f"Invalid value: {shown(value)}: {what}"


def required(what: str) -> str:
    """A field that is missing.

    Example:
        >>> required("must be true or false")
        'Required value: must be true or false'
    """
    return f"Required value: {what}"


def unsupported(value: object, supported: Iterable[object]) -> str:
    """A value that is none of a few.

    Example:
        >>> unsupported("tpu", ["cpu", "cuda"])
        'Unsupported value: "tpu": supported values: "cpu", "cuda"'
    """
    values = ", ".join(_quoted(each) for each in supported)
    return f"Unsupported value: {shown(value)}: supported values: {values or 'none'}"


def forbidden(why: str) -> str:
    """A field or a change that is not permitted here.

    Example:
        >>> forbidden("may only be set with mode cluster")
        'Forbidden: may only be set with mode cluster'
    """
    return f"Forbidden: {why}"


def duplicate(value: object) -> str:
    """An entry of a list, or its key, that is there already.

    Example:
        >>> duplicate("pi")
        'Duplicate value: "pi"'
    """
    return f"Duplicate value: {shown(value)}"


def not_found(value: object, why: str) -> str:
    """A reference that leads nowhere.

    Example:
        >>> not_found("pi", "no ProfilingJob of this name was given")
        'Not found: "pi": no ProfilingJob of this name was given'
    """
    return f"Not found: {shown(value)}: {why}"


def shown(value: object) -> str:
    """`value` as JSON would have it, on one short line and without what may be a password.

    A mapping is shown by its keys, a list by its length.
    """
    if isinstance(value, Mapping):
        keys = [str(key)[:_MAX_SHOWN] for key in list(value)[:_MAX_KEYS]]
        return one_line(f"{{{', '.join(keys)}{', …' if len(value) > len(keys) else ''}}}")
    if isinstance(value, list | tuple | set | frozenset):
        entries = "1 entry" if len(value) == 1 else f"{len(value)} entries"
        return f"[{entries}]" if value else "[]"
    if isinstance(value, int) and value.bit_length() > 256:
        return "a whole number of more than 70 digits"
    if isinstance(value, str):
        return _quoted(_cut(without_credentials(value[:_MAX_SEARCHED])))
    return one_line(_cut(_plain(value)))


def without_credentials(text: str) -> str:
    """`text` with what may be a password in an address taken out, for messages.

    Example:
        >>> without_credentials("s3://key:secret@bucket/folder?token=x")
        's3://…@bucket/folder?…'
    """
    if "@" in text:
        text = _USER_INFO.sub(lambda match: f"{match[1] or ''}…@", text)
    return _QUERY.sub(r"\1?…", text)


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def _quoted(value: Any) -> str:
    if not isinstance(value, str):
        return _plain(value)
    return '"' + one_line(value.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def _plain(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    whole = isinstance(value, float) and value.is_integer() and abs(value) < _MOST_WHOLE
    return str(int(value)) if whole else str(value)
