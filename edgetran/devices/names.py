"""The room's error for bad input, and the message for a name that nothing carries."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from edgetran.api.field_errors import unsupported


class DeviceError(ValueError):
    """Bad input to the devices room: the message says what was given and what is allowed."""


def unknown_name(what: str, given: object, allowed: Iterable[str]) -> DeviceError:
    """The error for a name that does not exist, with the nearest one that does.

    >>> print(unknown_name("precision", "fp23", ["fp32", "int8"]))
    precision: Unsupported value: "fp23": supported values: "fp32", "int8"; did you mean fp32?
    """
    names = list(allowed)
    near = difflib.get_close_matches(str(given).lower(), names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else ""
    return DeviceError(f"{what}: {unsupported(given, names)}{hint}")
