"""A handful of measurements places a board among those that are believed possible."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import spearmanr

from edgetran.devices import SimulatedDevice, Workload, catalogue
from edgetran.devices.simulated import operations_of
from edgetran.profiling.active import DESIGNED_UP_TO, initial_architectures
from edgetran.profiling.board import Board, design, place, prior
from edgetran.space import FEATURE_NAMES, OPERATION_KINDS, DesignSpace, feature_matrix, sampling

WORKLOAD = Workload(1, 128)
SPACE = DesignSpace.preset("flexibert-2.0")


def latencies(device: SimulatedDevice, architectures, slower, rng, noise=0.03) -> np.ndarray:
    """Of a board whose kinds of operations take so many times as long as its roofline says."""
    found = []
    for architecture in architectures:
        steps = operations_of(architecture, WORKLOAD, "fp32")
        macs, moved = (
            np.array([float(getattr(step, name)) for step in steps])
            for name in ("macs", "bytes_moved")
        )
        dispatched = np.array([step.launches for step in steps]) * device.launch_us * 1e-6
        factors = np.array([slower[step.kind] for step in steps])
        busy = device.busy_s(macs, moved, "fp32")
        found.append(device.overhead_ms * 1e-3 + factors @ (busy + dispatched))
    return 1e3 * np.array(found) * np.exp(noise * rng.standard_normal(len(found)))


@pytest.mark.parametrize("name", ["raspberry-pi-4-cpu", "jetson-nano-gpu", "apple-m1-pro-gpu"])
def test_ten_designed_measurements_place_a_board(name):
    rng = np.random.default_rng(len(name))
    slower = {kind: float(np.exp(0.5 * rng.standard_normal())) for kind in OPERATION_KINDS}
    pool, test = sampling.sample(SPACE, 128, rng, method="sobol"), sampling.sample(SPACE, 100, rng)
    features = feature_matrix(pool, 128, 1)
    rows = design(features, 10)
    device = catalogue()[name]
    measured = latencies(device, [pool[row] for row in rows], slower, rng)
    predicted = np.exp(
        place(features[rows], np.log(measured)).predict(feature_matrix(test, 128, 1))
    )
    truth = latencies(device, test, slower, rng, noise=0.0)
    assert spearmanr(predicted, truth)[0] > 0.95
    assert (np.abs(predicted / truth - 1) < 0.10).mean() > 0.85


def test_what_no_row_tells_stays_as_believed():
    space = DesignSpace.from_dict(
        {
            "layers": [2, 3, 4, 5],
            "hiddenSizes": [128, 256],
            "heads": [2, 4],
            "headTypes": ["sa_sdp"],
            "feedForwardWidths": [256, 512],
            "maxFeedForwardStack": 1,
        }
    )
    rng = np.random.default_rng(0)
    architectures = sampling.sample(space, 8, rng)
    once = dict.fromkeys(OPERATION_KINDS, 1.0)
    y = latencies(catalogue()["raspberry-pi-4-cpu"], architectures, once, rng)
    placed = place(feature_matrix(architectures, 128, 1), np.log(y))
    beyond = dict(zip(OPERATION_KINDS, placed.numbers[4:], strict=True))
    for kind in ("fourier_transform", "cosine_transform", "dynamic_convolution", "weighted_query"):
        assert beyond[kind] == pytest.approx(0.0, abs=1e-6)


def test_a_few_rows_of_a_bad_moment_do_not_move_the_board():
    rng = np.random.default_rng(1)
    architectures, test = sampling.sample(SPACE, 24, rng), sampling.sample(SPACE, 60, rng)
    device, once = catalogue()["raspberry-pi-4-cpu"], dict.fromkeys(OPERATION_KINDS, 1.0)
    y = latencies(device, architectures, once, rng)
    y[::8] *= 4
    placed = place(feature_matrix(architectures, 128, 1), np.log(y))
    truth = latencies(device, test, once, rng, noise=0.0)
    predicted = np.exp(placed.predict(feature_matrix(test, 128, 1)))
    assert np.median(np.abs(predicted / truth - 1)) < 0.10


def test_a_board_scales_with_its_measure_and_comes_back_from_json():
    rng = np.random.default_rng(2)
    features = feature_matrix(sampling.sample(SPACE, 12, rng), 128, 1)
    z = np.log(features[:, FEATURE_NAMES.index("macs")]) + 0.05 * rng.standard_normal(12)
    one, other = place(features, z), place(features, z + 7.0)
    np.testing.assert_allclose(other.predict(features), one.predict(features) + 7.0, atol=1e-6)
    again = Board.from_dict(json.loads(json.dumps(one.to_dict())))
    np.testing.assert_array_equal(again.predict(features), one.predict(features))


def test_what_is_believed_is_wide_and_leaves_the_scale_open():
    mean, deviation = prior()
    assert mean.shape == deviation.shape == (4 + len(OPERATION_KINDS),)
    assert np.isinf(deviation[0])
    assert (deviation[1:] > 0.5).all()


def test_a_design_is_of_different_rows_and_no_more_than_there_are():
    features = feature_matrix(sampling.sample(SPACE, 20, np.random.default_rng(3)), 128, 1)
    assert len(set(design(features, 10))) == 10
    assert sorted(design(features, 99)) == list(range(20))
    assert design(features, 10) == design(features, 10)


def test_few_first_architectures_are_designed_and_many_are_drawn():
    few = initial_architectures(SPACE, 8, "hierarchical", np.random.default_rng(4), WORKLOAD)
    again = initial_architectures(SPACE, 8, "hierarchical", np.random.default_rng(4), WORKLOAD)
    assert few == again
    assert len({a.graph_hash for a in few}) == 8
    many = DESIGNED_UP_TO + 1
    drawn = initial_architectures(SPACE, many, "hierarchical", np.random.default_rng(4), WORKLOAD)
    assert drawn == sampling.sample(SPACE, many, np.random.default_rng(4), method="hierarchical")
    small = DesignSpace.from_dict(
        {
            "layers": [2, 3],
            "hiddenSizes": [128],
            "heads": [2],
            "headTypes": ["sa_sdp"],
            "feedForwardWidths": [256],
            "maxFeedForwardStack": 1,
        }
    )
    assert len(initial_architectures(small, 8, "sobol", np.random.default_rng(0), WORKLOAD)) == 2
