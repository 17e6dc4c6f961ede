"""The folder of a run: its layout, its lock, and whose specification it belongs to.

- `spec.yaml`: the resources that were asked for, canonical
- `inputs.jsonl`: the content of data, models and tokenizers, by hash
- `log.jsonl`: every event with its time
- `profiles/DEVICE.jsonl`: measurements of a device
- `profiles/final/DEVICE.jsonl`: measurements of winner and baseline beside one another
- `priors/`: exported profiles of other devices that profiling starts from
- `trials.jsonl`: trials of the search
- `gptran/tree.jsonl`: nodes of GPTran's tree
- `tracking/TRACKER.jsonl`: what a tracking server was sent, and its ids
- `checkpoints/`: trained weights that later steps start from
- `artifacts/FINALIST/`: what was timed and scored, each with its hash
- `model/`, `model.onnx`: the winner
- `exports/`: what `edgetran export` wrote
- `result.json`: written last: the run is complete when it exists
- `report.html`: the result to look at
"""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from filelock import FileLock, Timeout

from edgetran.api import Resource, SpecError, load_text, refused_changes
from edgetran.api.common import COMMON_MUTABLE, PLACEMENT
from edgetran.records import write_atomically

RESULT_SCHEMA_VERSION: Final = 1

_NO_LOCKS: Final = frozenset(
    {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
)


class RunFolderError(ValueError):
    """A folder that cannot hold this run; the message says which and what is allowed."""


class RunFolder:
    """A run's folder, held by one process at a time (a context manager).

    Args:
        path: the folder; created when the run starts.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.spec = self.path / "spec.yaml"
        self.inputs = self.path / "inputs.jsonl"
        self.log = self.path / "log.jsonl"
        self.profiles = self.path / "profiles"
        self.priors = self.path / "priors"
        self.trials = self.path / "trials.jsonl"
        self.tracking = self.path / "tracking"
        self.checkpoints = self.path / "checkpoints"
        self.search_checkpoints = self.checkpoints / "search"
        self.gptran = self.path / "gptran"
        self.artifacts = self.path / "artifacts"
        self.model = self.path / "model"
        self.onnx = self.path / "model.onnx"
        self.result = self.path / "result.json"
        self.report = self.path / "report.html"
        # Never by the existence of a file instead: after a kill it would lock for ever.
        self._lock = FileLock(self.path / ".lock", fallback_to_soft=False)

    def profile(self, device: str) -> Path:
        """Where the measurements of `device` stand."""
        return self.profiles / f"{device}.jsonl"

    def final_profile(self, device: str) -> Path:
        """Where the finalists' measurements on `device` stand."""
        return self.profiles / "final" / f"{device}.jsonl"

    @property
    def complete(self) -> bool:
        """Whether the run in this folder has ended with a result."""
        return self.result.exists()

    def read_result(self) -> dict[str, Any]:
        """The result of a complete run.

        Raises:
            RunFolderError: there is no result yet, or one of another schema version.
        """
        if not self.path.is_dir():
            raise RunFolderError(f"{self.path}: no such folder; give the folder of a run")
        if not self.complete:
            raise RunFolderError(
                f"{self.path}: holds no result.json; "
                + (
                    f"the run is unfinished, continue it with: edgetran run -f {self.spec} "
                    f"--output {self.path}"
                    if self.spec.exists()
                    else "give the folder of a run"
                )
            )
        try:
            result = json.loads(self.result.read_text())
            version = result["schemaVersion"]
        except (ValueError, KeyError, TypeError):
            raise RunFolderError(f"{self.result}: is not a result of EdgeTran") from None
        if version != RESULT_SCHEMA_VERSION:
            raise RunFolderError(
                f"{self.result}: schemaVersion is {version}, this version of EdgeTran reads "
                f"{RESULT_SCHEMA_VERSION}"
            )
        return dict(result)

    def claim(self, spec: str, *, resume: bool = True) -> bool:
        """Make the folder this run's; call it while the lock is held.

        Args:
            spec: the canonical YAML of what is asked for.
            resume: False refuses a folder that already holds a run.

        Returns:
            Whether an earlier session of the same run left something to continue. Limits that may
            change while work goes on, such as `maxTrials`, may differ from that session's: a
            complete run then goes on from its logs, and its result is made again.

        Raises:
            RunFolderError: the folder holds a run of another specification, files that are no
                run's, or, without `resume`, any run.
        """
        if self.spec.exists():
            before = self.spec.read_text()
            change = "none" if before == spec else _change(before, spec)
            if change == "work":
                raise RunFolderError(
                    f"{self.path}: holds a run of another specification (see {self.spec}); "
                    "give another folder with --output, or delete this one"
                )
            if not resume:
                raise RunFolderError(
                    f"{self.path}: already holds a run of this specification; --no-resume wants "
                    "an empty folder, give another one with --output, or delete this one"
                )
            if change == "limits":
                self.report.unlink(missing_ok=True)
                self.result.unlink(missing_ok=True)
            if before != spec:
                write_atomically(self.spec, spec)
            return True
        strangers = sorted(
            p.name
            for p in self.path.iterdir()
            if not p.name.startswith(".") and p != self.priors  # which may be there before the run
        )
        if strangers:
            raise RunFolderError(
                f"{self.path}: holds {strangers[0]} but no spec.yaml, so it is not the folder of a "
                "run; give an empty or a new folder with --output"
            )
        write_atomically(self.spec, spec)
        return False

    def __enter__(self) -> Self:
        if self.path.exists() and not self.path.is_dir():
            raise RunFolderError(f"{self.path}: is a file; --output wants a folder")
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise RunFolderError(
                f"{self.path}: another edgetran process is running in this folder; wait for it or "
                "give another folder with --output"
            ) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            raise RunFolderError(
                f"{self.path}: its file system has no locks ({error.strerror}), so two processes "
                "could work in it at the same time; allowed is a folder on a file system that "
                "supports flock, such as a local disk, or NFS with its lock service"
            ) from None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lock.release()


def _change(before: str, after: str) -> str:
    """What differs between two texts of resources.

    `work` for what a run's records depend on, `limits` for how far it goes, `none` where neither.
    """
    try:
        old, new = ({r.label: r for r in load_text(text)} for text in (before, after))
    except SpecError:
        return "work"
    if old.keys() != new.keys() or any(
        refused_changes(old[key], new[key], begun=True) for key in old
    ):
        return "work"
    return "none" if all(_limits(old[key]) == _limits(new[key]) for key in old) else "limits"


def _limits(resource: Resource) -> object:
    """The spec without what only decides when and how a cluster runs it, and who is told."""
    spec = resource.spec
    return spec.model_dump(exclude={*COMMON_MUTABLE, *PLACEMENT, "tracking"})
