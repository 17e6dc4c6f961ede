"""What others wrote, measured before it is parsed."""

import contextlib
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from poison import brackets, deep

from edgetran_operator.kube.border import (
    MOST_LEVELS,
    MOST_VALUES,
    OBJECT_BYTES,
    UNREADABLE,
    PageSplitter,
    UnreadableError,
    read_event,
    read_json,
    read_object,
)

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",))),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text('ab{}[]"\\', max_size=6), inner)
    ),
    max_leaves=30,
)


@given(VALUES, st.booleans())
def test_json_of_a_sensible_size_is_read_as_any_parser_reads_it(value, escaped):
    assert read_json(json.dumps(value, ensure_ascii=escaped)) == value


@given(st.text() | st.text('[]{}",:\\u0d8', max_size=200) | st.binary())
def test_whatever_comes_is_read_or_refused(data):
    with contextlib.suppress(UnreadableError):
        json.dumps(read_json(data), ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (brackets(100_000), "TooDeep"),
        (brackets(4096), "TooDeep"),
        ('{"a":' * 1500 + "1" + "}" * 1500, "TooDeep"),
        ('"' + brackets(10), "NotJSON"),
        (deep(MOST_LEVELS + 1), "TooDeep"),
        ("9" * 5000, "BadNumber"),
        ("1e999", "BadNumber"),
        ('{"a": NaN}', "BadNumber"),
        ("[-Infinity]", "BadNumber"),
        ('"\\ud800"', "NotUnicode"),
        ('{"\\udfff": 1}', "NotUnicode"),
        ('"\ud800"', "NotUnicode"),
        (b'"\xed\xa0\x80"', "NotUnicode"),
        (b'"\xff"', "NotUnicode"),
        ("[" + "0," * MOST_VALUES + "0]", "TooManyValues"),
        ('"' + "x" * OBJECT_BYTES + '"', "TooLarge"),
        ("[1, 2", "NotJSON"),
        ("]", "NotJSON"),
        ("", "NotJSON"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_what_no_parser_should_see_is_refused_with_the_reason(text, reason):
    with pytest.raises(UnreadableError) as caught:
        read_json(text)
    assert caught.value.reason == reason


def test_brackets_within_texts_do_not_count():
    assert read_json(json.dumps(brackets(1000) + '"\\')) == brackets(1000) + '"\\'
    assert read_json(deep(MOST_LEVELS))
    assert read_json('"\\ud83d\\ude00"') == "\N{GRINNING FACE}"


def test_metadata_and_status_of_a_resource_whose_spec_is_poison_are_saved():
    text = (
        b'{"kind":"ProfilingJob","metadata":{"name":"p","labels":{"a":"b"},"x":%b},'
        b'"spec":{"podTemplate":%b,"name":"not me"},"status":{"failures":2}}'
    ) % (deep().encode(), deep().encode())
    body = read_object(text)
    assert body[UNREADABLE][0] == "TooDeep"
    assert (body["metadata"]["name"], body["metadata"]["labels"]) == ("p", {"a": "b"})
    assert body["status"] == {"failures": 2}
    assert "spec" not in body
    event = read_event(b'{"type":"MODIFIED","object":%s}' % text)
    assert event["type"] == "MODIFIED"
    assert event["object"] == body


def test_nothing_is_saved_of_an_object_without_a_name():
    with pytest.raises(UnreadableError):
        read_object(b'{"metadata":%s}' % deep().encode())
    with pytest.raises(UnreadableError):
        read_event(brackets(100_000).encode())


@pytest.mark.parametrize("text", ['{"a":' * 200_000, "[[]," * 300_000, '"a",' * 500_000])
def test_the_largest_poison_costs_a_moment(text):
    """In the processor's time, far below what holds the event loop up for others."""
    raw = b'{"metadata":{"name":"p"},"spec":%s}' % text.encode()
    started = time.process_time()
    with pytest.raises(UnreadableError):
        read_json(raw)
    with contextlib.suppress(UnreadableError):
        read_object(raw)
    assert time.process_time() - started < 3


ITEMS = st.lists(
    st.dictionaries(st.text('items[]{}"\\,', max_size=8), VALUES, max_size=3), max_size=5
)


@given(ITEMS, st.integers(1, 40), st.booleans())
def test_a_page_that_comes_in_pieces_is_taken_apart(items, size, items_first):
    head = {"kind": "List", "metadata": {"continue": "x", "items": [1]}}
    page = {"items": items, **head} if items_first else {**head, "items": items}
    raw = json.dumps(page).encode()
    splitter = PageSplitter()
    found = []
    for start in range(0, len(raw), size):
        found += splitter.feed(raw[start : start + size])
    assert [json.loads(each) for each in found] == items
    assert splitter.head() == {**head, "items": []}


def test_an_object_that_is_larger_than_any_leaves_a_gap_and_nothing_else():
    huge = b'{"x":[' + b'"0123456789",' * (OBJECT_BYTES // 10) + b"1]}"
    raw = b'{"items":[{"a":1},%s,{"b":2}],"metadata":{}}' % huge
    splitter = PageSplitter()
    found = []
    for start in range(0, len(raw), 2**16):
        found += splitter.feed(raw[start : start + 2**16])
    assert found == [b'{"a":1}', b"", b'{"b":2}']
