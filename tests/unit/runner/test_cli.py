"""Bad input gives one sentence, exit status 2 and no traceback; nothing is touched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from edgetran.cli import app

SEARCH = {
    "apiVersion": "edgetran.io/v1alpha1",
    "kind": "CoDesignSearch",
    "metadata": {"name": "s"},
    "spec": {
        "task": {"name": "movie-reviews"},
        "designSpace": {"preset": "tiny"},
        "devices": [{"name": "pi", "simulation": "raspberry-pi-4-cpu"}],
        "search": {"maxTrials": 2},
        "training": {"steps": 2},
    },
}


def edgetran(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def with_search(tmp_path: Path, spec: dict, *others: dict) -> Path:
    path = tmp_path / "search.yaml"
    documents = [SEARCH | {"spec": SEARCH["spec"] | spec}, *others]
    path.write_text("---\n".join(yaml.safe_dump(document) for document in documents))
    return path


def refused(result: Result, *words: str, status: int = 2) -> None:
    assert result.exit_code == status, result.output
    assert "Traceback" not in result.output
    assert isinstance(result.exception, SystemExit) or result.exception is None
    for word in words:
        assert word in result.stderr, result.stderr


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"serach": {}}, ["spec.serach", "search"]),
        ({"devices": [{"name": "x"}]}, ["spec.devices[0]", "host", "simulation", "nodeSelector"]),
        (
            {"devices": [{"name": "x", "nodeSelector": {"a": "b"}}]},
            ["spec.devices[0].nodeSelector", "host: true"],
        ),
        (
            {"devices": [{"name": "x", "simulation": "intel-ncs2"}]},
            ["spec.devices[0].precision", "fp16"],
        ),
        (
            {"devices": [{"name": "x", "host": True, "profileRef": {"name": "none"}}]},
            ["spec.devices[0].profileRef.name", 'Not found: "none": no ProfilingJob'],
        ),
        (
            {"constraints": {"latencyMs": {"min": 9, "max": 3}}},
            ["spec.constraints.latencyMs.min", "Invalid value: 9: must be at most max"],
        ),
        (
            {
                "designSpace": {
                    "layers": [2],
                    "hiddenSizes": [4],
                    "heads": [8],
                    "feedForwardWidths": [8],
                }
            },
            ["spec.designSpace.heads[0]", "Invalid value: 8: must be at most the smallest"],
        ),
        (
            {"search": {"method": "grid"}},
            [
                "spec.search.method",
                'Unsupported value: "grid": supported values: "bayesian", "boschcode"',
            ],
        ),
        ({"suspend": True}, ["spec.suspend", "spec.suspend=false"]),
        ({"ray": {"mode": "kuberay"}}, ["spec.ray.mode", "local"]),
        ({"task": {"files": {"train": "absent.csv"}}}, ["absent.csv"]),
    ],
)
def test_a_wrong_resource_is_refused_with_its_place(
    tmp_path: Path, spec: dict, words: list[str]
) -> None:
    path = with_search(tmp_path, spec)
    refused(edgetran("run", "-f", path, "-o", tmp_path / "run"), "search.yaml", *words)


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    path = with_search(tmp_path, {"nonsense": 1, "devices": [{"name": "x"}]})
    result = edgetran("validate", "-f", path)
    refused(result, "spec.nonsense", "spec.devices[0]")
    assert len(result.stderr.strip().splitlines()) == 2


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    path = with_search(tmp_path, {}, SEARCH | {"kind": "CoDesignSerach"})
    refused(edgetran("validate", "-f", path), "CoDesignSerach", "CoDesignSearch")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    refused(edgetran("validate", "-f", tmp_path / "no.yaml"), "no.yaml")


@pytest.mark.parametrize("setting", ["spec.search.maxTrails=3", "nonsense", "spec.search=[1"])
def test_a_wrong_setting_is_refused(tmp_path: Path, setting: str) -> None:
    path = with_search(tmp_path, {})
    refused(edgetran("validate", "-f", path, "--set", setting), setting.split("=")[0])


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("text,mood\ngood,1\nbad,0\n", ["label", "text, mood"]),
        (
            "text,label\n" + "".join(f"good {i},1\n" for i in range(50)),
            ["the label '1'", "two different labels"],
        ),
        ("text,label\n", ["no"]),
    ],
)
def test_a_dataset_that_cannot_be_learned_from_is_refused(
    tmp_path: Path, rows: str, words: list[str]
) -> None:
    data = tmp_path / "data.csv"
    data.write_text(rows)
    path = with_search(tmp_path, {"task": {"files": {"train": str(data)}}})
    refused(edgetran("run", "-f", path, "-o", tmp_path / "run"), "spec.task", "data", *words)


def test_constraints_that_nothing_can_meet_end_before_training(tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    data.write_text("text,label\n" + "".join(f"word{i} {i % 2},{i % 2}\n" for i in range(200)))
    path = with_search(
        tmp_path,
        {
            "task": {"files": {"train": str(data)}},
            "constraints": {"latencyMs": {"max": 1e-6}},
        },
    )
    result = edgetran("run", "-f", path, "-o", tmp_path / "run")
    refused(result, "latency_ms", "max 1e-06")
    assert not list((tmp_path / "run").glob("checkpoints/search/*"))


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    path = with_search(tmp_path, {})
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("years")
    refused(edgetran("run", "-f", path, "-o", tmp_path / "run"), "thesis.txt", "--output")


def test_showing_what_is_no_run_is_refused(tmp_path: Path) -> None:
    refused(edgetran("show", tmp_path), "result.json")
    refused(edgetran("gptran", "tree", tmp_path), "tree.jsonl")


def test_valid_resources_are_listed(tmp_path: Path) -> None:
    result = edgetran("validate", "-f", with_search(tmp_path, {}))
    assert result.exit_code == 0
    assert result.stdout == "CoDesignSearch/s: valid\n"


def test_devices_says_what_is_here_and_why_the_rest_is_missing() -> None:
    result = edgetran("devices", "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["host"]["logical_cores"] >= 1
    assert found["host"]["cpu_model"]
    for source in found["powerSources"]:
        assert source["available"] or source["reason"]
    assert "raspberry-pi-4-cpu" in found["simulated"]
    table = edgetran("devices").stdout
    for word in ("This host", "Cores", "ISA", "Power sources", "raspberry-pi-5-cpu"):
        assert word in table


@pytest.mark.parametrize("command", ["run", "validate", "show", "devices", "report", "gptran"])
def test_every_command_has_a_help_text(command: str) -> None:
    result = edgetran(command, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.stdout
