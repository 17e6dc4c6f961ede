"""A simulated device: an analytic roofline that turns an architecture into hardware figures.

Each operation of a forward pass takes

    t = max(2 · MACs / (peak · efficiency), bytes / (bandwidth · bandwidth efficiency))
        + launches · launch cost

(roofline: Williams, Waterman and Patterson, CACM 2009), a batch the sum of its operations and a
fixed overhead. Power is `active_power_w` while arithmetic or memory is busy, and a share of the way
from idle to active while an operation is being dispatched; energy is power × time, gross.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgetran.api.field_errors import invalid, required
from edgetran.devices.figures import Figure, HardwareFigures, Workload
from edgetran.devices.names import DeviceError, unknown_name
from edgetran.devices.power.trace import PEAK_WINDOW_S
from edgetran.space import Architecture, Operation, operations

Floats = NDArray[np.float64]

BYTES_PER_VALUE: Final = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1}
"""Size of a weight or activation by precision."""


@dataclass(frozen=True)
class SimulatedDevice:
    """A published board as an analytic roofline.

    Attributes:
        name: the catalogue's name.
        description: what the board is.
        peak_gflops: peak rate by precision, 10⁹ operations per second (a MAC is two).
        efficiency: share of the peak rate that matrix products reach.
        bandwidth_gb_s: peak memory bandwidth, 10⁹ bytes per second.
        bandwidth_efficiency: share of that bandwidth which is reached.
        launch_us: cost of dispatching one operation, µs.
        overhead_ms: fixed cost of a batch, ms: transfers to the device, the call of the runtime.
        idle_power_w: power with nothing to do, W.
        active_power_w: power while arithmetic or memory is busy, W.
        dispatch_share: power while dispatching, as a share of the way from idle to active.
        memory_mb: memory that models may use in all, 10⁶ bytes.
        reserved_mb: what the system and the runtime take of it.
        sources: where each number comes from, by its name; peak rates as `peak_gflops.fp32`.

    Raises:
        DeviceError: for a number out of its range or without a source.
    """

    name: str
    description: str
    peak_gflops: Mapping[str, float]
    efficiency: float
    bandwidth_gb_s: float
    bandwidth_efficiency: float
    launch_us: float
    overhead_ms: float
    idle_power_w: float
    active_power_w: float
    dispatch_share: float
    memory_mb: float
    reserved_mb: float
    sources: Mapping[str, str]

    def __post_init__(self) -> None:
        numbers = self.numbers()
        for name, value in numbers.items():
            share = name in ("efficiency", "bandwidth_efficiency", "dispatch_share")
            if not (0 <= value <= 1 if share else 0 <= value < float("inf")):
                what = "must be from 0 to 1" if share else "must be finite and at least 0"
                raise DeviceError(f"{self.name}.{name}: {invalid(value, what)}")
            if not self.sources.get(name):
                what = "every number has a source"
                raise DeviceError(f"{self.name}.{name}.source: {required(what)}")
        for name in (*(f"peak_gflops.{precision}" for precision in self.peak_gflops),
                     "efficiency", "bandwidth_gb_s", "bandwidth_efficiency"):  # fmt: skip
            if numbers[name] == 0:
                raise DeviceError(f"{self.name}.{name}: {invalid(0, 'must be above 0')}")
        if self.active_power_w < self.idle_power_w:
            what = f"must be at least idle_power_w, {self.idle_power_w}"
            raise DeviceError(f"{self.name}.active_power_w: {invalid(self.active_power_w, what)}")
        for precision in self.peak_gflops:
            if precision not in BYTES_PER_VALUE:
                raise unknown_name(f"{self.name}.peak_gflops", precision, BYTES_PER_VALUE)

    def numbers(self) -> dict[str, float]:
        """Every number of the device by its name."""
        found = {f"peak_gflops.{name}": rate for name, rate in self.peak_gflops.items()}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int | float):
                found[field.name] = float(value)
        return found

    @property
    def precisions(self) -> tuple[str, ...]:
        """The precisions that the device computes in."""
        return tuple(self.peak_gflops)

    @property
    def dispatch_power_w(self) -> float:
        """Power while an operation is being dispatched, W."""
        return self.idle_power_w + self.dispatch_share * (self.active_power_w - self.idle_power_w)

    def estimate(
        self, architecture: Architecture, workload: Workload, precision: str = "fp32"
    ) -> HardwareFigures:
        """Simulated figures per sequence; infeasible where memory or the precision is lacking.

        Energy is gross. Peak power is the highest mean power over `PEAK_WINDOW_S` of a steady
        stream of batches.

        Raises:
            DeviceError: for a precision that no device has.
        """
        if precision not in BYTES_PER_VALUE:
            raise unknown_name("precision", precision, BYTES_PER_VALUE)
        steps = operations_of(architecture, workload, precision)
        reason = self._why_infeasible(steps, precision)
        if reason is not None:
            return HardwareFigures.infeasible("simulated", reason)
        durations_s, powers_w = self._timeline(steps, precision)
        sequences = workload.batch_size
        energy_j = float(durations_s @ powers_w)
        return HardwareFigures(
            latency_ms=Figure(float(durations_s.sum()) * 1e3 / sequences, "ms", "simulated"),
            energy_mj=Figure(energy_j * 1e3 / sequences, "mJ", "simulated"),
            peak_power_w=Figure(_peak_w(durations_s, powers_w, PEAK_WINDOW_S), "W", "simulated"),
        )

    def why_infeasible(
        self, architecture: Architecture, workload: Workload, precision: str
    ) -> str | None:
        """Why the device cannot run the architecture; None where it can."""
        return self._why_infeasible(operations_of(architecture, workload, precision), precision)

    def _why_infeasible(self, steps: tuple[Operation, ...], precision: str) -> str | None:
        if precision not in self.peak_gflops:
            return f"{self.name} does not compute in {precision}; it has {_list(self.precisions)}"
        needed_mb = _memory_mb(steps, precision)
        free_mb = self.memory_mb - self.reserved_mb
        if needed_mb > free_mb:
            return (
                f"{self.name} has {free_mb:.0f} MB free for a model; weights and activations "
                f"take {needed_mb:.0f} MB in {precision}"
            )
        return None

    def timeline(
        self, architecture: Architecture, workload: Workload, precision: str
    ) -> tuple[Floats, Floats]:
        """Durations (s) and powers (W) of the phases of one batch, in order, shape (k,)."""
        return self._timeline(operations_of(architecture, workload, precision), precision)

    def _timeline(self, steps: tuple[Operation, ...], precision: str) -> tuple[Floats, Floats]:
        busy_s = self.busy_s(
            np.array([float(step.macs) for step in steps]),
            np.array([float(step.bytes_moved) for step in steps]),
            precision,
        )
        dispatch_s = np.array([step.launches for step in steps]) * self.launch_us * 1e-6
        waiting_w = self.dispatch_power_w
        durations = np.concatenate(
            [[self.overhead_ms * 1e-3], np.stack([dispatch_s, busy_s], axis=1).ravel()]
        )
        powers = np.concatenate(
            [[waiting_w], np.tile([waiting_w, self.active_power_w], len(steps))]
        )
        return durations, powers

    def busy_s(self, macs: Floats, bytes_moved: Floats, precision: str) -> Floats:
        """The roofline: least time of operations by arithmetic or by memory, s, any shape."""
        rate = self.peak_gflops[precision] * 1e9 * self.efficiency
        bandwidth = self.bandwidth_gb_s * 1e9 * self.bandwidth_efficiency
        return np.maximum(2.0 * macs / rate, bytes_moved / bandwidth)


def operations_of(
    architecture: Architecture, workload: Workload, precision: str
) -> tuple[Operation, ...]:
    """The operations of one batch with values of the precision's size."""
    return operations(
        architecture,
        workload.sequence_length,
        workload.batch_size,
        vocab_size=workload.vocab_size,
        bytes_per_value=BYTES_PER_VALUE[precision],
        max_positions=max(512, workload.sequence_length),
        num_labels=workload.num_labels,
    )


def _memory_mb(steps: tuple[Operation, ...], precision: str) -> float:
    """Weights, and the largest operation's traffic as the activations alive at one time."""
    weights = sum(step.parameters for step in steps) * BYTES_PER_VALUE[precision]
    return (weights + max(step.bytes_moved for step in steps)) * 1e-6


def _peak_w(durations_s: Floats, powers_w: Floats, window_s: float) -> float:
    """Highest mean power over `window_s` of the batch repeated without end."""
    total_s = float(durations_s.sum())
    mean_w = float(durations_s @ powers_w) / total_s
    if total_s <= window_s:
        return mean_w
    ends = np.concatenate([[0.0], np.cumsum(np.tile(durations_s, 2))])
    energies = np.concatenate([[0.0], np.cumsum(np.tile(durations_s * powers_w, 2))])
    starts = np.concatenate([ends, ends - window_s])
    starts = starts[(starts >= 0) & (starts <= total_s)]
    after = np.interp(starts + window_s, ends, energies)
    return float((after - np.interp(starts, ends, energies)).max() / window_s)


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(names)
