import json
import time

import numpy as np
import pytest
from profiling_world import BOARD, WORKLOAD, hat, needs_published_data, protran

from edgetran.profiling import Surrogate, SurrogateError
from edgetran.space import Architecture, DesignSpace, Layer, sampling

SPACE = DesignSpace.preset("tiny")


def latencies(architectures):
    figures = (BOARD.estimate(architecture, WORKLOAD) for architecture in architectures)
    return np.array([figure.latency_ms.value for figure in figures])


def energies(architectures):
    figures = (BOARD.estimate(architecture, WORKLOAD) for architecture in architectures)
    return np.array([figure.energy_mj.value for figure in figures])


@pytest.fixture(scope="module")
def world():
    rng = np.random.default_rng(0)
    train, test = sampling.sample(SPACE, 32, rng, method="sobol"), sampling.sample(SPACE, 200, rng)
    noise = np.exp(0.02 * rng.standard_normal((232, 2)))
    y = np.stack([latencies(train), energies(train)], axis=1) * noise[:32]
    seen = np.stack([latencies(test), energies(test)], axis=1) * noise[32:]
    surrogate = Surrogate(sequence_length=64).fit(train, y)
    return surrogate, train, y, test, seen


def test_32_measurements_predict_the_others_within_10_percent(world):
    surrogate, _, _, test, seen = world
    mean, std = surrogate.predict(test)
    assert mean.shape == std.shape == seen.shape
    assert (np.abs(mean / seen - 1) < 0.10).mean() > 0.93
    assert (std > 0).all()


def test_intervals_hold_what_they_promise():
    covered = []
    for draw in range(8):
        rng = np.random.default_rng(draw)
        x = rng.uniform(1, 10, (224, 14))
        y = (x @ rng.uniform(0, 1, 14)) * np.exp(0.05 * rng.standard_normal(224))
        low, high = Surrogate().fit(x[:24], y[:24]).interval(x[24:], 0.9)
        covered.append(((low <= y[24:]) & (y[24:] <= high)).mean())
    assert 0.84 <= np.mean(covered) <= 0.96


def test_intervals_widen_with_the_level_and_hold_the_mean(world):
    surrogate, _, _, test, _ = world
    mean, _ = surrogate.predict(test)
    low, high = surrogate.interval(test, 0.9)
    wider_low, wider_high = surrogate.interval(test, 0.99)
    assert (wider_low < low).all()
    assert (low < mean).all()
    assert (mean < high).all()
    assert (high < wider_high).all()


def test_a_surrogate_comes_back_from_disk_as_it_was(world, tmp_path):
    surrogate, _, _, test, _ = world
    surrogate.save(tmp_path / "surrogate.json")
    json.loads((tmp_path / "surrogate.json").read_text())
    loaded = Surrogate.load(tmp_path / "surrogate.json")
    for before, after in zip(surrogate.predict(test), loaded.predict(test), strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-9)
    for before, after in zip(surrogate.interval(test), loaded.interval(test), strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-9)
    assert loaded.quality == surrogate.quality


def test_one_architecture_of_a_batch_takes_less_than_a_millisecond(world):
    surrogate, *_ = world
    batch = sampling.sample(SPACE, 400, np.random.default_rng(3))
    surrogate.predict(batch)
    before = time.process_time()
    surrogate.predict(batch)
    assert (time.process_time() - before) / len(batch) < 1e-3


def test_grown_and_pruned_architectures_are_predicted_as_well(world):
    surrogate, *_ = world
    grown = Architecture(
        (
            Layer(128, ("sa_sdp",) * 3 + ("c_5", "l_dft"), 32, (448, 96)),
            Layer(192, ("sa_wma",) * 3, 48, (320,)),
        )
    )
    mean, _ = surrogate.predict([grown])
    assert mean[0, 0] == pytest.approx(latencies([grown])[0], rel=0.2)


def test_noise_is_called_not_predictable_and_gets_a_constant():
    rng = np.random.default_rng(1)
    x = rng.uniform(1, 10, (60, 5))
    y = np.stack([x @ [5, 1, 1, 1, 1], np.exp(0.1 * rng.standard_normal(60))], axis=1)
    surrogate = Surrogate().fit(x, y)
    useful, noise = surrogate.quality
    assert useful.predictable
    assert useful.reason is None
    assert not noise.predictable
    assert "no better than a constant" in noise.reason
    mean, _ = surrogate.predict(x)
    assert np.ptp(mean[:, 1]) == 0
    low, high = surrogate.interval(x, 0.9)
    assert 0.8 < ((low < y) & (y < high)).mean(axis=0)[1] < 1


def test_a_measure_is_fitted_on_the_rows_that_have_it():
    rng = np.random.default_rng(2)
    x = rng.uniform(1, 10, (40, 3))
    y = np.ma.masked_array(np.stack([x @ [3, 2, 1], x @ [1, 2, 3]], axis=1))
    y[20:, 1] = np.ma.masked
    surrogate = Surrogate().fit(x, y)
    assert [quality.rows for quality in surrogate.quality] == [40, 20]
    mean, _ = surrogate.predict(x)
    np.testing.assert_allclose(mean[20:, 1], (x @ [1, 2, 3])[20:], rtol=0.05)
    again = Surrogate.from_dict(json.loads(json.dumps(surrogate.to_dict())))
    np.testing.assert_allclose(again.predict(x)[0], mean, rtol=1e-9)


def test_a_few_rows_of_a_bad_moment_do_not_bend_the_rest():
    rng = np.random.default_rng(3)
    x = rng.uniform(1, 10, (40, 3))
    clean = x @ [3.0, 2.0, 1.0]
    y = clean.copy()
    y[::8] *= 2.0
    mean, _ = Surrogate().fit(x, y).predict(x)
    assert np.median(np.abs(mean / clean - 1)) < 0.03


def test_another_device_helps_where_rows_are_few():
    rng = np.random.default_rng(4)
    train, test = sampling.sample(SPACE, 40, rng), sampling.sample(SPACE, 150, rng)
    other = Surrogate(sequence_length=64).fit(train, latencies(train))
    few = sampling.sample(SPACE, 6, rng)
    truth = 0.3 * latencies(test) ** 0.97
    seen = 0.3 * latencies(few) ** 0.97
    cold = Surrogate(sequence_length=64).fit(few, seen)
    warm = Surrogate(sequence_length=64, priors=[other]).fit(few, seen)
    errors = [np.median(np.abs(s.predict(test)[0] / truth - 1)) for s in (cold, warm)]
    assert errors[1] < 0.5 * errors[0]
    again = Surrogate.from_dict(json.loads(json.dumps(warm.to_dict())))
    np.testing.assert_allclose(again.predict(test)[0], warm.predict(test)[0], rtol=1e-9)


def test_the_same_rows_and_seed_give_the_same_surrogate():
    rng = np.random.default_rng(5)
    x, weights = rng.uniform(1, 10, (20, 4)), rng.uniform(0, 1, 4)
    a, b = (Surrogate(seed=1).fit(x, x @ weights).to_dict() for _ in range(2))
    assert a == b


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.ones((5, 2)), [1, 2, 3, 4, float("nan")], r"Y\[4, 0\]: nan"),
        (np.ones((5, 2)), [1, 2, 3, 0, 5], r"Y\[3, 0\]: 0.0 is not a positive"),
        (np.full((5, 2), np.nan), [1, 2, 3, 4, 5], r"X\[0, 0\]: nan"),
        (np.ones((4, 2)), [1, 2, 3, 4, 5], "5 rows given for the 4 rows"),
        (np.ones((3, 2)), [1, 2, 3], "at least 4"),
        (np.ones(5), [1, 2, 3, 4, 5], r"shape \(5,\)"),
    ],
)
def test_broken_rows_are_refused_by_place(x, y, message):
    with pytest.raises(SurrogateError, match=message):
        Surrogate().fit(x, y)


def test_rows_without_any_difference_give_the_constant():
    surrogate = Surrogate().fit(np.ones((6, 3)), [1.0, 1.1, 0.9, 1.0, 1.05, 0.95])
    mean, std = surrogate.predict(np.ones((2, 3)))
    assert mean == pytest.approx([1.0, 1.0])
    assert not surrogate.quality[0].predictable
    assert (std < 0.2).all()


def test_unfitted_other_columns_and_levels_are_refused(world):
    with pytest.raises(SurrogateError, match="not fitted"):
        Surrogate().predict(np.ones((1, 2)))
    surrogate, *_ = world
    with pytest.raises(SurrogateError, match="3 columns given, fitted with"):
        surrogate.predict(np.ones((1, 3)))
    with pytest.raises(SurrogateError, match=r"level: 1\.5"):
        surrogate.interval(sampling.sample(SPACE, 1, np.random.default_rng(0)), 1.5)


def test_a_file_that_is_no_surrogate_is_refused(world, tmp_path):
    path = tmp_path / "x.json"
    path.write_text('{"kind": "surrogate", "schema_version": 99}')
    with pytest.raises(SurrogateError, match=r"x\.json.*schema version 2"):
        Surrogate.load(path)
    path.write_text("[1]")
    with pytest.raises(SurrogateError, match=r"x\.json"):
        Surrogate.load(path)


def test_a_measure_that_never_changes_is_not_predictable_and_breaks_nothing():
    train = sampling.sample(SPACE, 12, np.random.default_rng(0), method="sobol")
    y = np.stack([latencies(train), np.full(12, 4.0)], axis=1)
    surrogate = Surrogate(sequence_length=64, measures=("latency_ms", "peak_power_w")).fit(train, y)
    mean, std = surrogate.predict(train)
    assert mean[:, 1] == pytest.approx(4.0)
    assert np.isfinite(std).all()
    latency, power = surrogate.quality
    assert latency.predictable
    assert not power.predictable
    json.dumps(surrogate.to_dict(), allow_nan=False)


@needs_published_data
def test_a_raw_table_of_somebody_else_is_predicted_from_50_rows():
    x, y = hat("raspberry-pi-4-wmt14ende")
    errors = []
    for split in range(3):
        order = np.random.default_rng(split).permutation(len(y))
        train, test = order[:50], order[50:]
        mean, _ = Surrogate().fit(x[train], y[train]).predict(x[test])
        errors.append(np.abs(mean / y[test] - 1).mean())
    assert np.median(errors) < 0.037


@needs_published_data
def test_published_boards_are_predicted_with_half_the_error_of_the_published_regressor():
    from sklearn.ensemble import AdaBoostRegressor
    from sklearn.tree import DecisionTreeRegressor

    architectures, embeddings, y = protran("jetson-nano-cpu")
    latency = y[:, 0] * 1e3
    ours, theirs = [], []
    for split in range(3):
        order = np.random.default_rng(split).permutation(len(latency))
        train, test = order[:32], order[32:]
        surrogate = Surrogate().fit([architectures[i] for i in train], latency[train])
        mean, _ = surrogate.predict([architectures[i] for i in test])
        ours.append(((mean - latency[test]) ** 2).mean())
        regressor = AdaBoostRegressor(DecisionTreeRegressor(), n_estimators=50, random_state=split)
        published = regressor.fit(embeddings[train], latency[train]).predict(embeddings[test])
        theirs.append(((published - latency[test]) ** 2).mean())
    assert np.median(ours) < 0.5 * np.median(theirs)
