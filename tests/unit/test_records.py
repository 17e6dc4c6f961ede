"""Logs survive a kill at any byte."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetran.records import JsonLog, RecordError, read_records, write_atomically

RECORDS = [{"a": 1}, {"text": "naïve 😀"}, {"nested": {"list": [1, 2.5, None]}}]


def test_records_come_back_in_order(tmp_path: Path) -> None:
    log = JsonLog(tmp_path / "deep" / "log.jsonl")
    for record in RECORDS:
        log.append(record)
    assert list(log) == RECORDS
    assert read_records(tmp_path / "deep" / "log.jsonl") == RECORDS


@given(cut=st.integers(0, 200), after=st.dictionaries(st.text(max_size=5), st.integers()))
def test_a_log_cut_at_any_byte_keeps_whole_records_and_goes_on(
    tmp_path_factory, cut, after
) -> None:
    path = tmp_path_factory.mktemp("cut") / "log.jsonl"
    log = JsonLog(path)
    for record in RECORDS:
        log.append(record)
    content = path.read_bytes()
    path.write_bytes(content[:cut])
    whole = content[:cut].count(b"\n")
    assert read_records(path) == RECORDS[:whole]
    JsonLog(path).append(after)
    assert read_records(path) == [*RECORDS[:whole], after]


def test_a_full_disk_leaves_no_half_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = JsonLog(tmp_path / "log.jsonl")
    log.append({"a": 1})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            log.append({"b": 2})
    assert list(log) == [{"a": 1}]


def test_nan_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    log = JsonLog(tmp_path / "log.jsonl")
    with pytest.raises(ValueError, match="not JSON compliant"):
        log.append({"x": float("nan")})
    assert list(log) == []


@pytest.mark.parametrize("line", ["garbage", "[1, 2]", '"text"'])
def test_a_line_that_is_no_record_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"a":1}\n' + line + "\n")
    with pytest.raises(RecordError, match=r"log\.jsonl:2"):
        read_records(path)


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "x" / "result.json"
    write_atomically(path, json.dumps({"a": 1}))
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]
