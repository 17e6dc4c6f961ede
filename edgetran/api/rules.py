"""Rules that span fields: one name, a check in Python and, where it can be said, one in CEL.

The CEL text goes into the custom resource's schema as `x-kubernetes-validations`, so an API
server refuses what the local runner refuses, in the same words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

Path = tuple[str | int, ...]
"""A place below a model: field aliases, list indices and map keys."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule: where, and what was given there."""

    path: Path
    given: str
    allowed: str
    fields: tuple[str, ...]

    @property
    def message(self) -> str:
        """What was given and what is allowed, as one sentence."""
        return f"{self.given}; allowed is {self.allowed}"


@dataclass(frozen=True, slots=True)
class Rule:
    """A named rule over the fields of one model.

    Attributes:
        name: what the rule demands, in camelCase.
        fields: Python names of the fields that the rule reads.
        allowed: what is allowed, as the end of a sentence that begins "allowed is".
        check: yields (path below the model, what was given) for every place that breaks the rule.
        cel: the same as a CEL expression over `self`; None where CEL cannot say it.
    """

    name: str
    fields: tuple[str, ...]
    allowed: str
    check: Callable[[Any], Iterable[tuple[Path, str]]]
    cel: str | None = None

    def violations(self, model: Any) -> Iterator[Violation]:
        """Every place of `model` that breaks the rule."""
        for path, given in self.check(model):
            yield Violation(path, given, self.allowed, self.fields)


def camel(name: str) -> str:
    """`peak_power_w` as `peakPowerW`."""
    head, *tail = name.split("_")
    return head + "".join(word.capitalize() for word in tail)


def listed(words: Sequence[str], conjunction: str = "and") -> str:
    """`a, b and c`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {conjunction} {words[-1]}"


def _given(names: Sequence[str]) -> str:
    if not names:
        return "none was given"
    return f"{listed(names)} {'was' if len(names) == 1 else 'were'} given"


def exactly_one(*fields: str) -> Rule:
    """Exactly one of the optional `fields` is set."""
    aliases = [camel(field) for field in fields]

    def check(model: Any) -> Iterator[tuple[Path, str]]:
        present = [camel(field) for field in fields if getattr(model, field) is not None]
        if len(present) != 1:
            yield (), _given(present)

    return Rule(
        name="exactlyOneOf" + "Or".join(alias[0].upper() + alias[1:] for alias in aliases),
        fields=fields,
        allowed=f"exactly one of {listed(aliases)}",
        check=check,
        cel=f"[{', '.join(f'has(self.{alias})' for alias in aliases)}]"
        ".filter(given, given).size() == 1",
    )


def at_least_one(*fields: str) -> Rule:
    """One or more of the optional `fields` are set."""
    aliases = [camel(field) for field in fields]

    def check(model: Any) -> Iterator[tuple[Path, str]]:
        if all(getattr(model, field) is None for field in fields):
            yield (), "none was given"

    return Rule(
        name="atLeastOneOf" + "Or".join(alias[0].upper() + alias[1:] for alias in aliases),
        fields=fields,
        allowed=f"at least one of {listed(aliases)}",
        check=check,
        cel=" || ".join(f"has(self.{alias})" for alias in aliases),
    )


def not_together(first: str, *others: str) -> Rule:
    """None of the optional `others` is set where the optional `first` is."""
    aliases = [camel(field) for field in others]

    def check(model: Any) -> Iterator[tuple[Path, str]]:
        if getattr(model, first) is None:
            return
        for field in others:
            if getattr(model, field) is not None:
                yield (camel(field),), f"given together with {camel(first)}"

    return Rule(
        name=f"{camel(first)}Without"
        + "Or".join(alias[0].upper() + alias[1:] for alias in aliases),
        fields=(first, *others),
        allowed=f"{listed(aliases, 'or')} only without {camel(first)}",
        check=check,
        cel=f"!has(self.{camel(first)}) || "
        f"({' && '.join(f'!has(self.{alias})' for alias in aliases)})",
    )


def ordered(low: str, high: str) -> Rule:
    """The number `low` is not above the number `high`, where both are set."""
    low_alias, high_alias = camel(low), camel(high)

    def check(model: Any) -> Iterator[tuple[Path, str]]:
        least, most = getattr(model, low), getattr(model, high)
        if least is not None and most is not None and least > most:
            yield (low_alias,), f"{least:g} was given and {high_alias} is {most:g}"

    return Rule(
        name=f"{low_alias}UpTo{high_alias[0].upper()}{high_alias[1:]}",
        fields=(low, high),
        allowed=f"{low_alias} up to {high_alias}",
        check=check,
        cel=f"!has(self.{low_alias}) || !has(self.{high_alias}) "
        f"|| self.{low_alias} <= self.{high_alias}",
    )


def distinct(field: str, key: str | None = None) -> Rule:
    """No two entries of the list `field` are equal, or have an equal `key`.

    In a cluster the field's `x-kubernetes-list-type` says the same.
    """
    alias = camel(field)

    def check(model: Any) -> Iterator[tuple[Path, str]]:
        seen: dict[Any, int] = {}
        for index, entry in enumerate(getattr(model, field) or ()):
            value = getattr(entry, key) if key else entry
            if value in seen:
                place: Path = (alias, index, key) if key else (alias, index)
                yield place, f"{value} was given already at {alias}[{seen[value]}]"
            seen.setdefault(value, index)

    return Rule(
        name=f"distinct{alias[0].upper()}{alias[1:]}",
        fields=(field,),
        allowed=f"each {key or 'value'} once",
        check=check,
    )


def distinct_numbers(field: str) -> Rule:
    """As `distinct`, by a rule: for an optional list of numbers, which may not be a `LIST_SET`."""
    numbers = f"self.{camel(field)}"
    once = f"{numbers}.all(one, {numbers}.exists_one(other, other == one))"
    return replace(distinct(field), cel=f"!has({numbers}) || {once}")
