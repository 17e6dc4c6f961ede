"""What all kinds have in common: ends, suspension, deadlines, refused specs, and the worker."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from edgetran.api import (
    ConditionType,
    Reason,
    Resource,
    find_condition,
    spec_hash,
)
from edgetran_operator.plan import Deletion, Plan, StatusBuilder
from edgetran_operator.reconcile.dependencies import Obstacle
from edgetran_operator.reconcile.serving import serve_winner
from edgetran_operator.reconcile.spec import effective, forbidden, spec_of
from edgetran_operator.reconcile.worker import (
    Stage,
    WorkerProgress,
    begin_anew,
    delete_worker,
    live_pods,
    stop_worker,
    summary_of,
    take_over,
)
from edgetran_operator.resources import Inputs, Run
from edgetran_operator.snapshot import Snapshot

CLAIM_SECONDS: Final = 15
"""How often it is looked why a claim is pending: its events name no resource that waits for it."""
NOTHING: Final = Plan(status={})

Work = Callable[[StatusBuilder, Run], None]
"""What a kind does while its work goes on."""


def reconcile_work(
    seen: Snapshot,
    work: Work,
    rest: Work | None = None,
) -> Plan:
    """The plan for a resource of any kind.

    Args:
        seen: the snapshot.
        work: what is done while the work goes on.
        rest: what is done for the kind's own children while it is suspended or after it failed.
    """
    if seen.deleting:
        return NOTHING
    builder = StatusBuilder(seen)
    resource, problem = effective(seen)
    if builder.ended:
        return _at_the_end(builder, resource, problem, rest)
    if resource is None:
        _invalid(builder, problem or "the spec cannot be read")
        return builder.plan()
    run = make_run(seen, resource)
    first = seen.first
    if first is not None and (builder.before.spec_hash is None or not seen.begun):
        builder.fields["spec_hash"] = spec_hash(first)
    anew = not seen.begun and first is not None and spec_hash(resource) != spec_hash(first)
    # Judged wherever a worker would be made, since settings may have become narrower meanwhile.
    banned = forbidden(run) if seen.worker is None or anew else None
    if banned is not None:
        _invalid(builder, banned)
        if anew:
            delete_worker(builder)
        return builder.plan()
    take_over(builder)
    spec = spec_of(resource)
    if anew:
        begin_anew(builder, run)
    elif spec.suspend:
        _suspend(builder, run, rest)
    elif _late(builder, resource):
        seconds = spec.active_deadline_seconds
        message = f"the work took {seconds} s, all that spec.activeDeadlineSeconds allows"
        fail(builder, run, Reason.DEADLINE_EXCEEDED, message, rest)
    elif seen.worker is None and seen.copy_problem:
        give_board_back(builder)
        builder.held_up(Reason.SPEC_COPY_REFUSED, seen.copy_problem)
    elif seen.worker is None and seen.foreign:
        give_board_back(builder)
        message = (
            f"{seen.foreign} has the name and labels of a child of this {seen.kind}, but no owner; "
            "delete it"
        )
        builder.held_up(Reason.FOREIGN_CHILD, message)
    else:
        _resume(builder)
        work(builder, run)
        if builder.counts_time and spec.active_deadline_seconds is not None:
            builder.look_again(spec.active_deadline_seconds - builder.active_seconds())
    if not builder.fields.get("completion_time"):
        _note_refusal(builder, problem)
    return builder.plan()


def make_run(seen: Snapshot, resource: Resource, inputs: Inputs | None = None) -> Run:
    """What the builders of children are given."""
    board = seen.board
    return Run(
        resource=resource,
        namespace=seen.namespace,
        uid=seen.uid,
        settings=seen.settings,
        inputs=inputs or Inputs(),
        node=(board.node or "") if board is not None else "",
        architecture=board.architecture if board is not None else "",
        namespaces_in_affinity=seen.namespaces_in_affinity,
        pod_failure_policy=seen.pod_failure_policy,
    )


def fail(
    builder: StatusBuilder,
    run: Run,
    reason: Reason,
    message: str,
    rest: Work | None = None,
) -> None:
    """End the work as failed, and let nothing of it run on."""
    builder.failed(reason, message)
    if reason is Reason.DEADLINE_EXCEEDED:
        delete_worker(builder)
    else:
        stop_worker(builder)
    if rest is not None:
        rest(builder, run)
    _time_to_live(builder, run.resource)


def succeed(builder: StatusBuilder, run: Run, message: str) -> None:
    """End the work as done, and serve what came of it: nothing else may happen afterwards."""
    builder.succeeded(message)
    serve_winner(builder, run)
    _time_to_live(builder, run.resource)


def wait_for(builder: StatusBuilder, run: Run, obstacle: Obstacle) -> None:
    """Say why the work cannot start, or end it where it never will."""
    if obstacle.final:
        fail(builder, run, obstacle.reason, obstacle.message)
    elif obstacle.wait:
        builder.going_on(obstacle.reason, obstacle.message)
    else:
        builder.held_up(obstacle.reason, obstacle.message)


def show(builder: StatusBuilder, progress: WorkerProgress) -> None:
    """A worker that is not at its end, in conditions; only while it runs time counts."""
    builder.counts_time = progress.stage is Stage.RUNNING
    builder.waits = progress.reason is not Reason.RUNNING
    if progress.reason is Reason.CLAIM_PENDING:
        builder.look_again(CLAIM_SECONDS)
    if progress.stage is Stage.HELD_UP or (builder.waits and _stalled(builder)):
        builder.held_up(progress.reason, progress.message)
    else:
        builder.going_on(progress.reason, progress.message)


def _stalled(builder: StatusBuilder) -> bool:
    """Whether the worker has taken longer to start than is usual."""
    due = builder.waiting_since() + timedelta(seconds=builder.seen.settings.stalled_after_seconds)
    if builder.now >= due:
        return True
    builder.look_again_at(due)
    return False


def with_stage(builder: StatusBuilder, progress: WorkerProgress) -> WorkerProgress:
    """`progress` with the stage that a running worker names."""
    stage = summary_of(builder.seen).stage
    if progress.stage is Stage.RUNNING and stage:
        return WorkerProgress(progress.stage, progress.reason, f"{progress.message}: {stage}")
    return progress


def give_board_back(builder: StatusBuilder) -> None:
    """Let others have the board while the work cannot start."""
    if "node" in type(builder.before).model_fields:
        builder.fields["node"] = None


def _invalid(builder: StatusBuilder, message: str) -> None:
    if builder.seen.worker is None and not live_pods(builder.seen):
        give_board_back(builder)
    builder.set(ConditionType.SUCCEEDED, "False", Reason.SPEC_INVALID, message)
    builder.set(ConditionType.STALLED, "True", Reason.SPEC_INVALID, message)
    builder.drop(ConditionType.RECONCILING)


def _late(builder: StatusBuilder, resource: Resource) -> bool:
    limit = spec_of(resource).active_deadline_seconds
    return limit is not None and builder.active_seconds() >= limit


def _suspend(builder: StatusBuilder, run: Run, rest: Work | None) -> None:
    worker, pods = builder.seen.worker, live_pods(builder.seen)
    ending = (worker is not None and not worker.ended) or pods
    message = "spec.suspend is true"
    if ending:
        message += "; the worker saves its state and exits"
    builder.suspended(message)
    if not (worker is not None and worker.complete):
        delete_worker(builder)
    if rest is not None:
        rest(builder, run)


def _resume(builder: StatusBuilder) -> None:
    before = find_condition(builder.conditions, ConditionType.SUSPENDED)
    if before is not None and before.status == "True":
        message = "spec.suspend was lifted"
        builder.set(ConditionType.SUSPENDED, "False", Reason.RESUMED, message)


def _note_refusal(builder: StatusBuilder, problem: str | None) -> None:
    """Say that the newest spec, or a part of it, does not count."""
    if problem is None:
        return
    message = f"{problem}; work continues with the first spec"
    for type_ in (ConditionType.RECONCILING, ConditionType.SUSPENDED):
        condition = find_condition(builder.conditions, type_)
        if condition is not None and condition.status == "True":
            builder.set(type_, "True", Reason.SPEC_CHANGE_REFUSED, message)
            return
    stalled = find_condition(builder.conditions, ConditionType.STALLED)
    if stalled is not None:
        reason = Reason(stalled.reason)
        builder.set(ConditionType.STALLED, "True", reason, f"{stalled.message}; {message}")


def _at_the_end(
    builder: StatusBuilder,
    resource: Resource | None,
    problem: str | None,
    rest: Work | None,
) -> Plan:
    """A resource that ended: nothing more is done but to clean up, and to delete it in time."""
    seen = builder.seen
    ended_well = any(
        condition.type == ConditionType.SUCCEEDED and condition.status == "True"
        for condition in builder.conditions
    )
    if not ended_well:
        if seen.worker is not None and not seen.worker.ended:
            delete_worker(builder)
        if resource is not None and rest is not None:
            rest(builder, make_run(seen, resource))
    else:
        if seen.parts or seen.worker is not None or builder.before.results:
            _lost_results(builder)
        if resource is not None:
            serve_winner(builder, make_run(seen, resource))
    if problem is not None and seen.generation != builder.before.observed_generation:
        builder.tell(Reason.SPEC_CHANGE_REFUSED, f"{problem}; the work has ended")
    if resource is not None:
        _time_to_live(builder, resource)
    return builder.plan()


def _lost_results(builder: StatusBuilder) -> None:
    there = {part.name for part in builder.seen.parts if part.used}
    kept = tuple(name for name in builder.before.results if name in there)
    if kept == builder.before.results:
        return
    lost = ", ".join(name for name in builder.before.results if name not in there)
    builder.fields["results"] = kept
    builder.tell(Reason.RESULTS_LOST, f"results of finished work were deleted: {lost}")


def _time_to_live(builder: StatusBuilder, resource: Resource) -> None:
    seconds = spec_of(resource).ttl_seconds_after_finished
    end = builder.fields.get("completion_time", builder.before.completion_time)
    if seconds is None or end is None:
        return
    due = end + timedelta(seconds=seconds)
    if builder.now < due:
        builder.look_again_at(due)
        return
    seen = builder.seen
    builder.delete.append(Deletion(seen.kind, seen.name, seen.uid))
