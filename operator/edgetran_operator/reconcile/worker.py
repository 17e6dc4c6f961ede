"""The worker's side of every kind: what it is given, whether it runs, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum, auto
from typing import Any, Final

from pydantic import ValidationError

from edgetran.api import (
    LAST_RESULTS,
    TERMINAL,
    Reason,
    Resource,
    child_name,
    reason_of,
    spec_hash,
)
from edgetran.api.common import COMMON_MUTABLE, CommonStatus
from edgetran.api.field_errors import invalid
from edgetran.api.names import results
from edgetran.api.wire import Steps, WorkerSummary
from edgetran_operator.plan import Change, Child, Deletion, StatusBuilder, cut
from edgetran_operator.reconcile.spec import pod_problem, spec_of
from edgetran_operator.reconcile.starting import cause
from edgetran_operator.resources import (
    Run,
    access,
    claim,
    made_from,
    network_policy,
    new_work,
    ray_job,
    results_part,
    work_child,
    worker_job,
)
from edgetran_operator.snapshot import (
    PodView,
    Refusal,
    Snapshot,
    WorkerView,
    WorkFiles,
)

UNREPORTED_SECONDS: Final = 60
"""How long results of a worker that ended well may take to be seen before it is started again."""
STARTING: Final = "the worker is being started"
"""Until its first pod is seen, so that one status is written for it and not two."""
_BESIDE_THE_WORK: Final = COMMON_MUTABLE | {"serve", "tracking"}
"""Fields of a spec for whose change no worker is ended: the operator acts on them, or the next
worker does."""
_THE_OPERATORS: Final = frozenset({"node", "devices", "refinement"})
"""Fields of a status that a worker may know too, and the operator knows better."""


class Stage(Enum):
    """How far the worker is."""

    WAITING = auto()
    """It does not run yet, or not again."""
    RUNNING = auto()
    """It runs."""
    HELD_UP = auto()
    """It cannot run without a change of the cluster."""
    DONE = auto()
    """It is done, and its results are complete."""
    FAILED = auto()
    """It failed for good."""


@dataclass(frozen=True)
class WorkerProgress:
    """How the worker stands, in a condition's words."""

    stage: Stage
    reason: Reason
    message: str


def summary_of(seen: Snapshot) -> WorkerSummary:
    """What the worker last said of its work; empty where it said nothing yet."""
    for part in seen.parts:
        if part.number == 0 and part.summary is not None:
            return part.summary
    return WorkerSummary()


def advance(builder: StatusBuilder, run: Run) -> WorkerProgress:
    """Give the worker all it needs, start it, look after it, and say how it stands."""
    seen = builder.seen
    worker = seen.worker
    count_failures(builder)
    if worker is None:
        return _start(builder, run)
    if worker.deleting:
        return WorkerProgress(
            Stage.WAITING, Reason.PENDING, f"{worker.kind}/{worker.name} is ending"
        )
    refused = _keep_parts(builder, run)
    ended = _ended(builder, worker)
    if ended is not None:
        return ended
    if _outdated(builder, run, worker):
        delete_worker(builder)
        message = "the worker is restarted, since its work changed"
        return WorkerProgress(Stage.WAITING, Reason.PENDING, message)
    if not worker.complete and worker.backoff_limit != run.spec.backoff_limit:
        patch = {"spec": {"backoffLimit": run.spec.backoff_limit}}
        builder.change.append(_change(worker, patch))
    return refused or _under_way(seen, worker)


def count_failures(builder: StatusBuilder) -> None:
    """Count the attempts that failed over all workers; tell of each new one.

    Ends from outside are no failures, and the count starts anew once the work got further than it
    was when a worker last failed: so a long search outlives any number of drained nodes.
    """
    worker, before = builder.seen.worker, builder.before
    if worker is None:
        return
    ended = worker.failures_before + worker.failed_pods
    new = ended - (before.ended_attempts or 0)
    if new == 0:
        return
    builder.fields["ended_attempts"] = ended
    newest = _failed_pods(builder.seen, worker)[-new:] if new > 0 else []
    failed = new - sum(pod.disrupted for pod in newest)
    if failed > 0:
        step = _steps_done(builder)
        further = before.failed_at_step is None or step > before.failed_at_step
        builder.fields["failures"] = failed if further else before.failures + failed
        builder.fields["failed_at_step"] = step
    if newest and not worker.failed and newest[-1].exit_code not in TERMINAL:
        said = "was stopped from outside" if newest[-1].disrupted else ""
        builder.tell(Reason.WORKER_RETRIED, f"{_ending(newest[-1], said)}; it is started again")


def _failed_pods(seen: Snapshot, worker: WorkerView) -> list[PodView]:
    """Pods of the worker that ended badly, in the order in which they were made."""
    return sorted(
        (
            pod
            for pod in seen.pods
            if pod.phase == "Failed" and (pod.worker_uid == worker.uid or worker.kind == "RayJob")
        ),
        key=lambda pod: (pod.created, pod.name),
    )


def _steps_done(builder: StatusBuilder) -> int:
    """Steps that the work has done, as far as its worker said."""
    steps = Steps.read(builder.fields.get("progress", builder.before.progress))
    return 0 if steps is None else steps.done


def take_over(builder: StatusBuilder) -> None:
    """Take what the worker reported into the status."""
    summary = summary_of(builder.seen)
    names = [part.name for part in builder.seen.parts if part.used]
    if names:
        builder.fields["results"] = tuple(names[-16:])
    model = type(builder.before)
    for name, said in (("progress", summary.progress), ("artifacts", summary.artifacts)):
        told = _valid(model, name, said) if name in summary.model_fields_set else None
        if told is not None:
            builder.fields[name] = getattr(told, name)
    reported = summary.status
    own = set(model.model_fields) - set(CommonStatus.model_fields) - _THE_OPERATORS
    for name in own:
        alias = model.model_fields[name].alias or name
        if alias in reported:
            value = _valid(model, alias, reported[alias])
            if value is not None:
                builder.fields[name] = getattr(value, name)


def delete_worker(builder: StatusBuilder) -> None:
    """End the worker and its pods, with time to save its state."""
    worker = builder.seen.worker
    if worker is not None and not worker.deleting:
        builder.delete.append(Deletion(worker.kind, worker.name, worker.uid))


def stop_worker(builder: StatusBuilder) -> None:
    """Let nothing of the worker run any more; pods that ended stay, and so do their logs."""
    worker = builder.seen.worker
    if worker is None or worker.ended or worker.deleting:
        return
    if worker.kind == "RayJob":
        delete_worker(builder)
    else:
        builder.change.append(_change(worker, {"spec": {"parallelism": 0}}))


def live_pods(seen: Snapshot) -> list[PodView]:
    """Pods that run or may run yet."""
    return [pod for pod in seen.pods if pod.live]


def _start(builder: StatusBuilder, run: Run) -> WorkerProgress:
    seen = builder.seen
    if seen.left_over:
        message = f"{seen.left_over} of an earlier {seen.kind} of this name is being removed"
        return WorkerProgress(Stage.WAITING, Reason.PENDING, message)
    left = live_pods(seen)
    if left:
        message = f"pod {left[0].name} of the earlier worker is ending"
        return WorkerProgress(Stage.WAITING, Reason.PENDING, message)
    ray = run.component != "profile" and run.spec.ray.mode == "kuberay"
    if ray and seen.rayjobs_served is None:
        message = "checking whether the cluster serves RayJobs"
        return WorkerProgress(Stage.WAITING, Reason.PENDING, message)
    if ray and not seen.rayjobs_served:
        what = (
            "the cluster serves no RayJob of ray.io/v1; install KubeRay, or use mode local or "
            "cluster"
        )
        message = f"spec.ray.mode: {invalid('kuberay', what)}"
        return WorkerProgress(Stage.HELD_UP, Reason.RAY_UNAVAILABLE, message)
    banned = pod_problem(run)
    if banned is not None:
        return WorkerProgress(Stage.HELD_UP, Reason.SPEC_INVALID, banned)
    work = new_work(run)
    count = max(1, _parts_in_use(builder) + 1)
    names = _part_names(run, count)
    children: list[Child] = [*access(run, names), *claim(run)]
    children += _missing_parts(seen, run, count)
    if ray and run.settings.network_policy.enabled:
        children.append(network_policy(run))
    if seen.work is None or seen.work.files != work.files:
        children.append(give_work(builder, run, work))
    build = ray_job if ray else worker_job
    given = replace(run, work_hash=work.beside_spec)
    children.append(build(given, builder.before.ended_attempts or 0))
    refused = _refused(seen, children)
    if refused is not None:
        if refused.reason is not Reason.SPEC_INVALID:
            builder.apply += children
        return refused
    builder.apply += children
    if builder.before.start_time is None:
        builder.fields["start_time"] = builder.now
    return WorkerProgress(Stage.WAITING, Reason.PENDING, STARTING)


def give_work(builder: StatusBuilder, run: Run, work: WorkFiles) -> Child:
    """The spec ConfigMap; from here on the status knows what is in it."""
    builder.fields["spec_hash"] = spec_hash(run.resource)
    return work_child(run, work)


def begin_anew(builder: StatusBuilder, run: Run) -> None:
    """Take over a spec that became another one before anything ran.

    What the work begins with is written first, and known by the status afterwards: a spec that is
    the resource's own is believed until work begins.
    """
    builder.apply.append(work_child(run, new_work(run)))
    delete_worker(builder)
    builder.going_on(Reason.PENDING, "the worker is recreated, since spec.podTemplate changed")


def _refused(seen: Snapshot, children: list[Child]) -> WorkerProgress | None:
    """What the API server said to the same children before."""
    for child in children:
        refusal = refusal_of(seen, child)
        if refusal is not None:
            return _refusal_told(child.label, refusal)
    return None


def refused_for_good(seen: Snapshot) -> WorkerProgress | None:
    """The worker's child that the API server refuses however often it is asked for."""
    for label, refusal in seen.refusals.items():
        if not refusal.passes and refusal.generation == seen.generation:
            return _refusal_told(label, refusal)
    return None


def _refusal_told(label: str, refusal: Refusal) -> WorkerProgress:
    message = f"{label} is refused: {cut(refusal.message, 500)}"
    return WorkerProgress(Stage.HELD_UP, refusal.reason, message)


def refusal_of(seen: Snapshot, child: Child) -> Refusal | None:
    """What the API server said to a child of the same spec; None where it said nothing."""
    refusal = seen.refusals.get(child.label)
    if refusal is None or not (refusal.passes or refusal.generation == seen.generation):
        return None
    return refusal


def _outdated(builder: StatusBuilder, run: Run, worker: WorkerView) -> bool:
    """Whether the worker does other work than it should."""
    if run.node and worker.node and worker.node != run.node:
        return True
    given = builder.seen.first
    if given is not None and _essence(given) != _essence(run.resource):
        return True
    other = worker.made_from and worker.made_from != made_from(run)
    return bool(other) and _never_ran(builder.seen, worker)


def _never_ran(seen: Snapshot, worker: WorkerView) -> bool:
    """Whether no pod of a worker did anything yet, so that nothing is lost with it."""
    pods = [pod for pod in seen.pods if pod.worker_uid == worker.uid or worker.kind == "RayJob"]
    return not worker.ran and not any(pod.ran for pod in pods)


def _essence(resource: Resource) -> Any:
    """The spec without what changes nothing of what a worker comes to."""
    return spec_of(resource).model_dump(exclude=_BESIDE_THE_WORK)


def _keep_parts(builder: StatusBuilder, run: Run) -> WorkerProgress | None:
    """One empty results ConfigMap more than are used, and the right to write it before it is.

    What the API server says where it refuses them.
    """
    seen = builder.seen
    count = max(1, _parts_in_use(builder) + 1)
    missing = _missing_parts(seen, run, count)
    grown = builder.fields.get("failures", 0) > builder.before.failures
    children: list[Child] = []
    if missing or grown:
        children += [*access(run, _part_names(run, count)), *missing]
    if seen.work is None and not seen.copy_problem:
        children.append(give_work(builder, run, new_work(run)))
    builder.apply += children
    if seen.copy_problem:
        return WorkerProgress(Stage.HELD_UP, Reason.SPEC_COPY_REFUSED, seen.copy_problem)
    return _refused(seen, children)


def _parts_in_use(builder: StatusBuilder) -> int:
    """How many results ConfigMaps there are or were, the last and empty one left out."""
    used = [part.number + 1 for part in builder.seen.parts if part.used]
    beyond = [part.number for part in builder.seen.parts]
    told = [
        int(name.rpartition("-")[2]) + 1
        for name in builder.before.results
        if name.rpartition("-")[2].isdigit()
    ]
    return max([*used, *beyond, *told], default=0)


def _part_names(run: Run, count: int) -> list[str]:
    return [
        child_name(run.resource, results(number)) for number in range(min(count, LAST_RESULTS + 1))
    ]


def _missing_parts(seen: Snapshot, run: Run, count: int) -> list[Child]:
    there = {part.number for part in seen.parts}
    return [
        results_part(run, number)
        for number in range(min(count, LAST_RESULTS + 1))
        if number not in there
    ]


def _ended(builder: StatusBuilder, worker: WorkerView) -> WorkerProgress | None:
    """How the worker ended for good; None where it goes on."""
    seen = builder.seen
    summary = summary_of(seen)
    if worker.complete:
        if summary.finished:
            return WorkerProgress(Stage.DONE, _summary_reason(summary), summary.message)
        return _unreported(builder, worker)
    pods = [pod for pod in seen.pods if pod.worker_uid == worker.uid and pod.phase == "Failed"]
    final = [pod for pod in pods if pod.exit_code in TERMINAL]
    if final:
        stop_worker(builder)
        pod = min(final, key=lambda each: (each.created, each.name))
        assert pod.exit_code is not None  # noqa: S101 - None is no terminal exit code
        return WorkerProgress(Stage.FAILED, reason_of(pod.exit_code), _said(pod))
    failures = builder.fields.get("failures", builder.before.failures)
    if worker.failed and failures <= spec_limit(builder) and _ran_out(worker, summary):
        delete_worker(builder)
        message = "the worker was interrupted, or made progress, before it failed; it is restarted"
        builder.tell(Reason.WORKER_RETRIED, message)
        return WorkerProgress(Stage.WAITING, Reason.PENDING, message)
    if worker.failed or failures > spec_limit(builder):
        stop_worker(builder)
        return WorkerProgress(Stage.FAILED, *_gave_up(builder, worker, pods, summary))
    return None


def _ran_out(worker: WorkerView, summary: WorkerSummary) -> bool:
    """Whether a worker failed for the number of its attempts, as its controller counts them."""
    if worker.kind == "Job":
        return worker.failed_pods > 0 or worker.reason == "BackoffLimitExceeded"
    final = _summary_reason(summary) in {reason_of(code) for code in TERMINAL}
    return not final and worker.failed_pods > worker.backoff_limit > 0


def _unreported(builder: StatusBuilder, worker: WorkerView) -> WorkerProgress:
    """A worker that ended well, and whose results are not complete here."""
    finished = worker.finished or builder.now
    patience = finished + timedelta(seconds=UNREPORTED_SECONDS)
    if builder.now < patience:
        builder.look_again_at(patience)
        return WorkerProgress(
            Stage.WAITING, Reason.RUNNING, "the worker ended; its results are read"
        )
    failures = max(builder.before.failures, builder.fields.get("failures", 0)) + 1
    builder.fields["failures"] = failures
    if failures > spec_limit(builder):
        message = "the worker succeeded, but its results are incomplete"
        return WorkerProgress(Stage.FAILED, Reason.RESULTS_LOST, message)
    delete_worker(builder)
    message = "the worker succeeded, but its results are incomplete; it is restarted"
    builder.tell(Reason.WORKER_RETRIED, message)
    return WorkerProgress(Stage.WAITING, Reason.PENDING, message)


def spec_limit(builder: StatusBuilder) -> int:
    """How many attempts of the resource may fail."""
    resource = builder.seen.resource or builder.seen.first
    limit: int = spec_of(resource).backoff_limit if resource is not None else 0
    return limit


def _gave_up(
    builder: StatusBuilder, worker: WorkerView, pods: list[PodView], summary: WorkerSummary
) -> tuple[Reason, str]:
    if worker.kind == "RayJob":
        return _ray_failure(worker, summary)
    last = max(pods, key=lambda pod: (pod.created, pod.name), default=None)
    attempts = max(builder.fields.get("failures", builder.before.failures), 1)
    message = (
        f"the worker failed {attempts} time{'s' if attempts > 1 else ''} and "
        f"spec.backoffLimit is {spec_limit(builder)}"
    )
    if last is None:
        return Reason.CHILD_FAILED, f"{message}: {worker.message}"
    reason = reason_of(last.exit_code) if last.exit_code is not None else Reason.CHILD_FAILED
    if reason in (Reason.WORKER_RETRIED, Reason.SUCCEEDED):
        reason = Reason.CHILD_FAILED
    return reason, f"{message}: {_ending(last)}"


def _ray_failure(worker: WorkerView, summary: WorkerSummary) -> tuple[Reason, str]:
    """KubeRay passes no exit code on; the worker's last summary says why where it could."""
    reason = _summary_reason(summary)
    ends = {reason_of(code) for code in TERMINAL}
    if reason in ends and summary.message:
        return reason, summary.message
    if worker.reason == "ValidationFailed":
        return Reason.SPEC_INVALID, f"KubeRay refuses the RayJob: {worker.message}"
    return Reason.CHILD_FAILED, f"RayJob/{worker.name} failed: {worker.message or worker.reason}"


def _under_way(seen: Snapshot, worker: WorkerView) -> WorkerProgress:
    pods = [pod for pod in seen.pods if pod.worker_uid == worker.uid or worker.kind == "RayJob"]
    live = [pod for pod in pods if pod.live and not pod.deleting]
    if worker.suspended:
        return _unadmitted(seen, worker)
    if not live:
        if seen.no_pod and not any(pod.live for pod in pods):
            quota = "exceeded quota" in seen.no_pod
            reason = Reason.INSUFFICIENT_QUOTA if quota else Reason.CHILD_FAILED
            message = f"{worker.kind}/{worker.name} cannot make its pod: {seen.no_pod}"
            return WorkerProgress(Stage.HELD_UP, reason, message)
        return WorkerProgress(Stage.WAITING, Reason.PENDING, STARTING)
    pod = max(live, key=lambda each: (each.created, each.name))
    known = cause(seen, pod)
    if known is not None:
        return WorkerProgress(Stage.WAITING, *known)
    if pod.phase == "Running":
        return WorkerProgress(Stage.RUNNING, Reason.RUNNING, f"the worker runs on node {pod.node}")
    if pod.node:
        measuring = seen.kind == "ProfilingJob"
        reason = Reason.PROFILING_POD_SCHEDULED if measuring else Reason.PENDING
        return WorkerProgress(Stage.WAITING, reason, f"pod {pod.name} starts on node {pod.node}")
    return WorkerProgress(Stage.WAITING, Reason.PENDING, f"pod {pod.name} waits for a node")


def _unadmitted(seen: Snapshot, worker: WorkerView) -> WorkerProgress:
    """A Job that Kueue has not let start, or has stopped again; its pods save their state."""
    what = f"queue {seen.queue} has not admitted it"
    if not seen.queue:
        what = "it is suspended, and by no queue of Kueue; set its spec.suspend to false"
    message = f"{worker.kind}/{worker.name} waits: {what}"
    return WorkerProgress(Stage.WAITING, Reason.AWAITS_ADMISSION, message)


def _ending(pod: PodView, how: str = "") -> str:
    said = _said(pod)
    if how:
        return f"pod {pod.name} {how}{f': {said}' if said else ''}"
    code = f" with exit code {pod.exit_code}" if pod.exit_code is not None else ""
    return f"pod {pod.name} ended{code}{f': {said}' if said else ''}"


def _said(pod: PodView) -> str:
    return cut(" ".join(pod.message.split()), 400)


def _summary_reason(summary: WorkerSummary) -> Reason:
    try:
        return Reason(summary.reason)
    except ValueError:
        return Reason.SUCCEEDED


def _valid(model: Any, alias: str, value: Any) -> Any:
    """A status with that one field; None where the value cannot stand there."""
    try:
        return model.model_validate({alias: value})
    except ValidationError:
        return None


def _change(worker: WorkerView, patch: Mapping[str, Any]) -> Change:
    return Change(worker.kind, worker.name, patch)
