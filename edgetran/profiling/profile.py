"""A Profile: the measurements of one device under one set of conditions, and their surrogate.

On disk it is a log of JSON lines, `DEVICE.jsonl`, with records of two kinds: `measurement`, and
`summary`, which states the error that is claimed. Beside it lie the fitted surrogate,
`DEVICE.surrogate.json`, and every sample, `raw/DEVICE/*.npz`.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from edgetran.api.field_errors import unsupported
from edgetran.api.measures import BY_NAME, HARDWARE
from edgetran.devices import Figure
from edgetran.profiling.measurement import (
    FIGURES,
    KIND,
    MEASURES,
    SENSED,
    Measurement,
    MeasurementError,
    MeasurementKey,
)
from edgetran.profiling.plan import FEWEST_MEASUREMENTS, ProfilingError
from edgetran.profiling.protocol import MODES
from edgetran.profiling.surrogate import Quality, Surrogate, SurrogateError
from edgetran.records import read_records, write_atomically

SUMMARY_KIND: Final = "summary"
SUMMARY_VERSION: Final = 1
CONTRADICTION: Final = 1.5
"""Two stable latencies of one architecture further apart than this factor contradict each other."""

_RANKS: Final = {mode: rank for rank, mode in enumerate(MODES)}


@dataclass
class Profile:
    """Measurements that share a key, one per architecture.

    Attributes:
        key: device, engine, precision, threads, workload and versions of all measurements.
        measurements: one record of each architecture: of the highest mode, of those the stable
            ones, of those the middle one by latency.
        repeats: number of records of each architecture, by graph hash.
        others: number of records in the log with another key; kept and not mixed in.
        warnings: sentences about records that contradict each other.
        summary: the last summary of the key, with the claimed error; None before the first.
        priors: profiles of other devices that the surrogate starts from.
        seed: of cross-validation.
    """

    key: MeasurementKey
    measurements: tuple[Measurement, ...]
    repeats: Mapping[str, int] = field(default_factory=dict)
    others: int = 0
    warnings: tuple[str, ...] = ()
    summary: Mapping[str, Any] | None = None
    priors: Sequence[Profile] = ()
    seed: int = 0
    _surrogate: Surrogate | None = field(default=None, repr=False)

    @property
    def device(self) -> str:
        """Name of the device."""
        return self.key.device

    @property
    def measured(self) -> tuple[Measurement, ...]:
        """The measurements that did not fail."""
        return tuple(m for m in self.measurements if m.failure is None)

    @property
    def failed(self) -> tuple[Measurement, ...]:
        """The measurements that failed."""
        return tuple(m for m in self.measurements if m.failure is not None)

    @property
    def measures(self) -> tuple[str, ...]:
        """The measures that enough measurements have a value of."""
        return tuple(
            name
            for name, column in zip(MEASURES, self._targets().T, strict=True)
            if np.isfinite(column).sum() >= FEWEST_MEASUREMENTS
        )

    @property
    def missing(self) -> dict[str, str]:
        """Why each other measure has no surrogate, in the words of the latest measurement."""
        reasons = {}
        for name in MEASURES:
            if name not in self.measures:
                figures = [getattr(m.figures, name) for m in self.measured]
                reason = next((f.reason for f in reversed(figures) if f.reason), None)
                reasons[name] = reason or (
                    f"{len(figures)} measurements, at least {FEWEST_MEASUREMENTS} are needed"
                )
        return reasons

    @property
    def surrogate(self) -> Surrogate:
        """Predicts `measures` in this order, per sequence, for any architecture.

        Raises:
            ProfilingError: fewer than four architectures were measured.
        """
        if self._surrogate is None:
            self._surrogate = self._fit()
        return self._surrogate

    @property
    def quality(self) -> dict[str, Quality]:
        """Cross-validated quality of each measure in `measures`."""
        return dict(zip(self.measures, self.surrogate.quality, strict=True))

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        key: MeasurementKey | None = None,
        least_mode: str = "quick",
        priors: Sequence[Profile] = (),
        seed: int = 0,
    ) -> Profile:
        """Read the log at `path`.

        Args:
            path: the log.
            key: which records; those that share the last measurement's key by default.
            least_mode: records of a less trustworthy mode are left aside.
            priors: profiles of other devices that the surrogate starts from.
            seed: of cross-validation.

        Raises:
            ProfilingError: naming file and line of a record that cannot be read, or saying that
                the log holds no measurement.
        """
        path = Path(path)
        records, summaries = _read(path)
        if key is None:
            if not records:
                raise ProfilingError(f"{path}: holds no measurement")
            key = records[-1].key
        chosen = [
            record
            for record in records
            if record.key == key and _RANKS[record.mode] >= _RANKS[least_mode]
        ]
        best, warnings = _best(chosen)
        best, mixed = _by_one_sensor(best)
        summary = next((s for s in reversed(summaries) if s.get("key") == key_to_dict(key)), None)
        profile = cls(
            key=key,
            measurements=best,
            repeats=Counter(record.architecture.graph_hash for record in chosen),
            others=len(records) - len(chosen),
            warnings=(*warnings, *mixed),
            summary=summary,
            priors=priors,
            seed=seed,
        )
        if not priors:
            profile._surrogate = profile._load_surrogate(surrogate_path(path))
        return profile

    def save_surrogate(self, log_path: str | os.PathLike[str]) -> None:
        """Write the surrogate beside the log, with what it was fitted to."""
        state = {
            "graph_hashes": [m.architecture.graph_hash for m in self.measured],
            "measured_at": [m.measured_at for m in self.measured],
            "measures": list(self.measures),
            "surrogate": self.surrogate.to_dict(),
        }
        write_atomically(surrogate_path(log_path), json.dumps(state, allow_nan=False))

    def _load_surrogate(self, path: Path) -> Surrogate | None:
        """The saved surrogate where it was fitted to exactly these measurements, else None."""
        try:
            state = json.loads(path.read_text())
            same = (
                state["graph_hashes"] == [m.architecture.graph_hash for m in self.measured]
                and state["measured_at"] == [m.measured_at for m in self.measured]
                and state["measures"] == list(self.measures)
            )
            return Surrogate.from_dict(state["surrogate"]) if same else None
        except (OSError, KeyError, TypeError, ValueError):
            return None  # it is only a cache: fit again

    def _targets(self) -> np.ndarray:
        """Figures (n, measures) of `measured`, NaN where a figure is null."""
        rows = [[getattr(m.figures, name).value for name in MEASURES] for m in self.measured]
        return np.array(rows, dtype=np.float64).reshape(-1, len(MEASURES))

    def _fit(self) -> Surrogate:
        measures = self.measures
        if "latency_ms" not in measures:
            reasons = "; ".join(sorted({m.failure or "" for m in self.failed})[:3])
            raise ProfilingError(
                f"{self.key}: {len(self.measured)} architectures measured, at least "
                f"{FEWEST_MEASUREMENTS} are needed to predict others"
                + (f"; {len(self.failed)} failed: {reasons}" if self.failed else "")
            )
        targets = self._targets()[:, [MEASURES.index(name) for name in measures]]
        surrogate = Surrogate(
            sequence_length=self.key.workload.sequence_length,
            batch_size=self.key.workload.batch_size,
            vocab_size=self.key.workload.vocab_size,
            measures=measures,
            priors=tuple(prior.surrogate for prior in self.priors),
            seed=self.seed,
        )
        try:
            return surrogate.fit(
                [m.architecture for m in self.measured],
                np.ma.masked_invalid(targets),
            )
        except SurrogateError as error:
            raise ProfilingError(f"{self.key}: {error}") from None


def surrogate_path(log_path: str | os.PathLike[str]) -> Path:
    """Where the surrogate of the log at `log_path` is kept."""
    return Path(log_path).with_suffix(".surrogate.json")


def key_to_dict(key: MeasurementKey) -> dict[str, Any]:
    """The key as plain JSON data."""
    return {
        "device": key.device,
        "engine": key.engine,
        "precision": key.precision,
        "threads": key.threads,
        "workload": key.workload.to_dict(),
        "versions": dict(key.versions),
    }


def describe(name: str, value: float) -> str:
    """A measure with its unit, for a sentence."""
    return f"{value:.3g} {BY_NAME[name].unit}"


def read_measurements(path: str | os.PathLike[str]) -> list[Measurement]:
    """Every measurement of a log, whatever its key, in order; [] where there is no log.

    Raises:
        ProfilingError: naming file and line of a record that cannot be read.
    """
    return _read(Path(path))[0]


def _read(path: Path) -> tuple[list[Measurement], list[dict[str, Any]]]:
    """Measurements and summaries of a log, in order."""
    measurements, summaries = [], []
    for number, record in enumerate(read_records(path), start=1):
        kind = record.get("kind")
        try:
            if kind == KIND:
                measurements.append(Measurement.from_dict(record))
            elif kind == SUMMARY_KIND:
                if record.get("schema_version") != SUMMARY_VERSION:
                    raise MeasurementError(
                        f"schema_version: {record.get('schema_version')!r} given; this version "
                        f"of edgetran reads {SUMMARY_VERSION}"
                    )
                summaries.append(record)
            else:
                raise MeasurementError(f"kind: {unsupported(kind, (KIND, SUMMARY_KIND))}")
        except MeasurementError as error:
            raise ProfilingError(f"{path}:{number}: {error}") from None
    return measurements, summaries


def _trust(record: Measurement) -> tuple[bool, int, bool]:
    """By what one record of an architecture goes before another."""
    return record.failure is None, _RANKS[record.mode], record.stable


def _middle(records: Sequence[Measurement]) -> Measurement:
    """The record of the median latency, the lower one of two; the latest of failures."""
    measured = [record for record in records if record.latency_ms is not None]
    if not measured:
        return records[-1]
    medians = [record.latency_ms.median for record in measured if record.latency_ms is not None]
    return measured[int(np.argsort(medians, kind="stable")[(len(measured) - 1) // 2])]


def _sensor(record: Measurement) -> str | None:
    """What sensed the power of a measurement, and of what; None where nothing did."""
    if record.power is None or record.energy_mj.value is None:
        return None
    return f"{record.power.get('source')} ({record.power.get('scope')})"


def _by_one_sensor(
    records: tuple[Measurement, ...],
) -> tuple[tuple[Measurement, ...], tuple[str, ...]]:
    """The records with energies of one sensor alone, and a sentence where there were others.

    A package's energy is none of a board's, nor is a sum of rails one that lacks a rail: the
    sensor of most records counts, the later one of two.
    """
    counts = Counter(sensor for record in reversed(records) if (sensor := _sensor(record)))
    if len(counts) < 2:
        return records, ()
    (kept, number), *others = counts.most_common()
    reason = f"it was sensed by another sensor than {kept}"
    missing: dict[str, Any] = {
        name: Figure.missing(FIGURES[name], "measured", reason) for name in SENSED
    }
    measures = " and ".join(each.words for each in HARDWARE if each.sensed)
    one = tuple(
        record if _sensor(record) in (None, kept) else replace(record, **missing)
        for record in records
    )
    words = ", ".join(f"{times} by {sensor}" for sensor, times in others)
    return one, (
        (
            f"{measures} of {number} architectures were sensed by {kept}; those of "
            f"{words} are left out"
        ),
    )


def best_record(records: Sequence[Measurement]) -> Measurement:
    """Of records of one thing: of the highest mode, of those the stable ones, the middle one."""
    trust = max(map(_trust, records))
    return _middle([record for record in records if _trust(record) == trust])


def _best(records: Sequence[Measurement]) -> tuple[tuple[Measurement, ...], tuple[str, ...]]:
    """The best record of each architecture, and sentences about those that disagree."""
    by_hash: dict[str, list[Measurement]] = {}
    for record in records:
        by_hash.setdefault(record.architecture.graph_hash, []).append(record)
    best, warnings = [], []
    for graph_hash, same in by_hash.items():
        best.append(best_record(same))
        medians = [r.latency_ms.median for r in same if r.latency_ms is not None and r.stable]
        if medians and max(medians) > CONTRADICTION * min(medians):
            warnings.append(
                f"architecture {graph_hash}: {len(medians)} stable records contradict each other "
                f"({describe('latency_ms', min(medians))} and "
                f"{describe('latency_ms', max(medians))}); the middle one of the best mode is used"
            )
    return tuple(best), tuple(warnings)
