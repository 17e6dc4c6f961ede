"""Measure architectures on this host: build, make an artefact, check its predictions, time it."""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgetran.api.field_errors import unsupported
from edgetran.artifacts import Artifact, ArtifactError, Form, make_artifact, open_artifact
from edgetran.devices import (
    FEWEST_EXAMPLES,
    Calibration,
    Engine,
    EngineError,
    Figure,
    PowerReading,
    PowerSource,
    Session,
    Workload,
    best_power_source,
    example_inputs,
)
from edgetran.devices.conditions import Conditions, conditions
from edgetran.profiling.measurement import FIGURES, Measurement, MeasurementError
from edgetran.profiling.protocol import MODES, Mode, ProtocolRun, cool_down, run_protocol
from edgetran.profiling.statistics import OUTLIER_DEVIATIONS, Statistics, outliers
from edgetran.records import write_atomically
from edgetran.space import Architecture

if TYPE_CHECKING:
    import torch

    from edgetran.models import FlexiBertForSequenceClassification

AGREEMENT: Final = {"fp32": 1e-3, "fp16": 3e-2, "bf16": 1e-1, "int8": 3e-1, "int4": 6e-1}
"""Largest difference of an engine's logits from PyTorch's fp32 ones, as a share of the largest
magnitude among these, before the engine is timed."""


@dataclass(frozen=True)
class _Bench:
    """What all measurements of one call share."""

    device: str
    engine: Engine
    workload: Workload
    mode: Mode
    power_source: PowerSource
    folder: Path | None
    seed: int


def measure(
    architectures: Iterable[Architecture],
    *,
    device: str,
    engine: Engine,
    workload: Workload,
    mode: str | Mode = "standard",
    seed: int = 0,
    power_source: PowerSource | None = None,
    folder: Path | None = None,
    artifacts: Mapping[int, Artifact] | None = None,
) -> Iterator[Measurement]:
    """Measure architectures on this host, in random order; each is yielded when it is done.

    Args:
        architectures: what to measure, with random weights (latency does not depend on them).
        device: name of the device in the records.
        engine: what runs them, with its precision and threads; see `edgetran.devices.engine`.
        workload: batches to run.
        mode: quick, standard, reference, or a `Mode` of one's own.
        seed: of the order, the weights and the inputs.
        power_source: what senses power; the best one found here by default.
        folder: the log's folder, where every sample is kept in `raw/DEVICE/`; the records name
            these files relative to it. None keeps no samples.
        artifacts: artefacts of trained models by the position of their architecture; they are
            timed as they are, in place of one with random weights.

    Yields:
        One measurement per architecture. One that cannot be run, for lack of memory or because
        the engine does not compute what PyTorch does, is a measurement with a failure.

    Raises:
        MeasurementError: an unknown mode.
        edgetran.devices.EngineError: the engine cannot run here, or no longer.
    """
    if isinstance(mode, str):
        if mode not in MODES:
            raise MeasurementError(f"mode: {unsupported(mode, MODES)}")
        mode = MODES[mode]
    engine.require()
    source = power_source if power_source is not None else best_power_source(engine.target)
    bench = _Bench(device, engine, workload, mode, source, folder, seed)
    start_c = _temperature_c()
    candidates, made = list(architectures), artifacts or {}
    with _torch_threads(engine.threads):
        for index in np.random.default_rng(seed).permutation(len(candidates)):
            waited_s = cool_down(_temperature_c, start_c=start_c, mode=mode)
            measurement = _measure_one(candidates[index], made.get(int(index)), bench, waited_s)
            if measurement.failure is not None:
                engine.require()  # a device that vanished is no fault of the architecture
            yield measurement


def build_model(
    architecture: Architecture, workload: Workload, seed: int = 0
) -> FlexiBertForSequenceClassification:
    """A classifier of the architecture with random weights, in evaluation mode."""
    import torch

    from edgetran.models import FlexiBertConfig, FlexiBertForSequenceClassification

    config = FlexiBertConfig.from_architecture(
        architecture,
        vocab_size=workload.vocab_size,
        num_labels=workload.num_labels,
        max_position_embeddings=max(512, workload.sequence_length),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = FlexiBertForSequenceClassification(config)
        model.train(False)
        return model


def _temperature_c() -> float | None:
    return conditions().hottest_c


def _plain(snapshot: Conditions) -> dict[str, Any]:
    """The snapshot as JSON reads it back: lists in place of tuples."""
    data: dict[str, Any] = json.loads(json.dumps(snapshot.to_dict()))
    return data


def _measure_one(
    architecture: Architecture, artifact: Artifact | None, bench: _Bench, waited_s: float
) -> Measurement:
    measured_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    begun = time.monotonic()
    before = conditions(threads=bench.engine.threads)
    try:
        with TemporaryDirectory(prefix="edgetran-") as folder:
            loaded = _load(architecture, artifact, bench, Path(folder))
            inputs = example_inputs(bench.workload, bench.seed)
            with loaded.session as session:
                run = run_protocol(
                    lambda: session.run(inputs),
                    mode=bench.mode,
                    power_source=bench.power_source,
                )
    except (MeasurementError, ArtifactError, EngineError, MemoryError, RuntimeError) as error:
        return _failed(
            architecture,
            bench,
            str(error) or type(error).__name__,
            measured_at,
            time.monotonic() - begun,
            {} if artifact is None else {"artifact": artifact.to_dict()},
        )
    after = conditions(threads=bench.engine.threads)
    return _record(
        architecture,
        bench,
        run,
        cold_start_ms=loaded.cold_start_s * 1e3,
        conditions={
            "before": _plain(before),
            "after": _plain(after),
            "cool_down_s": round(waited_s, 3),
            "arithmetic": session.arithmetic,
            "agreement": loaded.agreement,
            "artifact": loaded.artifact.to_dict(),
        },
        measured_at=measured_at,
        duration_s=time.monotonic() - begun,
    )


@dataclass(frozen=True)
class _Loaded:
    """An artefact in its engine, seconds to its first output, and how far that is from PyTorch's.

    The agreement of a trained model is judged on real data, where its accuracy is.
    """

    artifact: Artifact
    session: Session
    cold_start_s: float
    agreement: dict[str, float] | None


def _load(
    architecture: Architecture, artifact: Artifact | None, bench: _Bench, folder: Path
) -> _Loaded:
    model = None
    if artifact is None:
        model = build_model(architecture, bench.workload, bench.seed)
        artifact = make_artifact(
            model, _form(bench.engine), folder / "artifact", calibration=_calibration(bench)
        )
    inputs = example_inputs(bench.workload, bench.seed)
    begun = time.monotonic()
    session = open_artifact(artifact, bench.engine, bench.workload)
    logits = session.run(inputs)
    cold_start_s = time.monotonic() - begun
    agreement = None if model is None else _agreement(model, inputs, logits, bench.engine)
    return _Loaded(artifact, session, cold_start_s, agreement)


def _form(engine: Engine) -> Form:
    return Form(engine.name, engine.precision, engine.target, method=engine.method)


def _calibration(bench: _Bench) -> Calibration:
    """Random examples: what an architecture takes does not depend on its ranges."""
    batches = (example_inputs(bench.workload, seed) for seed in range(FEWEST_EXAMPLES))
    return Calibration.of(batches, split="random tokens")


def _agreement(
    model: torch.nn.Module, inputs: dict[str, np.ndarray], logits: np.ndarray, engine: Engine
) -> dict[str, float]:
    """How far the engine's logits are from PyTorch's in fp32.

    Raises:
        MeasurementError: further than `AGREEMENT` allows: figures of wrong results mean nothing.
    """
    import torch

    with torch.inference_mode():
        tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
        expected = model(**tensors).logits.numpy()
    scale = float(np.abs(expected).max()) or 1.0
    difference = float(np.abs(logits - expected).max()) / scale
    tolerance = AGREEMENT[engine.precision]
    if not difference <= tolerance:
        raise MeasurementError(
            f"{engine.name} {engine.precision}: logits differ from PyTorch's by {difference:.2g} "
            f"of their size; allowed is {tolerance:g}"
        )
    return {"relative_difference": difference, "tolerance": tolerance}


def _record(
    architecture: Architecture,
    bench: _Bench,
    run: ProtocolRun,
    *,
    cold_start_ms: float,
    conditions: dict[str, Any],
    measured_at: str,
    duration_s: float,
) -> Measurement:
    reported = run.reported
    batch = Statistics.of(reported.durations_s * 1e3)
    sequences = bench.workload.batch_size
    batches = len(reported.durations_s)
    idle = _idle_power(run)
    flagged = outliers(reported.durations_s)
    return Measurement(
        architecture=architecture,
        device=bench.device,
        engine=bench.engine.name,
        precision=bench.engine.precision,
        threads=bench.engine.threads,
        workload=bench.workload,
        mode=bench.mode.name,
        versions=bench.engine.versions(),
        latency_ms=batch.scaled(1 / sequences),
        batch_latency_ms=batch,
        energy_mj=_energy(run.power, 0.0, batches * sequences),
        energy_idle_subtracted_mj=_above_idle(run.power, idle, batches * sequences),
        batch_energy_mj=_energy(run.power, 0.0, batches),
        peak_power_w=run.power.peak_power_w,
        idle_power_w=idle,
        power=run.power.to_dict(),
        cold_start_ms=cold_start_ms,
        stable=run.stable,
        drift=reported.drift,
        attempts=len(run.attempts),
        warm_up={
            "iterations": len(reported.warm_up_s),
            "seconds": float(reported.warm_up_s.sum()),
            "settled": reported.settled,
        },
        outliers={
            "number": len(flagged),
            "rule": f"further than {OUTLIER_DEVIATIONS:g} robust deviations from the median",
        },
        conditions=conditions,
        raw_samples=_keep_raw(architecture, bench, run, measured_at),
        measured_at=measured_at,
        duration_s=duration_s,
    )


def _idle_power(run: ProtocolRun) -> Figure:
    """Mean of idle power before and after, W."""
    if run.idle_before is None or run.idle_after is None:
        reason = run.power.mean_power_w.reason or "nothing senses power"
        return Figure.missing("W", "measured", reason)
    figures = (run.idle_before.mean_power_w, run.idle_after.mean_power_w)
    for figure in figures:
        if figure.value is None:
            return Figure.missing("W", "measured", f"idle power: {figure.reason}")
    before, after = (figure.value or 0.0 for figure in figures)
    return Figure((before + after) / 2, "W", "measured", std=abs(after - before) / 2)


def _energy(power: PowerReading, idle_w: float, runs: int) -> Figure:
    """Energy above `idle_w` of one of so many runs in the window, mJ."""
    if power.energy_j.value is None:
        return Figure.missing("mJ", "measured", power.energy_j.reason or "")
    above_idle_j = power.energy_j.value - idle_w * power.duration_s
    return Figure(above_idle_j * 1e3 / runs, "mJ", "measured")


def _above_idle(power: PowerReading, idle: Figure, runs: int) -> Figure:
    if idle.value is None:
        return Figure.missing("mJ", "measured", idle.reason or "")
    return _energy(power, idle.value, runs)


def _keep_raw(
    architecture: Architecture, bench: _Bench, run: ProtocolRun, measured_at: str
) -> str | None:
    """Write every sample of every attempt; the file's name relative to the log's folder."""
    if bench.folder is None:
        return None
    arrays: dict[str, Any] = {"reported": np.array(run.best), "power": run.power_readings}
    for index, attempt in enumerate(run.attempts):
        arrays[f"starts_s_{index}"] = attempt.starts_s
        arrays[f"durations_s_{index}"] = attempt.durations_s
        arrays[f"warm_up_s_{index}"] = attempt.warm_up_s
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    moment = measured_at.replace(":", "").replace("+0000", "Z")
    name = f"raw/{bench.device}/{architecture.graph_hash}-{moment}.npz"
    write_atomically(bench.folder / name, buffer.getvalue())
    return name


def _failed(
    architecture: Architecture,
    bench: _Bench,
    reason: str,
    measured_at: str,
    duration_s: float,
    conditions: dict[str, Any],
) -> Measurement:
    missing: dict[str, Any] = {
        name: Figure.missing(unit, "measured", reason) for name, unit in FIGURES.items()
    }
    return Measurement(
        architecture=architecture,
        device=bench.device,
        engine=bench.engine.name,
        precision=bench.engine.precision,
        threads=bench.engine.threads,
        workload=bench.workload,
        mode=bench.mode.name,
        versions=bench.engine.versions(),
        latency_ms=None,
        batch_latency_ms=None,
        **missing,
        power=None,
        cold_start_ms=None,
        stable=False,
        drift=None,
        attempts=0,
        conditions=conditions,
        measured_at=measured_at,
        duration_s=duration_s,
        failure=reason,
    )


@contextlib.contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    """Give torch so many threads for as long as measuring lasts."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
