"""A status is read whatever is in it, stays small, and changes only where it has to."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_world import World, check_status, spec_of

from edgetran.api import ConditionType, Reason
from edgetran_operator.plan import (
    STATUS_LIMIT_BYTES,
    STATUS_MODELS,
    StatusBuilder,
    fit,
    read_status,
    write_status,
)
from edgetran_operator.settings import Settings
from edgetran_operator.snapshot import Snapshot

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def builder(**status):
    seen = Snapshot(NOW, Settings(), "ProfilingJob", "p", "ns", "u", 3, None, status=status)
    return StatusBuilder(seen)


@pytest.mark.parametrize("kind", STATUS_MODELS)
def test_what_another_version_wrote_is_left_out_and_the_rest_is_read(kind):
    status = {"failures": 4, "progress": "1/2", "fromTheFuture": {"a": 1}, "activeSeconds": "x"}
    read = read_status(kind, status)
    assert read.failures == 4
    assert read.progress == "1/2"
    assert read.active_seconds == 0


def test_an_unknown_field_is_taken_away():
    changed = builder(fromTheFuture=1, failures=2).plan().status
    assert changed["fromTheFuture"] is None
    assert "failures" not in changed


def test_what_the_schema_fills_in_is_no_change():
    first = builder().plan().status
    filled = {**first, "results": [], "errors": [], "progress": ""}
    assert builder(**filled).plan().status == {}


def test_a_time_that_goes_on_is_counted_only_together_with_another_change():
    working = builder(**{**builder().plan().status, "activeSince": "2025-12-31T23:59:00Z"})
    working.counts_time = True
    assert working.plan().status == {}
    working.fields["measured"] = 3
    changed = working.plan().status
    assert changed["measured"] == 3
    assert changed["activeSeconds"] == 60
    assert changed["activeSince"] == "2026-01-01T00:00:00Z"


def test_events_tell_of_what_is_new_and_once_per_reason():
    first = builder()
    first.set(ConditionType.DEVICES_AVAILABLE, "False", Reason.NO_MATCHING_NODE, "none")
    first.held_up(Reason.NO_MATCHING_NODE, "none")
    plan = first.plan()
    assert [event.reason for event in plan.events] == ["NoMatchingNode"]
    second = builder(**plan.status)
    second.set(ConditionType.DEVICES_AVAILABLE, "False", Reason.NO_MATCHING_NODE, "none")
    second.held_up(Reason.NO_MATCHING_NODE, "none")
    assert second.plan().at_rest


words = st.text(max_size=1500)
measures = st.fixed_dictionaries(
    {"value": st.floats(allow_nan=False, allow_infinity=False), "source": st.just("measured")}
)
candidates = st.fixed_dictionaries(
    {
        "id": st.integers(0, 10**9),
        "architecture": st.text("0123456789abcdef", max_size=32),
        "device": st.text("ab-", max_size=20),
        "accuracy": st.floats(0, 1),
        "latencyMs": measures,
        "energyMj": measures,
        "peakPowerW": measures,
        "parameters": st.integers(0, 10**12),
    }
)
reports = st.fixed_dictionaries(
    {
        "best": candidates,
        "baseline": candidates,
        "paretoFront": st.lists(candidates, max_size=14),
        "hypervolume": st.floats(0, 1e6) | words,
        "succeeded": st.integers(-(2**62), 2**62) | words,
        "devices": st.just([{"name": "not the worker's to say"}]),
        "unknown": words,
    }
)


@settings(max_examples=60, deadline=None)
@given(reports, words, words, words)
def test_whatever_a_worker_reports_the_status_stays_valid_and_small(
    report, message, stage, progress
):
    world = World()
    devices = [{"name": f"sim-{number:016}", "simulation": "intel-ncs2"} for number in range(32)]
    key = world.apply("CoDesignSearch", "s", spec_of("CoDesignSearch", devices=devices))
    world.settle()
    world.start_pods()
    world.report(key, message=message, stage=stage, progress=progress[:30], status=report)
    world.settle()
    status = world.status(key)
    check_status(status)
    read_status("CoDesignSearch", status)
    assert [each["name"] for each in status["devices"]] == [each["name"] for each in devices]
    world.report(key, finished=True, message=message, status=report)
    world.end_pod(key, 0)
    world.settle()
    assert world.says(key, "Succeeded")[0] == "True"
    check_status(world.status(key))


def test_what_is_too_large_loses_candidates_first_and_then_words():
    candidate = {"id": 1, "architecture": "a" * 32, "device": "d" * 20}
    status = {
        "paretoFront": [candidate] * 10,
        "conditions": [{"type": f"T{n}", "message": "ü" * 600} for n in range(16)],
    }
    small = fit(status)
    assert len(json.dumps(small, ensure_ascii=False).encode()) <= STATUS_LIMIT_BYTES
    assert len(small["paretoFront"]) >= 1
    assert small["conditions"][0]["message"].endswith("…")
    assert fit(small) == small
    assert fit({"paretoFront": [candidate]}) == {"paretoFront": [candidate]}


def test_nothing_is_written_as_null():
    assert None not in write_status(read_status("GPTranRun", {})).values()
