"""The paired test says how sure a difference is."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from edgetran.gptran.paired import Outcomes, confidence


def right(*ranges, count=100):
    values = np.zeros(count, bool)
    for first, last in ranges:
        values[first:last] = True
    return Outcomes(right=values)


def test_equal_models_are_a_toss_up():
    assert confidence(right((0, 80)), right((0, 80))) == pytest.approx(0.5)
    assert confidence(right((0, 50)), right((10, 60))) == pytest.approx(0.5)


def test_confidence_is_one_minus_the_mid_p_value_of_mcnemars_exact_test():
    better, worse = right((0, 90)), right((0, 80), (95, 98))
    won, lost = 10, 3
    expected = 1 - (stats.binom.sf(won, 13, 0.5) + stats.binom.pmf(won, 13, 0.5) / 2)
    assert confidence(better, worse) == pytest.approx(expected)
    assert won + lost == 13
    assert confidence(worse, better) == pytest.approx(1 - expected)


def test_noise_is_as_often_sure_as_it_should_be():
    rng = np.random.default_rng(0)
    sure = [
        confidence(Outcomes(right=rng.random(300) < 0.8), Outcomes(right=rng.random(300) < 0.8))
        for _ in range(400)
    ]
    assert 0.05 < np.mean(np.array(sure) > 0.9) < 0.15


def test_a_regression_is_compared_by_its_errors():
    rng = np.random.default_rng(1)
    labels = rng.normal(size=200)
    near = Outcomes.of((labels + rng.normal(0, 0.1, 200))[:, None], labels, regression=True)
    far = Outcomes.of((labels + rng.normal(0, 0.3, 200))[:, None], labels, regression=True)
    assert confidence(near, far) > 0.99
    assert confidence(far, near) < 0.01


def test_what_is_not_known_or_not_of_the_same_examples_is_not_compared():
    assert confidence(None, right((0, 5))) is None
    assert confidence(right((0, 5)), right((0, 5), count=50)) is None
    assert confidence(right((0, 5)), Outcomes(errors=np.zeros(100, np.float32))) is None


@pytest.mark.parametrize(
    "outcomes", [right((3, 40), count=77), Outcomes(errors=np.array([0.5, 0.25], np.float32))]
)
def test_outcomes_survive_json(outcomes):
    again = Outcomes.from_dict(json.loads(json.dumps(outcomes.to_dict())))
    assert again == outcomes


def test_outcomes_are_read_off_logits():
    logits = np.array([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0]])
    assert Outcomes.of(logits, np.array([0, 1, 1]), regression=False).right.tolist() == [
        True,
        True,
        False,
    ]
