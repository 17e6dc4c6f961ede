"""`edgetran serve` from the command line, in a process of its own."""

import re
import signal
import subprocess
import sys

import pytest
import requests
from serving_world import encoded, write_run
from typer.testing import CliRunner

from edgetran.artifacts import Form
from edgetran.cli import app


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("run")
    write_run(path, encoded(tmp_path_factory.mktemp("cache")), Form("onnxruntime", "fp32"))
    return path


def refused(*arguments):
    """The sentence with which the command refuses."""
    result = CliRunner().invoke(app, ["serve", *map(str, arguments)])
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_it_says_where_it_serves_answers_and_ends_on_sigterm(run):
    command = [sys.executable, "-m", "edgetran.cli", "serve", str(run), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            address = re.search(r"http://127\.0\.0\.1:\d+/v2/models/films", line)
            assert address, line
            body = {
                "inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["fine"]}]
            }
            response = requests.post(f"{address[0]}/infer", json=body, timeout=60)
            answer = response.json()
            assert answer["outputs"][0]["data"][0] in ("bad", "good")
            assert "served as measured" in process.stdout.readline()
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()  # where something went wrong


def test_a_board_needs_neither_torch_nor_transformers_to_serve(run):
    code = f"""
import sys
for name in ("torch", "transformers", "ray", "sklearn", "pandas"):
    sys.modules[name] = None
from pathlib import Path
from edgetran.serving.drift import Tolerances
from edgetran.serving.served_model import find_model
from edgetran.serving.server import ModelServer
from edgetran.serving.text_model import TextModel
with TextModel(find_model(Path({str(run)!r}))) as model:
    print(ModelServer(model, Tolerances()).verdict().status)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stderr


def test_what_cannot_be_served_is_refused_in_a_sentence(run, tmp_path):
    assert "no such folder" in refused(tmp_path / "nix")
    assert "holds no result.json" in refused(tmp_path)
    elsewhere = refused(run, "--host", "203.0.113.1")
    assert "203.0.113.1:8080: " in elsewhere
    assert "allowed is a free port" in elsewhere
