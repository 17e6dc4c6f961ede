"""The folder of a run, made of the results that its worker has published in the cluster."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgetran.api import (
    CoDesignSearch,
    ConditionType,
    Reason,
    Resource,
    parse_resource,
    verification_name,
)
from edgetran.api.measures import HARDWARE
from edgetran.kubectl.cluster import Cluster, ClusterError, NotFoundError
from edgetran.kubectl.reading import Data, has_ended, label, results_name, status_of


def fetch_run(cluster: Cluster, data: Data, folder: Path) -> Path:
    """Make the folder that `edgetran show` and `edgetran report` read, of a run in a cluster.

    It has a `result.json` in any case: of a run that goes on, it tells how far it is.

    Args:
        cluster: where the run is.
        data: the resource.
        folder: an empty one.

    Raises:
        NotFoundError: nothing was published yet.
        ClusterError: the cluster does not answer, or holds what is no worker's.
    """
    from edgetran.records import RecordError, write_atomically
    from edgetran.runner.folder import RunFolder
    from edgetran.runner.partial_result import partial_result

    if not write_published(cluster, data, folder):
        over = "has ended without publishing anything" if has_ended(data) else "has nothing to show"
        raise NotFoundError(f"{label(data)} {over} yet: none of its results is in the cluster")
    resource = _asked(data)
    search = _search_of(cluster, resource)
    for job, device in _profiles_of(data):
        _write_profile(cluster, job, device, folder)
    run = RunFolder(folder)
    if not run.complete:
        try:
            result = partial_result(run, resource, search)
        except (RecordError, ValueError) as error:
            raise ClusterError(f"{label(data)}: its results cannot be read: {error}") from None
    else:
        result = run.read_result()
    _put_measured(cluster, data, result)
    result["notes"] = [*result.get("notes", ()), *_lost_to_baseline(data)]
    artifacts = status_of(data).get("artifacts")
    if artifacts:
        result["notes"] = [*result.get("notes", ()), f"Models and samples are in {artifacts}."]
    elif result.get("winner"):
        result["files"] = {}
    write_atomically(run.result, json.dumps(result, indent=2))
    return folder


def _lost_to_baseline(data: Data) -> Iterator[str]:
    """That the winner by prediction was not the best once measured, and what is."""
    for each in status_of(data).get("conditions") or ():
        reasons = (Reason.NEXT_BEST_MEASURED, Reason.WORSE_THAN_BASELINE)
        if each["type"] == ConditionType.WINNER_VERIFIED and each["reason"] in reasons:
            yield str(each["message"])


def _put_measured(cluster: Cluster, data: Data, result: dict[str, Any]) -> None:
    """Put what finalists cost on their board in the place of what was predicted of them."""
    if data["kind"] == "ProfilingJob":
        return
    job = cluster.resource("ProfilingJob", verification_name(data["metadata"]["name"]))
    for told in status_of(job or {}).get("finalists") or ():
        row = result.get(told["finalist"])
        if not row or (row.get("artifact") or {}).get("sha256") != told["artifact"]:
            continue
        for each in HARDWARE:
            value = told.get(each.alias) or {}
            if value.get("source") == "measured" and value.get("value") is not None:
                row["figures"][each.alias] = {
                    "value": value["value"],
                    "unit": each.unit,
                    "source": "measured",
                    "artifact": told["artifact"],
                }


def write_published(cluster: Cluster, data: Data, folder: Path) -> bool:
    """Whether anything was published; it stands in the folder then.

    Raises:
        ClusterError: the cluster does not answer, or holds what is no worker's.
    """
    from edgetran.runner.published import PublishedError, write_folder

    parts = list(_parts(cluster, data))
    try:
        write_folder(parts, folder)
    except PublishedError as error:
        raise ClusterError(f"{label(data)}: {error}") from None
    return any(parts)


def _parts(cluster: Cluster, data: Data) -> Iterator[bytes]:
    """The parts' bytes in order, until the first that is not there."""
    from edgetran.api.wire import PART_KEY

    number = 0
    while (part := cluster.config_map(results_name(data, number))) is not None:
        yield base64.b64decode((part.get("binaryData") or {}).get(PART_KEY, ""))
        number += 1


def _asked(data: Data) -> Resource:
    """What was asked for, without what an operator of another version may have added."""
    metadata = {key: data["metadata"].get(key) for key in ("name", "namespace")}
    kept = {key: data[key] for key in ("apiVersion", "kind", "spec")}
    return parse_resource({**kept, "metadata": metadata})


def _search_of(cluster: Cluster, resource: Resource) -> CoDesignSearch | None:
    """The search that a refinement refers to; it knows devices, task and workload."""
    reference = getattr(resource.spec, "search_ref", None)
    if reference is None:
        return None
    data = cluster.resource("CoDesignSearch", reference.name)
    found = None if data is None else _asked(data)
    return found if isinstance(found, CoDesignSearch) else None


def _profiles_of(data: Data) -> Iterator[tuple[str, str]]:
    """The ProfilingJobs that measured a search's devices, with the devices' names."""
    for device in status_of(data).get("devices") or ():
        if device.get("profilingJob"):
            yield str(device["profilingJob"]), str(device["name"])


def _write_profile(cluster: Cluster, job: str, device: str, folder: Path) -> None:
    """Put a device's measurements where the run would have them, as far as they are there."""
    from tempfile import TemporaryDirectory

    from edgetran.records import write_atomically
    from edgetran.runner.folder import RunFolder

    data = cluster.resource("ProfilingJob", job)
    target = RunFolder(folder).profile(device)
    if data is None or target.exists():
        return
    with TemporaryDirectory() as place:
        write_published(cluster, data, Path(place))
        measured = data["spec"]["device"]["name"]
        source = RunFolder(place).profile(measured)
        if source.exists():
            write_atomically(target, source.read_bytes())
