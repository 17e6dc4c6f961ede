"""Two searches share a network exactly where all that decides it is the same."""

from dataclasses import replace

import pytest

from edgetran.api import SharedWeights, Training
from edgetran.devices import Workload
from edgetran.elastic import elastic_space
from edgetran.models import FlexiBertConfig, FlexiBertForSequenceClassification, read_checkpoint
from edgetran.runner.elastic import network_fingerprint
from edgetran.runner.setting import TaskSetting
from edgetran.space import Architecture
from edgetran.training import (
    Example,
    Task,
    TaskReference,
    TrainingPlan,
    TrialSpec,
    build_tokenizer,
    encode_task,
    save_model,
)

PARENT = Architecture.homogeneous(num_layers=2, hidden_size=8, num_heads=2, feed_forward=[16])
WORDS = ("good", "bad", "fine", "dull")


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """The arguments of the fingerprint, and what makes others of them."""
    home = tmp_path_factory.mktemp("given")

    def task_of(*texts):
        rows = tuple(Example(text, None, i % 2) for i, text in enumerate(texts))
        task = Task(
            name="t",
            train=rows,
            validation=rows,
            test=rows,
            label_names=("a", "b"),
            metrics=("accuracy",),
            licence="none",
            source="made up",
        )
        return encode_task(task, build_tokenizer(task, vocab_size=80, cache_dir=home), 8)

    def setting(data, plan):
        trial = TrialSpec(
            architecture={}, task=TaskReference(name="movie-reviews"), plan=plan, seed=0, output=""
        )
        return TaskSetting(trial, data, Workload(batch_size=1, sequence_length=8))

    data, plan = task_of(*WORDS), TrainingPlan(steps=1, max_length=8)

    def parent(name, seed):
        import torch

        torch.manual_seed(seed)
        config = FlexiBertConfig.from_architecture(PARENT, vocab_size=data.vocab_size)
        save_model(FlexiBertForSequenceClassification(config), data, home / name)
        return read_checkpoint(home / name)

    first = {
        "settings": SharedWeights(steps=10),
        "space": elastic_space(PARENT, layers=[1, 2]),
        "task": setting(data, plan),
        "parent": parent("one", 1),
        "seed": 0,
    }
    others = {
        "steps": {"settings": SharedWeights(steps=11)},
        "fine-tuning": {"settings": SharedWeights(steps=10, fine_tuning=Training(epochs=2))},
        "parts": {"space": elastic_space(PARENT, layers=[1])},
        "narrower parts": {"space": elastic_space(PARENT, layers=[1, 2], hidden_sizes=[4, 8])},
        "texts": {"task": setting(task_of(*WORDS[::-1]), plan)},
        "batches": {"task": setting(data, replace(plan, batch_size=7))},
        "parent": {"parent": parent("two", 2)},
        "seed": {"seed": 1},
    }
    same = {
        "finalists": {"settings": SharedWeights(steps=10, finalists=9)},
        "training of finalists": {"task": setting(data, replace(plan, steps=5))},
        "place of the parent": {"parent": parent("copy", 1)},
    }
    return first, others, same


def test_what_decides_a_network_decides_its_fingerprint(given):
    first, others, _ = given
    known = network_fingerprint(**first)
    made = {name: network_fingerprint(**{**first, **change}) for name, change in others.items()}
    assert len({known, *made.values()}) == 1 + len(others), made


def test_what_does_not_decide_a_network_does_not(given):
    first, _, same = given
    known = network_fingerprint(**first)
    for name, change in same.items():
        assert network_fingerprint(**{**first, **change}) == known, name
