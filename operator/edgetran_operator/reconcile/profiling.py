"""ProfilingJob: a board is waited for, one pod measures on it, and its profile is complete."""

from __future__ import annotations

from datetime import timedelta

from edgetran.api import (
    CoDesignSearch,
    ConditionType,
    FinalistsSource,
    GPTranRun,
    ProfilingJob,
    Reason,
)
from edgetran_operator.observation import Observation
from edgetran_operator.outcome import Outcome
from edgetran_operator.reconcile.common import (
    fail,
    make_run,
    reconcile_work,
    show,
    succeed,
    wait_for,
    with_stage,
)
from edgetran_operator.reconcile.dependencies import (
    Obstacle,
    condition_of,
    disagreement,
    failed,
    lost_results,
    missing,
    profiles,
    resources,
    unfinished,
)
from edgetran_operator.reconcile.draft import Draft
from edgetran_operator.reconcile.spec import with_storage
from edgetran_operator.reconcile.verdicts import unusable_profile
from edgetran_operator.reconcile.worker import (
    Progress,
    Stage,
    advance,
    delete_worker,
    live_pods,
    refused_for_good,
)
from edgetran_operator.resources import Inputs, Run


def reconcile_profiling(seen: Observation) -> Outcome:
    """What is to be done for a ProfilingJob."""
    return reconcile_work(seen, _work, _release)


def _work(draft: Draft, run: Run) -> None:
    job = run.resource
    assert isinstance(job, ProfilingJob)  # noqa: S101 - the kind decides
    if job.spec.finalists_of is not None:
        obstacle, inputs = _finalists(draft.seen, job, job.spec.finalists_of)
    else:
        obstacle, inputs = _warm_starts(draft.seen, job)
    if obstacle is not None and draft.seen.worker is None:
        draft.fields["node"] = None  # another job may have the board meanwhile
        wait_for(draft, run, obstacle)
        return
    run = make_run(draft.seen, job, inputs)
    refused = refused_for_good(draft.seen)
    if refused is not None and draft.seen.worker is None:
        draft.fields["node"] = None  # as above
        show(draft, refused)
        return
    if not _has_board(draft, run):
        return
    progress = advance(draft, run)
    if progress.stage is Stage.DONE:
        said = progress.message or "the device is measured"
        unusable = unusable_profile(draft)
        if unusable:
            said = f"{said}; the profile is of no use: {unusable}"
            draft.set(ConditionType.PROFILING_COMPLETE, "False", Reason.PROFILE_UNUSABLE, said)
        else:
            draft.set(ConditionType.PROFILING_COMPLETE, "True", progress.reason, said)
        succeed(draft, run, said)
    elif progress.stage is Stage.FAILED:
        draft.set(ConditionType.PROFILING_COMPLETE, "False", progress.reason, progress.message)
        fail(draft, run, progress.reason, progress.message)
    else:
        _lost_board(draft)
        show(draft, with_stage(draft, progress))
        if draft.seen.board is not None and draft.seen.board.lost:
            draft.counts_time = False
            draft.held_up(Reason.DEVICE_LOST, draft.seen.board.lost)
        elif draft.waits and draft.seen.board is not None and draft.seen.board.wanted:
            _make_room(draft, progress)


def _warm_starts(seen: Observation, job: ProfilingJob) -> tuple[Obstacle | None, Inputs]:
    """The profiles that the job starts from, and why one of them is not there."""
    names = [reference.name for reference in job.spec.warm_start_from or ()]
    if not names:
        return None, Inputs()
    others = {name: each for (_, name), each in seen.dependencies.items() if name != job.name}
    obstacle = missing(seen, job)
    if obstacle is not None:
        return obstacle, Inputs()
    mistake = disagreement(seen, job, resources(others))
    if mistake is not None:
        return Obstacle(Reason.SPEC_INVALID, mistake), Inputs()
    jobs = {name: others[name] for name in names}
    inputs = Inputs(profiles(jobs), resources(jobs))
    return unfinished(jobs, ()) or lost_results(jobs), inputs


def _finalists(
    seen: Observation, job: ProfilingJob, source: FinalistsSource
) -> tuple[Obstacle | None, Inputs]:
    """The run whose artefacts are measured, and why they are not there yet."""
    obstacle = missing(seen, job)
    if obstacle is not None:
        return obstacle, Inputs()
    label = f"{source.kind}/{source.name}"
    found = seen.dependencies[source.kind, source.name]
    if not isinstance(found.resource, CoDesignSearch | GPTranRun):
        message = f"waits for the winner of {label}, whose spec is invalid"
        return Obstacle(Reason.DEPENDENCY_NOT_READY, message, wait=True), Inputs()
    run = with_storage(found.resource, seen.settings)
    if run.spec.storage is None:
        return Obstacle(
            Reason.SPEC_INVALID,
            f"spec.finalistsOf.{source.field}: {label} has no storage, so its artefacts are not "
            "kept; allowed is a run with spec.storage",
        ), Inputs()
    inputs = Inputs(dependencies=(run,), search=run, search_uid=found.uid)
    complete = {
        "CoDesignSearch": ConditionType.SEARCH_COMPLETE,
        "GPTranRun": ConditionType.REFINEMENT_COMPLETE,
    }[source.kind]
    if condition_of(found.status, complete).get("status") == "True":
        return None, inputs
    if failed(found):
        ended = condition_of(found.status, ConditionType.SUCCEEDED)
        message = f"{label} failed: {ended.get('reason')}: {ended.get('message')}"
        return Obstacle(Reason.DEPENDENCY_FAILED, message, final=True), inputs
    message = f"waits for the winner of {label}"
    return Obstacle(Reason.DEPENDENCY_NOT_READY, message, wait=True), inputs


def _has_board(draft: Draft, run: Run) -> bool:
    """Whether the job has its board; says what it waits for otherwise."""
    board = draft.seen.board
    if board is None:
        message = "the node that the pod runs on is the device"
        draft.set(ConditionType.DEVICES_AVAILABLE, "True", Reason.NODES_MATCHED, message)
        draft.fields["node"] = _pods_node(draft) or _before(draft)
        return True
    if board.node is not None:
        draft.fields["node"] = board.node
        if not board.lost:
            message = f"node {board.node} is the device {run.spec.device.name}"
            draft.set(ConditionType.DEVICES_AVAILABLE, "True", Reason.NODES_MATCHED, message)
        return True
    _give_up_board(draft)
    if board.problem is not None:
        draft.set(ConditionType.DEVICES_AVAILABLE, "False", Reason.NO_MATCHING_NODE, board.problem)
        draft.held_up(Reason.NO_MATCHING_NODE, board.problem)
        return False
    device = run.spec.device.name
    message = f"a node is the device {device}"
    draft.set(ConditionType.DEVICES_AVAILABLE, "True", Reason.NODES_MATCHED, message)
    if board.behind is not None:
        message = f"the device {device} is busy: ProfilingJob {board.behind} comes first"
        if getattr(draft.before, "board_returned", None) is not None:
            message += "; this one had the device, and its worker did not start there"
        draft.going_on(Reason.DEVICE_BUSY, message)
    else:
        draft.going_on(Reason.PENDING, "the earlier worker ends")
    return False


def _lost_board(draft: Draft) -> None:
    board = draft.seen.board
    if board is not None and board.lost:
        draft.set(ConditionType.DEVICES_AVAILABLE, "False", Reason.DEVICE_LOST, board.lost)


def _give_up_board(draft: Draft) -> None:
    """The board is another job's, or no node is one any more: the worker there ends."""
    delete_worker(draft)
    draft.fields["node"] = None


def _make_room(draft: Draft, progress: Progress) -> None:
    """A worker that does not start keeps a board that another job waits for only for a while."""
    patience = draft.seen.settings.board_start_seconds
    due = draft.waiting_since() + timedelta(seconds=patience)
    if draft.now < due:
        draft.look_again_at(due)
        return
    _give_up_board(draft)
    draft.fields["board_returned"] = draft.now
    draft.waits = False
    message = f"the worker did not start for {patience} s, and another job gets the device"
    draft.tell(progress.reason, f"{message}: {progress.message}")
    draft.going_on(Reason.DEVICE_BUSY, f"{message}: {progress.message}")


def _release(draft: Draft, run: Run) -> None:  # noqa: ARG001 - the signature of every kind
    """A suspended job gives its board back once its pods are gone; an ended one names it."""
    if not draft.ended and "completion_time" not in draft.fields and not live_pods(draft.seen):
        draft.fields["node"] = None


def _pods_node(draft: Draft) -> str | None:
    nodes = [pod.node for pod in draft.seen.pods if pod.node]
    return nodes[-1] if nodes else None


def _before(draft: Draft) -> str | None:
    node: str | None = getattr(draft.before, "node", None)
    return node
