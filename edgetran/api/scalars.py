"""The bounded scalars, lists and maps that the v1alpha1 models are made of."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, AwareDatetime, Field, PlainSerializer
from pydantic_core import PydanticCustomError

from edgetran.api.addresses import (
    METER_CHECKS,
    PATH_CHECKS,
    STORAGE_CHECKS,
    TRACKER_CHECKS,
    cel_of,
    checker,
)


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a type allows, in words, for messages about bad input.

    Attributes:
        words: the end of a sentence that begins "must be".
        secret: the value may hold a password, so no message repeats it.
    """

    words: str
    secret: bool = False


DNS_LABEL: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
_LABEL_KEY: Final = re.compile(
    r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
)
_MAX_FREE_FORM_VALUES: Final = 10_000
_MAX_FREE_FORM_DEPTH: Final = 50


def _refuse(allowed: str) -> PydanticCustomError:
    return PydanticCustomError("allowed", "must be {allowed}", {"allowed": allowed})


def _label_key(key: str) -> str:
    if not _LABEL_KEY.fullmatch(key):
        raise _refuse("a label's key such as kubernetes.io/arch")
    return key


def _five_digits(value: float) -> float:
    return float(f"{value:.5g}")


def _sorted_map(values: dict[str, str]) -> dict[str, str]:
    return dict(sorted(values.items()))


def _free_form(value: Any) -> Any:
    """`value` with its keys sorted; refused where JSON has no word for a part of it."""
    count = 0

    def visit(part: Any, depth: int) -> Any:
        nonlocal count
        count += 1
        if count > _MAX_FREE_FORM_VALUES or depth > _MAX_FREE_FORM_DEPTH:
            raise _refuse(
                f"at most {_MAX_FREE_FORM_VALUES} values, nested {_MAX_FREE_FORM_DEPTH} deep"
            )
        if isinstance(part, dict):
            if not all(isinstance(key, str) for key in part):
                raise _refuse("JSON, in which every key is text")
            return {key: visit(part[key], depth + 1) for key in sorted(part)}
        if isinstance(part, list | tuple):
            return [visit(entry, depth + 1) for entry in part]
        if isinstance(part, float) and not math.isfinite(part):
            raise _refuse("JSON, which has no infinity and no NaN")
        if part is not None and not isinstance(part, str | bool | int | float):
            raise _refuse("JSON: text, numbers, true, false, null, lists and mappings")
        return part

    return visit(value, 0)


Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]
"""What every random choice of a run follows from."""

Name = Annotated[
    str,
    Field(min_length=1, max_length=63, pattern=DNS_LABEL),
    Allowed(
        "a name of 1 to 63 lower-case letters, digits and '-' that begins and ends with a letter "
        "or a digit"
    ),
]
"""A DNS-1123 label, as Kubernetes names are."""

DeviceName = Annotated[
    str,
    Field(min_length=1, max_length=20, pattern=DNS_LABEL),
    Allowed(
        "a name of 1 to 20 lower-case letters, digits and '-' that begins and ends with a letter "
        "or a digit, such as raspberry-pi-4"
    ),
]
"""Short enough that a search's name and a device's name make one child's name."""

FILE_PATH: Final = Allowed("a path of 1 to 1024 characters with no '..' in it")
"""What marks a type as a path of a file or folder."""

FilePath = Annotated[
    str,
    Field(
        min_length=1,
        max_length=1024,
        pattern=r"^[^\x00-\x1f\x7f]+$",
        json_schema_extra=cel_of(*PATH_CHECKS),
    ),
    AfterValidator(checker(*PATH_CHECKS)),
    FILE_PATH,
]
"""A file or folder, relative to where the command runs or absolute; in a cluster relative to the
data, or to the storage where there is none apart. It never climbs upward."""

StorageUri = Annotated[
    str,
    Field(min_length=4, max_length=1024),
    Allowed(STORAGE_CHECKS[0].allowed, secret=True),
]
"""Where a run's folder is copied to; `address_rules` of the model around it say what it may be."""

MeterAddress = Annotated[
    str,
    Field(min_length=8, max_length=1024),
    Allowed(METER_CHECKS[0].allowed, secret=True),
]
"""Something that says watts when it is asked; rules as of `StorageUri`."""

TrackerUri = Annotated[
    str,
    Field(min_length=8, max_length=1024),
    Allowed(TRACKER_CHECKS[0].allowed, secret=True),
]
"""A server that shows trials; rules as of `StorageUri`."""

ColumnName = Annotated[
    str,
    Field(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$"),
    Allowed("a column's name of 1 to 256 characters"),
]

Figure = Annotated[float, AfterValidator(_five_digits)]
"""A number of a status, rounded to five significant digits; results have it in full."""

PositiveFigure = Annotated[float, Field(ge=0), AfterValidator(_five_digits)]
"""A `Figure` from 0 up."""

Text = Annotated[str, Field(max_length=1024), Allowed("text of at most 1024 characters")]

LabelKey = Annotated[
    str, AfterValidator(_label_key), Allowed("a label's key such as kubernetes.io/arch")
]
LabelValue = Annotated[
    str,
    Field(max_length=63, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"),
    Allowed("a label's value of at most 63 letters, digits, '-', '_' and '.'"),
]
Labels = Annotated[dict[LabelKey, LabelValue], Field(max_length=64), AfterValidator(_sorted_map)]
"""Labels, or what a node selector asks of them; kept in the order of their keys."""

Annotations = Annotated[
    dict[LabelKey, Annotated[str, Field(max_length=262_144)]],
    Field(max_length=256),
    AfterValidator(_sorted_map),
]
PodAnnotations = Annotated[
    dict[LabelKey, Annotated[str, Field(max_length=4096)]],
    Field(max_length=64),
    AfterValidator(_sorted_map),
]
LIST_SET: Final[dict[str, Any]] = {"x-kubernetes-list-type": "set"}
"""Schema of a list whose values are distinct.

Not for lists of numbers with a fraction: to a server's rules, no set of these that has a whole
number in it equals itself (seen with Kubernetes 1.36), so that such an object could not change.
"""


def list_map(key: str) -> dict[str, Any]:
    """Schema of a list whose entries are told apart by `key`."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


FreeForm = Annotated[
    dict[str, Any],
    AfterValidator(_free_form),
    Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True}),
    Allowed("a mapping of JSON values"),
]
"""JSON that another system defines, kept as it is."""


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


Time = Annotated[
    AwareDatetime,
    Field(strict=False),
    PlainSerializer(_rfc3339, return_type=str),
    Allowed("a time such as 2026-01-31T12:00:00Z"),
]
"""A metav1.Time: RFC 3339, UTC, whole seconds."""
