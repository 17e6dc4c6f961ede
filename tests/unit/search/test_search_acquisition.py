"""The acquisitions against sums over many draws, and where the plain formulas underflow."""

import numpy as np
import pytest

from edgetran.search import Bound, hypervolume
from edgetran.search.methods.acquisition import (
    expected_improvement,
    log_expected_improvement,
    log_feasibility,
    log_hypervolume_improvement,
)
from edgetran.search.methods.surrogate import MeasureSurrogate

DRAWS = np.random.default_rng(0).normal(size=200_000)


def test_expected_improvement_is_the_mean_of_what_is_gained():
    mean, std = np.array([0.2, 0.5, 0.9]), np.array([0.3, 0.1, 0.2])
    drawn = [np.maximum(m + s * DRAWS - 0.6, 0).mean() for m, s in zip(mean, std, strict=True)]
    assert np.exp(log_expected_improvement(mean, std, 0.6)) == pytest.approx(drawn, rel=0.02)
    assert expected_improvement(mean, std, np.array(0.6)) == pytest.approx(drawn, rel=0.02)


def test_where_it_underflows_its_logarithm_still_tells_candidates_apart():
    mean = np.array([-1e7, -1e3, -50.0, -5.0, -1.0, -0.999, 0.0, 5.0])
    logs = log_expected_improvement(mean, np.ones(8), 0.0)
    assert np.isfinite(logs).all()
    assert (np.diff(logs) > 0).all()


def test_feasibility_is_the_share_of_draws_within_the_bounds():
    bounds = {"accuracy": Bound(minimum=0.5), "memory": Bound(1.0, 3.0)}
    predictions = {
        "accuracy": (np.array([0.4]), np.array([0.2])),
        "memory": (np.array([2.5]), np.array([1.0])),
    }
    within = (0.4 + 0.2 * DRAWS >= 0.5).mean() * (
        (2.5 + DRAWS >= 1.0) & (2.5 + DRAWS <= 3.0)
    ).mean()
    assert np.exp(log_feasibility(bounds, predictions)) == pytest.approx([within], rel=0.02)
    assert log_feasibility({}, {}) == 0.0


def test_the_growth_of_the_front_agrees_with_exact_volumes():
    front = np.array([0.9, 0.7, 0.4])
    places = np.array([[0.8, 0.7], [0.4, 0.5], [0.1, 0.2]])
    mean, std = np.array([0.8, 0.6]), np.array([0.1, 0.2])
    candidates = np.array([[0.5, 0.3], [0.2, 0.9]])

    def volume(accuracy, costs):
        return hypervolume(np.column_stack([1 - accuracy, costs]), np.ones(3))

    expected = []
    for m, s, place in zip(mean, std, candidates, strict=True):
        grown = [
            volume(np.append(front, m + s * draw), np.vstack([places, place]))
            for draw in DRAWS[:400]
        ]
        expected.append(np.mean(grown) - volume(front, places))
    said = np.exp(log_hypervolume_improvement(mean, std, candidates, front, places, 0))
    assert said == pytest.approx(expected, rel=0.12)


def test_doubt_grows_away_from_what_was_seen_and_shrinks_where_something_is_taken_for_granted():
    x = np.linspace(0, 1, 12)[:, None]
    surrogate = MeasureSurrogate(x, np.sin(3 * x[:, 0]))
    (_, _), (near, far) = surrogate.predict(np.array([[0.5], [3.0]]))
    assert far > 2 * near
    surrogate.believe(np.array([[3.0]]))
    assert surrogate.predict(np.array([[3.0]]))[1][0] < 0.7 * far
