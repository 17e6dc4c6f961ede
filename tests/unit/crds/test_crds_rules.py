"""The rules in crds/ and the models give the same verdict, in the same words.

For each model, values that its schema allows are generated, completed with the schema's defaults as
an API server does, and judged twice: by the schema's CEL rules and list types, and by the model.
"""

import copy
import functools
import importlib.util
import itertools
import json
import re
from pathlib import Path

import cel_rules
import pytest
import structural_schema
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from schema_strategies import values

from edgetran.api import KINDS, parse_resource, refused_changes
from edgetran.api.base import ApiModel
from edgetran.api.yaml_text import read_files

ROOT = Path(__file__).resolve().parents[3]


def generator():
    spec = importlib.util.spec_from_file_location("crds", ROOT / "hack" / "crds.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CRDS = generator()


@functools.cache
def schema_of(model):
    json_schema = model.model_json_schema(by_alias=True)
    return CRDS.structural(json_schema, json_schema.get("$defs", {}))


def models_with_rules():
    """Every part of a spec that has a rule of its own, in CEL or by a list's type."""
    used = set()
    for kind in KINDS.values():
        used |= set(kind.model_json_schema(by_alias=True)["$defs"])
    pending, found = list(ApiModel.__subclasses__()), {}
    while pending:
        model = pending.pop()
        pending += model.__subclasses__()
        if model.RULES and model.__name__ in used and not model.__name__.endswith("Status"):
            found[model.__name__] = model
    return [found[name] for name in sorted(found)]


MODELS = models_with_rules()
_DEMAND = re.compile(r"\b(must|may) .*")
"""A rule's message without the field that an API server is told of: the model says its path."""


def repeated(schema, value):
    """Whether a list of the value has an entry twice that its type allows once."""
    if isinstance(value, dict):
        extra = schema.get("additionalProperties", {})
        return any(
            repeated(schema.get("properties", {}).get(key, extra), part)
            for key, part in value.items()
        )
    if not isinstance(value, list):
        return False
    kind = schema.get("x-kubernetes-list-type")
    entries = [json.dumps(part, sort_keys=True) for part in value]
    if kind == "map":
        keys = schema["x-kubernetes-list-map-keys"]
        entries = [json.dumps([part.get(key) for key in keys]) for part in value]
    if kind in ("set", "map") and len(set(entries)) < len(entries):
        return True
    return any(repeated(schema.get("items", {}), part) for part in value)


def verdicts(model, value):
    """What the schema's rules say, whether a list repeats itself, and what the model says."""
    schema = schema_of(model)
    complete = structural_schema.with_defaults(schema, value)
    said = list(cel_rules.broken(schema, complete))
    try:
        model.model_validate(value)
    except ValidationError as error:
        return said, repeated(schema, complete), str(error)
    return said, repeated(schema, complete), None


def agree(model, value):
    said, twice, refusal = verdicts(model, value)
    assert bool(said or twice) == (refusal is not None), (said, twice, refusal)
    if said and refusal is not None and not twice:
        words = [_DEMAND.search(message)[0] for message in said]
        assert any(word in refusal for word in words), (words, refusal)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
@settings(
    max_examples=50,
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(data=st.data())
def test_rules_and_models_give_the_same_verdict(model, data):
    agree(model, data.draw(values(schema_of(model))))


def test_most_parts_with_rules_are_looked_at():
    assert len(MODELS) >= 20


# For each rule one value that breaks it and nothing else, and one that is as near as can be.
HOME = {"name": "a", "host": True}
SEARCHED = {"task": {"name": "movie-reviews"}, "devices": [{"name": "a", "host": True}]}
INT8 = {**HOME, "precision": "int8"}
BOARD = {"name": "a", "nodeSelector": {"a": "b"}}
PI = {"name": "a", "simulation": "raspberry-pi-4-cpu"}
INLINE = {"layers": [2], "hiddenSizes": [64], "heads": [2], "feedForwardWidths": [128]}
NEAR = [
    ("Storage", {"uri": "s3://a/b"}, {"uri": "s3://a/../b"}),
    ("Storage", {"uri": "s3://a/b"}, {"uri": "s3:a/b"}),
    ("Storage", {"uri": "s3://a/b"}, {"uri": "s3://key:secret@a/b"}),
    ("Storage", {"uri": "files://a"}, {"uri": "file:///a"}),
    (
        "Storage",
        {"claim": {"name": "c", "subPath": "a%20b"}},
        {"claim": {"name": "c", "subPath": "a%2eb"}},
    ),
    (
        "Storage",
        {"claim": {"name": "c", "subPath": "a:b"}},
        {"claim": {"name": "c", "subPath": "a://b"}},
    ),
    ("Storage", {"uri": "s3://a/b"}, {"uri": "s3://a/b", "claim": {"name": "c"}}),
    ("Storage", {"uri": "s3://a", "secret": "s"}, {"claim": {"name": "c"}, "secret": "s"}),
    ("RaySpec", {"mode": "cluster", "address": "a:1"}, {"mode": "cluster"}),
    ("RaySpec", {}, {"mode": "local", "address": "a:1"}),
    ("BoundSpec", {"min": 1, "max": 1.0}, {"min": 1.5, "max": 1}),
    ("BoundSpec", {"max": 0}, {}),
    ("CountBound", {"min": 10**12, "max": 10**12}, {"min": 10**12, "max": 10**12 - 1}),
    ("FractionBound", {"min": 0.5, "max": 0.5}, {"min": 0.5000001, "max": 0.5}),
    ("Toleration", {"key": "a", "value": "b"}, {"operator": "Exists", "value": "b"}),
    ("EnergySettings", {"source": "external", "meter": "serial:/dev/a"}, {"source": "external"}),
    ("EnergySettings", {}, {"meter": "serial:/dev/a"}),
    ("EnergySettings", {"source": "hwmon", "rails": ["VDD_IN"]}, {"rails": ["VDD_IN"]}),
    (
        "EnergySettings",
        {"source": "external", "meter": "http://a/b..c"},
        {"source": "external", "meter": "http://a/../c"},
    ),
    (
        "EnergySettings",
        {"source": "external", "meter": "http://a/b@c"},
        {"source": "external", "meter": "http://b@c/a"},
    ),
    ("Device", HOME, {**HOME, "simulation": "raspberry-pi-4-cpu"}),
    ("Device", BOARD, {"name": "a"}),
    ("Device", PI, {**PI, "threads": 1}),
    ("Device", PI, {**PI, "engine": "onnxruntime"}),
    ("Device", HOME, {**HOME, "tolerations": []}),
    ("Device", {**BOARD, "tolerations": []}, {**HOME, "runtimeClassName": "nvidia"}),
    (
        "Device",
        {**BOARD, "engine": "onnxruntime", "accelerator": "cuda"},
        {**BOARD, "engine": "openvino", "accelerator": "cuda"},
    ),
    ("Device", {**HOME, "precision": "bf16"}, {**HOME, "precision": "fp16"}),
    ("Device", {**PI, "precision": "fp16"}, {**HOME, "precision": "fp16"}),
    (
        "Device",
        {**HOME, "precision": "int8", "quantization": {}},
        {**HOME, "precision": "bf16", "quantization": {}},
    ),
    (
        "Device",
        {**INT8, "engine": "onnxruntime", "quantization": {"method": "static"}},
        {**INT8, "engine": "torch", "quantization": {"method": "static"}},
    ),
    (
        "Device",
        {**PI, "precision": "int8", "quantization": {"method": "weight-only"}},
        {**INT8, "quantization": {"method": "weight-only"}},
    ),
    (
        "ExportTarget",
        {"engine": "openvino", "precision": "fp16"},
        {"engine": "onnxruntime", "precision": "fp16"},
    ),
    (
        "ExportTarget",
        {"precision": "int8", "quantization": {"method": "static"}},
        {"precision": "fp32", "quantization": {"method": "static"}},
    ),
    (
        "ExportTarget",
        {"engine": "torch", "precision": "int8", "quantization": {"method": "dynamic"}},
        {"engine": "torch", "precision": "int8", "quantization": {"method": "static"}},
    ),
    (
        "ExportTarget",
        {"engine": "litert", "precision": "int8", "quantization": {"method": "auto"}},
        {"engine": "litert", "precision": "int8", "quantization": {"method": "static"}},
    ),
    (
        "ExportTarget",
        {"engine": "onnxruntime", "precision": "int4"},
        {"engine": "executorch", "precision": "int4"},
    ),
    (
        "Device",
        {**HOME, "engine": "openvino", "precision": "int4"},
        {**HOME, "precision": "int4"},
    ),
    ("SearchDevice", {**BOARD, "profileRef": {"name": "a"}}, {**PI, "profileRef": {"name": "a"}}),
    ("Sampling", {"initial": 2, "maxMeasurements": 2}, {"initial": 3, "maxMeasurements": 2}),
    ("Sampling", {"maxMeasurements": 2}, {"initial": 65}),
    (
        "ProfilingJobSpec",
        {"device": HOME, "models": ["m"], "sampling": {"initial": 16}},
        {"device": HOME, "models": ["m"], "sampling": {"initial": 15}},
    ),
    ("ProfilingJobSpec", {"device": HOME, "models": ["m"]}, {"device": HOME}),
    ("FinalistsSource", {"searchRef": {"name": "s"}}, {}),
    (
        "ProfilingJobSpec",
        {"device": HOME, "finalistsOf": {"searchRef": {"name": "s"}}, "sampling": {"initial": 16}},
        {"device": HOME, "finalistsOf": {"searchRef": {"name": "s"}}, "sampling": {"initial": 9}},
    ),
    (
        "ProfilingJobSpec",
        {"device": HOME, "finalistsOf": {"searchRef": {"name": "s"}}},
        {
            "device": HOME,
            "finalistsOf": {"searchRef": {"name": "s"}},
            "warmStartFrom": [{"name": "m"}],
        },
    ),
    (
        "ProfilingJobSpec",
        {"device": HOME, "models": ["m"], "priors": ["a"]},
        {"device": HOME, "models": ["m"], "priors": ["a", "a"]},
    ),
    (
        "ProfilingJobSpec",
        {"device": HOME, "models": ["m", "n"]},
        {"device": HOME, "models": ["m", "m"]},
    ),
    (
        "ProfilingJobSpec",
        {"device": HOME, "designSpace": {"elastic": {}}, "parent": {"model": "m"}},
        {"device": HOME, "models": ["m"], "parent": {"model": "m"}},
    ),
    (
        "CoDesignSearchSpec",
        {**SEARCHED, "designSpace": {"elastic": {"layers": [1]}}, "parent": {"pythonPackage": "p"}},
        {**SEARCHED, "designSpace": {"elastic": {"layers": [1]}}},
    ),
    (
        "CoDesignSearchSpec",
        {
            **SEARCHED,
            "designSpace": {"elastic": {}},
            "parent": {"pythonPackage": "p"},
            "sharedWeights": {},
        },
        {**SEARCHED, "designSpace": {"preset": "tiny"}, "sharedWeights": {}},
    ),
    ("ParentModel", {"pythonPackage": "a.b-c"}, {"pythonPackage": "a", "model": "b"}),
    ("DesignSpaceSource", {"elastic": {}}, {"elastic": {}, "preset": "tiny"}),
    ("DesignSpaceSource", {"elastic": {"heads": [1]}}, {"elastic": {}, "heads": [1]}),
    ("ElasticChoices", {"headTypes": ["c_5", "sa_sdp"]}, {"headTypes": ["c_5", "c_5"]}),
    ("WeightsSpec", {"peakPower": 0.001}, {"accuracy": 0}),
    ("ObjectiveSpec", {"pareto": ["accuracy", "latency"]}, {"pareto": ["energy", "latency"]}),
    ("ObjectiveSpec", {"pick": "budget", "budget": {"latencyMs": 1}}, {"pick": "budget"}),
    ("ObjectiveSpec", {"pick": "knee"}, {"budget": {"latencyMs": 1}}),
    ("FrontBudget", {"parameters": 1}, {}),
    ("SearchSettings", {"maxTrials": 1}, {"maxTrials": 1, "parallelTrials": 2}),
    ("SearchSettings", {"maxTrials": 9, "initialTrials": 9}, {"maxTrials": 8, "initialTrials": 9}),
    ("TaskSource", {"folder": "a", "gluTask": None}, {"name": "movie-reviews", "glueTask": "rte"}),
    ("TaskSource", {"hub": "glue/rte"}, {"hub": "glue/rte", "folder": "a"}),
    ("TaskSource", {"folder": "a..b"}, {"folder": "a/.."}),
    ("TokenizerSource", {"vocabSize": 64}, {"vocabSize": 64, "folder": "a"}),
    ("DesignSpaceSource", INLINE, {**INLINE, "preset": "tiny"}),
    ("DesignSpaceSource", {"preset": "tiny"}, {}),
    ("DesignSpaceSource", INLINE, {key: INLINE[key] for key in list(INLINE)[1:]}),
    ("DesignSpaceSource", {**INLINE, "heads": [64]}, {**INLINE, "heads": [65]}),
    ("DesignSpaceSource", {**INLINE, "layers": [2, 3]}, {**INLINE, "layers": [2, 2]}),
    (
        "HomogeneousArchitecture",
        {"layers": 1, "hiddenSize": 8, "heads": 8, "feedForward": [8]},
        {"layers": 1, "hiddenSize": 8, "heads": 9, "feedForward": [8]},
    ),
    (
        "ModelDict",
        {"l": 2, "h": [64, 64], "f": [[8], [8, 8]], "o": [["sa_sdp_64"], ["c_5_64"] * 2]},
        {"l": 2, "h": [64, 64], "f": [[8], [8, 8]], "o": [["sa_sdp_64"]]},
    ),
    (
        "ModelDict",
        {"l": 1, "h": [64], "f": [[8]], "o": [["sa_wma_32", "l_dft_32", "c_9_32"]]},
        {"l": 1, "h": [64], "f": [[8]], "o": [["sa_wma_32", "l_dft_64"]]},
    ),
    (
        "ArchitectureSource",
        {"homogeneous": {"layers": 1, "hiddenSize": 8, "heads": 8, "feedForward": [8]}},
        {},
    ),
    ("Distillation", {"weight": 0, "hiddenWeight": 0.5}, {"weight": 0, "hiddenWeight": 0}),
    ("MlflowTracking", {"uri": "http://a"}, {"uri": "sqlite:///a"}),
    ("MlflowTracking", {"uri": "http://a/b"}, {"uri": "http://a/../b"}),
    ("DataSource", {"claim": {"name": "a"}}, {}),
    ("TargetsSpec", {"speedup": [2]}, {}),
    ("TargetsSpec", {"encoderReduction": [1.5]}, {}),
    ("TargetsSpec", {"speedup": [2, 4]}, {"speedup": [2, 4, 2.0]}),
    ("TargetsSpec", {"encoderReduction": [1.5]}, {"encoderReduction": [1.5, 1.5]}),
    ("GPTranRunSpec", {"searchRef": {"name": "a"}}, {"searchRef": {"name": "a"}, "model": "m"}),
    (
        "GPTranRunSpec",
        {"model": "m", "task": {"name": "movie-reviews"}, "device": HOME, "workload": {}},
        {"model": "m", "task": {"name": "movie-reviews"}, "workload": {}},
    ),
    (
        "GPTranRunSpec",
        {"model": "m", "task": {"name": "movie-reviews"}, "device": HOME},
        {"model": "m", "device": HOME},
    ),
    (
        "GPTranRunSpec",
        {"searchRef": {"name": "a"}},
        {"searchRef": {"name": "a"}, "workload": {}},
    ),
]


@pytest.mark.parametrize(
    ("name", "good", "bad"), NEAR, ids=[f"{i}-{case[0]}" for i, case in enumerate(NEAR)]
)
def test_each_rule_refuses_what_breaks_it_and_nothing_near_it(name, good, bad):
    (model,) = [model for model in MODELS if model.__name__ == name]
    good = {key: value for key, value in good.items() if value is not None}
    assert verdicts(model, good) == ([], False, None)
    said, twice, refusal = verdicts(model, bad)
    assert said or twice
    assert refusal is not None
    agree(model, bad)


def test_every_rule_in_cel_is_broken_by_some_case():
    broken = set()
    for name, _, bad in NEAR:
        (model,) = [model for model in MODELS if model.__name__ == name]
        broken |= {message.partition(": ")[2] for message in verdicts(model, bad)[0]}
    rules = {
        each["message"]
        for model in MODELS
        for _, schema, _ in cel_rules.rules(schema_of(model))
        for each in schema["x-kubernetes-validations"]
        if "oldSelf" not in each["rule"]
    }
    assert rules <= broken


def changes(schema, old, new, path=""):
    """Messages of the transition rules that the change from `old` to `new` breaks."""
    for each in schema.get("x-kubernetes-validations", ()):
        if "oldSelf" in each["rule"] and not cel_rules.holds(each["rule"], schema, new, old):
            yield f"{path}: {each['message']}"
    for name, part in schema.get("properties", {}).items():
        if isinstance(old.get(name), dict) and isinstance(new.get(name), dict):
            yield from changes(part, old[name], new[name], f"{path}.{name}".lstrip("."))


EXAMPLES = {document.data["kind"]: document.data for document in read_files([ROOT / "examples"])}
NEW_VALUES = {
    "suspend": True,
    "activeDeadlineSeconds": 77,
    "ttlSecondsAfterFinished": 77,
    "backoffLimit": 9,
    "storage": {"uri": "s3://other/place"},
    "podTemplate": {"spec": {"priorityClassName": "x"}, "metadata": {"labels": {"a": "b"}}},
    "seed": 77,
    "workload": {"batchSize": 3},
    "search": {"maxTrials": 77},
    "cycles": 7,
    "patience": 7,
    "parallelTrials": 3,
    "measurement": {"mode": "quick"},
    "training": {"steps": 77},
    "constraints": {"accuracy": {"min": 0.123}},
    "objective": {"weights": {"accuracy": 1}},
    "stages": ["pruneHeads"],
}
STATUSES = {
    "none": (None, False),
    "empty": ({}, False),
    "waiting": ({"activeSeconds": 0, "startTime": "2026-01-01T00:00:00Z"}, False),
    "no attempt ended": ({"endedAttempts": 0}, False),
    "running": ({"activeSince": "2026-01-01T00:00:00Z"}, True),
    "suspended": ({"activeSeconds": 60}, True),
    "failed at once": ({"endedAttempts": 1}, True),
    "ended": ({"completionTime": "2026-01-01T00:00:00Z"}, True),
}
"""Statuses, and whether a worker ever ran."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", STATUSES)
@pytest.mark.parametrize("change", ["another", "added", "taken away", "none"])
def test_a_pod_template_may_change_until_something_ran(kind, how, change):
    status, begun = STATUSES[how]
    old, new = copy.deepcopy(EXAMPLES[kind]), copy.deepcopy(EXAMPLES[kind])
    template = {"spec": {"nodeSelector": {"a": "b"}}}
    for document, has in ((old, change != "added"), (new, change != "taken away")):
        document["spec"].pop("podTemplate", None)
        if has:
            document["spec"]["podTemplate"] = copy.deepcopy(template)
        if status is not None:
            document["status"] = status
    if change == "another":
        new["spec"]["podTemplate"]["spec"]["nodeSelector"]["a"] = "c"
    schema = schema_of(KINDS[kind])
    complete = [structural_schema.with_defaults(schema, each) for each in (old, new)]
    by_rules = {each.partition(": ")[2] for each in changes(schema, *complete)}
    problems = refused_changes(parse_resource(old), parse_resource(new))
    assert by_rules == {problem.message.removeprefix("Forbidden: ") for problem in problems}
    assert bool(by_rules) == (begun and change != "none")


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        (kind, field)
        for kind, field in itertools.product(
            KINDS, [*NEW_VALUES, *("search.method", "search.maxTrials")]
        )
        if field.partition(".")[0] in schema_of(KINDS[kind])["properties"]["spec"]["properties"]
        and (kind, field) != ("GPTranRun", "workload")  # a refined search has its own
    ],
)
def test_a_change_is_refused_by_the_rules_exactly_where_the_models_refuse_it(kind, field):
    old = EXAMPLES[kind]
    new = copy.deepcopy(old)
    if field == "search.method":
        new["spec"].setdefault("search", {})["method"] = "random"
    elif field == "search.maxTrials":
        new["spec"].setdefault("search", {})["maxTrials"] = 99_999
    elif field == "search":
        new["spec"]["search"] = {**new["spec"].get("search", {}), **NEW_VALUES["search"]}
    else:
        assert new["spec"].get(field) != NEW_VALUES[field]
        new["spec"][field] = NEW_VALUES[field]
    schema = schema_of(KINDS[kind])
    complete = [structural_schema.with_defaults(schema, each) for each in (old, new)]
    by_rules = set(changes(schema, *complete))
    problems = refused_changes(parse_resource(old), parse_resource(new))
    by_models = {
        f"{p.path.rpartition('.')[0]}: {p.message.removeprefix('Forbidden: ')}" for p in problems
    }
    assert by_rules == by_models
    assert bool(by_models) == (
        field
        not in {
            "podTemplate",
            "suspend",
            "activeDeadlineSeconds",
            "ttlSecondsAfterFinished",
            "backoffLimit",
            "cycles",
            "patience",
            "parallelTrials",
            "search",
            "search.maxTrials",
        }
    )
