"""Runs of several kinds, each made and rendered once."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_world import Scenario, make_run

from edgetran.report import write_report

HOSTILE = "<script>alert('x')</script>"
SCENARIOS = {
    "full": Scenario(),
    # No energy, no baseline, no GPTran, failed trials, and every name an attack.
    "bare": Scenario(
        name=f"run {HOSTILE}",
        task=f"task {HOSTILE}",
        device="<img src=x onerror=alert(1)>",
        error=f"diverged {HOSTILE} <b>bold</b>",
        energy=False,
        baseline=False,
        gptran=False,
        failing=frozenset({0, 5}),
    ),
    "profile": Scenario(search=False),
}


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    """The folder of a finished run of a scenario, its report written."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = make_run(tmp_path_factory.mktemp(name) / "run", SCENARIOS[name])
            write_report(made[name])
        return made[name]

    return folder
