"""How long each phase of a run took, over all its sessions, as its log tells."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from edgetran.records import read_records


def phase_seconds(log: Path) -> dict[str, float]:
    """Busy seconds per phase over all sessions: from a phase's beginning to its last event."""
    seconds: dict[str, float] = {}
    phase: str | None = None
    begun = last = 0.0

    def close() -> None:
        if phase is not None:
            seconds[phase] = seconds.get(phase, 0.0) + last - begun

    for record in read_records(log):
        event = record.get("event")
        moment = datetime.fromisoformat(record["time"]).timestamp()
        if event in ("session", "phase"):
            close()
            phase = record.get("phase")
            begun = moment
        last = moment
        if event == "phase-end":
            close()
            phase = None
    close()
    return seconds


def first_time(log: Path) -> str:
    """When the run first began, ISO 8601, UTC."""
    return str(read_records(log)[0]["time"])
