"""The artefacts of one finalist: each made once, from one model in memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from edgetran.artifacts import Artifact, Form, find_artifact, make_artifact, weights_sha256
from edgetran.training import ARTIFACTS, EncodedTask, load_model, predict


class ModelArtifacts:
    """Makes a saved model's artefacts in a folder, or finds them there.

    Args:
        checkpoint: the model's folder; an artefact that it was scored as there is taken over.
        folder: where the artefacts go, each in a folder of its form's name.
    """

    def __init__(self, checkpoint: Path, folder: Path) -> None:
        self.model = load_model(checkpoint)
        self._checkpoint, self._folder = checkpoint, folder
        self._source = weights_sha256(checkpoint)
        self._logits: Callable[[str], np.ndarray] | None = None

    def make(self, form: Form) -> Artifact:
        """The artefact of a form.

        Raises:
            edgetran.devices.EngineError: the engine is not installed, or cannot convert the model.
            OSError: no space is left on the disk.
        """
        place = self._folder / form.name
        found = find_artifact(place, form, self._source)
        if found is not None:
            return found
        scored = find_artifact(self._checkpoint / ARTIFACTS / form.name, form, self._source)
        if scored is not None:
            return scored.copied_to(place)
        return make_artifact(self.model, form, place, source_sha256=self._source)

    def logits(self, data: EncodedTask) -> Callable[[str], np.ndarray]:
        """PyTorch's fp32 logits (n, num_labels) of a part of the task; each part is run once."""
        if self._logits is None:
            self._logits = cache(lambda part: predict(self.model, data, part))
        return self._logits
