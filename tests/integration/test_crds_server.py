"""The custom resources on a real API server."""

import copy
import json
from pathlib import Path

import pytest
import structural_schema
import yaml
from bad_resources import GOOD, GPT, PJ, RUN, SEARCH, by_hand, changed, generated
from kubernetes.client import ApiException

from edgetran.api import KINDS, SpecError, parse_resource
from edgetran.api.yaml_text import read_files

ROOT = Path(__file__).resolve().parents[2]
GROUP = "/apis/edgetran.io/v1alpha1"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
NOW = "2026-01-31T12:00:00Z"

pytestmark = pytest.mark.integration


def address(kind, namespace, name="", part=""):
    place = f"{GROUP}/namespaces/{namespace}/{KINDS[kind].PLURAL}"
    return "/".join(filter(None, (place, name, part)))


def definitions():
    return [
        yaml.load(file.read_text(), yaml.CSafeLoader)
        for file in sorted((ROOT / "crds").glob("*.yaml"))
    ]


def schemas():
    return {
        each["spec"]["names"]["kind"]: each["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        for each in definitions()
    }


@pytest.fixture
def namespace(api_server):
    return api_server.namespace("crds")


@pytest.fixture(scope="module")
def shared(api_server):
    return api_server.namespace("crds-shared")


def test_the_server_finds_nothing_wrong_with_the_definitions(api_server):
    for definition in definitions():
        answer = api_server.call("GET", f"{DEFINITIONS}/{definition['metadata']['name']}")
        conditions = {each["type"]: each["status"] for each in answer["status"]["conditions"]}
        assert conditions == {"NamesAccepted": "True", "Established": "True"}


@pytest.mark.parametrize(
    ("path", "change", "words"),
    [
        ("spec.suspend", {"type": None}, "type: Required value"),
        ("spec.suspend", {"default": "no"}, "default: Invalid value"),
        ("spec.workload", {"default": {"batchSise": 1}}, "default"),
        ("spec.workload", {"required": [], "uniqueItems": True}, "uniqueItems"),
        ("status.conditions", {"x-kubernetes-list-map-keys": ["tipe"]}, "list-map-keys"),
        ("status.conditions", {"x-kubernetes-list-type": "set"}, "list"),
        ("metadata", {"properties": {"labels": {"type": "object"}}}, "metadata"),
    ],
)
def test_what_our_own_check_finds_the_server_refuses_as_well(api_server, path, change, words):
    definition = copy.deepcopy(definitions()[-1])
    names = definition["spec"]["names"]
    for key in ("kind", "listKind", "plural", "singular"):
        names[key] = f"x{names[key]}"
    definition["metadata"]["name"] = f"{names['plural']}.edgetran.io"
    (version,) = definition["spec"]["versions"]
    part = schema = version["schema"]["openAPIV3Schema"]
    for key in path.split("."):
        part = part["properties"][key]
    for key, value in change.items():
        part.pop(key, None)
        if value is not None:
            part[key] = value
    assert list(structural_schema.problems(schema))
    with pytest.raises(ApiException) as caught:
        api_server.call("POST", DEFINITIONS, definition, dryRun="All")
    assert caught.value.status == 422
    assert words in str(caught.value.body)


@pytest.mark.parametrize("document", read_files([ROOT / "examples"]), ids=lambda d: d.data["kind"])
def test_every_example_is_accepted_and_read_back_as_it_was_meant(api_server, namespace, document):
    kind = document.data["kind"]
    created = api_server.call("POST", address(kind, namespace), document.data)
    assert parse_resource(created).spec == parse_resource(document.data).spec


def test_defaults_are_filled_in_by_the_server(api_server, namespace):
    created = api_server.call("POST", address("CoDesignSearch", namespace), SEARCH)
    assert created["spec"]["backoffLimit"] == 3
    assert created["spec"]["workload"] == {"batchSize": 1, "sequenceLength": 128}
    assert created["spec"]["search"]["method"] == "bayesian"
    assert "initialTrials" not in created["spec"]["search"]  # it follows from the rest
    assert created["spec"]["objective"]["weights"]["peakPower"] == 0.1
    expected = structural_schema.with_defaults(schemas()["CoDesignSearch"], SEARCH)
    assert created["spec"] == expected["spec"]


def test_status_is_a_subresource_of_its_own(api_server, namespace):
    path = address("ProfilingJob", namespace)
    with_status = {**GOOD[PJ], "status": {"progress": "1/2"}}
    created = api_server.call("POST", path, with_status)
    assert "status" not in created
    name = created["metadata"]["name"]
    condition = {
        "type": "Succeeded",
        "status": "Unknown",
        "reason": "Running",
        "message": "A worker runs.",
        "lastTransitionTime": NOW,
        "observedGeneration": 1,
    }
    status = {
        "conditions": [condition],
        "progress": "23/64",
        "costs": {"latencyMs": {"min": 9.5, "median": 12.5, "max": 20.0}},
    }
    patch = {"status": status, "spec": {"suspend": True}}
    updated = api_server.call("PATCH", address("ProfilingJob", namespace, name, "status"), patch)
    assert updated["spec"]["suspend"] is False
    assert updated["metadata"]["generation"] == 1
    assert updated["status"]["conditions"] == [condition]
    assert updated["status"]["measured"] == 0
    suspended = api_server.call("PATCH", f"{path}/{name}", {"spec": {"suspend": True}})
    assert suspended["metadata"]["generation"] == 2
    assert suspended["status"] == updated["status"]


@pytest.mark.parametrize(
    "status",
    [
        {"progress": "half"},
        {"conditions": [{"type": "Succeeded", "status": "Yes", "reason": "A"}]},
        {"conditions": [{"type": "A", "status": "True", "reason": "not a word"}]},
        {"results": [f"r-{n}" for n in range(17)]},
        {"activeSeconds": -1},
    ],
)
def test_a_bad_status_is_refused(api_server, shared, status):
    path = address(PJ, shared)
    name = f"status-{abs(hash(json.dumps(status)))}"[:40]
    api_server.call("POST", path, changed(GOOD[PJ], "metadata.name", name))
    with pytest.raises(ApiException) as caught:
        api_server.call("PATCH", f"{path}/{name}/status", {"status": status})
    assert caught.value.status == 422


def test_two_managers_apply_conditions_and_devices_side_by_side(api_server, namespace):
    path = address("CoDesignSearch", namespace, "search")

    def apply(manager, patch, part=""):
        body = {"apiVersion": "edgetran.io/v1alpha1", "kind": "CoDesignSearch", **patch}
        body["metadata"] = {"name": "search"}
        done = api_server.kubectl(
            *("apply", "--server-side", "--field-manager", manager, "-n", namespace),
            *(["--subresource", part] if part else []),
            *("--validate=false", "-f", "-"),
            stdin=json.dumps(body),
        )
        return done.stdout

    apply("people", {"spec": SEARCH["spec"]})
    more = {"name": "a100", "simulation": "nvidia-a100"}
    apply("team", {"spec": {"devices": [more]}})
    apply("people", {"spec": SEARCH["spec"]})
    devices = api_server.call("GET", path)["spec"]["devices"]
    assert [device["name"] for device in devices] == ["pi", "jetson", "a100"]


def test_kubectl_shows_what_matters(api_server, namespace):
    for kind, document in GOOD.items():
        name = document["metadata"]["name"]
        api_server.call("POST", address(kind, namespace), document)
        condition = {
            "type": "Succeeded",
            "status": "True",
            "reason": "Succeeded",
            "message": "All work is done.",
            "lastTransitionTime": NOW,
        }
        status = {"conditions": [condition], "progress": "64/64"}
        if kind == PJ:
            costs = {"latencyMs": {"min": 8.5, "median": 12.25, "max": 21.0}}
            status |= {"costs": costs, "node": "board-a"}
        else:
            best = {
                "id": 3,
                "architecture": "0a",
                "device": "jetson",
                "accuracy": 0.8125,
                "latencyMs": {"value": 7.5, "source": "measured"},
                "parameters": 405113,
            }
            status["best"] = best
        api_server.call("PATCH", address(kind, namespace, name, "status"), {"status": status})

    def rows(*words):
        lines = api_server.kubectl("get", *words, "-n", namespace).stdout.splitlines()
        return [line.split() for line in lines if line]

    for short, first in (("pj", "profilingjob"), ("cds", "codesignsearch"), ("gpt", "gptranrun")):
        plural = f"{first}{'es' if first.endswith('ch') else 's'}.edgetran.io"
        names = [[row[0] for row in rows(word)] for word in (short, first, plural)]
        assert names[0] == names[1] == names[2]
    assert rows("pj")[1][:5] == ["board", "True", "64/64", "12.25", "pi"]
    assert rows("cds")[1][:6] == ["search", "True", "64/64", "0.8125", "7.5", "jetson"]
    assert rows("gpt")[1][:6] == ["refined", "True", "64/64", "0.8125", "7.5", "jetson"]
    wide = rows("pj,cds,gpt", "-o", "wide")
    heading = ["NAME", "SUCCEEDED", "PROGRESS", "LATENCY-MS", "DEVICE", "AGE", "REASON"]
    assert wide[0][:7] == heading
    assert any("board-a" in row for row in wide)
    assert any("405113" in row for row in wide)
    assert len([row for row in rows("edgetran") if "True" in row]) == 3
    waited = ["wait", "--for=condition=Succeeded", "pj/board", "--timeout=5s", "-n", namespace]
    assert api_server.kubectl(*waited).returncode == 0
    assert "What runs the model." in api_server.kubectl("explain", "pj.spec.device.engine").stdout


BAD = by_hand() + generated(schemas(), 150)


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_a_bad_resource_is_refused_or_left_to_the_operator(api_server, shared, bad):
    """What the server lets through, the models refuse: the operator will say so."""
    kind = bad.document["kind"]
    created, refusal = None, None
    try:
        created = api_server.call("POST", address(kind, shared), bad.document, dryRun="All")
    except ApiException as error:
        refusal = error
    if refusal is not None:
        assert refusal.status in (400, 422)
        assert json.loads(refusal.body)["message"]
        return
    if bad.unknown:  # the server drops it, unless kubectl asks to be strict
        answer = api_server.kubectl(
            *("create", "--dry-run=client", "-n", shared, "-f", "-"),
            stdin=json.dumps(bad.document),
            check=False,
        )
        assert answer.returncode != 0
        assert "unknown field" in answer.stderr
        return
    with pytest.raises(SpecError, match=r"must|may|is immutable|Unsupported|Duplicate"):
        parse_resource(created)


def test_the_schema_alone_refuses_most_bad_resources(api_server, shared):
    refused = 0
    for bad in BAD:
        try:
            api_server.call(
                "POST", address(bad.document["kind"], shared), bad.document, dryRun="All"
            )
        except ApiException:
            refused += 1
    assert refused > 0.7 * len(BAD)


def test_a_reference_is_to_the_same_namespace_only(api_server, shared):
    elsewhere = changed(RUN, "spec.searchRef.name", "other/search")
    with pytest.raises(ApiException) as caught:
        api_server.call("POST", address(GPT, shared), elsewhere, dryRun="All")
    assert caught.value.status == 422
