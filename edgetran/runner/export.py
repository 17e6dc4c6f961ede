"""What a run hands over: the winner's artefact, its model folder and its ONNX file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgetran.artifacts import Form, copy_content
from edgetran.devices import EngineError, Figure, Workload
from edgetran.runner.artifacts import ModelArtifacts
from edgetran.runner.folder import RunFolder
from edgetran.runner.forms import ONNX
from edgetran.runner.judged_artifact import JudgedArtifact, judge_artifact, of_artifact
from edgetran.runner.timing import latencies_ms
from edgetran.training import (
    EncodedTask,
    TaskError,
    evaluation_batch,
    predicted_labels,
    save_model,
)


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


@dataclass(frozen=True)
class Exports:
    """What was handed over.

    Attributes:
        rows: every file as result.json tells of it, the winner's artefact first.
        agreement: how model.onnx compares with PyTorch.
        notes: sentences on what could not be made.
    """

    rows: list[dict[str, Any]]
    agreement: Agreement
    notes: list[str]


def export_winner(
    models: ModelArtifacts,
    winner: JudgedArtifact,
    forms: Iterable[Form],
    data: EncodedTask,
    folder: RunFolder,
    workload: Workload,
) -> Exports:
    """Write model/ and model.onnx, each whole or not at all, and the forms that are asked for.

    model/ is the winner as it was trained. model.onnx is the winner's artefact where that is one of
    ONNX Runtime; else it is a form of its own, fp32, with its own scores. The other forms lie
    beside the winner's artefact.
    """
    save_model(models.model, data, folder.model)
    made, notes = [winner], []
    for form in dict.fromkeys([*forms, *([] if winner.form.engine == ONNX.engine else [ONNX])]):
        if form.name in {each.form.name for each in made}:
            continue
        try:
            batch = evaluation_batch(form, workload.batch_size)
            made.append(judge_artifact(models, form, data, batch_size=batch))
        except (EngineError, TaskError) as error:
            notes.append(f"Export: {form.words} cannot be made: {error}")
    onnx = winner if winner.form.engine == ONNX.engine else _of_form(made, ONNX)
    if onnx is None:
        raise EngineError(notes[-1])
    copy_content(onnx.artifact.path, folder.onnx)
    expected = winner.trained("test")
    times = latency_figures(made, workload, notes, log=models.latencies)
    rows = [
        {
            "path": path.relative_to(folder.path).as_posix(),
            **each.artifact.to_dict(),
            "sizeBytes": each.artifact.size_bytes,
            "figures": each.accuracies(data) | {"latencyMs": of_artifact(latency, each.artifact)},
            "testPredictions": each.test_predictions(data),
            "agreement": _agreement(each, expected, data).to_dict(),
        }
        for each, latency in zip(made, times, strict=True)
        for path in [folder.onnx if each is onnx else each.artifact.path]
    ]
    return Exports(rows, _agreement(onnx, expected, data), notes)


def _of_form(made: Iterable[JudgedArtifact], form: Form) -> JudgedArtifact | None:
    return next((each for each in made if each.form == form), None)


def latency_figures(
    made: list[JudgedArtifact], workload: Workload, notes: list[str], *, log: Path | None = None
) -> list[Figure]:
    """Of all on this machine, in turns; without the protocol of a profile. `log` keeps them."""
    try:
        times = latencies_ms(made, workload, threads=None, log=log)
    except EngineError as error:
        notes.append(f"Export: latencies on this machine are not known: {error}")
        return [Figure.missing("ms", "measured", str(error))] * len(made)
    return [Figure(each, "ms", "measured") for each in times]


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
