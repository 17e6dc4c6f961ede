"""What the watches told, whatever the order in which they told it."""

import pytest

from edgetran_operator.kube.cache import Cache, Key

PJ = Key("ProfilingJob", "ns", "p")
SEARCH = Key("CoDesignSearch", "ns", "s")
LABELS = {"edgetran.io/kind": "ProfilingJob", "edgetran.io/name": "p"}


@pytest.fixture
def cache():
    return Cache()


def resource(key=PJ, version=1, uid="u", spec=None, **status):
    return {
        "kind": key.kind,
        "metadata": {
            "name": key.name,
            "namespace": key.namespace,
            "uid": uid,
            "resourceVersion": str(version),
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": spec or {},
        "status": status,
    }


def job(version=1, uid="j", owner="u", **status):
    reference = {"uid": owner, "controller": True, "kind": "ProfilingJob"}
    return {
        "metadata": {
            "name": "p-pj-worker",
            "namespace": "ns",
            "uid": uid,
            "resourceVersion": str(version),
            "labels": LABELS,
            "ownerReferences": [reference],
        },
        "spec": {},
        "status": status,
    }


def search(*devices):
    return resource(SEARCH, spec={"devices": list(devices), "refine": {}})


def test_old_news_are_no_news(cache):
    assert cache.resource(resource(version=5)) == {PJ}
    assert cache.resource(resource(version=5)) == set()
    assert cache.resource(resource(version=4, measured=3)) == set()
    assert cache.resources[PJ].status == {}
    assert cache.resource(resource(version=6, measured=3)) == {PJ}


def test_another_resource_of_the_same_name_is_news_whatever_its_version(cache):
    cache.resource(resource(version=5))
    assert cache.resource(resource(version=2, uid="v")) == {PJ}
    assert cache.resources[PJ].uid == "v"
    assert cache.forget(PJ, "u") == set()
    assert PJ in cache.resources, "what was deleted is the earlier one"
    cache.forget(PJ, "v")
    assert PJ not in cache.resources


def test_a_child_touches_its_resource_only_where_something_that_counts_changed(cache):
    assert cache.child("Job", job(version=1)) == {PJ}
    changed = job(version=2)
    changed["metadata"]["managedFields"] = [{}]
    assert cache.child("Job", changed) == set()
    assert cache.child("Job", job(version=3, failed=1)) == {PJ}


def test_what_is_not_a_child_of_ours_is_left_out(cache):
    foreign = job()
    foreign["metadata"]["labels"] = {"edgetran.io/kind": "Other", "edgetran.io/name": "p"}
    assert cache.child("Job", foreign) == set()
    named = job()
    named["metadata"]["name"] = "kube-root-ca.crt"
    assert cache.child("ConfigMap", named) == set()
    assert cache.forget_child("Job", "ns", "nothing") == set()


def test_a_deleted_child_is_forgotten_only_if_it_is_the_one(cache):
    cache.child("Job", job(uid="new"))
    assert cache.forget_child("Job", "ns", "p-pj-worker", "old") == set()
    assert cache.forget_child("Job", "ns", "p-pj-worker", "new") == {PJ}
    assert cache.families == {}
    assert cache.children_of_kind("Job", None) == set()


def test_a_search_is_touched_by_its_profiling_jobs(cache):
    cache.resource(search({"name": "p", "profileRef": {"name": "p"}}, {"name": "x"}))
    touched = cache.resource(resource(version=2))
    assert touched == {PJ, SEARCH}
    condition = {"type": "Succeeded", "status": "True", "reason": "Succeeded"}
    assert cache.resource(resource(version=3, measured=1)) == {PJ}
    assert cache.resource(resource(version=4, conditions=[condition])) == {PJ, SEARCH}
    assert cache.forget(PJ) == {SEARCH}
    own = Key("ProfilingJob", "ns", "s-x")
    assert SEARCH in cache.resource(resource(own, uid="w"))
    assert SEARCH in cache.resource(resource(Key("GPTranRun", "ns", "s-refine"), uid="g"))


def test_a_search_that_refers_to_another_one_no_longer_is_not_touched(cache):
    cache.resource(search({"name": "p", "profileRef": {"name": "p"}}))
    changed = search({"name": "p", "profileRef": {"name": "q"}})
    changed["metadata"]["resourceVersion"] = "9"
    cache.resource(changed)
    assert cache.resource(resource(version=2)) == {PJ}


@pytest.mark.parametrize(
    "spec",
    [
        None,
        {"devices": "x"},
        {"devices": [1, {"name": 2}, {"profileRef": "p"}, {"name": "x" * 70}]},
        {"devices": [{"profileRef": {"name": 5}}], "refine": True},
    ],
)
def test_a_spec_that_makes_no_sense_refers_to_nothing(cache, spec):
    cache.resource(resource(SEARCH, spec=spec))
    assert all(isinstance(key.name, str) for key in cache.resources[SEARCH].refers)


def test_a_job_without_a_pod_is_explained_until_the_event_is_gone(cache):
    cache.resource(resource())
    cache.child("Job", job(uid="j"))
    about = {"kind": "Job", "name": "p-pj-worker", "namespace": "ns", "uid": "j"}
    said = 'pods "p-pj-worker-abc" is forbidden: exceeded quota: q'
    event = {
        "metadata": {"name": "e", "namespace": "ns"},
        "involvedObject": about,
        "message": f"Error creating: {said}",
    }
    assert cache.event(event) == {PJ}
    assert cache.event({**event, "message": said.replace("abc", "xyz")}) == set()
    (worker,) = cache.families[PJ].views(object)
    assert cache.no_pod(worker, PJ) == "exceeded quota: q"
    assert cache.no_pod(worker, PJ._replace(namespace="other")) == ""
    assert cache.events(None) == {("ns", "e")}
    assert cache.forget_event("ns", "e") == {PJ}
    assert cache.no_pod(worker, PJ) == ""
    assert cache.forget_event("ns", "e") == set()
    foreign = {**event, "involvedObject": {**about, "name": "someone-elses"}}
    assert cache.event(foreign) == set()


def test_a_deletion_that_was_asked_for_is_seen_before_the_watch_tells(cache):
    cache.child("Job", job(uid="j"))
    cache.mark_deleting("Job", "ns", "p-pj-worker", "other")
    (worker,) = cache.families[PJ].views(object)
    assert not worker.deleting
    cache.mark_deleting("Job", "ns", "p-pj-worker", "j")
    (worker,) = cache.families[PJ].views(object)
    assert worker.deleting
