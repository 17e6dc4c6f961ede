"""A cost that jumps with a feature is learnt, and a saved forest predicts as the first one did."""

from __future__ import annotations

import json

import numpy as np

from edgetran.profiling import Surrogate
from edgetran.profiling.forest import fit_forest


def falls_back(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Twenty features; where the fourth is above a half, everything takes eight times as long."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0.1, 1, (rows, 20))
    return x, (1 + x[:, 0]) * np.where(x[:, 3] > 0.5, 8.0, 1.0) * rng.lognormal(0, 0.02, rows)


def test_a_jump_is_predictable_and_told_apart():
    x, y = falls_back(60, seed=0)
    surrogate = Surrogate().fit(x, y)
    assert surrogate.quality[0].predictable
    x, y = falls_back(200, seed=1)
    clear = np.abs(x[:, 3] - 0.5) > 0.1
    predicted, _ = surrogate.predict(x[clear])
    assert np.median(np.abs(predicted / y[clear] - 1)) < 0.3


def test_a_forest_follows_from_rows_and_seed():
    x, y = falls_back(30, seed=2)
    one, again, other = (fit_forest(x, np.log(y), seed=seed) for seed in (5, 5, 6))
    assert np.array_equal(one.predict(x), again.predict(x))
    assert not np.array_equal(one.predict(x + 0.05), other.predict(x + 0.05))
    assert (one.deviation(x) > 0).all()


def test_a_saved_surrogate_predicts_the_same():
    x, y = falls_back(40, seed=3)
    surrogate = Surrogate().fit(x, y)
    members = surrogate.to_dict()["models"][0]["members"]
    assert "forest" in [member["kind"] for member in members]
    loaded = Surrogate.from_dict(json.loads(json.dumps(surrogate.to_dict())))
    for ours, theirs in zip(loaded.predict(x), surrogate.predict(x), strict=True):
        assert np.allclose(ours, theirs, rtol=1e-12)
