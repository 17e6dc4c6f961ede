"""Logs survive a kill at any byte."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetran.records import JsonLog, RecordError, read_records, write_atomically

RECORDS = [{"a": 1}, {"text": "naïve 😀"}, {"nested": {"list": [1, 2.5, None]}}]


def test_records_come_back_in_order(tmp_path: Path) -> None:
    log = JsonLog(tmp_path / "deep" / "log.jsonl")
    for record in RECORDS:
        log.append(record)
    assert list(log) == RECORDS
    assert read_records(tmp_path / "deep" / "log.jsonl") == RECORDS


@settings(deadline=None)
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


IN_A_TINY_SPACE = """
import errno, json, os, resource, sys
from pathlib import Path
from edgetran.records import JsonLog, read_records, write_atomically

place, kind = Path(sys.argv[1]), sys.argv[2]
PAGE = 4096
RECORD = {"n": 1, "text": "na\u00efve \U0001f600", "list": [1.5, None]}
LINE = json.dumps(RECORD, separators=(",", ":")) + "\\n"


def log_of(size):
    path = place / "log.jsonl"
    log = JsonLog(path)
    pad = size - len('{"pad":""}\\n')
    log.append({"pad": "x" * pad})
    assert path.stat().st_size == size
    return log


class FullDisk:
    # Room up to the end of the log's page: the disk is full in the middle of the record.
    errno = errno.ENOSPC

    def __enter__(self):
        self.filler = open(place / "filler", "wb", buffering=0)
        try:
            while True:
                self.filler.write(b"z" * PAGE)
        except OSError:
            pass

    def __exit__(self, *_):
        self.filler.close()
        os.unlink(self.filler.name)


class SizeLimit:
    # The kernel takes the bytes up to a limit, then refuses: no root is needed for that.
    errno = errno.EFBIG

    def __enter__(self):
        resource.setrlimit(resource.RLIMIT_FSIZE, (PAGE, resource.RLIM_INFINITY))

    def __exit__(self, *_):
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)


Space = {"tmpfs": FullDisk, "limit": SizeLimit}[kind]
short = 0
for offset in range(len(LINE)):
    log = log_of(PAGE - offset)
    before = log.path.read_bytes()
    writes = []
    really = os.write
    os.write = lambda file, data: writes.append(really(file, data)) or writes[-1]
    with Space() as _:
        try:
            log.append(RECORD)
        except OSError as error:
            assert error.errno == Space.errno, error
        else:
            raise SystemExit(f"offset {offset}: there was room")
        short += sum(writes)
        try:
            write_atomically(place / "result.json", b"new" * PAGE)
        except OSError as error:
            assert error.errno == Space.errno, error
        else:
            raise SystemExit("there was room for a whole file")
    os.write = really
    assert log.path.read_bytes() == before, offset
    assert sorted(p.name for p in place.iterdir()) == ["log.jsonl"], list(place.iterdir())
    log.append(RECORD)
    JsonLog(log.path).append({"n": 2})
    assert read_records(log.path)[1:] == [RECORD, {"n": 2}], offset
    log.path.unlink()
assert short == sum(range(len(LINE))), short
print(len(LINE), "offsets")
"""


def everywhere_in_a_record(place: Path, kind: str, *before: str) -> None:
    script = place / "script.py"
    script.write_text(IN_A_TINY_SPACE)
    room = place / "room"
    room.mkdir()
    done = subprocess.run(
        [*before, sys.executable, str(script), str(room), kind],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "offsets" in done.stdout


def test_a_record_that_the_kernel_takes_in_part_is_taken_back_at_every_byte(tmp_path: Path) -> None:
    everywhere_in_a_record(tmp_path, "limit")


def test_a_disk_that_fills_in_a_record_leaves_a_valid_log_at_every_byte(tmp_path: Path) -> None:
    mount = "mount -t tmpfs -o size=64k none"
    namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "-r", "--mount"]
    (tmp_path / "probe").mkdir()
    probe = subprocess.run(
        [*namespace, "sh", "-c", f"{mount} {tmp_path}/probe"], capture_output=True, text=True
    )
    if probe.returncode != 0:
        pytest.skip(f"NOT TESTED: no tmpfs can be mounted here ({probe.stderr.strip()})")
    inside = [*namespace, "sh", "-c", f'{mount} {tmp_path}/room && exec "$@"', "sh"]
    everywhere_in_a_record(tmp_path, "tmpfs", *inside)


def test_ctrl_c_in_the_middle_of_a_record_leaves_none_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = JsonLog(tmp_path / "log.jsonl")
    log.append({"a": 1})
    write = os.write

    def interrupted(file: int, content: bytes) -> int:
        write(file, bytes(content)[:3])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            log.append({"b": 2})
    assert (tmp_path / "log.jsonl").read_bytes() == b'{"a":1}\n'


def test_a_line_that_another_tool_tore_within_a_letter_is_cut_off_by_the_next_record(
    tmp_path: Path,
) -> None:
    path = tmp_path / "log.jsonl"
    line = '{"text":"naïve 😀"}'.encode()
    for cut in range(1, len(line)):
        path.write_bytes(b'{"a":1}\n' + line[:cut])
        log = JsonLog(path)
        assert read_records(path) == [{"a": 1}]
        log.append({"b": 2})
        path.write_bytes(path.read_bytes() + line[:cut])
        log.append({"c": 3})  # by the object that has the log open already
        assert read_records(path) == [{"a": 1}, {"b": 2}, {"c": 3}]


def test_looking_at_a_log_changes_nothing_in_it(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"a":1}\n{"b":')
    assert list(JsonLog(path)) == [{"a": 1}]
    assert path.read_bytes() == b'{"a":1}\n{"b":'


def test_a_torn_line_longer_than_a_block_is_cut_off_whole(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"a":1}\n' + b"x" * 200_000)
    JsonLog(path).append({"b": 2})
    assert read_records(path) == [{"a": 1}, {"b": 2}]
    path.write_bytes(b"x" * 200_000)
    JsonLog(path).append({"b": 2})
    assert read_records(path) == [{"b": 2}]


def test_a_record_of_brackets_alone_is_named(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text("[" * 100_000 + "\n")
    with pytest.raises(RecordError, match=r"log\.jsonl:1"):
        read_records(path)
