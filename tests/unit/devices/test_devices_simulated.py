"""Simulated boards: every number has a source, figures obey the roofline, memory has an end."""

import dataclasses
import math
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetran.api.device import SimulatedDeviceName
from edgetran.devices import (
    DeviceError,
    Workload,
    catalogue,
    roofline,
    roofline_points,
    simulated_device,
)
from edgetran.devices.simulated import operations_of
from edgetran.space import Architecture

PUBLISHED = [
    "raspberry-pi-4-cpu", "raspberry-pi-5-cpu", "jetson-nano-cpu", "jetson-nano-gpu",
    "jetson-orin-nano-gpu", "intel-ncs2", "apple-m1-pro-cpu", "apple-m1-pro-gpu", "nvidia-a100",
]  # fmt: skip
NAMES = list(catalogue())

architectures = st.builds(
    lambda layers, hidden, heads, widths, head: Architecture.homogeneous(
        num_layers=layers,
        hidden_size=hidden,
        num_heads=heads,
        feed_forward=widths,
        head_type=head,
    ),
    st.integers(1, 6),
    st.sampled_from([64, 128, 256]),
    st.sampled_from([2, 4]),
    st.lists(st.sampled_from([128, 512]), min_size=1, max_size=3),
    st.sampled_from(["sa_sdp", "l_dft", "c_5"]),
)


def bert(layers=2, hidden=128, heads=2, feed_forward=512):
    return Architecture.homogeneous(
        num_layers=layers, hidden_size=hidden, num_heads=heads, feed_forward=[feed_forward]
    )


def precision_of(device):
    return device.precisions[0]


def test_the_catalogue_has_the_published_boards_and_whatever_can_be_asked_for():
    assert set(PUBLISHED) <= set(NAMES)
    assert set(catalogue(fitted=True)) == set(NAMES) == set(get_args(SimulatedDeviceName))


@pytest.mark.parametrize("fitted", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_every_number_has_a_source_with_a_year_or_the_reasoning_of_an_estimate(name, fitted):
    device = catalogue(fitted=fitted)[name]
    assert set(device.numbers()) == set(device.sources)
    for number, source in device.sources.items():
        assert source.startswith("estimate: ") or any(
            str(year) in source for year in range(2009, 2027)
        ), f"{number}: {source}"


def test_figures_are_simulated_and_per_sequence():
    device = simulated_device("raspberry-pi-4-cpu")
    one = device.estimate(bert(), Workload(1, 64))
    assert one.feasible
    for figure in (one.latency_ms, one.energy_mj, one.peak_power_w):
        assert figure.source == "simulated"
        assert figure.value > 0
    assert (one.latency_ms.unit, one.energy_mj.unit, one.peak_power_w.unit) == ("ms", "mJ", "W")
    eight = device.estimate(bert(), Workload(8, 64))
    assert eight.latency_ms.value < one.latency_ms.value, "launches are shared by the batch"


def test_latency_is_the_roofline_plus_launches():
    device = dataclasses.replace(
        simulated_device("raspberry-pi-4-cpu"),
        peak_gflops={"fp32": 10.0},
        efficiency=0.5,
        bandwidth_gb_s=4.0,
        bandwidth_efficiency=0.25,
        launch_us=10.0,
        overhead_ms=1.0,
    )
    workload = Workload(2, 32)
    seconds = 1e-3
    for step in operations_of(bert(), workload, "fp32"):
        seconds += max(2 * step.macs / 5e9, step.bytes_moved / 1e9) + step.launches * 10e-6
    figures = device.estimate(bert(), workload)
    assert figures.latency_ms.value == pytest.approx(seconds * 1e3 / 2)


def test_energy_is_power_times_time_of_busy_and_waiting():
    device = dataclasses.replace(
        simulated_device("raspberry-pi-4-cpu"),
        idle_power_w=2.0,
        active_power_w=6.0,
        dispatch_share=0.25,
    )
    durations, powers = device.timeline(bert(), Workload(1, 64), "fp32")
    assert set(powers.tolist()) == {3.0, 6.0}
    figures = device.estimate(bert(), Workload(1, 64))
    assert figures.energy_mj.value == pytest.approx(float((durations * powers).sum()) * 1e3)


@settings(max_examples=40, deadline=None)
@given(architecture=architectures, name=st.sampled_from(NAMES), batch=st.sampled_from([1, 4]))
def test_power_lies_between_idle_and_active_and_the_peak_above_the_mean(architecture, name, batch):
    device = simulated_device(name)
    figures = device.estimate(architecture, Workload(batch, 64), precision_of(device))
    mean_w = figures.energy_mj.value / figures.latency_ms.value
    assert device.idle_power_w <= mean_w <= device.active_power_w
    assert mean_w - 1e-9 <= figures.peak_power_w.value <= device.active_power_w + 1e-9


@settings(max_examples=25, deadline=None)
@given(architecture=architectures, name=st.sampled_from(NAMES))
def test_more_layers_and_longer_sequences_never_cost_less(architecture, name):
    device = simulated_device(name)
    precision = precision_of(device)
    small = device.estimate(architecture, Workload(1, 32), precision)
    longer = device.estimate(architecture, Workload(1, 64), precision)
    deeper = device.estimate(
        Architecture(architecture.layers + architecture.layers[-1:]), Workload(1, 32), precision
    )
    for larger in (longer, deeper):
        assert larger.latency_ms.value >= small.latency_ms.value
        assert larger.energy_mj.value >= small.energy_mj.value


def test_peak_power_of_a_long_batch_is_that_of_its_busiest_tenth_of_a_second():
    device = dataclasses.replace(
        simulated_device("raspberry-pi-4-cpu"), overhead_ms=10_000.0, dispatch_share=0.0
    )
    figures = device.estimate(bert(12, 768, 12, 3072), Workload(1, 128))
    mean_w = figures.energy_mj.value / figures.latency_ms.value
    assert mean_w < 3.5
    assert figures.peak_power_w.value == pytest.approx(device.active_power_w, rel=0.01)


def test_a_model_that_does_not_fit_the_memory_is_infeasible_with_the_reason():
    device = simulated_device("intel-ncs2")
    assert device.estimate(bert(), Workload(1, 128), "fp16").feasible
    figures = device.estimate(bert(24, 1024, 16, 4096), Workload(1, 128), "fp16")
    assert not figures.feasible
    assert figures.latency_ms.value is None
    assert "intel-ncs2 has 412 MB free" in figures.infeasible_reason
    assert figures.latency_ms.reason == figures.infeasible_reason


def test_a_large_batch_may_not_fit_where_a_small_one_does():
    device = simulated_device("jetson-nano-gpu")
    assert device.estimate(bert(12, 768, 12, 3072), Workload(1, 128)).feasible
    assert not device.estimate(bert(12, 768, 12, 3072), Workload(2048, 512)).feasible


def test_a_precision_that_the_board_lacks_is_infeasible_and_an_unknown_one_is_refused():
    device = simulated_device("intel-ncs2")
    figures = device.estimate(bert(), Workload(1, 64), "fp32")
    assert not figures.feasible
    assert figures.infeasible_reason == "intel-ncs2 does not compute in fp32; it has fp16"
    with pytest.raises(DeviceError, match=r'precision: Unsupported value: "fp8": .*; did you mean'):
        device.estimate(bert(), Workload(1, 64), "fp8")


def test_lower_precision_is_faster_on_a_board_that_has_it():
    device = simulated_device("jetson-orin-nano-gpu")
    base = bert(12, 768, 12, 3072)
    times = [device.estimate(base, Workload(8, 128), p).latency_ms.value for p in
             ("fp32", "fp16", "int8")]  # fmt: skip
    assert times[0] > times[1] > times[2]


def test_an_unknown_board_is_refused_with_the_nearest_and_the_list():
    with pytest.raises(DeviceError) as caught:
        simulated_device("rasberry-pi-4")
    assert "did you mean raspberry-pi-4-cpu?" in str(caught.value)
    assert "nvidia-a100" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"efficiency": 1.2}, r"efficiency: Invalid value: 1\.2: must be from 0 to 1"),
        ({"efficiency": 0.0}, "efficiency: Invalid value: 0: must be above 0"),
        ({"launch_us": -1.0}, "launch_us: Invalid value: -1: must be"),
        ({"launch_us": math.nan}, "launch_us: Invalid value: nan: must be"),
        (
            {"active_power_w": 1.0},
            "active_power_w: Invalid value: 1: must be at least idle_power_w",
        ),
        ({"peak_gflops": {"fp32": 1.0, "fp9": 1.0}}, "fp9"),
        ({"sources": {}}, "source: Required value: every number has a source"),
    ],
)
def test_a_board_that_cannot_be_is_refused(change, words):
    with pytest.raises(DeviceError, match=words):
        dataclasses.replace(simulated_device("raspberry-pi-4-cpu"), **change)


def test_architectures_lie_below_the_roofline():
    device = simulated_device("raspberry-pi-5-cpu")
    roof = roofline(device)
    points = roofline_points(device, [bert(), bert(12, 768, 12, 3072)], Workload(1, 128))
    assert [point.graph_hash for point in points] == [
        bert().graph_hash, bert(12, 768, 12, 3072).graph_hash,
    ]  # fmt: skip
    for point in points:
        assert 0 < point.gflops < roof.bound_gflops(point.flops_per_byte)
        assert point.feasible
    assert points[1].gflops > points[0].gflops, "launches weigh less on a large model"
    assert roof.bound_gflops(roof.ridge_flops_per_byte) == pytest.approx(roof.peak_gflops)
    large = bert(24, 1024, 16, 4096)
    (point,) = roofline_points(simulated_device("intel-ncs2"), [large], Workload(1, 64), "fp16")
    assert not point.feasible


def test_a_roofline_of_a_precision_that_the_board_lacks_is_refused():
    with pytest.raises(DeviceError, match='supported values: "fp16"'):
        roofline(simulated_device("intel-ncs2"), "fp32")
    with pytest.raises(DeviceError, match='supported values: "fp16"'):
        roofline_points(simulated_device("intel-ncs2"), [bert()], Workload(1, 64), "fp32")
