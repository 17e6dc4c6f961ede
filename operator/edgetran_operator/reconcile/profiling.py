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
from edgetran.api.field_errors import invalid
from edgetran_operator.plan import Plan, StatusBuilder
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
from edgetran_operator.reconcile.spec import with_storage
from edgetran_operator.reconcile.verdicts import unusable_profile
from edgetran_operator.reconcile.worker import (
    Stage,
    WorkerProgress,
    advance,
    delete_worker,
    live_pods,
    refused_for_good,
)
from edgetran_operator.resources import Inputs, Run
from edgetran_operator.snapshot import Snapshot


def reconcile_profiling(seen: Snapshot) -> Plan:
    """What is to be done for a ProfilingJob."""
    return reconcile_work(seen, _work, _release)


def _work(builder: StatusBuilder, run: Run) -> None:
    job = run.resource
    assert isinstance(job, ProfilingJob)  # noqa: S101 - the kind decides
    if job.spec.finalists_of is not None:
        obstacle, inputs = _finalists(builder.seen, job, job.spec.finalists_of)
    else:
        obstacle, inputs = _warm_starts(builder.seen, job)
    if obstacle is not None and builder.seen.worker is None:
        builder.fields["node"] = None  # another job may have the board meanwhile
        wait_for(builder, run, obstacle)
        return
    run = make_run(builder.seen, job, inputs)
    refused = refused_for_good(builder.seen)
    if refused is not None and builder.seen.worker is None:
        builder.fields["node"] = None  # as above
        show(builder, refused)
        return
    if not _has_board(builder, run):
        return
    progress = advance(builder, run)
    if progress.stage is Stage.DONE:
        said = progress.message or "the device is measured"
        unusable = unusable_profile(builder)
        if unusable:
            said = f"{said}; the profile is unusable: {unusable}"
            builder.set(ConditionType.PROFILING_COMPLETE, "False", Reason.PROFILE_UNUSABLE, said)
        else:
            builder.set(ConditionType.PROFILING_COMPLETE, "True", progress.reason, said)
        succeed(builder, run, said)
    elif progress.stage is Stage.FAILED:
        builder.set(ConditionType.PROFILING_COMPLETE, "False", progress.reason, progress.message)
        fail(builder, run, progress.reason, progress.message)
    else:
        _lost_board(builder)
        show(builder, with_stage(builder, progress))
        if builder.seen.board is not None and builder.seen.board.lost:
            builder.counts_time = False
            builder.held_up(Reason.DEVICE_LOST, builder.seen.board.lost)
        elif builder.waits and builder.seen.board is not None and builder.seen.board.wanted:
            _make_room(builder, progress)


def _warm_starts(seen: Snapshot, job: ProfilingJob) -> tuple[Obstacle | None, Inputs]:
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
    seen: Snapshot, job: ProfilingJob, source: FinalistsSource
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
            f"spec.finalistsOf.{source.field}: "
            + invalid(source.name, f"must be a run with spec.storage, where {label} has none"),
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


def _has_board(builder: StatusBuilder, run: Run) -> bool:
    """Whether the job has its board; says what it waits for otherwise."""
    board = builder.seen.board
    if board is None:
        message = "the node that the pod runs on is the device"
        builder.set(ConditionType.DEVICES_AVAILABLE, "True", Reason.NODES_MATCHED, message)
        builder.fields["node"] = _pods_node(builder) or _before(builder)
        return True
    if board.node is not None:
        builder.fields["node"] = board.node
        if not board.lost:
            message = f"node {board.node} is the device {run.spec.device.name}"
            builder.set(ConditionType.DEVICES_AVAILABLE, "True", Reason.NODES_MATCHED, message)
        return True
    _give_up_board(builder)
    if board.problem is not None:
        builder.set(
            ConditionType.DEVICES_AVAILABLE, "False", Reason.NO_MATCHING_NODE, board.problem
        )
        builder.held_up(Reason.NO_MATCHING_NODE, board.problem)
        return False
    device = run.spec.device.name
    message = f"there is a node for the device {device}"
    builder.set(ConditionType.DEVICES_AVAILABLE, "True", Reason.NODES_MATCHED, message)
    if board.behind is not None:
        message = f"the device {device} is busy: ProfilingJob {board.behind} comes first"
        if getattr(builder.before, "board_returned", None) is not None:
            message += "; this one had the device, and its worker did not start there"
        builder.going_on(Reason.DEVICE_BUSY, message)
    else:
        builder.going_on(Reason.PENDING, "waits for the earlier worker to end")
    return False


def _lost_board(builder: StatusBuilder) -> None:
    board = builder.seen.board
    if board is not None and board.lost:
        builder.set(ConditionType.DEVICES_AVAILABLE, "False", Reason.DEVICE_LOST, board.lost)


def _give_up_board(builder: StatusBuilder) -> None:
    """The board is another job's, or no node is one any more: the worker there ends."""
    delete_worker(builder)
    builder.fields["node"] = None


def _make_room(builder: StatusBuilder, progress: WorkerProgress) -> None:
    """A worker that does not start keeps a board that another job waits for only for a while."""
    patience = builder.seen.settings.board_start_seconds
    due = builder.waiting_since() + timedelta(seconds=patience)
    if builder.now < due:
        builder.look_again_at(due)
        return
    _give_up_board(builder)
    builder.fields["board_returned"] = builder.now
    builder.waits = False
    message = f"the worker did not start within {patience} s, so another job gets the device"
    builder.tell(progress.reason, f"{message}: {progress.message}")
    builder.going_on(Reason.DEVICE_BUSY, f"{message}: {progress.message}")


def _release(builder: StatusBuilder, run: Run) -> None:  # noqa: ARG001 - the signature of every kind
    """A suspended job gives its board back once its pods are gone; an ended one names it."""
    if (
        not builder.ended
        and "completion_time" not in builder.fields
        and not live_pods(builder.seen)
    ):
        builder.fields["node"] = None


def _pods_node(builder: StatusBuilder) -> str | None:
    nodes = [pod.node for pod in builder.seen.pods if pod.node]
    return nodes[-1] if nodes else None


def _before(builder: StatusBuilder) -> str | None:
    node: str | None = getattr(builder.before, "node", None)
    return node
