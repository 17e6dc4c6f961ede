"""crds/ is what the models give, and what every supported Kubernetes accepts."""

import copy
import subprocess
import sys
from pathlib import Path

import cel_rules
import jsonschema
import pytest
import structural_schema
import yaml
from kubernetes_schemas import RELEASES, ValidationError, check

from edgetran.api import KINDS, NAME_LIMITS

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted((ROOT / "crds").glob("*.yaml"))
GENERATOR = ROOT / "hack" / "crds.py"


def loaded():
    return {
        definition["spec"]["names"]["kind"]: definition
        for definition in (yaml.load(file.read_text(), yaml.CSafeLoader) for file in FILES)
    }


DEFINITIONS = loaded()


def schema_of(kind):
    (version,) = DEFINITIONS[kind]["spec"]["versions"]
    return version["schema"]["openAPIV3Schema"]


def place(schema, *path):
    for part in path:
        schema = schema["items"] if part == "[]" else schema["properties"][part]
    return schema


def generate(*arguments):
    command = [sys.executable, str(GENERATOR), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_files_are_what_the_models_give():
    assert generate("--check").returncode == 0, "run: make crds"
    assert len(FILES) == len(KINDS)


def test_drift_is_told_with_the_file_and_the_remedy(tmp_path):
    for folder in ("hack", "crds"):
        (tmp_path / folder).mkdir()
    script = tmp_path / "hack" / "crds.py"
    for file in (GENERATOR, GENERATOR.with_name("generated.py")):
        (script.parent / file.name).write_text(file.read_text())

    def check():
        return subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True)

    assert check().returncode == 1
    assert subprocess.run([sys.executable, script], check=True)
    assert check().returncode == 0
    file = tmp_path / "crds" / FILES[0].name
    file.write_text(file.read_text().replace("maximum: 100\n", "maximum: 99\n", 1))
    assert f"{file.name} is stale: make crds" in check().stderr
    assert subprocess.run([sys.executable, script], check=True)
    assert file.read_text() == FILES[0].read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_names_columns_and_subresources(kind):
    definition = DEFINITIONS[kind]
    names = definition["spec"]["names"]
    (version,) = definition["spec"]["versions"]
    assert definition["metadata"]["name"] == f"{names['plural']}.edgetran.io"
    assert names["categories"] == ["edgetran"]
    assert names["shortNames"] == [KINDS[kind].SHORT_NAME]
    assert names["singular"] == kind.lower()
    assert version["subresources"] == {"status": {}}
    always = [c["name"] for c in version["additionalPrinterColumns"] if not c.get("priority")]
    assert always[:2] == ["Succeeded", "Progress"]
    assert {"Latency-ms", "Device"} < set(always)
    assert always[-1] == "Age"


@pytest.mark.parametrize("kind", KINDS)
def test_every_column_shows_a_field_that_exists(kind):
    (version,) = DEFINITIONS[kind]["spec"]["versions"]
    for column in version["additionalPrinterColumns"]:
        path = column["jsonPath"].lstrip(".")
        if path == "metadata.creationTimestamp":
            continue
        path = path.replace('[?(@.type=="Succeeded")]', ".[]")
        found = place(schema_of(kind), *path.split("."))
        assert found["type"] == column["type"], column


@pytest.mark.parametrize("release", RELEASES)
def test_every_release_of_kubernetes_knows_each_field_of_the_definitions(release):
    for definition in DEFINITIONS.values():
        check(definition, release)


def test_a_field_that_a_release_does_not_know_is_found():
    assert len(RELEASES) > 10
    wrong = copy.deepcopy(DEFINITIONS["ProfilingJob"])
    place(wrong["spec"]["versions"][0]["schema"]["openAPIV3Schema"], "spec")["maximun"] = 3
    with pytest.raises(ValidationError):
        check(wrong, RELEASES[0])


@pytest.mark.parametrize("kind", KINDS)
def test_the_schema_is_structural_and_everything_in_it_bounded(kind):
    assert list(structural_schema.problems(schema_of(kind))) == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_number_of_a_spec_is_bounded(kind):
    spec = place(schema_of(kind), "spec")
    for path, part in structural_schema.parts(spec, ".spec"):
        if part["type"] in ("integer", "number"):
            assert "minimum" in part, path
            assert "maximum" in part, path


WRONG = [
    (("spec", "suspend"), {"type": None}, "type"),
    (("spec", "suspend"), {"$ref": "#/x"}, "$ref"),
    (("spec", "suspend"), {"default": "no"}, "default"),
    (("spec", "workload"), {"default": {"batchSise": 1}}, "unknown fields"),
    (("spec", "workload"), {"additionalProperties": {"type": "string"}}, "exclude each other"),
    (("spec", "workload"), {"nullable": True}, "nullable"),
    (("spec", "workload"), {"required": ["size"]}, "required and unknown"),
    (("status", "conditions"), {"x-kubernetes-list-map-keys": ["tipe"]}, "no scalar field"),
    (("status", "conditions"), {"x-kubernetes-list-type": "set"}, "a set of what is no scalar"),
    (("status", "results"), {"items": None}, "without items"),
    (("status", "node"), {"pattern": "(?=a)"}, "RE2"),
    (("metadata",), {"properties": {"labels": {"type": "object"}}}, "only name"),
    (("spec", "seed"), {"exclusiveMinimum": 0}, "is a flag"),
]


@pytest.mark.parametrize(("path", "change", "words"), WRONG)
def test_the_check_of_structural_schemas_finds_mistakes(path, change, words):
    schema = copy.deepcopy(schema_of("ProfilingJob"))
    part = place(schema, *path)
    for key, value in change.items():
        part.pop(key, None)
        if value is not None:
            part[key] = value
    assert any(words in problem for problem in structural_schema.problems(schema))


@pytest.mark.parametrize("kind", KINDS)
def test_every_rule_fits_the_types_of_its_fields(kind):
    found = list(cel_rules.rules(schema_of(kind)))
    assert len(found) > 20
    for path, schema, rule in found:
        assert cel_rules.compile_typed(rule, schema).return_type().name() == "BOOL", (path, rule)


@pytest.mark.parametrize(
    "rule",
    ["self.seed == 'a'", "self.sede == 1", "self.sampling > 1", "self.models > 1.0", "size(self"],
)
def test_a_rule_that_does_not_fit_is_found(rule):
    schema = place(schema_of("ProfilingJob"), "spec")
    with pytest.raises(Exception, match=r"no matching overload|undefined field|Syntax error"):
        cel_rules.compile_typed(rule, schema)


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_bounded_where_a_server_knows_no_rules_too(kind):
    name = place(schema_of(kind), "metadata", "name")
    validator = jsonschema.Draft4Validator(name)
    assert validator.is_valid("a" * NAME_LIMITS[kind])
    assert not validator.is_valid("a" * (NAME_LIMITS[kind] + 1))
    assert not validator.is_valid("a.b")


@pytest.mark.parametrize("kind", KINDS)
def test_no_set_holds_numbers_as_a_server_cannot_compare_such_sets(kind):
    def sets(schema):
        if schema.get("x-kubernetes-list-type") == "set":
            yield schema["items"]["type"]
        below = [schema["items"]] if "items" in schema else []
        for part in (*schema.get("properties", {}).values(), *below):
            yield from sets(part)

    found = list(sets(schema_of(kind)))
    assert found
    assert "number" not in found
