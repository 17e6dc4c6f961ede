"""ProfilingPlan: what to measure on a device, how, and when it is enough."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Final, Literal

from edgetran.api.field_errors import invalid, unsupported
from edgetran.devices import ENGINES, Engine, Workload
from edgetran.profiling.measurement import MeasurementKey
from edgetran.profiling.protocol import MODES, Mode
from edgetran.space import SamplingMethod

FEWEST_MEASUREMENTS: Final = 4
"""With fewer, no error can be cross-validated."""


class ProfilingError(ValueError):
    """A plan, a profile or a set of measurements that cannot be used; says where and why."""


@dataclass(frozen=True)
class ProfilingPlan:
    """What to measure on this host, how, and when it is enough.

    Attributes:
        device: name of the device in records and figures.
        engine: torch, onnxruntime or openvino.
        precision: fp32, or what else the engine has.
        threads: threads within one operation; None for all usable cores.
        target: cpu or cuda.
        method: by which int8 is made.
        workload: batch size, length, vocabulary, labels.
        mode: quick, standard or reference.
        max_repeats: repetitions of an unstable run; the mode's own number where None.
        passes: how often each architecture is measured, each time after all the others of its
            batch; the middle one of its stable measurements counts.
        max_drift: drift of a run's windows above which it is unstable; the mode's where None.
        pause_seconds: pause between runs, s.
        peak_window_ms: averaging window of peak power, ms.
        sampling: how the first architectures are drawn.
        initial: architectures measured before the first surrogate.
        batch: architectures that each round of active learning measures.
        max_measurements: architectures measured at most.
        target_error: mean cross-validated relative error, of every measure that is predictable,
            at which measuring stops.
        pool_size: random architectures that each round chooses from.
        seed: what every random choice follows from.

    Raises:
        ProfilingError: naming the field, what was given and what it must be.
    """

    device: str
    workload: Workload
    engine: str = "torch"
    precision: str = "fp32"
    threads: int | None = None
    target: Literal["cpu", "cuda"] = "cpu"
    method: str = "dynamic"
    mode: str = "standard"
    max_repeats: int | None = None
    passes: int = 1
    max_drift: float | None = None
    pause_seconds: float = 0.0
    peak_window_ms: float = 100.0
    sampling: SamplingMethod = "sobol"
    initial: int = 16
    batch: int = 8
    max_measurements: int = 64
    target_error: float = 0.05
    pool_size: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise ProfilingError(f"engine: {unsupported(self.engine, ENGINES)}")
        if self.mode not in MODES:
            raise ProfilingError(f"mode: {unsupported(self.mode, MODES)}")
        for name, least in (
            ("initial", 2),
            ("batch", 1),
            ("passes", 1),
            ("pool_size", 1),
            ("seed", 0),
        ):
            value = getattr(self, name)
            if value < least:
                raise ProfilingError(f"{name}: {invalid(value, f'must be at least {least}')}")
        if self.max_measurements < self.initial:
            what = f"must be at least initial, {self.initial}"
            raise ProfilingError(f"max_measurements: {invalid(self.max_measurements, what)}")
        if not self.target_error > 0:
            raise ProfilingError(f"target_error: {invalid(self.target_error, 'must be above 0')}")
        if not self.device or "/" in self.device:
            raise ProfilingError(
                f"device: {invalid(self.device, 'must be a name without a slash')}"
            )

    def make_engine(self) -> Engine:
        """The engine that the plan names.

        Raises:
            edgetran.devices.EngineError: a precision, target or threads that do not exist.
        """
        return ENGINES[self.engine](
            precision=self.precision,
            threads=self.threads,
            target=self.target,
            method=self.method,
        )

    def make_mode(self) -> Mode:
        """The mode, with the plan's own limits."""
        mode = dataclasses.replace(
            MODES[self.mode],
            pause_seconds=self.pause_seconds,
            peak_window_seconds=self.peak_window_ms / 1e3,
        )
        if self.max_repeats is not None:
            mode = dataclasses.replace(mode, attempts=self.max_repeats + 1)
        if self.max_drift is not None:
            mode = dataclasses.replace(mode, drift_limit=self.max_drift)
        return mode

    def key(self) -> MeasurementKey:
        """What records must share to be reused."""
        chosen = self.make_engine()
        return MeasurementKey(
            self.device,
            self.engine,
            self.precision,
            chosen.threads,
            self.workload,
            tuple(sorted(chosen.versions().items())),
        )
