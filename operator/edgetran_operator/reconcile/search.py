"""CoDesignSearch: its devices are measured, it searches, and its winner is refined."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgetran.api import (
    CoDesignSearch,
    CoDesignSearchStatus,
    ConditionType,
    DeviceStatus,
    Reason,
    find_condition,
    implied_profiling_jobs,
    implied_refinement,
    verification_name,
)
from edgetran_operator.plan import Plan, StatusBuilder
from edgetran_operator.reconcile.children import foreign, hold, keep
from edgetran_operator.reconcile.common import (
    fail,
    make_run,
    reconcile_work,
    show,
    succeed,
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
    succeeded,
    unfinished,
    works,
)
from edgetran_operator.reconcile.verdicts import worth_of_winner
from edgetran_operator.reconcile.verifying import take_from_refinement, verified
from edgetran_operator.reconcile.worker import Stage, advance, give_work
from edgetran_operator.resources import Inputs, Run, new_work
from edgetran_operator.snapshot import Dependency, Snapshot


def reconcile_search(seen: Snapshot) -> Plan:
    """What is to be done for a CoDesignSearch."""
    return reconcile_work(seen, _work, _hold_children)


def _work(builder: StatusBuilder, run: Run) -> None:
    search = run.resource
    assert isinstance(search, CoDesignSearch)  # noqa: S101 - the kind decides
    jobs = profiling_jobs(builder.seen, search)
    _show_devices(builder, search, jobs)
    if not _searched(builder):
        obstacle = _obstacle(builder, run, search, jobs)
        if obstacle is not None:
            own = [job.name for job in implied_profiling_jobs(search).values()]
            builder.counts_time = any(works(jobs[name]) for name in own if name in jobs)
            _wait(builder, run, obstacle)
            return
        _show_profiles(builder, jobs)
        if not _search(builder, search, jobs):
            return
    _refine(builder, run, search)


def profiling_jobs(seen: Snapshot, search: CoDesignSearch) -> dict[str, Dependency]:
    """The ProfilingJobs of a search's devices that exist, by name."""
    names = [job.name for job in implied_profiling_jobs(search).values()]
    names += [device.profile_ref.name for device in search.spec.devices if device.profile_ref]
    return {
        name: seen.dependencies["ProfilingJob", name]
        for name in dict.fromkeys(names)
        if ("ProfilingJob", name) in seen.dependencies
    }


def _searched(builder: StatusBuilder) -> bool:
    return any(
        condition.type == ConditionType.SEARCH_COMPLETE and condition.status == "True"
        for condition in builder.conditions
    )


def _obstacle(
    builder: StatusBuilder, run: Run, search: CoDesignSearch, jobs: dict[str, Dependency]
) -> Obstacle | None:
    """Why the search's own worker cannot start; its ProfilingJobs are made on the way."""
    seen = builder.seen
    if seen.worker is not None:
        return None
    implied = list(implied_profiling_jobs(search).values())
    not_own = foreign(seen, implied)
    if not_own is not None:
        return not_own
    obstacle = missing(seen, search)
    if obstacle is None:
        mistake = disagreement(seen, search, resources(jobs))
        if mistake is not None:
            return Obstacle(Reason.SPEC_INVALID, mistake)
    _begin(builder, run)
    refused = keep(builder, run, implied)
    if refused is not None:
        return refused
    own = {job.name for job in implied}
    if obstacle is None and own - jobs.keys():
        obstacle = Obstacle(
            Reason.DEPENDENCY_NOT_READY,
            f"waits for {', '.join(f'ProfilingJob/{name}' for name in sorted(own - jobs.keys()))}",
            wait=True,
        )
    failure = unfinished(jobs, own)
    if failure is not None and (failure.final or obstacle is None):
        return cause({f"ProfilingJob/{name}": job for name, job in jobs.items()}, failure)
    return obstacle or lost_results(jobs)


def _begin(builder: StatusBuilder, run: Run) -> None:
    """From here on the spec is fixed."""
    if builder.before.start_time is None:
        builder.fields["start_time"] = builder.now
    if builder.seen.work is None:
        builder.apply.append(give_work(builder, run, new_work(run)))


def _wait(builder: StatusBuilder, run: Run, obstacle: Obstacle) -> None:
    builder.set(ConditionType.PROFILING_COMPLETE, "False", obstacle.reason, obstacle.message)
    if obstacle.final:
        fail(builder, run, obstacle.reason, obstacle.message, _hold_children)
    elif obstacle.wait:
        builder.going_on(obstacle.reason, obstacle.message)
    else:
        builder.held_up(obstacle.reason, obstacle.message)


def _search(builder: StatusBuilder, search: CoDesignSearch, jobs: dict[str, Dependency]) -> bool:
    """Run the search's worker; whether it is done."""
    inputs = Inputs(profiles(jobs), resources(jobs))
    run = make_run(builder.seen, search, inputs)
    progress = advance(builder, run)
    _show_network(builder, search)
    if progress.stage is Stage.DONE:
        builder.set(ConditionType.SEARCH_COMPLETE, "True", progress.reason, progress.message)
        return True
    if progress.stage is Stage.FAILED:
        builder.set(ConditionType.SEARCH_COMPLETE, "False", progress.reason, progress.message)
        fail(builder, run, progress.reason, progress.message, _hold_children)
    else:
        show(builder, with_stage(builder, progress))
    return False


def _show_network(builder: StatusBuilder, search: CoDesignSearch) -> None:
    """Whether the network that holds every candidate of a search from a parent is trained."""
    if search.spec.parent is None:
        return
    trained = ConditionType.ELASTIC_TRAINED
    before = builder.before
    known = before.shared_weights if isinstance(before, CoDesignSearchStatus) else None
    network = builder.fields.get("shared_weights", known)
    if network is None:
        message = "the network that holds every candidate is not trained yet"
        builder.set(trained, "False", Reason.PENDING, message)
        return
    how = "another search of this storage trained it" if network.reused else "it is trained"
    message = f"{how}; {network.steps} steps with its parent, fingerprint {network.fingerprint}"
    builder.set(trained, "True", Reason.SUCCEEDED, message)


def _refine(builder: StatusBuilder, run: Run, search: CoDesignSearch) -> None:
    refinement = implied_refinement(search)
    if refinement is None:
        if verified(builder, run):
            succeed(builder, run, _verdict(builder, "the search is done"))
        return
    builder.fields["refinement"] = refinement.name
    not_own = foreign(builder.seen, [refinement])
    if not_own is not None:
        builder.held_up(not_own.reason, not_own.message)
        return
    refused = keep(builder, run, [refinement])
    if refused is not None:
        builder.held_up(refused.reason, refused.message)
        return
    child = builder.seen.dependencies.get(("GPTranRun", refinement.name))
    complete = ConditionType.REFINEMENT_COMPLETE
    if child is not None and succeeded(child):
        condition = condition_of(child.status, ConditionType.SUCCEEDED)
        message = str(condition.get("message", ""))
        builder.set(complete, "True", Reason.SUCCEEDED, message)
        take_from_refinement(builder, child, refinement.name)
        done = "the search and the refinement of its winner are done"
        succeed(builder, run, _verdict(builder, done))
        return
    if child is not None and failed(child):
        condition = condition_of(child.status, ConditionType.SUCCEEDED)
        said = f"{condition.get('reason')}: {condition.get('message')}"
        message = f"GPTranRun/{refinement.name} failed: {said}"
        builder.set(complete, "False", Reason.CHILD_FAILED, message)
        fail(builder, run, Reason.CHILD_FAILED, message, _hold_children)
        return
    message = f"GPTranRun/{refinement.name} refines the winner"
    builder.set(complete, "False", Reason.DEPENDENCY_NOT_READY, message)
    if child is not None:
        waits = Obstacle(Reason.RUNNING, message, wait=True)
        known = cause({f"GPTranRun/{refinement.name}": child}, waits)
        if known is not waits:
            _wait_for_refinement(builder, known)
            return
    builder.counts_time = child is not None and works(child)
    builder.going_on(Reason.RUNNING, message)


def _show_profiles(builder: StatusBuilder, jobs: dict[str, Dependency]) -> None:
    """Every device was measured: whether that is of use."""
    complete = ConditionType.PROFILING_COMPLETE
    bad = [
        f"ProfilingJob/{name}: {condition_of(job.status, complete).get('message')}"
        for name, job in jobs.items()
        if _unusable(job)
    ]
    if bad:
        builder.set(complete, "False", Reason.PROFILE_UNUSABLE, "; ".join(bad))
    else:
        message = "every device has its profile"
        builder.set(complete, "True", Reason.SUCCEEDED, message)


def _unusable(job: Dependency) -> bool:
    reason = condition_of(job.status, ConditionType.PROFILING_COMPLETE).get("reason")
    return reason == Reason.PROFILE_UNUSABLE


def _verdict(builder: StatusBuilder, message: str) -> str:
    """How the search ended, and what its result is not worth."""
    words = [message, *worth_of_winner(builder)]
    profiling = find_condition(builder.conditions, ConditionType.PROFILING_COMPLETE)
    if profiling is not None and profiling.reason == Reason.PROFILE_UNUSABLE:
        words.append(f"device costs were poorly predicted ({profiling.message})")
    return "; ".join(word for word in words if word)


def _wait_for_refinement(builder: StatusBuilder, obstacle: Obstacle) -> None:
    builder.set(ConditionType.REFINEMENT_COMPLETE, "False", obstacle.reason, obstacle.message)
    tell = builder.going_on if obstacle.wait else builder.held_up
    tell(obstacle.reason, obstacle.message)


def _hold_children(builder: StatusBuilder, run: Run) -> None:
    """Hold back what is not at its end: nothing runs on for a search that rests."""
    search = run.resource
    assert isinstance(search, CoDesignSearch)  # noqa: S101 - the kind decides
    places = [("ProfilingJob", job.name) for job in implied_profiling_jobs(search).values()]
    places.append(("ProfilingJob", verification_name(search.name)))
    refinement = implied_refinement(search)
    if refinement is not None:
        places.append(("GPTranRun", refinement.name))
    hold(builder, run, places)


def _show_devices(
    builder: StatusBuilder, search: CoDesignSearch, jobs: dict[str, Dependency]
) -> None:
    """How each device stands, and whether every one has a node."""
    own = implied_profiling_jobs(search)
    shown, without = [], []
    for device in search.spec.devices:
        if device.simulation is not None:
            shown.append(
                DeviceStatus.model_validate(
                    {"name": device.name, "source": "simulated", "ready": True}
                )
            )
            continue
        name = device.profile_ref.name if device.profile_ref else own[device.name].name
        job = jobs.get(name)
        shown.append(_device_status(device.name, name, job))
        available = condition_of(job.status, ConditionType.DEVICES_AVAILABLE) if job else {}
        if available.get("status") == "False":
            without.append((available.get("reason"), f"{device.name}: {available.get('message')}"))
    builder.fields["devices"] = tuple(shown)
    if without:
        lost = without[0][0] == Reason.DEVICE_LOST
        reason = Reason.DEVICE_LOST if lost else Reason.NO_MATCHING_NODE
        message = "; ".join(said for _, said in without)
        builder.set(ConditionType.DEVICES_AVAILABLE, "False", reason, message)
    elif all(device.ready or _has_node(jobs.get(device.profiling_job or "")) for device in shown):
        message = "every device has a node or is simulated"
        builder.set(ConditionType.DEVICES_AVAILABLE, "True", Reason.NODES_MATCHED, message)


def _has_node(job: Dependency | None) -> bool:
    if job is None:
        return False
    return condition_of(job.status, ConditionType.DEVICES_AVAILABLE).get("status") == "True"


def _device_status(device: str, name: str, job: Dependency | None) -> DeviceStatus:
    if job is None:
        reason: str | None = str(Reason.DEPENDENCY_MISSING)
        return DeviceStatus(
            name=device,
            source="measured",
            profiling_job=name,
            ready=False,
            latency_error=None,
            reason=reason,
        )
    ready = succeeded(job) and not _unusable(job)
    condition = condition_of(job.status, ConditionType.SUCCEEDED)
    error = next(
        (
            each.get("error")
            for each in job.status.get("errors", ())
            if each.get("measure") == "latencyMs"
        ),
        None,
    )
    return DeviceStatus(
        name=device,
        source="measured",
        profiling_job=name,
        ready=ready,
        latency_error=float(error) if isinstance(error, int | float) else None,
        reason=None if ready else _why_not_ready(job, condition),
    )


def _why_not_ready(job: Dependency, condition: Mapping[str, Any]) -> str:
    if _unusable(job):
        return str(Reason.PROFILE_UNUSABLE)
    return str(condition.get("reason") or Reason.PENDING)[:128]
