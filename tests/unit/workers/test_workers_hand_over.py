"""A run's artefacts handed over by HTTP: what the result names, and nothing else."""

import asyncio
import json
import threading
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from aiohttp import web

from edgetran.runner.folder import RunFolder
from edgetran_workers.hand_over import (
    HEALTH_PATH,
    application,
    files_of_finalists,
    hand_over_main,
)
from edgetran_workers.log import Log
from edgetran_workers.storage import LIST_NAME, RemoteFolder, StorageError

FOLDER = "ns/cds-s-12345678"
WORD = "1f0e"


@pytest.fixture
def run(tmp_path):
    """The folder of a run: artefacts of winner and a next best, and much that is private."""
    folder = tmp_path / "volume" / FOLDER
    rows = {}
    for key in ("winner", "runnerUp1"):
        place = folder / "artifacts" / key / "torch-fp32"
        (place / "model").mkdir(parents=True)
        (place / "model" / "model.safetensors").write_bytes(key.encode() * 1000)
        (place / "artifact.json").write_text("{}")
        rows[key] = {"artifact": {"path": f"artifacts/{key}/torch-fp32/model"}}
    (folder / "model").mkdir()
    (folder / "model" / "model.safetensors").write_text("private")
    (folder / "log.jsonl").write_text("private")
    (tmp_path / "volume" / "data.csv").write_text("private")
    result = {"schemaVersion": 1, "winner": rows["winner"], "runnersUp": [rows["runnerUp1"]]}
    (folder / "result.json").write_text(json.dumps(result))
    return RunFolder(folder)


@pytest.fixture
def address(run):
    """Where the run's storage is served."""
    loop = asyncio.new_event_loop()
    app = application(run, files_of_finalists(run), f"/{WORD}/{FOLDER}")
    runner = web.AppRunner(app)

    async def start():
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return site._server.sockets[0].getsockname()[1]

    port = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{port}"
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(30)
    loop.close()


def status_of(url):
    try:
        with urlopen(url, timeout=30) as answer:  # noqa: S310 - an address of this test's own
            return answer.status
    except HTTPError as error:
        return error.code


def test_a_worker_reads_the_artefacts_as_it_reads_any_storage(run, address, tmp_path):
    here = tmp_path / "here"
    RemoteFolder(f"{address}/{WORD}", FOLDER, here).restore()
    found = sorted(p.relative_to(here).as_posix() for p in here.rglob("*") if p.is_file())
    assert found == sorted(files_of_finalists(run))
    assert found == [
        "artifacts/runnerUp1/torch-fp32/artifact.json",
        "artifacts/runnerUp1/torch-fp32/model/model.safetensors",
        "artifacts/winner/torch-fp32/artifact.json",
        "artifacts/winner/torch-fp32/model/model.safetensors",
        "result.json",
    ]
    for path in found:
        assert (here / path).read_bytes() == (run.path / path).read_bytes()


@pytest.mark.parametrize(
    "path",
    [
        f"/{WORD}/{FOLDER}/model/model.safetensors",
        f"/{WORD}/{FOLDER}/log.jsonl",
        f"/{WORD}/{FOLDER}/../../data.csv",
        f"/{WORD}/{FOLDER}/%2e%2e/%2e%2e/data.csv",
        f"/{WORD}/{FOLDER}/artifacts/winner/torch-fp32/../../../log.jsonl",
        f"/{WORD}/{FOLDER}/artifacts",
        f"/other/{FOLDER}/result.json",
        f"/other/{FOLDER}/{LIST_NAME}",
        f"/{FOLDER}/result.json",
        f"/{WORD}/result.json",
        "/",
    ],
)
def test_nothing_else_is_served_and_nothing_to_who_does_not_know_the_word(address, path):
    assert status_of(address + path) == 404
    assert status_of(f"{address}/{WORD}/{FOLDER}/result.json") == 200
    assert status_of(address + HEALTH_PATH) == 200


def test_a_link_out_of_the_runs_folder_is_not_followed(run, tmp_path):
    place = run.path / "artifacts/winner/torch-fp32"
    (place / "more").symlink_to(tmp_path / "volume" / "data.csv")
    assert not any("more" in path for path in files_of_finalists(run))
    elsewhere = {"artifact": {"path": "model/model.safetensors"}}
    result = {
        "schemaVersion": 1,
        "winner": elsewhere,
        "searchBest": {"artifact": {"path": "/etc/x"}},
    }
    run.result.write_text(json.dumps(result))
    assert list(files_of_finalists(run)) == ["result.json"]


def test_a_pod_that_is_gone_is_storage_that_does_not_answer(tmp_path):
    with pytest.raises(StorageError):
        RemoteFolder(f"http://127.0.0.1:9/{WORD}", FOLDER, tmp_path).restore()


def test_a_run_without_a_result_is_told_in_one_sentence(tmp_path):
    told = tmp_path / "termination"
    words = ["--storage", str(tmp_path), "--folder", FOLDER, "--word", WORD]
    assert hand_over_main([*words, "--termination-log", str(told)], Log(as_json=True)) == 16
    assert "cannot be handed over" in json.loads(told.read_text())["message"]
