"""The last step of a search and of a refinement: their winner is measured on its board."""

import json

import pytest
from operator_world import World, check_status, spec_of
from test_operator_headlines import pod_of, unschedulable

from edgetran_operator.kube.cache import Key
from edgetran_operator.settings import Allowances, Settings

JOB = Key("ProfilingJob", "ns", "s-pi")
VERIFY = Key("ProfilingJob", "ns", "s--verify")
REFINE = Key("GPTranRun", "ns", "s-refine")
REFINE_VERIFY = Key("ProfilingJob", "ns", "s-refine--verify")

A, B, C, D = "a" * 64, "b" * 64, "c" * 64, "d" * 64
"""Hashes of artefacts."""


def figure(value, source="predicted"):
    return {"value": value, "source": source}


def candidate(artifact, objective=0.7, device="pi", **more):
    return {
        "id": 3,
        "architecture": "ab",
        "device": device,
        "accuracy": 0.9,
        "objective": objective,
        "artifact": artifact,
        "latencyMs": figure(4.0),
        "energyMj": figure(20.0),
        "peakPowerW": figure(3.0),
        **more,
    }


def finalist(name, artifact, objective=0.65, latency=4.4, **more):
    return {
        "finalist": name,
        "artifact": artifact,
        "stable": True,
        "objective": objective,
        "latencyMs": figure(latency, "measured"),
        "energyMj": figure(22.0, "measured"),
        "peakPowerW": figure(3.5, "measured"),
        **more,
    }


CONFLICT = (
    "0/2 nodes are available: 1 node(s) had volume node affinity conflict, 1 node(s) didn't match "
    "node selector"
)
READER = "s--verify-pj-reader"

FOUND = {"best": candidate(A), "baseline": candidate(B, 0.5)}
MEASURED = {"finalists": [finalist("winner", A), finalist("baseline", B, 0.5, 9.0)]}
LOST = {"finalists": [finalist("winner", A, 0.4, 12.0), finalist("baseline", B, 0.5, 9.0)]}


@pytest.fixture
def world() -> World:
    world = World(Settings(stalled_after_seconds=600))
    world.node("board-a", device="pi")
    return world


def searched(world, found=FOUND, **changes):
    """A search whose worker has ended with its winner."""
    key = world.apply("CoDesignSearch", "s", spec_of("CoDesignSearch", **changes))
    world.settle()
    world.finish(JOB)
    world.finish(key, status=found, reason="MaxTrialsReached")
    return key


def test_a_search_ends_when_its_winner_is_measured_on_the_board_that_it_was_chosen_for(world):
    key = searched(world)
    assert world.says(key, "SearchComplete")[0] == "True"
    assert world.says(key, "Succeeded")[0] == "Unknown"
    assert world.says(key, "WinnerVerified") == ("Unknown", "DependencyNotReady")
    assert world.status(key)["best"]["latencyMs"] == figure(4.0)

    job = world.objects[VERIFY]
    assert job["metadata"]["ownerReferences"][0]["uid"] == world.objects[key]["metadata"]["uid"]
    assert job["spec"]["finalistsOf"] == {"searchRef": {"name": "s"}}
    for field in ("device", "workload", "measurement"):
        assert job["spec"].get(field) == world.objects[JOB]["spec"].get(field)

    world.finish(VERIFY, status=MEASURED)
    best, baseline = (world.status(key)[name] for name in ("best", "baseline"))
    for measure, value in (("latencyMs", 4.4), ("energyMj", 22.0), ("peakPowerW", 3.5)):
        assert best[measure] == figure(value, "measured")
    assert best["objective"] == 0.65
    assert baseline["latencyMs"] == figure(9.0, "measured")
    assert world.says(key, "WinnerVerified") == ("True", "WinnerMeasured")
    message = world.condition(key, "WinnerVerified")["message"]
    assert "on pi, node board-a" in message
    assert "4.4 ms measured, 4 ms predicted before" in message
    assert world.says(key, "Succeeded") == ("True", "Succeeded")
    assert "worse" not in world.condition(key, "Succeeded")["message"]
    for each in (key, VERIFY):
        check_status(world.status(each))


def test_its_pod_is_a_measuring_pod_on_that_board_with_the_searchs_volume_to_read(world):
    key = searched(world)
    job = world.job_of(VERIFY)
    template = job["spec"]["template"]
    assert template["metadata"]["labels"]["edgetran.io/measuring"] == "true"
    term = template["spec"]["affinity"]["nodeAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]["nodeSelectorTerms"][0]
    assert term["matchFields"][0]["values"] == ["board-a"]
    volumes = {each["name"]: each for each in template["spec"]["volumes"]}
    claim = {"claimName": "s-cds-storage", "readOnly": True}
    assert volumes["search"]["persistentVolumeClaim"] == claim
    order = json.loads(world.objects["ConfigMap", "ns", "s--verify-pj-spec"]["data"]["work.json"])
    uid = world.objects[key]["metadata"]["uid"]
    assert order["inputs"]["search"] == {"folder": f"ns/cds-s-{uid[:8]}", "storage": "claim"}
    assert order["storage"] is None


def test_artefacts_at_an_address_are_fetched_from_there_with_the_searchs_secret(world):
    world.settings = Settings(allow=Allowances(storage=("s3://",)))
    world.restart_operator()
    searched(world, storage={"uri": "s3://bucket/runs", "secret": "key"})
    order = json.loads(world.objects["ConfigMap", "ns", "s--verify-pj-spec"]["data"]["work.json"])
    assert order["inputs"]["search"]["storage"] == "s3://bucket/runs"
    pod = world.job_of(VERIFY)["spec"]["template"]["spec"]
    assert pod["containers"][0]["envFrom"] == [{"secretRef": {"name": "key"}}]
    assert "search" not in {each["name"] for each in pod["volumes"]}


def test_it_waits_for_the_board_in_the_same_line_and_the_search_says_who_measures_there(world):
    other = world.apply("ProfilingJob", "other")
    world.settle()
    world.finish(other)
    world.apply("ProfilingJob", "long")
    world.settle()
    world.start_pods()
    world.settle()
    key = world.apply("CoDesignSearch", "s")
    world.settle()
    assert world.says(JOB, "Succeeded") == ("Unknown", "DeviceBusy")
    world.finish(Key("ProfilingJob", "ns", "long"))
    world.finish(JOB)
    world.start_pods()
    world.apply("ProfilingJob", "again")
    world.settle()
    world.start_pods()
    world.settle()
    world.finish(key, status=FOUND)
    assert world.says(key, "WinnerVerified") == ("Unknown", "DeviceBusy")
    message = world.condition(key, "Reconciling")["message"]
    assert "ProfilingJob/s--verify" in message
    assert "ns/again comes first" in message
    world.wait(100_000)
    world.settle()
    assert world.says(key, "Succeeded")[0] == "Unknown", "a line is waited in"
    world.finish(Key("ProfilingJob", "ns", "again"))
    world.finish(VERIFY, status=MEASURED)
    assert world.says(key, "Succeeded") == ("True", "Succeeded")


def test_a_winner_that_loses_to_its_baseline_once_measured_is_told_in_the_headline(world):
    key = searched(world)
    world.finish(VERIFY, status=LOST)
    assert world.says(key, "WinnerVerified") == ("False", "WorseThanBaseline")
    headline = world.condition(key, "Succeeded")
    assert (headline["status"], headline["reason"]) == ("True", "Succeeded")
    assert "the winner is worse than the baseline: objective 0.4 against 0.5" in headline["message"]
    assert world.status(key)["best"]["objective"] == 0.4
    assert "WorseThanBaseline" in world.told(key)


def test_a_next_best_that_holds_takes_the_place_of_a_winner_that_loses_once_measured(world):
    key = searched(world)
    next_best = {"trial": 5, "architecture": "cd", "accuracy": 0.88, "testAccuracy": 0.87}
    next_best |= {"parameters": 900, "madeFor": "torch fp32"}
    runners_up = [
        finalist("runnerUp1", C, 0.45, 10.0, trial=4),
        finalist("runnerUp2", D, 0.6, 5.0, **next_best),
    ]
    world.finish(VERIFY, status={"finalists": [*LOST["finalists"], *runners_up]})
    best = world.status(key)["best"]
    assert (best["id"], best["artifact"], best["objective"]) == (5, D, 0.6)
    assert (best["architecture"], best["accuracy"], best["testAccuracy"]) == ("cd", 0.88, 0.87)
    assert (best["parameters"], best["madeFor"], best["device"]) == (900, "torch fp32", "pi")
    assert best["latencyMs"] == figure(5.0, "measured")
    assert world.says(key, "WinnerVerified") == ("True", "NextBestMeasured")
    for type_ in ("WinnerVerified", "Succeeded"):
        message = world.condition(key, type_)["message"]
        assert "the winner is worse than the baseline: objective 0.4 against 0.5" in message
        assert "the best now is trial 5 with 0.6: latency 5 ms" in message
    for each in (key, VERIFY):
        check_status(world.status(each))


def test_where_all_that_are_measured_lose_the_best_of_them_is_shown_and_the_headline_says_so(world):
    key = searched(world)
    runners_up = [
        finalist("runnerUp1", C, 0.45, 10.0, trial=4),
        finalist("runnerUp2", D, 0.3, 15.0, trial=5),
    ]
    world.finish(VERIFY, status={"finalists": [*LOST["finalists"], *runners_up]})
    assert world.status(key)["best"]["artifact"] == C
    assert world.says(key, "WinnerVerified") == ("False", "WorseThanBaseline")
    message = world.condition(key, "Succeeded")["message"]
    assert "and so are all 3 that were measured" in message
    assert "the best of them is trial 4 with 0.45" in message


def test_a_winner_that_loses_and_whose_next_best_are_worse_still_stays_the_best(world):
    key = searched(world)
    worse = [*LOST["finalists"], finalist("runnerUp1", C, 0.3, 15.0, trial=4)]
    world.finish(VERIFY, status={"finalists": worse})
    assert world.status(key)["best"]["artifact"] == A
    assert "the best of them" not in world.condition(key, "Succeeded")["message"]


def test_a_winner_that_was_predicted_to_lose_and_does_not_is_not_called_worse(world):
    key = searched(world, {"best": candidate(A, 0.4), "baseline": candidate(B, 0.5)})
    world.finish(VERIFY, status=MEASURED)
    assert world.says(key, "WinnerVerified")[0] == "True"
    assert "worse" not in world.condition(key, "Succeeded")["message"]


def test_a_measure_that_the_board_does_not_sense_stays_predicted(world):
    key = searched(world)
    blind = {
        **finalist("winner", A),
        "energyMj": figure(20.0),
        "peakPowerW": {"source": "measured"},
    }
    world.finish(VERIFY, status={"finalists": [blind, finalist("baseline", B, 0.5)]})
    best = world.status(key)["best"]
    assert best["latencyMs"]["source"] == "measured"
    assert best["energyMj"] == figure(20.0)
    assert best["peakPowerW"] == figure(3.0)
    assert "mJ" not in world.condition(key, "WinnerVerified")["message"]


def test_a_measurement_of_other_artefacts_counts_for_nothing(world):
    key = searched(world)
    world.finish(VERIFY, status={"finalists": [finalist("winner", C)]})
    assert world.says(key, "WinnerVerified") == ("False", "ResultsLost")
    assert world.status(key)["best"]["latencyMs"] == figure(4.0)
    assert world.says(key, "Succeeded")[0] == "True"


def test_a_volume_that_no_node_has_ends_the_wait_and_is_told(world):
    key = searched(world)
    pod_of(world, VERIFY, **unschedulable(CONFLICT))
    world.settle()
    assert ("Job", "ns", READER) in world.objects
    world.start_pods()
    (pod,) = [
        body
        for place, body in world.objects.items()
        if place[0] == "Pod" and place[2].startswith(READER)
    ]
    world._store({**pod, "status": {"phase": "Pending", **unschedulable(CONFLICT)}})
    world.settle()
    assert world.says(key, "WinnerVerified") == ("False", "StorageOutOfReach")
    assert "volume node affinity conflict" in world.condition(key, "WinnerVerified")["message"]
    assert ("Job", "ns", READER) not in world.objects
    headline = world.condition(key, "Succeeded")
    assert headline["status"] == "True"
    assert "its winner was not measured" in headline["message"]
    assert VERIFY not in world.objects
    assert world.job_of(VERIFY) is None
    assert world.status(key)["best"]["latencyMs"] == figure(4.0)
    world.restart_operator()
    calls = world.calls
    world.settle()
    assert world.calls == calls
    check_status(world.status(key))


def test_a_board_that_is_gone_is_waited_for_a_stated_time(world):
    world.remove_node("board-a")
    world.node("board-b", device="other")
    world.node("board-a", device="pi")
    key = world.apply("CoDesignSearch", "s")
    world.settle()
    world.finish(JOB)
    world.start_pods()
    world.settle()
    world.remove_node("board-a")
    world.finish(key, status=FOUND)
    assert world.says(key, "WinnerVerified") == ("Unknown", "NoMatchingNode")
    assert world.says(key, "Stalled") == ("True", "NoMatchingNode")
    world.wait(599)
    world.settle()
    assert world.says(key, "Succeeded")[0] == "Unknown"
    world.wait(1)
    world.settle()
    assert world.says(key, "WinnerVerified") == ("False", "NoMatchingNode")
    assert world.says(key, "Succeeded")[0] == "True"
    assert VERIFY not in world.objects


def test_a_measurement_that_fails_does_not_take_the_result_away(world):
    key = searched(world)
    world.start_pods()
    world.end_pod(VERIFY, 13, "ChildFailed", "no engine onnxruntime")
    world.settle()
    assert world.says(key, "WinnerVerified") == ("False", "ChildFailed")
    assert "no engine onnxruntime" in world.condition(key, "WinnerVerified")["message"]
    assert world.says(key, "Succeeded")[0] == "True"


@pytest.mark.parametrize(
    ("device", "words"), [("simulated", "is simulated"), ("gone", "what measured the device gone")]
)
def test_a_winner_on_no_board_is_not_measured_and_the_condition_says_so(world, device, words):
    devices = [
        {"name": "pi", "nodeSelector": {"edgetran.io/device": "pi"}},
        {"name": "simulated", "simulation": "raspberry-pi-4-cpu"},
    ]
    key = world.apply("CoDesignSearch", "s", spec_of("CoDesignSearch", devices=devices))
    world.settle()
    world.finish(JOB)
    world.finish(key, status={"best": candidate(A, device=device)})
    reason = "NotMeasurable" if device == "simulated" else "DependencyMissing"
    assert world.says(key, "WinnerVerified") == ("False", reason)
    assert words in world.condition(key, "WinnerVerified")["message"]
    assert world.says(key, "Succeeded")[0] == "True"
    said = "not measured" in world.condition(key, "Succeeded")["message"]
    assert said is (device == "gone")
    assert VERIFY not in world.objects


def test_measuring_the_winner_uses_up_no_time_of_the_search(world):
    key = searched(world, activeDeadlineSeconds=1000)
    world.start_pods()
    world.settle()
    world.wait(5000)
    world.settle()
    assert world.says(key, "WinnerVerified")[0] == "Unknown"
    assert world.says(key, "Succeeded")[0] == "Unknown"


def test_a_suspended_search_measures_no_winner_until_it_goes_on(world):
    key = searched(world)
    world.start_pods()
    world.settle()
    world.change(key, suspend=True)
    world.settle()
    assert world.says(VERIFY, "Suspended")[0] == "True"
    assert world.job_of(VERIFY) is None
    world.change(key, suspend=False)
    world.settle()
    world.finish(VERIFY, status=MEASURED)
    assert world.says(key, "Succeeded")[0] == "True"


def test_a_refined_winner_is_measured_beside_the_searchs_best_and_the_search_says_so(world):
    key = searched(world, refine={})
    assert VERIFY not in world.objects, "the refined model is what is measured"
    refined = {"best": candidate(C, 0.8)}
    world.finish(REFINE, status=refined, reason="CyclesComplete")
    assert world.says(REFINE, "RefinementComplete") == ("True", "CyclesComplete")
    assert world.says(REFINE, "Succeeded")[0] == "Unknown"
    assert world.says(key, "Succeeded")[0] == "Unknown"
    spec = world.objects[REFINE_VERIFY]["spec"]
    assert spec["finalistsOf"] == {"refinementRef": {"name": "s-refine"}}
    owner = world.objects[REFINE_VERIFY]["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["name"]) == ("GPTranRun", "s-refine")
    pod = world.job_of(REFINE_VERIFY)["spec"]["template"]["spec"]
    volumes = {each["name"]: each for each in pod["volumes"]}
    assert volumes["search"]["persistentVolumeClaim"]["claimName"] == "s-refine-gpt-storage"

    three = [
        finalist("winner", C, 0.66, 3.0),
        finalist("searchBest", A, 0.6, 4.4),
        finalist("baseline", B, 0.5, 9.0),
    ]
    world.finish(REFINE_VERIFY, status={"finalists": three})
    assert world.says(REFINE, "WinnerVerified") == ("True", "WinnerMeasured")
    assert world.status(REFINE)["best"]["latencyMs"] == figure(3.0, "measured")
    assert world.status(REFINE)["best"]["objective"] == 0.8, "a refinement's own is another one"
    assert world.says(key, "WinnerVerified") == ("True", "WinnerMeasured")
    assert world.status(key)["best"]["latencyMs"] == figure(4.4, "measured")
    assert world.status(key)["baseline"]["latencyMs"] == figure(9.0, "measured")
    assert world.says(key, "Succeeded")[0] == "True"
    for each in (key, REFINE, REFINE_VERIFY):
        check_status(world.status(each))


def test_a_refined_winner_that_loses_is_told_by_both(world):
    key = searched(world, refine={})
    world.finish(REFINE, status={"best": candidate(C, 0.8)})
    two = [finalist("winner", C, 0.4), finalist("baseline", B, 0.5)]
    world.finish(REFINE_VERIFY, status={"finalists": two})
    for each in (REFINE, key):
        assert world.says(each, "WinnerVerified") == ("False", "WorseThanBaseline")
        message = world.condition(each, "Succeeded")["message"]
        assert "the winner is worse than the baseline" in message


def test_the_searchs_best_takes_the_place_of_a_refined_model_that_loses(world):
    key = searched(world, refine={})
    world.finish(REFINE, status={"best": candidate(C, 0.8)})
    three = [
        finalist("winner", C, 0.4),
        finalist("searchBest", A, 0.6, 4.4, architecture="ab", accuracy=0.9),
        finalist("baseline", B, 0.5),
    ]
    world.finish(REFINE_VERIFY, status={"finalists": three})
    best = world.status(REFINE)["best"]
    assert (best["artifact"], best["latencyMs"]) == (A, figure(4.4, "measured"))
    for each in (REFINE, key):
        assert world.says(each, "WinnerVerified") == ("True", "NextBestMeasured")
        message = world.condition(each, "Succeeded")["message"]
        assert "the best now is the search's best with 0.6" in message


def test_a_models_refinement_is_measured_as_the_job_that_measured_its_device(world):
    mine = world.apply(
        "ProfilingJob", "mine", spec_of("ProfilingJob", measurement={"mode": "quick"})
    )
    world.settle()
    world.finish(mine)
    device = {
        "name": "board",
        "nodeSelector": {"edgetran.io/device": "pi"},
        "profileRef": {"name": "mine"},
    }
    key = world.apply(
        "GPTranRun",
        "r",
        {
            "model": "models/mine",
            "task": {"name": "movie-reviews"},
            "device": device,
            "storage": {"newClaim": {"size": "1Gi"}},
        },
    )
    world.settle()
    world.finish(key, status={"best": candidate(C, device="board")})
    verify = Key("ProfilingJob", "ns", "r--verify")
    spec = world.objects[verify]["spec"]
    assert spec["device"]["name"] == "pi"
    assert spec["measurement"]["mode"] == "quick"
    world.finish(verify, status={"finalists": [finalist("winner", C, None)]})
    assert world.says(key, "WinnerVerified") == ("True", "WinnerMeasured")


def test_a_job_of_that_name_that_someone_else_made_is_let_be(world):
    world.apply("ProfilingJob", "s--verify", spec_of("ProfilingJob", suspend=True))
    key = searched(world)
    assert world.says(key, "WinnerVerified") == ("False", "SpecInvalid")
    assert "not its own" in world.condition(key, "WinnerVerified")["message"]
    assert world.says(key, "Succeeded")[0] == "True"


def test_finalists_may_be_measured_on_another_board_on_request(world):
    world.node("board-b", device="other")
    key = searched(world)
    spec = {
        "device": {"name": "other", "nodeSelector": {"edgetran.io/device": "other"}},
        "finalistsOf": {"searchRef": {"name": "s"}},
    }
    mine = world.apply("ProfilingJob", "mine", spec)
    world.settle()
    world.finish(VERIFY, status=MEASURED)
    world.finish(mine, status=MEASURED)
    assert world.says(mine, "Succeeded") == ("True", "Succeeded")
    assert world.says(mine, "ProfilingComplete")[0] == "True"
    assert world.says(key, "Succeeded")[0] == "True"


def test_finalists_of_a_search_that_is_not_done_are_waited_for_without_the_board(world):
    spec = {
        "device": {"name": "pi", "nodeSelector": {"edgetran.io/device": "pi"}},
        "finalistsOf": {"searchRef": {"name": "s"}},
    }
    mine = world.apply("ProfilingJob", "mine", spec)
    world.settle()
    assert world.says(mine, "Stalled") == ("True", "DependencyMissing")
    assert "finalistsOf.searchRef" in world.condition(mine, "Stalled")["message"]
    search = world.apply("CoDesignSearch", "s")
    world.settle()
    assert world.says(mine, "Reconciling") == ("True", "DependencyNotReady")
    assert "node" not in world.status(mine)
    world.finish(JOB)
    world.start_pods()
    world.end_pod(search, 12, "MaxFailedTrialsReached", "4 trials failed")
    world.settle()
    assert world.says(mine, "Succeeded") == ("False", "DependencyFailed")


def test_every_step_of_it_survives_a_restart_of_the_operator(world):
    key = searched(world)
    world.restart_operator()
    world.settle()
    world.start_pods()
    world.settle()
    world.restart_operator()
    world.settle()
    world.report(VERIFY, finished=True, status=MEASURED)
    world.end_pod(VERIFY, 0)
    world.restart_operator()
    world.settle()
    assert world.says(key, "WinnerVerified") == ("True", "WinnerMeasured")
    assert len([each for each in world.told(key) if each == "WinnerMeasured"]) == 1
