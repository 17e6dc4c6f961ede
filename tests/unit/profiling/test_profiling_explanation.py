"""A prediction says where the time goes, how sure it is, and what was measured near it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from profiling_world import BOARD, Board, plan

from edgetran.devices.simulated import operations_of
from edgetran.profiling import Profile, explain, profile_device
from edgetran.profiling.explanation import FIXED
from edgetran.space import DesignSpace, sampling

SPACE = DesignSpace.preset("tiny")


@pytest.fixture(scope="module")
def profile(tmp_path_factory) -> Profile:
    wanted = plan(initial=24, max_measurements=24)
    architectures = sampling.sample(SPACE, 24, np.random.default_rng(0), method="sobol")
    log = tmp_path_factory.mktemp("explained") / "board.jsonl"
    return profile_device(wanted, architectures, log, measurer=Board(wanted, with_energy=True))


def test_shares_add_up_and_follow_what_the_board_spends_its_time_on(profile):
    architecture = sampling.sample(SPACE, 1, np.random.default_rng(9))[0]
    latency = explain(profile, architecture)[0]
    assert sum(share.share for share in latency.shares) == pytest.approx(1)
    assert sum(share.value for share in latency.shares) == pytest.approx(latency.value)
    steps = operations_of(architecture, profile.key.workload, "fp32")
    busy = BOARD.busy_s(
        np.array([float(s.macs) for s in steps]), np.array([float(s.bytes_moved) for s in steps]),
        "fp32",
    )  # fmt: skip
    seconds = busy + np.array([s.launches for s in steps]) * BOARD.launch_us * 1e-6
    true = {FIXED: BOARD.overhead_ms * 1e-3}
    for step, second in zip(steps, seconds, strict=True):
        true[step.kind] = true.get(step.kind, 0.0) + second
    told = {share.operation: share.share for share in latency.shares}
    wrong = sum(
        abs(told.get(kind, 0.0) - true.get(kind, 0.0) / sum(true.values()))
        for kind in told.keys() | true.keys()
    )
    assert wrong / 2 < 0.5  # the share of time that is ascribed to another operation
    assert latency.shares[0].operation in sorted(true, key=lambda kind: -true[kind])[:4]


def test_a_measured_architecture_is_its_own_nearest(profile):
    known = profile.measured[5]
    for explanation in explain(profile, known.architecture, nearest=2):
        assert explanation.nearest[0].graph_hash == known.architecture.graph_hash
        assert explanation.nearest[0].distance == pytest.approx(0)
        assert explanation.measured == getattr(known.figures, explanation.measure).value
        assert len(explanation.nearest) == 2


def test_the_interval_holds_the_prediction_and_widens_with_its_level(profile):
    architecture = sampling.sample(SPACE, 1, np.random.default_rng(3))[0]
    for narrow, wide in zip(
        explain(profile, architecture, level=0.5),
        explain(profile, architecture, level=0.95),
        strict=True,
    ):
        assert wide.low < narrow.low < narrow.value < narrow.high < wide.high
        assert sum(share for _, share in wide.members) == pytest.approx(1)
        json.dumps(wide.to_dict(), allow_nan=False)


def test_only_what_adds_up_has_shares(profile):
    by_name = {e.measure: e for e in explain(profile, profile.measured[0].architecture)}
    assert set(by_name) == {"latency_ms", "energy_mj"}
    assert by_name["energy_mj"].shares
    assert by_name["energy_mj"].unit == "mJ"
