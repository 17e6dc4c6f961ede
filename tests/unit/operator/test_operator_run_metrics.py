"""What the operator's /metrics tell of each resource."""

from typing import Any

import pytest
from operator_world import World
from prometheus_client.metrics_core import Metric

from edgetran_operator.metrics.collector import _of_resources
from edgetran_operator.metrics.runs import device_nodes, run_metrics, state_of
from edgetran_operator.snapshot import NodeView


def samples(metrics: list[Metric], name: str) -> dict[tuple[str, ...], float]:
    """Values of one metric by the values of its labels."""
    (metric,) = (each for each in metrics if each.name == name)
    return {tuple(sample.labels.values()): sample.value for sample in metric.samples}


def told(status: dict[str, Any], kind: str = "CoDesignSearch") -> list[Metric]:
    world = World()
    key = world.apply(kind, "s")
    world.cache.resources[key].status = status
    return list(run_metrics(world.cache.resources.items(), world.cache.families))


def condition(type_: str, status: str, reason: str) -> dict[str, str]:
    return {"type": type_, "status": status, "reason": reason}


RUNNING = condition("Succeeded", "Unknown", "Running")


@pytest.mark.parametrize(
    ("conditions", "state"),
    [
        ([], ("waiting", "Pending")),
        ([RUNNING], ("running", "Running")),
        ([condition("Succeeded", "Unknown", "DeviceBusy")], ("waiting", "DeviceBusy")),
        (
            [
                condition("Succeeded", "Unknown", "NoMatchingNode"),
                condition("Stalled", "True", "NoMatchingNode"),
            ],
            ("stalled", "NoMatchingNode"),
        ),
        ([RUNNING, condition("Suspended", "True", "Suspended")], ("suspended", "Suspended")),
        ([RUNNING, condition("Suspended", "False", "Resumed")], ("running", "Running")),
        (
            [
                condition("Succeeded", "False", "ChildFailed"),
                condition("Stalled", "True", "ChildFailed"),
            ],
            ("failed", "ChildFailed"),
        ),
        ([condition("Succeeded", "True", "Succeeded")], ("succeeded", "Succeeded")),
    ],
)
def test_each_resource_has_one_state_with_its_reason(
    conditions: list[dict[str, str]], state: tuple[str, str]
) -> None:
    assert state_of({"conditions": conditions}) == state
    found = samples(told({"conditions": conditions}), "edgetran_resource_state")
    assert found == {("CoDesignSearch", "ns", "s", *state): 1}


def test_progress_is_told_in_steps() -> None:
    metrics = told({"progress": "23/64", "failures": 2})
    run = ("CoDesignSearch", "ns", "s")
    assert samples(metrics, "edgetran_resource_steps_done") == {run: 23}
    assert samples(metrics, "edgetran_resource_steps") == {run: 64}
    assert samples(metrics, "edgetran_resource_failures") == {run: 2}
    nothing = told({})
    assert samples(nothing, "edgetran_resource_steps") == {}
    assert samples(nothing, "edgetran_resource_failures") == {run: 0}


def test_the_front_has_a_point_for_each_candidate_in_base_units() -> None:
    front = [
        {
            "id": 7,
            "device": "pi",
            "accuracy": 0.8,
            "latencyMs": {"value": 5.0, "source": "measured"},
            "energyMj": {"source": "measured"},
            "peakPowerW": {"value": 3.0, "source": "predicted"},
        },
        {"id": 9, "device": "simulated", "accuracy": 0.9},
    ]
    metrics = told({"paretoFront": front})
    first = ("CoDesignSearch", "ns", "s", "0", "pi")
    second = ("CoDesignSearch", "ns", "s", "1", "simulated")
    assert samples(metrics, "edgetran_pareto_accuracy_ratio") == {first: 0.8, second: 0.9}
    assert samples(metrics, "edgetran_pareto_latency_seconds") == {first: pytest.approx(0.005)}
    assert samples(metrics, "edgetran_pareto_energy_joules") == {}
    assert samples(metrics, "edgetran_pareto_peak_power_watts") == {first: 3.0}


def test_medians_name_device_and_node_and_are_in_base_units() -> None:
    costs = {
        "latencyMs": {"min": 2.0, "median": 4.0, "max": 9.0},
        "energyMj": {"min": 10.0, "median": 30.0, "max": 31.0},
    }
    metrics = told({"costs": costs, "node": "board-a"}, "ProfilingJob")
    board = ("ns", "s", "pi", "board-a")
    for name, value in (("latency_seconds", 0.004), ("energy_joules", 0.03)):
        found = samples(metrics, f"edgetran_profiling_median_{name}")
        assert found == {board: pytest.approx(value)}
    assert samples(metrics, "edgetran_profiling_median_peak_power_watts") == {}


def test_whatever_a_worker_reports_its_run_has_the_same_few_series() -> None:
    """Over a year it may name any number of candidates and devices."""
    world = World()
    searched = world.apply("CoDesignSearch", "s")
    refined = world.apply("GPTranRun", "g")
    found = set()
    for turn in range(300):
        for key in (searched, refined):
            point = {"latencyMs": {"value": 5.0}, "accuracy": 0.5}
            front = [
                {"id": 10 * turn + place, "device": device, **point}
                for place, device in enumerate(["pi", "simulated", f"device-{turn}"])
            ]
            status = {"paretoFront": front, "best": {**front[turn % 3], "objective": 1.0}}
            world.cache.resources[key].status = status
        resources = list(world.cache.resources.items())
        for metric in _of_resources(resources, world.cache.families):
            found |= {
                (metric.name, *sample.labels.values())
                for sample in metric.samples
                if "pareto" in metric.name or "best" in metric.name
            }
    assert {each[-1] for each in found} == {"pi", "simulated"}
    assert {each[1:] for each in found if "pareto_latency" in each[0]} == {
        (*key, rank, device)
        for key in (searched, refined)
        for rank, device in (("0", "pi"), ("1", "simulated"))
    }


def test_results_are_told_by_the_parts_that_they_fill() -> None:
    def parts() -> dict[tuple[str, ...], float]:
        metrics = list(run_metrics(world.cache.resources.items(), world.cache.families))
        return samples(metrics, "edgetran_resource_results_parts")

    world = World()
    world.node("board", device="pi")
    key = world.apply("ProfilingJob", "s")
    world.settle()
    assert parts() == {tuple(key): 0}
    world.start_pods()
    world.report(key)
    world.settle()
    assert parts() == {tuple(key): 1}
    world.report(key, part=1)
    assert parts() == {tuple(key): 2}


def test_nodes_are_told_by_the_device_that_they_are() -> None:
    nodes = [
        NodeView("a", {"edgetran.io/device": "pi"}),
        NodeView("b", {"edgetran.io/device": "pi"}, ready=False),
        NodeView("c", {"edgetran.io/device": "jetson"}, schedulable=False),
        NodeView("server", {}),
    ]
    found = {tuple(sample.labels.values()): sample.value for sample in device_nodes(nodes).samples}
    assert found == {
        ("pi", "a", "ready"): 1,
        ("pi", "b", "not_ready"): 1,
        ("jetson", "c", "unschedulable"): 1,
    }
