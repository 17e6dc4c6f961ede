"""Members are weighed by what they predicted of rows that they had not seen."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgetran.profiling import Surrogate
from edgetran.profiling.stacking import Stack, combine


def world(rows: int = 40, seed: int = 0) -> tuple[np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 3, rows), rng


def test_a_member_that_explains_nearly_all_gets_nearly_all():
    z, rng = world()
    errors = rng.standard_normal((len(z), 3)) * [0.02, 0.4, 0.5]
    stack = combine(z[:, None] + errors, z, np.ones(3), np.full(len(z), z.mean()))
    assert stack.weights[0] > 0.95
    assert stack.weights.sum() == pytest.approx(1)


def test_where_nothing_beats_a_constant_shares_stay_near_beliefs():
    z, rng = world()
    beliefs = np.array([1.0, 2.0, 5.0])
    logs = z.mean() + rng.standard_normal((len(z), 3)) * 0.3
    stack = combine(logs, z, beliefs, np.full(len(z), z.mean()))
    np.testing.assert_allclose(stack.weights, beliefs / beliefs.sum(), atol=0.15)


def test_members_that_err_differently_are_better_together():
    z, rng = world(rows=200)
    logs = z[:, None] + rng.standard_normal((len(z), 4)) * 0.2
    stack = combine(logs[:100], z[:100], np.ones(4), np.full(100, z[:100].mean()))
    alone = ((logs[100:] - z[100:, None]) ** 2).mean(axis=0)
    together = ((stack(logs[100:]) - z[100:]) ** 2).mean()
    assert together < 0.6 * alone.min()


@pytest.mark.parametrize("scale", ["log", "linear"])
def test_a_stack_lies_between_its_members_whatever_the_unit_and_comes_back_from_json(scale):
    z, rng = world()
    logs = z[:, None] + rng.standard_normal((len(z), 3))
    stack = Stack(scale, np.array([0.2, 0.3, 0.5]))
    predicted = stack(logs)
    assert (logs.min(axis=1) <= predicted).all()
    assert (predicted <= logs.max(axis=1)).all()
    np.testing.assert_allclose(stack(logs + 900), predicted + 900)
    again = Stack.from_dict(json.loads(json.dumps(stack.to_dict())))
    np.testing.assert_array_equal(again(logs), predicted)


def test_the_share_of_each_member_is_told():
    rng = np.random.default_rng(1)
    x = rng.uniform(1, 10, (24, 5))
    y = x @ [5, 1, 1, 1, 1] * np.exp(0.02 * rng.standard_normal(24))
    surrogate = Surrogate().fit(x, y)
    shares = surrogate.shares(0)
    assert sum(share for _, share in shares) == pytest.approx(1)
    assert [share for _, share in shares] == sorted((s for _, s in shares), reverse=True)
    assert shares[0][0] not in ("constant", "average")
    again = Surrogate.from_dict(json.loads(json.dumps(surrogate.to_dict())))
    assert again.shares(0) == shares


def noise_that_does_not_grow(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A straight line over one decade, whose noise is that of a clock: the same everywhere."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0.1, 1, (rows, 16))
    return x, np.maximum(10 * x[:, 0] + x[:, 1] + 0.3 * rng.standard_normal(rows), 0.1)


def test_a_stack_is_hardly_worse_than_the_best_of_plain_regressors():
    from sklearn.ensemble import ExtraTreesRegressor
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import Matern, WhiteKernel

    x, y = noise_that_does_not_grow(132, seed=2)
    (train, test), (seen, new) = (x[:32], x[32:]), (y[:32], y[32:])
    plain = (
        ExtraTreesRegressor(100, random_state=0),
        GaussianProcessRegressor(Matern(4.0) + WhiteKernel(0.1), normalize_y=True, random_state=0),
    )
    theirs = [((m.fit(train, seen).predict(test) - new) ** 2).mean() for m in plain]
    ours = ((Surrogate().fit(train, seen).predict(test)[0] - new) ** 2).mean()
    assert ours < 1.1 * min(theirs)
