"""A winner is served once it is known, where it was measured, and said to be as measured or not."""

import json

import pytest
from operator_world import World, check_status, spec_of
from pod_security import violations

from edgetran.api import Reason
from edgetran_operator.kube.cache import Key
from edgetran_operator.settings import Allowances, Settings

JOB = Key("ProfilingJob", "ns", "s-pi")
REFINE = Key("GPTranRun", "ns", "s-refine")
SERVED = ("Deployment", "ns", "s-cds-served")
SERVICE = ("Service", "ns", "s-cds-served")
VERDICTS = ("ConfigMap", "ns", "s-cds-served")
BEST = {
    "id": 3,
    "architecture": "ab",
    "device": "pi",
    "accuracy": 0.9,
    "madeFor": "onnxruntime int8",
    "artifact": "a" * 64,
}


@pytest.fixture
def world() -> World:
    world = World()
    world.node("board-a", device="pi")
    return world


def searched(world: World, best: dict | None = None, **changes: object) -> Key:
    """A search that is done."""
    spec = spec_of("CoDesignSearch", **{"serve": {}, **changes})
    key = world.apply("CoDesignSearch", "s", spec)
    world.settle()
    if JOB in world.objects:
        world.finish(JOB)
    world.finish(key, status={"best": best or BEST})
    measure(world)
    return key


def measure(world: World) -> None:
    """Boards do what is still to be measured, such as the finalists."""
    for key in [each for each in world.existing() if each.kind == "ProfilingJob"]:
        if "completionTime" not in world.status(key) and world.job_of(key) is not None:
            world.finish(key)


def roll_out(world: World, place=SERVED, *, ready: int | None = None) -> None:
    """The Deployment's controller makes its pods; `ready` of them answer."""
    body = world.objects[place]
    wanted = body["spec"]["replicas"]
    count = wanted if ready is None else ready
    body["status"] = {
        "observedGeneration": body["metadata"]["generation"],
        "replicas": wanted,
        "updatedReplicas": wanted,
        "readyReplicas": count,
    }
    world._store(body)
    world.settle()


def tell(world: World, pod: str, verdict: str, *, artifact: str = "a" * 64, place=VERDICTS) -> None:
    """A pod says whether it serves as measured."""
    body = world.objects[place]
    told = {
        "artifact": artifact,
        "servedAsMeasured": verdict,
        "message": f"{pod} says {verdict}",
        "updated": world.stamp(),
    }
    body["data"] = {**body.get("data", {}), pod: json.dumps(told)}
    world._store(body)
    world.settle()


def command_of(world: World, place=SERVED) -> list[str]:
    (container,) = world.objects[place]["spec"]["template"]["spec"]["containers"]
    return container["command"]


def test_nothing_serves_before_the_search_is_done_nor_where_nobody_asks(world):
    key = world.apply("CoDesignSearch", "s", spec_of("CoDesignSearch", serve={}))
    world.settle()
    assert SERVED not in world.objects
    assert world.says(key, "ServedAsMeasured") == ("", "")
    other = World()
    other.node("board-a", device="pi")
    searched(other, serve=None)
    assert SERVED not in other.objects


def test_the_winner_is_served_from_the_runs_storage_on_its_board(world):
    key = searched(world, serve={"replicas": 2, "port": 9000, "maxSlowdown": 1})
    uid = world.objects[key]["metadata"]["uid"]
    deployment, service = world.objects[SERVED], world.objects[SERVICE]
    assert deployment["spec"]["replicas"] == 2
    assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert command_of(world)[:2] == ["edgetran-worker", "serve"]
    assert {
        f"--folder=ns/cds-s-{uid[:8]}",
        f"--artifact={'a' * 64}",
        "--name=s",
        "--port=9000",
        "--max-slowdown=1.0",
        "--verdict=s-cds-served",
    } <= set(command_of(world))
    pod = deployment["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert pod["spec"]["nodeSelector"] == {"edgetran.io/device": "pi"}
    volumes = {each["name"]: each for each in pod["spec"]["volumes"]}
    claim = {"claimName": "s-cds-storage", "readOnly": True}
    assert volumes["storage"]["persistentVolumeClaim"] == claim
    assert container["readinessProbe"]["httpGet"] == {
        "path": "/v2/models/s/ready",
        "port": "metrics",
    }
    (port,) = service["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (9000, "metrics")
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    for place in (SERVED, SERVICE):
        (owner,) = world.objects[place]["metadata"]["ownerReferences"]
        assert owner["uid"] == uid
    assert violations(pod) == []


def test_what_serves_is_made_with_the_end_since_no_news_may_follow(world):
    key = world.apply("CoDesignSearch", "s", spec_of("CoDesignSearch", serve={}))
    world.settle()
    world.finish(JOB)
    world.start_pods()
    world.report(key, finished=True, status={"best": {**BEST, "device": "simulated"}})
    world.end_pod(key, 0)
    plans = [world.reconcile(key) for _ in range(3)]
    (last,) = (plan for plan in plans if "completionTime" in plan.status)
    assert {child.label for child in last.apply} >= {
        "Deployment/s-cds-served",
        "Service/s-cds-served",
    }


def test_what_serves_may_write_its_verdict_and_nothing_else(world):
    searched(world)
    role = world.objects["Role", "ns", "s-cds-served"]
    assert role["rules"] == [
        {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": ["s-cds-served"],
            "verbs": ["get", "patch"],
        }
    ]
    pod = world.objects[SERVED]["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "s-cds-served"


@pytest.mark.parametrize(
    ("made_for", "image"), [("openvino int8", "openvino"), ("torch fp32", "cpu"), ("", "cpu")]
)
def test_the_image_is_that_of_the_engine(made_for, image, world):
    searched(world, {**BEST, "madeFor": made_for})
    (container,) = world.objects[SERVED]["spec"]["template"]["spec"]["containers"]
    assert container["image"].endswith(f"-{image}")


def test_a_simulated_winner_is_served_anywhere(world):
    searched(world, {**BEST, "device": "simulated"})
    assert "nodeSelector" not in world.objects[SERVED]["spec"]["template"]["spec"]


def test_storage_at_an_address_is_fetched_by_the_pod_with_its_secret():
    world = World(Settings(allow=Allowances(storage=("s3://bucket/",))))
    world.node("board-a", device="pi")
    searched(world, storage={"uri": "s3://bucket/runs", "secret": "keys"})
    pod = world.objects[SERVED]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert "--uri=s3://bucket/runs" in container["command"]
    assert container["envFrom"] == [{"secretRef": {"name": "keys"}}]
    volumes = {each["name"]: each for each in pod["volumes"]}
    assert "emptyDir" in volumes["storage"]


def test_where_the_administrator_has_it_off_nothing_is_served():
    world = World(Settings(serving=False))
    world.node("board-a", device="pi")
    key = searched(world)
    assert SERVED not in world.objects
    assert world.says(key, "ServedAsMeasured") == ("Unknown", "NotCompared")
    assert "rbac.serving" in world.condition(key, "ServedAsMeasured")["message"]


def test_a_winner_without_artefact_is_not_served(world):
    key = searched(world, {**BEST, "artifact": None})
    assert SERVED not in world.objects
    assert world.says(key, "ServedAsMeasured") == ("Unknown", "NotCompared")
    assert "is not known" in world.condition(key, "ServedAsMeasured")["message"]


def test_the_condition_follows_the_pods_and_their_verdicts(world):
    key = searched(world, serve={"replicas": 2})
    assert world.says(key, "ServedAsMeasured") == ("Unknown", "Pending")
    roll_out(world, ready=1)
    message = world.condition(key, "ServedAsMeasured")["message"]
    assert "1 of 2 pods" in message
    roll_out(world)
    assert world.says(key, "ServedAsMeasured") == ("Unknown", "NotCompared")
    tell(world, "pod-a", "Unknown")
    assert world.says(key, "ServedAsMeasured") == ("Unknown", "NotCompared")
    tell(world, "pod-a", "True")
    assert world.says(key, "ServedAsMeasured") == ("True", "AsMeasured")
    tell(world, "pod-b", "False")
    assert world.says(key, "ServedAsMeasured") == ("False", "NotAsMeasured")
    assert world.condition(key, "ServedAsMeasured")["message"] == "pod-b says False"
    assert "NotAsMeasured" in world.told(key)
    assert world.says(key, "Succeeded")[0] == "True"
    check_status(world.status(key))


def test_verdicts_that_are_old_or_on_another_artefact_do_not_count(world):
    key = searched(world)
    roll_out(world)
    tell(world, "pod-old", "False", artifact="b" * 64)
    tell(world, "pod-a", "True")
    assert world.says(key, "ServedAsMeasured") == ("True", "AsMeasured")
    outcome = world.reconcile(key)
    assert 0 < outcome.requeue_after <= 30 * 60
    world.wait(31 * 60)
    world.settle()
    assert world.says(key, "ServedAsMeasured") == ("Unknown", "NotCompared")


def test_a_verdict_that_is_nonsense_costs_no_other(world):
    key = searched(world)
    roll_out(world)
    world.objects[VERDICTS]["data"] = {"x": "[" * 10_000, "y": "7", "z": '{"updated": "never"}'}
    tell(world, "pod-a", "True")
    assert world.says(key, "ServedAsMeasured") == ("True", "AsMeasured")


def test_nothing_is_served_on_the_board_until_the_winner_was_measured_there(world):
    key = world.apply("CoDesignSearch", "s", spec_of("CoDesignSearch", serve={}))
    world.settle()
    world.finish(JOB)
    world.finish(key, status={"best": BEST})
    assert world.says(key, "WinnerVerified")[0] == "Unknown"
    assert SERVED not in world.objects
    measure(world)
    assert world.says(key, "WinnerVerified")[0] != "Unknown"
    assert f"--artifact={'a' * 64}" in command_of(world)


def test_a_winner_that_is_refined_is_served_once_the_refined_model_was_measured(world):
    key = searched(world, refine={})
    refined = {**BEST, "id": 5, "artifact": "b" * 64}
    assert SERVED not in world.objects, "it would disturb what is still to be measured"
    world.finish(REFINE, status={"best": refined})
    assert SERVED not in world.objects
    measure(world)
    uid = world.objects[REFINE]["metadata"]["uid"]
    assert f"--artifact={'b' * 64}" in command_of(world)
    assert f"--folder=ns/gpt-s-refine-{uid[:8]}" in command_of(world)
    pod = world.objects[SERVED]["spec"]["template"]
    assert pod["metadata"]["annotations"]["edgetran.io/artifact"] == "b" * 64
    assert pod["spec"]["nodeSelector"] == {"edgetran.io/device": "pi"}
    assert ("Deployment", "ns", "s-refine-gpt-served") not in world.objects
    assert world.says(key, "ServedAsMeasured") == ("Unknown", "Pending")
    roll_out(world)
    tell(world, "pod-b", "True", artifact="b" * 64)
    assert world.says(key, "ServedAsMeasured") == ("True", "AsMeasured")
    world.delete("GPTranRun", "s-refine")
    world.settle()
    assert f"--artifact={'b' * 64}" in command_of(world)


@pytest.mark.parametrize("field", ["serve", "tracking"])
@pytest.mark.parametrize("kind", ["CoDesignSearch", "GPTranRun"])
def test_how_a_winner_is_served_and_shown_may_change_while_the_worker_runs_on(kind, field, world):
    values = {"serve": {"port": 9000}, "tracking": {"mlflow": {"uri": "http://tracks:5000"}}}
    key = world.apply("CoDesignSearch", "s")
    world.settle()
    world.finish(JOB)
    if kind == "GPTranRun":
        world.finish(key, status={"best": BEST})
        measure(world)
        key = world.apply(kind, "r", spec_of(kind))
        world.settle()
    world.start_pods()
    world.settle()
    before = world.job_of(key)["metadata"]["uid"]
    world.change(key, **{field: values[field]})
    world.settle()
    assert world.job_of(key)["metadata"]["uid"] == before
    assert world.says(key, "Reconciling") == ("True", "Running")
    assert world.told(key).count("SpecChangeRefused") == 0


def test_a_refinement_by_itself_is_served_too(world):
    key = searched(world, serve=None)
    spec = spec_of("GPTranRun", serve={})
    run = world.apply("GPTranRun", "r", spec)
    world.settle()
    world.finish(run, status={"best": {**BEST, "artifact": "c" * 64}})
    measure(world)
    place = ("Deployment", "ns", "r-gpt-served")
    assert f"--artifact={'c' * 64}" in command_of(world, place)
    assert world.objects[place]["spec"]["template"]["spec"]["nodeSelector"] == {
        "edgetran.io/device": "pi"
    }
    assert SERVED not in world.objects
    assert world.says(key, "Succeeded")[0] == "True"


def test_serving_begins_changes_and_ends_with_the_spec_after_the_run(world):
    key = searched(world, serve=None)
    world.change(key, serve={})
    world.settle()
    assert world.objects[SERVED]["spec"]["replicas"] == 1
    world.change(key, serve={"replicas": 3})
    world.settle()
    assert world.objects[SERVED]["spec"]["replicas"] == 3
    assert world.told(key).count("SpecChangeRefused") == 0
    spec = dict(world.objects[key]["spec"])
    del spec["serve"]
    world.apply("CoDesignSearch", "s", spec)
    world.settle()
    assert SERVED not in world.objects
    assert SERVICE not in world.objects
    assert world.says(key, "ServedAsMeasured") == ("", "")


def test_a_deployment_that_somebody_deletes_is_made_again(world):
    searched(world)
    world.delete("Deployment", "s-cds-served")
    world.settle()
    assert SERVED in world.objects


def test_a_quota_that_refuses_what_serves_is_told_and_asked_again(world):
    world.refused["Deployment/s-cds-served"] = (Reason.INSUFFICIENT_QUOTA, "exceeded quota: pods")
    key = world.apply("CoDesignSearch", "s", spec_of("CoDesignSearch", serve={}))
    world.settle()
    world.finish(JOB)
    world.start_pods()
    world.report(key, finished=True, status={"best": {**BEST, "device": "simulated"}})
    world.end_pod(key, 0)
    for _ in range(4):
        world.reconcile(key)
    assert world.says(key, "ServedAsMeasured") == ("Unknown", "InsufficientQuota")
    assert "exceeded quota: pods" in world.condition(key, "ServedAsMeasured")["message"]
    assert world.says(key, "Succeeded")[0] == "True"


def test_a_restarted_operator_leaves_what_serves_as_it_is(world):
    searched(world)
    roll_out(world)
    tell(world, "pod-a", "True")
    world.restart_operator()
    calls = world.calls
    world.settle()
    assert world.calls == calls
