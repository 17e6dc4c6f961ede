"""The folder of a run knows what its data, tokenizer and models hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from edgetran import api
from edgetran.runner.chain import Chain, plan_chain
from edgetran.runner.folder import RunFolder
from edgetran.runner.inputs import ContentError, InputSource, RunInputs, sources
from edgetran.training.content import ROWS, model_files

DEVICE = {"name": "pi", "simulation": "raspberry-pi-4-cpu"}
SEARCH = {
    "apiVersion": "edgetran.io/v1alpha1",
    "kind": "CoDesignSearch",
    "metadata": {"name": "s"},
    "spec": {
        "task": {
            "files": {"train": "data/train.csv", "test": "data/test.csv"},
            "tokenizer": {"folder": "words"},
        },
        "designSpace": {"preset": "tiny"},
        "devices": [DEVICE],
    },
}
REFINE = {
    "apiVersion": "edgetran.io/v1alpha1",
    "kind": "GPTranRun",
    "metadata": {"name": "g"},
    "spec": {"model": "model", "task": {"folder": "RTE"}, "device": DEVICE},
}
PROFILE = {
    "apiVersion": "edgetran.io/v1alpha1",
    "kind": "ProfilingJob",
    "metadata": {"name": "p"},
    "spec": {"device": {"name": "h", "host": True}, "models": ["model", "other"]},
}


def chain_of(*resources: dict) -> Chain:
    text = "---\n".join(yaml.safe_dump(resource) for resource in resources)
    return plan_chain(api.resolve(api.load_text(text)))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    for name in (
        "data/train.csv",
        "data/test.csv",
        "words/tokenizer.json",
        "RTE/train.tsv",
        "RTE/dev.tsv",
        "model/config.json",
        "model/model.safetensors",
        "model/vocab.txt",
        "other/config.json",
        "other/model.safetensors",
    ):
        path = tmp_path / "base" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"content of {name}")
    return tmp_path / "base"


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    (tmp_path / "run").mkdir()
    return RunFolder(tmp_path / "run")


def begin(folder: RunFolder, chain: Chain, base: Path) -> None:
    inputs = RunInputs(folder, chain, base)
    inputs.check()
    inputs.keep()


def test_every_file_that_a_run_reads_is_known(base: Path) -> None:
    found = {
        source.place: set(source.files)
        for chain in (chain_of(SEARCH), chain_of(REFINE), chain_of(PROFILE))
        for source in sources(chain, base)
    }
    assert found == {
        "CoDesignSearch/s: spec.task": {"train", "test"},
        "CoDesignSearch/s: spec.task.tokenizer.folder": {"tokenizer.json"},
        "GPTranRun/g: spec.task": {"train.tsv", "dev.tsv"},
        "GPTranRun/g: spec.model": {"config.json", "model.safetensors", "vocab.txt"},
        "ProfilingJob/p: spec.models[0]": {"config.json", "model.safetensors", "vocab.txt"},
        "ProfilingJob/p: spec.models[1]": {"config.json", "model.safetensors"},
    }


def test_what_is_as_it_was_goes_on_wherever_it_lies_now(
    base: Path, folder: RunFolder, tmp_path: Path
) -> None:
    begin(folder, chain_of(SEARCH), base)
    records = folder.inputs.read_text()
    base.rename(tmp_path / "moved")
    begin(folder, chain_of(SEARCH), tmp_path / "moved")
    assert folder.inputs.read_text() == records
    assert json.loads(records.splitlines()[0])["schema_version"] == 1


@pytest.mark.parametrize(
    ("resource", "name", "place"),
    [
        (SEARCH, "data/train.csv", "CoDesignSearch/s: spec.task:"),
        (SEARCH, "data/test.csv", "CoDesignSearch/s: spec.task:"),
        (SEARCH, "words/tokenizer.json", "CoDesignSearch/s: spec.task.tokenizer.folder:"),
        (REFINE, "RTE/dev.tsv", "GPTranRun/g: spec.task:"),
        (REFINE, "model/model.safetensors", "GPTranRun/g: spec.model:"),
        (REFINE, "model/vocab.txt", "GPTranRun/g: spec.model:"),
        (PROFILE, "other/config.json", r"ProfilingJob/p: spec.models\[1\]:"),
    ],
)
def test_another_content_is_refused_by_place_and_file(
    base: Path, folder: RunFolder, resource: dict, name: str, place: str
) -> None:
    chain = chain_of(resource)
    begin(folder, chain, base)
    known = folder.inputs.read_text()
    path = base / name
    content = path.read_text()
    path.write_text(content[:-1] + "!")  # of the same size
    with pytest.raises(ContentError, match=rf"{place} .*{name} has changed \(sha-256 was"):
        RunInputs(folder, chain, base).check()
    with pytest.raises(ContentError, match="has changed"):
        RunInputs(folder, chain, base).check(complete=True)
    path.unlink()
    with pytest.raises(ContentError, match=rf"{Path(name).stem}.* is gone since this run began"):
        RunInputs(folder, chain, base).check()
    RunInputs(folder, chain, base).check(complete=True)  # its result can still be shown
    path.write_text(content)
    RunInputs(folder, chain, base).check()
    assert folder.inputs.read_text() == known


def test_a_part_that_comes_later_is_refused(base: Path, folder: RunFolder) -> None:
    begin(folder, chain_of(REFINE), base)
    (base / "RTE" / "test.tsv").write_text("new")
    with pytest.raises(ContentError, match=r"test\.tsv has come since this run began"):
        RunInputs(folder, chain_of(REFINE), base).check()


def test_a_kill_between_two_records_loses_none(base: Path, folder: RunFolder) -> None:
    begin(folder, chain_of(SEARCH), base)
    lines = folder.inputs.read_bytes().splitlines(keepends=True)
    folder.inputs.write_bytes(lines[0] + lines[1][:10])
    begin(folder, chain_of(SEARCH), base)
    assert folder.inputs.read_bytes() == b"".join(lines)


def test_nothing_is_known_of_what_was_never_usable(base: Path, folder: RunFolder) -> None:
    inputs = RunInputs(folder, chain_of(REFINE), base)
    inputs.check()  # then the model turns out to be cut off, and is fetched again
    (base / "model" / "model.safetensors").write_text("whole")
    begin(folder, chain_of(REFINE), base)


def test_the_task_is_loaded_as_it_was_hashed(base: Path, folder: RunFolder) -> None:
    from edgetran.runner import translate

    chain = chain_of(SEARCH)
    inputs = RunInputs(folder, chain, base)
    assert chain.task is not None
    reference = inputs.of(translate.task_reference(chain.task, base), chain)
    assert set(reference.content or ()) == {"train", "test"}


def test_rows_and_another_runs_winner_are_known_too(base: Path, folder: RunFolder) -> None:
    chain = chain_of(SEARCH)
    winner = InputSource("GPTranRun/g: spec.searchRef", model_files(base / "model"))
    RunInputs(folder, chain, base).know(winner)
    RunInputs(folder, chain, base).know_rows("x: spec.task", "glue/rte", "1" * 64)
    RunInputs(folder, chain, base).know_rows("x: spec.task", "glue/rte", "1" * 64)
    with pytest.raises(ContentError, match="glue/rte has changed"):
        RunInputs(folder, chain, base).know_rows("x: spec.task", "glue/rte", "2" * 64)
    (base / "model" / "model.safetensors").write_text("of another winner")
    with pytest.raises(ContentError, match=r"spec\.searchRef: .*model\.safetensors has changed"):
        RunInputs(folder, chain, base).know(winner)
    assert ROWS in folder.inputs.read_text()
