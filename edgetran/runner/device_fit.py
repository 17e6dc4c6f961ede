"""Fit a simulated device to a table of measurements, and say what came of it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edgetran.api.measures import BY_NAME
from edgetran.devices import (
    DeviceError,
    DeviceFit,
    DeviceMeasurement,
    SimulatedDevice,
    Workload,
    fit_device,
    read_device_measurements,
)
from edgetran.devices.fit import MIN_ROWS, POWER, TIMING
from edgetran.profiling import Profile
from edgetran.records import read_records
from edgetran.report.roofline import NUMBERS
from edgetran.tabular import JSON_LINES, kind_of

_FITTED: Final = (BY_NAME["latency_ms"], BY_NAME["energy_mj"])


@dataclass(frozen=True)
class FitData:
    """Measurements to fit to.

    Attributes:
        path: the file.
        rows: one per architecture.
        workload: batch and length; None where the file does not say them.
        precision: of the arithmetic; None where the file does not say it.
    """

    path: Path
    rows: tuple[DeviceMeasurement, ...]
    workload: Workload | None = None
    precision: str | None = None


def read_fit_data(path: Path) -> FitData:
    """A profile's log, or a table of measurements.

    Of a log, the measurements that share the last one's conditions are taken.

    Raises:
        DeviceError, ProfilingError: naming the file, the row and what is wrong with it.
    """
    if not _is_profile(path):
        return FitData(path, tuple(read_device_measurements(path)))
    profile = Profile.load(path)
    rows = [
        DeviceMeasurement(m.architecture, latency, m.figures.energy_mj.value)
        for m in profile.measured
        if (latency := m.figures.latency_ms.value) is not None
    ]
    return FitData(path, tuple(rows), profile.key.workload, profile.key.precision)


def _is_profile(path: Path) -> bool:
    if kind_of(path) not in (None, JSON_LINES) or not path.is_file():
        return False
    try:
        return any("kind" in record for record in read_records(path)[:1])
    except (ValueError, RecursionError):
        return False


def fit_to(
    device: SimulatedDevice,
    data: FitData,
    *,
    name: str | None = None,
    batch: int | None = None,
    length: int | None = None,
    precision: str | None = None,
) -> DeviceFit:
    """Fit `device` to the data, with its own batch, length and precision where it says them.

    Args:
        device: where the fit starts.
        data: the measurements.
        name: of the fitted device; that of `device` where None.
        batch: sequences per batch; 1 where neither it nor the data says one.
        length: tokens per sequence; 128 where neither it nor the data says one.
        precision: of the measurements; the device's first where neither says one.

    Raises:
        DeviceError: too few rows, a precision that the device lacks, or a batch, a length or a
            precision that the data contradicts.
    """
    workload = data.workload or Workload(batch or 1, length or 128)
    for option, given, told in (
        ("--batch", batch, workload.batch_size),
        ("--length", length, workload.sequence_length),
        ("--precision", precision, data.precision or precision),
    ):
        if given is not None and given != told:
            raise DeviceError(f"{option}: {given} given, but {data.path} was measured with {told}")
    source = (
        f"fitted to {len(data.rows)} measurements in {data.path.name}, batch "
        f"{workload.batch_size}, length {workload.sequence_length}"
    )
    try:
        fit = fit_device(
            device, data.rows, workload, precision=data.precision or precision, source=source
        )
    except DeviceError as error:
        raise DeviceError(f"{data.path}: {error}") from None
    errors = ", ".join(f"{BY_NAME[key].words} {error:.0%}" for key, error in fit.errors.items())
    told = f"{source}; mean absolute error on rows left out: {errors}"
    sources = {key: told if text == source else text for key, text in fit.device.sources.items()}
    fitted = dataclasses.replace(fit.device, name=name or device.name, sources=sources)
    return dataclasses.replace(fit, device=fitted)


def fit_view(before: SimulatedDevice, fit: DeviceFit) -> RenderableType:
    """Errors before and after, the numbers that changed, and what could not be fitted."""
    errors = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    errors.add_column("Mean absolute error")
    for title in ("Catalogue", "Fitted, on rows left out"):
        errors.add_column(title, justify="right")
    for name, title in ((each.name, each.title) for each in _FITTED):
        if name in fit.errors:
            errors.add_row(title, f"{fit.errors_before[name]:.1%}", f"{fit.errors[name]:.1%}")
    numbers = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    numbers.add_column("Number")
    for title in ("Catalogue", "Fitted", "Known within"):
        numbers.add_column(title, justify="right", no_wrap=True)
    for name, factor in fit.factors.items():
        words, unit = NUMBERS[name]
        old, new = (_value(device.numbers()[name], unit) for device in (before, fit.device))
        loose = name in fit.undetermined
        text = "not determined" if not math.isfinite(factor) or factor > 1000 else f"× {factor:.2f}"
        numbers.add_row(words, old, new, Text(text, style="yellow" if loose else ""))
    return Group(
        Text.assemble((fit.device.name, "bold"), f"  fitted to {fit.rows} measurements"),
        errors,
        numbers,
        *(Text(f"– {sentence}", style="dim") for sentence in _not_fitted(before, fit)),
    )


def _not_fitted(before: SimulatedDevice, fit: DeviceFit) -> Iterator[str]:
    yield (
        "Peak rates, bandwidth and memory are kept: latencies tell only what share of them is "
        "reached."
    )
    if not set(POWER) & set(fit.factors):
        yield (f"Power is kept: fewer than {MIN_ROWS} of the measurements have an energy.")
    else:
        yield "Peak power is not fitted: it follows from the active power."
        if "idle_power_w" not in fit.factors:
            yield "Idle power is kept: nothing in the measurements ran idle."
    loose = [NUMBERS[name][0].lower() for name in TIMING if name in fit.undetermined]
    if loose:
        yield (
            f"Not determined by these measurements: {', '.join(loose)}. Other values predict them "
            "as well, so trust the fit only within the range of what was measured."
        )
    if set(POWER) & set(fit.undetermined):
        yield (
            "Idle and active power cannot be told apart: all measurements have nearly the same "
            "share of busy time."
        )
    for name in TIMING[:2]:
        if fit.device.numbers()[name] >= 1.0:
            yield (
                f"{NUMBERS[name][0]} is at its limit: the board is quicker than "
                f"{before.name}'s peak allows."
            )
    if fit.errors["latency_ms"] >= fit.errors_before["latency_ms"]:
        yield "The fit predicts latency no better than the catalogue does."


def _value(value: float, unit: str) -> str:
    return f"{value:.4g} {unit}".strip()
