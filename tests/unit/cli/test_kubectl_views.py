"""What `kubectl edgetran` shows of resources and nodes, and that nothing they lack breaks it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kubectl_world import NOW, a_condition, a_job, a_node, a_search, ago, printed

from edgetran.kubectl.boards_view import boards_of, boards_view
from edgetran.kubectl.cluster import NotFoundError, kind_of
from edgetran.kubectl.logs import readable
from edgetran.kubectl.reading import age, has_ended, results_name
from edgetran.kubectl.status_view import status_view


def screen(data: dict[str, Any], summary: dict[str, Any] | None = None, columns: int = 120) -> str:
    return printed(status_view(data, summary, NOW), columns)


def test_a_running_search_reads_at_a_glance() -> None:
    summary = {
        "progress": "8/12", "stage": "search", "timeLeftSeconds": 300, "updated": ago(45),
        "finished": False,
    }  # fmt: skip
    text = screen(a_search(), summary)
    assert "CoDesignSearch/tickets" in text
    assert "created 12m ago" in text
    assert "Running  trial 7 of 12 is training" in text
    assert "8/12" in text  # the worker's word is newer than the status
    assert "4:15 left" in text
    assert "6 succeeded, 1 failed" in text
    assert re.search(r"pi +measured +yes +4\.3%", text)
    best = next(line for line in text.splitlines() if line.strip().startswith("Best"))
    for figure in ("0.8123", "12.3 ms meas", "2,140,000", "0.7000"):
        assert figure in best
    assert sum(line.strip().startswith("Front") for line in text.splitlines()) == 1
    assert "14 candidates; 2 are shown" in text
    assert "tickets-cds-results-0" in text


def test_it_fits_a_narrow_terminal() -> None:
    text = screen(a_search(), columns=80)
    assert all(len(line) <= 80 for line in text.splitlines())


@pytest.mark.parametrize(
    ("conditions", "headline"),
    [
        ([("Stalled", "True", "NoMatchingNode", "no node is a pi"),
          ("Succeeded", "Unknown", "NoMatchingNode", "")], "NoMatchingNode  no node is a pi"),
        ([("Succeeded", "False", "ChildFailed", "it failed")], "ChildFailed  it failed"),
        ([("Succeeded", "True", "Succeeded", "all done")], "Succeeded  all done"),
        ([("Succeeded", "Unknown", "Suspended", ""), ("Suspended", "True", "Suspended", "held")],
         "Suspended  held"),
        ([], "the operator has not seen it"),
    ],
)  # fmt: skip
def test_the_headline_is_the_condition_that_matters(
    conditions: list[tuple[str, str, str, str]], headline: str
) -> None:
    data = a_search(conditions=[a_condition(*each) for each in conditions])
    assert headline in screen(data).splitlines()[1]


def test_a_profile_tells_costs_errors_and_what_is_not_predictable() -> None:
    job = a_job("pi", errors=[
        {"measure": "latencyMs", "error": 0.04},
        {"measure": "peakPowerW", "reason": "no better than a constant"},
    ], costs={"latencyMs": {"min": 2.5, "median": 8.25, "max": 40}},
    node="board-a", measured=23)  # fmt: skip
    text = screen(job)
    assert re.search(r"Latency +4\.0%", text)
    assert re.search(r"Peak power +not predictable +no better than a constant", text)
    assert re.search(r"Latency per sequence +2\.5 ms +8\.25 ms +40 ms", text)
    assert "Energy per sequence" not in text
    assert "Node: board-a" in text


@settings(deadline=None)
@given(summary=st.none() | st.dictionaries(
    st.sampled_from(["progress", "stage", "timeLeftSeconds", "updated", "finished"]),
    st.none() | st.text(max_size=10) | st.integers(0, 10**7) | st.booleans()))  # fmt: skip
def test_whatever_a_worker_says_is_shown_or_left_out(summary: dict[str, Any] | None) -> None:
    assert "CoDesignSearch/tickets" in screen(a_search(), summary)


def test_markup_in_a_message_is_text() -> None:
    data = a_search(conditions=[a_condition("Stalled", "True", "SpecInvalid", "[red]x[/] [bold")])
    assert "[red]x[/] [bold" in screen(data)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (119, "119s"), (120, "2m"), (7199, "119m"), (7200, "2h"), (200_000, "2d")],
)
def test_ages_are_as_kubectl_says_them(seconds: int, text: str) -> None:
    assert age(ago(seconds), NOW) == text


@pytest.mark.parametrize("status", ["True", "False"])
def test_work_has_ended_with_a_verdict_alone(status: str) -> None:
    assert has_ended(a_search(conditions=[a_condition("Succeeded", status, "X")]))
    assert not has_ended(a_search())


@pytest.mark.parametrize(
    ("word", "kind"),
    [("pj", "ProfilingJob"), ("cds", "CoDesignSearch"), ("GPTranRun", "GPTranRun"),
     ("gptranruns", "GPTranRun"), ("codesignsearches.edgetran.io", "CoDesignSearch")],
)  # fmt: skip
def test_kinds_are_called_as_kubectl_calls_them(word: str, kind: str) -> None:
    assert kind_of(word) == kind


def test_an_unknown_kind_is_answered_with_the_nearest() -> None:
    with pytest.raises(NotFoundError, match=r"profilejob: .*did you mean profilingjob\?.*\(pj\)"):
        kind_of("profilejob")


def test_names_of_results_follow_the_kind() -> None:
    assert results_name(a_job("pi"), 3) == "pi-pj-results-3"


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ('{"time": "2026-01-15T12:00:03.123+00:00", "level": "info", "message": "trial 3 began"}',
         "2026-01-15 12:00:03 trial 3 began"),
        ('{"time": "2026-01-15T12:00:03+00:00", "level": "warning", "message": "disk is full"}',
         "2026-01-15 12:00:03 WARNING disk is full"),
        ("plain words", "plain words"),
        ('{"message": "no time"}', '{"message": "no time"}'),
        ("[1]", "[1]"),
        ("", ""),
    ],
)  # fmt: skip
def test_a_workers_lines_are_read_by_people(line: str, text: str) -> None:
    assert readable(line) == text


def test_boards_tell_who_measures_and_who_waits_in_order() -> None:
    nodes = [
        a_node("board-b", "nano", ready=False, unschedulable=True),
        a_node("board-a", "pi", taints=[
            {"key": "edge", "value": "only", "effect": "NoSchedule"},
            {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"},
        ]),
    ]  # fmt: skip
    over = [a_condition("Succeeded", "True", "Succeeded")]
    held = [a_condition("Suspended", "True", "Suspended")]
    jobs = [
        a_job("third", created=10, namespace="other"),
        a_job("second", created=50),
        a_job("first", created=90, node="board-a"),
        a_job("done", created=95, node="board-a", conditions=over),
        a_job("held", created=99, conditions=held),
        a_job("elsewhere", device="tx2"),
    ]
    nano, pi = boards_of(nodes, jobs)
    assert (pi.node, pi.measuring, pi.queue) == (
        "board-a", "text/first", ("text/second", "other/third"),
    )  # fmt: skip
    assert pi.taints == ("edge=only:NoSchedule",)
    assert (pi.ready, pi.schedulable, pi.architecture) == (True, True, "arm64")
    assert (nano.ready, nano.schedulable, nano.measuring) == (False, False, "")
    text = printed(boards_view([nano, pi]))
    for word in ("not ready, cordoned", "text/first", "other/third", "free", "arm64"):
        assert word in text
    assert json.loads(json.dumps(pi.to_dict()))["queue"] == ["text/second", "other/third"]


def test_without_boards_it_says_how_to_name_them() -> None:
    assert "kubectl label node NODE edgetran.io/device=NAME" in printed(boards_view([]), 200)
