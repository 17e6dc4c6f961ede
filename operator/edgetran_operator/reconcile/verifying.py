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
from edgetran_operator.resources import Run
from edgetran_operator.snapshot import Dependency, Snapshot

VERIFIED: Final = ConditionType.WINNER_VERIFIED
_OUT_OF_REACH: Final = ("volume node affinity conflict", "no available volume zone")
"""How schedulers say that a volume cannot be had on a node, now or ever."""


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
    if any(words in message for words in _OUT_OF_REACH):
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
            costs: dict[str, Any] = {
                each.name: value
                for each in HARDWARE
                if (value := told.hardware(each.name)) is not None and value.value is not None
            }
            if builder.seen.kind == "CoDesignSearch" and told.objective is not None:
                costs["objective"] = told.objective  # a refinement's is another one
            builder.fields[field] = before.model_copy(update=costs)


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
    if (
        baseline is not None
        and winner.objective is not None
        and baseline.objective is not None
        and winner.objective < baseline.objective
    ):
        message = (
            f"measured {place}, the winner is worse than the baseline: objective "
            f"{winner.objective:.3g} against {baseline.objective:.3g}; {costs}"
        )
        builder.set(VERIFIED, "False", Reason.WORSE_THAN_BASELINE, message)
    else:
        builder.set(VERIFIED, "True", Reason.WINNER_MEASURED, f"{place}: {costs}")


def _compared(winner: MeasuredFinalist, predicted: CandidateSummary) -> list[str]:
    """Each measure in words, such as `latency 4.2 ms measured, 4 ms predicted`."""
    words = []
    for each in HARDWARE:
        now, before = winner.hardware(each.name), predicted.hardware(each.name)
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
