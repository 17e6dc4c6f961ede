import dataclasses
import time
from typing import Literal

import numpy as np
import pytest

from edgetran.devices import PowerSource, SensorError
from edgetran.profiling import Mode
from edgetran.profiling.protocol import MODES, cool_down, run_protocol

SHORT = Mode(
    "quick",
    seconds=0.1,
    iterations=10,
    warm_up_seconds=0.1,
    idle_seconds=0.3,
    drift_limit=0.5,
    attempts=3,
    patience_seconds=30.0,
    cool_down_seconds=0.2,
)
BUSY_W, IDLE_W = 12.0, 4.0


class NoSensor(PowerSource):
    name = "none"
    quantity: Literal["power", "energy"] = "power"

    def available(self):
        return "nothing senses power here"


class Meter(PowerSource):
    """An energy counter of known truth: so many watts while busy, fewer while idle."""

    name = "meter"
    quantity: Literal["power", "energy"] = "energy"

    def __init__(self, dies_after: int | None = None):
        self.truth: list[tuple[float, float]] = []
        self.busy = False
        self.readings = 0
        self.dies_after = dies_after
        self._total, self._last = 0.0, time.monotonic()

    def available(self):
        return None

    def _advance(self):
        now = time.monotonic()
        self._total += (BUSY_W if self.busy else IDLE_W) * (now - self._last)
        self._last = now
        self.truth.append((now, self._total))

    def work(self):
        self._advance()
        self.busy = True
        time.sleep(0.005)
        self._advance()
        self.busy = False

    def counter(self):
        self.readings += 1
        if self.dies_after is not None and self.readings > self.dies_after:
            raise SensorError("the meter is gone")
        self._advance()
        return self._total


def test_the_window_has_its_seconds_and_its_iterations():
    fast = run_protocol(lambda: time.sleep(0.001), mode=SHORT, power_source=NoSensor())
    assert fast.reported.end_s - fast.reported.starts_s[0] >= SHORT.seconds
    assert len(fast.reported.durations_s) > SHORT.iterations
    slow = run_protocol(lambda: time.sleep(0.03), mode=SHORT, power_source=NoSensor())
    assert len(slow.reported.durations_s) == SHORT.iterations
    assert slow.reported.durations_s.min() >= 0.03


def test_warm_up_is_apart_and_never_shorter_than_five_iterations():
    calls = []

    def once():
        calls.append(1)
        time.sleep(0.05 if len(calls) <= 3 else 0.002)

    run = run_protocol(once, mode=SHORT, power_source=NoSensor())
    assert len(run.attempts[0].warm_up_s) >= 5
    assert np.median(run.reported.durations_s) < 0.02
    total = sum(len(a.warm_up_s) + len(a.durations_s) for a in run.attempts)
    assert total == len(calls)


def test_a_steady_warm_up_settles_before_its_time_is_over():
    mode = Mode("quick", 0.05, 10, 20.0, 0.1, 1.0, 1, 30.0, 0.0)
    run = run_protocol(lambda: time.sleep(0.02), mode=mode, power_source=NoSensor())
    assert run.reported.settled
    assert run.reported.warm_up_s.sum() < 10


def test_an_unstable_run_is_repeated_then_marked_and_every_sample_is_kept():
    calls = []

    def slower_and_slower():
        calls.append(1)
        time.sleep(0.002 + 0.0005 * len(calls))

    mode = dataclasses.replace(SHORT, drift_limit=1e-3)
    run = run_protocol(slower_and_slower, mode=mode, power_source=NoSensor())
    assert not run.stable
    assert len(run.attempts) == SHORT.attempts
    assert run.reported.drift == min(attempt.drift for attempt in run.attempts)
    assert all(len(attempt.durations_s) >= SHORT.iterations for attempt in run.attempts)


def test_a_model_too_slow_for_the_mode_is_not_repeated():
    mode = dataclasses.replace(SHORT, drift_limit=0.0, patience_seconds=0.05)
    run = run_protocol(lambda: time.sleep(0.01), mode=mode, power_source=NoSensor())
    assert len(run.attempts) == 1
    assert not run.stable


def test_energy_and_idle_power_come_from_the_same_run_on_one_clock():
    mode = Mode("quick", 1.0, 10, 0.1, 0.5, 1.0, 1, 30.0, 0.0)
    for _ in range(5):  # a busy machine leaves gaps between readings, of which no energy is made
        meter = Meter()
        run = run_protocol(meter.work, mode=mode, power_source=meter)
        if run.power.energy_j.value is not None:
            break
    window_s = run.reported.end_s - run.reported.starts_s[0]
    assert run.power.duration_s == pytest.approx(window_s)
    moments, joules = np.array(meter.truth).T
    before, after = np.interp([run.reported.starts_s[0], run.reported.end_s], moments, joules)
    assert run.power.energy_j.value == pytest.approx(after - before, rel=0.02)
    assert run.power.mean_power_w.value > 2 * IDLE_W
    for idle in (run.idle_before, run.idle_after):
        assert idle.mean_power_w.value == pytest.approx(IDLE_W, rel=0.1)
    moments = run.power_readings[:, 0]
    assert moments[0] < run.reported.starts_s[0] < run.reported.end_s < moments[-1]


def test_without_a_sensor_figures_are_null_and_no_time_is_spent_on_idling():
    begun = time.monotonic()
    mode = Mode("quick", 0.01, 10, 0.01, 60.0, 100.0, 1, 30.0, 0.0)
    run = run_protocol(lambda: time.sleep(0.001), mode=mode, power_source=NoSensor())
    assert time.monotonic() - begun < 30
    assert run.idle_before is run.idle_after is None
    assert run.power.energy_j.value is None
    assert run.power.energy_j.reason == "nothing senses power here"


def test_a_sensor_that_disappears_spoils_the_energy_and_not_the_latency():
    meter = Meter(dies_after=60)
    mode = Mode("quick", 1.5, 10, 0.1, 0.2, 100.0, 1, 30.0, 0.0)
    run = run_protocol(meter.work, mode=mode, power_source=meter)
    assert run.power.energy_j.value is None
    assert "the meter is gone" in run.power.energy_j.reason
    assert len(run.reported.durations_s) > 10


def test_cooling_down_ends_when_cool_or_when_patience_ends():
    readings = iter([60.0, 55.0, 41.0, 99.0])
    mode = Mode("quick", 1, 1, 1, 1, 1, 1, 1, cool_down_seconds=30.0)
    assert cool_down(lambda: next(readings), start_c=40.0, mode=mode) < 5
    assert next(readings) == 99.0
    assert cool_down(lambda: 90.0, start_c=40.0, mode=SHORT) >= SHORT.cool_down_seconds
    assert cool_down(lambda: None, start_c=40.0, mode=mode) < 1
    assert cool_down(lambda: 90.0, start_c=None, mode=mode) < 1


def test_the_modes_have_the_lengths_that_they_promise():
    lengths = {name: (mode.seconds, mode.iterations) for name, mode in MODES.items()}
    assert lengths["quick"] == (1.0, 10)
    assert lengths["standard"] == (10.0, 100)
    assert lengths["reference"][0] == 600.0
