"""Files that a shell brings: the same bytes, however often the connection breaks off."""

import hashlib
import subprocess
from pathlib import PurePosixPath

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgetran.kubectl import transfer
from edgetran.kubectl.transfer import (
    REBUILDABLE,
    BrokenOffError,
    CommandError,
    FileTransferError,
    RemoteFile,
    fetch,
    listing,
    send,
)

BLOCK = 64


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(transfer, "_PAUSE_SECONDS", 0)
    monkeypatch.setattr(transfer, "_BLOCK_BYTES", BLOCK)
    monkeypatch.setattr(transfer, "_CHUNK_BYTES", 16)


class LocalShell:
    """This machine's `sh` in place of a pod's; breaks off after so many bytes each time."""

    def __init__(self, breaks=()):
        self.breaks = list(breaks)
        self.sent = 0

    def _run(self, script, arguments, data=None):
        command = ["sh", "-c", script, "sh", *arguments]
        done = subprocess.run(command, input=data, capture_output=True, check=False)
        if done.returncode:
            raise CommandError(done.returncode, done.stderr.decode())
        return done.stdout

    def read(self, script, *arguments):
        output = self._run(script, arguments)
        limit = self.breaks.pop(0) if self.breaks else None
        for start in range(0, len(output), 10):
            yield output[start : start + 10][: None if limit is None else max(0, limit - start)]
            if limit is not None and start + 10 > limit:
                raise BrokenOffError("the line is dead")

    def write(self, script, *arguments, data):
        limit = self.breaks.pop(0) if self.breaks else None
        content = b"".join(data)
        self.sent += len(content if limit is None else content[:limit])
        if limit is not None and limit < len(content):
            path, _ = arguments
            self._run(script, (path, str(limit)), content[:limit])
            raise BrokenOffError("the line is dead")
        self._run(script, arguments, content)


def quiet(*_):
    pass


def remote(path, name="a.bin"):
    digest = hashlib.sha256((path / name).read_bytes()).hexdigest()
    return RemoteFile(PurePosixPath(name), digest)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=400), st.lists(st.integers(0, 80), max_size=12))
def test_what_is_fetched_is_what_was_there(tmp_path_factory, content, breaks):
    there, here = tmp_path_factory.mktemp("there"), tmp_path_factory.mktemp("here")
    (there / "a.bin").write_bytes(content)
    # A break that lets something through is no reason to give up; five dead ones in a row are.
    breaks = [each or 1 for each in breaks]
    fetch(LocalShell(breaks), str(there), remote(there), here / "b.bin", quiet)
    assert [each.name for each in here.iterdir()] == ["b.bin"]
    assert (here / "b.bin").read_bytes() == content


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=400), st.lists(st.integers(1, 80), max_size=12))
def test_what_is_sent_is_what_arrives(tmp_path_factory, content, breaks):
    there, here = tmp_path_factory.mktemp("there"), tmp_path_factory.mktemp("here")
    (here / "a.bin").write_bytes(content)

    class Sending(LocalShell):
        def read(self, script, *arguments):
            yield self._run(script, arguments)

    shell = Sending(breaks)
    send(shell, here / "a.bin", f"{there}/data/b.bin", quiet)
    assert (there / "data" / "b.bin").read_bytes() == content
    assert shell.sent == len(content), "no byte is sent twice"
    assert [each.name for each in (there / "data").iterdir()] == ["b.bin"]


def test_a_file_that_is_here_already_is_not_fetched(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"same")

    class Dead(LocalShell):
        def read(self, script, *arguments):
            raise AssertionError("nothing is asked for")

    fetch(Dead(), str(tmp_path), remote(tmp_path), tmp_path / "a.bin", quiet)


def test_the_rest_of_another_content_is_fetched_anew(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"x" * 100)
    (tmp_path / "b.bin.part").write_bytes(b"an earlier model")
    fetch(LocalShell(), str(tmp_path), remote(tmp_path), tmp_path / "b.bin", quiet)
    assert (tmp_path / "b.bin").read_bytes() == b"x" * 100


def test_a_file_that_changes_under_our_hands_is_said(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"x")
    listed = RemoteFile(PurePosixPath("a.bin"), "0" * 64)
    with pytest.raises(FileTransferError, match=r"a\.bin: it changed while it was fetched"):
        fetch(LocalShell(), str(tmp_path), listed, tmp_path / "b.bin", quiet)
    assert not (tmp_path / "b.bin").exists()


def test_a_dead_connection_is_given_up(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"x" * 50)
    with pytest.raises(BrokenOffError):
        fetch(LocalShell([0] * 9), str(tmp_path), remote(tmp_path), tmp_path / "b.bin", quiet)


def test_the_listing_leaves_out_what_can_be_made_again(tmp_path):
    for name in ("model/a b.bin", "checkpoints/x", "gptran/nodes/1/y", "gptran/tree.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / ".lock").touch()
    (tmp_path / "model" / "elsewhere").symlink_to("/etc/passwd")
    found = listing(LocalShell(), str(tmp_path), REBUILDABLE)
    assert [str(file.path) for file in found] == ["gptran/tree.jsonl", "model/a b.bin"]
    assert found[1].sha256 == hashlib.sha256(b"model/a b.bin").hexdigest()
    everything = listing(LocalShell(), str(tmp_path))
    assert len(everything) == 4


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(FileTransferError, match="no such folder on the volume"):
        listing(LocalShell(), f"{tmp_path}/gone")


@pytest.mark.parametrize("name", ["../../.bashrc", "/etc/cron.d/x"])
def test_names_that_lead_out_of_the_folder_are_refused(name):
    class Evil(LocalShell):
        def read(self, script, *arguments):
            yield f"{'0' * 64}  {name}\n".encode()

    with pytest.raises(FileTransferError, match="is not a file that can be downloaded"):
        listing(Evil(), "/x")
