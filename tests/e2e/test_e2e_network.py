"""Nothing leaves the machine unasked: every socket of every process is watched by strace."""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import command

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

WATCHED = "connect,sendto,sendmsg,sendmmsg,execve"
ADDRESS = re.compile(r'sin_port=htons\((\d+)\), sin_addr=inet_addr\("([^"]+)"\)')
ADDRESS6 = re.compile(r'sin6_port=htons\((\d+)\).*?inet_pton\(AF_INET6, "([^"]+)"')

RUN = """
apiVersion: edgetran.io/v1alpha1
kind: CoDesignSearch
metadata: {name: watched-search}
spec:
  task: {files: {train: train.csv}}
  designSpace: {preset: tiny}
  workload: {batchSize: 1, sequenceLength: 16}
  devices:
    - {name: board, simulation: raspberry-pi-4-cpu}
    - {name: here, host: true, engine: ENGINE, threads: 1}
  profiling:
    sampling: {initial: 4, batch: 2, maxMeasurements: 4}
  objective: {weights: {accuracy: 1, latency: 1}}
  search: {method: random, maxTrials: 2, initialTrials: 2, parallelTrials: 2}
  training: {steps: 2, batchSize: 8}
---
apiVersion: edgetran.io/v1alpha1
kind: GPTranRun
metadata: {name: watched-refinement}
spec:
  searchRef: {name: watched-search}
  training: {steps: 2, batchSize: 8}
  cycles: 1
  stages: [growHeads]
  samplesPerStage: 1
"""
"""The least that has every part in it: OpenVINO reads what is exported, ONNX Runtime checks it."""


def watch(arguments: list[str], folder: Path) -> tuple[str, list[str]]:
    """Run a command with an empty home; its output, and the addresses beyond this machine."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed: sockets cannot be watched")
    home, trace = folder / "home", folder / "trace"
    home.mkdir()
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in ("PATH", "LANG", "TMPDIR", "OMP_NUM_THREADS") or name.startswith("COV")
    }
    process = subprocess.run(
        [strace, "-f", "--seccomp-bpf", "-qq", "-e", f"trace={WATCHED}", "-o", str(trace),
         *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env=kept | {"HOME": str(home), "COLUMNS": "200", "NO_COLOR": "1"},
        timeout=3600,
    )  # fmt: skip
    assert process.returncode == 0, process.stdout + process.stderr
    calls = trace.read_text(errors="replace")
    assert "execve" in calls, "strace saw something"
    left = {path.relative_to(home).parts[0] for path in home.rglob("*")} - {".cache"}
    assert not left, f"written to the user's home: {left}"
    return process.stdout, sorted(
        f"{address}:{port}"
        for pattern in (ADDRESS, ADDRESS6)
        for port, address in set(pattern.findall(calls))
        if not is_here(address)
    )


def is_here(address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    return parsed.is_loopback or parsed.is_unspecified


def test_the_watch_sees_a_connection(tmp_path: Path) -> None:
    text = (
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
        "s.connect(('192.0.2.1', 9))"
    )
    assert watch([sys.executable, "-c", text], tmp_path)[1] == ["192.0.2.1:9"]


def test_listing_devices_asks_nobody(tmp_path: Path) -> None:
    output, beyond = watch(command("devices"), tmp_path)
    assert "Power sources" in output
    assert beyond == []


def test_profiling_asks_nobody(tmp_path: Path) -> None:
    _, beyond = watch(
        command("profile", "--device", "here", "--engine", "torch", "--threads", "1", "--length",
                "16", "--mode", "quick", "--initial", "4", "--per-round", "2",
                "--max-measurements", "4"),
        tmp_path,
    )  # fmt: skip
    assert beyond == []


def test_a_whole_run_asks_nobody(tmp_path: Path) -> None:
    engine = "openvino" if importlib.util.find_spec("openvino") else "onnxruntime"
    (tmp_path / "run.yaml").write_text(RUN.replace("ENGINE", engine))
    rows = [
        f"{'good fine nice' if i % 2 else 'bad poor dull'} number {i},{i % 2}" for i in range(96)
    ]
    (tmp_path / "train.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    _, beyond = watch(command("run", "-f", "run.yaml", "-o", "out"), tmp_path)
    assert (tmp_path / "out/result.json").exists()
    assert beyond == []
