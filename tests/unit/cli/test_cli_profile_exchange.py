"""`edgetran profile export` and `import`: what one device has measured starts another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_world import edgetran, refused

from edgetran.records import read_records

pytestmark = [pytest.mark.slow, pytest.mark.integration]

QUICK = ["--threads", 1, "--mode", "quick", "--per-round", 1, "--power", "none", "--length", 8]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("first") / "run"
    words = [*QUICK, "--initial", 6, "--max-measurements", 6, "--device", "one"]
    result = edgetran("profile", *words, "-o", run)
    assert result.exit_code == 0, result.output
    return run


@pytest.fixture(scope="module")
def file(first: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("file") / "one.json"
    result = edgetran("profile", "export", first, "-o", path)
    assert result.exit_code == 0, result.output
    assert "6 measurements of one, torch fp32, 1 threads, batch 1, length 8" in result.stdout
    return path


def test_a_file_says_what_kind_of_device_it_is_of(file: Path) -> None:
    kind = json.loads(file.read_text())["conditions"]["kind"]
    assert kind["architecture"]


@pytest.mark.parametrize("how", ["import", "option"])
def test_another_device_starts_from_it_and_measures_only_to_correct_it(
    file: Path, tmp_path: Path, how: str
) -> None:
    run = tmp_path / "run"
    words = [*QUICK, "--initial", 4, "--max-measurements", 4, "--device", "two", "-o", run]
    if how == "import":
        result = edgetran("profile", "import", file, "-o", run)
        assert result.exit_code == 0, result.output
        assert "6 measurements of one" in result.stdout
    else:
        words += ["--prior", file]
    result = edgetran("profile", *words)
    assert result.exit_code == 0, result.output
    records = read_records(run / "profiles/two.jsonl")
    assert len([each for each in records if each["kind"] == "measurement"]) == 4
    state = json.loads((run / "profiles/two.surrogate.json").read_text())
    assert len(state["surrogate"]["priors"]) == 1
    again = edgetran("profile", *words)
    assert again.exit_code == 0, again.output
    assert read_records(run / "profiles/two.jsonl") == records


def test_what_does_not_fit_is_refused_before_anything_is_measured(
    first: Path, file: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    words = [*QUICK[:-1], 16, "--prior", file, "-o", run]
    refused(edgetran("profile", *words), "was measured with length 8", "measured with 16")
    assert not (run / "profiles").exists()
    refused(
        edgetran("profile", *QUICK, "--prior", tmp_path / "none.json", "-o", tmp_path / "other"),
        "none.json",
        "No such file",
    )
    changed = tmp_path / "changed.json"
    changed.write_text(file.read_text().replace('"threads": 1', '"threads": 2', 1))
    refused(edgetran("profile", "import", changed, "-o", tmp_path / "new"), "SHA-256")
    assert not (tmp_path / "new").exists()
    strange = tmp_path / "strange"
    strange.mkdir()
    (strange / "notes.txt").write_text("mine")
    refused(edgetran("profile", "import", file, "-o", strange), "is not the folder of a run")
    refused(edgetran("profile", "export", strange, "-o", tmp_path / "x"), "holds no profile")
    refused(
        edgetran("profile", "export", first, "--device", "two", "-o", tmp_path / "x"),
        "no profile of two",
        "allowed are one",
    )


def test_a_run_that_measures_in_other_conditions_takes_no_such_profile(
    file: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    spec = edgetran("profile", *QUICK[:-1], 16, "--print").stdout
    run.mkdir()
    (run / "spec.yaml").write_text(spec)
    refused(edgetran("profile", "import", file, "-o", run), "with length 8", "measured with 16")
    assert not (run / "priors").exists()
