"""Whatever is given, the answer is a resource or a SpecError."""

import copy
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgetran.api import KINDS, SpecError, dump, load_text, parse_resource, resolve, set_path
from edgetran.api.yaml_text import read_files

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=3)
    | st.sampled_from(["tiny", "x" * 500, "../..", "a\nb", "1", 10**300, -1, 0, 1e308, "\ud800"])
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=6) | st.integers(), inner, max_size=4)
    ),
    max_leaves=12,
)
DOCUMENTS = [
    document.data
    for document in read_files(sorted((Path(__file__).parents[3] / "examples").glob("*.yaml")))
]
RELAXED = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def outcome(function, *arguments):
    """What the function gives, and the lines of its SpecError; any other exception escapes."""
    try:
        return function(*arguments), []
    except SpecError as error:
        return None, str(error).splitlines()


def answered(data):
    """The resource, or None where a SpecError with readable lines was the answer."""
    resource, lines = outcome(parse_resource, data, "f.yaml")
    assert (resource is None) == bool(lines)
    for line in lines:
        assert line.isprintable()
        assert "pydantic" not in line.lower()
        assert "Input should" not in line
    return resource


def places(data, path=()):
    """Every place in plain data."""
    yield path
    if isinstance(data, dict):
        for key, value in data.items():
            yield from places(value, (*path, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from places(value, (*path, index))


@RELAXED
@given(ANYTHING)
def test_anything_is_answered(data):
    answered(data)


@RELAXED
@given(st.sampled_from(list(KINDS)), ANYTHING, ANYTHING)
def test_any_metadata_and_spec_are_answered(kind, metadata, spec):
    answered(
        {"apiVersion": "edgetran.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}
    )


@RELAXED
@given(st.data())
def test_good_resources_with_garbage_in_them_are_answered(data):
    document = copy.deepcopy(data.draw(st.sampled_from(DOCUMENTS)))
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(list(places(document))[1:]))
        holder = document
        for part in path[:-1]:
            holder = holder[part]
        if data.draw(st.booleans()):
            holder[path[-1]] = data.draw(ANYTHING)
        elif isinstance(holder, dict):
            holder[data.draw(st.text(max_size=6))] = data.draw(ANYTHING)
        if not isinstance(document, dict):
            break
    resource = answered(document)
    if resource is not None:
        text = dump(resource)
        assert dump(*load_text(text)) == text


@RELAXED
@given(st.text(max_size=60) | st.text(alphabet="ab:-[]{}#&*!|>'\"\n %@`~?,0", max_size=40))
def test_any_text_is_answered(text):
    _, lines = outcome(lambda: resolve(load_text(text)))
    assert all(line.isprintable() for line in lines)


@RELAXED
@given(
    st.text(max_size=30)
    | st.builds(
        "spec{}={}".format,
        st.text(alphabet=".[]abseed0devices", max_size=14),
        st.text(max_size=8),
    )
)
def test_any_setting_is_answered(setting):
    for document in DOCUMENTS[:3]:
        _, lines = outcome(set_path, document, setting)
        assert all(line.isprintable() for line in lines)


def test_data_that_holds_itself_is_answered():
    loop: dict = {}
    loop["metadata"] = loop
    assert answered(loop) is None
    assert answered({"kind": "GPTranRun", "spec": loop}) is None
