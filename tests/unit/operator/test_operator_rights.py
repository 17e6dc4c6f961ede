"""A spec leads nowhere that the administrator does not allow."""

from pathlib import Path

import pytest
from operator_world import World, spec_of

from edgetran.api import load_resources
from edgetran_operator.reconcile.spec import forbidden
from edgetran_operator.resources import Run
from edgetran_operator.settings import Allowances, Settings

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "search.yaml"

SECRET = "hunter2"  # noqa: S105 - made up
NODES = {"edgetran.io/device": "pi"}
FILES = {"files": {"train": "data/train.csv", "test": "data/test.csv"}}


def metered(meter, kind="ProfilingJob"):
    device = {
        "name": "pi",
        "nodeSelector": NODES,
        "energy": {"source": "external", "meter": meter},
    }
    changes = {"device": device} if kind == "ProfilingJob" else {"devices": [device]}
    return spec_of(kind, **changes)


def world_of(**allow):
    world = World(Settings(allow=Allowances(**allow)))
    world.node("board", device="pi")
    return world


def refusal(world, kind, spec):
    """The sentence of a resource that is refused; None where its work begins."""
    key = world.apply(kind, "r", spec)
    world.settle()
    made = [name for made, _, name in world.objects if made in ("Job", "RayJob", "ProfilingJob")]
    if world.says(key, "Stalled")[0] != "True":
        assert made
        return None
    assert world.says(key, "Stalled") == ("True", "SpecInvalid")
    assert [name for name in made if name != "r"] == []
    return world.condition(key, "Stalled")["message"]


@pytest.mark.parametrize("kind", ["ProfilingJob", "CoDesignSearch"])
def test_a_meter_that_is_a_program_needs_an_allowance(kind):
    sentence = refusal(world_of(), kind, metered("command:cat /etc/passwd", kind))
    assert "energy.meter: Forbidden: a command" in sentence
    assert "allow.commands, which is not set" in sentence
    assert refusal(world_of(commands=True), kind, metered("command:meter", kind)) is None


@pytest.mark.parametrize(
    "meter",
    [
        f"http://169.254.169.254/latest/{SECRET}",
        f"http://meters.lan.example.com/{SECRET}",
        f"https://meters.lan/{SECRET}",
        "serial:/dev/mem",
    ],
)
def test_a_meter_is_read_only_where_the_administrator_says(meter):
    sentence = refusal(world_of(meters=("http://meters.lan/",)), "ProfilingJob", metered(meter))
    assert "spec.device.energy.meter: Invalid value: <hidden" in sentence
    assert "allow.meters, which is http://meters.lan/" in sentence
    assert SECRET not in sentence


def test_what_is_allowed_comes_to_the_worker_with_its_command_and_in_no_file():
    world = world_of(commands=True, meters=("http://meters.lan/", "serial:/dev/ttyUSB"))
    key = world.apply("ProfilingJob", "p", metered("http://meters.lan/3"))
    world.settle()
    (worker,) = world.job_of(key)["spec"]["template"]["spec"]["containers"]
    assert worker["command"] == [
        "edgetran-worker",
        "profile",
        "--allow-commands",
        "--allow-meter=http://meters.lan/",
        "--allow-meter=serial:/dev/ttyUSB",
    ]
    work = world.objects["ConfigMap", "ns", "p-pj-spec"]["data"]["work.json"]
    assert "allow" not in work


def tracked(uri):
    return {"tracking": {"mlflow": {"uri": uri}}}


@pytest.mark.parametrize("kind", ["CoDesignSearch", "GPTranRun"])
def test_trials_are_shown_only_where_the_administrator_says(kind):
    spec = spec_of(kind, **tracked(f"http://169.254.169.254/{SECRET}"))
    sentence = refusal(world_of(), kind, spec)
    assert "spec.tracking.mlflow.uri: Invalid value: <hidden" in sentence
    assert "must begin with an entry of the setting allow.trackers, which is not set" in sentence
    assert SECRET not in sentence
    sentence = refusal(world_of(trackers=("http://mlflow.lan:5000",)), kind, spec)
    assert "allow.trackers, which is http://mlflow.lan:5000" in sentence


def test_a_tracker_that_is_allowed_comes_to_the_worker_with_its_command():
    world = world_of(trackers=("http://mlflow.lan:5000/",))
    spec = spec_of("CoDesignSearch", **tracked("http://mlflow.lan:5000"))
    spec["devices"] = [{"name": "pi", "simulation": "raspberry-pi-4-cpu"}]
    key = world.apply("CoDesignSearch", "s", spec)
    world.settle()
    (worker,) = world.job_of(key)["spec"]["template"]["spec"]["containers"]
    assert worker["command"] == [
        "edgetran-worker",
        "search",
        "--allow-tracker=http://mlflow.lan:5000/",
    ]


@pytest.mark.parametrize(
    ("uri", "allowed"),
    [
        ("s3://bucket/x", None),
        ("sftp://10.0.0.1/x", None),
        ("webhdfs://10.0.0.1/x", None),
        ("s3://models/a", ("s3://models",)),
        ("s3://models", ("s3://models/a",)),
        ("s3://models-of-others/a", ("s3://models",)),
        ("sftp://nas.lan/x", ("sftp://nas.lan/",)),
    ],
)
def test_storage_is_where_the_administrator_says_and_no_host_without_it(uri, allowed):
    world = world_of() if allowed is None else world_of(storage=allowed)
    sentence = refusal(world, "ProfilingJob", spec_of("ProfilingJob", storage={"uri": uri}))
    if uri in ("s3://bucket/x", "s3://models/a", "sftp://nas.lan/x"):
        assert sentence is None
    else:
        assert "spec.storage.uri: Invalid value: <hidden" in sentence
        assert "allow.storage" in sentence


@pytest.mark.parametrize(
    ("allowed", "taken"),
    [((), False), (("ray-head:10001",), True), (("ray-head",), True), (("ray-head:1",), False)],
)
def test_a_ray_cluster_is_one_that_the_administrator_names(allowed, taken):
    spec = spec_of(
        "CoDesignSearch",
        devices=[{"name": "sim", "simulation": "intel-ncs2"}],
        ray={"mode": "cluster", "address": "ray://ray-head:10001"},
    )
    sentence = refusal(world_of(ray_addresses=allowed), "CoDesignSearch", spec)
    assert (sentence is None) == taken
    if not taken:
        assert 'spec.ray.address: Invalid value: "ray://ray-head:10001": must be' in sentence


@pytest.mark.parametrize(
    ("kind", "changes", "place"),
    [
        ("ProfilingJob", {"designSpace": None, "models": ["a", "/etc"]}, "spec.models[1]"),
        ("CoDesignSearch", {"task": {"folder": "/proc/self"}}, "spec.task.folder"),
        (
            "CoDesignSearch",
            {"task": {"files": {"train": "/proc/self/environ"}}},
            "spec.task.files.train",
        ),
        (
            "CoDesignSearch",
            {"task": {**FILES, "tokenizer": {"folder": "/var/run/secrets"}}},
            "spec.task.tokenizer.folder",
        ),
        (
            "ProfilingJob",
            {"storage": {"claim": {"name": "c", "subPath": "/x"}}},
            "spec.storage.claim.subPath",
        ),
    ],
)
def test_a_path_begins_in_the_storage(kind, changes, place):
    sentence = refusal(world_of(), kind, spec_of(kind, **changes))
    assert f"{place}: " in sentence
    assert "must begin in the storage or the data, without '/' at its start" in sentence


def test_a_password_in_an_address_never_gets_into_a_condition():
    world = world_of()
    spec = spec_of("ProfilingJob", storage={"uri": f"s3://key:{SECRET}@bucket/x"})
    key = world.apply("ProfilingJob", "p", spec)
    world.settle()
    assert world.says(key, "Stalled") == ("True", "SpecInvalid")
    assert SECRET not in str(world.objects[key]["status"])
    assert "belong in the Secret" in world.condition(key, "Stalled")["message"]
    assert not [event for _, event in world.events if SECRET in event.message]


def test_the_example_for_a_cluster_is_allowed_where_the_administrator_set_nothing():
    for resource in load_resources(EXAMPLE):
        assert forbidden(Run(resource, "ns", "0" * 36, Settings(), node="board-a")) is None
