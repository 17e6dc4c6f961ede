"""The models are fit for CRDs: closed, bounded, described, with names that leave room."""

import json
import re

import pytest
from pydantic import ValidationError

from edgetran.api import (
    KINDS,
    ArchitectureSource,
    CoDesignSearch,
    DesignSpaceSource,
    Device,
    SearchSettings,
    WeightsSpec,
)
from edgetran.api.base import ApiModel


def objects(kind):
    """Every object schema of the kind, with the name of its model."""
    schema = KINDS[kind].model_json_schema()
    yield kind, schema
    yield from schema["$defs"].items()


def alternatives(schema):
    return [part for part in schema.get("anyOf", [schema]) if part.get("type") != "null"]


def leaves(schema):
    """`schema` and the schemas of items and values below it."""
    for part in alternatives(schema):
        yield part
        if "items" in part:
            yield from leaves(part["items"])
        if isinstance(part.get("additionalProperties"), dict):
            yield from leaves(part["additionalProperties"])


# Set by the API server, or numbers of a status that the operator alone writes.
UNBOUNDED_MODELS = {"ObjectMeta", "OwnerReference"}
OF_A_STATUS = re.compile(
    r"Status$|^CandidateSummary$|^MeasureValue$|^CostRange$|^PredictionError$|^Condition$"
    r"|^MeasuredFinalist$"
)


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_property_and_every_model_has_a_description(kind):
    for model, schema in objects(kind):
        assert schema["description"].strip(), model
        for name, field in schema.get("properties", {}).items():
            assert re.search(r"\w.*\.$", field["description"], re.DOTALL), (model, name)


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_object_is_closed(kind):
    for model, schema in objects(kind):
        assert schema["additionalProperties"] is False, model


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_string_list_map_and_number_is_bounded(kind):
    for model, schema in objects(kind):
        for name, field in schema.get("properties", {}).items():
            if model in UNBOUNDED_MODELS or name in ("apiVersion", "kind"):
                continue
            for part in leaves(field):
                where = (model, name, part)
                if part.get("type") == "string":
                    assert {"enum", "maxLength", "format"} & set(part), where
                if part.get("type") == "array":
                    assert "maxItems" in part, where
                if part.get("type") == "object" and "additionalProperties" in part:
                    free = part.get("x-kubernetes-preserve-unknown-fields")
                    assert "maxProperties" in part or free, where
                if part.get("type") in ("integer", "number") and not OF_A_STATUS.search(model):
                    assert {"minimum", "exclusiveMinimum"} & set(part), where
                    assert {"maximum", "exclusiveMaximum"} & set(part), where


@pytest.mark.parametrize("kind", list(KINDS))
def test_nothing_stands_in_a_schema_that_a_structural_one_may_not_have(kind):
    text = json.dumps(KINDS[kind].model_json_schema())
    for word in ("patternProperties", '"const"', "prefixItems", "propertyNames", '"oneOf"'):
        assert word not in text, word


@pytest.mark.parametrize("kind", list(KINDS))
def test_unions_are_only_with_null(kind):
    for model, schema in objects(kind):
        for name, field in schema.get("properties", {}).items():
            assert len(alternatives(field)) == 1, (model, name)


@pytest.mark.parametrize("kind", list(KINDS))
def test_rules_travel_into_the_schema_with_their_words(kind):
    names = {name for name, _ in objects(kind)}
    seen = 0
    for model, schema in objects(kind):
        for rule in schema.get("x-kubernetes-validations", []):
            seen += 1
            assert rule["rule"].count("(") == rule["rule"].count(")"), (model, rule)
            assert re.search(r"\b(must|may|is immutable)\b", rule["message"]), (model, rule)
            for field in re.findall(r"(?:self|oldSelf)\.(\w+)(?!\w*\()", rule["rule"]):
                assert field in schema["properties"], (model, rule)
    assert names
    assert seen > 10


def test_names_of_rules_are_distinct_within_a_model():
    def models(model):
        yield model
        for part in model.__subclasses__():
            yield from models(part)

    for model in models(ApiModel):
        rules = [rule.name for rule in model.RULES]
        assert len(set(rules)) == len(rules), model


def test_rules_hold_for_models_made_in_python_too():
    with pytest.raises(ValidationError, match="must set exactly one of host, simulation"):
        Device(name="here")
    with pytest.raises(
        ValidationError, match="Invalid value: 0: must have at least one of accuracy"
    ):
        WeightsSpec()


def test_models_do_not_change():
    settings = SearchSettings()
    with pytest.raises(ValidationError):
        settings.max_trials = 3


def test_weights_left_out_are_zero_and_none_given_are_the_published_ones():
    assert WeightsSpec(accuracy=1.0).latency == 0
    search = CoDesignSearch.model_fields["spec"].annotation
    weights = search.model_fields["objective"].default.weights
    assert (weights.accuracy, weights.latency, weights.energy, weights.peak_power) == (
        0.5,
        0.2,
        0.2,
        0.1,
    )


def test_initial_trials_never_exceed_a_small_budget_by_default():
    assert SearchSettings(max_trials=3).initial_design == 3
    assert SearchSettings(max_trials=100).initial_design == 8


def test_a_shape_becomes_the_published_model_dict():
    source = ArchitectureSource.model_validate(
        {"homogeneous": {"layers": 2, "hiddenSize": 128, "heads": 12, "feedForward": [512, 256]}}
    )
    model_dict = source.to_model_dict()
    assert model_dict == {
        "l": 2,
        "h": [128, 128],
        "f": [[512, 256], [512, 256]],
        "o": [["sa_sdp_10"] * 12] * 2,
    }
    again = ArchitectureSource.model_validate({"modelDict": model_dict})
    assert again.to_model_dict() == model_dict


def test_a_design_space_is_given_whole():
    assert DesignSpaceSource(preset="tiny").to_mapping() == {"preset": "tiny"}
    inline = DesignSpaceSource.model_validate(
        {"layers": [2], "hiddenSizes": [64], "heads": [2], "feedForwardWidths": [128]}
    )
    assert inline.to_mapping() == {
        "layers": [2],
        "hiddenSizes": [64],
        "heads": [2],
        "headTypes": ["sa_sdp", "sa_wma", "l_dft", "l_dct", "c_5", "c_9", "c_13"],
        "feedForwardWidths": [128],
        "maxFeedForwardStack": 1,
    }


@pytest.mark.parametrize("kind", list(KINDS))
def test_defaults_in_the_schema_are_those_of_the_models_and_have_no_nulls(kind):
    for model, schema in objects(kind):
        for name, field in schema.get("properties", {}).items():
            if "default" in field:
                assert "null" not in json.dumps(field["default"]), (model, name)
