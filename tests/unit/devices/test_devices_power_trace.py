"""Energy within 1 % of the truth, peak power only where it can be known, never a silent number.

Sensors are simulated in virtual time: a true power function, a sensor that turns it into readings,
and polls with jitter.
"""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetran.devices.power import PowerTrace
from edgetran.devices.power.trace import MAX_PLAUSIBLE_W

FINE = np.arange(0, 40, 1e-4)
START, END = 2.0, 32.0
RNG = np.random.default_rng(0)


def ramp(t):
    return 2.0 + 0.2 * t


def bursts(t):
    """8 W for 0.3 s of every 0.71 s, 2.5 W otherwise, with a little noise of the load."""
    return np.where((t % 0.71) < 0.3, 8.0, 2.5) + 0.1 * np.sin(37 * t)


def steps(t):
    return np.select([t < 10, t < 11, t < 25], [3.0, 9.0, 4.0], 3.5) + 0.05 * np.sin(11 * t)


TRUTHS = [ramp, bursts, steps]


def true_energy(power, start=START, end=END):
    t = np.arange(start, end, 1e-4) + 5e-5
    return float(power(t).mean() * (end - start))


def polls(interval=0.01, until=36.0):
    t = np.arange(0, until, interval)
    return np.sort(t + RNG.uniform(-0.1, 0.1, len(t)) * interval)


def held(power, period, times, average=0.0):
    """A sensor that updates every `period` with the mean over the last `average` seconds."""
    updates = np.floor(times / period) * period
    if average == 0:
        return power(updates)
    totals = np.concatenate([[0.0], np.cumsum(power(FINE)) * 1e-4])
    at = lambda t: np.interp(t, np.append(FINE, FINE[-1] + 1e-4), totals)  # noqa: E731
    return (at(updates) - at(np.maximum(updates - average, 0))) / np.minimum(
        average, np.maximum(updates, 1e-4)
    )


def counted(power, period, times):
    totals = np.concatenate([[0.0], np.cumsum(power(FINE)) * 1e-4])
    return np.interp(np.floor(times / period) * period, np.append(FINE, 40.0), totals)


@pytest.mark.parametrize("power", TRUTHS)
@pytest.mark.parametrize("period", [0.001, 0.02, 0.1])
def test_energy_of_a_sensor_that_reads_the_moment(power, period):
    times = polls()
    trace = PowerTrace("power", times, held(power, period, times))
    energy = trace.energy_j(START, END)
    assert energy.value == pytest.approx(true_energy(power), rel=0.01)
    assert (energy.unit, energy.source) == ("J", "measured")


@pytest.mark.parametrize("power", TRUTHS)
@pytest.mark.parametrize("average", [0.1, 0.5])
def test_energy_of_a_sensor_that_averages(power, average):
    times = polls()
    trace = PowerTrace("power", times, held(power, 0.1, times, average))
    assert trace.energy_j(START, END).value == pytest.approx(true_energy(power), rel=0.01)


@pytest.mark.parametrize("power", TRUTHS)
def test_energy_of_a_sensor_that_sees_a_quarter_of_the_time(power):
    times = polls()
    trace = PowerTrace("power", times, held(power, 0.1, times, average=0.025))
    assert trace.energy_j(START, END).value == pytest.approx(true_energy(power), rel=0.01)


@pytest.mark.parametrize("power", TRUTHS)
@pytest.mark.parametrize("period", [0.001, 0.02, 0.1, 0.5])
def test_energy_of_a_counter(power, period):
    times = polls()
    trace = PowerTrace("energy", times, counted(power, period, times))
    assert trace.energy_j(START, END).value == pytest.approx(true_energy(power), rel=0.01)


def test_the_edges_of_the_window_are_interpolated():
    times = np.array([0.0, 0.4, 0.8, 1.2, 1.6, 2.0])
    trace = PowerTrace("power", times, 10 * times)
    assert trace.energy_j(0.5, 1.0).value == pytest.approx(10 * (1.0**2 - 0.5**2) / 2)
    counter = PowerTrace("energy", times, 5 * times)
    assert counter.energy_j(0.5, 1.1).value == pytest.approx(3.0)


def test_a_steady_stretch_between_updates_is_held_not_ramped_through():
    times = np.arange(0, 12, 0.01)
    steady = (times >= 4.0) & (times < 5.9)
    values = 5 + 0.001 * np.floor(times / 0.1)  # shows the period of 100 ms
    values[steady] = values[steady][0]
    values[(times >= 5.9) & (times < 6.9)] += 5
    trace = PowerTrace("power", times, values)
    truth = 5.06 * 4.5 + 5
    assert trace.energy_j(4.0, 8.5).value == pytest.approx(truth, rel=0.005)


@pytest.mark.parametrize("period", [0.001, 0.02, 0.1, 0.25])
def test_the_update_period_is_found_by_measurement(period):
    times = polls()
    trace = PowerTrace("power", times, held(bursts, period, times))
    assert trace.update_period_s == pytest.approx(max(period, 0.01), rel=0.05)


def test_equal_updates_do_not_hide_the_period():
    times = polls()
    values = held(ramp, 0.05, times)
    coarse = np.where(times % 3 < 1, np.round(values), values)
    trace = PowerTrace("power", times, coarse)
    assert trace.update_period_s == pytest.approx(0.05, rel=0.05)


def test_peak_power_is_the_highest_mean_over_the_window():
    times = polls()
    power = lambda t: np.where((t > 10) & (t < 10.25), 20.0, 4.0) + 0.01 * np.sin(90 * t)  # noqa: E731
    for quantity, sensor in (("power", held), ("energy", counted)):
        trace = PowerTrace(quantity, times, sensor(power, 0.001, times))
        assert trace.peak_power_w(START, END).value == pytest.approx(20.0, rel=0.01)
        assert trace.peak_power_w(START, END, window_s=1.0).value == pytest.approx(8.0, rel=0.03)


def test_a_burst_shorter_than_the_window_is_averaged_into_it():
    times = polls()
    power = lambda t: np.where((t > 10) & (t < 10.05), 20.0, 4.0) + 0.01 * np.sin(90 * t)  # noqa: E731
    counter = PowerTrace("energy", times, counted(power, 0.001, times))
    assert counter.peak_power_w(START, END).value == pytest.approx(12.0, rel=0.02)


def test_peak_power_outside_the_window_does_not_count():
    times = polls()
    power = lambda t: np.where((t > 1) & (t < 1.5), 50.0, 4.0) + 0.01 * np.sin(90 * t)  # noqa: E731
    trace = PowerTrace("power", times, held(power, 0.001, times))
    assert trace.peak_power_w(START, END).value == pytest.approx(4.0, rel=0.01)


@pytest.mark.parametrize("quantity", ["power", "energy"])
def test_peak_power_is_refused_where_the_sensor_is_slower_than_the_window(quantity):
    times = polls()
    sensor = held if quantity == "power" else counted
    trace = PowerTrace(quantity, times, sensor(bursts, 0.25, times))
    peak = trace.peak_power_w(START, END)
    assert peak.value is None
    assert re.search(
        r"update period \(2(49|50|51) ms\) is longer than the averaging window of 100 ms",
        peak.reason,
    )
    assert trace.energy_j(START, END).value is not None
    assert trace.peak_power_w(START, END, window_s=0.5).value is not None


def test_peak_power_is_refused_where_polling_is_slower_than_the_window():
    times = polls(interval=0.3)
    trace = PowerTrace("power", times, bursts(times))
    assert "longer than the averaging window" in trace.peak_power_w(START, END).reason


def test_a_run_shorter_than_the_window_has_no_peak():
    times = polls()
    trace = PowerTrace("power", times, bursts(times))
    assert "shorter than the averaging window" in trace.peak_power_w(3.0, 3.05).reason
    assert trace.energy_j(3.0, 3.05).value is not None


@pytest.mark.parametrize("quantity", ["power", "energy"])
@pytest.mark.parametrize("last_s", [0.0, 15.0, 28.0])
def test_a_sensor_that_stalls_gives_no_energy(quantity, last_s):
    times = polls()
    sensor = held if quantity == "power" else counted
    values = sensor(bursts, 0.05, np.minimum(times, last_s))
    trace = PowerTrace(quantity, times, values)
    for figure in (trace.energy_j(START, END), trace.peak_power_w(START, END)):
        assert figure.value is None
        assert "stalled" in figure.reason


def test_a_stall_before_the_window_does_no_harm():
    times = polls()
    trace = PowerTrace("power", times, held(bursts, 0.05, np.maximum(times, 5.0)))
    assert trace.energy_j(2.0, 9.0).value is None
    assert trace.energy_j(6.0, 26.0).value == pytest.approx(
        true_energy(bursts, 6.0, 26.0), rel=0.01
    )


@pytest.mark.parametrize("quantity", ["power", "energy"])
def test_a_sensor_that_vanishes_gives_no_energy_and_the_sensors_own_words(quantity):
    times = polls()
    kept = times < 20
    sensor = held if quantity == "power" else counted
    trace = PowerTrace(
        quantity,
        times[kept],
        sensor(bursts, 0.02, times)[kept],
        failures=tuple((float(t), "hwmon: in1_input: no such device") for t in times[~kept]),
    )
    for figure in (trace.energy_j(START, END), trace.peak_power_w(START, END)):
        assert figure.value is None
        assert "no reading for" in figure.reason
        assert "in1_input: no such device" in figure.reason
    assert trace.energy_j(START, 18.0).value is not None


def test_a_gap_in_the_middle_gives_no_energy_but_a_missed_reading_does():
    times = polls()
    values = held(bursts, 0.02, times)
    missed = np.ones(len(times), bool)
    missed[1500] = False
    assert PowerTrace("power", times[missed], values[missed]).energy_j(START, END).value
    gap = (times < 14) | (times > 15)
    assert (
        "no reading for 1.0 s"
        in PowerTrace("power", times[gap], values[gap]).energy_j(START, END).reason
    )


def test_a_window_beyond_the_readings_is_refused():
    times = polls()
    trace = PowerTrace("power", times, bursts(times))
    assert "no reading for" in trace.energy_j(30.0, 39.0).reason
    assert "no reading for" in trace.energy_j(-3.0, 5.0).reason
    assert "is empty" in trace.energy_j(5.0, 5.0).reason


def test_no_readings_at_all_are_a_reason():
    empty = PowerTrace("power", np.array([]), np.array([]), failures=((3.0, "reads 'ERR'"),))
    assert empty.energy_j(2.0, 4.0).reason == "the sensor gave no readings: reads 'ERR'"
    assert empty.update_period_s is None
    assert empty.updates(0, 10) == 0


def test_a_counter_that_lost_count_within_the_window_gives_no_energy():
    times = polls()
    trace = PowerTrace(
        "energy", times, counted(bursts, 0.02, times), resets=((12.0, "went back by 5 J"),)
    )
    assert trace.energy_j(START, END).reason == "went back by 5 J"
    assert trace.energy_j(13.0, END).value is not None


def test_a_counter_that_leaps_is_garbage():
    times = polls()
    values = counted(bursts, 0.02, times)
    values[times > 12] += 100 * MAX_PLAUSIBLE_W
    trace = PowerTrace("energy", times, values)
    assert "rose faster than" in trace.energy_j(START, END).reason


def test_a_window_shorter_than_the_sensors_period_is_refused():
    times = polls()
    trace = PowerTrace("power", times, held(bursts, 0.5, times))
    assert "the window of 200 ms is shorter than the sensor's" in trace.energy_j(5.0, 5.2).reason


def test_updates_are_counted_not_polls():
    times = polls()
    trace = PowerTrace("power", times, held(bursts, 0.1, times))
    assert trace.updates(10, 20) == pytest.approx(100, abs=2)


@settings(max_examples=60, deadline=None)
@given(
    knots=st.lists(st.floats(0.5, 30), min_size=8, max_size=20),
    start=st.floats(0.6, 3.0),
    length=st.floats(0.5, 3.0),
)
def test_piecewise_linear_power_is_integrated_exactly(knots, start, length):
    """Trapezoids between the readings of a piecewise linear power leave no error."""
    moments = np.linspace(0, 8, len(knots))
    times = np.unique(np.concatenate([moments, np.arange(0, 8, 0.05)]))
    values = np.interp(times, moments, knots) + 1e-7 * np.arange(len(times))
    fine = np.linspace(start, start + length, 20001)
    truth = np.trapezoid(np.interp(fine, times, values), fine)
    trace = PowerTrace("power", times, values)
    assert trace.energy_j(start, start + length).value == pytest.approx(truth, rel=1e-4)


@settings(max_examples=60, deadline=None)
@given(start=st.floats(1, 10), middle=st.floats(1, 10), end=st.floats(1, 10))
def test_energy_adds_up_over_neighbouring_windows_and_bounds_the_peak(start, middle, end):
    times = np.arange(0, 36, 0.01)
    a, b, c = start, start + middle, start + middle + end
    for quantity, sensor in (("power", held), ("energy", counted)):
        trace = PowerTrace(quantity, times, sensor(bursts, 0.02, times))
        whole = trace.energy_j(a, c).value
        parts = trace.energy_j(a, b).value + trace.energy_j(b, c).value
        assert parts == pytest.approx(whole, rel=1e-9)
        peak = trace.peak_power_w(a, c).value
        assert peak >= whole / (c - a) - 1e-9
        assert peak >= trace.peak_power_w(a, c, window_s=1.0).value - 1e-6
