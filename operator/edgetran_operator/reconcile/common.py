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
from edgetran_operator.observation import Observation
from edgetran_operator.outcome import Deletion, Outcome
from edgetran_operator.reconcile.dependencies import Obstacle
from edgetran_operator.reconcile.draft import Draft
from edgetran_operator.reconcile.serving import serve_winner
from edgetran_operator.reconcile.spec import effective, forbidden, spec_of
from edgetran_operator.reconcile.worker import (
    Progress,
    Stage,
    begin_anew,
    delete_worker,
    live_pods,
    stop_worker,
    summary_of,
    take_over,
)
from edgetran_operator.resources import Inputs, Run

CLAIM_SECONDS: Final = 15
"""How often it is looked why a claim is pending: its events name no resource that waits for it."""
NOTHING: Final = Outcome(status={})

Work = Callable[[Draft, Run], None]
"""What a kind does while its work goes on."""


def reconcile_work(
    seen: Observation,
    work: Work,
    rest: Work | None = None,
) -> Outcome:
    """The outcome for a resource of any kind.

    Args:
        seen: the observation.
        work: what is done while the work goes on.
        rest: what is done for the kind's own children while it is suspended or after it failed.
    """
    if seen.deleting:
        return NOTHING
    draft = Draft(seen)
    resource, problem = effective(seen)
    if draft.ended:
        return _at_the_end(draft, resource, problem, rest)
    if resource is None:
        _invalid(draft, problem or "the spec cannot be read")
        return draft.outcome()
    run = make_run(seen, resource)
    first = seen.first
    if first is not None and (draft.before.spec_hash is None or not seen.begun):
        draft.fields["spec_hash"] = spec_hash(first)
    anew = not seen.begun and first is not None and spec_hash(resource) != spec_hash(first)
    # Judged wherever a worker would be made, since settings may have become narrower meanwhile.
    banned = forbidden(run) if seen.worker is None or anew else None
    if banned is not None:
        _invalid(draft, banned)
        if anew:
            delete_worker(draft)
        return draft.outcome()
    take_over(draft)
    spec = spec_of(resource)
    if anew:
        begin_anew(draft, run)
    elif spec.suspend:
        _suspend(draft, run, rest)
    elif _late(draft, resource):
        seconds = spec.active_deadline_seconds
        message = f"the work took {seconds} s, which spec.activeDeadlineSeconds allows at most"
        fail(draft, run, Reason.DEADLINE_EXCEEDED, message, rest)
    elif seen.worker is None and seen.copy_problem:
        give_board_back(draft)
        draft.held_up(Reason.SPEC_COPY_REFUSED, seen.copy_problem)
    elif seen.worker is None and seen.foreign:
        give_board_back(draft)
        message = (
            f"{seen.foreign} has the name and the labels of a child of this {seen.kind} and "
            "belongs to nobody; allowed is to delete it"
        )
        draft.held_up(Reason.FOREIGN_CHILD, message)
    else:
        _resume(draft)
        work(draft, run)
        if draft.counts_time and spec.active_deadline_seconds is not None:
            draft.look_again(spec.active_deadline_seconds - draft.active_seconds())
    if not draft.fields.get("completion_time"):
        _note_refusal(draft, problem)
    return draft.outcome()


def make_run(seen: Observation, resource: Resource, inputs: Inputs | None = None) -> Run:
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
    draft: Draft,
    run: Run,
    reason: Reason,
    message: str,
    rest: Work | None = None,
) -> None:
    """End the work as failed, and let nothing of it run on."""
    draft.failed(reason, message)
    if reason is Reason.DEADLINE_EXCEEDED:
        delete_worker(draft)
    else:
        stop_worker(draft)
    if rest is not None:
        rest(draft, run)
    _time_to_live(draft, run.resource)


def succeed(draft: Draft, run: Run, message: str) -> None:
    """End the work as done."""
    draft.succeeded(message)
    _time_to_live(draft, run.resource)


def wait_for(draft: Draft, run: Run, obstacle: Obstacle) -> None:
    """Say why the work cannot start, or end it where it never will."""
    if obstacle.final:
        fail(draft, run, obstacle.reason, obstacle.message)
    elif obstacle.wait:
        draft.going_on(obstacle.reason, obstacle.message)
    else:
        draft.held_up(obstacle.reason, obstacle.message)


def show(draft: Draft, progress: Progress) -> None:
    """A worker that is not at its end, in conditions; only while it runs time counts."""
    draft.counts_time = progress.stage is Stage.RUNNING
    draft.waits = progress.reason is not Reason.RUNNING
    if progress.reason is Reason.CLAIM_PENDING:
        draft.look_again(CLAIM_SECONDS)
    if progress.stage is Stage.HELD_UP or (draft.waits and _stalled(draft)):
        draft.held_up(progress.reason, progress.message)
    else:
        draft.going_on(progress.reason, progress.message)


def _stalled(draft: Draft) -> bool:
    """Whether the worker has taken longer to start than is usual."""
    due = draft.waiting_since() + timedelta(seconds=draft.seen.settings.stalled_after_seconds)
    if draft.now >= due:
        return True
    draft.look_again_at(due)
    return False


def with_stage(draft: Draft, progress: Progress) -> Progress:
    """`progress` with the stage that a running worker names."""
    stage = summary_of(draft.seen).stage
    if progress.stage is Stage.RUNNING and stage:
        return Progress(progress.stage, progress.reason, f"{progress.message}: {stage}")
    return progress


def give_board_back(draft: Draft) -> None:
    """Let others have the board while the work cannot start."""
    if "node" in type(draft.before).model_fields:
        draft.fields["node"] = None


def _invalid(draft: Draft, message: str) -> None:
    if draft.seen.worker is None and not live_pods(draft.seen):
        give_board_back(draft)
    draft.set(ConditionType.SUCCEEDED, "False", Reason.SPEC_INVALID, message)
    draft.set(ConditionType.STALLED, "True", Reason.SPEC_INVALID, message)
    draft.drop(ConditionType.RECONCILING)


def _late(draft: Draft, resource: Resource) -> bool:
    limit = spec_of(resource).active_deadline_seconds
    return limit is not None and draft.active_seconds() >= limit


def _suspend(draft: Draft, run: Run, rest: Work | None) -> None:
    worker, pods = draft.seen.worker, live_pods(draft.seen)
    ending = (worker is not None and not worker.ended) or pods
    message = "spec.suspend is true"
    if ending:
        message += "; the worker saves its state and ends"
    draft.suspended(message)
    if not (worker is not None and worker.complete):
        delete_worker(draft)
    if rest is not None:
        rest(draft, run)


def _resume(draft: Draft) -> None:
    before = find_condition(draft.conditions, ConditionType.SUSPENDED)
    if before is not None and before.status == "True":
        message = "spec.suspend was taken back"
        draft.set(ConditionType.SUSPENDED, "False", Reason.RESUMED, message)


def _note_refusal(draft: Draft, problem: str | None) -> None:
    """Say that the newest spec, or a part of it, does not count."""
    if problem is None:
        return
    message = f"{problem}; the work goes on with the first spec"
    for type_ in (ConditionType.RECONCILING, ConditionType.SUSPENDED):
        condition = find_condition(draft.conditions, type_)
        if condition is not None and condition.status == "True":
            draft.set(type_, "True", Reason.SPEC_CHANGE_REFUSED, message)
            return
    stalled = find_condition(draft.conditions, ConditionType.STALLED)
    if stalled is not None:
        reason = Reason(stalled.reason)
        draft.set(ConditionType.STALLED, "True", reason, f"{stalled.message}; {message}")


def _at_the_end(
    draft: Draft,
    resource: Resource | None,
    problem: str | None,
    rest: Work | None,
) -> Outcome:
    """A resource that ended: nothing more is done but to clean up, and to delete it in time."""
    seen = draft.seen
    ended_well = any(
        condition.type == ConditionType.SUCCEEDED and condition.status == "True"
        for condition in draft.conditions
    )
    if not ended_well:
        if seen.worker is not None and not seen.worker.ended:
            delete_worker(draft)
        if resource is not None and rest is not None:
            rest(draft, make_run(seen, resource))
    else:
        if seen.parts or seen.worker is not None or draft.before.results:
            _lost_results(draft)
        if resource is not None:
            serve_winner(draft, make_run(seen, resource))
    if problem is not None and seen.generation != draft.before.observed_generation:
        draft.tell(Reason.SPEC_CHANGE_REFUSED, f"{problem}; the work is at its end")
    if resource is not None:
        _time_to_live(draft, resource)
    return draft.outcome()


def _lost_results(draft: Draft) -> None:
    there = {part.name for part in draft.seen.parts if part.used}
    kept = tuple(name for name in draft.before.results if name in there)
    if kept == draft.before.results:
        return
    lost = ", ".join(name for name in draft.before.results if name not in there)
    draft.fields["results"] = kept
    draft.tell(Reason.RESULTS_LOST, f"results of finished work were deleted: {lost}")


def _time_to_live(draft: Draft, resource: Resource) -> None:
    seconds = spec_of(resource).ttl_seconds_after_finished
    end = draft.fields.get("completion_time", draft.before.completion_time)
    if seconds is None or end is None:
        return
    due = end + timedelta(seconds=seconds)
    if draft.now < due:
        draft.look_again_at(due)
        return
    seen = draft.seen
    draft.delete.append(Deletion(seen.kind, seen.name, seen.uid))
