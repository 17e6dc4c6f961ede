import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_cases import WORKLOAD, AnalyticDevice

from edgetran.devices import Figure, HardwareFigures
from edgetran.search import (
    Bound,
    Constraints,
    InfeasibleSearchError,
    Measures,
    Objective,
    PairSpace,
    Range,
    SearchError,
    Weights,
    make_problem,
)

EQUAL = Weights(accuracy=0.5, latency=0.5, energy=0, peak_power=0)


def hardware(latency=10.0, energy=20.0, power=3.0, std=None):
    def figure(value, unit):
        if value is None:
            return Figure.missing(unit, "measured", "no power source")
        return Figure(value, unit, "predicted", std=std)

    return HardwareFigures(figure(latency, "ms"), figure(energy, "mJ"), figure(power, "W"))


def trained(accuracy=0.8, parameters=1000, std=None, **figures):
    return Measures(Figure(accuracy, "", "measured", std=std), hardware(**figures), parameters)


def over(sample, **options):
    """The objective over what a sample of architectures costs on each device."""
    rows = {
        device: [Measures.untrained(each, 1000) for each in figures]
        for device, figures in sample.items()
    }
    return Objective.over(rows, **options)


def test_the_published_form_is_reproduced_with_given_normalisers():
    objective = over(
        {"a": [hardware()]},
        normalisers={"latency_ms": 100, "energy_mj": 200, "peak_power_w": 30},
        scale="linear",
    )
    expected = 0.5 * 0.8 + 0.2 * (1 - 0.1) + 0.2 * (1 - 0.1) + 0.1 * (1 - 0.1)
    assert objective.value(trained()) == pytest.approx(expected)


def test_the_default_range_is_that_of_the_sample_on_all_devices():
    sample = {"a": [hardware(latency=2), hardware(latency=8)], "b": [hardware(latency=50)]}
    assert over(sample).ranges["latency_ms"] == Range(2, 50, "log")


def test_an_upper_bound_cuts_the_default_range():
    sample = {"a": [hardware(latency=2), hardware(latency=500)]}
    constraints = Constraints(latency_ms=Bound(maximum=20))
    assert over(sample, constraints=constraints).ranges["latency_ms"] == Range(2, 20, "log")


def test_a_device_without_a_reading_takes_the_term_from_every_device():
    sample = {
        "silent": [hardware(energy=None, power=None), hardware(9, None, None)],
        "metered": [hardware(), hardware(20, 90, 5)],
    }
    objective = over(sample)
    assert set(objective.ranges) == {"latency_ms"}
    assert "silent" in objective.left_out["energy_mj"]
    assert "no power source" in objective.left_out["energy_mj"]
    on_silent = objective.value(trained(energy=None, power=None))
    thrifty = objective.value(trained(energy=1.0, power=0.1))
    wasteful = objective.value(trained(energy=1e6, power=1e3))
    assert on_silent == thrifty == wasteful


def test_the_weight_of_a_term_left_out_goes_to_the_others_in_proportion():
    objective = over({"a": [hardware(energy=None, power=None), hardware(20, None, None)]})
    assert objective.effective_weight("accuracy") == pytest.approx(0.5 / 0.7)
    assert objective.effective_weight("latency_ms") == pytest.approx(0.2 / 0.7)
    assert objective.effective_weight("energy_mj") == 0


def test_a_single_candidate_without_a_reading_has_no_objective_value():
    objective = over({"a": [hardware(), hardware(20, 40, 5)]})
    assert objective.value(trained(energy=None)) is None
    assert "energy_mj" in objective.unknown(trained(energy=None))


def test_a_device_that_runs_nothing_takes_no_term_away():
    sample = {
        "too-small": [HardwareFigures.infeasible("simulated", "memory is short")],
        "a": [hardware(), hardware(20, 40, 5)],
    }
    assert set(over(sample).ranges) == {"latency_ms", "energy_mj", "peak_power_w"}


def test_a_weight_of_zero_needs_no_reading():
    weights = Weights(accuracy=1, latency=0, energy=0, peak_power=0)
    objective = over({"a": [hardware(None, None, None)]}, weights=weights)
    assert objective.value(trained()) == 0.8
    assert not objective.left_out


def test_no_term_left_is_refused_with_the_reason():
    weights = Weights(accuracy=0, latency=0, energy=1, peak_power=0)
    with pytest.raises(SearchError, match=r"energy_mj.*no power source"):
        over({"a": [hardware(energy=None)]}, weights=weights)


def test_uncertainty_is_apart_from_the_value():
    objective = over({"a": [hardware(0), hardware(10)]}, weights=EQUAL)
    certain, doubtful = trained(latency=5), trained(latency=5, std=0.1)
    assert objective.value(certain) == objective.value(doubtful)
    assert objective.std(certain) == 0
    assert objective.std(doubtful) == pytest.approx(0.05)
    both = Measures(Figure(0.8, "", "measured", std=0.1), hardware(5, std=2.0), 1)
    assert objective.std(both) == pytest.approx(math.hypot(0.05, 0.5 * 2 / 10))


@given(
    st.floats(0, 1),
    st.floats(0.1, 1e4),
    st.floats(0.1, 1e4),
    st.floats(0.001, 1e3),
)
def test_better_measures_never_lower_the_objective(accuracy, latency, energy, gain):
    objective = over({"a": [hardware(1, 2, 3), hardware(1000, 900, 30)]})
    base = objective.value(trained(accuracy, latency=latency, energy=energy))
    assert objective.value(trained(accuracy, latency=latency + gain, energy=energy)) < base
    assert objective.value(trained(accuracy + gain, latency=latency, energy=energy)) > base


def test_an_objective_survives_json():
    sample = {"a": [hardware(energy=None), hardware(30, None, 9)]}
    objective = over(sample, weights=Weights(accuracy=0.7, energy=0.1))
    assert Objective.from_dict(objective.to_dict()) == objective


@pytest.mark.parametrize("weights", [{"accuracy": -1}, {"latency": math.inf}])
def test_impossible_weights_are_refused(weights):
    with pytest.raises(SearchError, match="weights"):
        Weights(**weights)


def test_unknown_or_impossible_normalisers_are_refused():
    for normalisers in ({"latency": 1}, {"latency_ms": 0}, {"latency_ms": -3}):
        for scale in ("linear", "log"):
            with pytest.raises(SearchError, match="normaliser"):
                over({"a": [hardware()]}, normalisers=normalisers, scale=scale)
    with pytest.raises(SearchError, match=r"must be above the least of the design space, 10"):
        over({"a": [hardware()]}, normalisers={"latency_ms": 3})
    with pytest.raises(
        SearchError, match='scale: Unsupported value: "cubic": supported values: "log", "linear"'
    ):
        over({"a": [hardware()]}, scale="cubic")


def test_on_a_log_scale_half_of_a_cost_is_worth_the_same_everywhere():
    objective = over({"a": [hardware(1, 2, 3), hardware(1000, 900, 30)]})
    value = lambda latency: objective.value(trained(latency=latency))  # noqa: E731
    assert value(2) - value(4) == pytest.approx(value(400) - value(800))
    assert objective.value(trained(latency=1, energy=2, power=3)) == pytest.approx(0.4 + 0.5)
    assert math.isfinite(value(0.0))


def test_on_a_log_scale_one_slow_device_does_not_hide_what_differs_on_the_others():
    quick = [hardware(3.0), hardware(6.0)]
    weights = Weights(accuracy=0, latency=1, energy=0, peak_power=0)
    rows = {"quick": quick, "slow": [hardware(815_000.0)]}
    fast, half = trained(latency=3.0), trained(latency=6.0)
    linear, log = (over(rows, weights=weights, scale=scale) for scale in ("linear", "log"))
    assert linear.value(fast) - linear.value(half) < 1e-5
    assert log.value(fast) - log.value(half) > 0.05


def test_parameters_may_have_a_weight():
    weights = Weights(accuracy=0.5, latency=0, energy=0, peak_power=0, parameters=0.5)
    rows = [Measures.untrained(hardware(), size) for size in (1000, 100_000)]
    objective = Objective.over({"a": rows}, weights=weights)
    small, large = trained(parameters=1000), trained(parameters=100_000)
    assert objective.value(small) - objective.value(large) == pytest.approx(0.5)


def test_a_search_from_before_the_log_scale_is_read_as_it_was():
    data = {
        "weights": {"accuracy": 0.5, "latency": 0.5, "energy": 0.0, "peak_power": 0.0},
        "ranges": {"latency_ms": [0.0, 100.0]},
        "left_out": {},
    }
    objective = Objective.from_dict(data)
    assert objective.value(trained(latency=50)) == pytest.approx(0.5 * 0.8 + 0.25)
    assert objective.to_dict() == data


def test_contradictory_bounds_are_refused_by_name():
    with pytest.raises(
        SearchError, match=r"constraints\.latency_ms\.min: Invalid value: 5: must be at most max, 2"
    ):
        Constraints.from_mapping({"latency_ms": {"min": 5, "max": 2}})
    with pytest.raises(
        SearchError,
        match='Unsupported value: "latency": supported values: "accuracy", "latency_ms"',
    ):
        Constraints.from_mapping({"latency": {"max": 2}})
    with pytest.raises(
        SearchError, match='Unsupported value: "maximum": supported values: "min", "max"'
    ):
        Constraints.from_mapping({"latency_ms": {"maximum": 2}})


def test_violations_say_what_and_how_much():
    constraints = Constraints.from_mapping(
        {"latency_ms": {"max": 5}, "accuracy": {"min": 0.9}, "parameters": {"max": 2000}}
    )
    texts = constraints.violations(trained())
    assert texts == (
        "accuracy 0.8 is below the minimum 0.9",
        "latency_ms 10 ms is above the maximum 5",
    )
    assert constraints.excess(trained()) == pytest.approx(1.0 + 1 / 9)
    assert constraints.excess(trained(0.95, latency=5)) == 0


def test_an_unknown_measure_violates_its_bound_but_an_untrained_accuracy_does_not():
    constraints = Constraints.from_mapping({"energy_mj": {"max": 50}, "accuracy": {"min": 0.5}})
    untrained = Measures.untrained(hardware(energy=None), 10)
    (text,) = constraints.violations(untrained)
    assert "energy_mj is bounded but not known (no power source)" in text


def test_bounds_that_nothing_satisfies_are_found_before_any_training(pair_space):
    with pytest.raises(InfeasibleSearchError, match=r"latency_ms max 0.5: the least is 1\.\d+ "):
        make_problem(pair_space, constraints=Constraints(latency_ms=Bound(maximum=0.5)))


def test_bounds_that_exclude_each_other_name_the_nearest_candidate(pair_space):
    constraints = Constraints(latency_ms=Bound(maximum=1.7), accuracy=Bound(0.99), parameters=None)
    constraints = Constraints.from_mapping(
        constraints.to_dict() | {"peak_power_w": {"min": 10.0}, "parameters": {"max": 400_000}}
    )
    with pytest.raises(InfeasibleSearchError, match=r"none of .* sampled candidates on slow, fast"):
        make_problem(pair_space, constraints=constraints, samples=256)


def test_a_needle_in_the_haystack_is_found_by_descent(tiny):
    space = PairSpace(tiny, [AnalyticDevice("only", 0.5, 3.0)], WORKLOAD)
    least = 2.5884  # ms; hit by fewer than 1 in 1,000 random candidates
    problem = make_problem(
        space, constraints=Constraints(latency_ms=Bound(maximum=3.4)), samples=16
    )
    found = problem.sample(8, np.random.default_rng(0))
    assert len(found) == 8
    for measures in space.known(found):
        assert least <= measures.value("latency_ms") <= 3.4


def test_a_candidate_that_does_not_fit_the_device_is_infeasible_with_the_devices_reason(tiny):
    space = PairSpace(tiny, [AnalyticDevice("a", 0.5, 3.0, memory_mmac=30)], WORKLOAD)
    problem = make_problem(space)
    for candidate in space.sample(50, np.random.default_rng(0)):
        (assessment,) = problem.assess([candidate])
        if not space.known([candidate])[0].hardware.feasible:
            assert assessment.reason == "needs more memory than there is"
            break
    else:
        pytest.fail("the sample has no candidate that is too large")
