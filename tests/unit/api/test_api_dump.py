"""Canonical YAML, a search's implied children, and changes of running work."""

import copy
from pathlib import Path

import pytest

from edgetran.api import (
    CoDesignSearch,
    dump,
    implied_profiling_jobs,
    implied_refinement,
    load_bundle,
    load_resources,
    load_text,
    parse_resource,
    refused_changes,
    resolve,
    same_spec,
    spec_hash,
    to_dict,
)

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_valid_and_survives_writing_and_reading(path):
    resources = load_bundle(path).resources
    text = dump(*resources)
    again = load_text(text)
    assert dump(*again) == text
    assert same_spec(resources, again)
    assert resolve(again)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_explain_themselves_to_a_newcomer(path):
    assert path.read_text().startswith("# ")


def test_examples_cover_all_kinds_and_ways_to_name_a_device():
    resources = load_resources(*EXAMPLES)
    assert {type(resource).__name__ for resource in resources} == {
        "ProfilingJob",
        "CoDesignSearch",
        "GPTranRun",
    }
    devices = [
        device
        for resource in resources
        if isinstance(resource, CoDesignSearch)
        for device in resource.spec.devices
    ]
    for way in ("host", "simulation", "node_selector"):
        assert any(getattr(device, way) is not None for device in devices), way


MINIMAL = """\
apiVersion: edgetran.io/v1alpha1
kind: CoDesignSearch
metadata: {name: q}
spec:
  task: {name: movie-reviews}
  designSpace: {preset: tiny}
  devices:
    - {name: here, host: true, threads: 2}
    - {name: pi, simulation: raspberry-pi-4-cpu}
    - {name: board, nodeSelector: {b: "2", a: "1"}}
"""


def minimal(**spec):
    (resource,) = load_text(MINIMAL)
    data = to_dict(resource)
    data["spec"] |= spec
    return parse_resource(data)


def test_what_is_written_out_and_what_is_left_to_defaults_are_the_same_spec():
    explicit = minimal(seed=0, suspend=False, training={"learningRate": 0.001})
    assert same_spec([explicit], [minimal()])
    assert not same_spec([minimal(seed=1)], [minimal()])


def test_the_order_of_maps_and_documents_and_the_servers_notes_do_not_matter():
    data = to_dict(minimal())
    data["spec"]["devices"][2]["nodeSelector"] = {"a": "1", "b": "2"}
    data["metadata"] |= {"uid": "u", "resourceVersion": "7", "generation": 2}
    data["status"] = {"succeeded": 3}
    other = parse_resource(data)
    assert same_spec([other], [minimal()])
    assert to_dict(other, status=True)["status"]["succeeded"] == 3
    job = implied_profiling_jobs(other)["here"]
    assert dump(other, job) == dump(job, other)


def test_a_search_implies_profiles_of_the_devices_that_refer_to_none():
    sampling = {"initial": 4, "maxMeasurements": 9}
    search = minimal(profiling={"sampling": sampling}, seed=3, backoffLimit=7)
    jobs = implied_profiling_jobs(search)
    assert {device: job.name for device, job in jobs.items()} == {
        "here": "q-here",
        "board": "q-board",
    }
    spec = jobs["here"].spec
    assert (spec.seed, spec.backoff_limit, spec.sampling.max_measurements) == (3, 7, 9)
    assert (spec.device.threads, spec.design_space, spec.workload) == (
        2,
        search.spec.design_space,
        search.spec.workload,
    )
    data = to_dict(search)
    for device in ("here", "board"):
        entry = next(entry for entry in data["spec"]["devices"] if entry["name"] == device)
        entry["profileRef"] = {"name": f"q-{device}"}
    referring = parse_resource(data)
    assert implied_profiling_jobs(referring) == {}
    assert len(resolve([referring, *jobs.values()]).resources) == 3


def test_a_search_implies_a_refinement_where_it_asks_for_one():
    assert implied_refinement(minimal()) is None
    search = minimal(refine={"cycles": 2, "budgets": {"latencyMs": {"max": 9}}}, seed=4)
    run = implied_refinement(search)
    assert run.name == "q-refine"
    assert (run.spec.cycles, run.spec.seed, run.spec.search_ref.name) == (2, 4, "q")
    assert run.spec.budgets.latency_ms.max == 9
    assert [resource.name for resource in resolve([run, search]).resources] == ["q", "q-refine"]


@pytest.mark.parametrize(
    ("path", "value", "place"),
    [
        (["suspend"], True, None),
        (["activeDeadlineSeconds"], 60, None),
        (["ttlSecondsAfterFinished"], 60, None),
        (["backoffLimit"], 9, None),
        (["search", "maxTrials"], 99, None),
        (["search", "maxTrials"], 5, None),
        (["search", "initialTrials"], 8, "spec.search.initialTrials"),
        (["search", "parallelTrials"], 2, None),
        (["search", "method"], "random", "spec.search.method"),
        (["seed"], 1, "spec.seed"),
        (["designSpace", "preset"], "flexibert-2.0", "spec.designSpace"),
        (["devices", 0, "threads"], 4, "spec.devices"),
        (["refine"], {"cycles": 2}, "spec.refine"),
        (["podTemplate"], {"spec": {"a": 1}}, "spec.podTemplate"),
    ],
)
def test_changes_that_running_work_cannot_make_are_refused(path, value, place):
    old = minimal()
    data = copy.deepcopy(to_dict(old))
    holder = data["spec"]
    for part in path[:-1]:
        holder = holder[part]
    holder[path[-1]] = value
    refused = refused_changes(old, parse_resource(data), begun=True)
    assert [problem.path for problem in refused] == ([place] if place else [])
    words = {rule["message"] for rule in _transition_rules()}
    if place:
        (problem,) = refused
        assert problem.message.removeprefix("Forbidden: ") in words


def _transition_rules():
    schema = CoDesignSearch.model_json_schema()
    for model in (schema, *schema["$defs"].values()):
        for rule in model.get("x-kubernetes-validations", []):
            if "oldSelf" in rule["rule"]:
                yield rule


@pytest.mark.parametrize(
    "changes",
    [
        {"suspend": True},
        {"backoffLimit": 9},
        {"activeDeadlineSeconds": 5, "ttlSecondsAfterFinished": 7},
        {"search": {"maxTrials": 40, "parallelTrials": 2}},
        {"seed": 0},
    ],
)
def test_the_hash_of_a_spec_stays_where_what_may_change_does(changes):
    assert spec_hash(minimal(**changes)) == spec_hash(minimal())
    written = to_dict(minimal(**changes))
    assert spec_hash(parse_resource(written)) == spec_hash(minimal())


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"podTemplate": {"spec": {"hostPID": True}}},
        {"storage": {"uri": "s3://bucket/folder"}},
        {"search": {"initialTrials": 4}},
        {"profiling": {"sampling": {"initial": 4}}},
    ],
)
def test_the_hash_of_a_spec_is_another_one_with_everything_else(changes):
    assert spec_hash(minimal(**changes)) != spec_hash(minimal())
