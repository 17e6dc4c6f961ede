"""`edgetran-worker serve` in a pod: from the run's storage, its verdict told in a ConfigMap."""

import json
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
import yaml
from serving_world import encoded, write_run

from edgetran.artifacts import Form
from edgetran.runner.folder import RunFolder
from edgetran_workers.storage import RemoteFolder

FOLDER = "ns/cds-s-12345678"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A storage with a run in it, and the SHA-256 of its winner."""
    storage = tmp_path_factory.mktemp("storage")
    path = storage / FOLDER
    path.mkdir(parents=True)
    data = encoded(tmp_path_factory.mktemp("cache"))
    judged = write_run(path, data, Form("onnxruntime", "fp32"))
    return storage, judged.artifact.sha256


@pytest.fixture
def api_server(tmp_path):
    """A kubeconfig of a server that takes every patch, and the patches."""
    patches = []

    class Handler(BaseHTTPRequestHandler):
        def do_PATCH(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            patches.append((self.path, json.loads(body)))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "c",
            "clusters": [
                {"name": "k", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}
            ],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        }
        file = tmp_path / "kubeconfig"
        file.write_text(yaml.safe_dump(config))
        yield file, patches
        server.shutdown()


def command(storage, artifact, *more):
    return [
        *(sys.executable, "-m", "edgetran_workers", "serve"),
        *(f"--storage={storage}", f"--folder={FOLDER}", f"--artifact={artifact}", "--name=s"),
        *("--namespace=ns", "--verdict=s-cds-served", "--port=0", *more),
    ]


@contextmanager
def started(words):
    """A worker that is killed where a test goes wrong."""
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def environment(monkeypatch):
    monkeypatch.setenv("EDGETRAN_LOG", "json")
    monkeypatch.setenv("POD_NAME", "pod-a")


def test_it_serves_tells_its_verdict_and_takes_it_back(run, api_server, monkeypatch):
    environment(monkeypatch)
    storage, artifact = run
    kubeconfig, patches = api_server
    words = command(storage, artifact, f"--kubeconfig={kubeconfig}")
    with started(words) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        assert "is served at port" in first["message"], first
        said = json.loads(process.stdout.readline())
        assert said["message"].startswith("served as measured")
        base = f"http://127.0.0.1:{first['port']}/v2/models/s"
        assert requests.get(f"{base}/ready", timeout=60).json() == {"name": "s", "ready": True}
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    paths = {path for path, _ in patches}
    assert {re.sub(r"\?.*", "", path) for path in paths} == {
        "/api/v1/namespaces/ns/configmaps/s-cds-served"
    }
    told = json.loads(patches[0][1]["data"]["pod-a"])
    assert (told["artifact"], told["servedAsMeasured"]) == (artifact, "True")
    assert patches[-1][1] == {"data": {"pod-a": None}}


def test_a_run_at_an_address_is_fetched_without_its_trained_weights(
    run, api_server, monkeypatch, tmp_path
):
    environment(monkeypatch)
    storage, artifact = run
    RemoteFolder(f"file://{tmp_path}/bucket", FOLDER, storage / FOLDER).copy()
    local = tmp_path / "pod"
    words = command(
        local, artifact, f"--kubeconfig={api_server[0]}", f"--uri=file://{tmp_path}/bucket"
    )
    with started(words) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert "is served at port" in line
        assert process.wait(timeout=60) == 0
    fetched = RunFolder(local / FOLDER)
    assert (fetched.model / "tokenizer.json").is_file()
    assert not (fetched.model / "model.safetensors").exists()


def test_an_artefact_that_is_not_the_measured_one_is_not_served(run, monkeypatch, tmp_path):
    environment(monkeypatch)
    log = tmp_path / "termination"
    words = command(run[0], "0" * 64, f"--termination-log={log}")
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode != 0
    assert "not the artefact that was measured" in json.loads(log.read_text())["message"]
    assert "Traceback" not in done.stdout + done.stderr
