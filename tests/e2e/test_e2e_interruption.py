"""A run that is killed, interrupted or out of disk space loses nothing and repeats nothing."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from conftest import call, small_run

from edgetran.records import read_records

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def start(arguments: list[str], log: Path) -> subprocess.Popen[bytes]:
    with open(log, "ab") as output:
        return subprocess.Popen(
            arguments,
            stdout=output,
            stderr=output,
            env=os.environ | {"COLUMNS": "120"},
            preexec_fn=lambda: signal.signal(
                signal.SIGINT, signal.SIG_DFL
            ),  # a shell's & ignores it
        )


def children_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


RAY_AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
"""Of a killed driver's processes these two leave by themselves, about a minute later."""


def assert_all_gone(processes: list[psutil.Process], *, but: tuple[str, ...] = ()) -> None:
    _, alive = psutil.wait_procs([p for p in processes if name_of(p) not in but], timeout=30)
    left = [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    assert not left, [p.cmdline()[:3] for p in left]


def name_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()).strip()
    except psutil.NoSuchProcess:
        return ""


def assert_complete(folder: Path) -> None:
    trials = read_records(folder / "trials.jsonl")
    assert sorted(trial["number"] for trial in trials) == [0, 1, 2, 3]
    measured = Counter(
        record["graph_hash"]
        for record in read_records(folder / "profiles" / "this-host.jsonl")
        if record["kind"] == "measurement"
    )
    assert list(measured.values()) == [1] * 4
    nodes = [
        record["id"]
        for record in read_records(folder / "gptran" / "tree.jsonl")
        if record.get("type") == "node"
    ]
    assert nodes
    assert len(nodes) == len(set(nodes))
    assert json.loads((folder / "result.json").read_text())["winner"]


@pytest.mark.soak
@pytest.mark.timeout(1500)
def test_ten_kills_at_random_moments_lose_and_repeat_nothing(tmp_path: Path) -> None:
    folder, log = tmp_path / "run", tmp_path / "output.txt"
    rng = random.Random(20230324)  # noqa: S311 - moments of kills, no secrets
    kills = 0
    while kills < 10:
        process = start(small_run(folder), log)
        try:
            process.wait(timeout=rng.uniform(2, 14) + 2 * kills)
        except subprocess.TimeoutExpired:
            kill(process)
            kills += 1
        else:
            assert process.returncode == 0, log.read_text()
            break
    assert kills >= 4, "the run ended before it was killed a few times; nothing was tested"
    last = call(small_run(folder))
    assert last.returncode == 0, last.stdout + last.stderr
    assert_complete(folder)


def kill(process: subprocess.Popen[bytes]) -> None:
    family = children_of(process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert_all_gone(family, but=RAY_AGENTS)


def interrupt(process: subprocess.Popen[bytes], log: Path) -> None:
    family = children_of(process)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130, log.read_text()
    assert_all_gone(family)
    text = log.read_text()
    assert "interrupted; finished work is kept" in text
    assert "Traceback" not in text


def start_and_wait_for(
    folder: Path, log: Path, record: str, count: int = 1
) -> subprocess.Popen[bytes]:
    """A run that has just written the first records of a log; whatever it does next is cut."""
    process = start(small_run(folder), log)
    deadline = time.monotonic() + 600
    while len(read_records(folder / record)) < count:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
    return process


def first_candidates(folder: Path) -> list[tuple[int, str]]:
    """The candidates that the seed alone decides; later ones depend on measured costs as well."""
    trials = read_records(folder / "trials.jsonl")
    return sorted((trial["number"], trial["graph_hash"]) for trial in trials)[:2]


def test_a_run_that_is_cut_short_in_each_of_its_stages_loses_and_repeats_nothing(
    finished: tuple[Path, str], tmp_path: Path
) -> None:
    folder, log = tmp_path / "run", tmp_path / "output.txt"
    kill(start_and_wait_for(folder, log, "profiles/this-host.jsonl", 3))
    interrupt(start_and_wait_for(folder, log, "trials.jsonl"), log)
    kill(start_and_wait_for(folder, log, "gptran/tree.jsonl", 3))
    assert not (folder / "result.json").exists()
    last = call(small_run(folder))
    assert last.returncode == 0, last.stdout + last.stderr
    assert "continuing where it stopped" in last.stdout
    assert_complete(folder)
    assert first_candidates(folder) == first_candidates(finished[0])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
def test_a_full_disk_is_named_and_the_run_goes_on_after_room_is_made(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)], check=True)
    try:
        full = call(small_run(disk / "run"))
        assert full.returncode == 1, full.stdout + full.stderr
        assert "no space left" in full.stderr
        assert "Traceback" not in full.stderr
        kept = read_records(disk / "run" / "profiles" / "this-host.jsonl")
        subprocess.run(["mount", "-o", "remount,size=500m", str(disk)], check=True)
        again = call(small_run(disk / "run"))
        assert again.returncode == 0, again.stdout + again.stderr
        assert_complete(disk / "run")
        assert read_records(disk / "run" / "profiles" / "this-host.jsonl")[: len(kept)] == kept
    finally:
        subprocess.run(["umount", str(disk)], check=True)
