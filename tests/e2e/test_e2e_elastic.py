"""A search of a parent's parts from one YAML: judged by shared weights, trained, killed, told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
import yaml
from conftest import call, command
from transformers import BertConfig, BertModel

from edgetran.records import read_records
from edgetran.space import Architecture
from edgetran.training import TaskReference, encoded_task, load_model, save_tokenizer

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

WORDS = (("bad", "poor", "awful", "dull"), ("good", "fine", "great", "lovely"))
THINGS = ("film", "story", "plot", "cast", "song", "scene")
TIMES = ("today", "again", "here and now", "at last", "to me")

SPEC = {
    "apiVersion": "edgetran.io/v1alpha1",
    "kind": "CoDesignSearch",
    "metadata": {"name": "parts"},
    "spec": {
        "task": {"files": {"train": "train.csv"}, "maxLength": 16},
        "parent": {"model": "bert"},
        "designSpace": {
            "elastic": {"layers": [1, 2], "heads": [1, 2], "headTypes": ["sa_sdp", "c_5", "l_dct"]}
        },
        "sharedWeights": {
            "steps": 30,
            "learningRate": 0.002,
            "calibrationExamples": 32,
            "finalists": 2,
            "fineTuning": {"steps": 40, "learningRate": 0.003},
        },
        "workload": {"batchSize": 1, "sequenceLength": 16},
        "devices": [{"name": "pi", "simulation": "raspberry-pi-4-cpu"}],
        "search": {"maxTrials": 9, "method": "random"},
        "training": {"steps": 12},
    },
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("elastic")
    rows = [
        f"the {thing} was {word} {time},{('bad', 'good')[label]}"
        for label, words in enumerate(WORDS)
        for word in words
        for thing in THINGS
        for time in TIMES
    ]
    (home / "train.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    task = TaskReference(files={"train": str(home / "train.csv")})
    data = encoded_task(task, 16, 300, cache_dir=str(home / "cache"))
    torch.manual_seed(0)
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    more = {"intermediate_size": 32, "vocab_size": 300, "max_position_embeddings": 32}
    BertModel(BertConfig(**sizes | more)).save_pretrained(home / "bert")
    save_tokenizer(data, home / "bert")
    write(home, SPEC)
    return home


def write(home: Path, spec: dict, name: str = "search.yaml") -> Path:
    path = home / name
    path.write_text(yaml.safe_dump(spec))
    return path


def run(home: Path, output: Path, *more: str) -> list[str]:
    return command("run", "-f", home / "search.yaml", "--output", output, *more)


def started(home: Path, output: Path) -> subprocess.Popen[bytes]:
    with open(output.with_suffix(".txt"), "ab") as log:
        return subprocess.Popen(
            run(home, output), stdout=log, stderr=log, cwd=home, start_new_session=True
        )


@pytest.fixture(scope="module")
def whole(home: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    output = tmp_path_factory.mktemp("whole") / "run"
    done = call(run(home, output), cwd=home)
    assert done.returncode == 0, done.stdout + done.stderr
    return output, done.stdout


def test_every_candidate_is_a_part_of_the_parent_and_the_winner_is_trained(
    whole: tuple[Path, str],
) -> None:
    output, printed = whole
    result = json.loads((output / "result.json").read_text())
    winner = Architecture.from_model_dict(result["winner"]["architecture"])
    assert all(layer.hidden_size == 24 and layer.head_dim == 12 for layer in winner.layers)
    assert load_model(output / "model").config.to_architecture() == winner
    records = read_records(output / "trials.jsonl")
    assert [record["fidelity"] for record in records] == [
        *["shared-weights"] * 9,
        *["short-training"] * 2,
        "full-training",
    ]
    assert records[0]["measures"]["accuracy"]["source"] == "estimated"
    assert records[-1]["measures"]["accuracy"]["source"] == "measured"
    assert set(records[-1]["estimates"]) == {"shared-weights", "short-training"}
    assert records[-1]["graph_hash"] == winner.graph_hash
    assert "(estimated)" in printed
    assert result["winner"]["trainingSteps"] == 40 + 30 + 12


def test_the_report_says_which_accuracies_are_estimates(whole: tuple[Path, str]) -> None:
    output, _ = whole
    assert "estimated" in (output / "report.html").read_text()


@pytest.mark.timeout(1500)
def test_a_run_killed_in_any_stage_goes_on_and_comes_to_the_same(
    home: Path, whole: tuple[Path, str], tmp_path: Path
) -> None:
    output = tmp_path / "run"
    checkpoints = output / "checkpoints"

    def trained(number: int) -> bool:
        log = output / "trials.jsonl"
        return log.exists() and len(log.read_text().splitlines()) > number

    moments = [
        lambda: any(checkpoints.glob("parent-*/trial.json")),
        lambda: (checkpoints / "elastic-made" / "elastic.json").exists(),
        lambda: (checkpoints / "elastic" / "elastic.json").exists(),
        lambda: trained(2),
        lambda: trained(9),
    ]
    for reached in moments:
        process = started(home, output)
        while not reached() and process.poll() is None:
            time.sleep(0.01)
        assert process.poll() is None, output.with_suffix(".txt").read_text()
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    done = call(run(home, output), cwd=home)
    assert done.returncode == 0, done.stdout + done.stderr

    def essence(folder: Path) -> list[dict]:
        left_out = {"started", "finished", "training_seconds", "attempts"}
        records = read_records(folder / "trials.jsonl")
        return [{k: v for k, v in r.items() if k not in left_out} for r in records]

    assert essence(output) == essence(whole[0])


def changed(**fields: object) -> dict:
    return {**SPEC, "spec": {**SPEC["spec"], **fields}}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"parent": {"model": "nowhere"}}, ["spec.parent: model: ", "nowhere does not exist"]),
        (
            {"parent": {"pythonPackage": "no-such-package"}},
            ['spec.parent: pythonPackage: Not found: "no-such-package": no such Python package'],
        ),
        (
            {"parent": {"pythonPackage": "pytest"}},
            ['spec.parent: pythonPackage: Invalid value: "pytest": must hold one folder'],
        ),
        (
            {"designSpace": {"elastic": {"layers": [3]}}},
            ["spec.designSpace.elastic: layers: Invalid value: 3: must be at most 2"],
        ),
        (
            {"designSpace": {"elastic": {"heads": [1, 4]}}},
            ["spec.designSpace.elastic: heads: Invalid value: 4: must be at most 2"],
        ),
        (
            {"designSpace": {"elastic": {"feedForwardWidths": [64]}}},
            ["spec.designSpace.elastic: feedForwardWidths: Invalid value: 64: must be at most 32"],
        ),
        ({"designSpace": {"preset": "tiny"}}, ["spec.parent: Forbidden: may only be set together"]),
        (
            {"designSpace": {"elastic": {}, "preset": "tiny"}},
            ["spec.designSpace: Invalid value: {preset, elastic}: must set either preset, elastic"],
        ),
        (
            {
                "task": {
                    "files": {"train": "train.csv"},
                    "maxLength": 16,
                    "tokenizer": {"folder": "other"},
                }
            },
            ["spec.task.tokenizer.folder: ", "is another tokenizer than that of the parent"],
        ),
        ({"workload": {"sequenceLength": 64}}, ["spec.parent: model: ", "at most 32 tokens"]),
    ],
)
def test_bad_input_is_one_sentence_before_anything_is_trained(
    home: Path, tmp_path: Path, fields: dict, words: list[str]
) -> None:
    other = home / "other"
    if not other.exists():
        data = encoded_task(TaskReference(name="movie-reviews", max_examples=50), 16, 200)
        save_tokenizer(data, other)
    path = write(home, changed(**fields), "bad.yaml")
    done = call(command("run", "-f", path, "--output", tmp_path / "run"), cwd=home)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert all(each in done.stderr for each in words), done.stderr
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_parent_without_the_tasks_number_of_classes_gets_a_new_classifier(
    home: Path, tmp_path: Path
) -> None:
    from transformers import BertForSequenceClassification

    torch.manual_seed(0)
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    more = {"intermediate_size": 32, "vocab_size": 300, "max_position_embeddings": 32}
    config = BertConfig(**sizes | more, num_labels=5)
    BertForSequenceClassification(config).save_pretrained(home / "five")
    for file in (home / "bert").glob("tokenizer*"):
        (home / "five" / file.name).write_bytes(file.read_bytes())
    spec = changed(parent={"model": "five"}, search={"maxTrials": 2, "method": "random"})
    path = write(home, spec, "five.yaml")
    done = call(command("run", "-f", path, "--output", tmp_path / "run"), cwd=home)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tells 5 classes apart and the task has 2" in done.stdout
    assert load_model(tmp_path / "run" / "model").config.num_labels == 2


def test_a_parent_that_is_gone_when_a_run_goes_on_is_told(home: Path, tmp_path: Path) -> None:
    (home / "copy").mkdir()
    for file in (home / "bert").iterdir():
        (home / "copy" / file.name).write_bytes(file.read_bytes())
    write(home, changed(parent={"model": "copy"}), "copy.yaml")
    arguments = command("run", "-f", home / "copy.yaml", "--output", tmp_path / "run")
    process = subprocess.Popen(
        arguments, cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    while not any((tmp_path / "run" / "checkpoints").glob("adopted-*")):
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for file in (home / "copy").iterdir():
        file.unlink()
    (home / "copy").rmdir()
    done = call(arguments, cwd=home)
    assert done.returncode != 0
    assert "spec.parent: " in done.stderr
    assert "is gone since this run began" in done.stderr
