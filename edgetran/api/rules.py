"""Rules that span fields: one name, a check in Python and, where it can be said, one in CEL.

The CEL text goes into the custom resource's schema as `x-kubernetes-validations`, so an API
server refuses what the local runner refuses, in the same words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from edgetran.api.field_errors import duplicate, forbidden, invalid, required

Path = tuple[str | int, ...]
"""A place below a model: field aliases, list indices and map keys."""

Fault = Callable[[str], str]
"""What makes a field's error of a rule's message: `required`, `forbidden` or `wrong(value)`."""

Broken = tuple[Path, Fault]
"""A place below a model that breaks a rule, and how."""


def wrong(value: object) -> Fault:
    """The fault of a value that is not what the rule asks for."""
    return partial(invalid, value)


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule: where, and the field's error."""

    path: Path
    message: str
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """A named rule over the fields of one model.

    Attributes:
        name: what the rule demands, in camelCase.
        fields: Python names of the fields that the rule reads.
        message: what the rule asks for, such as "must be at most max".
        check: yields (path below the model, fault) for every place that breaks the rule.
        cel: the same as a CEL expression over `self`; None where CEL cannot say it.
        at: the field that the message speaks of; empty where it is the model itself.
    """

    name: str
    fields: tuple[str, ...]
    message: str
    check: Callable[[Any], Iterable[Broken]]
    cel: str | None = None
    at: str = ""

    @property
    def sentence(self) -> str:
        """The message with the field that it speaks of, for whoever is told the model's place."""
        return f"{self.at} {self.message}" if self.at else self.message

    def violations(self, model: Any) -> Iterator[Violation]:
        """Every place of `model` that breaks the rule."""
        for path, fault in self.check(model):
            yield Violation(path, fault(self.message), self.fields)


def camel(name: str) -> str:
    """`peak_power_w` as `peakPowerW`."""
    head, *tail = name.split("_")
    return head + "".join(word.capitalize() for word in tail)


def listed(words: Sequence[str], conjunction: str = "and") -> str:
    """`a, b and c`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {conjunction} {words[-1]}"


def _joined(aliases: Sequence[str]) -> str:
    return "Or".join(alias[0].upper() + alias[1:] for alias in aliases)


def exactly_one(*fields: str) -> Rule:
    """Exactly one of the optional `fields` is set."""
    aliases = [camel(field) for field in fields]

    def check(model: Any) -> Iterator[Broken]:
        present = [camel(field) for field in fields if getattr(model, field) is not None]
        if not present:
            yield (), required
        elif len(present) > 1:
            yield (), wrong(dict.fromkeys(present))

    return Rule(
        name=f"exactlyOneOf{_joined(aliases)}",
        fields=fields,
        message=f"must set exactly one of {listed(aliases)}",
        check=check,
        cel=f"[{', '.join(f'has(self.{alias})' for alias in aliases)}]"
        ".filter(given, given).size() == 1",
    )


def at_least_one(*fields: str) -> Rule:
    """One or more of the optional `fields` are set."""
    aliases = [camel(field) for field in fields]

    def check(model: Any) -> Iterator[Broken]:
        if all(getattr(model, field) is None for field in fields):
            yield (), required

    return Rule(
        name=f"atLeastOneOf{_joined(aliases)}",
        fields=fields,
        message=f"must set at least one of {listed(aliases)}",
        check=check,
        cel=" || ".join(f"has(self.{alias})" for alias in aliases),
    )


def not_together(first: str, *others: str) -> Rule:
    """None of the optional `others` is set where the optional `first` is."""
    aliases = [camel(field) for field in others]

    def check(model: Any) -> Iterator[Broken]:
        if getattr(model, first) is None:
            return
        for field in others:
            if getattr(model, field) is not None:
                yield (camel(field),), forbidden

    return Rule(
        name=f"{camel(first)}Without{_joined(aliases)}",
        fields=(first, *others),
        at=listed(aliases, "or"),
        message=f"may not be set together with {camel(first)}",
        check=check,
        cel=f"!has(self.{camel(first)}) || "
        f"({' && '.join(f'!has(self.{alias})' for alias in aliases)})",
    )


def only_where(
    field: str, holds: Callable[[Any], bool], cel: str, where: str, *, reads: Sequence[str]
) -> Rule:
    """The optional `field` is set only where something holds, such as "with mode cluster".

    Args:
        field: the field.
        holds: what must hold of the model.
        cel: the same in CEL.
        where: the same as the end of a sentence.
        reads: the fields that `holds` reads.
    """
    alias = camel(field)

    def check(model: Any) -> Iterator[Broken]:
        if getattr(model, field) is not None and not holds(model):
            yield (alias,), forbidden

    return Rule(
        name=f"{alias}OnlyWhere",
        fields=(field, *reads),
        at=alias,
        message=f"may only be set {where}",
        check=check,
        cel=f"!has(self.{alias}) || {cel}",
    )


def needed_where(
    field: str, holds: Callable[[Any], bool], cel: str, where: str, *, reads: Sequence[str]
) -> Rule:
    """The optional `field` is set wherever something holds; see `only_where`."""
    alias = camel(field)

    def check(model: Any) -> Iterator[Broken]:
        if getattr(model, field) is None and holds(model):
            yield (alias,), required

    return Rule(
        name=f"{alias}NeededWhere",
        fields=(field, *reads),
        at=alias,
        message=f"must be set {where}",
        check=check,
        cel=f"has(self.{alias}) || !({cel})",
    )


def ordered(low: str, high: str) -> Rule:
    """The number `low` is not above the number `high`, where both are set."""
    low_alias, high_alias = camel(low), camel(high)

    def check(model: Any) -> Iterator[Broken]:
        least, most = getattr(model, low), getattr(model, high)
        if least is not None and most is not None and least > most:
            yield (low_alias,), wrong(least)

    return Rule(
        name=f"{low_alias}UpTo{high_alias[0].upper()}{high_alias[1:]}",
        fields=(low, high),
        at=low_alias,
        message=f"must be at most {high_alias}",
        check=check,
        cel=f"!has(self.{low_alias}) || !has(self.{high_alias}) "
        f"|| self.{low_alias} <= self.{high_alias}",
    )


def distinct(field: str, key: str | None = None) -> Rule:
    """No two entries of the list `field` are equal, or have an equal `key`.

    In a cluster the field's `x-kubernetes-list-type` says the same.
    """
    alias = camel(field)

    def check(model: Any) -> Iterator[Broken]:
        seen: set[Any] = set()
        for index, entry in enumerate(getattr(model, field) or ()):
            value = getattr(entry, key) if key else entry
            if value in seen:
                place: Path = (alias, index, key) if key else (alias, index)
                yield place, _twice(value)
            seen.add(value)

    return Rule(
        name=f"distinct{alias[0].upper()}{alias[1:]}",
        fields=(field,),
        at=alias,
        message=f"must have each {key or 'value'} only once",
        check=check,
    )


def distinct_numbers(field: str) -> Rule:
    """As `distinct`, by a rule: for an optional list of numbers, which may not be a `LIST_SET`."""
    alias = camel(field)

    def check(model: Any) -> Iterator[Broken]:
        numbers = getattr(model, field) or ()
        for index, number in enumerate(numbers):
            if number in numbers[:index]:
                yield (alias, index), wrong(number)

    once = f"self.{alias}.all(one, self.{alias}.exists_one(other, other == one))"
    return replace(distinct(field), check=check, cel=f"!has(self.{alias}) || {once}")


def _twice(value: object) -> Fault:
    return lambda _: duplicate(value)
