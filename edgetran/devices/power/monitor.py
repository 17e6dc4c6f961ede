"""Samples a power source in the background at low cost, and reads windows off the samples."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import numpy as np

from edgetran.devices.figures import Figure
from edgetran.devices.power.source import (
    CounterResetError,
    PowerSource,
    reason_of,
    why_unavailable,
)
from edgetran.devices.power.trace import PEAK_WINDOW_S, PowerTrace

MIN_WINDOW_S: Final = 5.0
"""A shorter power window is reported, with a note that it was shorter."""

MIN_UPDATES: Final = 50
"""A window with fewer sensor updates is reported, with a note that it had fewer."""

MAX_DUTY: Final = 0.01
"""The share of one core that sampling may cost; a costly source is polled less often."""


@dataclass(frozen=True)
class PowerReading:
    """What a source says about one window.

    Attributes:
        source: the source's name.
        scope: what the figures cover.
        energy_j: energy, J, gross.
        mean_power_w: energy ÷ duration, W.
        peak_power_w: highest mean power over `peak_window_s`, W.
        peak_window_s: the averaging window of peak power.
        duration_s: length of the window.
        updates: sensor updates within it.
        update_period_s: the sensor's period as measured; None where it never changed.
        poll_interval_s: how often the monitor read it.
        model_based: True where the platform estimates power rather than senses it.
        notes: what a reader of the figures must know.
    """

    source: str
    scope: str
    energy_j: Figure
    mean_power_w: Figure
    peak_power_w: Figure
    peak_window_s: float
    duration_s: float
    updates: int
    update_period_s: float | None
    poll_interval_s: float
    model_based: bool
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        figures = ("energy_j", "mean_power_w", "peak_power_w")
        data: dict[str, Any] = {
            name: value for name, value in vars(self).items() if name not in figures
        }
        data["notes"] = list(self.notes)
        data.update({name: getattr(self, name).to_dict() for name in figures})
        return data


class PowerMonitor:
    """Reads a source on `time.monotonic` from entry to exit.

    A source that is not available, or fails later, leads to null figures with the reason, never
    to an error in the run that is being measured.

    Example:
        with PowerMonitor(best_power_source()) as monitor:
            start = time.monotonic()
            run()
            reading = monitor.reading(start, time.monotonic())
    """

    def __init__(self, source: PowerSource, *, interval_s: float = 0.01) -> None:
        """Prepare to read `source` every `interval_s`, or less often where reading is costly."""
        self.source = source
        self.interval_s = interval_s
        self.unavailable: str | None = None
        self._readings: list[tuple[float, float]] = []
        self._failures: list[tuple[float, str]] = []
        self._resets: list[tuple[float, str]] = []
        self._stop = threading.Event()
        self._fresh = threading.Condition()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.unavailable = why_unavailable(self.source)
        if self.unavailable is None:
            self.interval_s = max(
                self.interval_s, self.source.min_interval_s, self._cost_s() / MAX_DUTY
            )
            self._thread = threading.Thread(
                target=self._poll, name=f"power-{self.source.name}", daemon=True
            )
            self._thread.start()
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        with contextlib.suppress(Exception):  # what has been measured is not lost by it
            self.source.close()

    def trace(self) -> PowerTrace:
        """All readings so far."""
        readings = np.array(self._readings, dtype=np.float64).reshape(-1, 2)
        return PowerTrace(
            self.source.quantity,
            readings[:, 0],
            readings[:, 1],
            tuple(self._failures),
            tuple(self._resets),
        )

    def reading(
        self, start_s: float, end_s: float, *, peak_window_s: float = PEAK_WINDOW_S
    ) -> PowerReading:
        """Energy and power from `start_s` to `end_s` of `time.monotonic`.

        Waits at most a few intervals for the first reading after `end_s`.
        """
        self._await_reading_after(end_s)
        trace = self.trace()
        if self.unavailable is not None:
            energy = Figure.missing("J", "measured", self.unavailable)
            peak = Figure.missing("W", "measured", self.unavailable)
        else:
            energy = trace.energy_j(start_s, end_s)
            peak = self._peak(trace, start_s, end_s, peak_window_s)
        duration_s = end_s - start_s
        mean = (
            Figure.missing("W", "measured", energy.reason or "")
            if energy.value is None
            else Figure(energy.value / duration_s, "W", "measured")
        )
        updates = trace.updates(start_s, end_s)
        return PowerReading(
            source=self.source.name,
            scope=self.source.scope,
            energy_j=energy,
            mean_power_w=mean,
            peak_power_w=peak,
            peak_window_s=peak_window_s,
            duration_s=duration_s,
            updates=updates,
            update_period_s=trace.update_period_s,
            poll_interval_s=self.interval_s,
            model_based=self.source.model_based,
            notes=() if energy.value is None else self._notes(duration_s, updates),
        )

    def _peak(
        self, trace: PowerTrace, start_s: float, end_s: float, peak_window_s: float
    ) -> Figure:
        if self.source.coverage < 1:
            share = f"{self.source.coverage:.0%}"
            return Figure.missing("W", "measured", f"the sensor sees only {share} of the time")
        return trace.peak_power_w(start_s, end_s, window_s=peak_window_s)

    def _notes(self, duration_s: float, updates: int) -> tuple[str, ...]:
        notes = list(self.source.caveats)
        if duration_s < MIN_WINDOW_S:
            notes.append(f"the power window of {duration_s:.2f} s is shorter than {MIN_WINDOW_S} s")
        if updates < MIN_UPDATES:
            notes.append(f"the window holds {updates} sensor updates, fewer than {MIN_UPDATES}")
        if self.source.model_based:
            notes.append("the platform estimates this power by a model; nothing is sensed")
        if self.source.coverage < 1:
            notes.append(f"the sensor sees {self.source.coverage:.0%} of the time")
        return tuple(notes)

    def _cost_s(self) -> float:
        """Processor time of one reading, with that of the processes it starts; median of three."""
        costs = []
        for _ in range(3):
            before = _processor_s()
            self._read_once()
            costs.append(_processor_s() - before)
        return sorted(costs)[1]

    def _read_once(self) -> None:
        before = time.monotonic()
        try:
            value = self.source.read()
        except CounterResetError as error:
            self._resets.append((time.monotonic(), str(error)))
        except Exception as error:  # noqa: BLE001  a broken sensor never ends what is measured
            self._failures.append((time.monotonic(), reason_of(error)))
        else:
            self._readings.append(((before + time.monotonic()) / 2, value))

    def _poll(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            self._read_once()
            with self._fresh:
                self._fresh.notify_all()
            due = max(due + self.interval_s, time.monotonic())
            self._stop.wait(due - time.monotonic())

    def _await_reading_after(self, end_s: float) -> None:
        deadline = time.monotonic() + 3 * self.interval_s + 0.05
        with self._fresh:
            self._fresh.wait_for(
                lambda: (
                    self._thread is None
                    or (bool(self._readings) and self._readings[-1][0] >= end_s)
                ),
                timeout=max(0.0, deadline - time.monotonic()),
            )


def measure_update_period(source: PowerSource, *, seconds: float = 2.0) -> float | None:
    """The source's update period found by polling it for `seconds`; None where it never changes."""
    with PowerMonitor(source, interval_s=0.001) as monitor:
        time.sleep(seconds)
    return monitor.trace().update_period_s


def _processor_s() -> float:
    times = os.times()
    return time.thread_time() + times.children_user + times.children_system
