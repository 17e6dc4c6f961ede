"""Options of strategies, checked."""

from __future__ import annotations

from edgetran.api.field_errors import invalid
from edgetran.search.candidates import SearchError


def at_least(least: int, **option: int) -> int:
    """The value of the one option given.

    Raises:
        SearchError: it is no whole number, or less than `least`.
    """
    ((name, value),) = option.items()
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        what = f"must be a whole number of at least {least}"
        raise SearchError(f"{name}: {invalid(value, what)}")
    return value


def share(**option: float) -> float:
    """The value of the one option given.

    Raises:
        SearchError: it is not from 0 to 1.
    """
    ((name, value),) = option.items()
    if not (isinstance(value, int | float) and 0 <= value <= 1):
        raise SearchError(f"{name}: {invalid(value, 'must be from 0 to 1')}")
    return float(value)
