"""What whoever runs a resource has to allow beyond its spec: meters, trackers, paths."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

from edgetran.api.base import ApiModel
from edgetran.api.device import Device
from edgetran.api.explain import Type, field_type, step
from edgetran.api.field_errors import HIDDEN, forbidden, invalid
from edgetran.api.resource import Resource
from edgetran.api.rules import Path
from edgetran.api.scalars import FILE_PATH

_PORTS: Final = {"http": 80, "https": 443}
_CLIMBING: Final = re.compile(r"(^|/)[.][.](/|$)|%(2[5eEfF]|5[cC])|\\")


@dataclass(frozen=True, slots=True)
class MeterAllowance:
    """Which meters of `energy.meter` may be read.

    Attributes:
        commands: whether a meter may be a program to run.
        addresses: what the address of any other one begins with; None allows every address, as on
            the machine of whoever wrote the spec.
    """

    commands: bool = False
    addresses: tuple[str, ...] | None = None

    def refusal(self, address: str) -> str | None:
        """Why a meter may not be read, as a field's error; None where it may."""
        if address.startswith("command:"):
            if self.commands:
                return None
            if self.addresses is None:
                return forbidden(
                    "a command is a program to run; give --allow-commands if you trust this spec, "
                    "or use another meter"
                )
            return forbidden("a command needs the setting allow.commands, which is not set")
        if self.addresses is None or any(covers(each, address) for each in self.addresses):
            return None
        return not_begun_by("meters", self.addresses)


NO_COMMANDS: Final = MeterAllowance()
"""On one machine, where nothing else is said: every meter that is no program."""

NO_METERS: Final = MeterAllowance(addresses=())
"""In a cluster, where nothing else is said."""


def covers(beginning: str, address: str) -> bool:
    """Whether an address lies below a beginning: the same host and port, and a path below its.

    Example:
        >>> covers("http://meter.lan/power", "http://meter.lan:80/power/3#watts")
        True
        >>> covers("http://meter.lan", "http://meter.lan.example.com/")
        False
    """
    try:
        outer, inner = urlsplit(beginning), urlsplit(address)
        if not outer.netloc:  # serial:/dev/ttyUSB covers serial:/dev/ttyUSB0
            rest = address.removeprefix(beginning)
            return rest != address and "/" not in rest.partition("?")[0]
        if _origin(outer) != _origin(inner) or _CLIMBING.search(inner.path):
            return False
    except ValueError:  # a port that is no number, brackets that do not close
        return False
    folder = outer.path.rstrip("/")
    return inner.path == folder or inner.path.startswith(f"{folder}/")


def meter_problems(resource: Resource, allowed: MeterAllowance) -> list[tuple[Path, str]]:
    """The meters of a resource that may not be read: where, and the field's error."""
    return [
        (path, sentence)
        for path, meter in _meters(resource)
        if (sentence := allowed.refusal(meter)) is not None
    ]


def tracker_problems(resource: Resource, allowed: tuple[str, ...]) -> list[tuple[Path, str]]:
    """The tracking server of a resource that is not allowed: where, and the field's error."""
    tracking = getattr(getattr(resource, "spec"), "tracking", None)  # noqa: B009 - as of meters
    if tracking is None or any(covers(each, tracking.mlflow.uri) for each in allowed):
        return []
    return [(("spec", "tracking", "mlflow", "uri"), not_begun_by("trackers", allowed))]


def absolute_paths(resource: Resource) -> list[tuple[Path, str]]:
    """The paths of a resource that do not begin in the storage: where, and the field's error."""
    what = "must begin in the storage or the data, without '/' at its start, in a cluster"
    return [
        (path, invalid(text, what)) for path, text in file_paths(resource) if text.startswith("/")
    ]


def file_paths(model: ApiModel, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Every path of a file or folder below a model, with its place."""
    for name, field in type(model).model_fields.items():
        yield from _paths_of(getattr(model, name), field_type(field), (*path, field.alias or name))


def _paths_of(value: object, type_: Type, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, ApiModel):
        yield from file_paths(value, path)
    elif isinstance(value, tuple):
        for index, entry in enumerate(value):
            below = step(type_, index)
            if below is not None:
                yield from _paths_of(entry, below, (*path, index))
    elif isinstance(value, str) and FILE_PATH in type_[1]:
        yield path, value


def _meters(resource: Resource) -> Iterator[tuple[Path, str]]:
    spec = getattr(resource, "spec")  # noqa: B009 - each kind has its own
    devices: list[tuple[Path, Device | None]] = [(("device",), getattr(spec, "device", None))]
    devices += [(("devices", i), each) for i, each in enumerate(getattr(spec, "devices", ()))]
    for path, device in devices:
        energy = None if device is None else device.energy
        if energy is not None and energy.meter is not None:
            yield ("spec", *path, "energy", "meter"), energy.meter


def _origin(url: SplitResult) -> tuple[str, str | None, int | None, str | None]:
    scheme = url.scheme.lower()
    return scheme, url.hostname, url.port or _PORTS.get(scheme), url.username


def not_begun_by(allowance: str, entries: Sequence[str]) -> str:
    """The error of an address, hidden, that lies below none of a setting's entries."""
    more = ", …" if len(entries) > 5 else ""
    permitted = f"{', '.join(entries[:5])}{more}" if entries else "not set"
    return invalid(
        HIDDEN, f"must begin with an entry of the setting allow.{allowance}, which is {permitted}"
    )
