"""Two operators and one Lease: one acts, the other knows all and takes over."""

import random
import signal
import time

import pytest
from cluster_fixtures import wait_until
from operator_process import operator
from played_cluster import Played

from edgetran_operator.kube.lease import LEASE_SECONDS, LONGEST_SECONDS

pytestmark = pytest.mark.integration

LEASE = "edgetran"
TAKEN_OVER_SECONDS = 60
"""The Lease's 15 s, and what a busy machine adds."""


@pytest.fixture
def played(api_server):
    """A namespace of its own with boards of its own."""
    played = Played(api_server, api_server.namespace("lease"))
    yield played
    played.remove_nodes()


@pytest.fixture
def settings(played):
    """One of several operators acts."""
    election = {"enabled": True, "lease": LEASE, "namespace": played.namespace}
    return {"namespaces": [played.namespace], "leaderElection": election}


def holder(played):
    """Who holds the Lease; empty where nobody does."""
    path = f"/apis/coordination.k8s.io/v1/namespaces/{played.namespace}/leases/{LEASE}"
    lease = played.server.find(path) or {}
    return lease.get("spec", {}).get("holderIdentity") or ""


def says(operator, text):
    """How often an operator's log says a text."""
    return sum(text in line["message"] for line in operator.lines())


def acting(played, *operators):
    """The operator that the Lease names, once it says so itself, which it does a little later."""

    def found():
        name = holder(played)
        return [each for each in operators if name and says(each, f"{name} holds Lease/")]

    wait_until(found, "one acts", TAKEN_OVER_SECONDS)
    (only,) = found()
    return only


def test_one_acts_and_the_other_takes_over_when_it_is_gone(api_server, played, settings, tmp_path):
    played.node()
    with (
        operator(api_server.kubeconfig, tmp_path / "one", settings) as one,
        operator(api_server.kubeconfig, tmp_path / "two", settings) as two,
    ):
        played.profile("p")
        played.start("p-pj-worker")
        first, before = acting(played, one, two), holder(played)
        other = two if first is one else one
        wait_until(lambda: says(other, "waits for Lease/"), "it stands by", TAKEN_OVER_SECONDS)
        assert not says(other, "holds Lease/")

        first.kill()
        wait_until(lambda: holder(played) not in ("", before), "taken over", TAKEN_OVER_SECONDS)
        assert acting(played, one, two) is other
        played.profile("q", suspend=True)
        played.wait_for("ProfilingJob", "q", "Suspended", "True")

        first.restart()
        wait_until(lambda: says(first, "waits for Lease/") == 2, "it stands by", TAKEN_OVER_SECONDS)
        before = holder(played)
        assert other.stop() == 0
        wait_until(lambda: holder(played) not in ("", before), "taken over", TAKEN_OVER_SECONDS)
        assert acting(played, one, two) is first


def test_who_ends_gives_the_lease_back_so_that_nobody_waits_for_its_end(
    api_server, played, settings, tmp_path
):
    with operator(api_server.kubeconfig, tmp_path / "one", settings) as one:
        acting(played, one)
        assert one.stop() == 0
        assert holder(played) == ""


def test_who_lost_the_lease_ends_at_once(api_server, played, settings, tmp_path):
    with operator(api_server.kubeconfig, tmp_path / "one", settings) as one:
        wait_until(lambda: holder(played) != "", "it acts", TAKEN_OVER_SECONDS)
        path = f"/apis/coordination.k8s.io/v1/namespaces/{played.namespace}/leases/{LEASE}"
        played.server.call("PATCH", path, {"spec": {"holderIdentity": "another"}})
        wait_until(lambda: not one.alive, "it ended", TAKEN_OVER_SECONDS)
        assert one.process.returncode == 1
        assert "could not be renewed" in one.log.read_text()
        assert holder(played) == "another"


def test_a_holder_that_cannot_renew_ends_before_another_one_begins():
    assert LONGEST_SECONDS < LEASE_SECONDS


def test_who_slept_while_another_took_over_ends_when_it_wakes(
    api_server, played, settings, tmp_path
):
    with (
        operator(api_server.kubeconfig, tmp_path / "one", settings) as one,
        operator(api_server.kubeconfig, tmp_path / "two", settings) as two,
    ):
        first, before = acting(played, one, two), holder(played)
        first.process.send_signal(signal.SIGSTOP)
        wait_until(lambda: holder(played) != before, "taken over", TAKEN_OVER_SECONDS)
        first.process.send_signal(signal.SIGCONT)
        wait_until(lambda: not first.alive, "it ended", TAKEN_OVER_SECONDS)
        assert first.process.returncode == 1
        assert holder(played) not in ("", before)


def kill_leaders(api_server, played, settings, folder, kills):
    """Kill whoever acts, at any moment, while jobs follow one another on one board."""
    seed = time.time_ns()
    chance = random.Random(seed)  # noqa: S311 - moments, not secrets
    played.node()
    names = [f"p{number:02}" for number in range(kills)]
    with (
        operator(api_server.kubeconfig, folder / "one", settings) as one,
        operator(api_server.kubeconfig, folder / "two", settings) as two,
    ):
        for done, name in enumerate(names):
            played.profile(name)
            time.sleep(chance.uniform(0, 1))
            leader = acting(played, one, two)
            leader.kill()
            leader.restart()
            played.job(f"{name}-pj-worker", TAKEN_OVER_SECONDS)
            assert len(played.jobs()) == done + 1, f"one job each (seed {seed})"
            played.finish(name)
            played.wait_for("ProfilingJob", name, "Succeeded", "True")
        for name in names:
            assert played.status("ProfilingJob", name)["failures"] == 0
        for process in (one, two):
            assert process.crashes() == []


def test_killed_leaders_double_nothing(api_server, played, settings, tmp_path):
    kill_leaders(api_server, played, settings, tmp_path, 3)


@pytest.mark.soak
def test_twenty_killed_leaders_double_nothing(api_server, played, settings, tmp_path):
    kill_leaders(api_server, played, settings, tmp_path, 20)
