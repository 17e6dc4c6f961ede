"""A simulated device's roofline and where architectures lie on it, as plain data for drawing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgetran.devices.figures import Workload
from edgetran.devices.names import unknown_name
from edgetran.devices.simulated import SimulatedDevice, operations_of
from edgetran.space import Architecture


@dataclass(frozen=True)
class Roofline:
    """The two lines that bound a device's rate.

    Attributes:
        device: its name.
        precision: of the arithmetic.
        peak_gflops: reachable rate, 10⁹ operations per second.
        bandwidth_gb_s: reachable bandwidth, 10⁹ bytes per second.
    """

    device: str
    precision: str
    peak_gflops: float
    bandwidth_gb_s: float

    @property
    def ridge_flops_per_byte(self) -> float:
        """The intensity above which arithmetic, not memory, is the bound."""
        return self.peak_gflops / self.bandwidth_gb_s

    def bound_gflops(self, flops_per_byte: float) -> float:
        """The highest rate at an arithmetic intensity."""
        return min(self.peak_gflops, flops_per_byte * self.bandwidth_gb_s)


@dataclass(frozen=True)
class RooflinePoint:
    """One architecture on the roofline.

    Attributes:
        graph_hash: the architecture.
        flops_per_byte: its arithmetic intensity over a whole batch.
        gflops: the rate it reaches with all launch costs, 10⁹ operations per second.
        latency_ms: per sequence.
        feasible: False where the device cannot run it; the rate is then what it would be.
    """

    graph_hash: str
    flops_per_byte: float
    gflops: float
    latency_ms: float
    feasible: bool


def roofline(device: SimulatedDevice, precision: str = "fp32") -> Roofline:
    """The device's reachable roofline.

    Raises:
        DeviceError: for a precision that the device lacks.
    """
    _check(device, precision)
    return Roofline(
        device.name,
        precision,
        device.peak_gflops[precision] * device.efficiency,
        device.bandwidth_gb_s * device.bandwidth_efficiency,
    )


def roofline_points(
    device: SimulatedDevice,
    architectures: Iterable[Architecture],
    workload: Workload,
    precision: str = "fp32",
) -> list[RooflinePoint]:
    """Where each architecture lies.

    Raises:
        DeviceError: for a precision that the device lacks.
    """
    _check(device, precision)
    points = []
    for architecture in architectures:
        steps = operations_of(architecture, workload, precision)
        flops = 2 * sum(step.macs for step in steps)
        durations_s, _ = device.timeline(architecture, workload, precision)
        seconds = float(durations_s.sum())
        points.append(
            RooflinePoint(
                architecture.graph_hash,
                flops / sum(step.bytes_moved for step in steps),
                flops / seconds / 1e9,
                seconds * 1e3 / workload.batch_size,
                device.why_infeasible(architecture, workload, precision) is None,
            )
        )
    return points


def _check(device: SimulatedDevice, precision: str) -> None:
    if precision not in device.precisions:
        raise unknown_name(f"{device.name} precision", precision, device.precisions)
