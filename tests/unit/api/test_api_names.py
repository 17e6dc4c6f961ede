"""Names of children fit, differ and say whose they are; exit codes say how a worker ended."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetran.api import (
    CHILD_SUFFIXES,
    KINDS,
    LAST_RESULTS,
    NAME_LIMITS,
    TERMINAL,
    ExitCode,
    ObjectMeta,
    Reason,
    child_name,
    profiling_job_name,
    reason_of,
    refinement_name,
)
from edgetran.api.names import MAX_NAME, MAX_RAY_JOB_NAME, SPEC, STORAGE, WORKER, results

NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,18}[a-z0-9])?", fullmatch=True)


def named(kind, name):
    return KINDS[kind].model_construct(kind=kind, metadata=ObjectMeta(name=name))


def test_a_child_tells_its_resource_and_kind():
    assert child_name(named("ProfilingJob", "pi"), WORKER) == "pi-pj-worker"
    assert child_name(named("CoDesignSearch", "pi"), results(12)) == "pi-cds-results-12"
    assert child_name(named("GPTranRun", "pi"), STORAGE) == "pi-gpt-storage"


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_leaves_room_for_every_child(kind):
    longest = named(kind, "a" * NAME_LIMITS[kind])
    names = [child_name(longest, suffix) for suffix in CHILD_SUFFIXES]
    assert child_name(longest, results(LAST_RESULTS)) in names
    assert max(map(len, names)) <= MAX_NAME


def test_workers_of_searches_and_refinements_may_be_ray_jobs():
    for kind in ("CoDesignSearch", "GPTranRun"):
        longest = named(kind, "a" * NAME_LIMITS[kind])
        assert len(child_name(longest, WORKER)) <= MAX_RAY_JOB_NAME


def test_a_search_leaves_room_for_the_resources_that_it_makes():
    search = "a" * NAME_LIMITS["CoDesignSearch"]
    assert len(profiling_job_name(search, "d" * 20)) <= NAME_LIMITS["ProfilingJob"]
    assert len(refinement_name(search)) <= NAME_LIMITS["GPTranRun"]


def test_a_name_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="allowed is 63"):
        child_name(named("GPTranRun", "a" * 60), WORKER)


@given(first=NAMES, second=NAMES, numbers=st.tuples(*[st.integers(0, LAST_RESULTS)] * 2))
def test_children_of_different_resources_never_share_a_name(first, second, numbers):
    suffixes = [(WORKER, SPEC, STORAGE, results(number)) for number in numbers]
    for one, other in itertools.product(KINDS, repeat=2):
        if (one, first) != (other, second):
            mine = {child_name(named(one, first), suffix) for suffix in suffixes[0]}
            theirs = {child_name(named(other, second), suffix) for suffix in suffixes[1]}
            assert not mine & theirs


@pytest.mark.parametrize("code", sorted(TERMINAL))
def test_another_attempt_after_a_terminal_exit_code_has_its_own_reason(code):
    assert reason_of(code) not in (Reason.SUCCEEDED, Reason.WORKER_RETRIED)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (0, Reason.SUCCEEDED),
        (1, Reason.CHILD_FAILED),
        (10, Reason.SPEC_INVALID),
        (11, Reason.NO_FEASIBLE_CANDIDATE),
        (12, Reason.MAX_FAILED_TRIALS_REACHED),
        (13, Reason.CHILD_FAILED),
        (14, Reason.STORAGE_UNAVAILABLE),
        (15, Reason.RAY_UNAVAILABLE),
        (16, Reason.DEPENDENCY_FAILED),
        (137, Reason.CHILD_FAILED),
        (143, Reason.WORKER_RETRIED),
    ],
)
def test_a_status_becomes_the_reason_of_a_condition(status, reason):
    assert reason_of(status) is reason


def test_what_may_pass_by_itself_is_tried_again():
    tried_again = {code for code in ExitCode if code not in TERMINAL} - {ExitCode.DONE}
    assert tried_again == {
        ExitCode.UNEXPECTED,
        ExitCode.STORAGE_UNAVAILABLE,
        ExitCode.RAY_UNAVAILABLE,
        ExitCode.STOPPED,
    }
