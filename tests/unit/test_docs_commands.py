"""Whatever the documentation tells a reader to type is something that works."""

import ast
import importlib
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from edgetran import api
from edgetran.cli import app
from edgetran.kubectl import app as plugin

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "charts" / "edgetran" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
CLUSTER_PROGRAMS = ("helm", "docker", "curl")
"""Judged with kubectl by test_docs_cluster_commands.py."""
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)

MINIMAL: dict[str, dict[str, Any]] = {
    "CoDesignSearch": {
        "task": {"name": "movie-reviews"},
        "designSpace": {"preset": "tiny"},
        "devices": [{"name": "pi", "simulation": "raspberry-pi-4-cpu"}],
    },
    "ProfilingJob": {
        "device": {"name": "host", "host": True},
        "designSpace": {"preset": "tiny"},
    },
    "GPTranRun": {"searchRef": {"name": "search"}},
}
"""Specs that a documented part of a spec is put into."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    language: str
    text: str
    line: int

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(*languages: str) -> list[Block]:
    """The blocks of these languages on all pages."""
    return [
        Block(page, match[1], match[2], page.read_text()[: match.start()].count("\n") + 2)
        for page in PAGES
        for match in FENCE.finditer(page.read_text())
        if match[1] in languages
    ]


def commands() -> Iterator[Any]:
    """Each command line of the console blocks, without its prompt."""
    for block in blocks("console"):
        text = block.text.replace("\\\n", " ")
        for line in text.splitlines():
            if line.startswith("$ "):
                words = shlex.split(line[2:], comments=True)
                yield pytest.param(block.page, words, id=f"{block}: {line[2:70]}")


def files_written_on(page: Path) -> set[str]:
    """Files whose content the page gives: YAML whose first line is `# NAME`."""
    text = page.read_text()
    return set(re.findall(r"^```yaml\n# (\S+\.yaml)$", text, re.M))


def given_options(command: Any, words: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Values by option, and arguments; fails on an option that the command does not have."""
    by_name = {name: o for o in command.params for name in (*o.opts, *o.secondary_opts)}
    options: dict[str, list[str]] = {}
    arguments: list[str] = []
    rest = iter(words)
    for word in rest:
        if not word.startswith("-"):
            arguments.append(word)
            continue
        name, equals, value = word.partition("=")
        assert name in by_name, f"{name} is no option of {command.name}"
        option = by_name[name]
        if not option.is_flag and not equals:
            value = next(rest)
        options.setdefault(option.name, []).append(value)
    return options, arguments


@pytest.mark.parametrize(("page", "words"), list(commands()))
def test_commands_exist_with_their_options_and_files(page: Path, words: list[str]) -> None:
    while words[0] == "sudo" or "=" in words[0]:
        words = words[1:]
    program, *rest = words
    if program == "hack/cluster":
        subprocess.run([sys.executable, ROOT / program, rest[0], "--help"], check=True)
        return
    if program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
        assert set(rest) <= set(targets)
        return
    if Path(program).name == "python":
        assert (ROOT / rest[0]).is_file()
        return
    if rest[:1] == ["edgetran"] and program == "kubectl":
        command: Any = get_command(plugin)
        command = command.commands[rest[1]]
        given_options(command, rest[2:])
        return
    if Path(program).name in ("git", "cd", "export", "pip", "pytest", "kubectl"):
        return
    if program in CLUSTER_PROGRAMS:
        return
    assert Path(program).name == "edgetran", f"{program}: a program that this test does not know"
    command = get_command(app)
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest.pop(0)]
    options, arguments = given_options(command, rest)
    places = [p for p in command.params if p.param_type_name == "argument"]
    assert len(arguments) == len(places), f"{command.name} takes {len(places)} arguments"
    files = options.get("files", [])
    for file in files:
        known = file in files_written_on(page) or file == "runs/quickstart/spec.yaml"
        assert known or (ROOT / file).is_file(), f"{file}: there is no such file"
    existing = [ROOT / file for file in files if (ROOT / file).is_file()]
    if existing and command.name in ("run", "validate"):
        seeds = [f"spec.seed={seed}" for seed in options.get("seed", [])]
        api.load_bundle(*existing, settings=[*options.get("settings", []), *seeds])


def test_the_commands_are_found() -> None:
    assert len(list(commands())) >= 10


def is_resource(block: Block) -> bool:
    return block.text.lstrip().startswith(("apiVersion:", "#")) and "apiVersion:" in block.text


@pytest.mark.parametrize(
    "block", [block for block in blocks("yaml") if is_resource(block)], ids=str
)
def test_resources_are_valid(block: Block) -> None:
    assert api.load_text(block.text, str(block))


@pytest.mark.parametrize(
    "block", [block for block in blocks("yaml") if not is_resource(block)], ids=str
)
def test_parts_of_a_spec_are_valid(block: Block) -> None:
    part = yaml.safe_load(block.text)
    errors = {}
    for kind in MINIMAL:
        try:
            api.parse_resource(resource_with(kind, part), str(block))
        except api.SpecError as error:
            errors[kind] = str(error)
        else:
            return
    pytest.fail("\n".join(errors.values()))


def resource_with(kind: str, part: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": api.API_VERSION,
        "kind": kind,
        "metadata": {"name": "documented"},
        "spec": MINIMAL[kind] | numbers_of(part),
    }


def numbers_of(part: Any) -> Any:
    """YAML 1.1 reads 5e-4 as text; our own reader and Kubernetes read a number."""
    if isinstance(part, Mapping):
        return {key: numbers_of(value) for key, value in part.items()}
    if isinstance(part, list):
        return [numbers_of(value) for value in part]
    if isinstance(part, str) and re.fullmatch(r"\d+(\.\d+)?e-?\d+", part):
        return float(part)
    return part


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_python_parses_and_what_it_imports_of_ours_exists(block: Block) -> None:
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("edgetran"):
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module} has no {alias.name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text())):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{target}: there is no such file"
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), f"{target}: there is no such heading"


def anchors(page: Path) -> set[str]:
    """The anchors that a page's headings get, and those that it sets itself."""
    text = FENCE.sub("", page.read_text())
    headings = (
        re.sub(r"[^\w\- ]", "", title.lower()) for title in re.findall(r"^#+ (.*)", text, re.M)
    )
    return {title.strip().replace(" ", "-") for title in headings} | set(
        re.findall(r'<a id="([^"]*)"', text)
    )


def test_json_excerpts_are_json() -> None:
    for block in blocks("json"):
        decoder, text = json.JSONDecoder(), block.text.strip()
        while text:
            _, end = decoder.raw_decode(text)
            text = text[end:].strip()
