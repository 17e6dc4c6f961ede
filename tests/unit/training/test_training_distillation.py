"""What a teacher says is computed once, kept within bounds, and compared layer by layer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from edgetran.artifacts import weights_sha256
from edgetran.models import FlexiBertConfig, FlexiBertForSequenceClassification
from edgetran.space import Architecture
from edgetran.training import (
    TrainingPlan,
    build_tokenizer,
    distillation,
    encode_task,
    load_task,
    teacher_signals,
    train,
)
from edgetran.training.distillation import StateDistance, kept_signals

PLAN = TrainingPlan(steps=4, max_length=12, distillation_hidden_weight=1.0)


@pytest.fixture(scope="module")
def data(review_file, cache):
    task = load_task(files={"train": str(review_file)})
    return encode_task(task, build_tokenizer(task, vocab_size=300, cache_dir=cache), 12)


def model_of(data, architecture, seed=0):
    torch.manual_seed(seed)
    config = FlexiBertConfig.from_architecture(
        architecture, vocab_size=data.vocab_size, max_position_embeddings=12
    )
    return FlexiBertForSequenceClassification(config).eval()


def same(first, second):
    return (
        torch.equal(first.logits, second.logits)
        and all(np.array_equal(a, b) for a, b in zip(first.states, second.states, strict=True))
        and np.array_equal(first.starts, second.starts)
    )


def never_loaded():
    raise AssertionError("the teacher was loaded though what it says is known")


def test_states_are_those_of_every_token_of_every_layer(data, architecture):
    teacher = model_of(data, architecture)
    signals = teacher_signals(teacher, data)
    batch = data.batch("train", np.array([5, 2, 9]))
    with torch.no_grad():
        output = teacher(**batch.inputs(torch.device("cpu")), output_hidden_states=True)
    rows, counts = signals.rows(batch.positions)
    assert counts.tolist() == batch.attention_mask.sum(1).tolist()
    for states, kept in zip(output.hidden_states[1:], signals.states, strict=True):
        tokens = states[batch.attention_mask.bool()].numpy()
        np.testing.assert_allclose(kept[rows], tokens, atol=2e-3)
    torch.testing.assert_close(signals.logits[batch.positions], output.logits)


def test_a_teacher_is_asked_once_for_all_its_students(data, architecture, tmp_path, monkeypatch):
    teacher = model_of(data, architecture)
    passes = []
    asked = distillation.teacher_signals

    def counted(*arguments, **options):
        passes.append(1)
        return asked(*arguments, **options)

    monkeypatch.setattr(distillation, "teacher_signals", counted)
    first = kept_signals(lambda: teacher, "one", data, PLAN, tmp_path / "kept")
    again = kept_signals(lambda: teacher, "one", data, PLAN, tmp_path / "kept")
    assert len(passes) == 1
    assert same(first, again)
    assert same(first, asked(teacher, data))
    assert same(first, kept_signals(never_loaded, "one", data, PLAN, tmp_path / "kept"))
    assert all(isinstance(states, np.memmap) for states in again.states)
    kept_signals(lambda: teacher, "another", data, PLAN, tmp_path / "kept")
    logits_alone = kept_signals(
        lambda: teacher,
        "one",
        data,
        replace(PLAN, distillation_hidden_weight=0.0),
        tmp_path / "kept",
    )
    assert len(passes) == 3
    assert logits_alone.states == ()


def test_signals_whose_writing_was_cut_short_are_made_again(data, architecture, tmp_path):
    teacher = model_of(data, architecture)
    whole = teacher_signals(teacher, data)
    kept_signals(lambda: teacher, "one", data, PLAN, tmp_path / "kept")
    (folder,) = (tmp_path / "kept").iterdir()
    (folder / "signals.json").unlink()
    (folder / "layer-0.npy").unlink()
    (folder / "layer-0.npy").write_bytes(b"torn")
    assert same(kept_signals(lambda: teacher, "one", data, PLAN, tmp_path / "kept"), whole)


def test_what_is_kept_is_bounded_and_begins_with_the_first_token(data, architecture, monkeypatch):
    teacher = model_of(data, architecture)
    whole = teacher_signals(teacher, data)
    most = sum(states.nbytes for states in whole.states) // 2
    monkeypatch.setattr(distillation, "MOST_BYTES", most)
    bounded = teacher_signals(teacher, data)
    assert sum(states.nbytes for states in bounded.states) <= most
    first = bounded.states[0][bounded.starts[:-1]]
    np.testing.assert_array_equal(first, whole.states[0][whole.starts[:-1]])
    student = model_of(data, architecture, seed=1)
    assert train(student, data, PLAN, 0, teacher=bounded).steps == 4


def test_a_student_equal_to_its_teacher_has_no_distance_to_it(data, architecture):
    teacher = model_of(data, architecture)
    signals = teacher_signals(teacher, data)
    batch = data.batch("train", np.arange(8))
    distance = StateDistance.between(teacher, signals)
    with torch.no_grad():
        output = teacher(**batch.inputs(torch.device("cpu")), output_hidden_states=True)
        assert distance(output.hidden_states[1:], signals, batch) < 1e-4
        other = model_of(data, architecture, seed=3)
        output = other(**batch.inputs(torch.device("cpu")), output_hidden_states=True)
        assert distance(output.hidden_states[1:], signals, batch) > 0.5


def test_layers_are_matched_by_their_share_of_the_depth(data):
    deep = Architecture.homogeneous(num_layers=6, hidden_size=16, num_heads=2, feed_forward=[16])
    signals = teacher_signals(model_of(data, deep), data)
    assert StateDistance([16, 16], signals).matched == [2, 5]
    assert StateDistance([8, 8, 8, 8], signals).matched == [1, 2, 3, 5]
    assert StateDistance([16] * 6, signals).matched == list(range(6))


def test_a_trial_keeps_what_its_teacher_says_in_the_folder_it_is_given(
    data, architecture, tmp_path
):
    from edgetran.training import TaskReference, TrialSpec, save_model
    from edgetran.training.trial import teacher_of

    save_model(model_of(data, architecture), data, tmp_path / "teacher")
    spec = TrialSpec(
        architecture=architecture.to_model_dict(),
        task=TaskReference(files={"train": "unused.jsonl"}),
        plan=PLAN,
        seed=0,
        output=str(tmp_path / "out"),
        teacher=str(tmp_path / "teacher"),
        teacher_cache=str(tmp_path / "kept"),
    )
    signals = teacher_of(spec, data, torch.device("cpu"))
    assert len(list((tmp_path / "kept").iterdir())) == 1
    assert same(signals, teacher_of(spec, data, torch.device("cpu")))
    assert replace(spec, teacher_cache=None).identity == spec.identity
    assert len(weights_sha256(tmp_path / "teacher")) == 64
