"""Where a task comes from: a name, a folder, files or a data set of a hub, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from edgetran.api.field_errors import invalid, required, unsupported
from edgetran.training.task import TaskError


@dataclass(frozen=True)
class TaskReference:
    """Where a task comes from: plain data that travels to workers and into records.

    Exactly one of `name`, `folder`, `files` and `hub` is given.

    Attributes:
        name: a built-in task: `movie-reviews`.
        folder: a local folder in GLUE's own TSV layout.
        glue: which of the nine GLUE tasks the folder is, where its name does not say so.
        files: CSV, TSV, JSON-lines or Parquet files by part: `train`, and optionally `validation`
            and `test`, which are otherwise split off by a hash of the text.
        hub: a GLUE data set of the Hugging Face hub, e.g. `glue/sst2`.
        text_column: column of the files with the text.
        text2_column: column with the second text; `text2` is used where it exists, a column of
            another name has to exist.
        label_column: column with the label.
        kind: `classification`, `regression`, or `auto`: regression where labels have fractions.
        max_examples: at most so many training examples, drawn by `seed`.
        seed: of the split of files and of `max_examples`.
        content: sha-256 of each file, by part or file name, or of the `rows` where there are no
            files; what is loaded must agree with it. None for whatever is there.
        overlap: `drop` keeps examples that also stand in a part that judges out of training;
            `keep` trains on them.
    """

    name: str | None = None
    folder: str | None = None
    glue: str | None = None
    files: Mapping[str, str] | None = None
    hub: str | None = None
    text_column: str = "text"
    text2_column: str = "text2"
    label_column: str = "label"
    kind: str = "auto"
    max_examples: int | None = None
    seed: int = 0
    content: Mapping[str, str] | None = None
    overlap: str = "drop"

    def __post_init__(self) -> None:
        given = [k for k in ("name", "folder", "files", "hub") if getattr(self, k) is not None]
        if len(given) != 1:
            what = "must set exactly one of name, folder, files and hub"
            found = invalid(dict.fromkeys(given), what) if given else required(what)
            raise TaskError(f"task: {found}")
        if self.kind not in ("auto", "classification", "regression"):
            kinds = ("auto", "classification", "regression")
            raise TaskError(f"task.files.labelKind: {unsupported(self.kind, kinds)}")
        if self.overlap not in ("drop", "keep"):
            raise TaskError(f"task.overlap: {unsupported(self.overlap, ('drop', 'keep'))}")

    @property
    def keeps_overlap(self) -> bool:
        """Whether training keeps examples that also stand in a part that judges."""
        return self.overlap == "keep"

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        data = asdict(self)
        return data | {
            "files": None if self.files is None else dict(self.files),
            "content": None if self.content is None else dict(self.content),
        }

    def identity(self) -> dict[str, Any]:
        """The same for the same task wherever its files lie: paths are reduced to their names."""
        data = self.to_dict()
        if self.folder is not None:
            data["folder"] = Path(self.folder).name
        if self.files is not None:
            data["files"] = {part: Path(file).name for part, file in self.files.items()}
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TaskReference:
        """Read what `to_dict` wrote; absent fields take their defaults.

        Raises:
            TaskError: an unknown field, or not exactly one source.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(data) - known):
            raise TaskError(f"task: {unsupported(unknown[0], sorted(known))}")
        return cls(**data)
