"""From the fields of a resource to the plans of the library's rooms."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgetran import api
from edgetran.api.measures import MEASURES
from edgetran.api.rules import camel
from edgetran.devices import Workload
from edgetran.gptran import GPTranPlan, Targets
from edgetran.gptran.steps import StepSizes
from edgetran.search import Constraints, Front, SearchPlan, Weights
from edgetran.space import Architecture, DesignSpace
from edgetran.training import RaySettings, Scoring, TaskReference, TrainingPlan, TrialSpec

if TYPE_CHECKING:
    from edgetran.api import Refinement

_AXES: Final = {camel(measure.quantity): measure.name for measure in MEASURES}
"""Measures by the names that axes of a front have in resources."""


def design_space(source: api.DesignSpaceSource) -> DesignSpace:
    """The design space of a resource.

    Raises:
        DesignSpaceError: an impossible combination.
    """
    return DesignSpace.from_dict(source.to_mapping())


def architecture(source: api.ArchitectureSource) -> Architecture:
    """One architecture of a resource.

    Raises:
        ArchitectureError: a model dict that cannot be.
    """
    if source.homogeneous is not None:
        shape = source.homogeneous
        return Architecture.homogeneous(
            num_layers=shape.layers,
            hidden_size=shape.hidden_size,
            num_heads=shape.heads,
            feed_forward=shape.feed_forward,
            head_type=shape.head_type,
        )
    assert source.model_dict is not None  # noqa: S101 - the model allows exactly one
    return Architecture.from_model_dict(source.model_dict.model_dump(by_alias=True))


def task_reference(source: api.TaskSource, base: Path) -> TaskReference:
    """Where a task comes from; relative paths are taken from `base`.

    Raises:
        TaskError: not exactly one source.
    """
    fields: dict[str, Any] = {
        "name": source.name,
        "hub": source.hub,
        "glue": source.glue_task,
        "max_examples": source.max_training_examples,
        "seed": source.split_seed,
        "overlap": source.overlap,
    }
    if source.folder is not None:
        fields["folder"] = str(base / source.folder)
    if source.files is not None:
        files = source.files
        parts = {"train": files.train, "validation": files.validation, "test": files.test}
        fields |= {
            "files": {part: str(base / path) for part, path in parts.items() if path is not None},
            "text_column": files.text_column,
            "text2_column": files.text2_column,
            "label_column": files.label_column,
            "kind": files.label_kind,
        }
    return TaskReference(**fields)


def max_length(task: api.TaskSource, workload: api.WorkloadSpec) -> int:
    """Tokens that texts are cut to: the task's own choice, else the workload's length."""
    return task.max_length or workload.sequence_length


def training_plan(
    training: api.Training, length: int, distillation: api.Distillation | None = None
) -> TrainingPlan:
    """Budget and recipe of a trial, for texts of at most `length` tokens."""
    fields = training.model_dump(exclude={"masked_lm"}, exclude_none=True)
    if training.masked_lm is not None:
        fields |= {f"mlm_{name}": value for name, value in training.masked_lm.model_dump().items()}
    if distillation is not None and distillation.teacher != "none":
        fields |= {
            "distillation_weight": distillation.weight,
            "distillation_hidden_weight": distillation.hidden_weight,
            "distillation_temperature": distillation.temperature,
        }
    return TrainingPlan(max_length=length, **fields)


def workload(source: api.WorkloadSpec, *, vocab_size: int, num_labels: int) -> Workload:
    """What a device is asked to run, with the task's vocabulary and labels."""
    return Workload(
        batch_size=source.batch_size,
        sequence_length=source.sequence_length,
        vocab_size=vocab_size,
        num_labels=num_labels,
    )


def constraints(source: api.Budgets | None) -> Constraints:
    """Bounds on the measures; none where the resource has none."""
    if source is None:
        return Constraints()
    return Constraints.from_mapping(source.model_dump(exclude_none=True))


def weights(source: api.ObjectiveSpec) -> Weights | None:
    """Weights of the objective's terms; None for a front whose axes weigh the same."""
    if source.pareto is not None and source.pick != "weights":
        return None
    return Weights(**source.weights.model_dump())


def front(source: api.ObjectiveSpec) -> Front | None:
    """The front that is sought; None where the weighted sum is maximised."""
    if source.pareto is None:
        return None
    budget = {} if source.budget is None else source.budget.model_dump(exclude_none=True)
    return Front(tuple(_AXES[axis] for axis in source.pareto), source.pick, budget)


def search_plan(
    spec: api.CoDesignSearchSpec,
    trial: TrialSpec,
    workload: Workload,
    scored_as: Mapping[str, Scoring],
) -> SearchPlan:
    """The plan of a search.

    Args:
        spec: the search's.
        trial: how candidates are trained.
        workload: what the devices run.
        scored_as: by device, as which artefact candidates are scored there.
    """
    return SearchPlan(
        trial=trial,
        workload=workload,
        weights=weights(spec.objective),
        normalisers=spec.objective.normalisers.model_dump(exclude_none=True),
        scale=spec.objective.scale,
        front=front(spec.objective),
        constraints=constraints(spec.constraints),
        method=spec.search.method,
        max_trials=spec.search.max_trials,
        initial_trials=spec.search.initial_design,
        parallel_trials=spec.search.parallel_trials,
        max_failed_trials=spec.search.max_failed_trials,
        seed=spec.seed,
        scored_as=scored_as,
    )


def ray_settings(source: api.RaySpec) -> RaySettings:
    """Where trials run.

    In mode kuberay the process is a job of the Ray cluster that it is to use, which Ray tells it.
    """
    if source.mode == "kuberay":
        return RaySettings(mode="cluster", address=os.environ.get("RAY_ADDRESS", "auto"))
    return RaySettings(mode=source.mode, address=source.address)


def gptran_plan(spec: Refinement, budgets: api.Budgets | None, seed: int) -> GPTranPlan:
    """The plan of a GPTran run; `budgets` stand where the resource gives none of its own."""
    sizes, floors = spec.step_sizes, spec.minimum_sizes
    optional: dict[str, Any] = {}
    if sizes.head_types is not None:
        optional["head_types"] = sizes.head_types
    targets = {} if spec.targets is None else spec.targets.model_dump(exclude_none=True)
    return GPTranPlan(
        targets=Targets(**{name: tuple(values) for name, values in targets.items()}),
        steps_per_target=spec.steps_per_target,
        stages=spec.stages,
        cycles=spec.cycles,
        samples_per_stage=spec.samples_per_stage,
        budgets=constraints(spec.budgets or budgets),
        selection=spec.selection,
        tolerance=spec.tolerance,
        confidence=spec.confidence,
        cost_weight=spec.cost_weight,
        patience=spec.patience,
        sizes=StepSizes(
            pruned_heads=sizes.pruned_heads,
            narrowed_matrices=sizes.narrowed_feed_forwards,
            narrow_fraction=sizes.feed_forward_fraction,
            minimum_width=floors.feed_forward,
            maximum_stack=sizes.max_feed_forward_stack,
            appended_widths=sizes.appended_widths,
            hidden_fraction=sizes.hidden_size_fraction,
            minimum_hidden_size=floors.hidden_size,
            **optional,
        ),
        seed=seed,
    )
