"""The Artifact: what it is, the hash that it is known by, and the file that says so beside it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

from edgetran.records import sync_file, write_atomically

SCHEMA_VERSION: Final = 1

SIDECAR: Final = "artifact.json"
"""The file beside an artefact that tells what it is; written last."""

_CHUNK_BYTES: Final = 1 << 20


class ArtifactError(ValueError):
    """An artefact that is missing, or is not what its record says; the message says which."""


@dataclass(frozen=True)
class Artifact:
    """A model made ready for an engine and a precision.

    Attributes:
        path: the file or folder that the engine opens.
        sha256: hash of its content; see `content_sha256`.
        engine: torch, onnxruntime, openvino, executorch or litert.
        precision: fp32, fp16, bf16, int8 or int4.
        versions: of what made it.
        quantization: how its numbers were quantised; None where they were not.
        calibration: the data by which ranges of activations were chosen; None for none.
        source_sha256: hash of the weights that it was made from; None where they were not kept.
        length: tokens of the one text that it takes at a time, where its shapes are fixed.
    """

    path: Path
    sha256: str
    engine: str
    precision: str
    versions: Mapping[str, str]
    quantization: Mapping[str, Any] | None = None
    calibration: Mapping[str, Any] | None = None
    source_sha256: str | None = None
    length: int | None = None

    @property
    def words(self) -> str:
        """Engine and precision, such as `openvino int8`, and a way to int8 that is not dynamic."""
        method = self.method
        special = self.precision == "int8" and method not in (None, "dynamic")
        more = f" {method}" if special else ""
        return f"{self.engine} {self.precision}{more}"

    @property
    def method(self) -> str | None:
        """How its numbers were quantised; None where they were not."""
        return None if self.quantization is None else str(self.quantization["method"])

    def to_dict(self) -> dict[str, Any]:
        """As records tell of it: all but its place."""
        return {
            "sha256": self.sha256,
            "engine": self.engine,
            "precision": self.precision,
            "versions": dict(self.versions),
            "quantization": None if self.quantization is None else dict(self.quantization),
            "calibration": None if self.calibration is None else dict(self.calibration),
            "sourceSha256": self.source_sha256,
            **({} if self.length is None else {"length": self.length}),
        }

    @property
    def size_bytes(self) -> int:
        """Of the file, or of all files in the folder."""
        files = [self.path] if self.path.is_file() else self.path.rglob("*")
        return sum(file.stat().st_size for file in files if file.is_file())

    def save(self) -> None:
        """Write the sidecar into the folder that holds the artefact."""
        record = {"schemaVersion": SCHEMA_VERSION, "file": self.path.name, **self.to_dict()}
        write_atomically(self.path.parent / SIDECAR, json.dumps(record, indent=2) + "\n")

    def copied_to(self, folder: Path) -> Self:
        """The same content in another folder, with its sidecar; what was there is deleted."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        target = folder / self.path.name
        if self.path.is_dir():
            shutil.copytree(self.path, target)
        else:
            shutil.copyfile(self.path, target)
        copied = replace(self, path=target)
        copied.save()
        return copied

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The artefact that the sidecar in `folder` tells of, its content checked by hash.

        Raises:
            ArtifactError: there is none, or its content is another than when it was made.
        """
        sidecar = folder / SIDECAR
        try:
            data = json.loads(sidecar.read_text(encoding="utf-8"))
            version, name = data["schemaVersion"], data["file"]
            found = cls(
                path=folder / name,
                sha256=str(data["sha256"]),
                engine=data["engine"],
                precision=data["precision"],
                versions=data["versions"],
                quantization=data["quantization"],
                calibration=data["calibration"],
                source_sha256=data["sourceSha256"],
                length=data.get("length"),
            )
        except OSError:
            raise ArtifactError(f"{folder}: holds no {SIDECAR}, so no artefact") from None
        except (ValueError, KeyError, TypeError):
            raise ArtifactError(f"{sidecar}: is not the record of an artefact") from None
        if version != SCHEMA_VERSION or Path(str(name)).name != name:
            raise ArtifactError(
                f"{sidecar}: schemaVersion {version!r}, file {name!r} given; allowed is "
                f"schemaVersion {SCHEMA_VERSION} and a name in its own folder"
            )
        found.verify()
        return found

    def verify(self) -> None:
        """Compare the content with the hash.

        Raises:
            ArtifactError: naming what is missing or differs.
        """
        if not self.path.exists():
            raise ArtifactError(f"{self.path}: is missing; it was made as {self.words}")
        found = content_sha256(self.path)
        if found != self.sha256:
            raise ArtifactError(
                f"{self.path}: its SHA-256 is {found[:12]}…, when it was made it was "
                f"{self.sha256[:12]}…; it has been changed"
            )


def content_sha256(path: Path) -> str:
    """SHA-256 of a file; of a folder, the one of its list of names and hashes.

    The list has one line `HASH  NAME` per file, names relative with slashes, sorted: what
    `sha256sum` prints. Times, owners and empty folders do not count.
    """
    if not path.is_dir():
        return _file_sha256(path)
    names = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
    lines = (f"{_file_sha256(path / name)}  {name}\n" for name in names)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def weights_sha256(checkpoint: Path) -> str:
    """SHA-256 of the weights in a model's folder, whatever lies beside them."""
    weights = checkpoint / "model.safetensors"
    return content_sha256(weights if weights.is_file() else checkpoint)


def copy_content(source: Path, target: Path) -> None:
    """Give a file a second name, whole or not at all; where links are not had, a copy."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
            sync_file(temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _file_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
