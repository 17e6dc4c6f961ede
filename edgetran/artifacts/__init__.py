"""Artefacts: a model made ready for an engine and a precision, known by its hash.

What is timed, scored and shipped is one artefact: a file or a folder that an engine opens as it is.
Nothing is quantised or converted after its hash is taken.
"""

from edgetran.artifacts.artifact import (
    SIDECAR,
    Artifact,
    ArtifactError,
    content_sha256,
    copy_content,
    weights_sha256,
)
from edgetran.artifacts.form import Form
from edgetran.artifacts.making import find_artifact, make_artifact, open_artifact
from edgetran.artifacts.predictions import PredictionSummary, probabilities

__all__ = [
    "SIDECAR",
    "Artifact",
    "ArtifactError",
    "Form",
    "PredictionSummary",
    "content_sha256",
    "copy_content",
    "find_artifact",
    "make_artifact",
    "open_artifact",
    "probabilities",
    "weights_sha256",
]
