"""Engines in environments of their own: how these are made, and what is said where they are not."""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgetran.devices import EXPORT_ENGINES, METHODS, EngineError, engine
from edgetran.devices.engines.apart import Environment, session
from edgetran.devices.engines.apart.session import ApartSession

APART = ("executorch", "litert")
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGETRAN_CACHE", str(tmp_path / "cache"))
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return tmp_path / "cache"


@pytest.mark.parametrize("name", APART)
def test_a_lock_pins_all_of_an_environment_and_the_trainers_torch(name):
    import torch

    packages = Environment(name).packages
    assert packages["torch"] == torch.__version__.partition("+")[0]
    assert all(version[0].isdigit() for version in packages.values())
    assert set(EXPORT_ENGINES[name].packages) <= packages.keys()
    assert METHODS[name] == ("dynamic",)


@pytest.mark.parametrize("name", APART)
def test_the_trainers_environment_has_none_of_it(name):
    missing = set(EXPORT_ENGINES[name].packages) - {"torch"}
    installed = {found.name for found in importlib.metadata.distributions()}
    assert "torch" in installed
    assert not installed & missing


def test_an_index_that_cannot_be_reached_is_one_sentence_and_what_is_there_is_kept(
    cache, monkeypatch
):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    heard = []
    with pytest.raises(EngineError) as refused:
        engine("executorch").prepare(heard.append)
    sentence = str(refused.value)
    assert "the package index cannot be reached" in sentence
    assert "\n" not in sentence
    environment = Environment("executorch")
    assert str(environment.folder) in sentence
    assert environment.python.exists()
    assert not environment.ready
    assert heard[0] == "venv"
    heard.clear()
    with pytest.raises(EngineError, match="cannot be reached"):
        engine("executorch").prepare(heard.append)
    assert "venv" not in heard, "what an earlier attempt made is gone on from"


def test_a_cache_that_cannot_be_written_is_one_sentence(cache):
    cache.write_text("a file")
    with pytest.raises(EngineError, match="executorch: "):
        engine("executorch").prepare()


def test_an_environment_that_is_complete_is_not_touched(cache, monkeypatch):
    environment = Environment("litert")
    environment.folder.mkdir(parents=True)
    (environment.folder / "complete").touch()
    monkeypatch.setattr(subprocess, "Popen", None)
    engine("litert").prepare()
    assert engine("litert").available() is None


def test_another_lock_is_another_environment(cache):
    assert Environment("litert").folder != Environment("executorch").folder
    assert Environment("litert").folder.parent == cache / "environments"


@pytest.mark.parametrize("precision", ["int4", "bf16"])
def test_a_precision_that_the_format_lacks_is_refused(precision):
    with pytest.raises(EngineError, match=precision):
        engine("litert", precision=precision)


STEP = """
import sys
import numpy as np
sys.path.insert(0, {folder!r})
import step

class Sums:
    length = 6

    def __init__(self, path, threads):
        if path.endswith("bad"):
            raise SystemExit("no such model")

    def logits(self, row):
        print("a library chats")
        if row["input_ids"][0, 0] == 9:
            raise ValueError("nine")
        if row["input_ids"][0, 0] == 7:
            sys.exit("seven")
        return np.array([[row[name].sum() for name in sorted(row)]], np.float32)

step._OPEN["sums"] = Sums
step.main(*sys.argv[1:])
"""


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """A session whose process runs a model of ours through the real step."""
    script = tmp_path / "played.py"
    script.write_text(STEP.format(folder=str(Path(session.__file__).parent)))
    monkeypatch.setattr(session, "STEP", script)
    (tmp_path / "model").touch()
    return lambda path=tmp_path / "model": ApartSession("sums", Path(sys.executable), path, 1)


def texts(*rows):
    ids = np.array(rows)
    return {name: ids * factor for name, factor in zip(INPUTS, (1, 10, 100), strict=True)}


def test_batches_are_answered_text_by_text_padded_to_the_files_length(opened):
    with opened() as running:
        logits = running.run(texts([1, 2], [3, 4]))
        assert logits.dtype == np.float32
        assert logits.tolist() == [[30.0, 3.0, 300.0], [70.0, 7.0, 700.0]]
        assert running.run(texts([1] * 6)).tolist() == [[60.0, 6.0, 600.0]]
        with pytest.raises(EngineError, match="texts of 7 tokens given; the file takes at most 6"):
            running.run(texts([1] * 7))
        with pytest.raises(EngineError, match="input_ids is missing"):
            running.run({"attention_mask": np.ones((1, 2), np.int64)})


def test_an_error_costs_one_batch_and_an_end_is_told_with_its_reason(opened):
    with opened() as running:
        with pytest.raises(EngineError, match="sums: ValueError: nine"):
            running.run(texts([9, 1]))
        assert running.run(texts([1, 1])).shape == (1, 3)
        for _ in range(2):
            with pytest.raises(EngineError, match="sums: its process ended: seven"):
                running.run(texts([7, 1]))
        process = running._process
    assert process.poll() is not None


def test_a_file_that_cannot_be_opened_is_told_with_the_reason(opened, tmp_path):
    with pytest.raises(EngineError, match="its process ended: no such model"):
        opened(tmp_path / "bad")


def test_a_session_that_is_forgotten_leaves_no_process(opened):
    running = opened()
    process = running._process
    del running
    assert process.wait(60) == 0
