"""The Measurement record: one architecture on one device, with conditions and uncertainty."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field
from functools import cached_property
from typing import Any, Final, NamedTuple

from edgetran.api.field_errors import invalid, unsupported
from edgetran.api.measures import HARDWARE
from edgetran.devices import Figure, FigureError, HardwareFigures, Workload
from edgetran.profiling.protocol import MODES
from edgetran.profiling.statistics import Statistics
from edgetran.space import Architecture, ArchitectureError

SCHEMA_VERSION: Final = 1
KIND: Final = "measurement"

MEASURES: Final = tuple(each.name for each in HARDWARE)
"""What a measurement holds and a surrogate predicts, per sequence."""


class MeasurementError(ValueError):
    """A record that cannot be read, or a measurement that cannot be made."""


class MeasurementKey(NamedTuple):
    """What must be equal for one measurement to stand for another."""

    device: str
    engine: str
    precision: str
    threads: int
    workload: Workload
    versions: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        versions = ", ".join(f"{name} {version}" for name, version in self.versions)
        return (
            f"{self.device}, {self.engine} {self.precision}, {self.threads} threads, batch "
            f"{self.workload.batch_size}, length {self.workload.sequence_length} ({versions})"
        )


@dataclass(frozen=True)
class Measurement:
    """One JSON record of a profile.

    A measurement that failed (`failure` is set) has no statistics and null figures.

    Attributes:
        architecture: what was measured.
        device: name of the device.
        engine: torch, onnxruntime or openvino.
        precision: fp32, fp16, bf16, int8 or int4.
        threads: threads within one operation.
        workload: batch size, length, vocabulary, labels.
        mode: quick, standard or reference.
        versions: versions of what computes.
        latency_ms: latency per sequence, ms; its median is the figure.
        batch_latency_ms: latency per batch, ms.
        energy_mj: gross energy per sequence, mJ.
        energy_idle_subtracted_mj: energy per sequence above idle, mJ.
        batch_energy_mj: gross energy per batch, mJ.
        peak_power_w: highest power over the averaging window that `power` names, W.
        idle_power_w: mean of idle power before and after, W.
        power: what the sensor said, with its notes; None where nothing ran.
        cold_start_ms: from loading the model to its first output, ms.
        stable: whether the windows of the reported run drifted by less than the mode's limit.
        drift: by how much they drifted.
        attempts: runs made.
        warm_up: iterations, seconds and whether it settled.
        outliers: number of flagged samples and the rule; none is deleted.
        conditions: of the host: governor, turbo, power mode, temperatures, pinned cores, load; and
            the artefact that was timed, with its hash.
        raw_samples: file of every sample, relative to the folder of the log.
        measured_at: start, ISO 8601 in UTC.
        duration_s: how long all of it took.
        failure: why there is no figure at all, e.g. a model that does not fit in memory.
    """

    architecture: Architecture
    device: str
    engine: str
    precision: str
    threads: int
    workload: Workload
    mode: str
    versions: Mapping[str, str]
    latency_ms: Statistics | None
    batch_latency_ms: Statistics | None
    energy_mj: Figure
    energy_idle_subtracted_mj: Figure
    batch_energy_mj: Figure
    peak_power_w: Figure
    idle_power_w: Figure
    power: Mapping[str, Any] | None
    cold_start_ms: float | None
    stable: bool
    drift: float | None
    attempts: int
    warm_up: Mapping[str, Any] = field(default_factory=dict)
    outliers: Mapping[str, Any] = field(default_factory=dict)
    conditions: Mapping[str, Any] = field(default_factory=dict)
    raw_samples: str | None = None
    measured_at: str = ""
    duration_s: float = 0.0
    failure: str | None = None

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise MeasurementError(f"mode: {unsupported(self.mode, MODES)}")
        if (self.latency_ms is None) != (self.failure is not None):
            raise MeasurementError("latency_ms: null exactly where the measurement failed")
        if self.latency_ms is not None and not self.latency_ms.median > 0:
            found = invalid(self.latency_ms.median, "must be above 0")
            raise MeasurementError(f"latency_ms.median: {found}")

    @cached_property
    def key(self) -> MeasurementKey:
        """What must be equal for this measurement to stand for another."""
        return MeasurementKey(
            self.device,
            self.engine,
            self.precision,
            self.threads,
            self.workload,
            tuple(sorted(self.versions.items())),
        )

    @property
    def artifact_sha256(self) -> str | None:
        """Hash of the artefact that was timed; None of records that do not tell."""
        artifact = self.conditions.get("artifact")
        return artifact.get("sha256") if isinstance(artifact, Mapping) else None

    @property
    def figures(self) -> HardwareFigures:
        """Per sequence: latency is the median, energy is gross; source "measured"."""
        if self.latency_ms is None:
            return HardwareFigures.infeasible("measured", self.failure or "")
        spread = self.latency_ms.iqr / 1.349  # of a normal distribution
        figures: dict[str, Any] = {name: getattr(self, name) for name in MEASURES}
        figures["latency_ms"] = Figure(self.latency_ms.median, "ms", "measured", std=spread)
        return HardwareFigures(**figures)

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON data, with its schema version and the graph hash."""
        data: dict[str, Any] = {
            "kind": KIND,
            "schema_version": SCHEMA_VERSION,
            "graph_hash": self.architecture.graph_hash,
            "architecture": self.architecture.to_model_dict(),
        }
        for name, value in vars(self).items():
            if name in ("architecture", "key"):
                continue
            if isinstance(value, Statistics | Figure | Workload):
                data[name] = value.to_dict()
            else:
                data[name] = dict(value) if isinstance(value, Mapping) else value
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Measurement:
        """The inverse of `to_dict`.

        Raises:
            MeasurementError: another schema version, an entry that is missing or unknown, a
                number that is not finite, or a graph hash that is not the architecture's.
        """
        version = data.get("schema_version")
        if version != SCHEMA_VERSION:
            raise MeasurementError(
                f"schema_version: {version!r} given; this version of edgetran reads "
                f"{SCHEMA_VERSION}"
            )
        _check_finite(data, "")
        names = set(cls.__dataclass_fields__)
        given = set(data) - {"kind", "schema_version", "graph_hash"}
        if given | _LATER != names:
            wrong = sorted((given | _LATER) ^ names)
            state = "missing" if wrong[0] in names else "unknown"
            raise MeasurementError(f"{wrong[0]}: {state} in a measurement")
        values = dict(data)
        for name in ("kind", "schema_version"):
            del values[name]
        graph_hash = values.pop("graph_hash")
        try:
            values["architecture"] = Architecture.from_model_dict(data["architecture"])
            values["workload"] = Workload.from_dict(data["workload"])
            for name in FIGURES.keys() & given:
                values[name] = Figure.from_dict(data[name])
            for name in _STATISTICS:
                if data[name] is not None:
                    values[name] = Statistics.from_dict(data[name])
        except (ArchitectureError, FigureError) as error:
            raise MeasurementError(str(error)) from None
        except (TypeError, ValueError, AttributeError) as error:
            raise MeasurementError(f"not a measurement: {error}") from None
        measurement = cls(**values)
        if measurement.architecture.graph_hash != graph_hash:
            raise MeasurementError(
                f"graph_hash: {graph_hash!r} given, but the architecture's is "
                f"{measurement.architecture.graph_hash}"
            )
        return measurement


_STATISTICS: Final = ("latency_ms", "batch_latency_ms")

FIGURES: Final = {
    "energy_idle_subtracted_mj": "mJ",
    "batch_energy_mj": "mJ",
    "idle_power_w": "W",
    **{each.name: each.unit for each in HARDWARE if each.name not in _STATISTICS},
}
"""The fields that are figures, and their units."""

SENSED: Final = (
    "energy_idle_subtracted_mj",
    "batch_energy_mj",
    "idle_power_w",
    *(each.name for each in HARDWARE if each.sensed),
)
"""Those that come from a power sensor."""

_LATER: Final = {
    name for name in FIGURES if Measurement.__dataclass_fields__[name].default is not MISSING
}
"""Those that records lack which are older than the measure."""


def _check_finite(value: Any, where: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise MeasurementError(f"{where}: {value!r} is not a finite number")
    if isinstance(value, Mapping):
        for name, entry in value.items():
            _check_finite(entry, f"{where}.{name}" if where else str(name))
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            _check_finite(entry, f"{where}[{index}]")
