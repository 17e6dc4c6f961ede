"""Addresses and paths in a spec: what they may look like, so that none climbs or tells a secret.

A check is a regular expression that Python's `re` and CEL's RE2 read alike, so that an API server
refuses what the local runner refuses, in the same words. What an address must be is a rule of the
object around it: an API server repeats a text that breaks a rule or a pattern of its own, and with
it a password, and of an object it says no more than that it is one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from pydantic_core import PydanticCustomError

from edgetran.api.field_errors import HIDDEN
from edgetran.api.rules import Broken, Rule, wrong

_ENCODED: Final = r"%(2[5eEfF]|5[cC])"
"""A dot, a separator or the percent sign itself, as addresses write them."""

_PRINTED: Final = r"[^\x00-\x20\x7f]"


@dataclass(frozen=True, slots=True)
class Check:
    """What a text must, or must not, hold.

    Attributes:
        expression: searched for in the text; `$` is the very end.
        allowed: what is allowed, as the end of a sentence that begins "must be".
        wanted: whether the expression must be found, or must not.
    """

    expression: str
    allowed: str
    wanted: bool = False

    def holds(self, text: str) -> bool:
        """Whether the text passes."""
        expression = self.expression.replace("$", r"\Z")  # to RE2, `$` is no line's end either
        return (re.search(expression, text) is not None) == self.wanted

    def cel(self, text: str) -> str:
        """The same as a CEL expression over the expression `text`."""
        call = f"{text}.matches(r'{self.expression}')"
        return call if self.wanted else f"!{call}"


PATH_CHECKS: Final = (
    Check(r"(^|[/\\])[.][.]([/\\]|$)", "a path with no '..' in it"),
    Check(_ENCODED, "a path as it is, without %2e, %2f, %5c or %25 for its characters"),
    Check(r"^[A-Za-z][A-Za-z0-9+.-]*:/", "the path of a file or folder, not an address"),
)

STORAGE_FORM: Final = (
    Check(
        rf"^[a-z][a-z0-9+.-]*://{_PRINTED}+$",
        "an fsspec address such as s3://bucket/folder",
        wanted=True,
    ),
    Check(
        "[@?#]",
        "an address without credentials, which belong in the Secret: no '@', '?' or '#' in it",
    ),
    Check(
        r"(^|/)[.][.](/|$)|[%\\]|::",
        r"an address with no '..', '%', '\' or '::' in it",
    ),
)

STORAGE_CHECKS: Final = (
    *STORAGE_FORM,
    Check(
        "^(file|local|memory|data|https?):",
        "a store that keeps folders outside of the pod, so none of file, local, memory, data, "
        "http and https",
    ),
)

METER_CHECKS: Final = (
    Check(
        r"^(https?://[^\x00-\x20\x7f/?#@\\]+([/?#][^\x00-\x20\x7f\\]*)?"
        r"|serial:/dev/[^\x00-\x1f\x7f]+|command:[^\x00-\x1f\x7f]+)$",
        "http://ADDRESS[#JSON.PATH], https://ADDRESS[#JSON.PATH], serial:/dev/PORT[?baud=N] or "
        "command:PROGRAM ARGUMENTS, with no '@' in an ADDRESS",
        wanted=True,
    ),
    Check(
        rf"^(https?|serial):[^?#]*(/[.][.]([/?#]|$)|{_ENCODED})",
        "an address with no '..' in its path, nor %2e, %2f, %5c or %25",
    ),
)

TRACKER_CHECKS: Final = (
    Check(
        r"^https?://[^\x00-\x20\x7f/?#@\\]+(/[^\x00-\x20\x7f?#@\\]*)?$",
        "http://ADDRESS or https://ADDRESS, without credentials: no '@', '?' or '#' in it",
        wanted=True,
    ),
    Check(
        rf"(^|/)[.][.](/|$)|{_ENCODED}",
        "an address with no '..' in its path, nor %2e, %2f, %5c or %25",
    ),
)


def checker(*checks: Check) -> Callable[[str], str]:
    """A validator that refuses a text in the words of the first check that it fails."""

    def check(text: str) -> str:
        for each in checks:
            if not each.holds(text):
                raise PydanticCustomError("allowed", "must be {allowed}", {"allowed": each.allowed})
        return text

    return check


def cel_of(*checks: Check) -> dict[str, Any]:
    """The part of a string's schema that says the same to an API server."""
    validations = [
        {"rule": each.cel("self"), "message": f"must be {each.allowed}"} for each in checks
    ]
    return {"x-kubernetes-validations": validations}


def address_rules(field: str, *checks: Check) -> tuple[Rule, ...]:
    """The checks as rules of the model that has the optional address `field`."""
    return tuple(_address_rule(field, number, each) for number, each in enumerate(checks, start=1))


def _address_rule(field: str, number: int, check: Check) -> Rule:
    def violations(model: Any) -> Iterator[Broken]:
        text = getattr(model, field)
        if text is not None and not check.holds(text):
            yield (field,), wrong(HIDDEN)

    return Rule(
        name=f"{field}{number}",
        fields=(field,),
        at=field,
        message=f"must be {check.allowed}",
        check=violations,
        cel=f"!has(self.{field}) || {check.cel(f'self.{field}')}",
    )
