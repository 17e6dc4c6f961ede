"""A task of a few made-up sentences, and an architecture that runs it in no time."""

from pathlib import Path

from edgetran.space import Architecture
from edgetran.training import Example, Task, build_tokenizer, encode_task

LAYERS = Architecture.homogeneous(num_layers=1, hidden_size=32, num_heads=2, feed_forward=[64])


def examples(count):
    return tuple(Example(f"a fine film {i}" * (i % 3 + 1), None, i % 2) for i in range(count))


def encoded(folder: Path, train=40):
    task = Task(
        name="films",
        train=examples(train),
        validation=examples(20),
        test=examples(20),
        label_names=("bad", "good"),
        metrics=("accuracy",),
        licence="none",
        source="made up",
    )
    return encode_task(task, build_tokenizer(task, vocab_size=120, cache_dir=folder), 16)
