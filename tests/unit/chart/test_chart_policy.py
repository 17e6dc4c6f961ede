"""Checkov's static policies over what chart and operator make: each finding has a reason."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from chart_rendering import EVERYTHING, NAMESPACED, ROOT, rendered
from filelock import FileLock
from helm_python import Chart

from edgetran.api import load_resources
from edgetran_operator.resources import Run, access, worker_job
from edgetran_operator.settings import Settings

VERSION = "3.3.30"
"""Of checkov, which pins so much that it needs an environment of its own."""

ACCEPTED = {
    ("CKV_K8S_43", "Deployment"): "A digest is of one build; image.digest sets it.",
    ("CKV_K8S_43", "Pod"): "As for the Deployment, whose image it is.",
    ("CKV_K8S_43", "Job"): "As for the Deployment; workers.images.*.digest set it.",
    ("CKV_K8S_15", "Deployment"): "Tags are versions and never moved; image.pullPolicy sets it.",
    ("CKV_K8S_15", "Pod"): "As for the Deployment, whose image it is.",
    ("CKV_K8S_15", "Job"): "As for the Deployment; a board may be offline with the image at hand.",
    ("CKV_K8S_38", "Deployment"): "The operator works with the API server: it needs its token.",
    ("CKV_K8S_38", "Job"): "A worker writes its own results: it needs its token.",
    ("CKV_K8S_8", "Pod"): "The test's pod asks one question and ends.",
    ("CKV_K8S_9", "Pod"): "The test's pod asks one question and ends.",
    ("CKV2_K8S_6", "Pod"): "The test's pod serves nothing.",
    ("CKV_K8S_11", "Job"): "A limit would throttle what is measured, and slow training down.",
}  # fmt: skip


@pytest.fixture(scope="session")
def checkov() -> Path:
    """The program, installed once into the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "edgetran"
    cache.mkdir(parents=True, exist_ok=True)
    place = cache / f"checkov-{VERSION}"
    program = place / "bin" / "checkov"
    with FileLock(f"{place}.lock"):
        if not program.exists():
            subprocess.run([sys.executable, "-m", "venv", place], check=True)
            subprocess.run(
                [place / "bin" / "pip", "install", "--quiet", f"checkov=={VERSION}"], check=True
            )
    return program


def findings(checkov: Path, folder: Path) -> tuple[set[tuple[str, str]], int]:
    """Failed checks by identifier and kind, and how many passed."""
    done = subprocess.run(
        [checkov, "-d", folder, "--framework", "kubernetes", "-o", "json", "--compact"],
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads(done.stdout)
    assert report["summary"]["parsing_errors"] == 0
    failed = {
        (check["check_id"], check["resource"].split(".")[0])
        for check in report["results"]["failed_checks"]
    }
    return failed, report["summary"]["passed"]


@pytest.mark.slow
def test_no_check_fails_without_a_reason(chart: Chart, checkov: Path, tmp_path: Path) -> None:
    for name, values in {"default": {}, "everything": EVERYTHING, "spaces": NAMESPACED}.items():
        objects = [
            body
            for body in rendered(chart, {**values, "extraEnv": []}).objects
            if body["kind"] != "CustomResourceDefinition"
        ]
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump_all(objects))
    resources = load_resources(ROOT / "examples" / "search.yaml")
    children = [
        child.body
        for resource in resources
        for run in [Run(resource, "team-a", "0" * 36, Settings())]
        for child in (worker_job(run, 0), *access(run, ["results-0"]))
    ]
    (tmp_path / "children.yaml").write_text(yaml.safe_dump_all(children))
    failed, passed = findings(checkov, tmp_path)
    assert passed > 300
    assert failed - ACCEPTED.keys() == set()
    assert ACCEPTED.keys() - failed == set(), "reasons that nothing needs"
