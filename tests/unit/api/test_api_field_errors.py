"""What is wrong with a field is said as Kubernetes says it."""

from hypothesis import given
from hypothesis import strategies as st

from edgetran.api.field_errors import (
    HIDDEN,
    duplicate,
    forbidden,
    invalid,
    not_found,
    required,
    shown,
    unsupported,
)


def test_each_kind_of_error_begins_with_the_words_of_field_error():
    assert invalid(0, "must be at least 1") == "Invalid value: 0: must be at least 1"
    assert invalid("a", "must be b") == 'Invalid value: "a": must be b'
    assert required("must be true") == "Required value: must be true"
    assert forbidden("immutable") == "Forbidden: immutable"
    assert duplicate("pi") == 'Duplicate value: "pi"'
    assert not_found("pi", "no device") == 'Not found: "pi": no device'
    assert unsupported("x", ["a", "b"]) == 'Unsupported value: "x": supported values: "a", "b"'
    assert unsupported(False, [True]) == "Unsupported value: false: supported values: true"
    assert unsupported("x", []) == 'Unsupported value: "x": supported values: none'


def test_a_value_is_shown_as_json_has_it_and_short():
    assert [shown(value) for value in (None, True, 2, 1.5, 60.0, float("nan"))] == [
        *("null", "true", "2", "1.5", "60", "nan")
    ]
    assert [shown(value) for value in ({}, [], {"a": 1, "b": 2}, [1], [1, 2])] == [
        *("{}", "[]", "{a, b}", "[1 entry]", "[2 entries]")
    ]
    assert shown('say "hi"\n') == r'"say \"hi\"\n"'
    assert shown("a" * 100) == f'"{"a" * 60}…"'
    assert shown(10**400) == "a whole number of more than 70 digits"


def test_a_hidden_value_and_a_password_in_an_address_are_not_repeated():
    assert shown(HIDDEN) == "<hidden, as it may hold a password>"
    assert "secret" not in shown("s3://key:secret@bucket/folder?token=secret")
    assert "secret" not in shown({"uri": "s3://key:secret@bucket"})


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists))
def test_whatever_the_value_is_it_stays_on_one_short_line(value):
    text = shown(value)
    assert text.isprintable()
    assert len(text) < 1000
