"""The artefacts of one finalist: each made once, from one model in memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from edgetran.artifacts import (
    Artifact,
    Form,
    find_artifact,
    make_artifact,
    open_artifact,
    weights_sha256,
)
from edgetran.records import write_atomically
from edgetran.training import (
    ARTIFACTS,
    EncodedTask,
    TrainingDiverged,
    calibration_for,
    evaluate,
    evaluation_batch,
    load_model,
    predict,
    train_quantization_aware,
)

if TYPE_CHECKING:
    from edgetran.models import FlexiBertForSequenceClassification

AWARE: Final = "aware.json"
"""What an artefact scored with and without quantisation-aware training, beside the former."""


class ModelArtifacts:
    """Makes a saved model's artefacts in a folder, or finds them there.

    Args:
        checkpoint: the model's folder; an artefact that it was scored as there is taken over.
        folder: where the artefacts go, each in a folder of its form's name.
        data: the task, of whose training part some are calibrated.
        batch_size: of the workload, in which int8 is scored.

    Attributes:
        latencies: the log of what they take beside one another on this machine.
        notes: sentences on what quantisation-aware training came to.
    """

    def __init__(
        self, checkpoint: Path, folder: Path, data: EncodedTask, *, batch_size: int = 1
    ) -> None:
        self.model = load_model(checkpoint)
        self.notes: list[str] = []
        self._data, self._batch_size = data, batch_size
        self._checkpoint, self._folder = checkpoint, folder
        self.latencies = folder / "latencies.jsonl"
        self._source = weights_sha256(checkpoint)
        self._logits: Callable[[str], np.ndarray] | None = None

    def make(self, form: Form) -> Artifact:
        """The artefact of a form.

        Raises:
            edgetran.devices.EngineError: the engine is not installed, or cannot convert the model.
            TaskError: too few training examples to calibrate it by.
            OSError: no space is left on the disk.
        """
        before = self._checkpoint / ARTIFACTS / form.name
        made = self._make(form, self._folder / form.name, self._source, lambda: self.model, before)
        if form.aware_steps and form.precision == "int8":
            return self._better(form, made)
        return made

    def logits(self) -> Callable[[str], np.ndarray]:
        """PyTorch's fp32 logits (n, num_labels) of a part of the task; each part is run once."""
        if self._logits is None:
            self._logits = cache(lambda part: predict(self.model, self._data, part))
        return self._logits

    def _make(
        self,
        form: Form,
        place: Path,
        source: str,
        model: Callable[[], FlexiBertForSequenceClassification],
        before: Path | None = None,
    ) -> Artifact:
        """The artefact in `place`, else the one that was scored in `before`, else a new one."""
        calibration, length = calibration_for(form, self._data), self._data.max_length
        found = find_artifact(place, form, source, calibration, length)
        if found is not None:
            return found
        scored = None
        if before is not None:
            scored = find_artifact(before, form, source, calibration, length)
        if scored is not None:
            return scored.copied_to(place)
        return make_artifact(
            model(), form, place, source_sha256=source, calibration=calibration, length=length
        )

    def _better(self, form: Form, plain: Artifact) -> Artifact:
        """The artefact after quantisation-aware training where it scores better, else `plain`."""
        steps, metric = form.aware_steps, self._data.task.selection_metric
        what = f"{form.words}: quantisation-aware training of {steps:,} steps"
        place = self._folder / f"aware-{steps}-{self._source[:12]}"
        try:
            checkpoint = train_quantization_aware(self._checkpoint, place, self._data, steps)
        except TrainingDiverged as error:
            self._note(f"{what}: {error}; the weights as trained are kept")
            return plain
        place = self._folder / f"{form.name}-aware"
        aware = self._make(form, place, weights_sha256(checkpoint), lambda: load_model(checkpoint))
        words = dict(aware.quantization or {}) | {"awareSteps": steps}
        if words != aware.quantization:
            aware = replace(aware, quantization=words)
            aware.save()
        without, score = self._scores(form, plain, aware, place / AWARE)
        kept = score > without
        self._note(
            f"{what} comes to {score:.4f} of {metric} on the validation part, without it "
            f"{without:.4f}; {'it is kept' if kept else 'the weights as trained are kept'}"
        )
        return aware if kept else plain

    def _scores(
        self, form: Form, plain: Artifact, aware: Artifact, record: Path
    ) -> tuple[float, float]:
        """Of the selection metric on the validation part, each through the engine, known or new."""
        hashes = [plain.sha256, aware.sha256, self._batch_size]
        try:
            known = json.loads(record.read_text(encoding="utf-8"))
            if known["of"] == hashes:
                return float(known["scores"][0]), float(known["scores"][1])
        except (OSError, ValueError, KeyError, TypeError, IndexError):
            pass
        batch = evaluation_batch(form, self._batch_size)
        scores = []
        for artifact in (plain, aware):
            with open_artifact(artifact, form.make_engine(), None) as session:
                metrics = evaluate(session, self._data, "validation", batch_size=batch)
            scores.append(float(metrics[self._data.task.selection_metric]))
        write_atomically(record, json.dumps({"of": hashes, "scores": scores}) + "\n")
        return scores[0], scores[1]

    def _note(self, sentence: str) -> None:
        if sentence not in self.notes:
            self.notes.append(sentence)
