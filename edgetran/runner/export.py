"""What a run hands over: the winner's artefact, its model folder and its ONNX file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgetran.artifacts import copy_content
from edgetran.runner.artifacts import ModelArtifacts
from edgetran.runner.folder import RunFolder
from edgetran.runner.forms import ONNX
from edgetran.runner.judged_artifact import JudgedArtifact, judge_artifact
from edgetran.training import EncodedTask, predicted_labels, save_model


@dataclass(frozen=True)
class Agreement:
    """How an artefact compares with PyTorch in fp32 on the test split.

    Attributes:
        words: engine and precision of the artefact.
        examples: number of examples.
        same_predictions: number of them on which both predict the same.
        max_logit_difference: largest absolute difference of any logit.
    """

    words: str
    examples: int
    same_predictions: int
    max_logit_difference: float

    @property
    def sentence(self) -> str:
        """The comparison in words."""
        return (
            f"{self.words} and PyTorch fp32 agree on {self.same_predictions:,} of {self.examples:,}"
        )

    def to_dict(self) -> dict[str, Any]:
        """As result.json tells of it."""
        return {
            "examples": self.examples,
            "samePredictions": self.same_predictions,
            "maxLogitDifference": self.max_logit_difference,
        }


def export_winner(
    models: ModelArtifacts, winner: JudgedArtifact, data: EncodedTask, folder: RunFolder
) -> tuple[list[dict[str, Any]], Agreement]:
    """Write model/ and model.onnx, each whole or not at all.

    model/ is the winner as it was trained. model.onnx is the winner's artefact where that is one of
    ONNX Runtime; else it is a form of its own, fp32, with its own scores.

    Returns:
        Every export as result.json tells of it, the winner's artefact first, and how model.onnx
        compares with PyTorch.
    """
    save_model(models.model, data, folder.model)
    expected = winner.trained("test")
    exports, onnx = [], winner
    if winner.artifact.engine != ONNX.engine:
        exports.append(_export(winner, expected, data, winner.artifact.path, folder))
        onnx = judge_artifact(models, ONNX, data, batch_size=None)
    copy_content(onnx.artifact.path, folder.onnx)
    exports.append(_export(onnx, expected, data, folder.onnx, folder))
    return exports, _agreement(onnx, expected, data)


def _export(
    judged: JudgedArtifact, expected: np.ndarray, data: EncodedTask, path: Path, folder: RunFolder
) -> dict[str, Any]:
    return {
        "path": path.relative_to(folder.path).as_posix(),
        **judged.artifact.to_dict(),
        "figures": judged.accuracies(data),
        "agreement": _agreement(judged, expected, data).to_dict(),
    }


def _agreement(judged: JudgedArtifact, expected: np.ndarray, data: EncodedTask) -> Agreement:
    found = judged.logits("test")
    regression = data.task.is_regression
    ours = predicted_labels(expected, regression=regression)
    theirs = predicted_labels(found, regression=regression)
    same = np.isclose(ours, theirs, atol=1e-4) if regression else ours == theirs
    return Agreement(
        words=judged.artifact.words,
        examples=len(ours),
        same_predictions=int(same.sum()),
        max_logit_difference=float(np.abs(expected - found).max(initial=0.0)),
    )
