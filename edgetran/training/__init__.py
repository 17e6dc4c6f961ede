"""Tasks and data, training and evaluation, and trials in parallel on Ray.

Names that need torch are imported on first use, so that importing this package is cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from edgetran.training.cluster import RayClusterError, RaySettings
from edgetran.training.loading import load_task
from edgetran.training.metrics import compute_metrics, glue_score
from edgetran.training.plan import PlanError, TrainingPlan
from edgetran.training.pool import TrialPool
from edgetran.training.reference import TaskReference
from edgetran.training.scoring import (
    ARTIFACTS,
    ArtifactScore,
    Scoring,
    artifact_of,
    evaluation_batch,
    score_model,
)
from edgetran.training.task import Example, Task, TaskError
from edgetran.training.tokenizer import DEFAULT_VOCAB_SIZE, build_tokenizer, load_tokenizer
from edgetran.training.trial import (
    TrialOutcome,
    TrialSpec,
    encoded_task,
    finished_trial,
    run_trial,
)

if TYPE_CHECKING:
    from edgetran.training.calibration import calibration_for, calibration_of
    from edgetran.training.distillation import TeacherSignals, teacher_signals
    from edgetran.training.encoding import EncodedTask, encode_task
    from edgetran.training.evaluation import (
        evaluate,
        evaluate_predictions,
        predict,
        predicted_labels,
    )
    from edgetran.training.fine_tuning import TrainingProgress, TrainingResult, train
    from edgetran.training.model_folder import (
        check_fit,
        load_model,
        save_model,
        save_tokenizer,
    )
    from edgetran.training.optimisation import TrainingDiverged
    from edgetran.training.quantization_aware import train_quantization_aware

_HOMES = {
    "EncodedTask": "encoding",
    "TeacherSignals": "distillation",
    "TrainingDiverged": "optimisation",
    "TrainingProgress": "fine_tuning",
    "TrainingResult": "fine_tuning",
    "calibration_for": "calibration",
    "calibration_of": "calibration",
    "check_fit": "model_folder",
    "encode_task": "encoding",
    "evaluate": "evaluation",
    "evaluate_predictions": "evaluation",
    "load_model": "model_folder",
    "predict": "evaluation",
    "predicted_labels": "evaluation",
    "save_model": "model_folder",
    "save_tokenizer": "model_folder",
    "teacher_signals": "distillation",
    "train": "fine_tuning",
    "train_quantization_aware": "quantization_aware",
}

__all__ = [
    "ARTIFACTS",
    "DEFAULT_VOCAB_SIZE",
    "ArtifactScore",
    "EncodedTask",
    "Example",
    "PlanError",
    "RayClusterError",
    "RaySettings",
    "Scoring",
    "Task",
    "TaskError",
    "TaskReference",
    "TeacherSignals",
    "TrainingDiverged",
    "TrainingPlan",
    "TrainingProgress",
    "TrainingResult",
    "TrialOutcome",
    "TrialPool",
    "TrialSpec",
    "artifact_of",
    "build_tokenizer",
    "calibration_for",
    "calibration_of",
    "check_fit",
    "compute_metrics",
    "encode_task",
    "encoded_task",
    "evaluate",
    "evaluate_predictions",
    "evaluation_batch",
    "finished_trial",
    "glue_score",
    "load_model",
    "load_task",
    "load_tokenizer",
    "predict",
    "predicted_labels",
    "run_trial",
    "save_model",
    "save_tokenizer",
    "score_model",
    "teacher_signals",
    "train",
    "train_quantization_aware",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
