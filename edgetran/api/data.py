"""Where the data of a task lies in a cluster, apart from where results go."""

from __future__ import annotations

from pydantic import Field

from edgetran.api.base import ApiModel
from edgetran.api.common import ExistingClaim, ObjectName
from edgetran.api.rules import exactly_one


class ExistingConfigMap(ApiModel):
    """A ConfigMap that exists; its keys are files."""

    name: ObjectName = Field(description="Name of the ConfigMap, in the same namespace.")


class DataSource(ApiModel):
    """A volume with the task's files, which is read and never written."""

    claim: ExistingClaim | None = Field(None, description="A claim that exists.")
    config_map: ExistingConfigMap | None = Field(
        None, description="A ConfigMap, for files of 1 MiB in all."
    )

    RULES = (exactly_one("claim", "config_map"),)
