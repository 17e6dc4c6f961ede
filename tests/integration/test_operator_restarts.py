"""Operators that start late, are killed at any moment, or are two."""

import random
import time

import pytest
from cluster_fixtures import wait_until
from operator_process import operator
from played_cluster import Played

pytestmark = pytest.mark.integration


@pytest.fixture
def played(api_server):
    """A namespace of its own with boards of its own."""
    played = Played(api_server, api_server.namespace("again"))
    yield played
    played.remove_nodes()


@pytest.fixture(scope="module")
def kubeconfig(api_server):
    return api_server.kubeconfig


def test_what_exists_when_it_starts_is_reconciled(played, kubeconfig, tmp_path):
    played.node()
    played.profile("p")
    played.profile("q", suspend=True)
    with operator(kubeconfig, tmp_path, {"namespaces": [played.namespace]}):
        pod = played.start("p-pj-worker")
        played.wait_for("ProfilingJob", "q", "Suspended", "True")
    played.report("p-pj-results", finished=True)
    played.end("p-pj-worker", pod, 0)
    with operator(kubeconfig, tmp_path, {"namespaces": [played.namespace]}):
        played.wait_for("ProfilingJob", "p", "Succeeded", "True")


@pytest.mark.parametrize(
    "jobs", [pytest.param(4, id="short"), pytest.param(200, id="soak", marks=pytest.mark.soak)]
)
def test_two_operators_that_are_killed_at_any_moment_come_to_the_same_end(
    api_server, played, kubeconfig, tmp_path, jobs
):
    """Two at once, each killed again and again; one job at a time measures on the board."""
    seed = time.time_ns()
    chance = random.Random(seed)  # noqa: S311 - moments, not secrets
    board = played.node()
    names = [f"p{number:03}" for number in range(jobs)]
    settings = {"namespaces": [played.namespace]}
    with (
        operator(kubeconfig, tmp_path / "one", settings) as one,
        operator(kubeconfig, tmp_path / "two", settings) as two,
    ):
        for name in names:
            played.profile(name)
        done = []
        for _ in range(10 * jobs):
            if len(done) == len(names):
                break
            time.sleep(chance.uniform(0.05, 0.8))
            victim = chance.choice([one, two])
            victim.kill()
            victim.restart()
            wait_until(lambda: len(played.jobs()) > len(done), f"a job follows (seed {seed})", 60)
            active = [job for job in played.jobs() if not job.get("status", {}).get("conditions")]
            assert len(active) == 1, f"one job per board (seed {seed})"
            name = active[0]["metadata"]["name"].removesuffix("-pj-worker")
            time.sleep(chance.uniform(0, 0.5))
            played.finish(name)
            played.wait_for("ProfilingJob", name, "Succeeded", "True")
            done.append(name)
        assert sorted(done) == names
        for name in names:
            status = played.status("ProfilingJob", name)
            assert status["node"] == board
            assert status["failures"] == 0
        for process in (one, two):
            assert process.crashes() == []
    maps = api_server.call("GET", f"/api/v1/namespaces/{played.namespace}/configmaps")["items"]
    ours = {each["metadata"]["name"] for each in maps if each["metadata"]["name"][0] == "p"}
    needed = {f"{name}-pj-{part}" for name in names for part in ("spec", "results-0")}
    # A second part is made ready while a worker runs, by whichever operator lives to see that.
    assert needed <= ours <= needed | {f"{name}-pj-results-1" for name in names}
