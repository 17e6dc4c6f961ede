"""A trained model judged as the artefact that an engine runs, on validation data.

The artefacts of a model lie in its folder, `artifacts/ENGINE-PRECISION/`, each with its sidecar and
with what it scored. A score counts as long as it is of this very artefact.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from edgetran.artifacts import (
    Artifact,
    Form,
    find_artifact,
    make_artifact,
    open_artifact,
    weights_sha256,
)
from edgetran.devices import EngineError
from edgetran.records import write_atomically
from edgetran.training.task import TaskError

if TYPE_CHECKING:
    from edgetran.training.encoding import EncodedTask

SCORE_NAME: Final = "score.json"

ARTIFACTS: Final = "artifacts"
"""The folder of a model's artefacts in the model's own."""


@dataclass(frozen=True)
class Scoring:
    """As what a model is to be scored.

    Attributes:
        form: engine and precision.
        batch_size: examples per batch, None for any number; with int8 the ranges of activations
            are a batch's, so that it is the workload's.
    """

    form: Form
    batch_size: int | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {"form": self.form.to_dict(), "batch_size": self.batch_size}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote."""
        return cls(Form.from_dict(data["form"]), data["batch_size"])


@dataclass(frozen=True)
class ArtifactScore:
    """What an artefact scored.

    Attributes:
        sha256: its hash; None where it could not be made.
        metrics: of the task, on the validation split.
        error: why there are none.
    """

    sha256: str | None
    metrics: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return asdict(self)


def evaluation_batch(form: Form, workload_batch: int) -> int | None:
    """Examples per batch by which a form is judged; None for any number."""
    return workload_batch if form.precision == "int8" else None


def score_model(
    checkpoint: Path, data: EncodedTask, scoring: Scoring, folder: Path, *, threads: int
) -> ArtifactScore:
    """Make a saved model's artefact in `folder`, or find it there, and score it.

    A model that the engine cannot be made ready for is a score with an error.
    """
    try:
        artifact = artifact_of(checkpoint, scoring.form, folder, data)
    except (EngineError, TaskError) as error:
        return ArtifactScore(None, error=str(error))
    known = read_score(folder, artifact, scoring)
    if known is not None:
        return known
    from edgetran.training.evaluation import evaluate

    with open_artifact(artifact, scoring.form.make_engine(threads), None) as session:
        metrics = evaluate(session, data, "validation", batch_size=scoring.batch_size)
    score = ArtifactScore(artifact.sha256, metrics)
    record = score.to_dict() | {"batch_size": scoring.batch_size}
    write_atomically(folder / SCORE_NAME, json.dumps(record, indent=2) + "\n")
    return score


def artifact_of(checkpoint: Path, form: Form, folder: Path, data: EncodedTask) -> Artifact:
    """The artefact of a saved model in `folder`, made now where it is not there.

    Raises:
        EngineError: the engine is not installed here, or cannot convert the model.
        TaskError: too few examples to calibrate it by.
    """
    from edgetran.training.calibration import calibration_for

    source, calibration = weights_sha256(checkpoint), calibration_for(form, data)
    found = find_artifact(folder, form, source, calibration)
    if found is not None:
        return found
    from edgetran.training.model_folder import load_model

    return make_artifact(
        load_model(checkpoint), form, folder, source_sha256=source, calibration=calibration
    )


def read_score(folder: Path, artifact: Artifact, scoring: Scoring) -> ArtifactScore | None:
    """What the artefact in `folder` scored in batches of this size; None where not known."""
    try:
        data = json.loads((folder / SCORE_NAME).read_text(encoding="utf-8"))
        same = (data["sha256"], data["batch_size"]) == (artifact.sha256, scoring.batch_size)
        return ArtifactScore(data["sha256"], data["metrics"], data["error"]) if same else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
