import math

import numpy as np
import pytest
import torch

from edgetran.models import FlexiBertConfig, FlexiBertForSequenceClassification
from edgetran.training import (
    TrainingDiverged,
    TrainingPlan,
    build_tokenizer,
    encode_task,
    evaluate,
    load_task,
    predict,
    teacher_signals,
    train,
)
from edgetran.training.masked_lm import mask_tokens, masked_lm_model
from edgetran.training.optimisation import adamw, linear_schedule
from edgetran.training.plan import PlanError
from edgetran.training.regression import LabelScale, restore_top
from edgetran.training.task import Task, TaskError

PLAN = TrainingPlan(steps=40, learning_rate=5e-3, batch_size=32, max_length=12)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(review_file, cache):
    task = load_task(files={"train": str(review_file)})
    return encode_task(task, build_tokenizer(task, vocab_size=300, cache_dir=cache), 12)


@pytest.fixture(scope="module")
def new_model(data, architecture):
    def make(num_labels=2, seed=0):
        torch.manual_seed(seed)
        config = FlexiBertConfig.from_architecture(
            architecture,
            vocab_size=data.vocab_size,
            max_position_embeddings=12,
            num_labels=num_labels,
        )
        return FlexiBertForSequenceClassification(config)

    return make


def same_weights(first, second):
    return all(
        torch.equal(a, b)
        for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


def test_a_model_learns_and_is_left_in_its_best_validated_state(data, new_model):
    model = new_model()
    result = train(model, data, PLAN, seed=0)
    assert result.metrics["accuracy"] > 0.95
    assert evaluate(model, data, "validation") == pytest.approx(result.metrics)
    assert result.metrics["accuracy"] == max(entry["accuracy"] for entry in result.history)
    assert (result.steps, result.fraction) == (40, 1.0)
    assert not model.training


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(data, new_model):
    models = [new_model() for _ in range(3)]
    plan = TrainingPlan(steps=6, max_length=12)
    for model, seed in zip(models, (1, 1, 2), strict=True):
        torch.rand(seed)  # what was drawn before must not matter
        train(model, data, plan, seed=seed)
    assert same_weights(models[0], models[1])
    assert not same_weights(models[0], models[2])


def test_training_leaves_the_global_generator_as_it_was(data, new_model):
    model = new_model()
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    train(model, data, TrainingPlan(steps=2, max_length=12), seed=0)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("mlm_steps", [0, 5])
def test_a_paused_training_ends_as_one_that_was_never_paused(data, new_model, tmp_path, mlm_steps):
    plan = TrainingPlan(steps=30, mlm_steps=mlm_steps, max_length=12, learning_rate=2e-3)
    whole, parts = new_model(), new_model()
    expected = train(whole, data, plan, seed=3)
    state = tmp_path / "state.safetensors"
    for pause_at in (0.3, 0.7):
        paused = train(parts, data, plan, seed=3, state_path=state, pause_at=pause_at)
        assert pause_at <= paused.fraction < pause_at + 0.1
        assert state.is_file()
        parts = new_model()
    result = train(parts, data, plan, seed=3, state_path=state)
    assert same_weights(whole, parts)
    assert result.metrics == expected.metrics
    assert [e["step"] for e in result.history] == [e["step"] for e in expected.history]
    assert [e["train_loss"] for e in result.history] == pytest.approx(
        [e["train_loss"] for e in expected.history]
    )
    assert not state.exists()


@pytest.mark.parametrize("phase", ["masked-lm", "fine-tuning"])
def test_a_killed_training_goes_on_from_its_saved_state(
    data, new_model, tmp_path, monkeypatch, phase
):
    monkeypatch.setattr("edgetran.training.fine_tuning._SAVE_EVERY_S", 0.0)
    plan = TrainingPlan(steps=12, mlm_steps=6, max_length=12, learning_rate=2e-3)
    whole, killed, resumed = new_model(), new_model(), new_model()
    train(whole, data, plan, seed=1)

    class Killed(BaseException):
        pass

    def kill(progress):
        if progress.phase == phase and progress.step == 4:
            raise Killed

    with pytest.raises(Killed):
        train(killed, data, plan, 1, kill, state_path=tmp_path / "state")
    steps = []
    train(
        resumed,
        data,
        plan,
        1,
        lambda progress: steps.append((progress.phase, progress.step)),
        state_path=tmp_path / "state",
    )
    assert steps[0] == (phase, 4)
    assert same_weights(whole, resumed)


def test_the_state_of_another_training_is_not_taken_up(data, new_model, tmp_path):
    state = tmp_path / "state"
    plan = TrainingPlan(steps=6, max_length=12)
    train(new_model(), data, plan, seed=1, state_path=state, pause_at=0.5)
    fresh, other = new_model(), new_model()
    train(fresh, data, plan, seed=2)
    train(other, data, plan, seed=2, state_path=state)
    assert same_weights(fresh, other)
    state.write_bytes(b"torn")
    again = new_model()
    train(again, data, plan, seed=2, state_path=state)
    assert same_weights(fresh, again)


def test_a_callback_sees_validations_and_can_end_the_training(data, new_model):
    seen = []

    def stop_after_first_validation(progress):
        seen.append(progress)
        return progress.metrics is not None

    plan = TrainingPlan(epochs=5, evaluations_per_epoch=2, max_length=12)
    result = train(new_model(), data, plan, 0, stop_after_first_validation)
    assert result.steps == len(seen) == len(data.split("train")) // 32 // 2
    assert seen[-1].metrics == result.metrics
    assert result.fraction == pytest.approx(0.1, abs=0.02)


def test_a_time_budget_ends_the_training_with_its_learning_rate_used_up(data, new_model):
    fractions = []
    plan = TrainingPlan(max_seconds=1.5, max_length=12)
    result = train(new_model(), data, plan, 0, lambda p: fractions.append(p.fraction))
    assert result.seconds < 4
    assert result.fraction == 1.0
    assert fractions == sorted(fractions)
    assert fractions[-1] >= 1


def test_the_first_budget_used_up_ends_the_training(data, new_model):
    result = train(new_model(), data, TrainingPlan(steps=3, epochs=9, max_length=12), seed=0)
    assert result.steps == 3


def test_a_loss_that_is_no_number_is_reported(data, new_model):
    model = new_model()
    with torch.no_grad():
        model.classifier.weight.fill_(math.nan)
    with pytest.raises(TrainingDiverged, match="fine-tuning loss became nan at step 1"):
        train(model, data, TrainingPlan(steps=3, max_length=12), seed=0)


def test_a_regression_learns_numbers_far_from_zero(score_file, cache, new_model):
    task = load_task(files={"train": str(score_file)})
    data = encode_task(task, build_tokenizer(task, vocab_size=300, cache_dir=cache), 12)
    model = new_model(num_labels=1)
    restore_top(model, LabelScale.of(data))
    result = train(model, data, PLAN, seed=0)
    assert result.metrics["pearson"] > 0.9
    labels = data.split("test").labels
    error = predict(model, data, "test")[:, 0] - labels
    assert np.abs(error).mean() < 0.5 * labels.std()
    again = train(model, data, TrainingPlan(steps=3, learning_rate=1e-5, max_length=12), seed=0)
    assert again.metrics["loss"] < 1.5 * result.metrics["loss"] + 1


def test_predictions_do_not_depend_on_the_order_of_batches(data, new_model):
    model = new_model().eval()
    logits = predict(model, data, "test")
    for position in (0, 7, len(logits) - 1):
        with torch.no_grad():
            batch = data.batch("test", np.array([position]))
            alone = model(**batch.inputs(torch.device("cpu"))).logits[0]
        assert logits[position] == pytest.approx(alone.numpy(), abs=1e-5)


def test_a_split_with_hidden_labels_is_predicted_but_not_evaluated(data, new_model):
    hidden = tuple(type(e)(e.text) for e in data.task.test)
    task = Task(**vars(data.task) | {"extra": {"submission": hidden}})
    encoded = encode_task(task, data.tokenizer, 12)
    model = new_model()
    assert np.array_equal(predict(model, encoded, "submission"), predict(model, data, "test"))
    with pytest.raises(TaskError, match="submission split has no labels"):
        evaluate(model, encoded, "submission")


def test_mismatched_parts_are_reported_beside_the_matched_ones(data, new_model):
    task = Task(**vars(data.task) | {"extra": {"test_mismatched": data.task.train[:64]}})
    encoded = encode_task(task, data.tokenizer, 12)
    result = evaluate(new_model(), encoded, "test")
    assert result["score"] == pytest.approx(
        (result["accuracy"] + result["accuracy_mismatched"]) / 2
    )


def test_masked_lm_steps_train_the_encoder_itself(data, new_model):
    model = new_model()
    top = masked_lm_model(model)
    before = model.base_model.embeddings.word_embeddings.weight.clone()
    assert top.base_model is model.base_model
    losses = []
    plan = TrainingPlan(steps=1, mlm_steps=60, mlm_learning_rate=5e-3, max_length=12)

    class Enough(BaseException):
        pass

    def watch(progress):
        if progress.phase == "fine-tuning":
            raise Enough
        losses.append(progress.step)

    with pytest.raises(Enough):
        train(model, data, plan, 0, watch)
    assert losses == list(range(1, 61))
    assert not torch.equal(before, model.base_model.embeddings.word_embeddings.weight)


def test_masking_hides_about_the_asked_share_and_never_special_tokens(data):
    batch = data.batch("train", np.arange(400))
    generator = torch.Generator().manual_seed(0)
    ids, labels = mask_tokens(batch, data.tokenizer, 0.15, generator)
    chosen = labels != -100
    ordinary = batch.input_ids > 4
    assert not (chosen & ~ordinary).any()
    assert chosen.sum() / ordinary.sum() == pytest.approx(0.15, abs=0.03)
    assert torch.equal(labels[chosen], batch.input_ids[chosen])
    assert torch.equal(ids[~chosen], batch.input_ids[~chosen])
    masked = (ids == data.tokenizer.mask_token_id) & chosen
    assert masked.sum() / chosen.sum() == pytest.approx(0.8, abs=0.06)


def test_a_student_follows_its_teacher_rather_than_the_labels(data, new_model):
    teacher, student = new_model(), new_model(seed=1)
    train(teacher, data, PLAN, seed=0)
    with torch.no_grad():  # a teacher that says the opposite
        teacher.classifier.weight.neg_()
        teacher.classifier.bias.neg_()
    signals = teacher_signals(teacher, data)
    assert signals.logits.shape == (len(data.task.train), 2)
    plan = TrainingPlan(
        steps=120,  # states that are to agree as well take longer than the classes alone
        learning_rate=5e-3,
        max_length=12,
        distillation_weight=1.0,
        distillation_hidden_weight=0.5,
    )
    seen = []

    def watch(progress):
        seen.append(progress.metrics)

    train(student, data, plan, 0, watch, teacher=signals)
    assert min(m["accuracy"] for m in seen if m) < 0.1


def test_a_teacher_of_another_task_is_refused(data, new_model):
    with pytest.raises(ValueError, match="teacher: has 3 labels, but reviews has 2"):
        teacher_signals(new_model(num_labels=3), data)


def test_biases_and_layer_norms_do_not_decay(new_model):
    model = new_model()
    decayed, free = adamw(model, learning_rate=1.0, weight_decay=0.1, beta2=0.99).param_groups
    names = {id(p): name for name, p in model.named_parameters()}
    assert free["weight_decay"] == 0
    assert all(
        names[id(p)].endswith("bias") or "norm" in names[id(p)].lower() for p in free["params"]
    )
    assert len(decayed["params"]) + len(free["params"]) == len(list(model.parameters()))


def test_the_learning_rate_rises_then_falls_to_zero():
    rates = [linear_schedule(f, 0.1) for f in (0.0, 0.05, 0.1, 0.55, 1.0, 1.2)]
    assert rates == pytest.approx([0, 0.5, 1, 0.5, 0, 0])
    assert linear_schedule(0.0, 0.0) == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steps": 0}, "steps: Invalid value: 0: must be above 0"),
        ({"learning_rate": math.nan}, "learning_rate: Invalid value: nan: must be above 0"),
        ({"warmup": 1.5}, "warmup: Invalid value: 1.5: must be from 0 to 1"),
        ({"batch_size": 0}, "batch_size: Invalid value: 0: must be at least 1"),
        (
            {"precision": "fp8"},
            'precision: Unsupported value: "fp8": supported values: "auto", "fp32", "bf16"',
        ),
        (
            {"lr": 1},
            'training: Unsupported value: "lr": supported values: "adam_beta2", "batch_size"',
        ),
    ],
)
def test_impossible_plans_are_refused(fields, message):
    with pytest.raises(PlanError, match=message):
        TrainingPlan.from_dict(fields)


def test_a_plan_without_a_budget_is_three_epochs():
    assert TrainingPlan().total_steps(100) == 300
    assert TrainingPlan(max_seconds=1).total_steps(100) == math.inf
    assert TrainingPlan(epochs=0.5, max_seconds=1).total_steps(100) == 50
    assert TrainingPlan.from_dict(PLAN.to_dict()) == PLAN
