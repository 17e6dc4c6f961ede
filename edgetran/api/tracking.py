"""Where the trials of a search are also shown: a tracking server, off where nothing is said."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from edgetran.api.addresses import TRACKER_CHECKS, address_rules
from edgetran.api.base import ApiModel
from edgetran.api.scalars import Allowed, TrackerUri

ExperimentName = Annotated[
    str,
    Field(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$"),
    Allowed("an experiment's name of 1 to 256 characters"),
]


class MlflowTracking(ApiModel):
    """An MLflow tracking server."""

    uri: TrackerUri = Field(
        description="Address of the server, without credentials, such as http://mlflow.lan:5000; "
        "MLFLOW_TRACKING_USERNAME and _PASSWORD, or _TOKEN, are variables of the process."
    )
    experiment: ExperimentName | None = Field(
        None,
        description="Name of the experiment, made where it does not exist; the search's name, "
        "after its namespace and a slash where it has one, where omitted.",
    )

    RULES = address_rules("uri", *TRACKER_CHECKS)


class Tracking(ApiModel):
    """Where trials are shown besides the run's own folder, which alone is what counts."""

    mlflow: MlflowTracking = Field(
        description="An MLflow server: a run per trial, and one of the result."
    )
