"""GPTranRun: refine one model by growing and pruning its blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from edgetran.api.architecture import HeadType
from edgetran.api.base import ApiModel
from edgetran.api.common import (
    COMMON_MUTABLE,
    Budgets,
    CandidateSummary,
    CommonSpec,
    CommonStatus,
    ParetoFront,
    RaySettings,
    Reference,
    Workload,
)
from edgetran.api.device import SearchDevice
from edgetran.api.resource import Resource, name_rule
from edgetran.api.rules import Path, Rule, distinct, exactly_one, listed
from edgetran.api.scalars import LIST_SET, FilePath, Seed
from edgetran.api.task import TaskSource, Training

Stage = Literal[
    "growHeads",
    "growFeedForwards",
    "growLayers",
    "pruneHeads",
    "pruneFeedForwards",
    "pruneLayers",
    "pruneHiddenSize",
]


class Importance(ApiModel):
    """How the importance of a block is judged before it is pruned."""

    method: Literal["taylor", "magnitude"] = Field(
        "taylor",
        description="taylor: gradient times activation over calibration data; magnitude: mean "
        "squared weight.",
    )
    calibration_examples: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        256, description="Training examples that taylor looks at."
    )


class StepSizes(ApiModel):
    """How much one step grows or prunes."""

    grow_heads: Annotated[int, Field(ge=1, le=64)] = Field(1, description="Heads added.")
    grow_feed_forward: Annotated[int, Field(ge=1, le=65536)] = Field(
        128, description="Units added to a feed-forward layer."
    )
    prune_heads: Annotated[int, Field(ge=1, le=64)] = Field(2, description="Heads removed.")
    prune_feed_forward: Annotated[int, Field(ge=1, le=65536)] = Field(
        128, description="Units removed from a feed-forward layer."
    )
    prune_hidden_size: Annotated[int, Field(ge=1, le=8192)] = Field(
        48, description="Width removed from the hidden size."
    )


class MinimumSizes(ApiModel):
    """What pruning never goes below."""

    layers: Annotated[int, Field(ge=1, le=48)] = Field(1, description="Encoder layers.")
    heads: Annotated[int, Field(ge=1, le=128)] = Field(1, description="Heads in a layer.")
    feed_forward: Annotated[int, Field(ge=1, le=65536)] = Field(
        64, description="Width of a feed-forward layer."
    )
    hidden_size: Annotated[int, Field(ge=1, le=8192)] = Field(32, description="Hidden size.")


class Distillation(ApiModel):
    """Children also learn from a trained model's outputs."""

    teacher: Literal["parent", "root"] = Field(
        "parent", description="The model to learn from: each child's parent, or the first model."
    )
    logits_weight: Annotated[float, Field(ge=0, le=1000)] = Field(
        1.0, description="Weight of the logits' loss beside the task's."
    )
    hidden_weight: Annotated[float, Field(ge=0, le=1000)] = Field(
        0.0, description="Weight of the hidden states' loss beside the task's."
    )
    temperature: Annotated[float, Field(gt=0, le=100)] = Field(
        2.0, description="Temperature of the logits."
    )

    RULES = (
        Rule(
            name="someDistillationWeight",
            fields=("logits_weight", "hidden_weight"),
            allowed="logitsWeight or hiddenWeight above 0",
            check=lambda model: (
                [((), "both weights are 0")]
                if model.logits_weight == 0 and model.hidden_weight == 0
                else []
            ),
            cel="self.logitsWeight > 0.0 || self.hiddenWeight > 0.0",
        ),
    )


class Refinement(ApiModel):
    """How a model is grown and pruned."""

    cycles: Annotated[int, Field(ge=1, le=1000)] = Field(
        1, description="How often the stages are gone through."
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
    importance: Importance = Field(Importance(), description="How blocks are judged for pruning.")
    step_sizes: StepSizes = Field(StepSizes(), description="How much a step grows or prunes.")
    minimum_sizes: MinimumSizes = Field(
        MinimumSizes(), description="What pruning never goes below."
    )
    head_types: Annotated[tuple[HeadType, ...], Field(strict=False, min_length=1, max_length=7)] | (
        None
    ) = Field(
        None,
        description="Types of heads that growing adds; all seven where omitted.",
        json_schema_extra=LIST_SET,
    )
    budgets: Budgets | None = Field(
        None, description="Bounds that every kept child meets; those of the search where omitted."
    )
    training: Training = Field(
        Training(learning_rate=2e-4), description="How each child is trained."
    )
    distillation: Distillation | None = Field(
        None, description="Learn from a trained model too; not where omitted."
    )

    RULES: ClassVar[tuple[Rule, ...]] = (distinct("head_types"),)


_OF_THE_SEARCH = ("task", "device", "workload")


def _model_needs_its_setting(model: Any) -> Iterator[tuple[Path, str]]:
    if model.model is not None:
        missing = [field for field in ("task", "device") if getattr(model, field) is None]
        if missing:
            yield (), f"model was given without {listed(missing)}"
    elif model.search_ref is not None:
        for field in _OF_THE_SEARCH:
            if getattr(model, field) is not None:
                yield (field,), "given together with searchRef"


class GPTranRunSpec(Refinement, CommonSpec):
    """Which model to refine, and how."""

    search_ref: Reference | None = Field(
        None, description="The CoDesignSearch whose winner is refined, on its task and device."
    )
    model: FilePath | None = Field(None, description="Folder of the transformers model to refine.")
    task: TaskSource | None = Field(None, description="The task, for model only.")
    device: SearchDevice | None = Field(None, description="The device, for model only.")
    workload: Workload | None = Field(
        None, description="Batch and length on the device, for model only."
    )
    ray: RaySettings = Field(RaySettings(), description="Where children train.")
    seed: Seed = Field(0, description="What every random choice follows from.")

    MUTABLE = frozenset({*COMMON_MUTABLE, "cycles", "patience", "parallel_trials"})
    RULES = (
        *Refinement.RULES,
        exactly_one("search_ref", "model"),
        Rule(
            name="modelWithItsSetting",
            fields=("search_ref", "model", *_OF_THE_SEARCH),
            allowed="task and device with model, and none of task, device and workload with "
            "searchRef",
            check=_model_needs_its_setting,
            cel="has(self.model) ? has(self.task) && has(self.device) : "
            "!has(self.task) && !has(self.device) && !has(self.workload)",
        ),
    )


class GPTranRunStatus(CommonStatus):
    """How far growing and pruning is."""

    cycle: Annotated[int, Field(ge=0)] = Field(0, description="Cycle that runs, from 1.")
    stage: Stage | None = Field(None, description="Stage that runs.")
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
