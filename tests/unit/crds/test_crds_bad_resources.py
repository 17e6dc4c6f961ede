"""Hundreds of bad resources: each is refused with sentences that help."""

import re
from pathlib import Path

import pytest
import yaml
from bad_resources import GOOD, by_hand, generated

from edgetran.api import SpecError, parse_resource

ROOT = Path(__file__).resolve().parents[3]


def schemas():
    definitions = [
        yaml.load(file.read_text(), yaml.CSafeLoader) for file in (ROOT / "crds").glob("*.yaml")
    ]
    return {
        definition["spec"]["names"]["kind"]: definition["spec"]["versions"][0]["schema"][
            "openAPIV3Schema"
        ]
        for definition in definitions
    }


_KUBERNETES = re.compile(
    r"(Invalid value: .+: must .+|Required value: must .+|Forbidden: .+|Duplicate value: .+"
    r"|Unsupported value: .+: supported values: .+)"
)
HAND = by_hand()
GENERATED = generated(schemas(), 150)


@pytest.mark.parametrize("kind", GOOD)
def test_what_they_are_made_from_is_good(kind):
    parse_resource(GOOD[kind])


def test_there_are_hundreds():
    assert len(HAND) >= 100
    assert len(GENERATED) >= 100
    assert len({bad.name for bad in HAND + GENERATED}) == len(HAND + GENERATED)


@pytest.mark.parametrize("bad", HAND + GENERATED, ids=lambda bad: bad.name)
def test_each_is_refused_with_its_place_and_what_it_must_be(bad):
    with pytest.raises(SpecError) as caught:
        parse_resource(bad.document)
    problems = caught.value.problems
    parent = bad.place.rpartition(".")[0]
    assert any(problem.path.startswith((bad.place, parent)) for problem in problems)
    for problem in problems:
        assert _KUBERNETES.match(problem.message)
        assert len(problem.message) < 1500
        assert problem.message.isprintable()
