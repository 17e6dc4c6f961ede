"""Make artefacts of a model, find those that were made before, open them in their engine."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from edgetran.artifacts.artifact import Artifact, ArtifactError, content_sha256
from edgetran.artifacts.form import Form
from edgetran.artifacts.torch_folder import QUANTIZATION, read_torch_folder, write_torch_folder
from edgetran.devices import Calibration, Engine, EngineError, Session, Workload

if TYPE_CHECKING:
    from edgetran.models import FlexiBertForSequenceClassification


def make_artifact(
    model: FlexiBertForSequenceClassification,
    form: Form,
    folder: Path,
    *,
    source_sha256: str | None = None,
    calibration: Calibration | None = None,
    length: int | None = None,
) -> Artifact:
    """Make a model ready for an engine and a precision, in `folder`.

    Args:
        model: a classifier; it is left as it is.
        form: for which engine, in which precision.
        folder: holds the artefact and its sidecar; what was in it before is deleted.
        source_sha256: hash of the model's weights on disk.
        calibration: examples by which static int8 chooses the ranges of activations.
        length: tokens of the longest text, for formats of fixed shapes; the model's positions by
            default.

    Raises:
        EngineError: the engine is not installed here, cannot convert the model, or was given too
            few examples.
        OSError: no space is left on the disk.
    """
    engine = form.make_engine()
    engine.require()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    quantization: Mapping[str, Any] | None
    length = _length(engine, model, length)
    if engine.reads == "module":
        path = folder / "model"
        write_torch_folder(model, path, form.precision)
        quantization = QUANTIZATION if form.precision == "int8" else None
    else:
        path, quantization = _convert(model, engine, folder, calibration, length)
    artifact = Artifact(
        path=path,
        sha256=content_sha256(path),
        engine=form.engine,
        precision=form.precision,
        versions=engine.versions(),
        quantization=quantization,
        calibration=calibration.record if calibration and form.int8_method == "static" else None,
        source_sha256=source_sha256,
        length=length,
    )
    artifact.save()
    return artifact


def find_artifact(
    folder: Path,
    form: Form,
    source_sha256: str | None,
    calibration: Calibration | None = None,
    length: int | None = None,
) -> Artifact | None:
    """The artefact of `form` in `folder`, made of these very weights by these versions; or None.

    Where it was calibrated, and examples are given, it is one of these very examples too; where its
    shapes are fixed, and a length is given, it takes texts of that length.
    """
    try:
        found = Artifact.load(folder)
        versions = form.make_engine().versions()
    except (ArtifactError, EngineError, ImportError):
        return None
    same = (
        (found.engine, found.precision, found.method)
        == (form.engine, form.precision, form.quantized_by)
        and source_sha256 is not None
        and found.source_sha256 == source_sha256
        and dict(found.versions) == versions
    )
    if found.calibration is not None and calibration is not None:
        same = same and dict(found.calibration) == dict(calibration.record)
    if found.length is not None and length is not None:
        same = same and found.length == length
    return found if same else None


def open_artifact(artifact: Artifact, engine: Engine, workload: Workload | None) -> Session:
    """Load an artefact into its engine, as it is.

    Args:
        artifact: what to open.
        engine: the engine that the artefact was made for.
        workload: the batches that it will run; None for batches of any shape.

    Raises:
        EngineError: it is an artefact of another engine, or it cannot be loaded.
        ArtifactError: it is not there any more.
    """
    if artifact.engine != engine.name:
        raise EngineError(f"{artifact.path}: is made for {artifact.engine}, not for {engine.name}")
    if artifact.engine == "torch":
        return engine.load(read_torch_folder(artifact.path), workload)
    return engine.load(artifact.path, workload)


def _convert(
    model: FlexiBertForSequenceClassification,
    engine: Engine,
    folder: Path,
    calibration: Calibration | None,
    length: int | None,
) -> tuple[Path, Mapping[str, Any] | None]:
    from edgetran.models import ModelConfigError, export_onnx, export_program

    with TemporaryDirectory(prefix="edgetran-") as temporary:
        try:
            if length is None:
                exported = export_onnx(model, Path(temporary) / "model.onnx")
            else:
                exported = export_program(model, Path(temporary) / "model.pt2", length)
        except (ImportError, ModelConfigError) as error:
            raise EngineError(f"{engine.name}: {error}") from None
        return engine.convert(exported, folder, calibration)


def _length(
    engine: Engine, model: FlexiBertForSequenceClassification, wanted: int | None
) -> int | None:
    """Tokens of the text that a file of fixed shapes takes; None where its shapes are free."""
    if engine.reads != "program":
        return None
    return wanted or int(model.config.max_position_embeddings)
