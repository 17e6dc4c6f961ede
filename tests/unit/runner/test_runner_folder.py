"""One folder holds one run, by one process at a time."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from edgetran.records import JsonLog, read_records
from edgetran.runner.another_winner import set_aside_other_tree
from edgetran.runner.folder import RunFolder, RunFolderError


def test_a_new_folder_is_claimed_and_a_second_session_continues(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "runs" / "a") as folder:
        assert folder.claim("kind: X\n") is False
    with RunFolder(tmp_path / "runs" / "a") as folder:
        assert folder.claim("kind: X\n") is True


def test_a_folder_of_another_specification_is_refused(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        folder.claim("kind: X\n")
    with RunFolder(tmp_path) as folder, pytest.raises(RunFolderError, match="another specificat"):
        folder.claim("kind: Y\n")
    assert folder.spec.read_text() == "kind: X\n"


def test_resuming_can_be_refused(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        folder.claim("kind: X\n")
        with pytest.raises(RunFolderError, match="already holds a run"):
            folder.claim("kind: X\n", resume=False)


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").write_text("years of work")
    with RunFolder(tmp_path) as folder, pytest.raises(RunFolderError, match=r"thesis\.doc"):
        folder.claim("kind: X\n")
    assert not folder.spec.exists()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="is a file"), RunFolder(tmp_path / "file"):
        pass


def test_two_processes_cannot_share_a_folder(tmp_path: Path) -> None:
    with (
        RunFolder(tmp_path),
        pytest.raises(RunFolderError, match="another edgetran process"),
        RunFolder(tmp_path),
    ):
        pass


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "holds no result"),
        ("{}", "is not a result"),
        ("garbage", "is not a result"),
        ('{"schemaVersion": 99}', "schemaVersion is 99"),
    ],
)
def test_what_is_no_result_is_named(tmp_path: Path, content: str | None, message: str) -> None:
    folder = RunFolder(tmp_path)
    if content is not None:
        folder.result.write_text(content)
    with pytest.raises(RunFolderError, match=message):
        folder.read_result()


def test_an_unfinished_run_says_how_to_continue(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        folder.claim("kind: X\n")
    with pytest.raises(RunFolderError, match="continue it with: edgetran run"):
        folder.read_result()


SEARCH = """
apiVersion: edgetran.io/v1alpha1
kind: CoDesignSearch
metadata: {name: s}
spec:
  task: {name: movie-reviews}
  designSpace: {preset: tiny}
  devices: [{name: rpi, simulation: raspberry-pi-4-cpu}]
  search: {maxTrials: 8, initialTrials: 4}
"""


def test_larger_limits_are_the_same_run_whose_result_is_made_again(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        folder.claim(SEARCH)
        folder.result.write_text("{}")
        folder.report.write_text("")
    larger = SEARCH.replace("maxTrials: 8", "maxTrials: 12, parallelTrials: 2")
    with RunFolder(tmp_path) as folder:
        assert folder.claim(larger) is True
    assert not folder.complete
    assert not folder.report.exists()
    assert folder.spec.read_text() == larger


def test_what_only_a_cluster_acts_on_leaves_the_result(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        folder.claim(SEARCH)
        folder.result.write_text("{}")
    with RunFolder(tmp_path) as folder:
        assert folder.claim(SEARCH + "  backoffLimit: 9\n") is True
    assert folder.complete
    assert "backoffLimit: 9" in folder.spec.read_text()


def test_where_trials_are_shown_is_no_part_of_the_work(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        folder.claim(SEARCH)
        folder.result.write_text("{}")
    for server in ("http://mlflow.lan", "http://other.lan"):
        with RunFolder(tmp_path) as folder:
            shown = f"{SEARCH}  tracking: {{mlflow: {{uri: '{server}'}}}}\n"
            assert folder.claim(shown) is True
        assert folder.complete
        assert server in folder.spec.read_text()


@pytest.mark.parametrize(
    ("text", "to"),
    [("initialTrials: 4", "initialTrials: 5"), ("preset: tiny", "preset: flexibert-2.0")],
)
def test_a_change_of_the_work_itself_is_another_run(tmp_path: Path, text: str, to: str) -> None:
    with RunFolder(tmp_path) as folder:
        folder.claim(SEARCH)
    with RunFolder(tmp_path) as folder, pytest.raises(RunFolderError, match="another specificat"):
        folder.claim(SEARCH.replace(text, to))
    assert folder.spec.read_text() == SEARCH


HOLDER = """
import sys, time
from edgetran.runner.folder import RunFolder
with RunFolder(sys.argv[1]):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_folder_is_free_when_the_process_that_held_it_was_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True
    ) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            with (
                pytest.raises(RunFolderError, match="another edgetran process"),
                RunFolder(tmp_path / "run"),
            ):
                pass
        finally:
            holder.kill()
    with RunFolder(tmp_path / "run") as folder:
        assert folder.claim("kind: X\n") is False


WITHOUT_LOCKS = """
import ctypes, errno, platform, struct, sys
from pathlib import Path
from edgetran.records import JsonLog, read_records
from edgetran.runner.another_winner import set_aside_other_tree
from edgetran.runner.folder import RunFolder, RunFolderError

# A seccomp filter: the kernel refuses flock with the given number, as NFS without its lock service.
number = getattr(errno, sys.argv[2])
flock = {"x86_64": 73, "aarch64": 32}[platform.machine()]
steps = [
    (0x20, 0, 0, 0),  # load the number of the system call
    (0x15, 0, 1, flock),  # flock?
    (0x06, 0, 0, 0x00050000 | number),  # fail with the number
    (0x06, 0, 0, 0x7FFF0000),  # allow
]
code = b"".join(struct.pack("HBBI", *step) for step in steps)
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
if libc.prctl(22, 2, ctypes.byref(Program(len(steps), code)), 0, 0) != 0:
    print("no seccomp"); sys.exit(77)
try:
    with RunFolder(sys.argv[1]) as folder:
        print("held")
except RunFolderError as error:
    print(error)
"""


@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"),
    reason="NOT TESTED: seccomp filters are written for Linux on two machines",
)
@pytest.mark.parametrize("number", ["ENOLCK", "EOPNOTSUPP", "ENOSYS"])
def test_a_file_system_without_locks_is_refused_and_not_taken_for_a_held_folder(
    tmp_path: Path, number: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_LOCKS, str(tmp_path / "run"), number],
        capture_output=True,
        text=True,
    )
    if done.returncode == 77:
        pytest.skip("NOT TESTED: no seccomp filter can be installed here")
    assert done.returncode == 0, done.stderr
    assert "its file system has no locks" in done.stdout
    assert "another edgetran process" not in done.stdout


def test_a_tree_that_grew_from_another_winner_is_set_aside_and_kept(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    winner = folder.search_checkpoints / "trial-0003"
    assert set_aside_other_tree(folder, winner) is None
    for number in (1, 2):
        tree = JsonLog(folder.gptran / "tree.jsonl")
        tree.append({"type": "plan"})
        tree.append(
            {"type": "node", "id": "root", "checkpoint": "../checkpoints/search/trial-0003"}
        )
        assert set_aside_other_tree(folder, winner) is None
        kept = set_aside_other_tree(folder, folder.search_checkpoints / "trial-0007")
        assert kept == tmp_path / f"gptran-{number}"
        assert len(read_records(kept / "tree.jsonl")) == 2
        assert not folder.gptran.exists()
