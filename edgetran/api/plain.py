"""Plain data: what JSON can say, within sizes that no honest resource reaches."""

from __future__ import annotations

import math
from typing import Any, Final

from edgetran.api.field_errors import forbidden, invalid

MAX_VALUES: Final = 100_000
MAX_DEPTH: Final = 50


def not_plain(data: Any) -> tuple[tuple[str | int, ...], str] | None:
    """Where `data` is not plain, and what is allowed there; None where all of it is plain."""
    seen = 0

    def visit(value: Any, path: tuple[str | int, ...]) -> tuple[tuple[str | int, ...], str] | None:
        nonlocal seen
        seen += 1
        if seen > MAX_VALUES:
            return (), forbidden(f"more than {MAX_VALUES} values")
        if len(path) > MAX_DEPTH:
            return path[:3], forbidden(f"nested more than {MAX_DEPTH} deep")
        if isinstance(value, dict):
            for key, below in value.items():
                if not isinstance(key, str):
                    return path, invalid(key, "must be text, as every key")
                if (found := visit(below, (*path, key))) is not None:
                    return found
        elif isinstance(value, list):
            for index, below in enumerate(value):
                if (found := visit(below, (*path, index))) is not None:
                    return found
        elif isinstance(value, str):
            if any("\ud800" <= char <= "\udfff" for char in value):
                return path, invalid(value, "must be Unicode text")
        elif isinstance(value, float) and not math.isfinite(value):
            return path, invalid(value, "must be a finite number")
        elif isinstance(value, int) and value.bit_length() > 256:
            return path, invalid(value, "must have at most 70 digits")
        elif value is not None and not isinstance(value, bool | int | float):
            return path, invalid(
                f"<{type(value).__name__}>",
                "must be text, a number, true, false, null, a list or a mapping",
            )
        return None

    return visit(data, ())
