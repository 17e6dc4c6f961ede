"""What a status says while nothing runs: the cause, and not that something is waited for."""

import pytest
from operator_world import World, check_status, spec_of

from edgetran_operator.kube.cache import Key
from edgetran_operator.kube.troubles import (
    EVENTS_KEPT,
    NAMESPACE_EVENTS_KEPT,
    SELECTORS,
    Troubles,
)
from edgetran_operator.settings import Settings

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
    plan = world.reconcile(key)
    assert plan.requeue_after is not None
    assert plan.requeue_after <= 30, "its event may come later"
    claim = "p-pj-storage"
    told = event("PersistentVolumeClaim", claim, "ProvisioningFailed", CLASS)
    world.cache.troubles.take_in(told)
    world.settle()
    assert CLASS in world.condition(key, "Succeeded")["message"]


def searching(world, data):
    devices = [{"name": "simulated", "simulation": "raspberry-pi-4-cpu"}]
    key = world.apply("CoDesignSearch", "s", spec_of("CoDesignSearch", devices=devices, data=data))
    world.settle()
    return key


def test_data_whose_config_map_is_missing_is_told_and_goes_on_by_itself(world):
    key = searching(world, {"configMap": {"name": "tickets"}})
    name = pod_of(world, key)
    said = 'MountVolume.SetUp failed for volume "task-data" : configmap "tickets" not found'
    world.cache.troubles.take_in(event("Pod", name, "FailedMount", said))
    world.settle()
    assert world.says(key, "Succeeded") == ("Unknown", "FailedMount")
    assert 'configmap "tickets" not found' in world.condition(key, "Succeeded")["message"]
    world.wait(600)
    world.settle()
    assert world.says(key, "Stalled") == ("True", "FailedMount")
    pod = world.objects["Pod", "ns", name]
    state = {"name": "worker", "state": {"running": {}}}
    pod["status"] = {"phase": "Running", "containerStatuses": [state]}
    world._store(pod)
    world.settle()
    assert world.says(key, "Stalled")[0] != "True"
    assert world.says(key, "Reconciling") == ("True", "Running")


def test_data_whose_claim_gets_no_volume_says_why(world):
    key = searching(world, {"claim": {"name": "reviews"}})
    pod_of(world, key, **unschedulable("pod has unbound immediate PersistentVolumeClaims"))
    told = event("PersistentVolumeClaim", "reviews", "ProvisioningFailed", CLASS)
    world.cache.troubles.take_in(told)
    world.settle()
    assert world.says(key, "Succeeded") == ("Unknown", "ClaimPending")
    assert CLASS in world.condition(key, "Succeeded")["message"]


def test_data_whose_claim_is_missing_is_told(world):
    key = searching(world, {"claim": {"name": "reviews"}})
    pod_of(world, key, **unschedulable('persistentvolumeclaim "reviews" not found'))
    world.settle()
    assert world.says(key, "Succeeded") == ("Unknown", "ClaimPending")
    assert '"reviews" not found' in world.condition(key, "Succeeded")["message"]


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
    for number in range(NAMESPACE_EVENTS_KEPT + 5):
        troubles.take_in(event("Pod", "p", "FailedMount", f"m{number}", f"e{number}"))
    assert len(troubles.known(None, SELECTORS[0])) == NAMESPACE_EVENTS_KEPT
    troubles.take_in(event("Pod", "q", "FailedMount", "m", namespace="elsewhere"))
    assert troubles.of("Pod", "elsewhere", "q") == ("", "")
    assert troubles.of("Pod", "ns", "q") == ("", "")


@pytest.mark.parametrize("namespaces", [1, 40])
def test_floods_of_events_in_some_namespaces_hide_no_reason_of_another(namespaces):
    troubles = Troubles()
    told = event("Pod", "p", "FailedMount", "no such Secret", "mine")
    mine = {**told, "metadata": {"namespace": "mine", "name": "mine"}}
    mine["involvedObject"] = {**told["involvedObject"], "namespace": "mine"}
    troubles.take_in(mine)
    for number in range(3 * EVENTS_KEPT):
        space = f"flood-{number % namespaces}"
        flood = event("Pod", f"p{number}", "FailedMount", "x", f"e{number}")
        flood["metadata"] = {"namespace": space, "name": f"e{number}"}
        flood["involvedObject"] = {**flood["involvedObject"], "namespace": space}
        troubles.take_in(flood)
    assert troubles.of("Pod", "mine", "p") == ("FailedMount", "no such Secret")
    assert len(troubles.known(None, SELECTORS[0])) <= EVENTS_KEPT


def test_each_watch_of_events_knows_its_own():
    troubles = Troubles()
    troubles.take_in(event("Pod", "p", "FailedMount", "m", "a"))
    troubles.take_in(event("PersistentVolumeClaim", "c", "FailedBinding", "m", "b"))
    known = [troubles.known("ns", selector) for selector in SELECTORS]
    assert known == [{("ns", "a")}, set(), set(), {("ns", "b")}]
    troubles.forget("ns", "a")
    assert troubles.of("Pod", "ns", "p") == ("", "")
    assert troubles.of("PersistentVolumeClaim", "ns", "c") == ("FailedBinding", "m")


def test_a_profile_with_a_large_error_is_not_ready_and_says_what_to_do(world):
    search = world.apply("CoDesignSearch", "s")
    world.settle()
    world.finish(JOB, status={"errors": [{"measure": "latencyMs", "error": 0.84}]})
    assert world.says(JOB, "ProfilingComplete") == ("False", "ProfileUnusable")
    message = world.condition(JOB, "Succeeded")["message"]
    assert "latencyMs is predicted with an error of 84%" in message
    assert "maxMeasurements" in message
    assert "ProfileUnusable" in world.told(JOB)
    devices = {each["name"]: each for each in world.status(search)["devices"]}
    assert not devices["pi"].get("ready")
    assert devices["pi"]["reason"] == "ProfileUnusable"
    assert world.says(search, "ProfilingComplete") == ("False", "ProfileUnusable")
    world.finish(search)
    assert "poorly predicted" in world.condition(search, "Succeeded")["message"]
    check_status(world.status(search))


def test_the_bound_on_a_profiles_error_is_the_administrators():
    world = World(Settings(max_profile_error=0.9))
    world.node("board-a", device="pi")
    world.apply("ProfilingJob", "s-pi")
    world.settle()
    world.finish(JOB, status={"errors": [{"measure": "latencyMs", "error": 0.84}]})
    assert world.says(JOB, "ProfilingComplete") == ("True", "TargetErrorReached")


@pytest.mark.parametrize(
    ("errors", "usable"),
    [
        ([{"measure": "latencyMs", "reason": "noise"}], False),
        ([{"measure": "energyMj", "reason": "no power source"}], True),
        ([{"measure": "latencyMs", "error": 0.3}, {"measure": "energyMj", "error": 0.31}], False),
        ([], True),
    ],
)
def test_what_makes_a_profile_unusable(world, errors, usable):
    world.apply("ProfilingJob", "s-pi")
    world.settle()
    world.finish(JOB, status={"errors": errors})
    assert (world.says(JOB, "ProfilingComplete")[0] == "True") is usable


@pytest.mark.parametrize(("objective", "worse"), [(0.4, True), (0.5, False), (0.6, False)])
def test_a_winner_that_loses_to_its_baseline_is_said_where_success_is(world, objective, worse):
    search = world.apply("CoDesignSearch", "s")
    world.settle()
    world.finish(JOB)
    shown = {"id": 1, "architecture": "ab", "device": "pi"}
    status = {
        "best": {**shown, "objective": objective},
        "baseline": {**shown, "objective": 0.5},
    }
    world.finish(search, status=status)
    message = world.condition(search, "Succeeded")["message"]
    assert ("worse than the baseline: objective 0.4 against 0.5" in message) is worse
