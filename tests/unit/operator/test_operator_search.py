"""What a CoDesignSearch and a GPTranRun go through, with the resources that they stand for."""

import json

import pytest
from operator_world import World, check_status, spec_of

from edgetran_operator.kube.cache import Key

JOB = Key("ProfilingJob", "ns", "s-pi")
REFINE = Key("GPTranRun", "ns", "s-refine")


@pytest.fixture
def world() -> World:
    world = World()
    world.node("board-a", device="pi")
    return world


def searching(world: World, **changes: object) -> Key:
    """A search whose devices are measured and whose worker runs."""
    key = world.apply("CoDesignSearch", "s", spec_of("CoDesignSearch", **changes))
    world.settle()
    world.finish(JOB)
    world.start_pods()
    world.settle()
    return key


def test_a_search_measures_searches_and_refines(world):
    key = world.apply("CoDesignSearch", "s", spec_of("CoDesignSearch", refine={}))
    world.settle()
    assert world.says(key, "ProfilingComplete") == ("False", "DependencyNotReady")
    assert world.says(key, "DevicesAvailable") == ("True", "NodesMatched")
    assert "ProfilingJob/s-pi" in world.condition(key, "Reconciling")["message"]
    owner = world.objects[JOB]["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("CoDesignSearch", "s", True)
    assert world.job_of(key) is None

    error = {"measure": "latencyMs", "error": 0.04}
    world.finish(JOB, status={"errors": [error]})
    devices = {each["name"]: each for each in world.status(key)["devices"]}
    assert devices["pi"]["ready"]
    assert devices["pi"]["latencyError"] == 0.04
    assert devices["simulated"] == {"name": "simulated", "source": "simulated", "ready": True}
    assert world.says(key, "ProfilingComplete")[0] == "True"
    assert world.job_of(key) is not None

    best = {"id": 3, "architecture": "ab", "device": "pi", "accuracy": 0.9}
    world.finish(key, reason="MaxTrialsReached", status={"best": best, "succeeded": 8})
    assert world.says(key, "SearchComplete") == ("True", "MaxTrialsReached")
    assert world.says(key, "Succeeded")[0] == "Unknown"
    assert world.status(key)["best"]["accuracy"] == 0.9
    assert world.status(key)["refinement"] == "s-refine"
    assert world.says(key, "RefinementComplete")[0] == "False"

    world.finish(REFINE, reason="CyclesComplete")
    assert world.says(REFINE, "Succeeded")[0] == "True"
    assert world.says(key, "RefinementComplete")[0] == "True"
    assert world.says(key, "Succeeded") == ("True", "Succeeded")
    for each in (key, JOB, REFINE):
        check_status(world.status(each))


def test_the_workers_are_given_what_they_build_on(world):
    key = searching(world, refine={})
    work = world.objects["ConfigMap", "ns", "s-cds-spec"]["data"]
    given = json.loads(work["work.json"])
    assert given["inputs"]["profiles"] == {"s-pi": ["/etc/edgetran/inputs/pj-s-pi/0"]}
    assert given["results"] == "s-cds-results"
    assert given["storage"] == {"claim": True}
    uid = world.objects[key]["metadata"]["uid"]
    assert given["folder"] == f"ns/cds-s-{uid[:8]}"
    assert json.loads(work["dependencies.yaml"].removeprefix("---\n"))["kind"] == "ProfilingJob"
    pod = world.job_of(key)["spec"]["template"]["spec"]
    mounts = {mount["mountPath"]: mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes[mounts["/etc/edgetran/inputs/pj-s-pi/0"]]["configMap"] == {
        "name": "s-pi-pj-results-0"
    }
    assert volumes["storage"]["persistentVolumeClaim"] == {"claimName": "s-cds-storage"}
    assert ("PersistentVolumeClaim", "ns", "s-cds-storage") in world.objects

    world.finish(key)
    world.settle()
    work = world.objects["ConfigMap", "ns", "s-refine-gpt-spec"]["data"]
    given = json.loads(work["work.json"])
    assert given["inputs"]["search"] == {"folder": f"ns/cds-s-{uid[:8]}", "storage": "claim"}
    kinds = [json.loads(part)["kind"] for part in work["dependencies.yaml"].split("---\n") if part]
    assert kinds == ["ProfilingJob", "CoDesignSearch"]
    pod = world.job_of(REFINE)["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["search"]["persistentVolumeClaim"] == {
        "claimName": "s-cds-storage",
        "readOnly": True,
    }


def test_a_finished_profile_of_the_users_is_used_and_not_measured_again(world):
    mine = world.apply("ProfilingJob", "mine")
    world.settle()
    world.finish(mine)
    device = {
        "name": "pi",
        "nodeSelector": {"edgetran.io/device": "pi"},
        "profileRef": {"name": "mine"},
    }
    key = world.apply("CoDesignSearch", "s", spec_of("CoDesignSearch", devices=[device]))
    world.settle()
    assert JOB not in world.objects
    assert world.job_of(key) is not None


def test_a_missing_profile_is_named_and_waited_for(world):
    device = {
        "name": "pi",
        "nodeSelector": {"edgetran.io/device": "pi"},
        "profileRef": {"name": "mine"},
    }
    key = world.apply("CoDesignSearch", "s", spec_of("CoDesignSearch", devices=[device]))
    world.settle()
    assert world.says(key, "Stalled") == ("True", "DependencyMissing")
    assert (
        'Not found: "mine": no ProfilingJob of this name'
        in world.condition(key, "Stalled")["message"]
    )
    mine = world.apply("ProfilingJob", "mine")
    world.settle()
    assert world.says(key, "Reconciling") == ("True", "DependencyNotReady")
    world.finish(mine)
    assert world.job_of(key) is not None


def test_a_profile_of_another_setting_is_refused_in_the_words_of_the_api(world):
    world.apply("ProfilingJob", "mine")
    device = {
        "name": "pi",
        "nodeSelector": {"edgetran.io/device": "pi"},
        "precision": "int8",
        "profileRef": {"name": "mine"},
    }
    key = world.apply("CoDesignSearch", "s", spec_of("CoDesignSearch", devices=[device]))
    world.settle()
    assert world.says(key, "Stalled") == ("True", "SpecInvalid")
    message = world.condition(key, "Stalled")["message"]
    assert 'precision: Invalid value: "int8": must be the same as in ProfilingJob/mine' in message


def test_a_failed_profile_fails_the_search(world):
    key = world.apply("CoDesignSearch", "s", spec_of("CoDesignSearch"))
    world.settle()
    world.start_pods()
    world.end_pod(JOB, 13, "ChildFailed", "no engine torch")
    world.settle()
    assert world.says(key, "Succeeded") == ("False", "ChildFailed")
    assert "no engine torch" in world.condition(key, "Succeeded")["message"]
    check_status(world.status(key))


def test_a_profiling_job_of_someone_else_is_not_taken_over(world):
    world.apply("ProfilingJob", "s-pi")
    key = world.apply("CoDesignSearch", "s")
    world.settle()
    assert world.says(key, "Stalled") == ("True", "SpecInvalid")
    assert "not its own" in world.condition(key, "Stalled")["message"]
    assert "ownerReferences" not in world.objects[JOB]["metadata"]


def test_suspending_a_search_suspends_what_runs_for_it(world):
    key = world.apply("CoDesignSearch", "s")
    world.settle()
    world.start_pods()
    world.settle()
    world.change(key, suspend=True)
    world.settle()
    assert world.says(key, "Suspended")[0] == "True"
    assert world.says(JOB, "Suspended")[0] == "True"
    assert not world.jobs()
    world.change(key, suspend=False)
    world.settle()
    assert world.says(JOB, "Suspended")[0] == "False"
    assert world.jobs()


def test_nothing_runs_on_for_a_search_that_ran_out_of_time(world):
    key = world.apply("CoDesignSearch", "s", spec_of("CoDesignSearch", activeDeadlineSeconds=60))
    world.settle()
    world.wait(1000)
    world.settle()
    assert world.status(key)["activeSeconds"] == 0, "its ProfilingJob waits for its pod"
    world.start_pods()
    world.settle()
    world.wait(60)
    world.settle()
    assert world.says(key, "Succeeded") == ("False", "DeadlineExceeded")
    assert world.says(JOB, "Suspended")[0] == "True"
    assert not world.jobs()
    calls = world.calls
    world.restart_operator()
    world.settle()
    assert world.calls == calls


def test_more_trials_reach_a_running_search_by_starting_its_worker_again(world):
    key = searching(world)
    uid = world.job_of(key)["metadata"]["uid"]
    world.change(key, search={"maxTrials": 100})
    world.settle()
    world.start_pods()
    world.settle()
    assert world.job_of(key)["metadata"]["uid"] != uid
    work = world.objects["ConfigMap", "ns", "s-cds-spec"]["data"]["resource.yaml"]
    assert json.loads(work)["spec"]["search"]["maxTrials"] == 100
    assert "initialTrials" not in json.loads(work)["spec"]["search"], "it follows anew"
    uid = world.job_of(key)["metadata"]["uid"]
    world.change(key, activeDeadlineSeconds=1000)
    world.settle()
    assert world.job_of(key)["metadata"]["uid"] == uid


def test_a_search_goes_on_when_a_profile_that_it_was_given_is_deleted(world):
    key = searching(world)
    uid = world.job_of(key)["metadata"]["uid"]
    world.delete("ProfilingJob", "s-pi")
    world.settle()
    assert world.job_of(key)["metadata"]["uid"] == uid
    world.finish(key)
    assert world.says(key, "Succeeded")[0] == "True"


def test_a_search_without_a_feasible_candidate_fails_with_its_reason(world):
    key = searching(world)
    world.end_pod(key, 11, "NoFeasibleCandidate", "no candidate has latencyMs up to 5")
    world.settle()
    assert world.says(key, "SearchComplete") == ("False", "NoFeasibleCandidate")
    assert world.says(key, "Succeeded") == ("False", "NoFeasibleCandidate")


def test_a_refinement_needs_a_search_with_storage(world):
    spec = spec_of("CoDesignSearch")
    del spec["storage"]
    search = world.apply("CoDesignSearch", "s", spec)
    key = world.apply("GPTranRun", "r")
    world.settle()
    assert world.says(key, "Stalled") == ("True", "SpecInvalid")
    assert world.condition(key, "Stalled")["message"] == (
        'spec.searchRef.name: Invalid value: "s": must be a search with spec.storage, or its model '
        "is not kept"
    )
    assert world.says(search, "Stalled") == ("True", "SpecInvalid")
    assert world.condition(search, "Stalled")["message"].startswith(
        "spec.storage: Required value: must be a claim"
    )


def test_a_refinement_waits_for_its_search_and_fails_with_it(world):
    key = world.apply("GPTranRun", "r")
    world.settle()
    assert world.says(key, "Stalled") == ("True", "DependencyMissing")
    search = searching(world)
    assert world.says(key, "Reconciling") == ("True", "DependencyNotReady")
    world.end_pod(search, 12, "MaxFailedTrialsReached", "4 trials failed")
    world.settle()
    assert world.says(key, "Succeeded") == ("False", "DependencyFailed")
    assert "4 trials failed" in world.condition(key, "Succeeded")["message"]


def test_a_refinement_starts_when_the_search_is_complete_though_it_refines_on_its_own(world):
    key = world.apply("GPTranRun", "r")
    search = searching(world, refine={})
    world.finish(search)
    assert world.says(search, "Succeeded")[0] == "Unknown"
    assert world.job_of(key) is not None


def test_a_model_on_a_device_of_the_cluster_needs_its_profile(world):
    spec = {
        "model": "models/mine",
        "task": {"name": "movie-reviews"},
        "device": {"name": "pi", "nodeSelector": {"edgetran.io/device": "pi"}},
        "storage": {"newClaim": {"size": "1Gi"}},
    }
    key = world.apply("GPTranRun", "r", spec)
    world.settle()
    assert world.says(key, "Stalled") == ("True", "SpecInvalid")
    assert "profileRef" in world.condition(key, "Stalled")["message"]
    mine = world.apply("ProfilingJob", "mine")
    spec["device"]["profileRef"] = {"name": "mine"}
    world.apply("GPTranRun", "r", spec)
    world.settle()
    assert world.says(key, "Reconciling") == ("True", "DependencyNotReady")
    world.finish(mine)
    assert world.job_of(key) is not None


def test_a_ray_job_is_made_where_it_is_served_and_explained_where_it_is_not(world):
    ray = {"mode": "kuberay", "workers": 2}
    world.gatherer.rayjobs_served = False
    key = world.apply("CoDesignSearch", "s", spec_of("CoDesignSearch", ray=ray))
    world.settle()
    world.finish(JOB)
    assert world.says(key, "Stalled") == ("True", "RayUnavailable")
    world.gatherer.rayjobs_served = True
    world.settle()
    job = world.objects["RayJob", "ns", "s-cds-worker"]
    assert job["spec"]["entrypoint"] == "edgetran-worker search"
    assert ("NetworkPolicy", "ns", "s-cds-worker") in world.objects
    world.report(key, finished=True, reason="MaxTrialsReached")
    job["status"] = {"jobDeploymentStatus": "Complete", "jobStatus": "RUNNING"}
    world._store(job)
    world.settle()
    assert world.says(key, "SearchComplete")[0] == ""
    job["status"] = {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}
    world._store(job)
    world.settle()
    assert world.says(key, "Succeeded")[0] == "True"


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ({"jobDeploymentStatus": "ValidationFailed", "message": "bad"}, "SpecInvalid"),
        ({"jobDeploymentStatus": "Failed", "jobStatus": "FAILED", "message": "x"}, "ChildFailed"),
    ],
)
def test_a_ray_job_that_failed_fails_the_search(world, status, reason):
    ray = {"mode": "kuberay"}
    key = world.apply("CoDesignSearch", "s", spec_of("CoDesignSearch", ray=ray))
    world.settle()
    world.finish(JOB)
    job = world.objects["RayJob", "ns", "s-cds-worker"]
    job["status"] = status
    world._store(job)
    world.settle()
    assert world.says(key, "Succeeded") == ("False", reason)


def test_a_search_from_a_parent_says_whether_its_network_is_trained(world):
    space = {"elastic": {"layers": [1, 2]}}
    key = searching(world, parent={"model": "bert"}, designSpace=space)
    assert world.says(key, "ElasticTrained") == ("False", "Pending")
    network = {"fingerprint": "ab" * 32, "steps": 900, "reused": False}
    world.report(key, status={"sharedWeights": network})
    world.settle()
    assert world.says(key, "ElasticTrained") == ("True", "Succeeded")
    assert world.status(key)["sharedWeights"] == network
    assert "ab" * 32 in world.condition(key, "ElasticTrained")["message"]
    world.report(key, status={"running": 1})  # a worker that was started again has yet to tell
    world.settle()
    assert world.says(key, "ElasticTrained") == ("True", "Succeeded")


def test_a_network_that_another_search_trained_is_told(world):
    key = searching(world, parent={"model": "bert"}, designSpace={"elastic": {}})
    network = {"fingerprint": "ab" * 32, "steps": 900, "reused": True}
    world.report(key, status={"sharedWeights": network})
    world.settle()
    assert "another search" in world.condition(key, "ElasticTrained")["message"]


def test_a_search_without_a_parent_has_no_network(world):
    key = searching(world)
    assert all(each["type"] != "ElasticTrained" for each in world.status(key)["conditions"])
