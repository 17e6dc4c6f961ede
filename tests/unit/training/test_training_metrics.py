import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as reference

from edgetran.training import compute_metrics, glue_score
from edgetran.training.metrics import METRICS

classes = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=2, max_size=40)
binary = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=2, max_size=40)


@given(classes)
def test_accuracy_and_matthews_agree_with_scikit_learn(pairs):
    predictions, labels = np.array(pairs).T
    assert METRICS["accuracy"](predictions, labels) == pytest.approx(
        reference.accuracy_score(labels, predictions)
    )
    assert METRICS["matthews"](predictions, labels) == pytest.approx(
        reference.matthews_corrcoef(labels, predictions), abs=1e-9
    )


@given(binary)
def test_f1_agrees_with_scikit_learn(pairs):
    predictions, labels = np.array(pairs).T
    expected = reference.f1_score(labels, predictions, zero_division=0.0)
    assert METRICS["f1"](predictions, labels) == pytest.approx(expected)


def test_correlations_agree_with_scipy_and_are_zero_for_a_constant():
    labels = np.array([1.0, 2.0, 2.5, 4.0, 0.0])
    predictions = np.array([1.1, 1.9, 3.0, 2.0, 0.2])
    values = compute_metrics(("pearson", "spearman"), predictions, labels)
    assert values["pearson"] == pytest.approx(stats.pearsonr(predictions, labels).statistic)
    assert values["spearman"] == pytest.approx(stats.spearmanr(predictions, labels).statistic)
    assert values["score"] == pytest.approx((values["pearson"] + values["spearman"]) / 2)
    assert METRICS["pearson"](np.ones(5), labels) == METRICS["spearman"](np.ones(5), labels) == 0


def test_glue_score_is_the_mean_over_tasks_of_the_mean_of_each_tasks_metrics():
    results = {
        "cola": {"matthews": 0.5, "score": 0.5, "loss": 3.0},
        "mrpc": {"f1": 0.9, "accuracy": 0.7, "score": 0.8, "loss": 1.0},
        "mnli": {"accuracy": 0.8, "accuracy_mismatched": 0.6, "score": 0.7, "loss": 1.0},
    }
    assert glue_score(results) == pytest.approx((0.5 + 0.8 + 0.7) / 3)


def test_glue_score_refuses_a_task_without_metrics():
    with pytest.raises(ValueError, match="rte: no metric"):
        glue_score({"rte": {"loss": 1.0}})
