"""Read everything that a run has left in its folder, as the records of the rooms that wrote it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgetran.gptran import GPTranError, Tree, read_tree
from edgetran.profiling import Profile, ProfilingError
from edgetran.records import RecordError
from edgetran.search import SearchError, SearchResult, read_result

SCHEMA_VERSION: Final = 1


class ReportError(ValueError):
    """A folder that no report can be made of; the message says which and what is allowed."""


@dataclass(frozen=True)
class RunRecords:
    """A run's folder, read.

    Attributes:
        folder: the folder.
        result: content of `result.json`.
        spec: text of `spec.yaml`; "" where there is none.
        search: trials, objective and notes; None without a search.
        profiles: measured devices by name.
        finals: measurements of the finalists, side by side, by device.
        tree: GPTran's tree; None without a refinement.
        problems: a sentence for each log that could not be read; the report shows them.
    """

    folder: Path
    result: Mapping[str, Any]
    spec: str
    search: SearchResult | None
    profiles: Mapping[str, Profile]
    finals: Mapping[str, Profile]
    tree: Tree | None
    problems: tuple[str, ...]

    @property
    def simulated(self) -> frozenset[str]:
        """Names of the simulated devices."""
        devices = self.result.get("devices") or []
        return frozenset(d["name"] for d in devices if d.get("kind") == "simulated")


def read_run(folder: Path) -> RunRecords:
    """Read a run's folder; a log that cannot be read becomes a problem, not an error.

    Raises:
        ReportError: there is no `result.json`, or one of another schema version.
    """
    result = _read_result(folder / "result.json")
    spec = folder / "spec.yaml"
    problems: list[str] = []
    search = None
    if (folder / "trials.jsonl").exists():
        try:
            search = read_result(folder / "trials.jsonl")
        except (SearchError, RecordError, KeyError, TypeError) as error:
            problems.append(f"trials.jsonl: {error}")
    tree = None
    if (folder / "gptran/tree.jsonl").exists():
        try:
            tree = read_tree(folder / "gptran/tree.jsonl")
        except (GPTranError, RecordError, KeyError, TypeError) as error:
            problems.append(f"gptran/tree.jsonl: {error}")
    profiles = _read_profiles(folder / "profiles", problems)
    finals = _read_profiles(folder / "profiles/final", problems)
    return RunRecords(
        folder=folder,
        result=result,
        spec=spec.read_text() if spec.exists() else "",
        search=search,
        profiles=profiles,
        finals=finals,
        tree=tree if tree is not None and tree.root is not None else None,
        problems=tuple(problems),
    )


def _read_profiles(folder: Path, problems: list[str]) -> dict[str, Profile]:
    profiles = {}
    for path in sorted(folder.glob("*.jsonl")):
        try:
            profiles[path.stem] = Profile.load(path)
        except (ProfilingError, RecordError, KeyError, TypeError) as error:
            problems.append(f"{folder.name}/{path.name}: {error}")
    return profiles


def _read_result(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ReportError(f"{path}: missing; allowed is the folder of a finished run")
    try:
        result = json.loads(path.read_text())
        version = result["schemaVersion"]
    except (ValueError, KeyError, TypeError):
        raise ReportError(f"{path}: is not the result of a run") from None
    if version != SCHEMA_VERSION:
        raise ReportError(f"{path}: schemaVersion {version!r} given; allowed is {SCHEMA_VERSION}")
    return dict(result)
