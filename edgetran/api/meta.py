"""Metadata and conditions as in Kubernetes' meta/v1, and the list-map that conditions form."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from edgetran.api.base import ApiModel
from edgetran.api.rules import Rule, distinct
from edgetran.api.scalars import Annotations, FreeForm, Labels, Name, Text, Time, list_map


class OwnerReference(ApiModel):
    """A metav1.OwnerReference."""

    api_version: Text = Field(description="API group and version of the owner.")
    kind: Text = Field(description="Kind of the owner.")
    name: Annotated[str, Field(max_length=253)] = Field(description="Name of the owner.")
    uid: Text = Field(description="Unique identifier of the owner.")
    controller: bool | None = Field(None, description="True where the owner manages this object.")
    block_owner_deletion: bool | None = Field(
        None, description="True where the owner waits for this object when it is deleted."
    )


class ObjectMeta(ApiModel):
    """What a resource is called, and what an API server keeps about it."""

    name: Name = Field(description="Name of the resource, unique among its kind.")
    namespace: Name | None = Field(None, description="Namespace that holds the resource.")
    labels: Labels | None = Field(None, description="Labels to select the resource by.")
    annotations: Annotations | None = Field(None, description="Notes that tools keep.")
    generate_name: Text | None = Field(None, description="Prefix that the name was made from.")
    uid: Text | None = Field(None, description="Unique identifier, given by the API server.")
    resource_version: Text | None = Field(None, description="Version for optimistic locking.")
    generation: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Number of the spec's version, given by the API server."
    )
    creation_timestamp: Time | None = Field(None, description="When the resource was created.")
    deletion_timestamp: Time | None = Field(None, description="When its deletion was asked for.")
    deletion_grace_period_seconds: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Seconds left to end in an orderly way."
    )
    self_link: Text | None = Field(None, description="Address of the resource on old servers.")
    finalizers: Annotated[tuple[Text, ...], Field(strict=False, max_length=64)] | None = Field(
        None, description="What must be done before the resource goes away."
    )
    owner_references: (
        Annotated[tuple[OwnerReference, ...], Field(strict=False, max_length=64)] | None
    ) = Field(None, description="What this resource belongs to.")
    managed_fields: Annotated[tuple[FreeForm, ...], Field(strict=False, max_length=256)] | None = (
        Field(None, description="Who set which field, kept by the API server.")
    )


class Condition(ApiModel):
    """A metav1.Condition."""

    type: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9]*$")] = (
        Field(description="What the condition is about, such as Succeeded.")
    )
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: Annotated[
        str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z]([A-Za-z0-9_]*[A-Za-z0-9])?$")
    ] = Field(description="Why, as one CamelCase word.")
    message: Annotated[str, Field(max_length=1024)] = Field("", description="Why, in a sentence.")
    last_transition_time: Time = Field(description="When the status last changed.")
    observed_generation: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Version of the spec that the condition refers to."
    )


Conditions = Annotated[
    tuple[Condition, ...],
    Field(
        strict=False,
        max_length=16,
        json_schema_extra=list_map("type"),
    ),
]
"""Conditions keyed by their type."""

ONE_CONDITION_PER_TYPE: Rule = distinct("conditions", key="type")

_MESSAGE_LIMIT = 1024


def find_condition(conditions: Sequence[Condition], type_: str) -> Condition | None:
    """The condition of that type, or None."""
    return next((condition for condition in conditions if condition.type == type_), None)


def set_condition(
    conditions: Sequence[Condition],
    type_: str,
    status: Literal["True", "False", "Unknown"],
    reason: str,
    message: str = "",
    *,
    now: datetime,
    observed_generation: int | None = None,
) -> tuple[Condition, ...]:
    """`conditions` with one set; its time moves only when its status flips.

    The order of the others is kept and a new condition goes to the end. A message beyond 1024
    characters is cut.
    """
    before = find_condition(conditions, type_)
    unchanged = before is not None and before.status == status
    after = Condition(
        type=str(type_),
        status=status,
        reason=str(reason),
        message=message if len(message) <= _MESSAGE_LIMIT else message[: _MESSAGE_LIMIT - 1] + "…",
        last_transition_time=before.last_transition_time if before and unchanged else now,
        observed_generation=observed_generation,
    )
    if before is None:
        return (*conditions, after)
    return tuple(after if condition.type == type_ else condition for condition in conditions)


def remove_condition(conditions: Sequence[Condition], type_: str) -> tuple[Condition, ...]:
    """`conditions` without the one of that type."""
    return tuple(condition for condition in conditions if condition.type != type_)
