"""What a status says while nothing runs: the cause, and not that something is waited for."""

import pytest
from operator_world import World, check_status, spec_of

from edgetran_operator.cache import Key
from edgetran_operator.settings import Settings
from edgetran_operator.troubles import EVENTS_KEPT, SELECTORS, Troubles

JOB = Key("ProfilingJob", "ns", "s-pi")
MOUNT = 'MountVolume.SetUp failed for volume "data" : mount failed: exit status 32'
TIMED_OUT = "Unable to attach or mount volumes: timed out waiting for the condition"
CLASS = 'storageclass.storage.k8s.io "longhorn" not found'


@pytest.fixture
def world() -> World:
    made = World(Settings(stalled_after_seconds=600))
    made.node("board-a", device="pi")
    return made


def event(kind: str, about: str, reason: str, message: str, name: str = "e", **more) -> dict:
    involved = {"kind": kind, "namespace": "ns", "name": about, **more}
    return {
        "metadata": {"namespace": "ns", "name": name},
        "involvedObject": involved,
        "reason": reason,
        "message": message,
    }


def pod_of(world: World, key: Key, **status) -> str:
    """The resource's pod, which is pending."""
    world.start_pods()
    job = world.job_of(key)
    assert job is not None
    (pod,) = world._live_pods(job)
    pod["status"] = {"phase": "Pending", **status}
    world._store(pod)
    name: str = pod["metadata"]["name"]
    return name


def unschedulable(message: str) -> dict:
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": message,
    }
    return {"conditions": [condition]}


def waiting(reason: str) -> dict:
    state = {"waiting": {"reason": reason, "message": f"{reason} of registry.lan/x"}}
    return {"containerStatuses": [{"name": "worker", "state": state}]}


@pytest.mark.parametrize(
    ("status", "reason", "said"),
    [
        (waiting("ErrImagePull"), "ErrImagePull", "registry.lan/x"),
        (waiting("ImagePullBackOff"), "ErrImagePull", "registry.lan/x"),
        (waiting("InvalidImageName"), "ErrImagePull", "registry.lan/x"),
        (waiting("CreateContainerConfigError"), "CreateContainerError", "registry.lan/x"),
        (unschedulable("0/3 nodes: 3 Insufficient nvidia.com/gpu."), "NoGpu", "free GPUs"),
        (unschedulable("1 node(s) had taint {a: b}"), "Unschedulable", "taint {a: b}"),
        (unschedulable('persistentvolumeclaim "data" not found'), "ClaimPending", '"data" not f'),
    ],
)
def test_the_cause_is_the_headline_at_once_and_stalled_after_the_stated_time(
    world, status, reason, said
):
    key = world.apply("ProfilingJob", "p")
    world.settle()
    pod_of(world, key, **status)
    world.settle()
    assert world.says(key, "Succeeded") == ("Unknown", reason)
    assert world.says(key, "Reconciling") == ("True", reason)
    assert said in world.condition(key, "Succeeded")["message"]
    assert reason in world.told(key)
    world.wait(600)
    world.settle()
    assert world.says(key, "Stalled") == ("True", reason)
    check_status(world.status(key))


@pytest.mark.parametrize("reason", ["FailedMount", "FailedAttachVolume"])
def test_a_volume_that_does_not_come_to_the_node_is_told(world, reason):
    key = world.apply("ProfilingJob", "p", spec_of("ProfilingJob"))
    world.settle()
    name = pod_of(world, key)
    world.cache.troubles.take_in(event("Pod", name, reason, MOUNT, "a"))
    world.cache.troubles.take_in(event("Pod", name, "FailedMount", TIMED_OUT, "b"))
    world.settle()
    assert world.says(key, "Succeeded") == ("Unknown", reason)
    assert MOUNT in world.condition(key, "Succeeded")["message"]


def test_a_claim_whose_class_does_not_exist_says_so(world):
    storage = {"newClaim": {"size": "1Gi", "storageClassName": "longhorn"}}
    key = world.apply("ProfilingJob", "p", spec_of("ProfilingJob", storage=storage))
    world.settle()
    pod_of(world, key, **unschedulable("pod has unbound immediate PersistentVolumeClaims"))
    world.settle()
    assert world.says(key, "Succeeded") == ("Unknown", "ClaimPending")
    outcome = world.reconcile(key)
    assert outcome.requeue_after is not None
    assert outcome.requeue_after <= 30, "its event may come later"
    claim = "p-pj-storage"
    told = event("PersistentVolumeClaim", claim, "ProvisioningFailed", CLASS)
    world.cache.troubles.take_in(told)
    world.settle()
    assert CLASS in world.condition(key, "Succeeded")["message"]


def test_who_waits_for_another_resource_tells_its_cause(world):
    search = world.apply("CoDesignSearch", "s", spec_of("CoDesignSearch"))
    refinement = world.apply("GPTranRun", "g")
    world.settle()
    pod_of(world, JOB, **waiting("ErrImagePull"))
    world.settle()
    for key in (search, refinement):
        assert world.says(key, "Succeeded") == ("Unknown", "ErrImagePull")
        assert "ProfilingJob/s-pi: pod" in world.condition(key, "Succeeded")["message"]
    world.wait(600)
    world.settle()
    for key in (search, refinement):
        assert world.says(key, "Stalled") == ("True", "ErrImagePull")
        check_status(world.status(key))
    pod_of(world, JOB, phase="Running")
    world.settle()
    assert world.says(search, "Reconciling") == ("True", "DependencyNotReady")
    assert world.says(search, "Stalled") == ("", "")


def test_a_search_says_who_measures_on_the_board_that_it_waits_for(world):
    other = world.apply("ProfilingJob", "other")
    world.settle()
    world.start_pods()
    world.settle()
    world.wait(1)
    search = world.apply("CoDesignSearch", "s")
    world.settle()
    assert world.says(search, "Reconciling") == ("True", "DeviceBusy")
    assert "ns/other" in world.condition(search, "Reconciling")["message"]
    world.finish(other)
    assert world.says(search, "Reconciling") == ("True", "DependencyNotReady")


def test_events_are_bounded_and_those_about_other_namespaces_are_nobodys_word():
    troubles = Troubles()
    for number in range(EVENTS_KEPT + 5):
        troubles.take_in(event("Pod", "p", "FailedMount", f"m{number}", f"e{number}"))
    assert len(troubles.known(None, SELECTORS[0])) == EVENTS_KEPT
    troubles.take_in(event("Pod", "q", "FailedMount", "m", namespace="elsewhere"))
    assert troubles.of("Pod", "elsewhere", "q") == ("", "")
    assert troubles.of("Pod", "ns", "q") == ("", "")


def test_each_watch_of_events_knows_its_own():
    troubles = Troubles()
    troubles.take_in(event("Pod", "p", "FailedMount", "m", "a"))
    troubles.take_in(event("PersistentVolumeClaim", "c", "FailedBinding", "m", "b"))
    known = [troubles.known("ns", selector) for selector in SELECTORS]
    assert known == [{("ns", "a")}, set(), set(), {("ns", "b")}]
    troubles.forget("ns", "a")
    assert troubles.of("Pod", "ns", "p") == ("", "")
    assert troubles.of("PersistentVolumeClaim", "ns", "c") == ("FailedBinding", "m")
