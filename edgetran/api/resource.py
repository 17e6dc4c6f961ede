"""What the three kinds have in common as objects of an API group."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Final, Literal

from pydantic import Field, PrivateAttr

from edgetran.api.base import ApiModel
from edgetran.api.common import CommonSpec
from edgetran.api.meta import ObjectMeta
from edgetran.api.names import NAME_LIMITS, capped
from edgetran.api.rules import Broken, Rule, wrong

GROUP: Final = "edgetran.io"
VERSION: Final = "v1alpha1"
API_VERSION: Final = "edgetran.io/v1alpha1"


def name_rule(kind: str) -> Rule:
    """The name of a `kind` leaves room for its children's names."""
    limit = NAME_LIMITS[kind]

    def check(model: Any) -> Iterator[Broken]:
        if len(model.metadata.name) > limit:
            yield ("metadata", "name"), wrong(model.metadata.name)

    return Rule(
        name="nameFitsChildren",
        fields=("metadata",),
        at="metadata.name",
        message=f"must have at most {limit} characters, so that the names of its children fit 63",
        check=check,
        cel=f"self.metadata.name.size() <= {limit}",
    )


class Resource(ApiModel):
    """An object of the group edgetran.io.

    Attributes:
        SHORT_NAME: what `kubectl get` takes in place of the kind.
        PLURAL: the kind's name in addresses.
    """

    api_version: Literal["edgetran.io/v1alpha1"] = Field(
        description="API group and version: edgetran.io/v1alpha1."
    )
    kind: str = Field(description="Kind of the resource.")
    metadata: ObjectMeta = Field(description="What the resource is called.")
    spec: CommonSpec = Field(description="What is asked for.")

    SHORT_NAME: ClassVar[str]
    PLURAL: ClassVar[str]

    _source: str = PrivateAttr("")

    @property
    def source(self) -> str:
        """The file that the resource was read from; empty where there was none."""
        return self._source

    @property
    def name(self) -> str:
        """The name within the kind."""
        return self.metadata.name

    @property
    def label(self) -> str:
        """`KIND/NAME`, as messages call it."""
        return f"{self.kind}/{self.metadata.name}"


def child_name(resource: Resource, suffix: str) -> str:
    """The deterministic name `NAME-KIND-SUFFIX` of a child, KIND being the kind's short name.

    Children of two resources never share a name, since a short name has no '-' in it.

    Raises:
        ValueError: the name is longer than 63 characters, which valid resources never cause.
    """
    return capped(f"{resource.name}-{resource.SHORT_NAME}-{suffix}")
