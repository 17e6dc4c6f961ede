"""What a result is worth: profiles that predict nothing, winners that lose to their baseline."""

from __future__ import annotations

from edgetran.api import ConditionType, Reason, find_condition
from edgetran.api.codesign_search import CoDesignSearchStatus
from edgetran.api.profiling_job import ProfilingJobStatus
from edgetran_operator.plan import StatusBuilder

_WHAT_TO_DO = (
    "take more measurements (sampling.maxMeasurements) or longer ones (measurement.mode), or keep "
    "the board idle and cool"
)


def unusable_profile(builder: StatusBuilder) -> str:
    """Why what was measured predicts too little, and what to do; empty where it does well."""
    status = builder.before.model_copy(update=builder.fields)
    assert isinstance(status, ProfilingJobStatus)  # noqa: S101 - the kind decides
    most = builder.seen.settings.max_profile_error
    bad = [
        f"{each.measure} is predicted with an error of {each.error:.0%}"
        for each in status.errors
        if each.error is not None and each.error > most
    ]
    bad += [
        f"{each.measure} is not predictable ({each.reason or 'no surrogate beats a constant'})"
        for each in status.errors
        if each.error is None and each.measure == "latencyMs"
    ]
    if not bad:
        return ""
    return f"{' and '.join(bad)}, and at most {most:.0%} is usable; {_WHAT_TO_DO}"


def worth_of_winner(builder: StatusBuilder) -> list[str]:
    """What is to be said of a winner besides that there is one: measured, or else predicted."""
    found = find_condition(builder.conditions, ConditionType.WINNER_VERIFIED)
    if found is None or found.reason == Reason.NOT_MEASURABLE:
        loses = loses_to_baseline(builder) if builder.seen.kind == "CoDesignSearch" else ""
        return [loses] if loses else []
    if found.status == "True":
        return []
    if found.reason == Reason.WORSE_THAN_BASELINE:
        return [found.message]
    loses = loses_to_baseline(builder) if builder.seen.kind == "CoDesignSearch" else ""
    return [*([loses] if loses else []), f"its winner was not measured ({found.message})"]


def loses_to_baseline(builder: StatusBuilder) -> str:
    """That a search's winner is worse than its baseline; empty where it is not known to be."""
    status = builder.before.model_copy(update=builder.fields)
    assert isinstance(status, CoDesignSearchStatus)  # noqa: S101 - the kind decides
    best, baseline = status.best, status.baseline
    if best is None or baseline is None or best.objective is None or baseline.objective is None:
        return ""
    if best.objective >= baseline.objective:
        return ""
    return (
        f"its winner is worse than the baseline: objective {best.objective:.3g} against "
        f"{baseline.objective:.3g}"
    )
