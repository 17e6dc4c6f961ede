"""CoDesignSearch: find the best architecture and device for a task, together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Field

from edgetran.api.architecture import ArchitectureSource, DesignSpaceSource
from edgetran.api.base import ApiModel
from edgetran.api.common import (
    COMMON_MUTABLE,
    PLACEMENT,
    CandidateSummary,
    CommonStatus,
    ConstraintsSpec,
    ParetoFront,
    RaySpec,
    ServeSpec,
    TrainerSpec,
    WorkloadSpec,
)
from edgetran.api.data import DataSource
from edgetran.api.device import SearchDevice
from edgetran.api.export import ExportTarget
from edgetran.api.gptran_run import Refinement
from edgetran.api.measures import COSTS, HARDWARE, MEASURES, with_fields
from edgetran.api.names import MAX_NAME
from edgetran.api.parent import (
    PARENT_WITH_ELASTIC,
    ParentModel,
    SharedWeights,
    SharedWeightsStatus,
)
from edgetran.api.profiling_job import MOST_CANDIDATES, MeasurementSpec, Sampling
from edgetran.api.resource import Resource, name_rule
from edgetran.api.rules import (
    Broken,
    Rule,
    at_least_one,
    camel,
    distinct,
    listed,
    needed_where,
    only_where,
    ordered,
    wrong,
)
from edgetran.api.scalars import LIST_SET, Allowed, Name, PositiveFigure, Seed, Text, list_map
from edgetran.api.task import TaskSource, Training
from edgetran.api.tracking import Tracking

Weight = Annotated[float, Field(ge=0, le=100)]
Normaliser = Annotated[float, Field(gt=0, le=1e9)]

_TERMS = [camel(measure.quantity) for measure in MEASURES]


def _no_weight(model: Any) -> Iterator[Broken]:
    if not any(getattr(model, measure.quantity) for measure in MEASURES):
        yield (), wrong(0)


@with_fields(
    MEASURES,
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
            fields=tuple(measure.quantity for measure in MEASURES),
            message=f"must have at least one of {listed(_TERMS)} above 0",
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
    """Where the term of each cost is 0; at the most of the design space where omitted."""


_DEFAULT_WEIGHTS = {measure.quantity: measure.weight for measure in MEASURES if measure.weight}


@with_fields(
    COSTS,
    lambda measure: (
        measure.name,
        Normaliser | None,
        Field(None, description=f"Most {measure.description[0].lower()}{measure.description[1:]}."),
    ),
)
class FrontBudget(ApiModel):
    """The most that the point of the front that is picked may cost."""

    RULES = (at_least_one(*(measure.name for measure in COSTS)),)


if TYPE_CHECKING:
    Axis = str
else:
    Axis = Literal[tuple(_TERMS)]


def _no_front(objective: Any) -> Iterator[Broken]:
    if objective.pareto is not None and "accuracy" not in objective.pareto:
        yield ("pareto",), wrong(", ".join(objective.pareto))


_PICK_BUDGET: Final = (
    lambda objective: objective.pick == "budget",
    "self.pick == 'budget'",
    "with pick budget",
)


class ObjectiveSpec(ApiModel):
    """What to maximise: a weighted sum, or the front of accuracy and costs."""

    weights: WeightsSpec = Field(
        WeightsSpec.model_validate(_DEFAULT_WEIGHTS),
        description="Weights of accuracy and costs; "
        f"{listed([f'{weight:g}' for weight in _DEFAULT_WEIGHTS.values()])} where omitted.",
    )
    normalisers: Normalisers = Field(Normalisers(), description="Where the term of each cost is 0.")
    scale: Literal["log", "linear"] = Field(
        "log",
        description="Scale of the costs: log counts ratios, from the least of the design space on; "
        "linear counts differences, with a normaliser from 0 on.",
    )
    pareto: (
        Annotated[tuple[Axis, ...], Field(strict=False, min_length=2, max_length=len(_TERMS))]
        | None
    ) = Field(
        None,
        description="Axes of the front that is sought in place of the weighted sum: accuracy "
        "and one or more costs.",
        json_schema_extra=LIST_SET,
    )
    pick: Literal["knee", "weights", "budget"] = Field(
        "knee",
        description="Which point of that front wins: the one where it bends most, the one with the "
        "highest weighted sum, or the most accurate one within `budget`.",
    )
    budget: FrontBudget | None = Field(
        None, description="The most of each cost, for pick budget only."
    )

    RULES = (
        distinct("pareto"),
        Rule(
            name="accuracyOnFront",
            fields=("pareto",),
            at="pareto",
            message="must have accuracy and one or more costs",
            check=_no_front,
            cel="!has(self.pareto) || 'accuracy' in self.pareto",
        ),
        needed_where("budget", *_PICK_BUDGET, reads=("pick",)),
        only_where("budget", *_PICK_BUDGET, reads=("pick",)),
    )


class SearchSettings(ApiModel):
    """How candidates are chosen, and how many are trained."""

    method: Annotated[
        str,
        Field(max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"),
        Allowed("the name of an installed search method, such as bayesian"),
    ] = Field(
        "bayesian",
        description="What proposes the next candidates: bayesian, boschcode, random, local, "
        "evolution, nsga2, or the name of a method that another package installs where the search "
        "runs.",
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
        ordered("initial_trials", "max_trials"),
        ordered("parallel_trials", "max_trials"),
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
    """An architecture that is trained for as long as the winner and compared with it."""

    architecture: ArchitectureSource = Field(description="The architecture.")


class VerificationSpec(ApiModel):
    """How the winner is measured on its board once the search has ended."""

    candidates: Annotated[int, Field(ge=1, le=MOST_CANDIDATES)] = Field(
        3,
        description="Candidates measured at most, the winner included: where it loses to the "
        "baseline in the objective, the next best by prediction on its board are measured one by "
        "one, until one does not.",
    )


class CoDesignSearchSpec(TrainerSpec):
    """Which task, which architectures and devices, and what is best."""

    task: TaskSource = Field(description="The task that candidates are trained and judged on.")
    data: DataSource | None = Field(
        None,
        description="In a cluster, where the task's files and its tokenizer lie, read-only; in the "
        "storage where omitted. On one machine paths are paths, whatever it says.",
    )
    design_space: DesignSpaceSource = Field(description="The architectures to choose from.")
    parent: ParentModel | None = Field(
        None, description="The model whose parts are searched, for designSpace.elastic only."
    )
    shared_weights: SharedWeights | None = Field(
        None,
        description="How the network that holds all parts of the parent is trained; its defaults "
        "where omitted.",
    )
    workload: WorkloadSpec = Field(WorkloadSpec(), description="Batch and length on the devices.")
    devices: Annotated[
        tuple[SearchDevice, ...], Field(strict=False, min_length=1, max_length=32)
    ] = Field(
        description="The devices to choose from.",
        json_schema_extra=list_map("name"),
    )
    objective: ObjectiveSpec = Field(ObjectiveSpec(), description="What to maximise.")
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
    verification: VerificationSpec = Field(
        VerificationSpec(),
        description="In a cluster, how the winner is measured on its board, beside the baseline.",
    )
    refine: Refinement | None = Field(
        None, description="Refine the winner by a GPTranRun; not where omitted."
    )
    export: (
        Annotated[tuple[ExportTarget, ...], Field(strict=False, min_length=1, max_length=16)] | None
    ) = Field(
        None,
        description="Forms in which the winner is exported besides its own artefact; one per "
        "device where omitted.",
    )
    serve: ServeSpec | None = Field(
        None,
        description="Serve the winner in the cluster by the Open Inference Protocol; not where "
        "omitted. It may change at any time.",
    )
    ray: RaySpec = Field(RaySpec(), description="Where candidates train.")
    tracking: Tracking | None = Field(
        None, description="Where trials are shown besides the run's own folder."
    )
    seed: Seed = Field(0, description="What every random choice follows from.")

    MUTABLE = frozenset({*COMMON_MUTABLE, *PLACEMENT, "serve", "tracking"})

    RULES = (
        distinct("devices", key="name"),
        PARENT_WITH_ELASTIC,
        only_where(
            "shared_weights",
            lambda spec: spec.parent is not None,
            "has(self.parent)",
            "with parent",
            reads=("parent",),
        ),
    )


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
    best: CandidateSummary | None = Field(
        None, description="The best candidate so far that meets the constraints."
    )
    nearest: Text | None = Field(
        None,
        description="While no candidate meets the constraints: the one that misses them by least, "
        "and by how much.",
    )
    baseline: CandidateSummary | None = Field(None, description="The baseline.")
    pareto_front: ParetoFront = Field(
        (), description="At most ten candidates of the Pareto front, spread along it."
    )
    pareto_size: Annotated[int, Field(ge=0)] = Field(
        0, description="Candidates of the whole Pareto front."
    )
    hypervolume: PositiveFigure | None = Field(None, description="Hypervolume of the Pareto front.")
    shared_weights: SharedWeightsStatus | None = Field(
        None, description="The trained elastic network of a search from a parent."
    )
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
