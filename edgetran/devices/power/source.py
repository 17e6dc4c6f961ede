"""The one interface of every power source: read watts, or read a counter of joules."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Final, Literal

MAX_PLAUSIBLE_W: Final = 20_000.0
"""More than any single machine draws (an eight-GPU server draws about 10 kW): a reading beyond
it is garbage."""


class SensorError(RuntimeError):
    """A reading that failed or cannot be true; the message says which sensor and why."""


class CounterResetError(SensorError):
    """An energy counter that lost count: no energy across this moment is known."""


class PowerSource(ABC):
    """A sensor of power, or a counter of energy, with its name and what it covers.

    Attributes:
        name: short name, as `edgetran devices` prints it.
        quantity: "power" (call `sample`) or "energy" (call `counter`).
        scope: what the figures cover, such as "package-0 + dram" or "VDD_IN".
        model_based: True where the platform estimates power rather than senses it.
        coverage: the share of time that the sensor observes; below 1 it misses bursts.
        min_interval_s: the source is not to be read more often than this, s.
        caveats: what a reader of the figures must know, such as the parts that a sum lacks;
            `available` brings it and `scope` up to date.
    """

    name: str
    quantity: Literal["power", "energy"]
    scope: str = ""
    model_based: bool = False
    coverage: float = 1.0
    min_interval_s: float = 0.0
    caveats: tuple[str, ...] = ()

    @abstractmethod
    def available(self) -> str | None:
        """None where the source can be read here and now, otherwise the reason why not."""

    def sample(self) -> float:
        """Power now, W.

        Raises:
            SensorError: the sensor vanished or returned something that cannot be true.
        """
        raise SensorError(f"{self.name}: counts energy; it has no power reading")

    def counter(self) -> float:
        """Energy since some fixed moment, J; never decreases (wrap-around is handled inside).

        Raises:
            SensorError: the counter vanished or returned something that cannot be true.
        """
        raise SensorError(f"{self.name}: reads power; it has no energy counter")

    def read(self) -> float:
        """`sample()` or `counter()`, whichever the quantity calls for."""
        return self.sample() if self.quantity == "power" else self.counter()

    def close(self) -> None:  # noqa: B027  most sources hold nothing open
        """Release what the source holds open."""


def why_unavailable(source: PowerSource) -> str | None:
    """What `source.available()` says; whatever else a driver's library raises is a reason too."""
    try:
        return source.available()
    except Exception as error:  # noqa: BLE001  a sensor that breaks never ends what is measured
        return reason_of(error)


def reason_of(error: Exception) -> str:
    """An error in words, even one that cannot put itself into words."""
    try:
        words = " ".join(str(error).split())
    except Exception:  # noqa: BLE001  NVML asks its library, which may be the broken part
        words = ""
    if isinstance(error, SensorError):
        return words
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def checked_watts(name: str, watts: float) -> float:
    """`watts` where a running device can draw it.

    Raises:
        SensorError: for NaN, infinity, zero, a negative or an absurdly large value; a running
            device never draws exactly nothing.
    """
    if not math.isfinite(watts) or watts < 0 or watts > MAX_PLAUSIBLE_W:
        raise SensorError(f"{name}: reads {watts!r} W, which cannot be true")
    if watts == 0:
        raise SensorError(f"{name}: reads exactly 0 W, which no running device draws")
    return watts


class Unwrapper:
    """Turns a counter that wraps around at `range_j` into one that never decreases.

    A step back by less than half the range is no wrap but a reset (a driver reload, say).
    """

    def __init__(self, name: str, range_j: float | None) -> None:
        self._name = name
        self._range_j = range_j
        self._last: float | None = None
        self._total = 0.0

    def add(self, reading_j: float) -> float:
        """The joules since the first reading, after the newest one.

        Raises:
            CounterResetError: the counter went back without wrapping; counting goes on from here.
            SensorError: the reading is no energy.
        """
        if not math.isfinite(reading_j) or reading_j < 0:
            raise SensorError(f"{self._name}: reads {reading_j!r} J, which cannot be true")
        step = 0.0 if self._last is None else reading_j - self._last
        self._last = reading_j
        if self._range_j is not None and reading_j > self._range_j:
            self._range_j = None  # whatever it says, the counter does not wrap there
        if step < 0:
            wrapped = step + (self._range_j or 0.0)
            if self._range_j is None or not 0 <= wrapped < self._range_j / 2:
                raise CounterResetError(
                    f"{self._name}: the energy counter went back by {-step:.3f} J"
                )
            step = wrapped
        self._total += step
        return self._total
