"""What profiling tells of itself: how many architectures are measured, and how well it predicts."""

from __future__ import annotations

from statistics import median, median_low
from typing import Any, Final

from edgetran.api import ProfilingJob, ProfilingJobStatus, Reason, SurrogateError

_ALIASES: Final = {
    "latency_ms": "latencyMs",
    "energy_mj": "energyMj",
    "peak_power_w": "peakPowerW",
}


class ProfilingStory:
    """Learns from `profiles/DEVICE.jsonl`.

    Args:
        job: what is measured.
    """

    def __init__(self, job: ProfilingJob) -> None:
        self._log = f"profiles/{job.spec.device.name}.jsonl"
        models = job.spec.models
        self._total = len(models) if models else job.spec.sampling.max_measurements
        self._passes = job.spec.measurement.passes
        self._records: dict[str, list[dict[str, Any]]] = {}
        self._last_latency_ms: float | None = None
        self._last_energy_mj: float | None = None
        self._seconds = 0.0
        self._errors: tuple[SurrogateError, ...] = ()
        self._p95_errors: dict[str, float] = {}
        self._stopped = ""
        self._status: ProfilingJobStatus | None = None

    def take(self, log: str, record: dict[str, Any]) -> None:
        """Learn from a measurement, or from a summary of them."""
        if log != self._log:
            return
        self._status = None
        if record["kind"] == "measurement":
            latency = record["latency_ms"]
            self._last_latency_ms = None if latency is None else float(latency["median"])
            self._last_energy_mj = record["energy_mj"]["value"]
            self._seconds += record["duration_s"]
            self._records.setdefault(record["graph_hash"], []).append(
                {"stable": record["stable"], "latency_ms": self._last_latency_ms}
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
        """Counts, errors and the median latency."""
        if self._status is None:
            measured = [
                [each for each in records if each["latency_ms"] is not None]
                for records in self._records.values()
            ]
            measured = [records for records in measured if records]
            stable = [[each for each in records if each["stable"]] for records in measured]
            latencies = [
                median_low(each["latency_ms"] for each in some or records)
                for some, records in zip(stable, measured, strict=True)
            ]
            self._status = ProfilingJobStatus(
                measured=len(measured),
                failed=len(self._records) - len(measured),
                unstable=sum(not some for some in stable),
                errors=self._errors,
                median_latency_ms=median(latencies) if latencies else None,
            )
        return self._status

    def progress(self) -> tuple[int, int]:
        """Architectures measured in every pass, or failed, of those that may be."""
        through = sum(
            len(records) >= self._passes or all(each["latency_ms"] is None for each in records)
            for records in self._records.values()
        )
        return min(through, self._total), self._total

    def measures(self) -> dict[str, float]:
        """The device's last latency, time spent measuring, errors of prediction."""
        values = {"measuring_seconds": self._seconds}
        if self._last_latency_ms is not None:
            values["last_latency_ms"] = self._last_latency_ms
        if self._last_energy_mj is not None:
            values["last_energy_mj"] = self._last_energy_mj
        for each in self._errors:
            if each.error is not None:
                values[f"{_snake(each.measure)}_error"] = each.error
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


def _errors(summary: dict[str, Any]) -> tuple[SurrogateError, ...]:
    """The errors that a profile's summary claims; no error where a measure is not predictable."""
    claimed, refused = summary["claimed_error"], summary["not_predictable"]
    return tuple(
        SurrogateError(
            measure=alias,  # type: ignore[arg-type]
            error=None if name in refused else float(claimed[name]["mean_error"]),
            reason=str(refused[name])[:1024] if name in refused else None,
        )
        for name, alias in _ALIASES.items()
        if name in claimed or name in refused
    )


def _snake(alias: str) -> str:
    return next(name for name, each in _ALIASES.items() if each == alias)
