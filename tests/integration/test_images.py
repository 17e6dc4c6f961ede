"""What the images would hold: their requirements installed into a clean environment and started."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
import urllib.request
import venv
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import image_requirements
import pytest
from cluster_fixtures import ApiServer
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.integration

FILES = [ROOT / "operator" / "Dockerfile", ROOT / "workers" / "Dockerfile"]
HEAVY = ("torch", "numpy", "scipy", "ray", "transformers", "sklearn", "pandas", "plotly")
OPERATOR_MIB = 120
WORKER_EXTRAS = "worker,ray-cluster,cluster,onnx,report,datasets,serve"


def instructions(file: Path) -> list[tuple[str, str]]:
    """Instructions of a Dockerfile with their arguments, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", file.read_text(), flags=re.M).replace("\\\n", " ")
    found = [line.split(None, 1) for line in text.splitlines() if line.strip()]
    return [(name, " ".join(words.split())) for name, words in found]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_hadolint_finds_nothing(file: Path) -> None:
    program = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([program, file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_images_run_as_another_user_than_root_and_install_under_the_constraints(
    file: Path,
) -> None:
    found = instructions(file)
    users = [words for name, words in found if name == "USER"]
    assert users == ["65532:65532"]
    last = found[[name for name, _ in found].index("USER") :]
    assert not [words for name, words in last if name == "RUN"]
    for name, words in found:
        if name == "RUN" and "install -r" in words:
            assert re.search(r"-c (constraints|board)\.txt", words)
    env = " ".join(words for name, words in found if name == "ENV")
    assert "PIP_NO_COMPILE=1" in env


def test_workers_have_a_target_for_each_class_of_images() -> None:
    stages = [words.split(" AS ")[-1] for name, words in instructions(FILES[1]) if name == "FROM"]
    assert {"cpu", "cuda", "jetson", "openvino"} <= set(stages)
    assert stages[-1] == "cpu"
    asked = {
        words.split('"')[1]
        for name, words in instructions(FILES[1])
        if name == "RUN" and "image_requirements.py" in words
    }
    extras = {each.replace("${EXTRAS}", WORKER_EXTRAS) for each in asked}
    assert extras == {WORKER_EXTRAS, f"{WORKER_EXTRAS},nvidia", f"{WORKER_EXTRAS},openvino"}
    arguments = [words for name, words in instructions(FILES[1]) if name == "ARG"]
    assert f"EXTRAS={WORKER_EXTRAS}" in arguments


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_what_is_copied_exists_and_is_sent_to_the_builder(file: Path) -> None:
    sent = [
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    for name, words in instructions(file):
        if name == "COPY" and "--from" not in words:
            for source in shlex.split(words)[:-1]:
                assert (ROOT / source).exists()
                assert any(each == source or each.startswith(f"{source}/") for each in sent)


def test_requirements_are_those_of_the_extras_and_of_extras_within() -> None:
    found = image_requirements.requirements(ROOT / "pyproject.toml", ["operator"])
    names = {re.split(r"[<>=\[]", each)[0] for each in found}
    assert {"kopf", "kubernetes", "prometheus-client", "pydantic"} <= names
    assert not names & {*HEAVY, "edgetran"}
    with pytest.raises(KeyError):
        image_requirements.requirements(ROOT / "pyproject.toml", ["operators"])


class Image:
    """An environment as an image would have it.

    Args:
        folder: a new one.
        extras: of the project, with commas between them.
        linked: whether it has links to the packages of this environment, which pip chose for the
            same extras under the same constraints: to unpack torch and Ray again takes minutes.
    """

    def __init__(self, folder: Path, extras: str, *, linked: bool = False) -> None:
        self.folder = folder
        self.python = folder / "bin" / "python"
        venv.create(folder, with_pip=False, symlinks=True)
        requirements = image_requirements.requirements(ROOT / "pyproject.toml", extras.split(","))
        if linked:
            (packages,) = (folder / "lib").glob("python*/site-packages")
            link_all(requirements, packages)
        else:
            self._install("-c", ROOT / "constraints.txt", *requirements)
        self._install("--no-deps", ROOT)

    def _install(self, *words: str | Path) -> None:
        command = [sys.executable, "-m", "pip", "--python", self.python, "install", "--quiet"]
        done = subprocess.run(
            [*command, "--no-compile", *words], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    @property
    def mebibytes(self) -> float:
        files = (path for path in (self.folder / "lib").rglob("*") if path.is_file())
        return sum(path.stat().st_size for path in files) / 2**20

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": f"{self.folder / 'bin'}:/usr/bin:/bin", "HOME": str(self.folder)}
        return subprocess.run(
            list(words), capture_output=True, text=True, check=False, env=environment, cwd="/"
        )

    def answer(self, code: str) -> Any:
        done = self.run(self.python, "-c", f"import json; {code}")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def unpinned(self) -> set[str]:
        """Installed packages whose version no constraint fixes."""
        pinned = {
            re.sub(r"[-_.]+", "-", line.split("==")[0]).lower()
            for line in (ROOT / "constraints.txt").read_text().splitlines()
            if "==" in line and not line.startswith("#")
        }
        installed = self.answer(
            "from importlib import metadata as m;"
            "print(json.dumps([d.metadata['Name'] for d in m.distributions()]))"
        )
        return {re.sub(r"[-_.]+", "-", name).lower() for name in installed} - pinned - {"edgetran"}


def link_all(requirements: list[str], packages: Path) -> None:
    """Link the packages of this environment that requirements lead to, and no others."""
    pending, seen = [Requirement(each) for each in requirements], set()
    while pending:
        wanted = pending.pop()
        extras = sorted(wanted.extras) or [""]
        if (wanted.name, *extras) in seen:
            continue
        seen.add((wanted.name, *extras))
        found = metadata.distribution(wanted.name)
        assert wanted.specifier.contains(found.version, prereleases=True), f"{wanted}: {found}"
        assert found.files is not None
        for part in {file.parts[0] for file in found.files} - {"..", "__pycache__"}:
            if not (packages / part).exists():
                (packages / part).symlink_to(Path(str(found.locate_file(part))))
        pending += [
            each
            for each in map(Requirement, found.requires or ())
            if each.marker is None or any(each.marker.evaluate({"extra": e}) for e in extras)
        ]


@pytest.fixture(scope="module")
def operator_image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return Image(tmp_path_factory.mktemp("operator-image") / "edgetran", "operator")


@pytest.mark.slow
def test_the_operators_set_is_small_pinned_and_has_nothing_heavy(operator_image: Image) -> None:
    size = operator_image.mebibytes
    assert size < OPERATOR_MIB, f"{size:.0f} MiB"
    assert operator_image.unpinned() == set()
    found = operator_image.answer(
        "from importlib.util import find_spec;"
        f"print(json.dumps([n for n in {HEAVY!r} if find_spec(n)]))"
    )
    assert found == []


@pytest.mark.slow
def test_resources_are_checked_without_the_library(operator_image: Image) -> None:
    program = operator_image.folder / "bin" / "edgetran"
    done = operator_image.run(program, "validate", "-f", ROOT / "examples" / "search.yaml")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("valid") == 3
    for words in (["run", "-f", ROOT / "examples" / "profile.yaml"], ["devices"]):
        done = operator_image.run(program, *words)
        assert done.returncode == 1
        assert 'pip install "edgetran[worker]"' in done.stderr
        assert "Traceback" not in done.stderr


@pytest.fixture
def started(
    operator_image: Image, api_server: ApiServer, tmp_path: Path
) -> Iterator[tuple[int, float, int]]:
    """The operator of the image: its process, seconds until it was ready, its probes' port."""
    port = 18080 + os.getpid() % 1000
    settings = tmp_path / "operator.yaml"
    settings.write_text(f"metricsPort: -1\nprobePort: {port}\n")
    command = [
        operator_image.folder / "bin" / "edgetran-operator",
        "--config", settings,
        "--kubeconfig", api_server.kubeconfig,
    ]  # fmt: skip
    with (tmp_path / "log").open("w") as log:
        begun = time.monotonic()
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/")
        try:
            while not answers(port):
                assert process.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() - begun < 60, (tmp_path / "log").read_text()
                time.sleep(0.05)
            yield process.pid, time.monotonic() - begun, port
        finally:
            process.terminate()
            process.wait(30)


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.mark.slow
def test_the_operator_starts_from_what_its_image_holds(started: tuple[int, float, int]) -> None:
    pid, _, port = started
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
        assert answer.read() == b"ok"
    status = Path(f"/proc/{pid}/status").read_text()
    resident = int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024  # type: ignore[index]
    assert resident < 100


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_workers_set_is_pinned_and_starts(tmp_path: Path) -> None:
    image = Image(tmp_path / "edgetran", f"{WORKER_EXTRAS},openvino", linked=True)
    assert image.unpinned() <= {"triton"}, "torch fixes what it brings itself"
    done = image.run(image.folder / "bin" / "edgetran-worker", "profile", "--help")
    assert done.returncode == 0, done.stderr
    modules = (
        *("torch", "ray", "onnxruntime", "openvino", "kubernetes", "edgetran_workers.worker"),
        *("ray.util.client", "ray.dashboard.optional_deps"),  # ray:// addresses; KubeRay's jobs
    )
    loaded = image.answer(
        "from importlib import import_module as load;"
        f"print(json.dumps([load(name).__name__ for name in {modules!r}]))"
    )
    assert loaded == list(modules)
    devices = image.run(image.folder / "bin" / "edgetran", "devices")
    assert devices.returncode == 0, devices.stderr
