"""`edgetran profile` is a ProfilingJob in words: the same resource, refusals, run and result."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cli_world import edgetran, refused

from edgetran import api
from edgetran.devices import Figure, Workload, catalogue
from edgetran.profiling import Measurement, Profile, ProfilingPlan, Statistics
from edgetran.records import JsonLog, read_records
from edgetran.space import Architecture, DesignSpace, sampling


def job_of(*arguments: str | Path | int) -> api.ProfilingJob:
    """The resource that `edgetran profile` prints."""
    result = edgetran("profile", *arguments, "--print")
    assert result.exit_code == 0, result.output
    (job,) = api.load_text(result.stdout)
    assert isinstance(job, api.ProfilingJob)
    return job


def test_without_words_this_host_is_measured_on_the_laptops_design_space() -> None:
    job = job_of()
    assert job.name == "this-host-torch-fp32"
    assert job.spec.device.host is True
    assert job.spec.device.energy is None
    assert job.spec.design_space is not None
    assert job.spec.design_space.preset == "tiny"
    assert job.spec.sampling == api.Sampling()
    assert job.spec.measurement == api.MeasurementSpec()


def test_every_word_reaches_its_field() -> None:
    job = job_of(
        "--device", "board", "--engine", "onnxruntime", "--precision", "int8", "--threads", 3,
        "--batch", 8, "--length", 64, "--mode", "reference", "--max-repeats", 2,
        "--max-drift", 0.02, "--cool-down", 5, "--power", "rapl", "--peak-window", 50,
        "--target-error", 0.1, "--max-measurements", 40, "--initial", 10, "--per-round", 5,
        "--sampling", "lhs", "--seed", 7, "--set", "spec.activeDeadlineSeconds=600",
    )  # fmt: skip
    spec = job.spec
    assert job.name == "board-onnxruntime-int8"
    device = spec.device
    assert (device.name, device.engine, device.precision) == ("board", "onnxruntime", "int8")
    assert device.threads == 3
    assert device.energy is not None
    assert (device.energy.source, device.energy.peak_window_ms) == ("rapl", 50)
    assert (spec.workload.batch_size, spec.workload.sequence_length) == (8, 64)
    measurement = spec.measurement
    assert (measurement.mode, measurement.max_repeats) == ("reference", 2)
    assert (measurement.max_drift, measurement.cool_down_seconds) == (0.02, 5)
    sampling = spec.sampling
    assert (sampling.target_error, sampling.max_measurements, sampling.initial) == (0.1, 40, 10)
    assert (sampling.batch, sampling.method) == (5, "lhs")
    assert (spec.seed, spec.active_deadline_seconds) == (7, 600)


def test_a_meter_means_an_external_power_source() -> None:
    energy = job_of("--meter", "http://meter.local/status#power").spec.device.energy
    assert energy is not None
    assert (energy.source, energy.meter) == ("external", "http://meter.local/status#power")


def test_rails_mean_the_sensors_of_the_board() -> None:
    energy = job_of("--rail", "VDD_IN", "--rail", "ina219@1-0040").spec.device.energy
    assert energy is not None
    assert (energy.source, energy.rails) == ("hwmon", ("VDD_IN", "ina219@1-0040"))


def test_models_stand_in_place_of_a_design_space(tmp_path: Path) -> None:
    job = job_of("--model", "one", "--model", "two")
    assert job.spec.models == ("one", "two")
    assert job.spec.design_space is None


def test_a_design_space_may_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(
        "name: mine\nlayers: [2]\nhiddenSizes: [64]\nheads: [2]\nfeedForwardWidths: [128]\n"
    )
    space = job_of("--design-space", path).spec.design_space
    assert space is not None
    assert space.hidden_sizes == (64,)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--engine", "tensorflow"], ["spec.device.engine", "tensorflow", "onnxruntime"]),
        (["--precision", "fp16"], ["spec.device.precision", "fp16", "fp32", "bf16"]),
        (["--device", "My Board"], ["spec.device.name", "My Board"]),
        (["--threads", "0"], ["spec.device.threads", "0"]),
        (
            ["--initial", "9", "--max-measurements", "4"],
            ["spec.sampling.initial", "9", "maxMeasurements"],
        ),
        (["--power", "external"], ["spec.device.energy.meter"]),
        (["--meter", "ftp://x"], ["spec.device.energy.meter", "hidden", "http"]),
        (["--design-space", "tinny"], ["spec.designSpace.preset", "tinny", "tiny"]),
        (["--design-space", "absent.yaml"], ["absent.yaml", "No such file"]),
        (["--model", "a", "--initial", "3"], ["spec.sampling", "models"]),
        (["--model", "a", "--design-space", "tiny"], ["spec", "designSpace", "models"]),
        (["--set", "spec.nonsense=1"], ["--set spec.nonsense=1"]),
        (["--set", "spec.suspend=true"], ["spec.suspend"]),
        (["--model", "no/such/model"], ["no/such/model", "does not exist"]),
    ],
)
def test_bad_words_are_refused_as_a_file_would_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(edgetran("profile", *arguments, "-o", tmp_path / "run"), *words)


def test_words_and_file_are_refused_in_the_same_words(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    spec = {"device": {"name": "h", "host": True, "precision": "fp16"},
            "designSpace": {"preset": "tiny"}}  # fmt: skip
    document = {
        "apiVersion": api.API_VERSION, "kind": "ProfilingJob", "metadata": {"name": "h"},
        "spec": spec,
    }  # fmt: skip
    path.write_text(json.dumps(document))
    file = edgetran("validate", "-f", path).stderr
    words = edgetran("profile", "--device", "h", "--precision", "fp16", "--name", "h").stderr
    assert file.replace(f"{path}: ", "") == words


@pytest.mark.slow
@pytest.mark.integration
def test_a_real_profile_goes_on_as_a_file_and_shows_what_was_measured(tmp_path: Path) -> None:
    words = ["--threads", 1, "--mode", "quick", "--initial", 4, "--max-measurements", 5,
             "--per-round", 1, "--length", 8, "--power", "none"]  # fmt: skip
    run = tmp_path / "run"
    result = edgetran("profile", *words, "-o", run)
    assert result.exit_code == 0, result.output
    for word in ("5 architectures measured", "Latency", "Claimed mean error", "not measured",
                 "energy.source is none", "Quickest architectures", "report.html"):  # fmt: skip
        assert word in result.stdout, result.stdout
    path = tmp_path / "job.yaml"
    path.write_text(edgetran("profile", *words, "--print").stdout)
    before = read_records(run / "profiles/this-host.jsonl")
    again = edgetran("run", "-f", path, "-o", run)
    assert again.exit_code == 0, again.output
    assert "this run is already complete" in " ".join(again.stdout.split())
    assert read_records(run / "profiles/this-host.jsonl") == before
    assert edgetran("show", run).stdout.strip() in again.stdout


@pytest.mark.slow
@pytest.mark.integration
def test_models_are_measured_by_name_each_of_them(tmp_path: Path) -> None:
    from edgetran.models import FlexiBertConfig, FlexiBertForSequenceClassification

    for name, layers in (("shallow", 1), ("deep", 3)):
        architecture = Architecture.homogeneous(
            num_layers=layers, hidden_size=32, num_heads=2, feed_forward=[64]
        )
        config = FlexiBertConfig.from_architecture(
            architecture, vocab_size=100, max_position_embeddings=16
        )
        FlexiBertForSequenceClassification(config).save_pretrained(tmp_path / name)
    result = edgetran(
        "profile", "--model", tmp_path / "deep", "--model", tmp_path / "shallow",
        "--threads", 1, "--mode", "quick", "--length", 8, "-o", tmp_path / "run", columns=200,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    rows = [line for line in result.stdout.splitlines() if str(tmp_path / "") in line]
    named = [row for row in rows if "M" in row and " ms" in row]
    assert "2 architectures measured" in result.stdout
    assert [row.split()[0] for row in named] == [
        str(tmp_path / "shallow"),
        str(tmp_path / "deep"),
    ]


def record(architecture: Architecture, plan: ProfilingPlan) -> Measurement:
    """What a simulated board measures."""
    figure = catalogue()["raspberry-pi-4-cpu"].estimate(architecture, plan.workload).latency_ms
    assert figure.value is not None
    latency = Statistics.of(figure.value * np.array([0.99, 1.0, 1.01]))
    key = plan.key()
    energy, power = (Figure.missing(unit, "measured", "no sensor") for unit in ("mJ", "W"))
    return Measurement(
        architecture=architecture, device=plan.device, engine=plan.engine,
        precision=plan.precision, threads=key.threads, workload=plan.workload, mode=plan.mode,
        versions=dict(key.versions), latency_ms=latency, batch_latency_ms=latency,
        energy_mj=energy, energy_idle_subtracted_mj=energy, batch_energy_mj=energy,
        peak_power_w=power, idle_power_w=power, power=None, cold_start_ms=1.0, stable=True,
        drift=0.001, attempts=1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def explained_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Profile]:
    """A run's folder with a profile of `board`, made by a simulated one."""
    folder = tmp_path_factory.mktemp("explained")
    plan = ProfilingPlan("board", Workload(1, 64), threads=1, mode="quick", initial=8)
    space = DesignSpace.preset("tiny")
    architectures = sampling.sample(space, 10, np.random.default_rng(0), method="sobol")
    log = JsonLog(folder / "profiles" / "board.jsonl")
    for architecture in architectures:
        log.append(record(architecture, plan).to_dict())
    return folder, Profile.load(log.path)


def test_a_prediction_is_explained_without_measuring(
    explained_run: tuple[Path, Profile], tmp_path: Path
) -> None:
    folder, profile = explained_run
    new = sampling.sample(DesignSpace.preset("tiny"), 1, np.random.default_rng(5))[0]
    file = tmp_path / "new.json"
    file.write_text(json.dumps(new.to_model_dict()))
    before = (folder / "profiles" / "board.jsonl").read_text()
    result = edgetran("profile", "--device", "board", "-o", folder, "--explain", file, columns=140)
    assert result.exit_code == 0, result.output
    for word in ("Latency", "90% within", "feed forward", "Nearest measured"):
        assert word in result.stdout, result.stdout
    assert any(m.architecture.graph_hash in result.stdout for m in profile.measured)
    assert (folder / "profiles" / "board.jsonl").read_text() == before

    known = profile.measured[2].architecture.graph_hash
    result = edgetran("profile", "--device", "board", "-o", folder, "--explain", known[:12])
    assert result.exit_code == 0, result.output
    assert known in result.stdout


def test_what_cannot_be_explained_is_refused_in_a_sentence(
    explained_run: tuple[Path, Profile], tmp_path: Path
) -> None:
    folder, _ = explained_run
    words = ("profile", "--device", "board", "-o", folder, "--explain")
    refused(edgetran(*words, "no-such-file"), "'no-such-file' is neither a file", "graph hash")
    broken = tmp_path / "broken.json"
    broken.write_text('{"l": 2}')
    refused(edgetran(*words, broken), "Required value: must have f, h and o")
    broken.write_text("[1, 2]")
    refused(edgetran(*words, broken), "broken.json")
    nowhere = ("profile", "--device", "board", "-o", tmp_path / "empty", "--explain", "ab")
    refused(edgetran(*nowhere), "holds no measurement")
