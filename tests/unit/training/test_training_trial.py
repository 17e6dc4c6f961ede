import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import BertConfig, BertModel

from edgetran.artifacts import Artifact, Form, open_artifact
from edgetran.devices.engines import TorchEngine
from edgetran.space import Architecture
from edgetran.training import (
    RayClusterError,
    RaySettings,
    Scoring,
    TaskReference,
    TrainingPlan,
    TrialOutcome,
    TrialPool,
    TrialSpec,
    encoded_task,
    evaluate,
    finished_trial,
    load_model,
    load_tokenizer,
    run_trial,
    save_tokenizer,
)
from edgetran.training.cluster import RayCluster

PLAN = TrainingPlan(steps=16, learning_rate=5e-3, max_length=12)


@pytest.fixture
def spec(reviews, architecture, cache, tmp_path):
    return TrialSpec(
        architecture=architecture.to_model_dict(),
        task=reviews,
        plan=PLAN,
        seed=0,
        output=str(tmp_path / "trial"),
        vocab_size=300,
        cache_dir=str(cache),
    )


def test_a_trial_leaves_a_folder_that_predicts_what_it_reported(spec):
    outcome = run_trial(spec)
    assert outcome.succeeded
    assert outcome.score == outcome.metrics["accuracy"]
    assert outcome.parameters > 10_000
    assert outcome.transfer_ratio is None
    model = load_model(outcome.folder)
    data = encoded_task(spec.task, 12, 300, cache_dir=spec.cache_dir)
    assert evaluate(model, data, "validation") == pytest.approx(dict(outcome.metrics))
    assert model.config.id2label == {0: "bad", 1: "good"}
    assert load_tokenizer(outcome.folder).model_max_length == 12
    assert {path.name for path in Path(outcome.folder).iterdir()} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "trial.json",
    }
    assert not list(Path(spec.output).parent.glob(".trial.*"))


def test_specs_and_outcomes_are_json(spec):
    assert TrialSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    outcome = run_trial(spec)
    assert TrialOutcome.from_dict(json.loads(json.dumps(outcome.to_dict()))) == outcome
    newer = outcome.to_dict() | {"colour": "blue"}
    assert TrialOutcome.from_dict(newer) == outcome


def test_a_trained_model_is_scored_as_the_artifact_of_each_form(spec):
    forms = (Form("torch", "int8"), Form("torch", "bf16"))
    plain = run_trial(spec)
    written = Path(spec.output, "model.safetensors").stat().st_mtime_ns
    wanted = replace(spec, scored_as=tuple(Scoring(form, 1) for form in forms))
    assert TrialSpec.from_dict(json.loads(json.dumps(wanted.to_dict()))) == wanted
    assert finished_trial(wanted) is None
    outcome = run_trial(wanted)
    assert Path(spec.output, "model.safetensors").stat().st_mtime_ns == written
    assert outcome == run_trial(wanted) == finished_trial(wanted)
    assert replace(outcome, scores={}) == plain
    data = encoded_task(spec.task, 12, 300, cache_dir=spec.cache_dir)
    for form in forms:
        artifact = Artifact.load(Path(spec.output, "artifacts", form.name))
        score = outcome.scores[form.name]
        assert score["sha256"] == artifact.sha256
        with open_artifact(artifact, form.make_engine(1), None) as session:
            again = evaluate(session, data, "validation", batch_size=1)
        assert score["metrics"] == again
        assert again["loss"] == pytest.approx(plain.metrics["loss"], rel=0.2)
        assert again["loss"] != plain.metrics["loss"]


def test_a_form_that_has_no_engine_here_is_a_score_with_the_reason(spec, monkeypatch):
    monkeypatch.setattr(TorchEngine, "available", lambda self: "torch is not installed")
    outcome = run_trial(replace(spec, scored_as=(Scoring(Form("torch", "int8"), 1),)))
    assert outcome.succeeded
    assert outcome.scores["torch-int8"]["error"] == "torch is not installed"


def test_a_finished_trial_is_not_trained_again(spec):
    first = run_trial(spec)
    written = Path(spec.output, "model.safetensors").stat().st_mtime_ns
    assert run_trial(spec) == first == finished_trial(spec)
    assert Path(spec.output, "model.safetensors").stat().st_mtime_ns == written
    assert finished_trial(replace(spec, seed=1)) is None
    assert run_trial(replace(spec, seed=1)).metrics != first.metrics


def test_a_paused_trial_goes_on_to_what_it_would_have_been(spec, tmp_path):
    whole = run_trial(spec)
    parts = replace(spec, output=str(tmp_path / "parts"))
    paused = run_trial(replace(parts, pause_at=0.25))
    assert (paused.steps, paused.fraction) == (4, 0.25)
    assert finished_trial(replace(parts, pause_at=0.2)) == paused
    assert finished_trial(parts) is None
    finished = run_trial(parts)
    assert finished.metrics == whole.metrics
    weights = [Path(s.output, "model.safetensors").read_bytes() for s in (spec, parts)]
    assert weights[0] == weights[1]


def test_a_child_inherits_from_its_parent(spec, tmp_path):
    spec = replace(spec, plan=replace(PLAN, steps=60))
    parent = run_trial(spec)
    wider = Architecture.homogeneous(
        num_layers=2, hidden_size=32, num_heads=2, feed_forward=[48]
    ).to_model_dict()
    short = TrainingPlan(steps=1, learning_rate=1e-6, max_length=12)
    child = replace(
        spec,
        architecture=wider,
        plan=short,
        parent=parent.folder,
        preserve_function=True,
        output=str(tmp_path / "child"),
    )
    orphan = replace(child, parent=None, output=str(tmp_path / "orphan"))
    inherited, fresh = run_trial(child), run_trial(orphan)
    assert 0.3 < inherited.transfer_ratio < 1
    assert inherited.metrics["accuracy"] == pytest.approx(parent.metrics["accuracy"], abs=0.03)
    assert inherited.metrics["loss"] < fresh.metrics["loss"]


def test_a_trial_can_start_from_a_model_as_it_is(spec, tmp_path):
    first = run_trial(spec)
    again = replace(spec, initial=first.folder, output=str(tmp_path / "again"))
    short = replace(again, plan=TrainingPlan(steps=1, learning_rate=1e-6, max_length=12))
    outcome = run_trial(short)
    assert outcome.metrics["loss"] == pytest.approx(first.metrics["loss"], rel=1e-3)
    other = Architecture.homogeneous(
        num_layers=1, hidden_size=32, num_heads=4, feed_forward=[32]
    ).to_model_dict()
    refused = run_trial(replace(again, architecture=other))
    assert refused.error_kind == "bad-input"
    assert "another architecture" in refused.error


def test_a_bert_checkpoint_is_a_parent_and_its_tokenizer_is_taken_over(spec, tmp_path):
    bert = BertModel(
        BertConfig(
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            vocab_size=300,
            max_position_embeddings=64,
        )
    )
    folder = tmp_path / "bert"
    bert.save_pretrained(folder)
    data = encoded_task(spec.task, 12, 300, cache_dir=spec.cache_dir)
    save_tokenizer(data, folder)
    outcome = run_trial(replace(spec, parent=str(folder), tokenizer_folder=str(folder)))
    assert outcome.succeeded
    assert outcome.transfer_ratio > 0.9


def test_a_trial_can_learn_from_a_teacher(spec, tmp_path):
    plan = replace(PLAN, steps=40, distillation_weight=0.9)
    teacher = run_trial(replace(spec, plan=plan))
    student = replace(spec, plan=plan, teacher=teacher.folder, output=str(tmp_path / "student"))
    assert run_trial(student).score > 0.8


def test_embeddings_of_another_vocabulary_are_not_inherited(spec, tmp_path):
    parent = run_trial(spec)
    child = replace(spec, vocab_size=100, parent=parent.folder, output=str(tmp_path / "child"))
    outcome = run_trial(child)
    assert outcome.error_kind == "bad-input"
    assert "another tokenizer" in outcome.error
    named = run_trial(replace(child, tokenizer_folder=parent.folder))
    assert named.succeeded
    assert named.transfer_ratio == 1.0


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"plan": replace(PLAN, learning_rate=1e30, warmup=0.0)}, "diverged", "loss became"),
        ({"task": TaskReference(files={"train": "none.csv"})}, "bad-input", "no such file"),
        ({"parent": "nowhere"}, "bad-input", "nowhere"),
        ({"architecture": {"l": 1}}, "bad-input", "Required value"),
        ({"model_options": {"max_position_embeddings": 4}}, "bad-input", ""),
    ],
)
def test_what_goes_wrong_is_an_outcome_of_one_line(spec, changes, kind, words):
    outcome = run_trial(replace(spec, **changes))
    assert not outcome.succeeded
    assert outcome.score is None
    assert outcome.error_kind == kind
    assert words in outcome.error
    assert "\n" not in outcome.error
    assert not Path(spec.output).exists()


def test_lack_of_memory_and_of_space_have_their_own_kinds(spec, monkeypatch):
    import errno

    for error, kind in (
        (MemoryError(), "out-of-memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "out-of-memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "no-space"),
        (ZeroDivisionError("x"), "error"),
    ):

        def fail(*_, error=error):
            raise error

        monkeypatch.setattr("edgetran.training.trial._run", fail)
        outcome = run_trial(spec)
        assert outcome.error_kind == kind
        assert outcome.error


def test_an_inline_pool_hands_back_every_trial_with_its_key(spec, tmp_path):
    with TrialPool(0) as pool:
        pool.submit("good", spec)
        pool.submit("bad", replace(spec, parent="nowhere", output=str(tmp_path / "bad")))
        outcomes = pool.completed()
        first = next(outcomes)
        pool.submit("late", replace(spec, seed=1, output=str(tmp_path / "late")))
        assert pool.pending == 2
        rest = list(outcomes)
    assert first.key == "good"
    assert [outcome.key for outcome in rest] == ["bad", "late"]
    assert [outcome.succeeded for outcome in rest] == [False, True]


def test_a_pool_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="parallelism: Invalid value: -1: must be at least 0"):
        TrialPool(-1)
    with pytest.raises(
        ValueError,
        match=r'ray\.mode: Unsupported value: "remote": supported values: "local", "cluster"',
    ):
        RaySettings(mode="remote")
    with pytest.raises(ValueError, match=r"ray\.address: .*with mode cluster"):
        RaySettings(mode="cluster")


def test_a_missing_client_of_ray_names_the_extra(monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    settings = RaySettings(mode="cluster", address="ray://127.0.0.1:9")
    with pytest.raises(RayClusterError, match=r'client: pip install "edgetran\[ray-cluster\]"'):
        RayCluster(settings, num_cpus=1)


class BusyHead:
    """A Ray whose head fails to start a client's server some times."""

    def __init__(self, failures):
        self.failures = failures
        self.connected = False

    def is_initialized(self):
        return self.connected

    def init(self, **options):
        assert not self.connected
        self.connected = True  # as Ray's client, which wants to be shut down after a failure
        self.failures -= 1
        if self.failures >= 0:
            raise ConnectionAbortedError(
                "Initialization failure from server:\nTraceback (most recent call last):\n"
                '  File "proxier.py"\nRuntimeError: Starting Ray client server failed.\n'
            )

    def shutdown(self):
        self.connected = False


def test_a_head_that_fails_to_serve_a_client_once_is_asked_again(monkeypatch):
    ray = BusyHead(failures=2)
    monkeypatch.setattr("edgetran.training.cluster._import_ray", lambda local: ray)
    monkeypatch.setattr("edgetran.training.cluster._CLIENT_PAUSE_S", 0)
    RayCluster(RaySettings(mode="cluster", address="auto"), num_cpus=1)
    assert ray.connected


def test_what_ray_says_in_many_lines_becomes_one_sentence(monkeypatch):
    ray = BusyHead(failures=99)
    monkeypatch.setattr("edgetran.training.cluster._import_ray", lambda local: ray)
    monkeypatch.setattr("edgetran.training.cluster._CLIENT_PAUSE_S", 0)
    expected = (
        "^ray: Initialization failure from server: RuntimeError: Starting Ray client server failed"
    )
    with pytest.raises(RayClusterError, match=expected):
        RayCluster(RaySettings(mode="cluster", address="auto"), num_cpus=1)


def test_importing_the_room_imports_neither_torch_nor_ray():
    code = "import sys, edgetran.training; print({'torch', 'ray'} & set(sys.modules))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert printed.stdout.strip() == "set()"
