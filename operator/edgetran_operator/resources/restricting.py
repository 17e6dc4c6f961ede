"""How a pod template is judged: what is free, what a setting allows, what none does."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from kubernetes.utils.quantity import parse_quantity

from edgetran.api.field_errors import forbidden, invalid
from edgetran_operator.settings import Allowances, Settings, camel

_SAFE: Final[Mapping[str, tuple[Any, ...]]] = {
    "allowPrivilegeEscalation": (False,),
    "capabilities": ({"drop": ["ALL"]},),
    "fsGroupChangePolicy": ("OnRootMismatch", "Always"),
    "privileged": (False, None),
    "procMount": ("Default", None),
    "readOnlyRootFilesystem": (True,),
    "runAsNonRoot": (True,),
    "seccompProfile": ({"type": "RuntimeDefault"},),
    "supplementalGroupsPolicy": ("Strict",),
}
"""Values of a security context that keep a pod in."""
_IDENTITIES: Final = frozenset({"fsGroup", "runAsGroup", "runAsUser", "supplementalGroups"})


class TemplateJudge:
    """Collects what is refused.

    Attributes:
        allow: what the administrator allows.
        found: where, and the field's error.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.allow: Allowances = settings.allow
        self.found: list[tuple[str, str]] = []

    def allows(self, allowance: str) -> bool:
        """Whether the administrator set it."""
        return bool(getattr(self.allow, allowance))

    def need(self, path: str, allowance: str, instead: str = "") -> None:
        """Refuse what needs an allowance that is not set."""
        if not self.allows(allowance):
            value = f"workers.allow.{camel(allowance)}"
            otherwise = f"; otherwise use {instead}" if instead else ""
            self.never(path, f"needs {value}, which is not set{otherwise}")

    def never(self, path: str, why: str) -> None:
        """Refuse what no allowance opens."""
        self.found.append((path, forbidden(why)))

    def wrong(self, path: str, value: Any, what: str) -> None:
        """Refuse a value."""
        self.found.append((path, invalid(value, what)))

    def unlisted(self, path: str) -> None:
        """Refuse a field that nothing here knows."""
        self.never(path, "must be left out; an administrator may set it by workers.podPatch")

    def unnamed(self, path: str, allowance: str) -> None:
        """Refuse something whose name is not among those that a setting lists."""
        value, names = f"workers.allow.{camel(allowance)}", getattr(self.allow, allowance)
        self.never(path, f"not among what {value} lists: {', '.join(names) or 'nothing'}")

    def listed(self, path: str, name: Any, allowance: str) -> None:
        """Refuse a name that a setting does not list."""
        if name is not None and name not in getattr(self.allow, allowance):
            self.unnamed(path, allowance)

    def grace_period(self, path: str, seconds: Any) -> None:
        """Refuse a grace period that would keep a node from being drained."""
        most = self._settings.termination_grace_seconds
        if not isinstance(seconds, int) or isinstance(seconds, bool) or not 0 < seconds <= most:
            what = f"must be from 1 to {most}, which workers.terminationGraceSeconds sets"
            self.wrong(path, seconds, what)

    def size(self, path: str, size: Any, volume: str) -> None:
        """Refuse a folder of the pod's own that is larger than its setting, or without a bound."""
        most = self._settings.scratch.of(volume)
        asked = quantity(size)
        if asked is None or not 0 < asked <= (quantity(most) or 0):
            name = volume if self._settings.scratch.has(volume) else "other"
            what = f"must be at most {most}, which workers.scratch.{name} sets"
            self.wrong(path, size, what)

    def context(self, path: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        """Refuse what weakens a security context, or makes a pod someone else."""
        for field in sorted({*old, *new}):
            before, after = old.get(field), new.get(field)
            if before == after:
                continue
            where = f"{path}.{field}"
            root = after == 0 or (isinstance(after, list) and 0 in after)
            if field in _IDENTITIES and not root:
                self.need(where, "identities")
            elif field in _IDENTITIES or after not in _SAFE.get(field, ()):
                self.need(where, "privileged")


def quantity(value: Any) -> Decimal | None:
    """The number that a Kubernetes quantity stands for; None where it is none."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        found: Decimal = parse_quantity(value)
    except (ValueError, ArithmeticError):
        return None
    return found if found.is_finite() else None


def mapping(value: Any) -> Mapping[str, Any]:
    """`value` where it is a mapping, and an empty one where there is none."""
    return value if isinstance(value, Mapping) else {}


def entries(value: Any) -> list[Any]:
    """`value` where it is a list, and an empty one where it is something else."""
    return value if isinstance(value, list) else []


def mappings(value: Any) -> bool:
    """Whether it is nothing or a list of mappings."""
    return value is None or (
        isinstance(value, list) and all(isinstance(entry, Mapping) for entry in value)
    )


def below(path: str, field: str) -> str:
    """The path of a field."""
    return f"{path}.{field}" if path else field
