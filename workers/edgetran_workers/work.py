"""What a worker is asked to do, as the operator mounts it: the resource, and where inputs lie."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from edgetran import api
from edgetran.api import ProfilingJob, Resource
from edgetran.api.addresses import STORAGE_FORM
from edgetran.profiling import Profile, ProfilingError
from edgetran.records import RecordError
from edgetran.runner.chain import Chain
from edgetran.runner.folder import RunFolder
from edgetran.runner.given import DependencyError
from edgetran.runner.published import PART_KEY, PublishedError, write_folder

RESOURCE_FILE: Final = "resource.yaml"
DEPENDENCIES_FILE: Final = "dependencies.yaml"
WORK_FILE: Final = "work.json"
KINDS: Final = {"profile": "ProfilingJob", "search": "CoDesignSearch", "gptran": "GPTranRun"}
"""The kind of resource that each command works on."""

CLAIM: Final = "claim"
"""Storage that is a mounted volume; any other one is an address."""

_FOLDER: Final = re.compile(r"[a-z0-9][a-z0-9-]*(/[a-z0-9][a-z0-9.-]*)+")


class WorkError(ValueError):
    """Mounted work that cannot be read; one sentence that names the file."""


@dataclass(frozen=True)
class SearchInput:
    """The run of the search whose winner is refined.

    Attributes:
        folder: its folder below its storage.
        storage: `CLAIM`, or an address.
    """

    folder: str
    storage: str


@dataclass(frozen=True)
class Work:
    """One worker's work.

    Attributes:
        resource: what is to be done.
        dependencies: the resources that it refers to.
        results: name of the results ConfigMaps but for the dash and number at their end.
        namespace: theirs.
        storage: None for none, `CLAIM`, or an address.
        folder: the run's folder below the storage.
        profiles: folders of the mounted results of ProfilingJobs, in order, by the job's name.
        search: the search whose winner is refined; None for other work.
    """

    resource: Resource
    dependencies: tuple[Resource, ...]
    results: str
    namespace: str
    storage: str | None
    folder: str
    profiles: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    search: SearchInput | None = None


def read_work(folder: Path, command: str, spec_hash: str = "", work_hash: str = "") -> Work:
    """The work in the mounted `folder`.

    Args:
        folder: holds resource.yaml, work.json and perhaps dependencies.yaml.
        command: profile, search or gptran.
        spec_hash: `edgetran.api.spec_hash` of the resource that the pod was made for; any resource
            is read where it is empty.
        work_hash: `edgetran.api.work_hash` of the other files, in the same way.

    Raises:
        WorkError: a file is missing or is not what it should be.
        SpecError: a resource is invalid, with every problem of it.
    """
    resources = api.load_text(_text(folder / RESOURCE_FILE))
    if len(resources) != 1 or resources[0].kind != KINDS[command]:
        found = ", ".join(each.label for each in resources)
        raise WorkError(
            f"{RESOURCE_FILE}: holds {found}; allowed for `edgetran-worker {command}` is one "
            f"{KINDS[command]}"
        )
    if spec_hash and api.spec_hash(resources[0]) != spec_hash:
        raise WorkError(
            f"{RESOURCE_FILE}: is not the spec that this pod was made for, so the ConfigMap was "
            "changed; allowed is to delete it, and the operator makes it again"
        )
    files = {WORK_FILE: _text(folder / WORK_FILE)}
    if (folder / DEPENDENCIES_FILE).exists():
        files[DEPENDENCIES_FILE] = _text(folder / DEPENDENCIES_FILE)
    if work_hash and api.work_hash(files) != work_hash:
        raise WorkError(
            f"{' or '.join(files)}: not what this pod was made for, so the ConfigMap was changed; "
            "allowed is to delete it, and the operator makes it again"
        )
    text = files.get(DEPENDENCIES_FILE, "")
    given = api.load_text(text) if text.strip() else []
    try:
        data = json.loads(files[WORK_FILE])
        work = _work(data, resources[0], tuple(given))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        said = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise WorkError(f"{WORK_FILE}: {said}") from None
    return work


def read_profiles(work: Work, chain: Chain, folder: Path) -> dict[str, Profile]:
    """The profiles that the work is given, by the name of their ProfilingJob.

    Args:
        work: tells where the results are mounted.
        chain: what is to be done; every device of it that is not this host needs a profile.
        folder: an empty one, where the profiles' logs are put together.

    Raises:
        DependencyError: a profile is missing or cannot be used.
    """
    jobs = {each.name: each for each in work.dependencies if isinstance(each, ProfilingJob)}
    jobs |= {job.name: job for job in chain.jobs}
    wanted = {reference.name for reference in _warm_starts(work.resource)}
    for device in chain.devices:
        job = chain.job_for(device)
        if job is not None and (device.host is None or job.name in work.profiles):
            wanted.add(job.name)
        elif job is None and device.simulation is None and device.host is None:
            raise DependencyError(
                f"device {device.name}: no ProfilingJob measures it; allowed on a cluster's nodes "
                "is a device with profileRef"
            )
    return {
        name: _profile(jobs[name], work.profiles.get(name, ()), folder / name)
        for name in sorted(wanted)
    }


def _warm_starts(resource: Resource) -> tuple[api.Reference, ...]:
    return (resource.spec.warm_start_from or ()) if isinstance(resource, ProfilingJob) else ()


def _profile(job: ProfilingJob, parts: tuple[Path, ...], folder: Path) -> Profile:
    if not parts:
        raise DependencyError(f"{job.label}: its results are not mounted")
    try:
        write_folder([_part(part) for part in parts], folder)
        path = RunFolder(folder).profile(job.spec.device.name)
        profile = Profile.load(path, seed=job.spec.seed)
        _ = profile.surrogate
    except (PublishedError, ProfilingError, RecordError, OSError) as error:
        said = str(error).replace(f"{folder}/", "")
        raise DependencyError(f"{job.label}: {said}") from None
    return profile


def _part(folder: Path) -> bytes:
    file = folder / PART_KEY
    return file.read_bytes() if file.exists() else b""


def _work(data: Mapping[str, Any], resource: Resource, dependencies: tuple[Resource, ...]) -> Work:
    folder = _folder(data["folder"])
    inputs = data.get("inputs") or {}
    profiles = {
        str(name): tuple(Path(part) for part in parts)
        for name, parts in (inputs.get("profiles") or {}).items()
    }
    search = inputs.get("search")
    return Work(
        resource=resource,
        dependencies=dependencies,
        results=str(data["results"]),
        namespace=str(data["namespace"]),
        storage=_storage(data.get("storage")),
        folder=folder,
        profiles=profiles,
        search=None
        if search is None
        else SearchInput(_folder(search["folder"]), _search_storage(search["storage"])),
    )


def _storage(value: Mapping[str, Any] | None) -> str | None:
    if value is None:
        return None
    if value.get("claim") is True:
        return CLAIM
    uri = value["uri"]
    return _address(uri).rstrip("/")


def _search_storage(value: Any) -> str:
    return CLAIM if value == CLAIM else _address(value)


def _address(value: Any) -> str:
    """An address of storage; the operator has judged which one, so only its form is looked at."""
    if isinstance(value, str):
        failed = [each for each in STORAGE_FORM if not each.holds(value)]
        if not failed:
            return value
    said = failed[0].allowed if isinstance(value, str) else "text"
    raise ValueError(f"storage.uri: not repeated, as it may hold a password; allowed is {said}")


def _folder(value: Any) -> str:
    if not isinstance(value, str) or not _FOLDER.fullmatch(value) or ".." in value.split("/"):
        raise ValueError(f"folder: {value!r} was given; allowed is a relative path without '..'")
    return value


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise WorkError(f"{path}: no such file; allowed is the folder of a worker's work") from None
    except (OSError, UnicodeDecodeError) as error:
        raise WorkError(f"{path}: {error}") from None
