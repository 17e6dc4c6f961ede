"""What a current Kubernetes says of the definitions and of resources: by its own code."""

import copy
import functools
import json

import crd_judge
import pytest
import yaml
from bad_resources import CDS, GOOD, PJ, by_hand, changed, generated
from crd_judge import DEFINITIONS, ROOT
from helm_python import Chart
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schema_strategies import values

from edgetran.api import KINDS, SpecError, parse_resource, refused_changes
from edgetran.api.yaml_text import read_files

pytestmark = pytest.mark.integration

RULE_BUDGET = 10_000_000
DEFINITION_BUDGET = 100_000_000
"""What an API server lets a rule, and all rules of a definition, cost."""

DRAWN = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
EXAMPLES = read_files([ROOT / "examples"])


@functools.cache
def definition(kind):
    documents = (yaml.load(file.read_text(), yaml.CSafeLoader) for file in DEFINITIONS)
    return next(each for each in documents if each["spec"]["names"]["kind"] == kind)


def schema_of(kind):
    return definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def spec_schema(kind):
    return schema_of(kind)["properties"]["spec"]


def test_every_definition_is_accepted(judge):
    assert len(DEFINITIONS) == len(KINDS)
    assert judge.refused(DEFINITIONS) == ""


def test_the_charts_definitions_are_accepted(judge, tmp_path):
    files = Chart.load(ROOT / "charts" / "edgetran").render({}, name="e", namespace="e")
    rendered = {path: text for path, text in files.items() if "/crds/" in path}
    assert len(rendered) == len(KINDS)
    paths = [tmp_path / path.rpartition("/")[2] for path in rendered]
    for path, text in zip(paths, rendered.values(), strict=True):
        path.write_text(text)
    assert judge.refused(paths) == ""


LIST = {"type": "array", "items": {"type": "string"}, "description": "x"}


@pytest.mark.parametrize(
    ("place", "change", "words"),
    [
        ("spec.ray", {"default": {}}, "no such key"),
        ("spec.search", {"default": {"maxTrial": 3}}, "must not have"),
        ("spec.suspend", {"default": "no"}, "must be of type boolean"),
        ("spec.suspend", {"type": "flag"}, "Unsupported value"),
        ("spec.seed", {"x-kubernetes-validations": [{"rule": "self == 'a'"}]}, "no matching"),
        (
            "spec.podTemplate",
            {"x-kubernetes-validations": [{"rule": "self.all(a, self.all(b, a != b))"}]},
            "",
        ),
        (
            "spec.search.properties.more",
            {**LIST, "x-kubernetes-validations": [{"rule": "self.all(a, self.all(b, a == b))"}]},
            "exceeds budget",
        ),
    ],
)
def test_a_mistake_in_a_definition_is_found(judge, tmp_path, place, change, words):
    wrong = copy.deepcopy(definition(CDS))
    part = wrong["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for name in place.split("."):
        part = (
            part.setdefault(name, {})
            if name in ("properties", "more")
            else part["properties"][name]
        )
    part.update(change)
    file = tmp_path / "wrong.yaml"
    file.write_text(json.dumps(wrong))
    said = judge.refused([file])
    assert said
    assert words in said


def object_defaults(schema, path=""):
    for name, part in schema.get("properties", {}).items():
        if isinstance(part.get("default"), dict):
            yield f"{path}.{name}", part
        yield from object_defaults(part, f"{path}.{name}")


@pytest.mark.parametrize("kind", KINDS)
def test_the_default_of_an_object_is_complete_in_itself(kind):
    found = dict(object_defaults(schema_of(kind)))
    assert any("x-kubernetes-validations" in part for part in found.values())
    for path, part in found.items():
        for name, inner in part.get("properties", {}).items():
            if "default" in inner:
                assert name in part["default"], f"{path}.{name}"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("release", ["1.25", "1.36"])
def test_rules_are_known_and_stay_far_below_what_a_server_lets_them_cost(judge, kind, release):
    costs = [each["cost"] for each in judge.costs(release) if each["kind"].endswith(f"/{kind}")]
    assert len(costs) > 20
    assert max(costs) < RULE_BUDGET / 10
    assert sum(costs) < DEFINITION_BUDGET / 10


@pytest.mark.parametrize("document", EXAMPLES, ids=lambda document: document.data["kind"])
def test_every_example_is_accepted_and_means_the_same(judge, document):
    verdict = judge.created(document.data)
    assert (verdict.errors, verdict.unknown) == ([], [])
    assert parse_resource(verdict.object).spec == parse_resource(document.data).spec


def model_refuses(document):
    try:
        parse_resource(document)
    except SpecError as error:
        return "; ".join(problem.message for problem in error.problems)
    return None


KEYS = "A structural schema has no pattern for the keys of a map; the operator's condition says it."
LEFT_TO_THE_OPERATOR = {
    ("spec.device.nodeSelector", "a/b/c"): KEYS,
    ("spec.device.nodeSelector", ""): KEYS,
}
"""What passes a current server, by place and key, and why."""


def left_to_the_operator(bad):
    found = bad.document
    for name in bad.place.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    keys = list(found) if isinstance(found, dict) else []
    return any((bad.place, key) in LEFT_TO_THE_OPERATOR for key in keys)


@pytest.mark.parametrize(
    "bad",
    by_hand() + generated({kind: schema_of(kind) for kind in KINDS}, 150),
    ids=lambda bad: bad.name,
)
def test_a_bad_resource_is_refused_or_its_unknown_field_named(judge, bad):
    verdict = judge.created(bad.document)
    if bad.unknown:  # dropped; kubectl asks the server to be strict and shows this as an error
        assert bad.place in [each.replace(" ", "") for each in verdict.unknown]
        return
    assert bool(verdict.errors) != left_to_the_operator(bad)
    assert model_refuses(bad.document)


@st.composite
def resources(draw, kind, most=3):
    """A resource with some fields of its spec drawn from what the schema allows."""
    document = copy.deepcopy(GOOD[kind])
    fields = spec_schema(kind)["properties"]
    names = draw(st.lists(st.sampled_from(sorted(fields)), max_size=most, unique=True))
    for name in names:
        document["spec"][name] = draw(values(fields[name]))
    return document


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_models_accept_is_accepted_and_means_the_same(judge, kind):
    accepted = 0

    @DRAWN
    @given(document=resources(kind))
    def agree(document):
        nonlocal accepted
        refusal, verdict = model_refuses(document), judge.created(document)
        if refusal is None:
            accepted += 1
            assert (verdict.errors, verdict.unknown) == ([], [])
            assert parse_resource(verdict.object).spec == parse_resource(document).spec
        else:
            assert verdict.errors, refusal

    agree()
    assert accepted > 30


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_is_refused_exactly_where_the_models_refuse_it(judge, kind):
    counts = {True: 0, False: 0}

    @DRAWN
    @given(old=resources(kind, most=2), data=st.data())
    def agree(old, data):
        fields = spec_schema(kind)["properties"]
        new = copy.deepcopy(old)
        name = data.draw(st.sampled_from(sorted(fields)))
        new["spec"][name] = data.draw(values(fields[name]))
        if model_refuses(old) or model_refuses(new):
            return
        problems = refused_changes(parse_resource(old), parse_resource(new))
        said = judge.updated(old, new).errors
        assert bool(said) == bool(problems), (said, problems)
        for problem in problems:
            words = problem.message.removeprefix("Forbidden: ")
            assert any(words in each for each in said), (problem, said)
        counts[bool(problems)] += 1

    agree()
    assert min(counts.values()) > 3, counts


def test_a_status_is_judged_and_a_spec_beside_it_is_left_alone(judge):
    old = judge.created(GOOD[PJ]).object
    new = changed({**old, "status": {"progress": "1/2"}}, "spec.seed", 5)
    verdict = judge.updated(old, new, status=True)
    assert verdict.errors == []
    assert verdict.object["status"]["progress"] == "1/2"
    assert verdict.object["spec"]["seed"] == old["spec"]["seed"]
    wrong = {**old, "status": {"progress": "half"}}
    assert judge.updated(old, wrong, status=True).errors


def test_where_the_checker_cannot_be_built_the_summary_says_what_was_not_checked(
    monkeypatch, tmp_path
):
    broken = tmp_path / "build"
    broken.write_text("#!/bin/sh\necho 'apt-get is missing here' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(crd_judge, "BUILD", broken)
    words = "NOT CHECKED against a current Kubernetes: apt-get is missing here"
    with pytest.warns(UserWarning, match=words), pytest.raises(pytest.skip.Exception, match=words):
        crd_judge.crd_server_folder()
