"""One trial of a search: what came of it, where it ran, and its part of that pod's log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edgetran.api.names import READER
from edgetran.api.wire import COMPONENT_LABEL, WORKER_CONTAINER, run_selector
from edgetran.kubectl.cluster import Cluster, NotFoundError
from edgetran.kubectl.logs import readable
from edgetran.kubectl.reading import Data, label
from edgetran.kubectl.results import write_published


def trial_lines(cluster: Cluster, data: Data, number: int, *, raw: bool = False) -> Iterator[str]:
    """What is known of a trial, then the lines of its pod's log while it ran.

    Args:
        cluster: where the search is.
        data: the search.
        number: of the trial.
        raw: leaves lines of the log as the worker wrote them.

    Raises:
        NotFoundError: no trial of that number has ended; the sentence says which have.
        ClusterError: the cluster does not answer.
    """
    trial = _trial(cluster, data, number)
    state = trial["state"] if trial["error"] is None else f"failed: {trial['error']}"
    yield f"trial {number}: {state}, for {trial['device']}, proposed by {trial['proposed_by']}"
    place = str(trial.get("place") or "")
    pod = _pod(cluster, data, place)
    where = "of a place that is not known"
    if place:
        node = "" if pod is None else f", node {pod['spec'].get('nodeName')}"
        where = f"in pod {place}{node}"
    yield (
        f"ran {where}, from {trial['started']} to {trial['finished']}: "
        f"{trial['training_seconds']:.1f} s of training, {trial['attempts']} start(s)"
    )
    if pod is None:
        yield "its pod is gone, and its log with it" if place else "so there is no log"
        return
    first, last = (_time(trial[key]) for key in ("started", "finished"))
    for line in cluster.log(place, _container(pod)):
        when = _time_of(line)
        if when is None or first is None or last is None or first <= when <= last:
            yield line if raw else readable(line)


def _trial(cluster: Cluster, data: Data, number: int) -> dict[str, Any]:
    if data["kind"] != "CoDesignSearch":
        raise NotFoundError(f"{label(data)} has no trials; a CoDesignSearch has")
    with TemporaryDirectory() as place:
        write_published(cluster, data, Path(place))
        log = Path(place, "trials.jsonl")
        lines = log.read_text().splitlines() if log.exists() else []
    trials = {record["number"]: record for record in map(json.loads, lines) if "number" in record}
    if number not in trials:
        known = f"{min(trials)} to {max(trials)} have" if trials else "none has"
        raise NotFoundError(f"{label(data)}: trial {number} has not ended; {known} so far")
    found: dict[str, Any] = trials[number]
    return found


def _pod(cluster: Cluster, data: Data, name: str) -> Data | None:
    """The pod of that name among those of the search: a host's name alone is nobody's pod."""
    selector = run_selector(data["kind"], data["metadata"]["name"])
    pods = cluster.pods(f"{selector},{COMPONENT_LABEL}!={READER}") if name else []
    return next((pod for pod in pods if pod["metadata"]["name"] == name), None)


def _container(pod: Data) -> str:
    names = [str(each["name"]) for each in pod["spec"]["containers"]]
    return WORKER_CONTAINER if WORKER_CONTAINER in names else names[0]


def _time_of(line: str) -> datetime | None:
    try:
        return _time(json.loads(line)["time"])
    except (ValueError, KeyError, TypeError):
        return None


def _time(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None
