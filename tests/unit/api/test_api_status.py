"""Statuses stay small, and conditions behave as those of Kubernetes do."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from edgetran.api import (
    CandidateSummary,
    CoDesignSearch,
    CoDesignSearchStatus,
    Condition,
    ConditionType,
    DeviceStatus,
    GPTranRunStatus,
    MeasureValue,
    PredictionError,
    ProfilingJobStatus,
    Reason,
    find_condition,
    remove_condition,
    set_condition,
)

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)


def test_a_conditions_time_moves_only_when_its_status_flips():
    conditions = set_condition((), "Succeeded", "Unknown", "Running", now=NOON)
    conditions = set_condition(
        conditions, "Succeeded", "Unknown", "Resumed", "again", now=LATER, observed_generation=2
    )
    (condition,) = conditions
    assert condition.last_transition_time == NOON
    assert (condition.reason, condition.message, condition.observed_generation) == (
        "Resumed",
        "again",
        2,
    )
    (flipped,) = set_condition(conditions, "Succeeded", "True", "Succeeded", now=LATER)
    assert flipped.last_transition_time == LATER


def test_conditions_are_told_apart_by_their_type_and_keep_their_order():
    conditions = ()
    for type_ in (ConditionType.SUCCEEDED, ConditionType.STALLED, ConditionType.RECONCILING):
        conditions = set_condition(conditions, type_, "True", Reason.RUNNING, now=NOON)
    conditions = set_condition(conditions, "Stalled", "False", Reason.RESUMED, now=LATER)
    assert [condition.type for condition in conditions] == ["Succeeded", "Stalled", "Reconciling"]
    assert find_condition(conditions, "Stalled").status == "False"
    assert find_condition(remove_condition(conditions, "Stalled"), "Stalled") is None
    with pytest.raises(ValidationError, match='Duplicate value: "Succeeded"'):
        CoDesignSearchStatus(conditions=(conditions[0], conditions[0]))


def test_a_long_message_is_cut_and_times_are_written_as_kubernetes_does():
    (condition,) = set_condition((), "Stalled", "True", "SpecInvalid", "x" * 5000, now=NOON)
    assert len(condition.message) == 1024
    written = condition.model_dump(mode="json", by_alias=True)
    assert written["lastTransitionTime"] == "2026-01-31T12:00:00Z"
    assert Condition.model_validate(written) == condition


@pytest.mark.parametrize("constants", [ConditionType, Reason])
def test_constants_are_camel_case_words_and_distinct(constants):
    values = [str(constant) for constant in constants]
    assert len(set(values)) == len(values)
    assert all(value.isalnum() and value[0].isupper() for value in values)


def test_a_status_at_its_largest_stays_below_ten_kilobytes():
    measure = MeasureValue(value=123.456789, source="predicted")
    candidate = CandidateSummary(
        id=19_999,
        architecture="f" * 32,
        device="a" * 20,
        accuracy=0.8765,
        test_accuracy=0.8765,
        latency_ms=measure,
        energy_mj=measure,
        peak_power_w=measure,
        parameters=123_456_789,
        objective=0.654321,
    )
    conditions = ()
    for type_ in list(ConditionType)[:8]:
        conditions = set_condition(
            conditions, type_, "False", Reason.MAX_FAILED_TRIALS_REACHED, "m" * 300, now=NOON
        )
    device = DeviceStatus(
        name="a" * 20, source="measured", profiling_job="p" * 47, ready=True, latency_error=0.0123
    )
    status = CoDesignSearchStatus(
        observed_generation=3,
        conditions=conditions,
        start_time=NOON,
        completion_time=LATER,
        active_seconds=3600,
        progress="20000/20000",
        succeeded=20_000,
        best=candidate,
        baseline=candidate,
        pareto_front=(candidate,) * 10,
        pareto_size=5000,
        hypervolume=0.5,
        devices=tuple(
            device.model_copy(update={"name": f"device-{number}"}) for number in range(8)
        ),
    )
    text = status.model_dump_json(by_alias=True, exclude_none=True)
    assert len(text) < 10_240
    assert CoDesignSearchStatus.model_validate(json.loads(text)) == status


def test_every_status_is_read_back_as_part_of_its_resource():
    status = CoDesignSearchStatus(succeeded=3, progress="3/12").model_dump(
        mode="json", by_alias=True, exclude_none=True
    )
    resource = CoDesignSearch.model_validate(
        {
            "apiVersion": "edgetran.io/v1alpha1",
            "kind": "CoDesignSearch",
            "metadata": {"name": "q", "uid": "u", "creationTimestamp": "2026-01-31T12:00:00Z"},
            "spec": {
                "task": {"name": "movie-reviews"},
                "designSpace": {"preset": "tiny"},
                "devices": [{"name": "here", "host": True}],
            },
            "status": status,
        }
    )
    assert resource.status.succeeded == 3
    assert resource.metadata.creation_timestamp == NOON


def test_other_statuses_hold_what_their_work_tells():
    errors = (
        PredictionError(measure="latencyMs", error=0.04),
        PredictionError(measure="energyMj", reason="no power source"),
    )
    assert ProfilingJobStatus(measured=20, errors=errors).errors[1].error is None
    with pytest.raises(ValidationError, match='Duplicate value: "latencyMs"'):
        ProfilingJobStatus(errors=(errors[0], errors[0]))
    assert GPTranRunStatus(stage="growHeads", cycle=1).best is None
    with pytest.raises(ValidationError):
        ProfilingJobStatus(progress="soon")


def test_figures_of_a_status_are_short_enough_to_be_read():
    summary = CandidateSummary(
        id=1,
        architecture="0a",
        device="a",
        accuracy=0.87654321,
        latency_ms=MeasureValue(value=9.547562000989274, source="measured"),
        objective=-0.000123456789,
    )
    assert summary.accuracy == 0.87654
    assert summary.latency_ms.value == 9.5476
    assert summary.objective == -0.00012346
