"""A parent on the hub is fetched once over HTTP, then read from the cache; nothing else is."""

import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from edgetran.api import ParentModel
from edgetran.runner import hub_model as module
from edgetran.runner.hub_model import hub_model, is_hub_name
from edgetran.runner.parent import parent_folder
from edgetran.training import TaskError

NAME = "someone/a-model"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "config.json": b'{"model_type": "bert"}',
    "model.safetensors": b"weights" * 99,
    "tokenizer.json": b"{}",
    "pytorch_model.bin": b"pickled",
    "modeling.py": b"print('no')",
}


@contextmanager
def hub(asked):
    """A server that answers as the hub does for one model."""

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer(body=False)

        def do_GET(self):
            self.answer(body=True)

        def answer(self, *, body):
            asked.append(self.path)
            name = self.path.partition("?")[0].rpartition("/")[2]
            if self.path.startswith(f"/api/models/{NAME}/tree/"):
                tree = [
                    {"type": "file", "path": each, "size": len(content), "oid": f"{1:040x}"}
                    for each, content in FILES.items()
                ]
                self.send(json.dumps(tree).encode(), "application/json", body=body)
            elif self.path.startswith(f"/api/models/{NAME}"):
                siblings = [{"rfilename": each} for each in FILES]
                facts = {"id": NAME, "sha": COMMIT, "siblings": siblings}
                self.send(json.dumps(facts).encode(), "application/json", body=body)
            elif self.path.startswith(f"/{NAME}/resolve/") and name in FILES:
                self.send(FILES[name], "application/octet-stream", body=body)
            else:
                self.send_response(404)
                self.send_header("X-Error-Code", "RepoNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()

        def send(self, content, kind, *, body):
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{len(content):040x}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, *_):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGETRAN_CACHE", str(tmp_path / "cache"))
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    module.hub_model.cache_clear()
    yield
    module.hub_model.cache_clear()


def test_a_model_of_the_hub_is_fetched_without_code_and_without_pickles(tmp_path, monkeypatch):
    asked = []
    with hub(asked) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        folder = parent_folder(ParentModel(model=NAME), tmp_path)
    found = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    assert found == ["config.json", "model.safetensors", "tokenizer.json"]
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert not any("pytorch_model" in path or "modeling" in path for path in asked)


def test_without_a_network_what_was_fetched_before_is_taken(monkeypatch):
    with hub([]) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        first = hub_model(NAME)
    module.hub_model.cache_clear()  # a later process
    assert hub_model(NAME) == first


def test_without_a_network_and_without_a_copy_it_is_refused_in_one_sentence(monkeypatch):
    with hub([]) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
    with pytest.raises(TaskError) as caught:
        hub_model(NAME)
    said = str(caught.value)
    assert said.startswith(f"model: {NAME} is no folder here and could not be fetched")
    assert "does not answer" in said
    assert "\n" not in said


def test_a_model_that_the_hub_does_not_have_is_refused_in_one_sentence(monkeypatch):
    with hub([]) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        with pytest.raises(TaskError, match="someone/else is no folder here") as caught:
            hub_model("someone/else")
    assert "\n" not in str(caught.value)


def test_a_folder_goes_before_a_model_of_the_hub(tmp_path):
    (tmp_path / NAME).mkdir(parents=True)
    assert parent_folder(ParentModel(model=NAME), tmp_path) == tmp_path / NAME


@pytest.mark.parametrize(
    ("model", "expected"),
    [("a/b", True), ("nowhere", False), ("./a", False), ("/a/b", False), ("a/b/c", False)],
)
def test_names_of_the_hub_have_an_owner_and_a_name(model, expected):
    assert is_hub_name(model) is expected
