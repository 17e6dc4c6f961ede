"""Trials on a Ray cluster that runs already, and that sees the folder of the trials or does not."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900)]


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@contextmanager
def ray_cluster(hidden: Path | None = None) -> Iterator[str]:
    """The address of a Ray head on this machine, to which the folder `hidden` is an empty one."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:
        start = [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
            *(f"--port={port}", "--node-ip-address=127.0.0.1", "--num-cpus=1"),
            *("--include-dashboard=false", f"--temp-dir={folder}"),
        ]
        if hidden is not None:
            script = 'mount -t tmpfs tmpfs "$0" && exec "$@"'
            start = ["unshare", "--mount", "sh", "-c", script, str(hidden), *start]
        process = subprocess.Popen(
            start,
            stdout=subprocess.DEVNULL,
            env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"},
        )
        try:
            yield f"127.0.0.1:{port}"
        finally:
            family = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGTERM)
            process.wait(60)
            for child in family:
                if child.is_running():
                    child.kill()


SCRIPT = """
import json, socket, sys, time
from pathlib import Path
from edgetran.training import *

folder, address = Path(sys.argv[1]), sys.argv[2]
host, port = address.split(":")
for _ in range(600):
    try:
        socket.create_connection((host, int(port)), 1).close()
        break
    except OSError:
        time.sleep(0.2)
spec = TrialSpec(
    architecture={"l": 1, "h": [16], "f": [[16]], "o": [["sa_sdp_16"]]},
    task=TaskReference(files={"train": str(folder / "train.csv")}),
    plan=TrainingPlan(steps=2, max_length=8),
    seed=0,
    output=str(folder / "trials" / "one"),
    vocab_size=100,
    cache_dir=str(folder / "cache"),
)
with TrialPool(1, ray=RaySettings(mode="cluster", address=address)) as pool:
    pool.submit("one", spec)
    try:
        (outcome,) = pool.completed()
        print(json.dumps({"error": outcome.error, "score": outcome.score}))
    except RayClusterError as error:
        print(json.dumps({"cluster": str(error)}))
"""


def run_trial_on(address: str, folder: Path) -> str:
    """What a process that joins the cluster prints: Ray is one to a process."""
    rows = [f"a {'good' if n % 2 else 'bad'} film {n},{n % 2}" for n in range(60)]
    (folder / "train.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder), address],
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | {"RAY_AUTH_MODE": "disabled"},
    )
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (folder / "trials").glob(".seen-*")] == []
    return done.stdout


def test_a_trial_is_trained_by_a_worker_that_shares_the_folder(tmp_path: Path) -> None:
    with ray_cluster() as address:
        printed = run_trial_on(address, tmp_path)
    assert '"error": null' in printed
    assert (tmp_path / "trials/one/model.safetensors").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can hide a folder from a process")
def test_a_worker_that_does_not_share_the_folder_is_named(tmp_path: Path) -> None:
    with ray_cluster(hidden=tmp_path) as address:
        printed = run_trial_on(address, tmp_path)
    assert f"{socket.gethostname()} does not see {tmp_path}/trials" in printed
    assert "allowed with ray.mode cluster is storage that every Ray worker mounts" in printed
