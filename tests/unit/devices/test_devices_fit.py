"""Fitting recovers the device that made the measurements, and says how well it fits."""

import dataclasses
import gzip
import json
import pathlib

import numpy as np
import pytest

from edgetran.devices import (
    DeviceError,
    DeviceMeasurement,
    Workload,
    catalogue,
    fit_device,
    read_device_measurements,
    simulated_device,
)
from edgetran.space import Architecture

WORKLOAD = Workload(1, 128)
PUBLISHED = pathlib.Path(__file__).parents[4] / "shared/data/protran"


def made_by(device, count=40, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        architecture = Architecture.homogeneous(
            num_layers=int(rng.integers(1, 13)),
            hidden_size=int(rng.choice([128, 256, 512, 768])),
            num_heads=int(rng.choice([2, 4, 8])),
            feed_forward=[int(w) for w in rng.choice([256, 1024, 3072], rng.integers(1, 4))],
            head_type=str(rng.choice(["sa_sdp", "sa_wma", "l_dct", "c_9"])),
        )
        figures = device.estimate(architecture, WORKLOAD)
        factor = np.exp(noise * rng.standard_normal())
        rows.append(
            DeviceMeasurement(
                architecture, figures.latency_ms.value * factor, figures.energy_mj.value * factor
            )
        )
    return rows


def slowed():
    return dataclasses.replace(
        simulated_device("raspberry-pi-4-cpu"),
        efficiency=0.1,
        bandwidth_efficiency=0.3,
        launch_us=200.0,
        overhead_ms=40.0,
        idle_power_w=2.7,
        active_power_w=5.0,
        dispatch_share=0.2,
    )


def test_a_fit_recovers_the_device_that_made_the_measurements():
    fit = fit_device(simulated_device("raspberry-pi-4-cpu"), made_by(slowed()), WORKLOAD)
    assert fit.rows == 40
    assert fit.errors_before["latency_ms"] > 0.5
    assert fit.errors["latency_ms"] < 0.01
    assert fit.errors["energy_mj"] < 0.03
    assert fit.device.efficiency == pytest.approx(0.1, rel=0.05)
    assert fit.device.overhead_ms == pytest.approx(40, rel=0.1)
    assert fit.device.active_power_w == pytest.approx(5.0, rel=0.05)


def test_a_fit_bears_noise_and_outliers_and_states_an_honest_error():
    rows = made_by(slowed(), noise=0.1)
    rows[3] = dataclasses.replace(rows[3], latency_ms=rows[3].latency_ms * 30)
    fit = fit_device(simulated_device("raspberry-pi-4-cpu"), rows, WORKLOAD)
    assert fit.device.efficiency == pytest.approx(0.1, rel=0.3)
    assert 0.03 < fit.errors["latency_ms"] < 0.3


def test_fitted_numbers_say_where_they_come_from_and_others_keep_their_source():
    before = simulated_device("raspberry-pi-4-cpu")
    device = fit_device(before, made_by(slowed()), WORKLOAD, source="fitted to my board").device
    assert device.sources["efficiency"] == "fitted to my board"
    assert device.sources["active_power_w"] == "fitted to my board"
    assert device.sources["memory_mb"] == before.sources["memory_mb"]
    assert device.memory_mb == before.memory_mb


def test_without_energy_the_power_is_left_as_it_is():
    before = simulated_device("raspberry-pi-4-cpu")
    rows = [dataclasses.replace(row, energy_mj=None) for row in made_by(slowed())]
    fit = fit_device(before, rows, WORKLOAD)
    assert set(fit.errors) == {"latency_ms"}
    assert fit.device.active_power_w == before.active_power_w
    assert fit.device.sources["active_power_w"] == before.sources["active_power_w"]


def test_too_few_measurements_or_a_precision_that_is_lacking_are_refused():
    device = simulated_device("raspberry-pi-4-cpu")
    with pytest.raises(DeviceError, match="measurements: 7 given; allowed is 8 or more"):
        fit_device(device, made_by(slowed(), count=7), WORKLOAD)
    with pytest.raises(DeviceError, match='precision: Unsupported value: "fp16"'):
        fit_device(device, made_by(slowed()), WORKLOAD, precision="fp16")


ROW = {
    "model_dict": Architecture.homogeneous(
        num_layers=2, hidden_size=128, num_heads=2, feed_forward=[512]
    ).to_model_dict(),
    "latency_s_per_sequence": 0.5,
    "energy_j_per_sequence": 2.0,
    "peak_power_w": 5.0,
}


def test_published_rows_are_read_in_our_units(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(ROW) + "\n")
    (row,) = read_device_measurements(path)
    assert (row.latency_ms, row.energy_mj) == (500.0, 2000.0)
    assert row.architecture.num_layers == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"latency_s_per_sequence": -1}, "rows.jsonl:2: latency_s_per_sequence: -1 given"),
        (
            {"latency_s_per_sequence": None},
            "rows.jsonl:2: latency_ms or latency_s_per_sequence is missing",
        ),
        ({"energy_j_per_sequence": "much"}, "energy_j_per_sequence: 'much' given"),
        ({"energy_j_per_sequence": float("nan")}, "energy_j_per_sequence: nan given"),
        ({"model_dict": {"l": 1}}, "rows.jsonl:2: model dict"),
    ],
)
def test_a_row_that_cannot_be_is_named(tmp_path, change, words):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(ROW) + "\n" + json.dumps({**ROW, **change}) + "\n")
    with pytest.raises(DeviceError) as caught:
        read_device_measurements(path)
    assert words in str(caught.value)


def test_a_table_of_any_kind_is_read(tmp_path):
    model = json.dumps(ROW["model_dict"]).replace('"', '""')
    plain = tmp_path / "ROWS.CSV"
    plain.write_text(f'model_dict,latency_ms,energy_mj,note\n"{model}",500,,"a\nb"\n')
    packed = tmp_path / "rows.jsonl.gz"
    packed.write_bytes(gzip.compress(json.dumps(ROW).encode()))  # no newline at the end
    assert [row.latency_ms for row in read_device_measurements(plain)] == [500.0]
    assert [row.latency_ms for row in read_device_measurements(packed)] == [500.0]
    plain.write_text(plain.read_text() + f'"{model}",-1,,x\n')
    with pytest.raises(DeviceError, match=r"ROWS\.CSV:4: latency_ms: -1 given"):
        read_device_measurements(plain)
    plain.write_text("model_dict,latency\n{},1\n")
    with pytest.raises(DeviceError, match=r"ROWS\.CSV:1: no column latency_ms or latency_s_per"):
        read_device_measurements(plain)


def test_a_file_that_is_absent_or_no_json_is_named(tmp_path):
    with pytest.raises(DeviceError, match="there is no such file"):
        read_device_measurements(tmp_path / "absent.jsonl")
    path = tmp_path / "rows.jsonl"
    path.write_text("latency,energy\n")
    with pytest.raises(DeviceError, match=r"rows\.jsonl:1: is not a line of JSON"):
        read_device_measurements(path)


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published measurements are not here")
@pytest.mark.parametrize(
    ("name", "file", "batch", "error"),
    [
        ("raspberry-pi-4-cpu", "raspberry-pi-4-cpu", 1, 0.12),
        ("jetson-nano-cpu", "jetson-nano-cpu", 1, 0.22),
        ("nvidia-a100", "a100", 128, 0.14),
    ],
)
def test_published_measurements_are_fitted_as_the_catalogue_has_them(name, file, batch, error):
    rows = read_device_measurements(PUBLISHED / f"{file}.jsonl")
    fit = fit_device(simulated_device(name), rows, Workload(batch, 128))
    assert fit.errors["latency_ms"] < error < fit.errors_before["latency_ms"]
    packaged = catalogue(fitted=True)[name]
    for number in ("efficiency", "overhead_ms", "active_power_w"):
        assert packaged.numbers()[number] == pytest.approx(fit.device.numbers()[number], rel=0.02)
