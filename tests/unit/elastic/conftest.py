"""A task that one word decides, a parent that has learned it, and the network made of it."""

import pytest
import torch

from edgetran.elastic import elastic_space, make_elastic
from edgetran.models import FlexiBertConfig, FlexiBertForSequenceClassification
from edgetran.space import Architecture
from edgetran.training import (
    Example,
    Task,
    TrainingPlan,
    build_tokenizer,
    encode_task,
    teacher_signals,
    train,
)

PARENT = Architecture.homogeneous(num_layers=3, hidden_size=24, num_heads=4, feed_forward=[32])
WORDS = (("bad", "poor", "awful", "dull"), ("good", "fine", "great", "lovely"))
THINGS = ("film", "story", "plot", "cast", "song", "scene")
TIMES = ("today", "again", "here and now", "at last", "in all that there is", "to me")


def examples(first, step):
    sentences = [
        Example(f"the {thing} was {word} {time}", None, label)
        for label, words in enumerate(WORDS)
        for word in words
        for thing in THINGS
        for time in TIMES
    ]
    return tuple(sentences[first::step])


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    task = Task(
        name="films",
        train=tuple(e for i, e in enumerate(examples(0, 1)) if i % 5),
        validation=examples(0, 5),
        test=examples(0, 5),
        label_names=("bad", "good"),
        metrics=("accuracy",),
        licence="none",
        source="made up",
    )
    cache = tmp_path_factory.mktemp("cache")
    return encode_task(task, build_tokenizer(task, vocab_size=200, cache_dir=cache), 16)


@pytest.fixture(scope="session")
def parent(data):
    torch.manual_seed(0)
    config = FlexiBertConfig.from_architecture(
        PARENT, vocab_size=data.vocab_size, max_position_embeddings=16
    )
    model = FlexiBertForSequenceClassification(config)
    train(model, data, TrainingPlan(steps=150, learning_rate=3e-3, max_length=16), 0)
    return model.eval()


@pytest.fixture(scope="session")
def calibration(data):
    return list(data.ordered_batches("train", 32))


@pytest.fixture(scope="session")
def signals(parent, data):
    return teacher_signals(parent, data)


@pytest.fixture(scope="session")
def space():
    return elastic_space(
        PARENT,
        layers=(1, 2, 3),
        heads=(1, 2, 4),
        head_types=("sa_sdp", "l_dct", "c_5"),
        hidden_sizes=(24, 16),
    )


@pytest.fixture
def elastic(parent, calibration, space):
    return make_elastic(parent, calibration, space.head_types, space.hidden_sizes)
