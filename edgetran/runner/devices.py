"""The devices of a run: what measures them, what predicts them, and how results describe them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from edgetran.api import Device, ProfilingJob, SearchDevice
from edgetran.api.allowances import MeterAllowance
from edgetran.devices import (
    Hwmon,
    NoPower,
    PowerSource,
    Workload,
    best_power_source,
    external_source,
    power_sources,
    simulated_device,
    why_unavailable,
)
from edgetran.profiling import (
    Predictor,
    Profile,
    ProfilingPlan,
    predictor,
    simulated_predictor,
)

NO_POWER_HERE: Final = "no power source was found on this host; `edgetran devices` says why"
"""The reasons in full are in result.json, under host."""


def profiling_plan(job: ProfilingJob, workload: Workload) -> ProfilingPlan:
    """What a profiling job measures on this host.

    Raises:
        ProfilingError: a field that is out of its range.
    """
    spec = job.spec
    sampling, measurement = spec.sampling, spec.measurement
    return ProfilingPlan(
        device=spec.device.name,
        workload=workload,
        engine=spec.device.engine,
        precision=spec.device.precision,
        threads=spec.device.threads,
        target=spec.device.accelerator,
        method=int8_method(spec.device) or "dynamic",
        mode=measurement.mode,
        max_repeats=measurement.max_repeats,
        passes=measurement.passes,
        max_drift=measurement.max_drift,
        pause_seconds=measurement.cool_down_seconds,
        peak_window_ms=100.0 if spec.device.energy is None else spec.device.energy.peak_window_ms,
        sampling=sampling.method,
        initial=sampling.initial_design,
        batch=sampling.batch,
        max_measurements=sampling.max_measurements,
        target_error=sampling.target_error,
        seed=spec.seed,
    )


def int8_method(device: Device) -> str | None:
    """By which a device's int8 models are made, as far as it is said beforehand."""
    if device.quantization is None or device.quantization.method == "auto":
        return None
    return device.quantization.method


def power_source(device: Device, meters: MeterAllowance) -> PowerSource:
    """What senses the power of this host, as the device's settings say.

    Raises:
        DeviceError: a meter that may not be read.
    """
    energy = device.energy
    if energy is None or energy.source == "auto":
        best = best_power_source(device.accelerator)
        return NoPower(NO_POWER_HERE) if isinstance(best, NoPower) else best
    if energy.source == "none":
        return NoPower(f"{device.name}: energy.source is none")
    if energy.rails is not None:
        hwmon = Hwmon(rails=energy.rails)
        reason = why_unavailable(hwmon)
        return hwmon if reason is None else NoPower(f"hwmon: {reason}")
    source = (
        external_source(energy.meter or "", meters)
        if energy.source == "external"
        else next(source for source in power_sources() if source.name == energy.source)
    )
    reason = why_unavailable(source)
    return source if reason is None else NoPower(f"{energy.source}: {reason}")


def predictors(
    devices: tuple[SearchDevice, ...], profiles: Mapping[str, Profile], workload: Workload
) -> list[Predictor]:
    """One predictor per device: of its profile, or of the simulation.

    Raises:
        ProfilingError: too little was measured on a device.
        DeviceError: a precision that a simulated device does not have.
    """
    return [
        predictor(profiles[device.name], name=device.name)
        if device.simulation is None
        else simulated_predictor(
            simulated_device(device.simulation), workload, device.precision, name=device.name
        )
        for device in devices
    ]


def unpredictable_measures(profiles: Mapping[str, Profile]) -> list[str]:
    """A sentence for each measure that a profile cannot predict although it was measured."""
    return [
        f"{device}: {measure} is not predictable: {quality.reason}"
        for device, profile in profiles.items()
        if profile.measures
        for measure, quality in profile.quality.items()
        if quality.reason is not None
    ]


def device_kind(device: Device, *, here: bool) -> str:
    """`simulated`, `host` where this run measures it, `node` where another one has measured it."""
    if device.simulation is not None:
        return "simulated"
    return "host" if here else "node"


def describe_device(device: Device, profile: Profile | None, *, here: bool) -> dict[str, Any]:
    """A device as result.json tells of it; `here`: this run measures it."""
    entry: dict[str, Any] = {
        "name": device.name,
        "kind": device_kind(device, here=here),
        "simulation": device.simulation,
        "precision": device.precision,
        "engine": None if device.simulation is not None else device.engine,
        "accelerator": None if device.simulation is not None else device.accelerator,
        "threads": None if profile is None else profile.key.threads,
    }
    if profile is None:
        return entry | {"profile": {"source": "simulated", "records": 0}}
    summary = dict(profile.summary or {})
    return entry | {
        "profile": {
            "source": "measured",
            "records": len(profile.measured),
            "failed": len(profile.failed),
            "unstable": sum(not m.stable for m in profile.measured),
            "stopped": summary.get("stopped"),
            "error": summary.get("claimed_error", {}),
            "notPredictable": summary.get("not_predictable", {}),
            "warnings": list(profile.warnings),
        }
    }
