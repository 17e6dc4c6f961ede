"""Fits a simulated device to measurements of the real one.

Latency: shares of the peaks, launch cost and fixed overhead by bounded, robust least squares on
log latency, so that fast and slow architectures count alike. Power: idle and active power by
non-negative least squares of energy on dispatch time and busy time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgetran.devices.figures import Workload
from edgetran.devices.fit_data import DeviceMeasurement
from edgetran.devices.names import DeviceError, unknown_name
from edgetran.devices.simulated import SimulatedDevice, operations_of

Floats = NDArray[np.float64]

MIN_ROWS: Final = 8
"""Below this, four parameters of latency and two of power cannot be told apart."""

FOLDS: Final = 5
"""Of the cross-validation behind the errors that a fit states."""

TIMING_RIDGE: Final = 1e-4
"""Weight, per row, that keeps log parameters which the measurements do not determine where a
slowdown of the whole machine would put them."""

POWER_RIDGE: Final = 1e-2
"""Weight, per row, that draws both powers to the common mean power."""

DETERMINED: Final = 2.0
"""A number known within more than this factor is not determined by the measurements."""

TIMING: Final = ("efficiency", "bandwidth_efficiency", "launch_us", "overhead_ms")
POWER: Final = ("idle_power_w", "active_power_w", "dispatch_share")

_LOWER: Final = np.log([1e-5, 1e-5, 1e-2, 1e-4])
_UPPER: Final = np.log([1.0, 1.0, 1e7, 1e7])
"""Bounds of efficiency, bandwidth efficiency, launch cost (µs) and overhead (ms)."""


@dataclass(frozen=True)
class DeviceFit:
    """A device fitted to measurements.

    Attributes:
        device: the catalogue's device with fitted numbers, whose sources name the measurements.
        rows: number of measurements.
        errors_before: mean absolute percentage error of the device as it was, by measure.
        errors: the same of the fitted device, on measurements left out in five folds.
        factors: by the name of a fitted number, the factor that it is known within (one standard
            error of its logarithm); infinite where the measurements say nothing about it.
    """

    device: SimulatedDevice
    rows: int
    errors_before: dict[str, float]
    errors: dict[str, float]
    factors: Mapping[str, float]

    @property
    def undetermined(self) -> tuple[str, ...]:
        """The fitted numbers that the measurements hardly determine: errors may still be small."""
        return tuple(name for name, factor in self.factors.items() if factor > DETERMINED)


def fit_device(
    device: SimulatedDevice,
    measurements: Sequence[DeviceMeasurement],
    workload: Workload,
    *,
    precision: str | None = None,
    source: str = "fitted to measurements",
) -> DeviceFit:
    """Fit efficiency, launch cost, overhead and, where energy was measured, power.

    Args:
        device: where the fit starts; its peaks and its memory are kept.
        measurements: of the real device, all with this workload.
        workload: batch size and length of the measurements.
        precision: of the measurements; the device's first by default.
        source: what the fitted numbers' sources say.

    Raises:
        DeviceError: for too few measurements or a precision that the device lacks.
    """
    if len(measurements) < MIN_ROWS:
        raise DeviceError(f"measurements: {len(measurements)} given; allowed is {MIN_ROWS} or more")
    precision = precision or device.precisions[0]
    if precision not in device.peak_gflops:
        raise unknown_name("precision", precision, device.precisions)
    table = _Table.of(measurements, workload, precision)
    fitted, factors = _fitted(device, table, source)
    fold = np.arange(len(measurements)) % FOLDS
    held_out: dict[str, list[Floats]] = {}
    for left_out in range(FOLDS):
        trained, _ = _fitted(device, table.rows(fold != left_out), source)
        for name, errors in table.rows(fold == left_out).relative_errors(trained).items():
            held_out.setdefault(name, []).append(errors)
    return DeviceFit(
        fitted,
        len(measurements),
        {name: float(errors.mean()) for name, errors in table.relative_errors(device).items()},
        {name: float(np.concatenate(parts).mean()) for name, parts in held_out.items()},
        factors,
    )


@dataclass(frozen=True)
class _Table:
    """The measurements as arrays: n rows, operations padded with zeros to k columns."""

    precision: str
    batch_size: int
    macs: Floats  # (n, k)
    bytes_moved: Floats  # (n, k)
    launches: Floats  # (n,)
    latency_ms: Floats  # (n,) per sequence
    energy_mj: Floats  # (n,) per sequence, NaN where not measured

    @classmethod
    def of(
        cls, measurements: Sequence[DeviceMeasurement], workload: Workload, precision: str
    ) -> _Table:
        steps = [operations_of(row.architecture, workload, precision) for row in measurements]
        shape = (len(steps), max(len(row) for row in steps))
        macs, bytes_moved = np.zeros(shape), np.zeros(shape)
        for i, row in enumerate(steps):
            macs[i, : len(row)] = [step.macs for step in row]
            bytes_moved[i, : len(row)] = [step.bytes_moved for step in row]
        return cls(
            precision,
            workload.batch_size,
            macs,
            bytes_moved,
            np.array([float(sum(step.launches for step in row)) for row in steps]),
            np.array([row.latency_ms for row in measurements]),
            np.array([np.nan if row.energy_mj is None else row.energy_mj for row in measurements]),
        )

    def rows(self, chosen: NDArray[np.bool_]) -> _Table:
        arrays = {
            field.name: getattr(self, field.name)[chosen]
            for field in dataclasses.fields(self)
            if field.name not in ("precision", "batch_size")
        }
        return dataclasses.replace(self, **arrays)

    def times_ms(self, device: SimulatedDevice) -> tuple[Floats, Floats]:
        """Time spent dispatching and time busy, per sequence, (n,) each."""
        busy_s = device.busy_s(self.macs, self.bytes_moved, self.precision).sum(axis=1)
        waiting_ms = device.overhead_ms + self.launches * device.launch_us * 1e-3
        return waiting_ms / self.batch_size, busy_s * 1e3 / self.batch_size

    def relative_errors(self, device: SimulatedDevice) -> dict[str, Floats]:
        """|predicted ÷ measured − 1| by measure, over the rows that have it."""
        waiting_ms, busy_ms = self.times_ms(device)
        energy_mj = waiting_ms * device.dispatch_power_w + busy_ms * device.active_power_w
        errors = {"latency_ms": np.abs((waiting_ms + busy_ms) / self.latency_ms - 1)}
        measured = np.isfinite(self.energy_mj)
        if measured.any():
            errors["energy_mj"] = np.abs(energy_mj / self.energy_mj - 1)[measured]
        return errors


def _fitted(
    device: SimulatedDevice, table: _Table, source: str
) -> tuple[SimulatedDevice, dict[str, float]]:
    """The fitted device, and the factor that each fitted number is known within."""
    from scipy.optimize import least_squares

    # The prior: the whole machine is slower by one factor than the catalogue has it.
    slowdown = float(np.median(table.latency_ms / np.add(*table.times_ms(device))))
    prior = np.clip(
        np.log(
            [
                device.efficiency / slowdown,
                device.bandwidth_efficiency / slowdown,
                device.launch_us * slowdown + 1e-2,
                device.overhead_ms * slowdown + 1e-3,
            ]
        ),
        _LOWER + 1e-6,
        _UPPER - 1e-6,
    )
    ridge = np.sqrt(TIMING_RIDGE * len(table.latency_ms))

    def residuals(parameters: Floats) -> Floats:
        latency_ms = np.add(*table.times_ms(_with_timing(device, parameters)))
        return np.concatenate([np.log(latency_ms / table.latency_ms), ridge * (parameters - prior)])

    # A second start, where half of the quickest batch is overhead: the costs have two valleys.
    mostly_fixed = prior.copy()
    mostly_fixed[3] = np.log(0.5 * table.latency_ms.min() * table.batch_size)
    found = min(
        (
            least_squares(
                residuals,
                np.clip(start, _LOWER + 1e-6, _UPPER - 1e-6),
                bounds=(_LOWER, _UPPER),
                loss="soft_l1",
            )
            for start in (prior, mostly_fixed)
        ),
        key=lambda fit: fit.cost,
    )
    timed = _with_timing(device, found.x)
    rows = len(table.latency_ms)
    deviations = _deviations(np.asarray(found.jac)[:rows], np.asarray(found.fun)[:rows])
    with np.errstate(over="ignore"):
        factors = dict(zip(TIMING, np.exp(deviations).tolist(), strict=True))
    with_energy = np.isfinite(table.energy_mj)
    if with_energy.sum() >= MIN_ROWS:
        timed, factor = _with_power(timed, table.rows(with_energy))
        factors |= {
            name: factor
            for name in POWER
            if name != "idle_power_w" or timed.idle_power_w != device.idle_power_w
        }
    sources = {**device.sources, **dict.fromkeys(factors, source)}
    return dataclasses.replace(timed, sources=sources), factors


def _deviations(jacobian: Floats, residuals: Floats) -> Floats:
    """Standard error of each parameter (k,) by what the rows (n, k) say alone; inf for nothing.

    The spread of the residuals is their median size, which outliers do not move.
    """
    spread = float(np.median(np.abs(residuals))) / 0.6745
    values, vectors = np.linalg.eigh(jacobian.T @ jacobian)
    blind = values <= 1e-12 * max(float(values.max()), 1e-300)
    with np.errstate(divide="ignore"):
        variances = np.where(blind, np.inf, spread**2 / np.where(blind, 1.0, values))
    shares = vectors**2
    shares[shares < 1e-6] = 0.0  # so that 0 · inf does not spread over parameters that are known
    deviations: Floats = np.sqrt(np.array([
        sum(share * variance for share, variance in zip(row, variances, strict=True) if share)
        for row in shares
    ]))  # fmt: skip
    return deviations


def _with_timing(device: SimulatedDevice, parameters: Floats) -> SimulatedDevice:
    efficiency, bandwidth_efficiency, launch_us, overhead_ms = np.exp(parameters).tolist()
    return dataclasses.replace(
        device,
        efficiency=min(efficiency, 1.0),
        bandwidth_efficiency=min(bandwidth_efficiency, 1.0),
        launch_us=launch_us,
        overhead_ms=overhead_ms,
    )


def _with_power(device: SimulatedDevice, table: _Table) -> tuple[SimulatedDevice, float]:
    """Powers while dispatching and while busy that explain the mean powers.

    Where all rows have nearly the same share of busy time the two cannot be told apart, and the
    ridge draws both to the common mean power; the factor that they are known within says so.
    """
    from scipy.optimize import lsq_linear

    waiting_ms, busy_ms = table.times_ms(device)
    busy = busy_ms / (waiting_ms + busy_ms)
    mean_w = table.energy_mj / table.latency_ms
    common_w = float(np.median(mean_w))
    ridge = np.sqrt(POWER_RIDGE * len(mean_w)) * np.eye(2)
    shares = np.stack([1 - busy, busy], axis=1)
    solution = lsq_linear(
        np.vstack([shares, ridge]),
        np.concatenate([mean_w, ridge @ [common_w, common_w]]),
        bounds=(0.0, np.inf),
    )
    waiting_w, active_w = solution.x.tolist()
    active_w = max(waiting_w, active_w)
    idle_w = min(device.idle_power_w, waiting_w)
    span_w = active_w - idle_w
    deviations_w = _deviations(shares, shares @ solution.x - mean_w)
    factor = 1 + float(deviations_w.max()) / max(common_w, 1e-12)
    powered = dataclasses.replace(
        device,
        idle_power_w=idle_w,
        active_power_w=active_w,
        dispatch_share=(waiting_w - idle_w) / span_w if span_w > 0 else 0.0,
    )
    return powered, factor
