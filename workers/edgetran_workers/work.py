"""What a worker is asked to do, as the operator mounts it: the resource, and where inputs lie."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from edgetran import api
from edgetran.api import ProfilingJob, Resource
from edgetran.api.field_errors import required
from edgetran.api.wire import (
    CLAIM,
    COMMANDS,
    DEPENDENCIES_FILE,
    PART_KEY,
    RESOURCE_FILE,
    WORK_FILE,
    WORKER_PROGRAM,
    InputsOrder,
    SearchOrder,
    StorageOrder,
    WorkOrder,
)
from edgetran.profiling import Profile, ProfilingError
from edgetran.records import RecordError
from edgetran.runner.chain import Chain
from edgetran.runner.folder import RunFolder
from edgetran.runner.prior_results import DependencyError
from edgetran.runner.published import PublishedError, write_folder


class WorkError(ValueError):
    """Mounted work that cannot be read; one sentence that names the file."""


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
        search: the run whose winner is refined or measured; None for other work.
    """

    resource: Resource
    dependencies: tuple[Resource, ...]
    results: str
    namespace: str
    storage: str | None
    folder: str
    profiles: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    search: SearchOrder | None = None


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
    if len(resources) != 1 or resources[0].kind != COMMANDS[command]:
        found = ", ".join(each.label for each in resources)
        raise WorkError(
            f"{RESOURCE_FILE}: holds {found}; allowed for `{WORKER_PROGRAM} {command}` is one "
            f"{COMMANDS[command]}"
        )
    if spec_hash and api.spec_hash(resources[0]) != spec_hash:
        raise WorkError(
            f"{RESOURCE_FILE}: is not the spec that this pod was made for, so the ConfigMap was "
            "changed; delete it, and the operator makes it again"
        )
    files = {WORK_FILE: _text(folder / WORK_FILE)}
    if (folder / DEPENDENCIES_FILE).exists():
        files[DEPENDENCIES_FILE] = _text(folder / DEPENDENCIES_FILE)
    if work_hash and api.work_hash(files) != work_hash:
        raise WorkError(
            f"{' or '.join(files)}: not what this pod was made for, so the ConfigMap was changed; "
            "delete it, and the operator makes it again"
        )
    text = files.get(DEPENDENCIES_FILE, "")
    given = api.load_text(text) if text.strip() else []
    try:
        order = WorkOrder.model_validate(json.loads(files[WORK_FILE]))
        return _work(order, resources[0], tuple(given))
    except ValidationError as error:
        raise WorkError(f"{WORK_FILE}: {_said(error)}") from None
    except (ValueError, RecursionError) as error:
        raise WorkError(f"{WORK_FILE}: {error}") from None


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


def _work(order: WorkOrder, resource: Resource, dependencies: tuple[Resource, ...]) -> Work:
    inputs = order.inputs or InputsOrder()
    return Work(
        resource=resource,
        dependencies=dependencies,
        results=order.results,
        namespace=order.namespace,
        storage=_storage(order.storage),
        folder=order.folder,
        profiles={
            name: tuple(Path(part) for part in parts) for name, parts in inputs.profiles.items()
        },
        search=inputs.search,
    )


def _storage(order: StorageOrder | None) -> str | None:
    if order is None:
        return None
    if order.claim:
        return CLAIM
    if order.uri is None:
        raise ValueError(f"storage.uri: {required('must be an address where claim is not set')}")
    return order.uri.rstrip("/")


def _said(error: ValidationError) -> str:
    """The first thing that is wrong; never with what was given, which may hold a password."""
    first = error.errors(include_input=False)[0]
    place = ".".join(map(str, first["loc"]))
    if first["type"] == "missing":
        return f"{place!r} is missing"
    return f"{place}: {first['msg']}"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise WorkError(f"{path}: no such file; allowed is the folder of a worker's work") from None
    except (OSError, UnicodeDecodeError) as error:
        raise WorkError(f"{path}: {error}") from None
