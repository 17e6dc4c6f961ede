"""`edgetran devices show` and `fit`: numbers with sources, a drawing, a fit with its limits."""

from __future__ import annotations

import csv
import html
import json
import re
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from cli_world import edgetran, refused
from rich.console import Console

from edgetran.devices import Workload, catalogue, catalogue_file, simulated_device
from edgetran.space import DesignSpace, sampling

TINY = DesignSpace.preset("tiny")
BOARD = "raspberry-pi-4-cpu"


@pytest.mark.parametrize("name", list(catalogue()))
def test_every_number_of_a_device_is_shown_with_its_source(name: str) -> None:
    result = edgetran("devices", "show", name, columns=400)
    assert result.exit_code == 0, result.output
    device = catalogue()[name]
    assert "simulated" in result.stdout
    for source in device.sources.values():
        assert source in result.stdout
    assert f"{device.active_power_w:.4g} W" in result.stdout


@pytest.mark.parametrize("columns", [60, 80, 140])
def test_the_drawing_fits_the_terminal_and_holds_roof_and_architectures(columns: int) -> None:
    result = edgetran("devices", "show", BOARD, columns=columns)
    lines = result.stdout.splitlines()
    drawing = lines[lines.index("GFLOP/s") :]
    assert all(len(line) <= columns for line in lines)
    assert any("●" in line or "•" in line for line in drawing)
    roof = next(i for i, line in enumerate(drawing) if re.search("[⠉-⣿]{8}", line))
    first_mark = next(i for i, line in enumerate(drawing) if re.search("[●•]", line))
    assert roof <= first_mark  # nothing is quicker than the roof
    assert "operations per byte" in drawing[-2]


def test_what_does_not_fit_the_memory_is_marked() -> None:
    result = edgetran("devices", "show", BOARD, "--design-space", "flexibert-2.0", "--batch", 4096,
                      "--length", 512, "--architectures", 16)  # fmt: skip
    assert "16 of them do not fit in memory" in result.stdout
    assert "×" in result.stdout


def test_precision_batch_and_length_change_the_picture() -> None:
    default = edgetran("devices", "show", BOARD).stdout
    assert "Reachable in fp32: 23.6 GFLOP/s" in default
    changed = edgetran("devices", "show", BOARD, "--precision", "int8", "--batch", 4,
                       "--length", 32).stdout  # fmt: skip
    assert "Reachable in int8: 35.4 GFLOP/s" in changed
    assert "batch 4, 32 tokens" in changed


def test_a_page_stands_alone_and_has_numbers_and_plot(tmp_path: Path) -> None:
    page = tmp_path / "roofline.html"
    result = edgetran("devices", "show", BOARD, "--output", page)
    assert result.exit_code == 0, result.output
    text = html.unescape(page.read_text())
    figures = json.loads(re.search(r'id="figures">(.*?)</script>', text, re.S)[1])
    names = [trace["name"] for trace in figures["plot-0"]["data"]]
    assert names == ["Data sheet", "Reachable", "Architecture"]
    assert len(figures["plot-0"]["data"][2]["x"]) == 64
    for source in catalogue()[BOARD].sources.values():
        assert source in text
    assert "default-src 'none'" in text
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=.https?:", text)


@pytest.mark.slow
@pytest.mark.skipif(
    not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    reason="no Chromium found: apt-get install chromium",
)
def test_a_picture_is_a_png(tmp_path: Path) -> None:
    pytest.importorskip("kaleido")
    picture = tmp_path / "roofline.png"
    result = edgetran("devices", "show", BOARD, "--output", picture)
    assert result.exit_code == 0, result.output
    content = picture.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", content[16:24]) == (2200, 1400)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["raspbery-pi-4-cpu"], ["raspbery-pi-4-cpu", "did you mean", BOARD]),
        ([BOARD, "--precision", "bf16"], ["bf16", '"fp32", "int8"']),
        ([BOARD, "--design-space", "big"], ["big", "tiny"]),
        ([BOARD, "--design-space", "absent.yaml"], ["absent.yaml"]),
        ([BOARD, "--output", "x.svg"], ["x.svg", ".html and .png"]),
        ([BOARD, "--catalogue", "absent.yaml"], ["absent.yaml: no such file"]),
    ],
)
def test_what_cannot_be_shown_is_refused(arguments: list[str], words: list[str]) -> None:
    refused(edgetran("devices", "show", *arguments), *words)


def measured(count: int = 24, *, energy: bool = True) -> list[dict]:
    """Rows that a board made which is slower than the catalogue's."""
    import dataclasses

    board = dataclasses.replace(
        simulated_device(BOARD), efficiency=0.1, bandwidth_efficiency=0.2, launch_us=300.0,
        overhead_ms=20.0, active_power_w=5.0,
    )  # fmt: skip
    space = DesignSpace.preset("flexibert-2.0")
    rows = []
    for architecture in sampling.sample(space, count, np.random.default_rng(0)):
        figures = board.estimate(architecture, Workload(1, 128))
        rows.append(
            {"model_dict": architecture.to_model_dict(), "latency_ms": figures.latency_ms.value}
            | ({"energy_mj": figures.energy_mj.value} if energy else {})
        )
    return rows


def json_lines(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def csv_file(path: Path, rows: list[dict]) -> Path:
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        for row in rows:
            writer.writerow(row | {"model_dict": json.dumps(row["model_dict"])})
    return path


@pytest.mark.parametrize("form", [json_lines, csv_file])
def test_a_fit_is_told_and_written_with_the_data_as_its_source(tmp_path: Path, form) -> None:
    data = form(tmp_path / f"board{'.csv' if form is csv_file else '.jsonl'}", measured())
    entry = tmp_path / "board.yaml"
    result = edgetran("devices", "fit", data, "--device", BOARD, "--name", "my-board",
                      "--output", entry)  # fmt: skip
    assert result.exit_code == 0, result.output
    for word in ("24 measurements", "Catalogue", "on rows left out", "Latency", "Energy",
                 "Known within", "are kept"):  # fmt: skip
        assert word in result.stdout, result.stdout
    device = catalogue_file(entry)["my-board"]
    assert device.efficiency == pytest.approx(0.1, rel=0.02)
    assert device.launch_us == pytest.approx(300, rel=0.1)
    assert data.name in device.sources["efficiency"]
    assert "24 measurements" in device.sources["active_power_w"]
    before = simulated_device(BOARD)
    assert device.sources["memory_mb"] == before.sources["memory_mb"]
    shown = edgetran("devices", "show", "my-board", "--catalogue", entry, columns=300)
    assert "my-board" in shown.stdout
    assert device.sources["efficiency"] in shown.stdout


def test_without_energies_power_is_said_to_be_kept(tmp_path: Path) -> None:
    data = json_lines(tmp_path / "rows.jsonl", measured(energy=False))
    result = edgetran("devices", "fit", data, "--device", BOARD)
    assert "Power is kept: fewer than 8" in result.stdout
    assert "Idle power" not in result.stdout


def test_numbers_that_measurements_do_not_determine_are_named(tmp_path: Path) -> None:
    """Of architectures of one shape, nothing tells arithmetic, memory and dispatching apart."""
    rng = np.random.default_rng(0)
    row = measured(1)[0]
    rows = [row | {"latency_ms": row["latency_ms"] * float(np.exp(rng.normal(0, 0.05)))}
            for _ in range(12)]  # fmt: skip
    result = edgetran("devices", "fit", json_lines(tmp_path / "rows.jsonl", rows), "--device",
                      BOARD)  # fmt: skip
    assert "not determined" in result.stdout
    assert "Not determined by these measurements: share of the peak rate" in result.stdout
    assert "cannot be told apart" in result.stdout


def test_a_log_of_a_profile_says_its_own_batch_and_length(tmp_path: Path) -> None:
    log = profile_log(tmp_path)
    entry = tmp_path / "fitted.yaml"
    result = edgetran("devices", "fit", log, "--device", BOARD, "--output", entry)
    assert result.exit_code == 0, result.output
    device = catalogue_file(entry)[BOARD]
    assert "10 measurements in host.jsonl, batch 1, length 16" in device.sources["efficiency"]
    refused(edgetran("devices", "fit", log, "--device", BOARD, "--length", 64),
            "--length: 64 given", "measured with 16")  # fmt: skip
    refused(edgetran("devices", "fit", log, "--device", "intel-ncs2"), "fp32", "fp16")


def profile_log(tmp_path: Path) -> Path:
    """A real log of the profiling room, by a measurer that knows its truth."""
    from edgetran.devices import NoPower
    from edgetran.profiling import ProfilingPlan, profile_device

    plan = ProfilingPlan(device="host", workload=Workload(1, 16), threads=1, mode="quick",
                         initial=10, max_measurements=10)  # fmt: skip
    path = tmp_path / "profiles/host.jsonl"
    profile_device(plan, TINY, path, power_source=NoPower("none here"), measurer=_quickly(plan))
    return path


def _quickly(plan):
    from edgetran.devices import Figure
    from edgetran.profiling import Measurement
    from edgetran.profiling.statistics import Statistics

    def measurer(architectures):
        for architecture in architectures:
            value = simulated_device(BOARD).estimate(architecture, plan.workload).latency_ms.value
            latency = Statistics.of(np.full(10, value))
            missing = Figure.missing("mJ", "measured", "none here")
            watts = Figure.missing("W", "measured", "none here")
            yield Measurement(
                architecture=architecture, device="host", engine="torch", precision="fp32",
                threads=1, workload=plan.workload, mode="quick",
                versions=dict(plan.key().versions), latency_ms=latency, batch_latency_ms=latency,
                energy_mj=missing, energy_idle_subtracted_mj=missing, batch_energy_mj=missing,
                peak_power_w=watts, idle_power_w=watts, power=None, cold_start_ms=1.0,
                stable=True, drift=0.0, attempts=1, measured_at="2026-01-01T00:00:00+00:00",
            )  # fmt: skip

    return measurer


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", ["measurements: 0 given; allowed is 8 or more"]),
        ("{}\n", [":1: no column model_dict; the columns are none"]),
        ("not json\n", [":1: is not a line of JSON"]),
        ('{"kind": "measurement"}\n', [":1: schema_version"]),
        (
            '{"latency_ms": -3, "model_dict": {}}\n',
            [":1: latency_ms: -3 given; allowed is a number"],
        ),
        ('{"latency_ms": 3, "model_dict": 5}\n', [":1: model dict"]),
        ('{"latency_ms": 1e999, "model_dict": {}}\n', [":1: latency_ms: inf given"]),
    ],
)
def test_data_that_cannot_be_read_is_refused_with_its_row(
    tmp_path: Path, content: str, words: list[str]
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(content)
    refused(edgetran("devices", "fit", path, "--device", BOARD), "rows.jsonl", *words)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["measurements: 0 given; allowed is 8 or more"]),
        (b"model_dict,time\n{},3\n", ["no column latency_ms or latency_s_per_sequence"]),
        (b"model_dict,latency_ms\nmany,3\n", [":2: model dict"]),
        (b'model_dict,latency_ms\n"{}",much\n', [":2: latency_ms: 'much' given"]),
        (b"model_dict,latency_ms\n\xff\xfe,3\n", ["not UTF-8"]),
        (b'model_dict,latency_ms\n"{}"x,3\n', ["not CSV"]),
    ],
)
def test_a_csv_that_cannot_be_read_is_refused_with_its_row(
    tmp_path: Path, content: bytes, words: list[str]
) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(content)
    refused(edgetran("devices", "fit", path, "--device", BOARD), "rows.csv", *words)


def test_a_missing_file_and_an_unknown_device_are_refused(tmp_path: Path) -> None:
    refused(edgetran("devices", "fit", tmp_path / "no.csv", "--device", BOARD), "no such file")
    path = json_lines(tmp_path / "rows.jsonl", measured(8))
    refused(edgetran("devices", "fit", path, "--device", "jetson"), "jetson", "supported values: ")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[1]", ["a mapping from names"]),
        ("a: {b", ["not YAML"]),
        ("a: {peak_gflops: 3}", ["a.peak_gflops", "for each precision"]),
        ("a: {peak_gflops: {fp32: {source: x}}}", ["a.peak_gflops", "a number as value"]),
        ("a: {peak_gflops: {fp32: {value: 1, source: x}}}", ["a.efficiency is missing"]),
    ],
)
def test_a_catalogue_file_that_cannot_be_is_refused(
    tmp_path: Path, content: str, words: list[str]
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    refused(edgetran("devices", "show", "a", "--catalogue", path), "mine.yaml", *words)


def test_a_fitted_entry_reads_back_as_the_packaged_catalogue(tmp_path: Path) -> None:
    import yaml

    from edgetran.devices import catalogue_entry

    path = tmp_path / "all.yaml"
    path.write_text(yaml.safe_dump({n: catalogue_entry(d) for n, d in catalogue().items()}))
    assert dict(catalogue_file(path)) == dict(catalogue())


def test_the_drawing_is_plain_text_where_there_is_no_terminal() -> None:
    assert Console().is_terminal is False
    assert "\x1b" not in edgetran("devices", "show", BOARD).stdout
