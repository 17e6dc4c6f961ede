"""What a run reads, known to its folder by content: another content is never mixed in.

`inputs.jsonl` has a record per place of a resource that names files:

    {"schema_version": 1, "place": "CoDesignSearch/NAME: spec.task.files", "files": {…}}

`files` gives the sha-256 of each file by its part or name. The records are written when all of it
is found to be usable and before anything depends on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from edgetran import api
from edgetran.records import JsonLog, read_records
from edgetran.runner import translate
from edgetran.runner.chain import Chain
from edgetran.runner.folder import RunFolder, RunFolderError
from edgetran.runner.parent import parent_folder
from edgetran.training import TaskReference
from edgetran.training.content import ROWS, hashes, model_files, task_files, tokenizer_files

SCHEMA_VERSION: Final = 1


class ContentError(RunFolderError):
    """Data, a model or a tokenizer that is not what the run in the folder began with."""


@dataclass(frozen=True)
class InputSource:
    """Files that a run reads.

    Attributes:
        place: resource and field that name them.
        files: the files, by part or name.
    """

    place: str
    files: Mapping[str, Path]


class RunInputs:
    """The content of what a run reads, as it is now and as its folder knows it.

    Args:
        folder: the run's folder, which is held.
        chain: what is asked for.
        base: where relative paths begin.

    Raises:
        OSError: a file cannot be read.
    """

    def __init__(self, folder: RunFolder, chain: Chain, base: Path) -> None:
        self._folder = folder
        self._log = folder.inputs
        self._sources = {source.place: source for source in sources(chain, base)}
        self._now = {place: hashes(source.files) for place, source in self._sources.items()}
        self._known = {
            str(record["place"]): dict(record["files"]) for record in read_records(self._log)
        }

    def check(self, *, complete: bool = False) -> None:
        """Compare what is there with what the run began with.

        Args:
            complete: whether the run is over, so that files that are gone are not needed.

        Raises:
            ContentError: naming the place, the file, and what has become of it.
        """
        for place, files in self._now.items():
            self._compare(place, files, complete=complete)

    def keep(self) -> None:
        """Let the folder know the content, where it does not yet."""
        for place, files in self._now.items():
            self._keep(place, files)

    def know(self, source: InputSource) -> None:
        """Check a further source, and let the folder know it.

        Raises:
            ContentError: as `check`.
        """
        self._sources[source.place] = source
        files = hashes(source.files)
        self._compare(source.place, files)
        self._keep(source.place, files)

    def know_rows(self, place: str, source: str, rows: str) -> None:
        """The same of a task that comes from no file: the hash of its rows.

        Raises:
            ContentError: as `check`.
        """
        self._sources[place] = InputSource(place, {ROWS: Path(source)})
        self._compare(place, {ROWS: rows})
        self._keep(place, {ROWS: rows})

    def of(self, reference: TaskReference, chain: Chain) -> TaskReference:
        """The reference with the content of its files, which whoever loads it then checks."""
        place = task_place(chain)
        return replace(reference, content=self._now[place]) if place in self._now else reference

    def _compare(self, place: str, now: Mapping[str, str], *, complete: bool = False) -> None:
        before = self._known.get(place)
        if before is None:
            return
        for name in sorted({*before, *now}):
            if before.get(name) == now.get(name) or (complete and name not in now):
                continue
            file = self._sources[place].files.get(name, name)
            raise ContentError(
                f"{self._folder.path}: {place}: {file} {_change(before.get(name), now.get(name))} "
                "since this run began, and what was made from it stays; put the old content back, "
                "or start another run in another folder"
            )

    def _keep(self, place: str, files: Mapping[str, str]) -> None:
        if place in self._known:
            return
        self._known[place] = dict(files)
        JsonLog(self._log).append(
            {"schema_version": SCHEMA_VERSION, "place": place, "files": dict(files)}
        )


def sources(chain: Chain, base: Path) -> Iterator[InputSource]:
    """Every place of the chain's own resources that names data, a tokenizer or a model."""
    task, place = chain.task, task_place(chain)
    if task is not None:
        if files := task_files(translate.task_reference(task, base)):
            yield InputSource(place, files)
        if task.tokenizer.folder is not None:
            folder = base / task.tokenizer.folder
            owner = place.partition(":")[0]
            yield InputSource(f"{owner}: spec.task.tokenizer.folder", tokenizer_files(folder))
    search = chain.search
    if search is not None and search.spec.parent is not None:
        folder = parent_folder(search.spec.parent, base)
        yield InputSource(f"{search.label}: spec.parent", model_files(folder))
    refinement = chain.refinement
    if refinement is not None and refinement.spec.model is not None:
        yield InputSource(
            f"{refinement.label}: spec.model", model_files(base / refinement.spec.model)
        )
    for job in chain.jobs:
        for index, path in enumerate(job.spec.models or ()):
            yield InputSource(f"{job.label}: spec.models[{index}]", model_files(base / path))
        for index, path in enumerate(job.spec.priors or ()):
            yield InputSource(f"{job.label}: spec.priors[{index}]", {path: base / path})


def task_place(chain: Chain) -> str:
    """The resource and field that say what the task is."""
    owner: api.Resource | None = chain.setting or chain.refinement
    return "" if owner is None else f"{owner.label}: spec.task"


def _change(before: str | None, now: str | None) -> str:
    if now is None:
        return "is gone"
    if before is None:
        return "has come"
    return f"has changed (sha-256 was {before[:12]}…, is {now[:12]}…)"
