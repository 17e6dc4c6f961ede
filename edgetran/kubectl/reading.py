"""What a resource from a cluster says of itself, read without trusting that it is complete."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from edgetran.api import KINDS, ConditionType
from edgetran.api.names import results

Data = Mapping[str, Any]


def label(data: Data) -> str:
    """`KIND/NAME`."""
    return f"{data['kind']}/{data['metadata']['name']}"


def results_name(data: Data, number: int) -> str:
    """The name of a resource's results ConfigMap, also where its spec is not valid."""
    return f"{data['metadata']['name']}-{KINDS[data['kind']].SHORT_NAME}-{results(number)}"


def status_of(data: Data) -> Data:
    """The status; empty before there is one."""
    return data.get("status") or {}


def condition(data: Data, type_: str) -> Data | None:
    """The condition of a type, where there is one."""
    conditions = status_of(data).get("conditions") or ()
    return next((each for each in conditions if each.get("type") == type_), None)


def is_true(data: Data, type_: str) -> bool:
    """Whether a condition is there and True."""
    found = condition(data, type_)
    return found is not None and found.get("status") == "True"


def has_ended(data: Data) -> bool:
    """Whether the work is over, for better or worse."""
    succeeded = condition(data, ConditionType.SUCCEEDED)
    return succeeded is not None and succeeded.get("status") in ("True", "False")


def moment(text: Any) -> datetime | None:
    """A time of Kubernetes'; None where there is none."""
    try:
        return datetime.fromisoformat(str(text).replace("Z", "+00:00")).astimezone(UTC)
    except ValueError:
        return None


def age(text: Any, now: datetime) -> str:
    """How long ago, as kubectl says it: `12s`, `5m`, `3h`, `2d`; `?` where unknown."""
    then = moment(text)
    if then is None:
        return "?"
    seconds = max(0, round((now - then).total_seconds()))
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
