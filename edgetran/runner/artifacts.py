"""The artefacts of one finalist: each made once, from one model in memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from edgetran.artifacts import Artifact, Form, find_artifact, make_artifact, weights_sha256
from edgetran.training import ARTIFACTS, EncodedTask, calibration_for, load_model, predict


class ModelArtifacts:
    """Makes a saved model's artefacts in a folder, or finds them there.

    Args:
        checkpoint: the model's folder; an artefact that it was scored as there is taken over.
        folder: where the artefacts go, each in a folder of its form's name.
        data: the task, of whose training part some are calibrated.

    Attributes:
        latencies: the log of what they take beside one another on this machine.
    """

    def __init__(self, checkpoint: Path, folder: Path, data: EncodedTask) -> None:
        self.model = load_model(checkpoint)
        self._data = data
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
        place, calibration = self._folder / form.name, calibration_for(form, self._data)
        length = self._data.max_length
        found = find_artifact(place, form, self._source, calibration, length)
        if found is not None:
            return found
        before = self._checkpoint / ARTIFACTS / form.name
        scored = find_artifact(before, form, self._source, calibration, length)
        if scored is not None:
            return scored.copied_to(place)
        return make_artifact(
            self.model,
            form,
            place,
            source_sha256=self._source,
            calibration=calibration,
            length=length,
        )

    def logits(self) -> Callable[[str], np.ndarray]:
        """PyTorch's fp32 logits (n, num_labels) of a part of the task; each part is run once."""
        if self._logits is None:
            self._logits = cache(lambda part: predict(self.model, self._data, part))
        return self._logits
