"""A figure that no learning is needed for is never given without a word."""

import pytest

from edgetran.runner.uninformative_scores import uninformative_scores
from edgetran.training import Example, Task


def task(labels, names=("no", "yes"), metrics=("accuracy",)):
    test = tuple(Example(f"text {i}", None, label) for i, label in enumerate(labels))
    return Task("t", (), (), test, names, metrics)


def winner(value):
    return {"figures": {"accuracy": {"value": value}}}


@pytest.mark.parametrize("reached", [0.0, 0.5, 0.75])
def test_an_accuracy_that_one_answer_reaches_is_said(reached):
    (sentence,) = uninformative_scores(task([0, 1, 1, 1]), winner(reached))
    assert f"is {reached:.3f}, no more than 0.750, which always answering 'yes' gives" in sentence


def test_a_correlation_of_zero_is_said():
    (sentence,) = uninformative_scores(task([0.5, 1.5], None, ("pearson",)), winner(0.0))
    assert "its pearson on the test part is 0.000, no more than 0" in sentence


def test_a_test_part_of_one_label_is_said():
    first, *_ = uninformative_scores(task([1, 1]), winner(1.0))
    assert first == "Every test example has the label 'yes': its accuracy says little."


def test_a_model_that_has_learned_is_not_doubted():
    assert uninformative_scores(task([0, 1, 1, 1]), winner(0.8)) == []
    assert uninformative_scores(task([0, 1]), None) == []
    assert uninformative_scores(task([0, 1]), winner(None)) == []
