"""From readings at moments to energy and peak power over a window, or the reason why not.

All moments are seconds of `time.monotonic`. A reading that did not change is not an update: the
period of the updates is found from the changes, and integration runs over the updates.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from edgetran.devices.figures import Figure
from edgetran.devices.power.source import MAX_PLAUSIBLE_W

Floats = NDArray[np.float64]

PEAK_WINDOW_S: Final = 0.1
"""Default averaging window of peak power."""

STALL_S: Final = 2.0
"""A sensor whose reading stays exactly equal for this long, and for `STALL_UPDATES` of its own
periods, is taken to have stalled: a live one carries noise."""

STALL_UPDATES: Final = 20

GAP_S: Final = 0.5
"""Readings further apart than this, and than `GAP_READINGS` usual intervals, leave a gap over
which no energy is claimed."""

GAP_READINGS: Final = 5

PERIOD_SPAN: Final = 8
"""Changes over which the update period is averaged."""

PERIOD_TOLERANCE: Final = 1.05
"""A sensor of nominally 100 ms, timed by polling, may show a period of a few per cent more."""


@dataclass(frozen=True, eq=False)
class PowerTrace:
    """Readings of one source.

    Attributes:
        quantity: "power": values in W; "energy": values in J that never decrease.
        times: (n,) moments of the readings, s, increasing.
        values: (n,) readings.
        failures: moments and reasons of failed readings.
        resets: moments and reasons at which an energy counter lost count.
    """

    quantity: Literal["power", "energy"]
    times: Floats
    values: Floats
    failures: tuple[tuple[float, str], ...] = ()
    resets: tuple[tuple[float, str], ...] = ()

    @cached_property
    def poll_interval_s(self) -> float:
        """Median time between readings; 0 for fewer than two."""
        return float(np.median(np.diff(self.times))) if len(self.times) > 1 else 0.0

    @cached_property
    def _changes(self) -> NDArray[np.intp]:
        """Indices of the readings that differ from the one before."""
        return np.flatnonzero(np.diff(self.values)) + 1

    @cached_property
    def _change_times(self) -> Floats:
        """When each change became visible: between two polls, unless every poll shows one."""
        at = self.times[self._changes]
        if self._changes_at_every_poll:
            return at
        return (at + self.times[self._changes - 1]) / 2

    @property
    def _changes_at_every_poll(self) -> bool:
        return len(self._changes) > 0.75 * (len(self.times) - 1)

    @cached_property
    def update_period_s(self) -> float | None:
        """How often the sensor brings a new value, as seen from here; None below three changes.

        Polling blurs the moment of a change by up to one poll, and updates that bring an equal
        value are invisible: so the mean interval over `PERIOD_SPAN` changes is taken where the
        changes lie closest.
        """
        count = len(self._changes)
        if count < 3:
            return None
        span = min(PERIOD_SPAN, count - 1)
        moments = self._change_times
        return float(np.quantile((moments[span:] - moments[:-span]) / span, 0.25))

    def updates(self, start_s: float, end_s: float) -> int:
        """Number of updates seen in the window."""
        return int(np.sum((self._change_times >= start_s) & (self._change_times <= end_s)))

    def why_no_energy(self, start_s: float, end_s: float) -> str | None:
        """Why no energy can be claimed for the window; None where it can."""
        if not end_s > start_s:
            return f"the window from {start_s:.3f} s to {end_s:.3f} s is empty"
        failed = [reason for at, reason in self.failures if start_s - 1 <= at <= end_s + 1]
        because = f": {failed[-1]}" if failed else ""
        if len(self.times) < 2:
            return f"the sensor gave no readings{because}"
        gap = self._longest(self.times, start_s, end_s)
        if gap > max(GAP_S, GAP_READINGS * self.poll_interval_s):
            return f"the sensor gave no reading for {gap:.1f} s of the window{because}"
        for at, reason in self.resets:
            if start_s <= at <= end_s:
                return reason
        period = self.update_period_s
        if period is None:
            return f"the reading stayed at {self.values[-1]:g}: a stalled or too coarse sensor"
        stalled = self._longest(self._change_times, start_s, end_s)
        if stalled > max(STALL_S, STALL_UPDATES * period):
            return f"the reading did not change for {stalled:.1f} s of the window: a stalled sensor"
        if self._implausible_step(start_s, end_s):
            return f"the energy counter rose faster than {MAX_PLAUSIBLE_W:.0f} W"
        if end_s - start_s < period:
            return (
                f"the window of {(end_s - start_s) * 1e3:.0f} ms is shorter than the sensor's "
                f"period of {period * 1e3:.0f} ms"
            )
        return None

    def energy_j(self, start_s: float, end_s: float) -> Figure:
        """Energy over the window, J: trapezoids, or the counter's difference; edges interpolated.

        Null with the reason where `why_no_energy` has one.
        """
        reason = self.why_no_energy(start_s, end_s)
        if reason is not None:
            return Figure.missing("J", "measured", reason)
        before, after = self._cumulative_j(np.array([start_s, end_s]))
        return Figure(float(after - before), "J", "measured")

    def peak_power_w(
        self, start_s: float, end_s: float, *, window_s: float = PEAK_WINDOW_S
    ) -> Figure:
        """The highest mean power over any `window_s` within the window, W.

        Null with the reason where the sensor updates slower than `window_s`.
        """
        reason = self.why_no_energy(start_s, end_s) or self._why_no_peak(start_s, end_s, window_s)
        if reason is not None:
            return Figure.missing("W", "measured", reason)
        knots = self._knots[0]
        starts = np.concatenate([[start_s, end_s - window_s], knots, knots - window_s])
        starts = starts[(starts >= start_s) & (starts <= end_s - window_s)]
        means = (self._cumulative_j(starts + window_s) - self._cumulative_j(starts)) / window_s
        return Figure(float(means.max()), "W", "measured")

    def _why_no_peak(self, start_s: float, end_s: float, window_s: float) -> str | None:
        period = self.update_period_s
        if period is None or period > window_s * PERIOD_TOLERANCE:
            found = "unknown" if period is None else f"{period * 1e3:.0f} ms"
            return (
                f"the sensor's update period ({found}) is longer than the averaging window of "
                f"{window_s * 1e3:.0f} ms"
            )
        if end_s - start_s < window_s:
            return f"the run is shorter than the averaging window of {window_s * 1e3:.0f} ms"
        return None

    def _longest(self, moments: Floats, start_s: float, end_s: float) -> float:
        """The longest part of the window between two neighbouring moments, s."""
        first = np.searchsorted(moments, start_s, side="right") - 1
        last = np.searchsorted(moments, end_s, side="left")
        inside = moments[max(first, 0) : last + 1]
        # Before the first and after the last moment nothing is known up to the window's edge.
        bounds = np.concatenate(
            [
                [start_s] if first < 0 else [],
                inside,
                [end_s] if last >= len(moments) else [],
            ]
        )
        return float(np.diff(bounds).max(initial=0.0))

    def _implausible_step(self, start_s: float, end_s: float) -> bool:
        if self.quantity == "power":
            return False
        inside = (self.times >= start_s) & (self.times <= end_s)
        steps, spans = np.diff(self.values[inside]), np.diff(self.times[inside])
        # A counter shows a whole update's energy at once, between two polls close together.
        spans = np.maximum(spans, self.update_period_s or 0.0)
        return bool(np.any(steps > MAX_PLAUSIBLE_W * spans))

    @cached_property
    def _knots(self) -> tuple[Floats, Floats]:
        """Moments and values between which the quantity is taken as linear."""
        if self._changes_at_every_poll:
            return self.times, self.values
        moments = np.concatenate([self.times[:1], self._change_times])
        values = np.concatenate([self.values[:1], self.values[self._changes]])
        if self.quantity == "energy":
            return _extend_counter(moments, values, self.times[0], self.times[-1])
        return _hold_steady_power(moments, values, self.times[-1], self.update_period_s or 0.0)

    def _cumulative_j(self, at: Floats) -> Floats:
        """Energy from the first knot to each moment, J; the outermost value holds outside."""
        moments, values = self._knots
        if self.quantity == "energy":
            return np.interp(at, moments, values)
        spans = np.diff(moments)
        totals = np.concatenate([[0.0], np.cumsum(spans * (values[1:] + values[:-1]) / 2)])
        segment = np.clip(np.searchsorted(moments, at, side="right") - 1, 0, len(moments) - 1)
        value_at = np.interp(at, moments, values)
        return totals[segment] + (at - moments[segment]) * (values[segment] + value_at) / 2


def _hold_steady_power(
    moments: Floats, values: Floats, end_s: float, period_s: float
) -> tuple[Floats, Floats]:
    """Where updates brought an equal value, hold it until one period before the next change."""
    following = np.append(moments[1:], end_s + period_s)
    held = following - moments > 1.5 * period_s
    all_moments = np.concatenate([moments, following[held] - period_s])
    all_values = np.concatenate([values, values[held]])
    order = np.argsort(all_moments, kind="stable")
    return all_moments[order], all_values[order]


def _extend_counter(
    moments: Floats, values: Floats, start_s: float, end_s: float
) -> tuple[Floats, Floats]:
    """Drop the first reading, whose age is unknown, and extend both ends by their slope."""
    moments, values = moments[1:], values[1:]
    if len(moments) < 2:
        return moments, values
    slopes = np.diff(values) / np.diff(moments)
    first = values[0] - slopes[0] * (moments[0] - start_s)
    last = values[-1] + slopes[-1] * (end_s - moments[-1])
    return (
        np.concatenate([[start_s], moments, [end_s]]),
        np.concatenate([[first], values, [last]]),
    )
