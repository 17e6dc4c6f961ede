"""GPTranRun: refine one model by growing and pruning its blocks."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from edgetran.api.architecture import FeedForwardWidth, HeadType
from edgetran.api.base import ApiModel
from edgetran.api.common import (
    COMMON_MUTABLE,
    PLACEMENT,
    Budgets,
    CandidateSummary,
    CommonStatus,
    ParetoFront,
    RaySpec,
    Reference,
    ServeSpec,
    TrainerSpec,
    WorkloadSpec,
)
from edgetran.api.data import DataSource
from edgetran.api.device import SearchDevice
from edgetran.api.export import ExportTarget
from edgetran.api.resource import Resource, name_rule
from edgetran.api.rules import (
    Rule,
    at_least_one,
    distinct,
    distinct_numbers,
    exactly_one,
    needed_where,
    not_together,
    wrong,
)
from edgetran.api.scalars import LIST_SET, FilePath, Seed
from edgetran.api.task import TaskSource, Training
from edgetran.api.tracking import Tracking

Stage = Literal[
    "growHeads",
    "growFeedForwards",
    "growLayers",
    "pruneHeads",
    "pruneFeedForwards",
    "pruneLayers",
    "pruneHiddenSize",
]
RunningStage = Literal["schedule", Stage]
"""A stage of a cycle, or the schedule of big cuts before the first."""


Factor = Annotated[float, Field(gt=1, le=1000)]


class TargetsSpec(ApiModel):
    """How small or fast models are to become; each value gives one model of a family."""

    speedup: Annotated[tuple[Factor, ...], Field(strict=False, min_length=1, max_length=16)] | (
        None
    ) = Field(
        None,
        description="How many times faster than the given model, by the device's prediction.",
    )
    parameters: (
        Annotated[
            tuple[Annotated[int, Field(ge=1, le=10**12)], ...],
            Field(strict=False, min_length=1, max_length=16),
        ]
        | None
    ) = Field(None, description="Numbers of parameters at most.", json_schema_extra=LIST_SET)
    encoder_reduction: (
        Annotated[tuple[Factor, ...], Field(strict=False, min_length=1, max_length=16)] | None
    ) = Field(
        None,
        description="How many times fewer parameters in the encoder's layers.",
    )

    RULES = (
        distinct_numbers("speedup"),
        distinct("parameters"),
        distinct_numbers("encoder_reduction"),
        at_least_one("speedup", "parameters", "encoder_reduction"),
    )


class StepSizesSpec(ApiModel):
    """How far one step grows or prunes, as shares of a layer of any size."""

    pruned_heads: Annotated[int, Field(ge=1, le=64)] = Field(
        2, description="Heads that one step removes."
    )
    narrowed_feed_forwards: Annotated[int, Field(ge=1, le=64)] = Field(
        2, description="Feed-forward layers that one step narrows."
    )
    feed_forward_fraction: Annotated[float, Field(ge=0.01, le=0.9)] = Field(
        0.25, description="Share of a feed-forward layer's width that one step adds or removes."
    )
    hidden_size_fraction: Annotated[float, Field(ge=0.01, le=0.9)] = Field(
        0.0625, description="Share of the hidden size that one step removes."
    )
    appended_widths: (
        Annotated[tuple[FeedForwardWidth, ...], Field(strict=False, min_length=1, max_length=16)]
        | None
    ) = Field(
        None,
        description="Widths of feed-forward layers that growing appends to a stack; the width of "
        "the layer before and twice the hidden size where omitted.",
        json_schema_extra=LIST_SET,
    )
    head_types: Annotated[tuple[HeadType, ...], Field(strict=False, min_length=1, max_length=7)] | (
        None
    ) = Field(
        None,
        description="Types of heads that growing adds; all seven where omitted.",
        json_schema_extra=LIST_SET,
    )
    max_feed_forward_stack: Annotated[int, Field(ge=1, le=8)] = Field(
        3, description="Most feed-forward layers that growing stacks in a layer."
    )

    RULES = (distinct("appended_widths"), distinct("head_types"))


class MinimumSizes(ApiModel):
    """What pruning never goes below; one head and one layer always stay."""

    feed_forward: Annotated[int, Field(ge=1, le=65536)] = Field(
        32, description="Width of a feed-forward layer."
    )
    hidden_size: Annotated[int, Field(ge=1, le=8192)] = Field(32, description="Hidden size.")


class Distillation(ApiModel):
    """Children also learn from the outputs of the model that is refined, as the control does."""

    teacher: Literal["model", "none"] = Field(
        "model", description="The model that is refined, or none for the labels alone."
    )
    weight: Annotated[float, Field(ge=0, le=1)] = Field(
        0.5, description="Weight of that model's logits in the loss: 0 (none) to 1 (alone)."
    )
    hidden_weight: Annotated[float, Field(ge=0, le=1000)] = Field(
        0.1,
        description="Weight of the squared distance to its layers' states, as a share of their "
        "variance.",
    )
    temperature: Annotated[float, Field(gt=0, le=100)] = Field(
        2.0, description="Temperature that softens both distributions."
    )

    RULES = (
        Rule(
            name="someDistillationWeight",
            fields=("weight", "hidden_weight"),
            message="must have weight or hiddenWeight above 0",
            check=lambda model: (
                [((), wrong(0))] if model.weight == 0 and model.hidden_weight == 0 else []
            ),
            cel="self.weight > 0.0 || self.hiddenWeight > 0.0",
        ),
    )


class Refinement(ApiModel):
    """How a model is grown and pruned."""

    targets: TargetsSpec | None = Field(
        None,
        description="What big cuts over the whole model solve for before the cycles; the budgets, "
        "where the model breaks them, if omitted.",
    )
    steps_per_target: Annotated[int, Field(ge=1, le=4)] = Field(
        1, description="Big cuts to each target, with a training after each."
    )
    cycles: Annotated[int, Field(ge=0, le=1000)] = Field(
        1, description="How often the stages are gone through; 0 leaves it at the big cuts."
    )
    stages: Annotated[tuple[Stage, ...], Field(strict=False, min_length=1, max_length=32)] = Field(
        ("growHeads", "growFeedForwards", "pruneHeads", "pruneFeedForwards"),
        description="The stages of a cycle, in order.",
    )
    samples_per_stage: Annotated[int, Field(ge=1, le=1000)] = Field(
        5, description="Children that are tried in each stage."
    )
    parallel_trials: Annotated[int, Field(ge=1, le=1000)] = Field(
        1, description="Children that train at the same time."
    )
    patience: Annotated[int, Field(ge=1, le=1000)] = Field(
        5, description="Rounds without gain after which it ends."
    )
    selection: Literal["metric", "loss"] = Field(
        "metric", description="Validation figure that children are judged by."
    )
    tolerance: Annotated[float, Field(ge=0, le=1)] = Field(
        0.01,
        description="Loss of quality, in units of the selection, that the cycles' pruning may cost "
        "in all.",
    )
    confidence: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.8,
        description="How sure a paired test on the validation examples must be that growing helped "
        "before it is accepted.",
    )
    cost_weight: Annotated[float, Field(ge=0, le=10)] = Field(
        0.02, description="Quality that halving the cost is worth, in units of the selection."
    )
    importance: Literal["secondOrder", "fisher", "taylor", "magnitude"] = Field(
        "secondOrder",
        description="How blocks are judged for pruning; secondOrder: loss when the other weights "
        "make up for them, fisher: squared gradient by a mask, taylor: gradient times activation, "
        "all over calibration data, magnitude: mean squared weight.",
    )
    calibration_examples: Annotated[int, Field(ge=8, le=1_000_000)] = Field(
        512,
        description="Training examples on which blocks are judged and what is left is refitted.",
    )
    step_sizes: StepSizesSpec = Field(
        StepSizesSpec(), description="How far one step grows or prunes."
    )
    minimum_sizes: MinimumSizes = Field(
        MinimumSizes(), description="What pruning never goes below."
    )
    budgets: Budgets | None = Field(
        None, description="Bounds that every kept child meets; those of the search where omitted."
    )
    training: Training = Field(
        Training(learning_rate=2e-4), description="How each child is trained."
    )
    distillation: Distillation = Field(
        Distillation(), description="How children learn from the model that is refined."
    )


_MODEL_ALONE: Final = (
    lambda spec: spec.model is not None and spec.search_ref is None,
    "has(self.model) && !has(self.searchRef)",
    "with model",
)


class GPTranRunSpec(Refinement, TrainerSpec):
    """Which model to refine, and how."""

    search_ref: Reference | None = Field(
        None, description="The CoDesignSearch whose winner is refined, on its task and device."
    )
    model: FilePath | None = Field(None, description="Folder of the transformers model to refine.")
    fine_tune_first: bool = Field(
        True,
        description="Whether a model without a classifier for the task is trained on it first, for "
        "model only.",
    )
    task: TaskSource | None = Field(None, description="The task, for model only.")
    data: DataSource | None = Field(
        None,
        description="In a cluster, where the model, the task's files and its tokenizer lie, "
        "read-only, for model only; in the storage where omitted.",
    )
    device: SearchDevice | None = Field(None, description="The device, for model only.")
    workload: WorkloadSpec | None = Field(
        None, description="Batch and length on the device, for model only."
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
    ray: RaySpec = Field(RaySpec(), description="Where children train.")
    tracking: Tracking | None = Field(
        None, description="Where the tree's models are shown besides the run's own folder."
    )
    seed: Seed = Field(0, description="What every random choice follows from.")

    MUTABLE = frozenset(
        {
            *COMMON_MUTABLE,
            *PLACEMENT,
            "cycles",
            "patience",
            "parallel_trials",
            "serve",
            "tracking",
        }
    )

    RULES = (
        exactly_one("search_ref", "model"),
        needed_where("task", *_MODEL_ALONE, reads=("model", "search_ref")),
        needed_where("device", *_MODEL_ALONE, reads=("model", "search_ref")),
        not_together("search_ref", "task", "data", "device", "workload"),
    )


class GPTranRunStatus(CommonStatus):
    """How far growing and pruning is."""

    cycle: Annotated[int, Field(ge=0)] = Field(0, description="Cycle that runs, from 1.")
    stage: RunningStage | None = Field(
        None, description="Stage that runs; schedule: big cuts to targets and budgets."
    )
    nodes: Annotated[int, Field(ge=0)] = Field(0, description="Models in the tree.")
    trained: Annotated[int, Field(ge=0)] = Field(0, description="Models trained.")
    failed: Annotated[int, Field(ge=0)] = Field(0, description="Models whose training failed.")
    root: CandidateSummary | None = Field(None, description="The model that was given.")
    best: CandidateSummary | None = Field(None, description="The best model so far.")
    pareto_front: ParetoFront = Field((), description="At most ten models of the Pareto front.")


class GPTranRun(Resource):
    """Refines a model for its device by growing and pruning it."""

    kind: Literal["GPTranRun"] = Field(description="GPTranRun.")
    spec: GPTranRunSpec = Field(description="What is asked for.")
    status: GPTranRunStatus | None = Field(None, description="How it stands.")

    SHORT_NAME = "gpt"
    PLURAL = "gptranruns"
    RULES = (name_rule("GPTranRun"),)
