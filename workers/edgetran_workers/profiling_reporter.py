"""What profiling tells of itself: how many architectures are measured, and how well it predicts."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median, median_low
from typing import Any, NamedTuple

from edgetran.api import PredictionError, ProfilingJob, ProfilingJobStatus, Reason
from edgetran.api.measures import BY_ALIAS, HARDWARE
from edgetran.api.profiling_job import CostRange, MeasuredCosts


class _Record(NamedTuple):
    """What counts of one measurement; no figures where it failed."""

    stable: bool
    figures: dict[str, float]


class ProfilingReporter:
    """Learns from `profiles/DEVICE.jsonl`.

    Args:
        job: what is measured.
    """

    def __init__(self, job: ProfilingJob) -> None:
        self._log = f"profiles/{job.spec.device.name}.jsonl"
        models = job.spec.models
        self._total = len(models) if models else job.spec.sampling.max_measurements
        self._passes = job.spec.measurement.passes
        self._records: dict[str, list[_Record]] = {}
        self._last: dict[str, float] = {}
        self._seconds = 0.0
        self._errors: tuple[PredictionError, ...] = ()
        self._p95_errors: dict[str, float] = {}
        self._stopped = ""
        self._status: ProfilingJobStatus | None = None

    def take(self, log: str, record: dict[str, Any]) -> None:
        """Learn from a measurement, or from a summary of them."""
        if log != self._log:
            return
        self._status = None
        if record["kind"] == "measurement":
            self._last = _figures(record)
            self._seconds += record["duration_s"]
            self._records.setdefault(record["graph_hash"], []).append(
                _Record(bool(record["stable"]), self._last)
            )
        else:
            self._stopped = record["stopped"]
            self._errors = _errors(record)
            self._p95_errors = {
                name: float(quality["p95_error"])
                for name, quality in record["claimed_error"].items()
                if quality["predictable"]
            }

    def status(self) -> ProfilingJobStatus:
        """Counts, errors, and what the architectures cost."""
        if self._status is None:
            measured = [
                [each for each in records if each.figures] for records in self._records.values()
            ]
            measured = [records for records in measured if records]
            stable = [[each for each in records if each.stable] for records in measured]
            used = [some or records for some, records in zip(stable, measured, strict=True)]
            self._status = ProfilingJobStatus(
                measured=len(measured),
                failed=len(self._records) - len(measured),
                unstable=sum(not some for some in stable),
                errors=self._errors,
                costs=_costs(used),
            )
        return self._status

    def progress(self) -> tuple[int, int]:
        """Architectures measured in every pass, or failed, of those that may be."""
        through = sum(
            len(records) >= self._passes or not any(each.figures for each in records)
            for records in self._records.values()
        )
        return min(through, self._total), self._total

    def measures(self) -> dict[str, float]:
        """The device's last figures, time spent measuring, errors of prediction."""
        values = {"measuring_seconds": self._seconds}
        values |= {f"last_{name}": value for name, value in self._last.items()}
        for each in self._errors:
            if each.error is not None:
                values[f"{BY_ALIAS[each.measure].name}_error"] = each.error
        for name, error in self._p95_errors.items():
            values[f"{name}_p95_error"] = error
        return values

    def ending(self) -> tuple[Reason, str]:
        """Why measuring stopped."""
        reason = Reason.SUCCEEDED
        if self._stopped.startswith("the error is at most"):
            reason = Reason.TARGET_ERROR_REACHED
        elif self._stopped.endswith("the maximum"):
            reason = Reason.MAX_MEASUREMENTS_REACHED
        return reason, self._stopped


def _figures(record: dict[str, Any]) -> dict[str, float]:
    """The figures that a measurement has, by measure; none of one that failed."""
    if record["latency_ms"] is None:
        return {}
    figures = {}
    for name in (each.name for each in HARDWARE):
        told = record.get(name) or {}
        value = told.get("median", told.get("value"))
        if value is not None:
            figures[name] = float(value)
    return figures


def _costs(architectures: Sequence[Sequence[_Record]]) -> MeasuredCosts | None:
    """Range and median of each measure; of the records of an architecture its median counts."""
    found = {}
    for name in (each.name for each in HARDWARE):
        known = [
            [each.figures[name] for each in records if name in each.figures]
            for records in architectures
        ]
        values = [median_low(each) for each in known if each]
        if values:
            found[name] = CostRange(min=min(values), median=median(values), max=max(values))
    return MeasuredCosts.model_validate(found) if found else None


def _errors(summary: dict[str, Any]) -> tuple[PredictionError, ...]:
    """The errors that a profile's summary claims; no error where a measure is not predictable."""
    claimed, refused = summary["claimed_error"], summary["not_predictable"]
    return tuple(
        PredictionError(
            measure=alias,
            error=None if name in refused else float(claimed[name]["mean_error"]),
            reason=str(refused[name])[:1024] if name in refused else None,
        )
        for name, alias in ((each.name, each.alias) for each in HARDWARE)
        if name in claimed or name in refused
    )
