"""The measuring protocol: what is done, in which order, to get figures that can be trusted.

One run of one loaded model:

1. Inference alone is timed, in a warm process, on tokenised inputs; the time from loading to the
   first output (cold start) is a figure of its own.
2. Warm up until the medians of successive windows differ by less than 1 %, or the mode's time
   for it is over; at least 5 iterations.
3. Time the window of the mode: so many seconds and so many iterations, whichever is later.
4. Power comes from the same run, on the same clock (`time.monotonic`), by `PowerMonitor`.
5. Idle power is measured before and after; energy is given gross and idle-subtracted. Peak power
   has a named averaging window and is refused where the sensor is too slow for it.
6. Conditions are read before and after. A run whose windows drift by more than the mode's limit
   is repeated, then reported as unstable. Outliers are flagged; every sample is kept.
7. Between runs the device cools down to where it started, where it has a temperature sensor.
   (`edgetran.profiling.measuring` runs the candidates in random order.)
8. Statistics are median, IQR, p90, p99, coefficient of variation and n.

MLPerf Inference (Reddi et al., ISCA 2020) sets the lengths of `reference`.
"""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgetran.devices import PowerMonitor, PowerReading, PowerSource
from edgetran.devices.power.trace import PEAK_WINDOW_S
from edgetran.profiling.statistics import drift

Array = NDArray[np.float64]

WARM_UP_DRIFT: Final = 0.01
WARM_UP_ITERATIONS: Final = 5
IDLE_SETTLE_S: Final = 0.05
"""Pause after a run before idle power is measured: caches and queues drain."""


@dataclass(frozen=True)
class Mode:
    """How long and how strictly to measure.

    Attributes:
        name: how resources call it.
        seconds: shortest timed window, s.
        iterations: fewest timed iterations.
        warm_up_seconds: longest warm-up, s.
        idle_seconds: idle before and after each run, s, where there is a power source.
        drift_limit: largest difference between windows' medians of a stable run.
        attempts: runs made before one is reported as unstable.
        patience_seconds: no run is repeated after this time: a model that is slow for the mode
            is reported as it is.
        cool_down_seconds: longest wait for the device to cool down, s.
        cool_down_kelvin: how far above its temperature at the start the device may be.
        pause_seconds: wait between runs in any case, s.
        peak_window_seconds: averaging window of peak power, s.
    """

    name: str
    seconds: float
    iterations: int
    warm_up_seconds: float
    idle_seconds: float
    drift_limit: float
    attempts: int
    patience_seconds: float
    cool_down_seconds: float
    cool_down_kelvin: float = 3.0
    pause_seconds: float = 0.0
    peak_window_seconds: float = PEAK_WINDOW_S


MODES: Final = {
    mode.name: mode
    for mode in (
        Mode("quick", 1.0, 10, 0.4, 0.25, 0.10, 2, 3.0, 1.0),
        Mode("standard", 10.0, 100, 20.0, 3.0, 0.05, 3, 120.0, 60.0),
        Mode("reference", 600.0, 1024, 60.0, 30.0, 0.02, 3, 7200.0, 300.0),
    )
}
"""The modes by name, the least trustworthy first."""


@dataclass(frozen=True)
class Attempt:
    """One timed window.

    Attributes:
        starts_s: (n,) moments of `time.monotonic` at which the iterations began.
        durations_s: (n,) their durations.
        warm_up_s: (m,) durations of the iterations before the window.
        settled: whether the warm-up reached its limit of drift.
        end_s: when the window ended.
    """

    starts_s: Array
    durations_s: Array
    warm_up_s: Array
    settled: bool
    end_s: float

    @property
    def begun_s(self) -> float:
        """When its warm-up began."""
        return float(self.starts_s[0] - self.warm_up_s.sum())

    @property
    def drift(self) -> float:
        """Largest difference between the medians of successive windows."""
        return drift(self.durations_s)


@dataclass(frozen=True)
class ProtocolRun:
    """Everything one model's measurement brought.

    Attributes:
        attempts: all timed windows, in order.
        best: index of the attempt with the least drift, the one that is reported.
        stable: whether that drift is within the mode's limit.
        power: power over the reported window.
        idle_before: power while idle before all attempts; None where nothing senses power.
        idle_after: the same after the last attempt.
        power_readings: (k, 2) moments and readings of the sensor over the whole run.
    """

    attempts: tuple[Attempt, ...]
    best: int
    stable: bool
    power: PowerReading
    idle_before: PowerReading | None
    idle_after: PowerReading | None
    power_readings: Array

    @property
    def reported(self) -> Attempt:
        """The attempt whose figures are reported."""
        return self.attempts[self.best]


def run_protocol(
    once: Callable[[], object], *, mode: Mode, power_source: PowerSource
) -> ProtocolRun:
    """Measure repeated calls of `once`, one batch each, by the protocol above.

    Args:
        once: runs one batch and returns when its result is there.
        mode: how long and how strictly.
        power_source: what senses power; `edgetran.devices.best_power_source()` finds one, or
            stands for none with the reason.
    """
    with PowerMonitor(power_source) as monitor:
        senses = monitor.unavailable is None
        idle_before = _idle(monitor, mode) if senses else None
        attempts = [_attempt(once, mode)]
        deadline = attempts[0].begun_s + mode.patience_seconds
        while (
            attempts[-1].drift > mode.drift_limit
            and len(attempts) < mode.attempts
            and time.monotonic() < deadline
        ):
            attempts.append(_attempt(once, mode))
        best = int(np.argmin([attempt.drift for attempt in attempts]))
        reported = attempts[best]
        # Read before idling on: the monitor only waits for the first reading past the window.
        power = monitor.reading(
            float(reported.starts_s[0]),
            reported.end_s,
            peak_window_s=mode.peak_window_seconds,
        )
        idle_after = _idle(monitor, mode) if senses else None
        trace = monitor.trace()
    return ProtocolRun(
        attempts=tuple(attempts),
        best=best,
        stable=reported.drift <= mode.drift_limit,
        power=power,
        idle_before=idle_before,
        idle_after=idle_after,
        power_readings=np.stack([trace.times, trace.values], axis=1),
    )


def cool_down(
    temperature_c: Callable[[], float | None], *, start_c: float | None, mode: Mode
) -> float:
    """Wait until the device is near the temperature `start_c`, or long enough; seconds waited."""
    begun = time.monotonic()
    time.sleep(mode.pause_seconds)
    while start_c is not None and time.monotonic() - begun < mode.cool_down_seconds:
        now_c = temperature_c()
        if now_c is None or now_c <= start_c + mode.cool_down_kelvin:
            break
        time.sleep(min(0.2, mode.cool_down_seconds))
    return time.monotonic() - begun


def _attempt(once: Callable[[], object], mode: Mode) -> Attempt:
    warm_up, settled = _warm_up(once, mode)
    starts: list[float] = []
    durations: list[float] = []
    clock = time.monotonic  # the one that power is sampled on
    with _no_collection():
        begun = before = clock()
        while len(durations) < mode.iterations or before - begun < mode.seconds:
            once()
            after = clock()
            starts.append(before)
            durations.append(after - before)
            before = after
    return Attempt(np.array(starts), np.array(durations), warm_up, settled, before)


def _warm_up(once: Callable[[], object], mode: Mode) -> tuple[Array, bool]:
    """Durations until two successive windows' medians agree, and whether they did."""
    durations: list[float] = []
    begun = time.monotonic()
    while True:
        before = time.monotonic()
        once()
        durations.append(time.monotonic() - before)
        count = len(durations)
        if count >= 2 * WARM_UP_ITERATIONS and count % WARM_UP_ITERATIONS == 0:
            earlier = np.median(durations[-2 * WARM_UP_ITERATIONS : -WARM_UP_ITERATIONS])
            later = np.median(durations[-WARM_UP_ITERATIONS:])
            if abs(later / earlier - 1) < WARM_UP_DRIFT:
                return np.array(durations), True
        late = time.monotonic() - begun > mode.warm_up_seconds
        if late and count >= WARM_UP_ITERATIONS:
            return np.array(durations), False


def _idle(monitor: PowerMonitor, mode: Mode) -> PowerReading:
    time.sleep(IDLE_SETTLE_S)
    start = time.monotonic()
    time.sleep(mode.idle_seconds)
    return monitor.reading(start, time.monotonic())


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Keep Python's garbage collector out of the timed window."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
