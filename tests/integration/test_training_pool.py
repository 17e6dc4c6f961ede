"""Trials on a real local Ray: in parallel, after deaths, and without anything left behind."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from edgetran.space import Architecture
from edgetran.training import (
    RaySettings,
    TaskReference,
    TrainingPlan,
    TrialPool,
    TrialSpec,
    run_trial,
)
from edgetran.training.cluster import ClusterError

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300)]

ARCHITECTURE = Architecture.homogeneous(
    num_layers=1, hidden_size=32, num_heads=2, feed_forward=[32]
).to_model_dict()

LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}

DRIVER = """
import json, sys
from edgetran.training import TrialPool, TrialSpec
with TrialPool(2) as pool:
    for key, spec in json.loads(sys.argv[1]).items():
        pool.submit(key, TrialSpec.from_dict(spec))
    print("submitted", flush=True)
    for outcome in pool.completed():
        print(json.dumps(outcome.to_dict()), flush=True)
"""


@pytest.fixture
def spec(tmp_path):
    lines = [
        f"the {thing} was {word} and {i},{label}"
        for i in range(10)
        for thing in ("film", "plot", "cast")
        for label, words in enumerate((("bad", "dull"), ("good", "fine")))
        for word in words
    ]
    data = tmp_path / "data.csv"
    data.write_text("\n".join(["text,label", *lines]) + "\n")
    return TrialSpec(
        architecture=ARCHITECTURE,
        task=TaskReference(files={"train": str(data)}),
        plan=TrainingPlan(steps=20, max_length=12, learning_rate=5e-3),
        seed=0,
        output=str(tmp_path / "trial"),
        vocab_size=200,
        cache_dir=str(tmp_path / "cache"),
    )


def endless(spec, name):
    output = Path(spec.output).with_name(name)
    return replace(spec, plan=TrainingPlan(max_seconds=600, max_length=12), output=str(output))


def start_driver(specs, before=""):
    given = json.dumps({key: spec.to_dict() for key, spec in specs.items()})
    driver = subprocess.Popen(
        [sys.executable, "-c", before + DRIVER, given],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's & ignores it
    )
    assert driver.stdout.readline() == "submitted\n"
    deadline = time.monotonic() + 120
    while len(workers(driver.pid)) < len(specs):
        assert time.monotonic() < deadline, "no worker runs a trial"
        time.sleep(0.2)
    return driver, psutil.Process(driver.pid).children(recursive=True)


def workers(pid):
    """Processes below `pid` that run a trial just now; Ray names them after the method."""
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        try:
            if process.cmdline()[:1] == ["ray::TrialWorker.run"]:
                found.append(process)
        except psutil.Error:
            continue
    return found


def listeners(processes):
    """Addresses on which the processes listen."""
    found = set()
    for process in processes:
        try:
            connections = process.net_connections("tcp")
        except psutil.NoSuchProcess:
            continue
        found |= {each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN}
    return found


def all_gone(processes, seconds):
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return [p for p in alive if p.status() != psutil.STATUS_ZOMBIE]


def test_parallel_trials_end_as_they_would_alone_and_on_loopback_only(spec, tmp_path):
    alone = [run_trial(replace(spec, seed=s, output=str(tmp_path / f"a{s}"))) for s in range(3)]
    others = set(psutil.Process().children(recursive=True))  # servers of other tests, say
    with TrialPool(2) as pool:
        for seed in range(3):
            pool.submit(str(seed), replace(spec, seed=seed, output=str(tmp_path / f"r{seed}")))
        pool.submit("bad", replace(spec, parent="nowhere", output=str(tmp_path / "bad")))
        outcomes = {outcome.key: outcome for outcome in pool.completed()}
        started = list(set(psutil.Process().children(recursive=True)) - others)
        listening = listeners(started)
    assert {key: outcome.metrics for key, outcome in outcomes.items() if key != "bad"} == {
        str(seed): outcome.metrics for seed, outcome in enumerate(alone)
    }
    assert outcomes["bad"].error_kind == "bad-input"
    assert listening <= LOOPBACK
    assert len(started) > 3
    assert not all_gone(started, 20)


def test_ray_stays_on_loopback_where_somebody_has_imported_it_before(spec):
    driver, family = start_driver({"a": endless(spec, "a")}, before="import ray\n")
    listening = listeners(family)
    driver.kill()
    driver.wait()
    assert listening
    assert listening <= LOOPBACK
    assert not all_gone([p for p in family if p.name() in ("raylet", "gcs_server")], 20)


@pytest.mark.parametrize("deaths", [1, 3])
def test_a_trial_whose_worker_is_killed_starts_again_but_not_for_ever(spec, deaths):
    def kill_workers():
        killed = set()
        while len(killed) < deaths and not over.wait(0.3):
            for worker in workers(os.getpid()):
                if worker.pid not in killed and worker.create_time() < time.time() - 1:
                    killed.add(worker.pid)
                    worker.kill()

    over = threading.Event()
    killer = threading.Thread(target=kill_workers)
    endless = TrainingPlan(max_seconds=60 if deaths == 3 else 6, max_length=12)
    with TrialPool(1) as pool:
        pool.submit("victim", replace(spec, plan=endless, output=f"{spec.output}-victim"))
        pool.submit("other", spec)
        killer.start()
        try:
            outcomes = {outcome.key: outcome for outcome in pool.completed()}
        finally:
            over.set()
            killer.join()
    assert outcomes["other"].succeeded
    victim = outcomes["victim"]
    if deaths == 1:
        assert victim.succeeded
        assert victim.attempts == 2
    else:
        assert (victim.error_kind, victim.attempts) == ("worker-died", 3)
        assert "\n" not in victim.error


def test_a_killed_driver_takes_its_workers_along_and_the_next_run_finishes(spec):
    driver, started = start_driver({"a": endless(spec, "a"), "b": endless(spec, "b")})
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    left = {process.name() for process in all_gone(started, 15)}
    assert left <= {"ray::DashboardAgent", "ray::RuntimeEnvAgent"}  # which leave a minute later
    with TrialPool(1) as pool:
        pool.submit("again", spec)
        (outcome,) = pool.completed()
    assert outcome.succeeded


def test_ctrl_c_ends_every_process(spec):
    driver, started = start_driver({"a": endless(spec, "a"), "b": endless(spec, "b")})
    driver.send_signal(signal.SIGINT)
    assert driver.wait(timeout=60) != 0
    assert not all_gone(started, 30)


def test_a_cluster_that_does_not_answer_is_an_error_of_one_sentence(spec):
    settings = RaySettings(mode="cluster", address="127.0.0.1:9")
    with (
        TrialPool(1, ray=settings) as pool,
        pytest.raises(ClusterError, match=r"at 127\.0\.0\.1:9"),
    ):
        pool.submit("a", spec)
