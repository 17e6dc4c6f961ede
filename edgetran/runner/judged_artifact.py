"""An artefact with its predictions: scored through its engine, with the trained model beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from edgetran.artifacts import Artifact, Form, PredictionSummary, open_artifact
from edgetran.devices import Figure, HardwareFigures
from edgetran.runner.artifacts import ModelArtifacts
from edgetran.training import EncodedTask, TaskError, evaluate_predictions, predict


@dataclass(frozen=True)
class JudgedArtifact:
    """An artefact and the logits (n, num_labels) of a part of the task, by the part's name.

    Attributes:
        artifact: what is judged.
        form: for what it was made.
        logits: through its engine.
        trained: of the model that it was made from, by PyTorch in fp32.
    """

    artifact: Artifact
    form: Form
    logits: Callable[[str], np.ndarray]
    trained: Callable[[str], np.ndarray]

    def test_metrics(self, data: EncodedTask) -> Mapping[str, float]:
        """On the test part; none where its labels are hidden."""
        try:
            return evaluate_predictions(self.logits, data, "test")
        except TaskError:
            return {}

    def test_predictions(self, data: EncodedTask) -> dict[str, Any] | None:
        """What it predicts on the test part, in figures; None where the task has none."""
        if "test" not in data.splits or not len(data.split("test")):
            return None
        regression = data.task.is_regression
        return PredictionSummary.of(self.logits("test"), regression=regression).to_dict()

    def accuracies(self, data: EncodedTask) -> dict[str, dict[str, Any]]:
        """Figures of the selection metric, of the artefact by its hash, and PyTorch's beside."""
        return {
            "accuracy": of_artifact(_figure(self.logits, data, "test"), self.artifact),
            "validationAccuracy": of_artifact(
                _figure(self.logits, data, "validation"), self.artifact
            ),
            "fp32Accuracy": _figure(self.trained, data, "test").to_dict(),
            "fp32ValidationAccuracy": _figure(self.trained, data, "validation").to_dict(),
        }


def of_artifact(figure: Figure, artifact: Artifact) -> dict[str, Any]:
    """A figure as result.json tells of it, with the hash of the artefact that it is of."""
    return {**figure.to_dict(), "artifact": artifact.sha256}


def of_hardware(figures: HardwareFigures, artifact: Artifact) -> dict[str, Any]:
    """The hardware figures of an artefact as result.json tells of them."""
    return {name: of_artifact(figure, artifact) for name, figure in figures.by_alias().items()}


def judge_artifact(
    models: ModelArtifacts, form: Form, data: EncodedTask, *, batch_size: int | None
) -> JudgedArtifact:
    """Make an artefact and open it in its engine; it runs when it is first asked.

    Args:
        models: whose artefact.
        form: for which engine, in which precision.
        data: the encoded task.
        batch_size: examples per batch; None for any number.

    Raises:
        edgetran.devices.EngineError: the engine is not here, or cannot run the model.
        TaskError: too few training examples to calibrate it by.
    """
    artifact = models.make(form)
    session = open_artifact(artifact, form.make_engine(), None)
    logits = cache(lambda part: predict(session, data, part, batch_size=batch_size))
    trained = logits if form.is_plain else models.logits()
    return JudgedArtifact(artifact, form, logits, trained)


def _figure(logits: Callable[[str], Any], data: EncodedTask, part: str) -> Figure:
    try:
        metrics = evaluate_predictions(logits, data, part)
    except TaskError as error:
        return Figure.missing("", "measured", str(error))
    return Figure(metrics[data.task.selection_metric], "", "measured")
