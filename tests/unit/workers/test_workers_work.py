"""Mounted work is read as the operator writes it; every mistake is told in a sentence."""

import gzip
import json

import pytest

from edgetran.api import ExitCode, SpecError, spec_hash, work_hash
from edgetran.runner.part import plan_part
from edgetran.runner.prior_results import DependencyError
from edgetran_workers.failures import exit_code_of, sentence_of, write_termination
from edgetran_workers.work import WorkError, read_profiles, read_work

JOB = """
apiVersion: edgetran.io/v1alpha1
kind: ProfilingJob
metadata: {name: s-board, namespace: lab, uid: 0123-4567}
spec:
  device: {name: board, nodeSelector: {edgetran.io/device: board}}
  designSpace: {preset: tiny}
"""
SEARCH = """
apiVersion: edgetran.io/v1alpha1
kind: CoDesignSearch
metadata: {name: s, namespace: lab}
spec:
  task: {name: movie-reviews}
  designSpace: {preset: tiny}
  devices: [{name: board, nodeSelector: {edgetran.io/device: board}}]
"""
WORK = {
    "results": "s-board-pj-results",
    "namespace": "lab",
    "storage": None,
    "folder": "lab/pj-s-board-01234567",
    "inputs": {"profiles": {}, "search": None},
}


def mount(place, resource=JOB, dependencies=None, **changes):
    (place / "resource.yaml").write_text(resource)
    (place / "work.json").write_text(json.dumps(WORK | changes))
    if dependencies is not None:
        (place / "dependencies.yaml").write_text(dependencies)
    return place


def test_work_is_read_whole(tmp_path):
    search = {"folder": "lab/cds-s-1", "storage": "s3://bucket/x"}
    inputs = {"profiles": {"s-board": ["/in/0", "/in/1"]}, "search": search}
    work = read_work(
        mount(tmp_path, dependencies="---\n" + SEARCH, storage={"uri": "s3://b/x/"}, inputs=inputs),
        "profile",
    )
    assert work.resource.label == "ProfilingJob/s-board"
    assert [each.label for each in work.dependencies] == ["CoDesignSearch/s"]
    assert (work.storage, work.folder, work.namespace) == ("s3://b/x", WORK["folder"], "lab")
    assert [str(part) for part in work.profiles["s-board"]] == ["/in/0", "/in/1"]
    assert (work.search.folder, work.search.storage) == ("lab/cds-s-1", "s3://bucket/x")


def test_a_claim_and_no_storage_are_told_apart(tmp_path):
    assert read_work(mount(tmp_path, storage={"claim": True}), "profile").storage == "claim"
    assert read_work(mount(tmp_path), "profile").storage is None


@pytest.mark.parametrize("folder", ["/etc", "../x", "lab/../../x", "lab", "", "lab/.x", 3, None])
def test_a_folder_that_leads_out_of_the_storage_is_refused(tmp_path, folder):
    with pytest.raises(WorkError, match=r"work\.json: folder: .* must be a relative path"):
        read_work(mount(tmp_path, folder=folder), "profile")


@pytest.mark.parametrize(
    "uri", ["s3://bucket/../other", "s3://k:s@b", "s3://b::file:///x", "/plain/path", 3, None]
)
def test_an_address_that_climbs_is_refused(tmp_path, uri):
    with pytest.raises(WorkError, match=r"storage\.uri"):
        read_work(mount(tmp_path, storage={"uri": uri}), "profile")


def test_a_file_that_is_missing_or_no_json_is_named(tmp_path):
    with pytest.raises(WorkError, match=r"resource\.yaml: no such file"):
        read_work(tmp_path, "profile")
    mount(tmp_path)
    (tmp_path / "work.json").write_text("{")
    with pytest.raises(WorkError, match=r"work\.json: "):
        read_work(tmp_path, "profile")
    (tmp_path / "work.json").write_text("{}")
    with pytest.raises(WorkError, match=r"work\.json: 'folder' is missing"):
        read_work(tmp_path, "profile")


def test_a_resource_of_another_kind_than_the_command_is_refused(tmp_path):
    with pytest.raises(
        WorkError, match="holds ProfilingJob/s-board; allowed for `edgetran-worker s"
    ):
        read_work(mount(tmp_path), "search")


def test_an_invalid_resource_is_refused_in_the_words_of_the_models(tmp_path):
    with pytest.raises(SpecError, match=r'spec\.designSpace\.preset: Unsupported value: "huge"'):
        read_work(mount(tmp_path, JOB.replace("tiny", "huge")), "profile")


def profiles_of(tmp_path, parts):
    inputs = {"profiles": {"s-board": [str(part) for part in parts]}, "search": None}
    folder = tmp_path / "work"
    folder.mkdir()
    work = read_work(mount(folder, SEARCH, JOB, folder="lab/cds-s-1", inputs=inputs), "search")
    return read_profiles(work, plan_part(work.resource, work.dependencies), tmp_path / "scratch")


def part_with(folder, data):
    folder.mkdir()
    if data is not None:
        (folder / "records.jsonl.gz").write_bytes(data)
    return folder


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, r"ProfilingJob/s-board: profiles/board\.jsonl: holds no measurement"),
        (b"spoiled", "ProfilingJob/s-board: results part 0: is not gzip"),
        (gzip.compress(b"{}\n"), "ProfilingJob/s-board: results part 0: line 1 is not a record"),
    ],
    ids=["nothing", "no gzip", "no record"],
)
def test_a_profile_that_cannot_be_used_is_a_failed_dependency(tmp_path, data, message):
    with pytest.raises(DependencyError, match=message) as caught:
        profiles_of(tmp_path, [part_with(tmp_path / "part", data)])
    assert exit_code_of(caught.value) is ExitCode.DEPENDENCY_FAILED


def test_a_profile_that_is_not_mounted_is_a_failed_dependency(tmp_path):
    with pytest.raises(DependencyError, match="its results are not mounted"):
        profiles_of(tmp_path, [])


def errors():
    import errno

    from edgetran.devices import EngineError
    from edgetran.gptran import BudgetError, GPTranError
    from edgetran.profiling import ProfilingError
    from edgetran.runner.folder import RunFolderError
    from edgetran.runner.inputs import ContentError
    from edgetran.runner.run import NoWinnerError, RunFailedError
    from edgetran.search import InfeasibleSearchError, SearchError, SearchFailedError
    from edgetran.training import RayClusterError, TaskError
    from edgetran_workers.storage import StorageError, StorageSpecError

    return [
        (SpecError([]), 10),
        (WorkError("x"), 10),
        (TaskError("x"), 10),
        (SearchError("x"), 10),
        (BudgetError("x"), 10),
        (StorageSpecError("x"), 10),
        (InfeasibleSearchError("x"), 11),
        (NoWinnerError("x"), 11),
        (SearchFailedError("x"), 12),
        (EngineError("x"), 13),
        (ProfilingError("x"), 13),
        (StorageError("x"), 14),
        (ContentError("x"), 10),
        (RunFolderError("x"), 14),
        (OSError(errno.ENOSPC, "no space"), 14),
        (RayClusterError("x"), 15),
        (DependencyError("x"), 16),
        (RunFailedError("x"), 1),
        (GPTranError("every child failed"), 1),
        (FileNotFoundError(errno.ENOENT, "no such file", "x"), 1),
        (ZeroDivisionError("x"), 1),
        (KeyboardInterrupt(), 1),
    ]


@pytest.mark.parametrize(("error", "code"), errors(), ids=lambda each: type(each).__name__)
def test_every_error_has_its_exit_status(error, code):
    assert exit_code_of(error) == code


def test_a_sentence_names_the_type_of_errors_that_are_not_ours():
    assert sentence_of(WorkError("one\ntwo")) == "one; two"
    assert sentence_of(ZeroDivisionError("division\nby zero")) == "ZeroDivisionError: division"
    assert sentence_of(OSError(28, "No space left", "/x")) == "/x: No space left"
    assert sentence_of(RuntimeError("\x1b[36mred\x1b[0m")) == "RuntimeError: red"


def test_a_termination_message_is_small_json_whatever_the_error_says(tmp_path):
    path = tmp_path / "log"
    write_termination(path, 16, "ü\n" * 10_000)
    assert path.stat().st_size <= 4096
    said = json.loads(path.read_text())
    assert said["reason"] == "DependencyFailed"
    assert said["message"].startswith("ü\nü")
    write_termination(tmp_path, 1, "a folder cannot be written, and that is no further error")


@pytest.mark.parametrize("forged", ["another folder", "more inputs", "no inputs", "another search"])
def test_files_beside_the_spec_that_the_pod_was_not_made_for_are_not_used(tmp_path, forged):
    def hash_of_mounted():
        names = ("work.json", "dependencies.yaml")
        files = {name: (tmp_path / name) for name in names}
        return work_hash({name: file.read_text() for name, file in files.items() if file.exists()})

    mount(tmp_path, dependencies=None if forged == "more inputs" else SEARCH)
    made_for = hash_of_mounted()
    assert read_work(tmp_path, "profile", "", made_for).folder == WORK["folder"]
    if forged == "another folder":
        mount(tmp_path, folder="lab/pj-of-another-01234567")
    elif forged == "more inputs":
        mount(tmp_path, dependencies=SEARCH)
    elif forged == "no inputs":
        (tmp_path / "dependencies.yaml").unlink()
    else:
        mount(tmp_path, dependencies=SEARCH + "  seed: 7\n")
    with pytest.raises(WorkError, match="not what this pod was made for"):
        read_work(tmp_path, "profile", "", made_for)


def test_work_that_the_pod_was_not_made_for_is_not_begun(tmp_path):
    made_for = spec_hash(read_work(mount(tmp_path), "profile").resource)
    assert read_work(tmp_path, "profile", made_for).folder == "lab/pj-s-board-01234567"
    with pytest.raises(WorkError, match="not the spec that this pod was made for"):
        read_work(mount(tmp_path, JOB + "  seed: 7\n"), "profile", made_for)
    suspended = JOB + "  backoffLimit: 9\n"
    assert read_work(mount(tmp_path, suspended), "profile", made_for).resource
