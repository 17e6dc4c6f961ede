"""A world to profile in: a simulated board as the truth, with noise, and published data."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from edgetran.devices import Figure, Workload, catalogue
from edgetran.profiling import Measurement, ProfilingPlan, Statistics
from edgetran.space import Architecture

WORKLOAD = Workload(1, 64)
BOARD = catalogue()["raspberry-pi-4-cpu"]
DATA = Path(__file__).resolve().parents[4] / "shared" / "data"

needs_published_data = pytest.mark.skipif(
    not DATA.is_dir(), reason="the published measurements (../shared/data) are not here"
)


def plan(**changes: object) -> ProfilingPlan:
    fields: dict[str, object] = {
        "device": "board",
        "workload": WORKLOAD,
        "threads": 1,
        "mode": "quick",
        "initial": 8,
        "batch": 4,
        "max_measurements": 20,
        "target_error": 0.01,
    }
    return ProfilingPlan(**{**fields, **changes})  # type: ignore[arg-type]


def record(
    architecture: Architecture,
    *,
    plan: ProfilingPlan,
    factor: float = 1.0,
    failure: str | None = None,
    **changes: object,
) -> Measurement:
    """What a simulated board would have measured, times a factor."""
    figures = BOARD.estimate(architecture, plan.workload)
    assert figures.latency_ms.value is not None
    latency = Statistics.of(figures.latency_ms.value * factor * np.array([0.99, 1.0, 1.01]))
    key = plan.key()
    missing = "no power source here"
    fields: dict[str, object] = {
        "architecture": architecture,
        "device": plan.device,
        "engine": plan.engine,
        "precision": plan.precision,
        "threads": key.threads,
        "workload": plan.workload,
        "mode": plan.mode,
        "versions": dict(key.versions),
        "latency_ms": None if failure else latency,
        "batch_latency_ms": None if failure else latency,
        "energy_mj": Figure.missing("mJ", "measured", missing),
        "energy_idle_subtracted_mj": Figure.missing("mJ", "measured", missing),
        "batch_energy_mj": Figure.missing("mJ", "measured", missing),
        "peak_power_w": Figure.missing("W", "measured", missing),
        "idle_power_w": Figure.missing("W", "measured", missing),
        "power": None,
        "cold_start_ms": None if failure else 12.5,
        "stable": failure is None,
        "drift": None if failure else 0.001,
        "attempts": 1,
        "failure": failure,
    }
    return Measurement(**{**fields, **changes})  # type: ignore[arg-type]


class Board:
    """Measures in place of a host, and remembers what it was asked for."""

    def __init__(
        self,
        plan: ProfilingPlan,
        *,
        noise: float = 0.01,
        dies_after: int | None = None,
        fails: Sequence[str] = (),
        with_energy: bool = False,
        slow_every: int | None = None,
    ) -> None:
        self.plan = plan
        self.noise = noise
        self.dies_after = dies_after
        self.fails = fails
        self.with_energy = with_energy
        self.slow_every = slow_every  # each n-th measurement meets other work
        self.asked: list[str] = []

    def __call__(self, architectures: Sequence[Architecture]) -> Iterator[Measurement]:
        for architecture in architectures:
            if self.dies_after is not None and len(self.asked) >= self.dies_after:
                raise KeyboardInterrupt
            graph_hash = architecture.graph_hash
            self.asked.append(graph_hash)
            if graph_hash in self.fails:
                yield record(architecture, plan=self.plan, failure="does not fit in memory")
                continue
            rng = np.random.default_rng(int(graph_hash[:8], 16))
            changes: dict[str, object] = {}
            if self.with_energy:
                energy = BOARD.estimate(architecture, self.plan.workload).energy_mj.value
                assert energy is not None
                changes["energy_mj"] = Figure(energy, "mJ", "measured")
            factor = float(np.exp(self.noise * rng.standard_normal()))
            if self.slow_every is not None and len(self.asked) % self.slow_every == 0:
                factor *= 3
            yield record(architecture, plan=self.plan, factor=factor, **changes)


def hat(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Ten features and the summed latency (ms) of HAT's published measurements."""
    with (DATA / "hat" / f"{name}.csv").open() as file:
        rows = np.array(list(csv.reader(file))[1:], dtype=float)
    return rows[:, :10], rows[:, 10] + rows[:, 11]


def protran(name: str) -> tuple[list[Architecture], np.ndarray, np.ndarray]:
    """Architectures, embeddings and latency, energy, peak power as published."""
    rows = [json.loads(line) for line in (DATA / "protran" / f"{name}.jsonl").open()]
    names = ("latency_s_per_sequence", "energy_j_per_sequence", "peak_power_w")
    return (
        [Architecture.from_model_dict(row["model_dict"]) for row in rows],
        np.array([row["embedding"] for row in rows]),
        np.array([[row[name] for name in names] for row in rows]),
    )
