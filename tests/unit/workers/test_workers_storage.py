"""A run's folder at an address: what changed is copied, what is whole comes back."""

import io
import json
import shutil
import uuid

import pytest

from edgetran_workers.log import Log
from edgetran_workers.storage import (
    LIST_NAME,
    Copier,
    RemoteFolder,
    StorageError,
    StorageSpecError,
)

FOLDER = "default/cds-s-0"


@pytest.fixture(params=["file", "memory"])
def uri(request, tmp_path):
    if request.param == "file":
        return f"file://{tmp_path}/bucket"
    return f"memory://{uuid.uuid4().hex}"


def write(folder, **files):
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def model(folder, name, weights="w" * 100):
    for file, text in (("config.json", "{}"), ("model.safetensors", weights), ("trial.json", "{}")):
        path = folder / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_a_folder_comes_back_as_it_was_without_work_in_progress(uri, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    write(here, trials_dot_jsonl='{"a":1}\n', profiles__raw__x_dot_npz="samples")
    model(here, "checkpoints/search/trial-0000")
    expected = content(here)
    write(here, _dot_lock="", checkpoints___dot_trial_dot_state="half a model")
    (here / "link").symlink_to("/etc/passwd")
    assert RemoteFolder(uri, FOLDER, here).copy()
    RemoteFolder(uri, FOLDER, there).restore()
    assert content(there) == expected


def test_only_what_changed_is_copied_again(uri, tmp_path, monkeypatch):
    here = tmp_path / "here"
    model(here, "checkpoints/search/trial-0000")
    remote = RemoteFolder(uri, FOLDER, here)
    remote.copy()
    put = []
    monkeypatch.setattr(remote, "_put", lambda file, path: put.append(path))
    remote.copy()
    assert put == []
    write(here, trials_dot_jsonl="{}\n")
    remote.copy()
    assert put == ["trials.jsonl"]


def test_after_a_restore_nothing_is_copied_back(uri, tmp_path, monkeypatch):
    model(tmp_path / "here", "model")
    RemoteFolder(uri, FOLDER, tmp_path / "here").copy()
    remote = RemoteFolder(uri, FOLDER, tmp_path / "there")
    remote.restore()
    monkeypatch.setattr(remote, "_put", lambda file, path: pytest.fail(path))
    assert remote.copy()


def test_what_is_gone_here_goes_there_too(uri, tmp_path):
    here = tmp_path / "here"
    model(here, "gptran/starts/1.1")
    model(here, "model")
    remote = RemoteFolder(uri, FOLDER, here)
    remote.copy()
    shutil.rmtree(here / "gptran")
    remote.copy()
    RemoteFolder(uri, FOLDER, tmp_path / "there").restore()
    assert {path.split("/")[0] for path in content(tmp_path / "there")} == {"model"}


def test_files_that_are_here_already_stay(uri, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    write(here, trials_dot_jsonl="{}\n")
    RemoteFolder(uri, FOLDER, here).copy()
    write(there, trials_dot_jsonl="{}\n{}\n")
    RemoteFolder(uri, FOLDER, there).restore()
    assert content(there)["trials.jsonl"] == "{}\n{}\n"


def test_a_model_half_copied_by_a_kill_is_left_out_as_a_whole_and_a_longer_log_is_taken(
    uri, tmp_path
):
    here, there = tmp_path / "here", tmp_path / "there"
    write(here, trials_dot_jsonl="{}\n")
    model(here, "checkpoints/search/trial-0000")
    model(here, "checkpoints/search/trial-0001")
    remote = RemoteFolder(uri, FOLDER, here)
    remote.copy()
    write(here, trials_dot_jsonl="{}\n{}\n")  # these two were copied, the list was not
    (here / "checkpoints/search/trial-0001/model.safetensors").write_text("half")
    for path in ("trials.jsonl", "checkpoints/search/trial-0001/model.safetensors"):
        remote._put(here / path, path)
    RemoteFolder(uri, FOLDER, there).restore()
    assert content(there)["trials.jsonl"] == "{}\n{}\n"
    assert (there / "checkpoints/search/trial-0000/config.json").exists()
    assert not (there / "checkpoints/search/trial-0001").exists()


def test_a_copy_that_runs_out_of_time_has_the_logs_and_goes_on_later(uri, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    model(here, "model", "w" * 10_000)
    write(here, trials_dot_jsonl="{}\n")
    remote = RemoteFolder(uri, FOLDER, here)
    assert not remote.copy(deadline=0.0)
    RemoteFolder(uri, FOLDER, there).restore()
    assert content(there) == {}
    assert remote.copy()
    RemoteFolder(uri, FOLDER, there).restore()
    assert content(there) == content(here)


def test_some_files_alone_can_be_fetched(uri, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    write(here, trials_dot_jsonl="{}\n")
    model(here, "model")
    RemoteFolder(uri, FOLDER, here).copy()
    remote = RemoteFolder(uri, FOLDER, there)
    remote.restore(lambda path: path.endswith(".jsonl"))
    assert set(content(there)) == {"trials.jsonl"}


@pytest.mark.parametrize(
    "path", ["../escaped", "/escaped", "a/../../escaped", ".lock", "a/.b/c", "a\\..\\b", "", "."]
)
def test_a_list_that_someone_changed_leads_nowhere_else(tmp_path, path):
    bucket = tmp_path / "bucket" / FOLDER
    bucket.mkdir(parents=True)
    (tmp_path / "bucket/default/escaped").write_text("x")
    (bucket / LIST_NAME).write_text(json.dumps({"schemaVersion": 1, "files": {path: 1}}))
    there = tmp_path / "there" / "run"
    RemoteFolder(f"file://{tmp_path}/bucket", FOLDER, there).restore()
    assert not there.exists() or content(there) == {}
    assert not (tmp_path / "there" / "escaped").exists()


@pytest.mark.parametrize("text", ["", "[]", '{"schemaVersion": 2, "files": {"a": 1}}', '{"files"'])
def test_a_list_that_cannot_be_read_is_no_list(tmp_path, text):
    bucket = tmp_path / "bucket" / FOLDER
    bucket.mkdir(parents=True)
    (bucket / LIST_NAME).write_text(text)
    RemoteFolder(f"file://{tmp_path}/bucket", FOLDER, tmp_path / "there").restore()
    assert not (tmp_path / "there").exists()


@pytest.mark.parametrize("uri", ["nosuchprotocol://bucket/x", "gdrive://x"])
def test_a_protocol_that_is_not_there_is_the_specs_mistake(tmp_path, uri):
    with pytest.raises(
        StorageSpecError, match=r"spec\.storage\.uri: Invalid value: .*: must be of a protocol"
    ):
        RemoteFolder(uri, FOLDER, tmp_path)


def test_an_address_that_does_not_answer_is_tried_again_later(tmp_path):
    here = tmp_path / "here"
    write(here, trials_dot_jsonl="{}\n")
    (tmp_path / "file").write_text("not a folder")
    remote = RemoteFolder(f"file://{tmp_path}/file", FOLDER, here)
    with pytest.raises(StorageError, match=r"file/default/cds-s-0: \w+Error"):
        remote.copy()


def test_the_copier_copies_while_the_run_goes_on_and_once_more_at_its_end(tmp_path):
    import time

    here, bucket = tmp_path / "here", tmp_path / "bucket"
    write(here, trials_dot_jsonl="{}\n")
    remote = RemoteFolder(f"file://{bucket}", FOLDER, here)
    copier = Copier(remote, Log(as_json=True, stream=io.StringIO()), period_s=0.02)
    copier.start()
    deadline = time.monotonic() + 10
    while not (bucket / FOLDER / LIST_NAME).exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    write(here, result_dot_json="{}")
    assert copier.finish(10)
    assert (bucket / FOLDER / "result.json").exists()


def test_a_copier_survives_an_outage(tmp_path):
    import time

    here, bucket, lines = tmp_path / "here", tmp_path / "bucket", io.StringIO()
    write(here, trials_dot_jsonl="{}\n")
    bucket.write_text("not a folder")
    remote = RemoteFolder(f"file://{bucket}", FOLDER, here)
    copier = Copier(remote, Log(as_json=True, stream=lines), period_s=0.02)
    copier.start()
    deadline = time.monotonic() + 10
    while "retrying" not in lines.getvalue():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(StorageError):
        copier.finish(1)
    bucket.unlink()
    assert copier.finish(10)


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("Unable to parse: invalid XML received. Further retries may succeed: b'hunter2'",
         "invalid XML received"),
        ("An error occurred (AccessDenied) when calling the GetObject operation: hunter2",
         "(AccessDenied) when calling the GetObject operation"),
        ("404, message='hunter2', url='http://x'", "404"),
        ("<html>hunter2</html>", "ValueError"),
        ("cannot reach s3://key:hunter2@bucket/x", "cannot reach s3://…@bucket/x"),
        ("x" * 5000, "x" * 100),
    ],
)  # fmt: skip
def test_what_a_server_answered_is_not_repeated(tmp_path, monkeypatch, message, told):
    def fail(*arguments, **options):
        raise ValueError(message)

    remote = RemoteFolder(f"memory://{uuid.uuid4().hex}", FOLDER, tmp_path)
    monkeypatch.setattr(remote._fs, "cat_file", fail)
    monkeypatch.setattr(remote, "_read_list", fail)
    with pytest.raises(StorageError) as caught:
        remote.restore()
    assert told in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert len(str(caught.value)) < 400
