"""GPTranRun: it waits for a search's winner, or takes a model, and refines it."""

from __future__ import annotations

from edgetran.api import (
    CoDesignSearch,
    ConditionType,
    GPTranRun,
    Reason,
    find_condition,
    verification_name,
)
from edgetran.api.field_errors import invalid, required
from edgetran_operator.plan import Plan, StatusBuilder
from edgetran_operator.reconcile.children import hold
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
    cause,
    condition_of,
    disagreement,
    failed,
    lost_results,
    missing,
    profiles,
    resources,
    unfinished,
)
from edgetran_operator.reconcile.search import profiling_jobs
from edgetran_operator.reconcile.spec import with_storage
from edgetran_operator.reconcile.verdicts import worth_of_winner
from edgetran_operator.reconcile.verifying import verified
from edgetran_operator.reconcile.worker import Stage, advance
from edgetran_operator.resources import Inputs, Run
from edgetran_operator.snapshot import Dependency, Snapshot


def reconcile_gptran(seen: Snapshot) -> Plan:
    """What is to be done for a GPTranRun."""
    return reconcile_work(seen, _work, _hold_child)


def _work(builder: StatusBuilder, run: Run) -> None:
    refinement = run.resource
    assert isinstance(refinement, GPTranRun)  # noqa: S101 - the kind decides
    complete = ConditionType.REFINEMENT_COMPLETE
    done = find_condition(builder.conditions, complete)
    if done is not None and done.status == "True":
        _verify(builder, run, done.message)
        return
    obstacle, inputs = None, Inputs()
    if builder.seen.worker is None:
        obstacle, inputs = _inputs(builder.seen, refinement)
    else:
        _, inputs = _inputs(builder.seen, refinement)
    if obstacle is not None:
        wait_for(builder, run, obstacle)
        return
    run = make_run(builder.seen, refinement, inputs)
    progress = advance(builder, run)
    if progress.stage is Stage.DONE:
        builder.set(complete, "True", progress.reason, progress.message)
        _verify(builder, run, progress.message)
    elif progress.stage is Stage.FAILED:
        builder.set(complete, "False", progress.reason, progress.message)
        fail(builder, run, progress.reason, progress.message)
    else:
        show(builder, with_stage(builder, progress))


def _verify(builder: StatusBuilder, run: Run, message: str) -> None:
    """The model is refined; its worth is known once it was measured."""
    if verified(builder, run):
        words = [message or "the model is refined", *worth_of_winner(builder)]
        succeed(builder, run, "; ".join(words))


def _hold_child(builder: StatusBuilder, run: Run) -> None:
    """Nothing is measured for a refinement that rests."""
    hold(builder, run, [("ProfilingJob", verification_name(run.resource.name))])


def _inputs(seen: Snapshot, refinement: GPTranRun) -> tuple[Obstacle | None, Inputs]:
    """What the refinement builds on, and why it is not there."""
    obstacle = missing(seen, refinement)
    if obstacle is not None:
        return obstacle, Inputs()
    if refinement.spec.search_ref is not None:
        return _from_search(seen, refinement.spec.search_ref.name)
    device = refinement.spec.device
    assert device is not None  # noqa: S101 - the model demands it without searchRef
    if device.profile_ref is None:
        if device.node_selector is None:
            return None, Inputs()
        return Obstacle(
            Reason.SPEC_INVALID,
            "spec.device.profileRef: "
            + required("must name the ProfilingJob that measures the device, in a cluster"),
        ), Inputs()
    name = device.profile_ref.name
    jobs = {name: seen.dependencies["ProfilingJob", name]}
    mistake = disagreement(seen, refinement, resources(jobs))
    if mistake is not None:
        return Obstacle(Reason.SPEC_INVALID, mistake), Inputs()
    obstacle = unfinished(jobs, ())
    if obstacle is not None:
        obstacle = cause({f"ProfilingJob/{name}": jobs[name]}, obstacle)
    return obstacle or lost_results(jobs), _with_profiles(jobs)


def _from_search(seen: Snapshot, name: str) -> tuple[Obstacle | None, Inputs]:
    found = seen.dependencies["CoDesignSearch", name]
    search = found.resource
    if not isinstance(search, CoDesignSearch):
        message = f"waits for the winner of CoDesignSearch/{name}, whose spec is invalid"
        return Obstacle(Reason.DEPENDENCY_NOT_READY, message, wait=True), Inputs()
    search = with_storage(search, seen.settings)
    if search.spec.storage is None:
        return Obstacle(
            Reason.SPEC_INVALID,
            "spec.searchRef.name: "
            + invalid(name, "must be a search with spec.storage, or its model is not kept"),
        ), Inputs()
    jobs = profiling_jobs(seen, search)
    inputs = Inputs(
        profiles(jobs),
        (*resources(jobs), search),
        search,
        found.uid,
    )
    if condition_of(found.status, ConditionType.SEARCH_COMPLETE).get("status") == "True":
        return lost_results(jobs), inputs
    if failed(found):
        condition = condition_of(found.status, ConditionType.SUCCEEDED)
        said = f"{condition.get('reason')}: {condition.get('message')}"
        message = f"CoDesignSearch/{name} failed: {said}"
        return Obstacle(Reason.DEPENDENCY_FAILED, message, final=True), inputs
    message = f"waits for the winner of CoDesignSearch/{name}"
    obstacle = Obstacle(Reason.DEPENDENCY_NOT_READY, message, wait=True)
    return cause({f"CoDesignSearch/{name}": found}, obstacle), inputs


def _with_profiles(jobs: dict[str, Dependency]) -> Inputs:
    return Inputs(profiles(jobs), resources(jobs))
