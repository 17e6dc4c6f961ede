"""The base of every v1alpha1 model: camelCase on paper, strict, closed, with named rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    GetJsonSchemaHandler,
    ValidationInfo,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from edgetran.api.rules import Rule, Violation

IMMUTABLE: Final = "is immutable"
IMMUTABLE_ONCE_BEGUN: Final = "is immutable once work has begun"
BEGUN: Final = {
    "active_since": None,
    "completion_time": None,
    "active_seconds": 0,
    "ended_attempts": 0,
}
"""Fields of a status that tell that work has begun, and what else than none they are before."""

RULES_LATER = "rules-later"
"""Validation context of a caller that asks each model for its `violations` itself."""


def _not_begun() -> str:
    unset = []
    for name, before in BEGUN.items():
        field = f"oldSelf.status.{to_camel(name)}"
        unset.append(
            f"!has({field})" if before is None else f"(!has({field}) || {field} == {before})"
        )
    return f"!has(oldSelf.status) || ({' && '.join(unset)})"


_NOT_BEGUN: Final = _not_begun()


class ApiModel(BaseModel):
    """An immutable part of a resource.

    A key with the value null counts as not given, as on a Kubernetes API server.

    Attributes:
        RULES: the rules that span this model's fields.
        MUTABLE: the fields that may change once the resource exists; None leaves that to the
            model around this one, which may forbid a change of the whole.
        UNTIL_BEGUN: the fields of a spec that cannot change once work began and may before; the
            resource's own rules judge it, since they alone see the status.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
    )

    RULES: ClassVar[tuple[Rule, ...]] = ()
    MUTABLE: ClassVar[frozenset[str] | None] = None
    UNTIL_BEGUN: ClassVar[frozenset[str]] = frozenset()

    def violations(self) -> Iterator[Violation]:
        """The rules of this model that it breaks, parts below it left out."""
        for rule in self.RULES:
            yield from rule.violations(self)

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        return {key: value for key, value in data.items() if value is not None}

    @model_validator(mode="after")
    def _obey_rules(self, info: ValidationInfo) -> Self:
        if info.context == RULES_LATER:
            return self
        broken = [
            ".".join(map(str, violation.path)) + ": " * bool(violation.path) + violation.message
            for violation in self.violations()
        ]
        if broken:
            raise PydanticCustomError("rule", "{broken}", {"broken": "; ".join(broken)})
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core_schema)
        own = handler.resolve_ref_schema(schema)
        properties = own.get("properties", {})
        for name, field in cls.model_fields.items():
            _make_structural(properties[field.alias or name], field)
        validations = [
            {"rule": rule.cel, "message": rule.sentence} for rule in cls.RULES if rule.cel
        ]
        validations += [
            {"rule": rule, "message": f"{alias} {IMMUTABLE}"} for alias, rule in _immutability(cls)
        ]
        validations += [
            {"rule": rule, "message": f"{alias} {IMMUTABLE_ONCE_BEGUN}"}
            for alias, rule in _immutability_of_begun(cls)
        ]
        if validations:
            own["x-kubernetes-validations"] = validations
        return schema


def immutable_fields(model: type[ApiModel]) -> list[str]:
    """Python names of the fields of a `model` with MUTABLE that cannot change as a whole."""
    if model.MUTABLE is None:
        return []
    return [
        name
        for name, field in model.model_fields.items()
        if name not in model.MUTABLE
        and not (
            isinstance(field.annotation, type)
            and issubclass(field.annotation, ApiModel)
            and field.annotation.MUTABLE is not None
        )
    ]


def _immutability(model: type[ApiModel]) -> Iterator[tuple[str, str]]:
    for name in immutable_fields(model):
        field = model.model_fields[name]
        alias = field.alias or name
        if name not in model.UNTIL_BEGUN:
            yield alias, _same(f"self.{alias}", f"oldSelf.{alias}", required=field.is_required())


def _immutability_of_begun(model: type[ApiModel]) -> Iterator[tuple[str, str]]:
    """Of a resource: the fields of its spec that may change until its status says that it began."""
    spec: Any = model.model_fields["spec"].annotation if "spec" in model.model_fields else None
    if not (isinstance(spec, type) and issubclass(spec, ApiModel)):
        return
    for name in sorted(spec.UNTIL_BEGUN):
        field = spec.model_fields[name]
        alias = field.alias or name
        now, then = f"self.spec.{alias}", f"oldSelf.spec.{alias}"
        same = _same(now, then, required=field.is_required())
        yield alias, f"({same}) || {_NOT_BEGUN}"


def _same(now: str, then: str, *, required: bool) -> str:
    if required:
        return f"{now} == {then}"
    return f"has({now}) == has({then}) && (!has({now}) || {now} == {then})"


def _make_structural(schema: dict[str, Any], field: FieldInfo) -> None:
    """Say in `schema` what a structural schema can say: no const, no nulls, no titles."""
    if field.description:
        schema["description"] = field.description
    schema.pop("title", None)
    if isinstance(field.default, ApiModel):
        # An API server completes it by the part's own defaults; what follows from other fields
        # must not be written down, or it would stay when they change.
        schema["default"] = field.default.model_dump(mode="json", by_alias=True, exclude_unset=True)
    elif schema.get("default") is None:
        schema.pop("default", None)
    for part in (schema, *schema.get("anyOf", ())):
        if "const" in part:
            part["enum"] = [part.pop("const")]
