"""Objects that a user of the namespace writes in the operator's name: they are not believed."""

import asyncio
import json
from dataclasses import replace

import pytest
from operator_world import World, check_status, spec_of

from edgetran.api import parse_resource, spec_hash, work_hash
from edgetran_operator.controller.apply import Carrier
from edgetran_operator.kube.cache import Cache
from edgetran_operator.kube.client import ApiError
from edgetran_operator.reconcile import reconcile

EVIL = {
    "spec": {
        "hostPID": True,
        "volumes": [{"name": "root", "hostPath": {"path": "/"}}],
        "containers": [
            {"name": "worker", "image": "evil", "securityContext": {"privileged": True}}
        ],
    }
}


@pytest.fixture
def world():
    world = World()
    world.node("board-a", device="pi")
    return world


def document(kind="ProfilingJob", name="p", **spec):
    return {
        "apiVersion": "edgetran.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "ns"},
        "spec": spec_of(kind, **spec),
    }


def forge(world, key, told, *, owner=True, name="p-pj-spec", kind="ConfigMap", **body):
    """Someone writes an object that has the labels and, where wanted, the owner of a child."""
    uid = world.objects[key]["metadata"]["uid"]
    references = [{"kind": key.kind, "name": key.name, "uid": uid, "controller": True}]
    data = {} if told is None else {"data": {"resource.yaml": told}}
    forged = {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": key.namespace,
            "labels": {"edgetran.io/kind": key.kind, "edgetran.io/name": key.name},
            "ownerReferences": references if owner else [],
        },
        **data,
        **body,
    }
    world._store(forged)


def suspended(world, kind="ProfilingJob", name="p", **spec):
    key = world.apply(kind, name, spec_of(kind, suspend=True, **spec))
    world.settle()
    return key


def resume(world, key):
    world.change(key, suspend=False)
    world.settle()
    check_status(world.status(key))


FORGED = {
    "a template that is not allowed": json.dumps(document(podTemplate=EVIL)),
    "a command to run": json.dumps(
        document(
            device={
                "name": "pi",
                "nodeSelector": {"edgetran.io/device": "pi"},
                "energy": {"source": "external", "meter": "command:reboot"},
            }
        )
    ),
    "another name": json.dumps(document(name="victim")),
    "another kind": json.dumps(document("CoDesignSearch")),
    "another seed": json.dumps(document(seed=7)),
    "no resource": "[]",
    "no JSON": "}{",
    "nothing": None,
}


@pytest.mark.parametrize("told", FORGED.values(), ids=FORGED.keys())
def test_a_spec_that_someone_else_wrote_is_refused_and_never_used(world, told):
    key = suspended(world)
    forge(world, key, told)
    resume(world, key)
    assert world.job_of(key) is None
    assert world.says(key, "Stalled") == ("True", "SpecCopyRefused")
    message = world.condition(key, "Stalled")["message"]
    assert message.startswith("ConfigMap/p-pj-spec is not what the operator made")
    assert "delete it, and the operator" in message
    calls = world.calls
    world.settle()
    assert world.calls == calls, "nothing is tried again and again"

    world.delete("ConfigMap", "p-pj-spec")
    world.settle()
    job = world.job_of(key)
    assert job is not None, "the operator makes it again, from the spec"
    assert "evil" not in json.dumps(job)
    assert world.says(key, "Stalled") == ("", "")


BESIDE = {
    "another folder": {"work.json": '{"folder": "ns/pj-of-another"}'},
    "a dependency": {"dependencies.yaml": json.dumps(document("CoDesignSearch", name="s"))},
    "a file of no use": {"x": "y"},
    "no work": {"work.json": None},
}


@pytest.mark.parametrize("changed", BESIDE.values(), ids=BESIDE.keys())
def test_what_is_changed_beside_the_spec_before_a_worker_reads_it_is_told(world, changed):
    """Between the making of the Job and the mount; the worker itself does not begin with it."""
    key = world.apply("ProfilingJob", "p")
    world.settle()
    written = world.objects["ConfigMap", "ns", "p-pj-spec"]
    job = world.job_of(key)
    container = job["spec"]["template"]["spec"]["containers"][0]
    variables = {each["name"]: each.get("value") for each in container["env"]}
    beside = {name: text for name, text in written["data"].items() if name != "resource.yaml"}
    assert variables["EDGETRAN_WORK_HASH"] == work_hash(beside)

    data = {**written["data"], **changed}
    kept = {name: text for name, text in data.items() if text is not None}
    forge(world, key, None, data=kept)
    world.settle()
    assert world.says(key, "Stalled") == ("True", "SpecCopyRefused")
    message = world.condition(key, "Stalled")["message"]
    assert message.startswith("ConfigMap/p-pj-spec was changed")
    assert world.job_of(key) == job

    world.delete("ConfigMap", "p-pj-spec")
    world.settle()
    assert world.says(key, "Stalled") == ("", "")
    assert world.objects["ConfigMap", "ns", "p-pj-spec"]["data"] == written["data"]


def test_while_one_is_refused_others_go_on_and_get_the_board(world):
    key = suspended(world)
    forge(world, key, FORGED["another seed"])
    resume(world, key)
    other = world.apply("ProfilingJob", "q")
    world.settle()
    assert world.status(other)["node"] == "board-a"
    world.finish(other)
    assert world.says(other, "Succeeded")[0] == "True"


@pytest.mark.parametrize("told", FORGED.values(), ids=FORGED.keys())
def test_a_spec_that_is_changed_while_the_work_goes_on_is_told_and_not_used(world, told):
    key = world.apply("ProfilingJob", "p", spec_of("ProfilingJob", backoffLimit=5))
    world.settle()
    world.start_pods()
    world.settle()
    before = json.dumps(world.job_of(key))
    forge(world, key, told)
    world.settle()
    assert world.says(key, "Stalled") == ("True", "SpecCopyRefused")
    assert json.dumps(world.job_of(key)) == before, "its worker goes on as it began"
    world.change(key, suspend=True)
    world.settle()
    resume(world, key)
    assert world.job_of(key) is None, "no other worker is made from it"
    world.delete("ConfigMap", "p-pj-spec")
    world.settle()
    world.finish(key)
    assert world.says(key, "Succeeded")[0] == "True"


def test_a_change_of_the_spec_is_not_taken_over_by_deleting_the_copy(world):
    key = world.apply("ProfilingJob", "p")
    world.settle()
    world.start_pods()
    world.report(key)
    world.settle()
    world.change(key, suspend=True)
    world.settle()
    world.change(key, seed=9)
    world.delete("ConfigMap", "p-pj-spec")
    world.settle()
    resume(world, key)
    assert world.job_of(key) is None
    assert world.says(key, "Stalled") == ("True", "SpecCopyRefused")
    assert "change the spec back" in world.condition(key, "Stalled")["message"]
    world.change(key, seed=0)
    world.settle()
    assert world.job_of(key) is not None


def test_what_may_change_leaves_the_copy_believed(world):
    key = world.apply("ProfilingJob", "p")
    world.settle()
    world.start_pods()
    world.settle()
    world.change(key, backoffLimit=9, ttlSecondsAfterFinished=5)
    world.settle()
    world.change(key, suspend=True)
    world.settle()
    resume(world, key)
    assert world.job_of(key) is not None
    assert world.says(key, "Stalled") == ("", "")


def test_work_of_an_operator_that_kept_no_hash_goes_on(world):
    key = world.apply("ProfilingJob", "p")
    world.settle()
    world.start_pods()
    world.settle()
    expected = world.objects[key]["status"].pop("specHash")
    world._store(world.objects[key])
    world.restart_operator()
    world.settle()
    assert world.says(key, "Stalled") == ("", "")
    assert world.status(key)["specHash"] == expected


def test_the_operator_may_be_killed_between_the_status_and_the_copy(world):
    """Every step is tried: the status is written, and then only the first children."""
    for made in range(7):
        world = World()
        world.node("board-a", device="pi")
        key = world.apply("ProfilingJob", "p")
        decided = reconcile(world.seen(key))
        world.carry_out(key, replace(decided, apply=decided.apply[:made], events=()))
        world.restart_operator()
        world.settle()
        world.finish(key)
        assert world.says(key, "Succeeded")[0] == "True", made


def test_a_search_makes_nothing_from_a_forged_spec(world):
    key = suspended(world, "CoDesignSearch", "s")
    evil = json.dumps(document("CoDesignSearch", "s", podTemplate=EVIL))
    forge(world, key, evil, name="s-cds-spec")
    resume(world, key)
    assert world.says(key, "Stalled") == ("True", "SpecCopyRefused")
    assert not [place for place in world.objects if place[0] in ("ProfilingJob", "Job", "RayJob")]


def test_a_forged_spec_of_a_dependency_is_not_built_upon(world):
    search = spec_of("CoDesignSearch", devices=[{"name": "sim", "simulation": "intel-ncs2"}])
    key = world.apply("CoDesignSearch", "s", search)
    world.settle()
    world.finish(key)
    other = world.apply("GPTranRun", "r")
    told = {
        **document("CoDesignSearch", "s"),
        "spec": {**search, "storage": {"uri": "s3://evil/x"}},
    }
    forge(world, key, json.dumps(told), name="s-cds-spec")
    world.settle()
    made = [body for place, body in world.objects.items() if place[2] == "r-gpt-spec"]
    assert "evil" not in json.dumps(made)
    assert "evil" not in json.dumps(world.job_of(other))


@pytest.mark.parametrize(
    ("kind", "name"), [("ConfigMap", "p-pj-spec"), ("Job", "p-pj-worker")], ids=["spec", "job"]
)
def test_an_object_that_belongs_to_nobody_is_named(world, kind, name):
    key = suspended(world)
    body = {} if kind == "ConfigMap" else {"spec": {"parallelism": 1, "template": {}}}
    forge(world, key, None, owner=False, name=name, kind=kind, **body)
    resume(world, key)
    assert world.says(key, "Stalled") == ("True", "ForeignChild")
    assert world.condition(key, "Stalled")["message"].startswith(f"{kind}/{name} has the name")
    world.delete(kind, name)
    world.settle()
    assert world.job_of(key) is not None


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("Job", "important"),
        ("Job", "q-pj-worker"),
        ("Job", "p-pj-spec"),
        ("ConfigMap", "q-pj-spec"),
    ],
)
def test_labels_alone_make_no_child(world, kind, name):
    """Whoever may label an object cannot have it stopped or deleted by the operator."""
    key = world.apply("ProfilingJob", "p")
    body = {"spec": {"parallelism": 1, "backoffLimit": 3, "template": {}}} if kind == "Job" else {}
    forge(world, key, "{}" if kind == "ConfigMap" else None, name=name, kind=kind, **body)
    world.settle()
    assert world.job_of(key) is not None
    before = json.dumps(world.objects[kind, "ns", name])
    world.change(key, suspend=True)
    world.settle()
    assert json.dumps(world.objects[kind, "ns", name]) == before


def test_a_forged_summary_ends_nothing_and_changes_nothing_but_its_own_resource(world):
    key = world.apply("ProfilingJob", "p")
    world.settle()
    world.start_pods()
    world.report(
        key,
        finished=True,
        progress="9" * 50,
        status={"node": "elsewhere", "conditions": [], "specHash": "0" * 64, "failures": 10**6},
    )
    world.settle()
    status = world.status(key)
    assert world.says(key, "Succeeded")[0] == "Unknown", "the Job alone says that a worker ended"
    assert status["node"] == "board-a"
    assert status["specHash"] == spec_hash(parse_resource(document()))
    assert status["failures"] == 0
    assert "progress" not in status, "it is no progress"
    check_status(status)


def test_the_worker_knows_which_spec_it_was_made_for(world):
    key = world.apply("ProfilingJob", "p")
    world.settle()
    (container,) = world.job_of(key)["spec"]["template"]["spec"]["containers"]
    variables = {each["name"]: each.get("value") for each in container["env"]}
    assert variables["EDGETRAN_SPEC_HASH"] == world.status(key)["specHash"]
    assert spec_hash(parse_resource(document())) == world.status(key)["specHash"]


class Claims:
    """An API server that has one claim, and takes everything that is applied."""

    def __init__(self, *owners):
        self.claim = {"metadata": {"name": "s-cds-storage", "ownerReferences": list(owners)}}
        self.applied = []

    async def merge(self, kind, namespace, name, patch, part=""):
        if kind == "PersistentVolumeClaim":
            assert patch == {}
            if not self.claim:
                raise ApiError(404, "NotFound", "not found")
            return self.claim
        return {"kind": kind, "metadata": {"resourceVersion": "1"}}

    async def apply(self, body, namespace):
        self.applied.append(f"{body['kind']}/{body['metadata']['name']}")
        return body


@pytest.mark.parametrize(
    ("there", "retain", "made"),
    [
        ("nobodys", True, False),
        ("nobodys", False, False),
        ("own", True, True),
        ("own", False, True),
        ("none", True, True),
        ("none", False, True),
        ("kept", True, True),
        ("kept", False, False),
        ("another's", True, False),
    ],
)
def test_a_claim_that_was_not_made_for_a_run_is_not_taken_over(world, there, retain, made):
    """Owned by the run, it would be deleted with it; what an earlier run left may be used again."""
    devices = [{"name": "sim", "simulation": "intel-ncs2"}]
    storage = {"newClaim": {"size": "1Gi", "retain": retain}}
    spec = spec_of("CoDesignSearch", devices=devices, storage=storage)
    key = world.apply("CoDesignSearch", "s", spec)
    seen = world.seen(key)
    decided = replace(reconcile(seen), status={}, events=())
    assert "PersistentVolumeClaim/s-cds-storage" in [child.label for child in decided.apply]
    owner = {"own": seen.uid, "another's": "else"}.get(there)
    client = Claims(*([{"uid": owner, "controller": True}] if owner else []))
    if there == "kept":
        labels = {"edgetran.io/kind": "CoDesignSearch", "edgetran.io/name": "s"}
        client.claim["metadata"]["labels"] = labels
    client.claim = client.claim if there != "none" else {}
    carrier = Carrier(client, Cache())
    asyncio.run(carrier.apply(key, seen, replace(decided, apply=only_claims(decided))))
    assert ("PersistentVolumeClaim/s-cds-storage" in client.applied) is made
    if not made:
        (refusal,) = carrier.refusals[key].values()
        assert refusal.reason == "ForeignChild"
        assert "spec.storage.claim" in refusal.message


def only_claims(decided):
    return tuple(child for child in decided.apply if child.kind == "PersistentVolumeClaim")
