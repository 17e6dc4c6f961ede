"""The last step of a search or a refinement: its finalists are measured on the winner's board.

A ProfilingJob of its own does it, so it queues for the board like any other. Where the winner
cannot be measured the result stays one, and the condition WinnerVerified says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from edgetran.api import (
    CandidateSummary,
    CoDesignSearch,
    ConditionType,
    GPTranRun,
    MeasuredFinalist,
    ProfilingJob,
    ProfilingJobStatus,
    Reason,
    SearchDevice,
    find_condition,
    implied_profiling_jobs,
    implied_verification,
    verification_name,
)
from edgetran.api.measures import HARDWARE
from edgetran_operator.plan import Deletion, StatusBuilder, read_status
from edgetran_operator.reconcile.children import foreign, keep
from edgetran_operator.reconcile.dependencies import (
    Obstacle,
    cause,
    condition_of,
    failed,
    succeeded,
)
from edgetran_operator.reconcile.handing_over import is_out_of_reach
from edgetran_operator.resources import Run
from edgetran_operator.snapshot import Dependency, Snapshot

VERIFIED: Final = ConditionType.WINNER_VERIFIED


def verified(builder: StatusBuilder, run: Run) -> bool:
    """Have the winner measured beside its baseline; whether that is over, well or not."""
    owner = run.resource
    assert isinstance(owner, CoDesignSearch | GPTranRun)  # noqa: S101 - others have no winner
    best = _best(builder)
    if best is None or best.artifact is None:
        return True  # nothing was scored that could be measured
    profile = _profile(builder.seen, owner, best.device)
    if isinstance(profile, Obstacle):
        builder.set(VERIFIED, "False", profile.reason, profile.message)
        return True
    wanted = implied_verification(owner, profile)
    obstacle = foreign(builder.seen, [wanted]) or keep(builder, run, [wanted])
    if obstacle is not None:
        final = obstacle.reason is Reason.SPEC_INVALID
        builder.set(VERIFIED, "False" if final else "Unknown", obstacle.reason, obstacle.message)
        if not final:
            builder.held_up(obstacle.reason, obstacle.message)
        return final
    job = builder.seen.dependencies.get(("ProfilingJob", wanted.name))
    if job is not None and succeeded(job):
        _take_over(builder, job)
        chosen = _chosen(_finalists(job))
        if chosen is not None and best.artifact == _finalists(job)["winner"].artifact:
            builder.fields["best"] = _in_its_place(builder, best, chosen)
        _judge(builder, job, best)
        return True
    if job is not None and failed(job):
        ended = condition_of(job.status, ConditionType.SUCCEEDED)
        message = f"{wanted.label} failed: {ended.get('reason')}: {ended.get('message')}"
        builder.set(VERIFIED, "False", Reason.CHILD_FAILED, message)
        return True
    given_up = None if job is None else _given_up(builder, job)
    if job is not None and given_up is not None:
        message = f"{wanted.label} was given up: {given_up.message}"
        builder.set(VERIFIED, "False", given_up.reason, message)
        builder.delete.append(Deletion(wanted.kind, wanted.name, job.uid))
        return True
    _wait(builder, wanted, job)
    return False


def take_from_refinement(builder: StatusBuilder, refinement: Dependency, name: str) -> None:
    """What became of the winner of a search's refinement, which had it measured."""
    found = find_condition(read_status("GPTranRun", refinement.status).conditions, VERIFIED)
    if found is not None:
        builder.set(VERIFIED, found.status, Reason(found.reason), found.message)
    job = builder.seen.dependencies.get(("ProfilingJob", verification_name(name)))
    if job is not None and succeeded(job):
        _take_over(builder, job)


def _best(builder: StatusBuilder) -> CandidateSummary | None:
    best: CandidateSummary | None = builder.fields.get(
        "best", getattr(builder.before, "best", None)
    )
    return best


def _profile(
    seen: Snapshot, owner: CoDesignSearch | GPTranRun, name: str
) -> ProfilingJob | Obstacle:
    """The job that measured the winner's device, or why that is no board."""
    search: Any = owner
    if isinstance(owner, GPTranRun) and owner.spec.search_ref is not None:
        found = seen.dependencies.get(("CoDesignSearch", owner.spec.search_ref.name))
        search = None if found is None else found.resource
    devices: tuple[SearchDevice, ...] = ()
    if isinstance(search, CoDesignSearch):
        devices = search.spec.devices
    elif isinstance(owner, GPTranRun) and owner.spec.device is not None:
        devices = (owner.spec.device,)
    device = next((each for each in devices if each.name == name), None)
    if device is None:
        return Obstacle(Reason.DEPENDENCY_MISSING, f"what measured the device {name} is gone")
    if device.node_selector is None:
        how = "is simulated" if device.simulation is not None else "is whatever node a pod gets"
        message = f"the device {name} {how}, so nothing can be measured beside the winner there"
        return Obstacle(Reason.NOT_MEASURABLE, message)
    if device.profile_ref is None and isinstance(search, CoDesignSearch):
        return implied_profiling_jobs(search)[name]
    label = "" if device.profile_ref is None else device.profile_ref.name
    job = seen.dependencies.get(("ProfilingJob", label))
    if job is None or not isinstance(job.resource, ProfilingJob):
        return Obstacle(Reason.DEPENDENCY_MISSING, f"ProfilingJob/{label} is gone")
    return job.resource


def _given_up(builder: StatusBuilder, job: Dependency) -> Obstacle | None:
    """Why measuring is not waited for any longer; None where it is."""
    told = condition_of(job.status, ConditionType.SUCCEEDED)
    reason, message = str(told.get("reason")), str(told.get("message"))
    if is_out_of_reach(message):
        said = f"the storage with the artefacts cannot be mounted on the board: {message}"
        return Obstacle(Reason.STORAGE_OUT_OF_REACH, said)
    stalled = find_condition(
        read_status("ProfilingJob", job.status).conditions, ConditionType.STALLED
    )
    if stalled is None or stalled.status != "True" or reason not in list(Reason):
        return None
    patience = timedelta(seconds=builder.seen.settings.stalled_after_seconds)
    due = stalled.last_transition_time + patience
    if builder.now < due:
        builder.look_again_at(due)
        return None
    return Obstacle(Reason(reason), message)


def _wait(builder: StatusBuilder, wanted: ProfilingJob, job: Dependency | None) -> None:
    message = f"{wanted.label} measures the winner beside its baseline on its board"
    waits = Obstacle(Reason.RUNNING, message, wait=True)
    known = waits if job is None else cause({wanted.label: job}, waits)
    reason = Reason.DEPENDENCY_NOT_READY if known is waits else known.reason
    builder.set(VERIFIED, "Unknown", reason, known.message)
    tell = builder.going_on if known.wait else builder.held_up
    tell(known.reason, known.message)


def _take_over(builder: StatusBuilder, job: Dependency) -> None:
    """Put what was measured in the place of what was predicted of the very same artefacts."""
    measured = {each.artifact: each for each in _finalists(job).values()}
    for field in ("best", "baseline"):
        before = builder.fields.get(field, getattr(builder.before, field, None))
        if before is not None and before.artifact in measured:
            told = measured[before.artifact]
            costs = _costs(told)
            if builder.seen.kind == "CoDesignSearch" and told.objective is not None:
                costs["objective"] = told.objective  # a refinement's is another one
            builder.fields[field] = before.model_copy(update=costs)


def _costs(told: MeasuredFinalist) -> dict[str, Any]:
    """What is known of its costs, by the names of a candidate's fields."""
    return {
        each.name: value
        for each in HARDWARE
        if (value := told.hardware(each.name)) is not None and value.value is not None
    }


def _chosen(finalists: Mapping[str, MeasuredFinalist]) -> MeasuredFinalist | None:
    """What takes the place of a winner that lost to its baseline: the best that was measured.

    None where the winner did not lose, or nothing that was measured is better than it.
    """
    winner, baseline = finalists.get("winner"), finalists.get("baseline")
    if winner is None or baseline is None or not _loses(winner, baseline):
        return None
    others = [each for key, each in finalists.items() if key not in ("winner", "baseline")]
    better = [each for each in others if not _loses(each, winner) and each.objective is not None]
    return max(better, key=lambda each: each.objective or 0.0, default=None)


def _loses(one: MeasuredFinalist, other: MeasuredFinalist) -> bool:
    return (
        one.objective is not None
        and other.objective is not None
        and one.objective < other.objective
    )


def _in_its_place(
    builder: StatusBuilder, winner: CandidateSummary, chosen: MeasuredFinalist
) -> CandidateSummary:
    """A candidate as the status shows the best one; its number is of the search's trials."""
    changes: dict[str, Any] = {
        "id": chosen.trial or 0,
        "architecture": chosen.architecture,
        "accuracy": chosen.accuracy,
        "test_accuracy": chosen.test_accuracy,
        "parameters": chosen.parameters,
        "made_for": chosen.made_for,
        "artifact": chosen.artifact,
        **{each.name: None for each in HARDWARE},
        **_costs(chosen),
    }
    own = builder.seen.kind == "CoDesignSearch"  # a refinement's objective is another one
    changes["objective"] = chosen.objective if own else None
    return winner.model_copy(update=changes)


def _judge(builder: StatusBuilder, job: Dependency, predicted: CandidateSummary) -> None:
    """What was measured against what was predicted, and the winner against its baseline."""
    finalists = _finalists(job)
    winner, baseline = finalists.get("winner"), finalists.get("baseline")
    if winner is None or winner.artifact != predicted.artifact:
        message = f"ProfilingJob/{verification_name(builder.seen.name)} measured another winner"
        builder.set(VERIFIED, "False", Reason.RESULTS_LOST, message)
        return
    place = f"on {predicted.device}, node {job.status.get('node')}"
    costs = "; ".join(_compared(winner, predicted))
    if not winner.stable:
        costs += "; the measurement stayed unstable"
    if baseline is None or not _loses(winner, baseline):
        builder.set(VERIFIED, "True", Reason.WINNER_MEASURED, f"{place}: {costs}")
        return
    loss = (
        f"measured {place}, the winner is worse than the baseline: objective "
        f"{winner.objective:.3g} against {baseline.objective:.3g}"
    )
    chosen = _chosen(finalists)
    if chosen is not None and not _loses(chosen, baseline):
        message = (
            f"{loss}; the best now is {_called(chosen)} with {chosen.objective:.3g}: "
            f"{'; '.join(_compared(chosen, None))}"
        )
        builder.set(VERIFIED, "True", Reason.NEXT_BEST_MEASURED, message)
        return
    measured = len(finalists) - 1
    if measured > 1:
        loss += f", and so are all {measured} that were measured"
    if chosen is not None:
        loss += f"; the best of them is {_called(chosen)} with {chosen.objective:.3g}"
    builder.set(VERIFIED, "False", Reason.WORSE_THAN_BASELINE, f"{loss}; {costs}")


def _called(chosen: MeasuredFinalist) -> str:
    return "the search's best" if chosen.finalist == "searchBest" else f"trial {chosen.trial}"


def _compared(winner: MeasuredFinalist, predicted: CandidateSummary | None) -> list[str]:
    """Each measure in words, such as `latency 4.2 ms measured, 4 ms predicted`."""
    words = []
    for each in HARDWARE:
        now = winner.hardware(each.name)
        before = None if predicted is None else predicted.hardware(each.name)
        if now is None or now.value is None or now.source != "measured":
            continue
        text = f"{each.words} {now.value:.3g} {each.unit} measured"
        if before is not None and before.value is not None:
            text += f", {before.value:.3g} {each.unit} {before.source} before"
        words.append(text)
    return words


def _finalists(job: Dependency) -> Mapping[str, MeasuredFinalist]:
    status = read_status("ProfilingJob", job.status)
    assert isinstance(status, ProfilingJobStatus)  # noqa: S101 - the kind decides
    return {each.finalist: each for each in status.finalists}
