"""A volume of one node: its artefacts are handed over to the board that measures them."""

import json

import pytest
from operator_world import World, check_status, spec_of
from test_operator_headlines import pod_of, unschedulable
from test_operator_verification import CONFLICT, MEASURED, READER, VERIFY, searched

from edgetran_operator.settings import Settings


@pytest.fixture
def world() -> World:
    world = World(Settings(stalled_after_seconds=600))
    world.node("board-a", device="pi")
    return world


def out_of_reach(world, **changes):
    """A search whose winner's board cannot have the volume; as far as nothing starts anew."""
    key = searched(world, **changes)
    pod_of(world, VERIFY, **unschedulable(CONFLICT))
    world.settle()
    return key


def reader_pods(world):
    return [
        body
        for place, body in world.objects.items()
        if place[0] == "Pod" and place[2].startswith(READER)
    ]


def order(world):
    spec = world.objects["ConfigMap", "ns", "s--verify-pj-spec"]
    return json.loads(spec["data"]["work.json"])["inputs"]["search"]


def test_a_job_on_the_volumes_node_hands_over_and_the_board_mounts_nothing(world):
    key = out_of_reach(world)
    assert world.job_of(VERIFY) is None, "it waits for what is handed over"
    assert world.says(VERIFY, "Reconciling") == ("True", "Pending")
    assert READER in world.condition(VERIFY, "Reconciling")["message"]
    assert world.says(key, "WinnerVerified")[0] == "Unknown"
    world.start_pods()
    world.settle()

    (pod,) = reader_pods(world)
    uid = world.objects[VERIFY]["metadata"]["uid"]
    assert order(world)["storage"] == f"http://{pod['status']['podIP']}:9091/{uid}"
    template = world.job_of(VERIFY)["spec"]["template"]["spec"]
    assert "search" not in {each["name"] for each in template["volumes"]}
    world.finish(VERIFY, status=MEASURED)
    assert world.says(key, "WinnerVerified") == ("True", "WinnerMeasured")
    assert world.says(key, "Succeeded") == ("True", "Succeeded")
    assert ("Job", "ns", READER) not in world.objects, "nothing is left over"
    assert not reader_pods(world)
    for each in (key, VERIFY):
        check_status(world.status(each))


def test_what_hands_over_sees_that_run_alone_and_knows_no_api_server(world):
    key = out_of_reach(world)
    job = world.objects["Job", "ns", READER]
    assert job["metadata"]["ownerReferences"][0]["uid"] == world.objects[VERIFY]["metadata"]["uid"]
    pod = job["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert "serviceAccountName" not in pod
    assert "affinity" not in pod, "the volume says where it runs"
    claims = [each for each in pod["volumes"] if "persistentVolumeClaim" in each]
    assert [each["persistentVolumeClaim"] for each in claims] == [
        {"claimName": "s-cds-storage", "readOnly": True}
    ]
    (container,) = pod["containers"]
    folder = f"ns/cds-s-{world.objects[key]['metadata']['uid'][:8]}"
    assert container["volumeMounts"][0] == {
        "name": "search",
        "mountPath": f"/var/lib/edgetran/search/{folder}",
        "subPath": folder,
        "readOnly": True,
    }
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert "secretRef" not in json.dumps(pod)


def test_the_folder_of_a_shared_claim_is_found_below_its_sub_path(world):
    storage = {"claim": {"name": "results", "subPath": "team/a"}}
    key = out_of_reach(world, storage=storage)
    pod = world.objects["Job", "ns", READER]["spec"]["template"]["spec"]
    folder = f"ns/cds-s-{world.objects[key]['metadata']['uid'][:8]}"
    assert pod["containers"][0]["volumeMounts"][0]["subPath"] == f"team/a/{folder}"


def test_a_worker_is_made_anew_where_its_artefacts_are_handed_over_elsewhere(world):
    out_of_reach(world)
    world.start_pods()
    world.settle()
    before = order(world)
    (pod,) = reader_pods(world)
    world.delete("Pod", pod["metadata"]["name"])
    world.settle()
    assert world.job_of(VERIFY) is not None, "it may have all that it needs"
    world.start_pods()
    world.settle()
    assert order(world) != before
    world.finish(VERIFY, status=MEASURED)
    assert ("Job", "ns", READER) not in world.objects


def test_a_suspended_measurement_leaves_nothing_that_hands_over(world):
    key = out_of_reach(world)
    world.start_pods()
    world.settle()
    world.change(key, suspend=True)
    world.settle()
    assert ("Job", "ns", READER) not in world.objects
    world.change(key, suspend=False)
    world.settle()
    pod_of(world, VERIFY, **unschedulable(CONFLICT))
    world.settle()
    world.start_pods()
    world.settle()
    world.finish(VERIFY, status=MEASURED)
    assert world.says(key, "Succeeded")[0] == "True"


def test_what_keeps_it_from_handing_over_is_the_headline(world):
    key = out_of_reach(world)
    world.start_pods()
    (pod,) = reader_pods(world)
    waits = {"name": "worker", "state": {"waiting": {"reason": "ErrImagePull", "message": "no"}}}
    world._store({**pod, "status": {"phase": "Pending", "containerStatuses": [waits]}})
    world.settle()
    assert world.says(VERIFY, "Reconciling") == ("True", "ErrImagePull")
    assert READER in world.condition(key, "Reconciling")["message"]
    world.wait(601)
    world.settle()
    world.wait(601)
    world.settle()
    assert world.says(key, "WinnerVerified") == ("False", "ErrImagePull")
    assert world.says(key, "Succeeded")[0] == "True"
    assert ("Job", "ns", READER) not in world.objects


def test_a_pod_that_only_looks_as_if_it_handed_over_is_not_asked(world):
    out_of_reach(world)
    world.start_pods()
    (pod,) = reader_pods(world)
    forged = json.loads(json.dumps(pod))
    forged["metadata"] |= {"name": "forged", "uid": "other"}
    forged["metadata"]["ownerReferences"][0]["uid"] = "somebody"
    forged["status"]["podIP"] = "10.9.9.9"
    world._store({**pod, "status": {"phase": "Pending"}})
    world._store(forged)
    world.settle()
    assert world.job_of(VERIFY) is None
    assert "10.9.9.9" not in json.dumps(order(world))


def test_every_step_of_it_survives_a_restart_of_the_operator(world):
    key = searched(world)
    pod_of(world, VERIFY, **unschedulable(CONFLICT))
    for _ in range(3):
        world.restart_operator()
        world.settle()
        world.start_pods()
    world.settle()
    world.report(VERIFY, finished=True, status=MEASURED)
    world.end_pod(VERIFY, 0)
    world.restart_operator()
    world.settle()
    assert world.says(key, "WinnerVerified") == ("True", "WinnerMeasured")
    assert ("Job", "ns", READER) not in world.objects


def test_a_board_that_another_storage_is_out_of_reach_of_is_told_as_before(world):
    world.node("board-b", device="other")
    device = {"name": "other", "nodeSelector": {"edgetran.io/device": "other"}}
    mine = world.apply(
        "ProfilingJob",
        "mine",
        spec_of(
            "ProfilingJob",
            device=device,
            storage={"claim": {"name": "data"}},
        ),
    )
    world.settle()
    pod_of(world, mine, **unschedulable(CONFLICT))
    world.settle()
    assert world.says(mine, "Reconciling") == ("True", "Unschedulable")
    assert ("Job", "ns", "mine-pj-reader") not in world.objects
