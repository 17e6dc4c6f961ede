"""What measuring a run's finalists tells of itself: what each artefact costs on the board."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgetran.api import MeasuredFinalist, MeasureValue, ProfilingJob, ProfilingJobStatus, Reason
from edgetran.api.measures import HARDWARE
from edgetran.runner.finalist_rows import FINALISTS, measurable_rows
from edgetran.runner.row_measures import measures_of
from edgetran.search import Objective
from edgetran_workers.candidates import made_for


class FinalistsReporter:
    """Learns from `profiles/final/DEVICE.jsonl` and, at the end, `result.json`.

    Args:
        job: what is measured.
    """

    def __init__(self, job: ProfilingJob) -> None:
        self._device = job.spec.device.name
        self._stage = f"Measure on {self._device}"
        self._log = f"profiles/final/{self._device}.jsonl"
        self._progress = (0, 0)
        self._seconds = 0.0
        self._finalists: tuple[MeasuredFinalist, ...] = ()

    def take(self, log: str, record: dict[str, Any]) -> None:
        """Learn from a measurement, the progress or the result."""
        if log == self._log and record.get("kind") == "measurement":
            self._seconds += record["duration_s"]
        elif log == "log.jsonl" and record.get("stage") == self._stage:
            self._progress = record["done"], record["total"]
        elif log == "result.json":
            told = record.get("judgedBy")
            objective = None if told is None else Objective.from_dict(told)
            rows = measurable_rows(record).items()
            self._finalists = tuple(
                _finalist(key, row, objective)
                for key, row in rows
                if row["measurement"]["failure"] is None or key in FINALISTS
            )

    def status(self) -> ProfilingJobStatus:
        """Each finalist's figures."""
        stable = sum(each.stable for each in self._finalists)
        return ProfilingJobStatus(
            measured=len(self._finalists),
            unstable=len(self._finalists) - stable,
            finalists=self._finalists,
        )

    def progress(self) -> tuple[int, int]:
        """Measurements made, of those that there will be."""
        return self._progress

    def measures(self) -> dict[str, float]:
        """Time spent measuring."""
        return {"measuring_seconds": self._seconds}

    def ending(self) -> tuple[Reason, str]:
        """What the winner takes."""
        winner = next((each for each in self._finalists if each.finalist == "winner"), None)
        latency = None if winner is None else winner.hardware("latency_ms")
        words = f"{len(self._finalists)} finalists were measured beside one another"
        if latency is not None and latency.value is not None:
            words += f"; the winner takes {latency.value:.3g} ms on {self._device}"
        return Reason.SUCCEEDED, words


def _finalist(key: str, row: Mapping[str, Any], objective: Objective | None) -> MeasuredFinalist:
    figures = row["figures"]
    values = {
        each.name: MeasureValue(
            value=figures[each.alias]["value"], source=figures[each.alias]["source"]
        )
        for each in HARDWARE
        if each.alias in figures
    }
    return MeasuredFinalist.model_validate(
        {
            "finalist": key,
            "artifact": row["artifact"]["sha256"],
            "trial": row.get("trial"),
            "architecture": row["graphHash"],
            "accuracy": figures["validationAccuracy"]["value"],
            "test_accuracy": figures["accuracy"]["value"],
            "parameters": int(figures["parameters"]["value"]),
            "made_for": made_for(row["artifact"]),
            "stable": row["measurement"]["stable"],
            "objective": None
            if objective is None or row["measurement"]["failure"] is not None
            else objective.value(measures_of(row)),
            **values,
        }
    )
