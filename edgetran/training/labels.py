"""What a label in a file stands for: the name of a class and, where it is one, a number.

The same value is the same class in every file and format: CSV's `1`, JSON's `"1"`, `1` and `1.0`
and a column of numbers in Parquet all name the class `1`. A text is a number where it is written
like one without padding, so that `01`, `0x1` and `1_0` stay names. `true` is the same in every
spelling that programs write. A value that is missing, or that no number can hold, is nothing.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_PADDED: Final = re.compile(r"[+-]?0[0-9]", re.ASCII)
_NOT_FINITE: Final = re.compile(r"[+-]?(?:nan|inf|infinity)", re.ASCII | re.IGNORECASE)
_BOOLEANS: Final = {
    word: word.lower() for word in ("true", "True", "TRUE", "false", "False", "FALSE")
}
_MOST_CHARACTERS: Final = 1000
_SMALLEST, _GREATEST = 1e-300, 1e300
"""Beyond these, floating-point numbers become 0 or infinity."""

_ALLOWED: Final = f"allowed is the name of a class, or a number up to ±{_GREATEST:g}"


class LabelError(ValueError):
    """A value that is no label; the message says what it is and what is allowed."""


@dataclass(frozen=True, slots=True)
class Label:
    """One label.

    Attributes:
        name: of the class, the same for the same value.
        number: the same as a number; None where it is none.
        is_padded: whether it is a number with zeros before it, as codes have.
    """

    name: str
    number: float | None = None
    is_padded: bool = False


def read_label(value: Any) -> Label:
    """What a cell of a label column stands for.

    Raises:
        LabelError: a missing value, a number that is not finite, or neither text nor number.
    """
    if value is None:
        raise LabelError(f"is empty; {_ALLOWED}")
    if isinstance(value, bool):
        return Label(str(value).lower())
    if isinstance(value, int):
        if value.bit_length() > 1024:
            digits = int(value.bit_length() * 0.30103)
            raise LabelError(f"is a number of about {digits} digits; {_ALLOWED}")
        return _text_label(str(value))
    if isinstance(value, float):
        return _text_label(repr(value))
    if not isinstance(value, str):
        raise LabelError(f"is {_short(value)}; {_ALLOWED}")
    return _text_label(value.strip())


@lru_cache(maxsize=100_000)
def _text_label(text: str) -> Label:
    if not text:
        raise LabelError(f"is empty; {_ALLOWED}")
    if len(text) > _MOST_CHARACTERS:
        raise LabelError(f"has {len(text)} characters; allowed are at most {_MOST_CHARACTERS}")
    if _NOT_FINITE.fullmatch(text):
        raise LabelError(f"is {text!r}, which is not a finite number; {_ALLOWED}")
    if text in _BOOLEANS:
        return Label(_BOOLEANS[text])
    if not _NUMBER.fullmatch(text):
        return Label(text)
    number = float(text)
    if not math.isfinite(number) or abs(number) > _GREATEST:
        raise LabelError(f"is {_short(text)}, which is not a finite number; {_ALLOWED}")
    if _PADDED.match(text):
        return Label(text, number, is_padded=True)
    if abs(number) < _SMALLEST:
        return Label("0", 0.0)
    return Label(_canonical(Decimal(text)), number)


def _canonical(number: Decimal) -> str:
    """The shortest way to write a number without an exponent."""
    if number == number.to_integral_value():
        return str(int(number))
    return f"{number:f}".rstrip("0")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
