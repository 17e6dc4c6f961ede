"""docs/reference.md says what the models say."""

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from edgetran.api import KINDS
from edgetran.api.base import ApiModel

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "hack" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def text(generator: ModuleType) -> str:
    return generator.reference()


def models_below(model: type[ApiModel]) -> Iterator[type[ApiModel]]:
    """Every model whose name the JSON schema of `model` uses."""
    names = set(model.model_json_schema(by_alias=True).get("$defs", {}))
    pending, seen = list(ApiModel.__subclasses__()), set()
    while pending:
        each = pending.pop()
        if each not in seen:
            seen.add(each)
            pending += each.__subclasses__()
            if each.__name__ in names:
                yield each


def test_the_file_is_what_the_models_give(text: str) -> None:
    assert (ROOT / "docs" / "reference.md").read_text() == text, "run: python hack/reference.py"


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_of_every_part_has_a_row_with_its_description(kind: str, text: str) -> None:
    rows = [line.replace(r"\|", "|") for line in text.splitlines() if line.startswith("| <a id")]
    checked = 0
    for model in models_below(KINDS[kind]):
        if model.__name__ in ("ObjectMeta", "OwnerReference"):  # what an API server keeps
            continue
        for field in model.model_fields.values():
            assert any(
                f"`{field.alias}`" in row and (field.description or "") in row for row in rows
            ), f"{model.__name__}.{field.alias}"
            checked += 1
    assert checked > 20


@pytest.mark.parametrize("kind", KINDS)
def test_every_rule_of_every_part_is_told(kind: str, text: str) -> None:
    for model in (KINDS[kind], *models_below(KINDS[kind])):
        for rule in model.RULES:
            message = rule.message if rule.at else rule.message.removeprefix("must")
            told = message in text or rule.name == "nameFitsChildren"
            assert told, f"{model.__name__}: {rule.message}"


def test_every_link_leads_to_a_heading(text: str) -> None:
    headings = {
        line.lstrip("# ").lower().replace(" ", "-") for line in re.findall(r"^#+ .*", text, re.M)
    }
    for target in re.findall(r"\]\(#([^)]*)\)", text):
        assert target in headings


def test_anchors_are_unique(text: str) -> None:
    anchors = re.findall(r'<a id="([^"]*)"', text)
    assert len(anchors) == len(set(anchors))


def test_check_tells_a_stale_file(
    generator: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(generator, "REFERENCE", tmp_path / "reference.md")
    assert generator.main(["--check"]) == 1
    assert "python hack/reference.py" in capsys.readouterr().err
    assert generator.main([]) == 0
    assert generator.main(["--check"]) == 0
    assert generator.main(["--chekc"]) == 2
