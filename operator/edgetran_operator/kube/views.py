"""From objects as the API server sends them to the views that decisions need."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

from pydantic import ValidationError

from edgetran.api import KINDS, ExitCode
from edgetran.api.wire import (
    ARTIFACT_ANNOTATION,
    FAILURES_ANNOTATION,
    MADE_FROM_ANNOTATION,
    NODE_ANNOTATION,
    PART_INFO_KEY,
    PART_KEY,
    SUMMARY_KEY,
    WORK_ANNOTATION,
    WORKER_CONTAINER,
    PartInfo,
    ServedVerdict,
    Termination,
    WorkerSummary,
)
from edgetran_operator.kube.border import UnreadableError, read_json
from edgetran_operator.resources.run import DISRUPTION
from edgetran_operator.resources.work import beside_spec
from edgetran_operator.snapshot import (
    DeploymentView,
    NodeView,
    PartView,
    PodView,
    Taint,
    VerdictsView,
    WorkerView,
    WorkFiles,
)

_SHORT_NAMES: Final = {model.SHORT_NAME: kind for kind, model in KINDS.items()}
_CHILD: Final = re.compile(
    rf"(?P<name>.+)-(?P<short>{'|'.join(_SHORT_NAMES)})-(?P<suffix>worker|spec|served|results-(?:0|[1-9]\d{{0,2}}))"
)
_ORDINARY_WAITS: Final = frozenset({"", "ContainerCreating", "PodInitializing"})
_ENDED_BY_NODE: Final = frozenset({"NodeLost", "NodeShutdown", "Preempting", "Shutdown"})
_NODE_IS_LOW: Final = "The node "
_INFO_BYTES: Final = 4096
_SUMMARY_BYTES: Final = 2**16
_SUMMARY_VALUES: Final = 5000
_SUMMARY_LEVELS: Final = 32
_FILES_BYTES: Final = 2**18
_TERMINATION_BYTES: Final = 4096
_LONGEST_TEXT: Final = 2048
_MOST_VERDICTS: Final = 64
_COUNT_DIGITS: Final = 9
_NEVER: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def child_of(name: str) -> tuple[str, str, str] | None:
    """Kind and name of the resource that a child's name tells of, and the child's suffix."""
    match = _CHILD.fullmatch(name)
    return (_SHORT_NAMES[match["short"]], match["name"], match["suffix"]) if match else None


def moment(text: str | None) -> datetime:
    """The time of a metav1.Time; the epoch where there is none."""
    when = datetime.fromisoformat(text) if text else _NEVER
    return when if when.tzinfo is not None else when.replace(tzinfo=UTC)


def controller_uid(metadata: Mapping[str, Any]) -> str:
    """Identifier of the object that manages this one; empty where none does."""
    for owner in metadata.get("ownerReferences", ()):
        if owner.get("controller"):
            uid: str = owner["uid"]
            return uid
    return ""


def job_view(job: Mapping[str, Any]) -> WorkerView:
    """A batch/v1 Job."""
    spec, status = job.get("spec", {}), job.get("status", {})
    ends = {each["type"]: each for each in status.get("conditions", ()) if each["status"] == "True"}
    end: Mapping[str, Any] = ends.get("Complete") or ends.get("Failed") or {}
    when = status.get("completionTime") or end.get("lastTransitionTime")
    return WorkerView(
        **_worker_basics("Job", job["metadata"]),
        complete="Complete" in ends,
        failed="Failed" in ends,
        reason=end.get("reason", ""),
        message=end.get("message", ""),
        finished=moment(when) if end else None,
        failed_pods=status.get("failed", 0),
        backoff_limit=spec.get("backoffLimit", 6),
        stopped=spec.get("parallelism") == 0,
    )


def ray_job_view(job: Mapping[str, Any]) -> WorkerView:
    """A ray.io/v1 RayJob; its observedGeneration is never set, so it is not looked at."""
    spec, status = job.get("spec", {}), job.get("status", {})
    deployment, state = status.get("jobDeploymentStatus", ""), status.get("jobStatus", "")
    complete = deployment == "Complete" and state == "SUCCEEDED"
    failed = deployment in ("Failed", "ValidationFailed") or (
        deployment == "Complete" and state in ("FAILED", "STOPPED")
    )
    reason = deployment if deployment == "ValidationFailed" else status.get("reason", state)
    return WorkerView(
        **_worker_basics("RayJob", job["metadata"]),
        complete=complete,
        failed=failed,
        reason=reason,
        message=status.get("message", ""),
        finished=moment(status.get("endTime")) if complete or failed else None,
        failed_pods=status.get("failed", 0) or int(failed),
        backoff_limit=spec.get("backoffLimit", 0),
    )


def _worker_basics(kind: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    annotations = metadata.get("annotations") or {}
    failures = annotations.get(FAILURES_ANNOTATION, "")
    if len(failures) > _COUNT_DIGITS:
        text = f"has an annotation {FAILURES_ANNOTATION} of {len(failures)} characters"
        raise UnreadableError("BadNumber", text)
    return {
        "kind": kind,
        "name": metadata["name"],
        "uid": metadata["uid"],
        "deleting": "deletionTimestamp" in metadata,
        "failures_before": int(failures) if failures.isdecimal() else 0,
        "node": annotations.get(NODE_ANNOTATION, ""),
        "made_from": annotations.get(MADE_FROM_ANNOTATION, ""),
        "work_hash": annotations.get(WORK_ANNOTATION, ""),
    }


def deployment_view(deployment: Mapping[str, Any]) -> DeploymentView:
    """An apps/v1 Deployment that serves a winner."""
    metadata, status = deployment["metadata"], deployment.get("status", {})
    spec = deployment.get("spec", {})
    template = spec.get("template", {}).get("metadata", {}).get("annotations") or {}
    current = status.get("observedGeneration", 0) >= metadata.get("generation", 0)
    trouble = next(
        (
            f"{each.get('reason', '')}: {each.get('message', '')}"
            for each in status.get("conditions", ())
            if (each.get("type"), each.get("status"))
            in (("ReplicaFailure", "True"), ("Progressing", "False"))
        ),
        "",
    )
    # Old pods may still be among the ready ones: as many as are not of the newest kind.
    old = status.get("replicas", 0) - status.get("updatedReplicas", 0)
    ready = min(status.get("updatedReplicas", 0), status.get("readyReplicas", 0) - old)
    return DeploymentView(
        name=metadata["name"],
        uid=metadata["uid"],
        deleting="deletionTimestamp" in metadata,
        made_from=(metadata.get("annotations") or {}).get(MADE_FROM_ANNOTATION, ""),
        artifact=template.get(ARTIFACT_ANNOTATION, ""),
        wanted=spec.get("replicas", 1),
        ready=max(0, ready) if current else 0,
        trouble=trouble[:_LONGEST_TEXT],
    )


def verdicts_view(config_map: Mapping[str, Any]) -> VerdictsView:
    """What the pods that serve a winner wrote; what cannot be read is passed over."""
    found = []
    for text in islice((config_map.get("data") or {}).values(), _MOST_VERDICTS):
        try:
            verdict = ServedVerdict.read(read_json(text, most_bytes=_INFO_BYTES))
            found.append((moment(verdict.updated), verdict))
        except (UnreadableError, ValidationError, ValueError, TypeError, AttributeError):
            continue
    return VerdictsView(tuple(found))


def pod_view(pod: Mapping[str, Any]) -> PodView:
    """A worker's pod."""
    metadata, status = pod["metadata"], pod.get("status", {})
    container: Mapping[str, Any] = next(
        (each for each in status.get("containerStatuses", ()) if each["name"] == WORKER_CONTAINER),
        {},
    )
    state = container.get("state", {})
    ended = state.get("terminated")
    message, problem = _termination(ended) if ended else ("", None)
    if status.get("phase") == "Failed" and not message:
        parts = (status.get("reason"), status.get("message"))
        message = ": ".join(part for part in parts if part)
    return PodView(
        name=metadata["name"],
        worker_uid=controller_uid(metadata),
        created=moment(metadata.get("creationTimestamp")),
        phase=status.get("phase", "Pending"),
        node=pod.get("spec", {}).get("nodeName", ""),
        deleting="deletionTimestamp" in metadata,
        unschedulable=_unschedulable(status),
        waiting=_waiting(state.get("waiting") or {})[:_LONGEST_TEXT],
        exit_code=ended.get("exitCode") if ended else None,
        message=message[:_LONGEST_TEXT],
        disrupted=_disrupted(pod, ended.get("exitCode") if ended else None),
        problem=problem,
    )


def _disrupted(pod: Mapping[str, Any], exit_code: int | None) -> bool:
    """Whether a pod was ended from outside, which says nothing of its work."""
    status = pod.get("status", {})
    if exit_code == ExitCode.STOPPED or "deletionTimestamp" in pod["metadata"]:
        return True
    if any(
        each.get("type") == DISRUPTION and each.get("status") == "True"
        for each in status.get("conditions", ())
    ):
        return True
    # Kubernetes before 1.26 says it in words alone; a pod over a limit of its own is Evicted too.
    low = str(status.get("message", "")).startswith(_NODE_IS_LOW)
    return status.get("reason") in _ENDED_BY_NODE or (status.get("reason") == "Evicted" and low)


def _unschedulable(status: Mapping[str, Any]) -> str:
    for condition in status.get("conditions", ()):
        if (
            condition["type"] == "PodScheduled"
            and condition["status"] == "False"
            and condition.get("reason") == "Unschedulable"
        ):
            return condition.get("message", "")[:_LONGEST_TEXT] or "no node takes it"
    return ""


def _waiting(waiting: Mapping[str, Any]) -> str:
    reason = waiting.get("reason", "")
    if reason in _ORDINARY_WAITS:
        return ""
    # The time that the kubelet waits grows from try to try and would change the text each time.
    message = re.sub(r"back-off \S+ ", "back-off ", waiting.get("message", ""))
    return f"{reason}: {message}" if message else reason


def _termination(ended: Mapping[str, Any]) -> tuple[str, tuple[str, str] | None]:
    """The sentence about a container's end: the worker's own, else what is known of it.

    With it, reason and sentence where the worker left what no worker of ours leaves.
    """
    text = ended.get("message", "").strip()
    problem = None
    try:
        return Termination.read(read_json(text, most_bytes=_TERMINATION_BYTES)).message, None
    except UnreadableError as error:
        if error.reason != "NotJSON":  # the kubelet takes the log's end where nothing was left
            problem = _problem("termination message", error)
            text = text[:_LONGEST_TEXT].encode(errors="replace").decode()
    except (ValidationError, TypeError, ValueError, AttributeError):
        pass  # it is none of ours
    last = text.splitlines()[-1] if text else ""
    reason = ended.get("reason", "")
    if reason in ("", "Completed", "Error"):
        return last, problem
    return (f"{reason}: {last}" if last else reason), problem


def part_view(config_map: Mapping[str, Any], number: int, *, whole: bool = True) -> PartView:
    """A results ConfigMap, without the records themselves.

    Args:
        config_map: the object, or its metadata alone.
        number: which part it is.
        whole: whether what the worker says there is looked at.
    """
    data = config_map.get("data") or {}
    binary = config_map.get("binaryData") or {}
    records, summary = 0, None
    problem = None
    if whole:
        try:
            part = read_json(data.get(PART_INFO_KEY) or "{}", most_bytes=_INFO_BYTES)
            records = PartInfo.read(part).records if isinstance(part, Mapping) else 0
        except UnreadableError as error:
            problem = _problem(PART_INFO_KEY, error)
    if whole and number == 0 and data.get(SUMMARY_KEY):
        try:
            found = read_json(
                data[SUMMARY_KEY],
                most_bytes=_SUMMARY_BYTES,
                most_levels=_SUMMARY_LEVELS,
                most_values=_SUMMARY_VALUES,
            )
            summary = WorkerSummary.read(found) if isinstance(found, Mapping) else None
        except UnreadableError as error:
            problem = _problem(SUMMARY_KEY, error)
    return PartView(
        number=number,
        name=config_map["metadata"]["name"],
        used=bool(binary.get(PART_KEY)) or bool(data) or _written(config_map["metadata"]),
        records=records,
        summary=summary,
        problem=problem,
    )


def _written(metadata: Mapping[str, Any]) -> bool:
    """Whether somebody put data into a ConfigMap, as far as its metadata tells."""
    for each in metadata.get("managedFields") or ():
        fields = each.get("fieldsV1") or {}
        if "f:data" in fields or "f:binaryData" in fields:
            return True
    return False


def _problem(what: str, error: UnreadableError) -> tuple[str, str]:
    return error.reason, f"has a {what} that {error}"


def work_files(config_map: Mapping[str, Any]) -> WorkFiles:
    """A spec ConfigMap."""
    files = dict(config_map.get("data") or {})
    size = sum(len(name) + len(text) for name, text in files.items())
    if size > _FILES_BYTES:
        text = f"has {size} characters of files; allowed are {_FILES_BYTES}"
        return WorkFiles({}, "", ("TooLarge", text))
    return WorkFiles(files, beside_spec(files))


def node_view(node: Mapping[str, Any]) -> NodeView:
    """A node."""
    spec = node.get("spec", {})
    ready = any(
        each["type"] == "Ready" and each["status"] == "True"
        for each in node.get("status", {}).get("conditions", ())
    )
    return NodeView(
        name=node["metadata"]["name"],
        labels=dict(node["metadata"].get("labels", {})),
        ready=ready,
        schedulable=not spec.get("unschedulable", False),
        taints=tuple(
            Taint(each["key"], each.get("value", ""), each["effect"])
            for each in spec.get("taints", ())
            if each["effect"] in ("NoSchedule", "NoExecute")
        ),
    )
