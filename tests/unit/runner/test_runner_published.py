"""Results in parts: what goes in comes out, and nothing gets out of the run's folder."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetran.records import JsonLog, read_records
from edgetran.runner.published import (
    PublishedError,
    encode,
    file_record,
    read_part,
    write_folder,
)

NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=10,
)
RECORDS = st.lists(
    st.tuples(
        st.sampled_from(["trials.jsonl", "profiles/board.jsonl", "gptran/tree.jsonl"]),
        st.dictionaries(st.text(max_size=8), JSON, max_size=4),
    ),
    max_size=20,
)


def line_of(record):
    return json.dumps(record, separators=(",", ":"), allow_nan=False).encode()


def part_of(*entries):
    return gzip.compress(b"".join(encode(log, line_of(record)) for log, record in entries))


@given(RECORDS)
def test_records_come_out_as_they_went_in(records):
    lines = read_part(part_of(*records))
    assert [(log, json.loads(line)) for log, line in lines] == records
    assert [line for _, line in lines] == [line_of(record) for _, record in records]


def test_a_folder_made_of_parts_holds_the_bytes_of_the_logs(tmp_path: Path):
    here = tmp_path / "here"
    log = JsonLog(here / "trials.jsonl")
    for number in range(5):
        log.append({"number": number, "text": "ü → \u2028"})
    JsonLog(here / "profiles/board.jsonl").append({"kind": "measurement"})
    (here / "spec.yaml").write_text("kind: X\n")
    (here / "result.json").write_text(json.dumps({"name": "x"}, indent=2))
    trials = [("trials.jsonl", record) for record in read_records(here / "trials.jsonl")]
    parts = [
        part_of(("spec.yaml", {"text": "kind: OLD\n"}), *trials[:2]),
        b"",
        part_of(
            *trials[2:],
            ("profiles/board.jsonl", {"kind": "measurement"}),
            ("spec.yaml", json.loads(file_record(here / "spec.yaml"))),
            ("result.json", json.loads(file_record(here / "result.json"))),
        ),
    ]
    write_folder(parts, tmp_path / "there")
    for name in ("trials.jsonl", "profiles/board.jsonl", "spec.yaml"):
        assert (tmp_path / "there" / name).read_bytes() == (here / name).read_bytes()
    assert json.loads((tmp_path / "there/result.json").read_text()) == {"name": "x"}


@pytest.mark.parametrize(
    "log",
    [
        "../trials.jsonl",
        "/etc/passwd.json",
        "a/../../b.json",
        ".hidden.jsonl",
        "profiles/.ssh/x.json",
        "a//b.json",
        "a\\..\\b.json",
        "trials.py",
        "x.jsonl\n",
        "a/b/c/d/e/f.json",
        "",
    ],
)
def test_a_record_of_a_file_that_is_no_log_is_refused(tmp_path: Path, log: str):
    part = gzip.compress(json.dumps({"log": log, "record": {}}).encode() + b"\n")
    with pytest.raises(PublishedError, match=r"results part 0: line 1 is not a record of a file"):
        write_folder([part], tmp_path / "there")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (b"not gzip", "is not gzip"),
        (part_of(("a.jsonl", {}))[:-4], "not one whole gzip stream"),
        (part_of(("a.jsonl", {})) * 2, "not one whole gzip stream"),
        (gzip.compress(b"text\n"), "line 1 is not a record"),
        (gzip.compress(b"[1]\n"), "line 1 is not a record"),
        (gzip.compress(b'{"log": "a.jsonl", "record": 3}\n'), "line 1 is not a record"),
        (gzip.compress(b'{"log": 3, "record": {}}\n'), "line 1 is not a record"),
        (gzip.compress(bytes(65 * 1024**2)), "of a sensible size"),
        (part_of(("spec.yaml", {"no": "text"})), "spec.yaml: its record holds no text"),
    ],
    ids=["no gzip", "cut", "twice", "text", "a list", "a number", "no log", "a bomb", "no text"],
)
def test_bytes_that_are_no_part_are_refused(tmp_path: Path, part: bytes, message: str):
    with pytest.raises(PublishedError, match=message):
        write_folder([part], tmp_path)
