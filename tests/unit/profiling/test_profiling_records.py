import json

import numpy as np
import pytest
from profiling_world import plan, record

from edgetran.devices import Figure, Workload
from edgetran.profiling import Measurement, MeasurementError, Profile, ProfilingError, Statistics
from edgetran.records import JsonLog
from edgetran.space import DesignSpace, sampling

SPACE = DesignSpace.preset("tiny")
ARCHITECTURES = sampling.sample(SPACE, 6, np.random.default_rng(0))
PLAN = plan()


def log_of(path, records):
    log = JsonLog(path)
    for measurement in records:
        log.append(measurement.to_dict())
    return path


def test_a_record_is_the_same_after_a_round_trip_through_json():
    for measurement in (
        record(ARCHITECTURES[0], plan=PLAN),
        record(ARCHITECTURES[1], plan=PLAN, failure="does not fit in memory"),
    ):
        text = json.dumps(measurement.to_dict(), allow_nan=False)
        again = Measurement.from_dict(json.loads(text))
        assert again == measurement
        assert again.key == measurement.key == PLAN.key()


def test_figures_are_measured_or_null_with_the_reason():
    figures = record(ARCHITECTURES[0], plan=PLAN).figures
    assert figures.latency_ms.source == "measured"
    assert figures.latency_ms.value > 0
    assert figures.energy_mj.value is None
    assert figures.energy_mj.reason == "no power source here"
    failed = record(ARCHITECTURES[0], plan=PLAN, failure="no memory").figures
    assert not failed.feasible
    assert failed.infeasible_reason == "no memory"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, "schema_version: 2 given"),
        ({"graph_hash": "0" * 32}, "graph_hash"),
        (
            {"mode": "hasty"},
            'mode: Unsupported value: "hasty": supported values: "quick", "standard"',
        ),
        ({"surprise": 1}, "surprise: unknown"),
        ({"latency_ms": None}, "latency_ms"),
        ({"drift": float("nan")}, "drift: nan is not a finite number"),
        ({"workload": {"batch_size": 0, "sequence_length": 8}}, "batch_size: Invalid value: 0"),
    ],
)
def test_a_broken_record_is_refused_by_place(tmp_path, change, message):
    data = {**record(ARCHITECTURES[0], plan=PLAN).to_dict(), **change}
    with pytest.raises(MeasurementError, match=message):
        Measurement.from_dict(data)
    path = tmp_path / "board.jsonl"
    path.write_text(json.dumps(data) + "\n")
    with pytest.raises(ProfilingError, match=r"board\.jsonl:1: "):
        Profile.load(path)


def test_a_missing_entry_is_named():
    data = record(ARCHITECTURES[0], plan=PLAN).to_dict()
    del data["stable"]
    with pytest.raises(MeasurementError, match="stable: missing"):
        Measurement.from_dict(data)


def test_an_empty_log_and_a_foreign_file_are_refused(tmp_path):
    with pytest.raises(ProfilingError, match="holds no measurement"):
        Profile.load(tmp_path / "none.jsonl")
    (tmp_path / "foreign.jsonl").write_text('{"kind": "trial"}\n')
    with pytest.raises(ProfilingError, match=r'foreign\.jsonl:1: kind: Unsupported value: "trial"'):
        Profile.load(tmp_path / "foreign.jsonl")


def test_records_of_other_conditions_are_kept_and_not_mixed(tmp_path):
    other = plan(workload=Workload(4, 64))
    records = [record(a, plan=other) for a in ARCHITECTURES[:2]]
    records += [record(a, plan=PLAN) for a in ARCHITECTURES]
    profile = Profile.load(log_of(tmp_path / "board.jsonl", records))
    assert profile.key == PLAN.key()
    assert len(profile.measurements) == 6
    assert profile.others == 2
    assert len(Profile.load(tmp_path / "board.jsonl", key=other.key()).measurements) == 2


def test_a_better_mode_replaces_a_quick_record_and_a_plan_can_ask_for_it(tmp_path):
    records = [
        record(ARCHITECTURES[0], plan=plan(mode="standard")),
        record(ARCHITECTURES[0], plan=PLAN, factor=1.1),
        record(ARCHITECTURES[1], plan=PLAN),
    ]
    path = log_of(tmp_path / "board.jsonl", records)
    assert [m.mode for m in Profile.load(path).measurements] == ["standard", "quick"]
    assert [m.mode for m in Profile.load(path, least_mode="standard").measurements] == ["standard"]


def test_records_that_contradict_each_other_are_told(tmp_path):
    records = [
        record(ARCHITECTURES[0], plan=PLAN),
        record(ARCHITECTURES[0], plan=PLAN, factor=2.0),
        record(ARCHITECTURES[1], plan=PLAN),
        record(ARCHITECTURES[1], plan=PLAN, factor=1.02),
    ]
    profile = Profile.load(log_of(tmp_path / "board.jsonl", records))
    assert len(profile.warnings) == 1
    assert ARCHITECTURES[0].graph_hash in profile.warnings[0]
    assert "contradict" in profile.warnings[0]
    assert profile.measurements[0].latency_ms == records[0].latency_ms


def test_of_several_records_the_middle_one_counts(tmp_path):
    records = [record(ARCHITECTURES[0], plan=PLAN, factor=f) for f in (1.0, 3.0, 1.1, 0.9)]
    records += [record(ARCHITECTURES[1], plan=PLAN, failure=f) for f in ("first", "second")]
    profile = Profile.load(log_of(tmp_path / "board.jsonl", records))
    assert profile.measurements == (records[0], records[5])
    hashes = [each.graph_hash for each in ARCHITECTURES[:2]]
    assert [profile.repeats[each] for each in hashes] == [4, 2]


def test_an_unstable_record_does_not_displace_a_stable_one(tmp_path):
    stable = record(ARCHITECTURES[0], plan=PLAN)
    unstable = record(ARCHITECTURES[0], plan=PLAN, factor=3.0, stable=False)
    profile = Profile.load(log_of(tmp_path / "board.jsonl", [stable, unstable]))
    assert profile.measurements == (stable,)
    assert profile.warnings == ()


def test_too_few_measurements_predict_nothing_and_say_why(tmp_path):
    records = [record(a, plan=PLAN) for a in ARCHITECTURES[:2]]
    records += [record(a, plan=PLAN, failure="no memory") for a in ARCHITECTURES[2:]]
    profile = Profile.load(log_of(tmp_path / "board.jsonl", records))
    with pytest.raises(ProfilingError, match=r"2 architectures measured, at least 4.*no memory"):
        _ = profile.surrogate


def test_a_median_of_zero_is_no_measurement():
    with pytest.raises(MeasurementError, match="above 0"):
        record(ARCHITECTURES[0], plan=PLAN, latency_ms=Statistics.of([0.0]))


def sensed(architecture, scope, source="hwmon"):
    energy, power = Figure(5.0, "mJ", "measured"), Figure(3.0, "W", "measured")
    return record(
        architecture,
        plan=PLAN,
        energy_mj=energy,
        peak_power_w=power,
        power={"source": source, "scope": scope},
    )


def test_energies_of_different_sensors_are_not_mixed_in_one_profile(tmp_path):
    records = [
        sensed(ARCHITECTURES[0], "VDD_IN"),
        sensed(ARCHITECTURES[1], "package-0 + dram", source="rapl"),
        sensed(ARCHITECTURES[2], "VDD_IN"),
        record(ARCHITECTURES[3], plan=PLAN),
    ]
    path = log_of(tmp_path / "board.jsonl", records)
    content = path.read_bytes()
    profile = Profile.load(path)
    energies = [m.energy_mj.value for m in profile.measurements]
    assert energies == [5.0, None, 5.0, None]
    other = profile.measurements[1]
    assert other.peak_power_w.reason == "it was sensed by another sensor than hwmon (VDD_IN)"
    assert other.latency_ms is not None
    assert profile.warnings == (
        (
            "energy and peak power of 2 architectures were sensed by hwmon (VDD_IN); those of 1 by "
            "rapl (package-0 + dram) are left out"
        ),
    )
    assert path.read_bytes() == content
    assert Profile.load(log_of(tmp_path / "same.jsonl", records[::2])).warnings == ()
