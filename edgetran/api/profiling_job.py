"""ProfilingJob: measure architectures on one device until their cost can be predicted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from edgetran.api.architecture import DesignSpaceSource
from edgetran.api.base import ApiModel
from edgetran.api.common import (
    CommonSpec,
    CommonStatus,
    MeasureValue,
    Reference,
    WorkloadSpec,
)
from edgetran.api.device import Device
from edgetran.api.field_errors import forbidden
from edgetran.api.measures import HARDWARE, HardwareMeasure, with_fields
from edgetran.api.parent import PARENT_WITH_ELASTIC, ParentModel
from edgetran.api.resource import Resource, name_rule
from edgetran.api.rules import Broken, Rule, distinct, exactly_one, not_together, ordered
from edgetran.api.scalars import (
    LIST_SET,
    Allowed,
    Figure,
    FilePath,
    PositiveFigure,
    Seed,
    Text,
    Time,
    list_map,
)

MOST_CANDIDATES: Final = 8
"""Candidates of a search that are measured on their board before it gives up to find a winner."""


class MeasurementSpec(ApiModel):
    """How one architecture is measured."""

    mode: Literal["quick", "standard", "reference"] = Field(
        "standard",
        description="Length of a measurement: quick (at least 1 s and 10 iterations), standard "
        "(10 s or 100 iterations, whichever is later), reference (600 s, as MLPerf Inference).",
    )
    max_repeats: Annotated[int, Field(ge=0, le=20)] | None = Field(
        None,
        description="How often an unstable measurement is repeated before it is marked so; the "
        "mode's own number where omitted.",
    )
    passes: Annotated[int, Field(ge=1, le=21)] = Field(
        1,
        description="How often each architecture is measured, each time after all the others of "
        "its batch; the middle one of its stable measurements counts. 3 or 5 help where other work "
        "comes and goes on the device.",
    )
    max_drift: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None,
        description="Relative drift of successive windows above which a run is unstable; the "
        "mode's own limit where omitted.",
    )
    cool_down_seconds: Annotated[float, Field(ge=0, le=3600)] = Field(
        0.0, description="Pause between measurements in seconds."
    )


class Sampling(ApiModel):
    """Which architectures of the design space are measured, and when it is enough."""

    method: Literal["hierarchical", "sobol", "lhs", "halton"] = Field(
        "sobol", description="How the first architectures are drawn."
    )
    max_measurements: Annotated[int, Field(ge=2, le=100_000)] = Field(
        64, description="Architectures measured at most."
    )
    initial: Annotated[int, Field(ge=2, le=10_000)] | None = Field(
        None,
        description="Architectures measured before the first surrogate is fitted; 16, or "
        "maxMeasurements where that is less, where omitted.",
    )
    batch: Annotated[int, Field(ge=1, le=1000)] = Field(
        8, description="Architectures that each round of active learning measures."
    )
    target_error: Annotated[float, Field(gt=0, le=1)] = Field(
        0.05,
        description="Mean cross-validated relative error, of every measure that is predictable, at "
        "which measuring stops.",
    )

    RULES = (ordered("initial", "max_measurements"),)

    @property
    def initial_design(self) -> int:
        """Architectures measured before the first surrogate is fitted."""
        return min(16, self.max_measurements) if self.initial is None else self.initial


def _written_out(sampling: Sampling) -> dict[str, Any]:
    return {
        **sampling.model_dump(mode="json", by_alias=True),
        "initial": sampling.initial_design,
    }


_DEFAULT_SAMPLING = _written_out(Sampling())


def _no_sampling_of_models(model: Any) -> Iterator[Broken]:
    given = model.models is not None or model.finalists_of is not None
    if given and _written_out(model.sampling) != _DEFAULT_SAMPLING:
        yield ("sampling",), forbidden


_SAMPLING_IS_DEFAULT = " && ".join(
    f"(!has(self.sampling.{alias}) || self.sampling.{alias} == {json.dumps(value)})"
    for alias, value in _DEFAULT_SAMPLING.items()
)


class FinalistsSource(ApiModel):
    """The run whose finalists are measured: its winner, its search's best and its baseline."""

    search_ref: Reference | None = Field(None, description="A CoDesignSearch that has ended.")
    refinement_ref: Reference | None = Field(None, description="A GPTranRun that has ended.")

    RULES = (exactly_one("search_ref", "refinement_ref"),)

    @property
    def field(self) -> str:
        """The field that names the run, as it is written."""
        return "searchRef" if self.search_ref is not None else "refinementRef"

    @property
    def kind(self) -> str:
        """The run's kind."""
        return "CoDesignSearch" if self.search_ref is not None else "GPTranRun"

    @property
    def name(self) -> str:
        """The run's name."""
        reference = self.search_ref or self.refinement_ref
        assert reference is not None  # noqa: S101 - the rule demands one
        return reference.name


class ProfilingJobSpec(CommonSpec):
    """What to measure, where and how."""

    device: Device = Field(description="The device to measure on.")
    design_space: DesignSpaceSource | None = Field(
        None, description="The architectures whose cost is to be predicted."
    )
    parent: ParentModel | None = Field(
        None, description="The model whose parts are measured, for designSpace.elastic only."
    )
    models: (
        Annotated[tuple[FilePath, ...], Field(strict=False, min_length=1, max_length=256)] | None
    ) = Field(
        None,
        description="Folders of transformers models to measure, every one.",
        json_schema_extra=LIST_SET,
    )
    finalists_of: FinalistsSource | None = Field(
        None,
        description="A run that is kept in a storage, whose winner, search's best and baseline are "
        "measured beside one another, as the very artefacts that were scored.",
    )
    workload: WorkloadSpec = Field(WorkloadSpec(), description="Batch and length to measure with.")
    measurement: MeasurementSpec = Field(
        MeasurementSpec(), description="How one architecture is measured."
    )
    sampling: Sampling = Field(
        Sampling(), description="Which architectures are measured, and when it is enough."
    )
    warm_start_from: (
        Annotated[tuple[Reference, ...], Field(strict=False, min_length=1, max_length=16)] | None
    ) = Field(
        None,
        description="ProfilingJobs of other devices whose measurements the surrogate starts from.",
        json_schema_extra=list_map("name"),
    )
    priors: (
        Annotated[tuple[FilePath, ...], Field(strict=False, min_length=1, max_length=16)] | None
    ) = Field(
        None,
        description="Files of `edgetran profile export`, of devices that compute alike, whose "
        "measurements the surrogate starts from; in a cluster paths in the storage.",
        json_schema_extra=LIST_SET,
    )
    seed: Seed = Field(0, description="What every random choice follows from.")

    RULES = (
        exactly_one("design_space", "models", "finalists_of"),
        PARENT_WITH_ELASTIC,
        Rule(
            name="samplingOnlyWithDesignSpace",
            fields=("models", "finalists_of", "sampling"),
            at="sampling",
            message="may only be set with designSpace; models and finalistsOf are all measured",
            check=_no_sampling_of_models,
            cel=f"(!has(self.models) && !has(self.finalistsOf)) || ({_SAMPLING_IS_DEFAULT})",
        ),
        not_together("finalists_of", "warm_start_from", "priors"),
        distinct("models"),
        distinct("priors"),
        distinct("warm_start_from", key="name"),
    )


class PredictionError(ApiModel):
    """How well one measure can be predicted."""

    measure: HardwareMeasure = Field(description="The measure.")
    error: PositiveFigure | None = Field(
        None, description="Cross-validated relative error; none where it is not predictable."
    )
    reason: Text | None = Field(None, description="Why the measure is not predictable.")


class CostRange(ApiModel):
    """One measure over the architectures measured, per sequence, in the unit of its name."""

    min: PositiveFigure = Field(description="The least.")
    median: PositiveFigure = Field(description="The median.")
    max: PositiveFigure = Field(description="The most.")


@with_fields(
    HARDWARE,
    lambda measure: (
        measure.name,
        CostRange | None,
        Field(None, description=f"{measure.description} in {measure.unit_words}."),
    ),
)
class MeasuredCosts(ApiModel):
    """What the architectures measured cost; a measure that was not sensed is left out."""


@with_fields(
    HARDWARE,
    lambda measure: (
        measure.name,
        MeasureValue | None,
        Field(None, description=f"{measure.description}."),
    ),
)
class MeasuredFinalist(ApiModel):
    """What one artefact of a run costs on the board, measured beside the others."""

    finalist: Annotated[
        str,
        Field(max_length=16, pattern=r"^(winner|searchBest|baseline|runnerUp[1-9])$"),
        Allowed("winner, searchBest, baseline or runnerUp1, runnerUp2 and so on"),
    ] = Field(
        description="Which one it is; runnerUp1 is the next best of the search, and so on.",
    )
    trial: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Number of its trial, where it was not the winner of its run."
    )
    architecture: Annotated[str, Field(max_length=32, pattern=r"^[0-9a-f]*$")] = Field(
        "", description="The architecture's graph hash."
    )
    accuracy: Figure | None = Field(None, description="Selection metric on validation data.")
    test_accuracy: Figure | None = Field(None, description="The metric on test data.")
    parameters: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Number of parameters."
    )
    made_for: Annotated[str, Field(max_length=32)] | None = Field(
        None, description="Engine and precision of the artefact."
    )
    artifact: Annotated[str, Field(max_length=64, pattern=r"^[0-9a-f]*$")] = Field(
        description="SHA-256 of the artefact that was measured."
    )
    stable: bool = Field(True, description="Whether the measurement was stable.")
    objective: Figure | None = Field(
        None, description="The objective with what was measured; none where the run has none."
    )

    def hardware(self, measure: str) -> MeasureValue | None:
        """What it costs by the measure of that name; None where nothing was said of it."""
        value: MeasureValue | None = getattr(self, measure)
        return value


class ProfilingJobStatus(CommonStatus):
    """How far measuring is."""

    measured: Annotated[int, Field(ge=0)] = Field(0, description="Architectures measured.")
    unstable: Annotated[int, Field(ge=0)] = Field(
        0, description="Measurements that stayed unstable."
    )
    failed: Annotated[int, Field(ge=0)] = Field(
        0, description="Architectures that could not be measured."
    )
    errors: Annotated[
        tuple[PredictionError, ...], Field(strict=False, max_length=len(HARDWARE))
    ] = Field(
        (),
        description="How well each measure can be predicted.",
        json_schema_extra=list_map("measure"),
    )
    costs: MeasuredCosts | None = Field(
        None, description="Range and median of each measure over the architectures measured."
    )
    finalists: Annotated[
        tuple[MeasuredFinalist, ...], Field(strict=False, max_length=MOST_CANDIDATES + 2)
    ] = Field(
        (),
        description="What the finalists of another run cost.",
        json_schema_extra=list_map("finalist"),
    )
    node: Annotated[str, Field(max_length=253)] | None = Field(
        None, description="The node that was measured on."
    )
    board_returned: Time | None = Field(
        None,
        description="When it last gave its board to others, since its worker did not start there.",
    )

    RULES = (
        *CommonStatus.RULES,
        distinct("errors", key="measure"),
        distinct("finalists", key="finalist"),
    )


class ProfilingJob(Resource):
    """Measures architectures on one device and learns to predict their cost."""

    kind: Literal["ProfilingJob"] = Field(description="ProfilingJob.")
    spec: ProfilingJobSpec = Field(description="What is asked for.")
    status: ProfilingJobStatus | None = Field(None, description="How it stands.")

    SHORT_NAME = "pj"
    PLURAL = "profilingjobs"
    RULES = (name_rule("ProfilingJob"),)
