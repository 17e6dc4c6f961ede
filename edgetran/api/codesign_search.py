"""CoDesignSearch: find the best architecture and device for a task, together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field

from edgetran.api.architecture import ArchitectureSource, DesignSpaceSource
from edgetran.api.base import ApiModel
from edgetran.api.common import (
    CandidateSummary,
    CommonSpec,
    CommonStatus,
    ConstraintsSpec,
    ParetoFront,
    RaySpec,
    WorkloadSpec,
)
from edgetran.api.device import SearchDevice
from edgetran.api.export import ExportTarget
from edgetran.api.gptran_run import Refinement
from edgetran.api.measures import HARDWARE, WEIGHED, with_fields
from edgetran.api.names import MAX_NAME
from edgetran.api.profiling_job import MeasurementSpec, Sampling
from edgetran.api.resource import Resource, name_rule
from edgetran.api.rules import Path, Rule, camel, distinct, listed
from edgetran.api.scalars import Name, PositiveFigure, Seed, Text, list_map
from edgetran.api.task import TaskSource, Training

Weight = Annotated[float, Field(ge=0, le=100)]
Normaliser = Annotated[float, Field(gt=0, le=1e9)]

_TERMS = [camel(measure.quantity) for measure in WEIGHED]


def _no_weight(model: Any) -> Iterator[tuple[Path, str]]:
    if not any(getattr(model, measure.quantity) for measure in WEIGHED):
        yield (), "all weights are 0"


@with_fields(
    WEIGHED,
    lambda measure: (
        measure.quantity,
        Weight,
        Field(
            0.0,
            description="Weight of the task's selection metric."
            if measure.kind == "quality"
            else f"Weight of {measure.words}, the less the better.",
        ),
    ),
)
class WeightsSpec(ApiModel):
    """Weights of the objective; those left out are 0."""

    RULES = (
        Rule(
            name="someWeight",
            fields=tuple(measure.quantity for measure in WEIGHED),
            allowed=f"at least one of {listed(_TERMS)} above 0",
            check=_no_weight,
            cel=" || ".join(f"self.{term} > 0.0" for term in _TERMS),
        ),
    )


@with_fields(
    HARDWARE,
    lambda measure: (
        measure.name,
        Normaliser | None,
        Field(None, description=f"{measure.title} that counts as 1."),
    ),
)
class Normalisers(ApiModel):
    """What each cost is divided by; the range over the design space where omitted."""


_DEFAULT_WEIGHTS = {measure.quantity: measure.weight for measure in WEIGHED if measure.weight}


class ObjectiveSpec(ApiModel):
    """The weighted sum to maximise."""

    weights: WeightsSpec = Field(
        WeightsSpec.model_validate(_DEFAULT_WEIGHTS),
        description="Weights of accuracy and costs; "
        f"{listed([f'{weight:g}' for weight in _DEFAULT_WEIGHTS.values()])} where omitted.",
    )
    normalisers: Normalisers = Field(
        Normalisers(), description="What each cost is divided by before it is weighted."
    )


def _initial_up_to_max(model: Any) -> Iterator[tuple[Path, str]]:
    for field, alias in (
        ("initial_trials", "initialTrials"),
        ("parallel_trials", "parallelTrials"),
    ):
        value = getattr(model, field)
        if value is not None and value > model.max_trials:
            yield (alias,), f"{value} was given and maxTrials is {model.max_trials}"


class SearchSettings(ApiModel):
    """How candidates are chosen, and how many are trained."""

    method: Literal["boschcode", "random", "local", "evolution", "nsga2", "bayesian"] = Field(
        "boschcode", description="What proposes the next candidates."
    )
    max_trials: Annotated[int, Field(ge=1, le=100_000)] = Field(
        64, description="Candidates that are trained, those that failed included."
    )
    initial_trials: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        None,
        description="Candidates spread over the space before the method learns from them; 8, or "
        "maxTrials where that is less, where omitted.",
    )
    parallel_trials: Annotated[int, Field(ge=1, le=10_000)] = Field(
        1, description="Candidates that train at the same time."
    )
    max_failed_trials: Annotated[int, Field(ge=0, le=100_000)] = Field(
        3, description="Failed trials after which the search has failed: one more than this."
    )

    RULES = (
        Rule(
            name="trialsUpToMaxTrials",
            fields=("initial_trials", "parallel_trials", "max_trials"),
            allowed="initialTrials and parallelTrials up to maxTrials",
            check=_initial_up_to_max,
            cel="(!has(self.initialTrials) || self.initialTrials <= self.maxTrials) "
            "&& self.parallelTrials <= self.maxTrials",
        ),
    )
    MUTABLE = frozenset({"max_trials", "parallel_trials", "max_failed_trials"})

    @property
    def initial_design(self) -> int:
        """Candidates spread over the space before the method learns from them."""
        return min(8, self.max_trials) if self.initial_trials is None else self.initial_trials


class DeviceProfiling(ApiModel):
    """How devices without a ProfilingJob of their own are measured."""

    measurement: MeasurementSpec = Field(
        MeasurementSpec(), description="How one architecture is measured."
    )
    sampling: Sampling = Field(
        Sampling(), description="Which architectures are measured, and when it is enough."
    )


class Baseline(ApiModel):
    """An architecture that is trained equally long and shown beside the winner."""

    architecture: ArchitectureSource = Field(description="The architecture.")


class CoDesignSearchSpec(CommonSpec):
    """Which task, which architectures and devices, and what is best."""

    task: TaskSource = Field(description="The task that candidates are trained and judged on.")
    design_space: DesignSpaceSource = Field(description="The architectures to choose from.")
    workload: WorkloadSpec = Field(WorkloadSpec(), description="Batch and length on the devices.")
    devices: Annotated[
        tuple[SearchDevice, ...], Field(strict=False, min_length=1, max_length=32)
    ] = Field(
        description="The devices to choose from.",
        json_schema_extra=list_map("name"),
    )
    objective: ObjectiveSpec = Field(ObjectiveSpec(), description="The weighted sum to maximise.")
    constraints: ConstraintsSpec | None = Field(None, description="Bounds that the winner meets.")
    search: SearchSettings = Field(
        SearchSettings(), description="How candidates are chosen, and how many are trained."
    )
    training: Training = Field(Training(), description="How each candidate is trained.")
    profiling: DeviceProfiling = Field(
        DeviceProfiling(), description="How devices without a ProfilingJob are measured."
    )
    baseline: Baseline | None = Field(
        None, description="An architecture to compare the winner with; none where omitted."
    )
    refine: Refinement | None = Field(
        None, description="Refine the winner by a GPTranRun; not where omitted."
    )
    export: (
        Annotated[tuple[ExportTarget, ...], Field(strict=False, min_length=1, max_length=16)] | None
    ) = Field(
        None,
        description="As what the winner is handed over besides its own artefact; one per device "
        "where omitted.",
    )
    ray: RaySpec = Field(RaySpec(), description="Where candidates train.")
    seed: Seed = Field(0, description="What every random choice follows from.")

    RULES = (distinct("devices", key="name"),)


class DeviceStatus(ApiModel):
    """How one device of the search stands."""

    name: Annotated[str, Field(max_length=20)] = Field(description="Name of the device.")
    source: Literal["measured", "simulated"] = Field(
        description="Where the device's figures come from."
    )
    profiling_job: Annotated[Name, Field(max_length=MAX_NAME)] | None = Field(
        None, description="The ProfilingJob that measures it."
    )
    ready: bool = Field(False, description="Whether its cost can be predicted.")
    latency_error: PositiveFigure | None = Field(
        None, description="Cross-validated relative error of predicted latency."
    )
    reason: Annotated[str, Field(max_length=128)] | None = Field(
        None, description="Why it is not ready, as one CamelCase word."
    )


class CoDesignSearchStatus(CommonStatus):
    """How far the search is."""

    running: Annotated[int, Field(ge=0)] = Field(0, description="Trials that run.")
    succeeded: Annotated[int, Field(ge=0)] = Field(0, description="Trials that succeeded.")
    failed: Annotated[int, Field(ge=0)] = Field(0, description="Trials that failed.")
    infeasible: Annotated[int, Field(ge=0)] = Field(
        0, description="Trials that break a constraint."
    )
    best: CandidateSummary | None = Field(None, description="The best candidate so far.")
    baseline: CandidateSummary | None = Field(None, description="The baseline.")
    pareto_front: ParetoFront = Field(
        (), description="At most ten candidates of the Pareto front, spread along it."
    )
    pareto_size: Annotated[int, Field(ge=0)] = Field(
        0, description="Candidates of the whole Pareto front."
    )
    hypervolume: PositiveFigure | None = Field(None, description="Hypervolume of the Pareto front.")
    devices: Annotated[tuple[DeviceStatus, ...], Field(strict=False, max_length=32)] = Field(
        (), description="How each device stands.", json_schema_extra=list_map("name")
    )
    refinement: Text | None = Field(None, description="The GPTranRun that refines the winner.")

    RULES = (*CommonStatus.RULES, distinct("devices", key="name"))


class CoDesignSearch(Resource):
    """Finds the best architecture and device for a task."""

    kind: Literal["CoDesignSearch"] = Field(description="CoDesignSearch.")
    spec: CoDesignSearchSpec = Field(description="What is asked for.")
    status: CoDesignSearchStatus | None = Field(None, description="How it stands.")

    SHORT_NAME = "cds"
    PLURAL = "codesignsearches"
    RULES = (name_rule("CoDesignSearch"),)
