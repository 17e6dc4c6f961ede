from pathlib import Path

import pytest

from edgetran.space import Architecture
from edgetran.training import TaskReference

GOOD = ("good", "fine", "great", "lovely", "warm")
BAD = ("bad", "poor", "awful", "dull", "cold")
THINGS = ("film", "story", "plot", "cast", "song", "scene", "pace", "end")
TIMES = ("today", "again", "here", "now", "at last", "in all", "to me", "as ever")


def sentences():
    """(text, label) pairs whose label one word decides."""
    for label, words in enumerate((BAD, GOOD)):
        for word in words:
            for thing in THINGS:
                for time in TIMES:
                    yield f"the {thing} was {word} {time}", label


@pytest.fixture(scope="session")
def review_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "reviews.csv"
    lines = [f"{text},{('bad', 'good')[label]}" for text, label in sentences()]
    path.write_text("\n".join(["text,label", *lines]) + "\n")
    return path


@pytest.fixture(scope="session")
def score_file(tmp_path_factory) -> Path:
    """Numbers around 1000, which no freshly initialised top is near to."""
    path = tmp_path_factory.mktemp("data") / "scores.csv"
    lines = [f"{text},{1000 + 50 * label + len(text) % 3 + 0.5}" for text, label in sentences()]
    path.write_text("\n".join(["text,label", *lines]) + "\n")
    return path


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def reviews(review_file) -> TaskReference:
    return TaskReference(files={"train": str(review_file)})


@pytest.fixture(scope="session")
def architecture() -> Architecture:
    return Architecture.homogeneous(num_layers=1, hidden_size=32, num_heads=2, feed_forward=[32])
