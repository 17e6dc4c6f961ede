"""Data of another content is another task, wherever it is loaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgetran.training import (
    TaskError,
    TaskReference,
    TrainingPlan,
    TrialSpec,
    load_task,
    run_trial,
)
from edgetran.training.content import ROWS, hashes, model_files, task_files


def known(task: TaskReference) -> TaskReference:
    return replace(task, content=hashes(task_files(task)))


@pytest.fixture
def task(review_file: Path, tmp_path: Path) -> TaskReference:
    for part in ("train", "test"):
        (tmp_path / f"{part}.csv").write_text(review_file.read_text())
    files = {part: str(tmp_path / f"{part}.csv") for part in ("train", "test")}
    return TaskReference(files=files, overlap="keep")


def test_files_that_are_as_they_were_are_loaded(task: TaskReference) -> None:
    assert load_task(known(task)) == load_task(task)


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_file_that_changed_is_refused_by_its_name(task: TaskReference, part: str) -> None:
    reference = known(task)
    path = Path((task.files or {})[part])
    path.write_text(path.read_text().replace("dull", "slow", 1))
    with pytest.raises(TaskError, match=rf"{part}\.csv: has changed since the run began"):
        load_task(reference)


def test_a_trial_is_not_trained_on_other_data_than_the_others(
    task: TaskReference, architecture, cache: Path, tmp_path: Path
) -> None:
    spec = TrialSpec(
        architecture=architecture.to_model_dict(),
        task=known(task),
        plan=TrainingPlan(steps=2, max_length=12),
        seed=0,
        output=str(tmp_path / "trial"),
        vocab_size=300,
        cache_dir=str(cache),
    )
    path = Path((task.files or {})["train"])
    path.write_text(path.read_text().replace("dull", "slow", 1))
    outcome = run_trial(spec)
    assert outcome.error_kind == "bad-input"
    assert "has changed since the run began" in (outcome.error or "")
    assert spec.identity != replace(spec, task=known(task)).identity


def test_a_folder_is_known_by_the_files_of_its_parts(tmp_path: Path) -> None:
    folder = tmp_path / "SST-2"
    folder.mkdir()
    for name in ("train.tsv", "dev.tsv", "README.md"):
        (folder / name).write_text("x")
    assert set(task_files(TaskReference(folder=str(folder)))) == {"train.tsv", "dev.tsv"}


def test_rows_of_no_file_are_known_too(task: TaskReference, monkeypatch) -> None:
    loaded = load_task(task)
    monkeypatch.setattr("edgetran.training.loading.load_hub_task", lambda *_, **__: loaded)
    hub = TaskReference(hub="glue/sst2")
    assert load_task(replace(hub, content={ROWS: loaded.content_hash()})) == loaded
    with pytest.raises(TaskError, match="has changed since the run began"):
        load_task(replace(hub, content={ROWS: "0" * 64}))


def test_the_content_travels_with_the_reference_and_is_part_of_its_identity(
    task: TaskReference,
) -> None:
    reference = known(task)
    assert TaskReference.from_dict(reference.to_dict()) == reference
    assert reference.identity()["content"] == reference.content
    assert reference.identity() != task.identity()


def test_a_models_content_is_its_configuration_weights_and_tokenizer(tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors", "vocab.txt", "README.md", "trial.json"):
        (tmp_path / name).write_text(name)
    assert set(model_files(tmp_path)) == {"config.json", "model.safetensors", "vocab.txt"}
    assert len(hashes(model_files(tmp_path))["vocab.txt"]) == 64
