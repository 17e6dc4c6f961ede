"""Options of strategies, checked."""

from __future__ import annotations

from edgetran.search.candidates import SearchError


def at_least(least: int, **option: int) -> int:
    """The value of the one option given.

    Raises:
        SearchError: it is no whole number, or less than `least`.
    """
    ((name, value),) = option.items()
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise SearchError(f"{name}: {value!r} given; allowed are whole numbers from {least} on")
    return value


def share(**option: float) -> float:
    """The value of the one option given.

    Raises:
        SearchError: it is not from 0 to 1.
    """
    ((name, value),) = option.items()
    if not (isinstance(value, int | float) and 0 <= value <= 1):
        raise SearchError(f"{name}: {value!r} given; allowed are numbers from 0 to 1")
    return float(value)
