"""A run that goes on is shown by its logs: how far it is, and what is best so far."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from report_world import Scenario, make_run
from test_report_tables import line, printed

from edgetran import api
from edgetran.profiling.profiling import GOES_ON
from edgetran.records import read_records
from edgetran.report import result_view, write_report
from edgetran.runner.folder import RunFolder
from edgetran.runner.partial_result import UNFINISHED, partial_result

SEARCH = """
apiVersion: edgetran.io/v1alpha1
kind: CoDesignSearch
metadata: {name: quickstart}
spec:
  task: {name: movie-reviews}
  designSpace: {preset: tiny}
  workload: {batchSize: 1, sequenceLength: 64}
  devices:
    - {name: this-host, host: true}
    - {name: raspberry-pi-4, simulation: raspberry-pi-4-cpu}
    - {name: jetson-nano, simulation: jetson-nano-gpu}
---
apiVersion: edgetran.io/v1alpha1
kind: GPTranRun
metadata: {name: better}
spec: {searchRef: {name: quickstart}}
---
apiVersion: edgetran.io/v1alpha1
kind: ProfilingJob
metadata: {name: host}
spec:
  device: {name: this-host, host: true}
  designSpace: {preset: tiny}
"""
SEARCHING, REFINING, PROFILING = api.load_text(SEARCH)


SCENARIOS = {"full": Scenario(), "profile": Scenario(search=False)}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a finished run of a scenario, without its report, which takes its time."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = make_run(tmp_path_factory.mktemp(name) / "run", SCENARIOS[name])
        return made[name]

    return folder


@pytest.fixture
def unfinished(finished, tmp_path):
    """A copy of a finished run whose result was not written yet, of the given logs."""

    def folder(name: str, *logs: str) -> RunFolder:
        for log in logs:
            source, target = finished(name) / log, tmp_path / "run" / log
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
        return RunFolder(tmp_path / "run")

    return folder


def shown(folder: RunFolder, result: dict, width: int = 120) -> str:
    folder.result.write_text(json.dumps(result, allow_nan=False))
    return printed(result_view(folder.path), width)


def test_a_search_that_goes_on_shows_its_best_trial(unfinished, finished):
    folder = unfinished("full", "trials.jsonl", "proposals.jsonl")
    result = partial_result(folder, SEARCHING)
    final = json.loads((finished("full") / "result.json").read_text())
    winner = result["winner"]
    assert winner["graphHash"] == final["searchBest"]["graphHash"]
    assert winner["device"] == final["searchBest"]["device"]
    assert result["counts"]["trials"] == final["counts"]["trials"]
    assert result["counts"]["failedTrials"] == 1
    text = shown(folder, result)
    assert "Best so far" in text
    assert f"{winner['figures']['validationAccuracy']['value']:.4f}" in line(text, "Validation")
    assert UNFINISHED in result["notes"]


def test_a_refinement_that_goes_on_shows_the_last_model_accepted(unfinished):
    folder = unfinished("full", "gptran")
    records = read_records(folder.gptran / "tree.jsonl")
    choice = next(i for i, each in enumerate(records) if each["type"] == "choice")
    text = "".join(json.dumps(each) + "\n" for each in records[: choice + 1])
    (folder.gptran / "tree.jsonl").write_text(text)
    result = partial_result(folder, REFINING, SEARCHING)
    accepted = next(each for each in records if each.get("id") == "1.0")
    assert result["winner"]["graphHash"] == accepted["graph_hash"]
    assert result["gptran"]["steps"] == ["root", "1.0"]
    assert "Best so far" in shown(folder, result)


def test_a_profile_that_goes_on_claims_the_error_of_now(unfinished):
    folder = unfinished("profile", "profiles")
    path = folder.profile("this-host")
    lines = [each for each in path.read_text().splitlines(keepends=True) if '"summary"' not in each]
    path.write_text("".join(lines[:9]))
    text = shown(folder, partial_result(folder, PROFILING))
    assert "9 architectures measured" in text
    assert "%" in line(text, "Latency")
    assert "±" in line(text, "Latency")


def test_a_profile_says_why_it_ended_once_it_has(unfinished):
    folder = unfinished("profile", "profiles")
    assert "14 architectures are measured" in shown(folder, partial_result(folder, PROFILING))
    path = folder.profile("this-host")
    text = path.read_text()
    said = json.loads(text.splitlines()[-1])["stopped"]
    path.write_text(text.replace(said, GOES_ON))
    assert "ended because" not in shown(folder, partial_result(folder, PROFILING))


def test_a_profile_of_too_few_measurements_says_so(unfinished):
    folder = unfinished("profile", "profiles")
    path = folder.profile("this-host")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    text = shown(folder, partial_result(folder, PROFILING))
    assert "2 architectures measured" in text
    assert "at least 4 are needed" in text


@pytest.mark.parametrize("width", [80, 120])
def test_a_profile_fits_the_terminal(unfinished, width):
    folder = unfinished("profile", "profiles")
    text = shown(folder, partial_result(folder, PROFILING), width)
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize(
    ("logs", "resource"),
    [
        (("trials.jsonl", "proposals.jsonl"), SEARCHING),
        (("gptran",), REFINING),
        (("spec.yaml",), SEARCHING),
    ],
)
def test_a_report_can_be_written_of_what_there_is(unfinished, logs, resource):
    folder = unfinished("full", *logs)
    search = SEARCHING if resource is REFINING else None
    folder.result.write_text(json.dumps(partial_result(folder, resource, search)))
    page = Path(write_report(folder.path)).read_text()
    assert UNFINISHED in page
