"""The logs of a run's workers: of those that run, or of the last one that did."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator, Sequence

from edgetran.api.names import READER
from edgetran.api.wire import COMPONENT_LABEL, WORKER_CONTAINER, run_selector
from edgetran.kubectl.cluster import Cluster, ClusterError, NotFoundError
from edgetran.kubectl.reading import Data, label, status_of


def newest_pods(cluster: Cluster, data: Data) -> list[Data]:
    """The pods of a resource's worker that run; where none does, the newest one.

    Raises:
        NotFoundError: there is none; the sentence says whose logs there are instead.
    """
    kind, name = data["kind"], data["metadata"]["name"]
    pods = cluster.pods(f"{run_selector(kind, name)},{COMPONENT_LABEL}!={READER}")
    if pods:
        running: list[Data] = [pod for pod in pods if _phase(pod) == "Running"]
        return running or [pods[-1]]
    measured_by = [
        str(device["profilingJob"])
        for device in status_of(data).get("devices") or ()
        if device.get("profilingJob")
    ]
    hint = f"; its devices are measured by pj/{', pj/'.join(measured_by)}" if measured_by else ""
    raise NotFoundError(f"{label(data)} has no pod{hint}")


def readable(line: str) -> str:
    """A worker's line of JSON as `TIME MESSAGE`, a level before what is no information.

    What is not such a line stays as it is.
    """
    try:
        entry = json.loads(line)
        time, level, message = (str(entry[key]) for key in ("time", "level", "message"))
    except (ValueError, KeyError, TypeError):
        return line
    word = "" if level == "info" else f"{level.upper()} "
    return f"{time[:19].replace('T', ' ')} {word}{message}"


def log_lines(
    cluster: Cluster, pods: Sequence[Data], *, follow: bool, tail: int | None, raw: bool = False
) -> Iterator[str]:
    """The lines of the pods' logs; where there are several, each with its pod's name before it.

    `raw` leaves them as the workers wrote them.

    Raises:
        NotFoundError: a pod has not begun.
        ClusterError: the cluster does not answer.
    """
    if len(pods) == 1:
        for line in _log(cluster, pods[0], follow=follow, tail=tail):
            yield line if raw else readable(line)
        return
    for pod, line in _merged(cluster, pods, tail) if follow else _in_turn(cluster, pods, tail):
        yield f"[{pod}] {line if raw else readable(line)}"


def _in_turn(cluster: Cluster, pods: Sequence[Data], tail: int | None) -> Iterator[tuple[str, str]]:
    for pod in pods:
        for line in _log(cluster, pod, follow=False, tail=tail):
            yield str(pod["metadata"]["name"]), line


def _merged(cluster: Cluster, pods: Sequence[Data], tail: int | None) -> Iterator[tuple[str, str]]:
    """The lines of several logs that are followed, as they come."""
    lines: queue.SimpleQueue[tuple[str, str] | ClusterError | None] = queue.SimpleQueue()

    def read(pod: Data) -> None:
        try:
            for line in _log(cluster, pod, follow=True, tail=tail):
                lines.put((str(pod["metadata"]["name"]), line))
        except ClusterError as error:
            lines.put(error)
        finally:
            lines.put(None)

    for pod in pods:
        threading.Thread(target=read, args=(pod,), daemon=True).start()
    open_logs = len(pods)
    while open_logs:
        line = lines.get()
        if isinstance(line, ClusterError):
            raise line
        if line is None:
            open_logs -= 1
        else:
            yield line


def _log(cluster: Cluster, pod: Data, *, follow: bool, tail: int | None) -> Iterator[str]:
    if _phase(pod) == "Pending":
        raise NotFoundError(f"pod {pod['metadata']['name']} has not begun: {_why_pending(pod)}")
    names = [container["name"] for container in pod["spec"]["containers"]]
    container = WORKER_CONTAINER if WORKER_CONTAINER in names else names[0]
    return cluster.log(pod["metadata"]["name"], container, follow=follow, tail=tail)


def _phase(pod: Data) -> str:
    return str((pod.get("status") or {}).get("phase"))


def _why_pending(pod: Data) -> str:
    """What a pod waits for: a node, an image, a volume."""
    status = pod.get("status") or {}
    for container in status.get("containerStatuses") or ():
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason"):
            return ": ".join(filter(None, (waiting["reason"], waiting.get("message"))))
    for each in status.get("conditions") or ():
        if each.get("status") == "False" and each.get("message"):
            return f"{each.get('reason')}: {each['message']}"
    return "it waits for a node"
