"""Commands of the pages for clusters: kubectl's are run, helm's and docker's are judged."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml
from cluster_fixtures import ApiServer

from edgetran.api import load_resources

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "edgetran"
PAGES = [
    CHART / "README.md",
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if page.name != "development.md"),
]
NODES = ("raspberry-pi-5", "jetson-1", "gpu-1", "NODE")
NAMES = {"ProfilingJob": "job", "CoDesignSearch": "search", "GPTranRun": "refined"}
NEEDS_MORE = {
    ("logs",): "pods that run",
    ("rollout",): "controllers",
    ("top",): "a metrics server",
    ("port-forward",): "pods that run",
    ("wait",): "an operator",
    ("describe", "deployment"): "the chart installed",
    ("edgetran", "logs"): "pods that run",
    ("edgetran", "get"): "results",
    ("edgetran", "put"): "pods that run",
    ("create", "configmap"): "a file of data",
    ("edgetran", "show"): "results",
    ("edgetran", "report"): "results",
    ("get", "runtimeclass"): "a K3s node with a GPU",
    ("delete", "crd"): "a server of its own",
}
"""What cannot be tried on an API server alone, and what it would need; the chart's test on the
cluster does the rest."""


def commands(program: str) -> Iterator[tuple[Path, list[str]]]:
    for page in PAGES:
        for block in re.findall(r"^```console\n(.*?)^```", page.read_text(), re.M | re.S):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line.removeprefix("$ "), comments=True)
                if line.startswith("$ ") and words[0] == program:
                    yield page, words[1:]


def named(program: str) -> list[Any]:
    return [
        pytest.param(words, id=f"{page.name}: {' '.join(words)[:80]}")
        for page, words in commands(program)
    ]


def without_options(words: list[str]) -> list[str]:
    """The verb and its arguments, where options come first."""
    rest = list(words)
    while rest and rest[0].startswith("-"):
        del rest[: 1 if "=" in rest[0] or rest[0] == "--raw" else 2]
    return rest


def needs_more(words: list[str]) -> bool:
    rest = without_options(words)
    return any(tuple(rest[: len(each)]) == each for each in NEEDS_MORE)


@pytest.fixture(scope="module")
def furnished(api_server: ApiServer) -> Iterator[ApiServer]:
    """Nodes, namespaces and resources that the pages speak of."""
    for node in NODES:
        body = {"metadata": {"name": node.lower()}, "status": {"allocatable": {"pods": "9"}}}
        api_server.call("POST", "/api/v1/nodes", body)
    api_server.call("POST", "/api/v1/namespaces", {"metadata": {"name": "edgetran"}})
    for each in (yaml.safe_load(text) for text in documents()):
        each["metadata"]["name"] = NAMES[each["kind"]]
        api_server.kubectl("apply", "--validate=false", "-f", "-", stdin=yaml.safe_dump(each))
    api_server.call("POST", "/api/v1/namespaces", {"metadata": {"name": "text"}})
    example = ROOT / "examples" / "search.yaml"
    api_server.kubectl("apply", "--validate=false", "-n", "text", "-f", example)
    yield api_server
    for node in NODES:
        api_server.kubectl("delete", "node", node.lower())
    for namespace in ("default", "text"):
        api_server.kubectl("delete", "pj,cds,gpt", "--all", "-n", namespace)


def documents() -> list[str]:
    text = (ROOT / "examples" / "search.yaml").read_text()
    assert len(load_resources(ROOT / "examples" / "search.yaml")) == 3
    return [part for part in text.split("\n---\n") if "kind:" in part]


@pytest.mark.integration
@pytest.mark.parametrize("words", [p for p in named("kubectl") if not needs_more(p.values[0])])
def test_kubectl_takes_it(furnished: ApiServer, words: list[str]) -> None:
    name = NAMES["ProfilingJob" if "pj" in words else "CoDesignSearch"]
    for placeholder, real in (
        ("NODE", "node"),
        ("COLLECTION", "cds"),
        ("NAMESPACE", "default"),
        ("NAME", name),
    ):
        words = [word.replace(placeholder, real) for word in words]
    line = words
    line = [word for word in line if word != "--watch" and not word.startswith(">")]
    if line[0] == "apply":
        line = [*line[:2], str(ROOT / line[2]), "--validate=false"]
    if line[0] in ("apply", "create", "delete"):
        line.append("--dry-run=server")
    if line[0] in ("label", "taint"):
        line.append("--overwrite")
    if line[0] == "edgetran":
        program = Path(sys.executable).with_name("kubectl-edgetran")
        done = subprocess.run(
            [program, *line[1:], "--kubeconfig", furnished.kubeconfig],
            capture_output=True,
            text=True,
            check=False,
        )
    else:
        done = furnished.kubectl(*line, check=False)
    assert done.returncode == 0, done.stderr


def test_what_is_not_tried_is_said_to_need_something_that_is_missing() -> None:
    skipped = [words for _, words in commands("kubectl") if needs_more(words)]
    for each in NEEDS_MORE:
        assert any(tuple(without_options(w)[: len(each)]) == each for w in skipped), each


@pytest.mark.parametrize("words", named("helm"))
def test_helm_would_take_it(words: list[str]) -> None:
    verb, *rest = words
    arguments: list[str] = []
    settings: list[str] = []
    known = {"--install", "--create-namespace", "--reuse-values"}
    words_left = iter(rest)
    for word in words_left:
        if word == "--set":
            settings.append(next(words_left))
        elif word == "--namespace":
            assert next(words_left) in ("edgetran", "team-a")
        elif word.startswith("-"):
            assert word in known, word
        else:
            arguments.append(word)
    assert verb in ("upgrade", "test", "uninstall", "rollback")
    assert arguments[0] == "edgetran"
    if verb == "upgrade":
        assert arguments[1:] == ["charts/edgetran"]
        values: dict[str, Any] = {}
        for setting in settings:
            merge(values, helm_python.parse_set_string(setting))
        chart = helm_python.Chart.load(CHART)
        chart.validate_schema(values)
        assert chart.render(values, name="edgetran", namespace="edgetran")


def merge(into: dict[str, Any], other: dict[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value


@pytest.mark.parametrize("words", named("docker"))
def test_docker_would_find_file_target_and_platform(words: list[str]) -> None:
    assert words[:2] == ["buildx", "build"]
    options = dict(zip(words[2:-2:2], words[3:-2:2], strict=True))
    text = (ROOT / options["-f"]).read_text()
    assert set(options["--platform"].split(",")) <= {"linux/amd64", "linux/arm64"}
    if "--target" in options:
        assert re.search(rf"^FROM \S+ AS {options['--target']}$", text, re.M)
        assert options["-t"].endswith(f"-{options['--target']}")
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    names = {values["image"]["repository"], values["workers"]["images"]["cpu"]["repository"]}
    assert options["-t"].split("/")[-1].split(":")[0] in names
    assert words[-2:] == ["--push", "."]
