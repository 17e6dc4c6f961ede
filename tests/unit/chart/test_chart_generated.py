"""What is generated in the chart is what its sources say."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from chart_rendering import ROOT


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("chart", ROOT / "hack" / "chart.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_generated_file_is_fresh(generator: ModuleType) -> None:
    assert generator.main(["--check"]) == 0, "run: make chart"


def test_check_tells_a_stale_and_a_superfluous_file(
    generator: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    chart = tmp_path / "charts" / "edgetran"
    (chart / "templates" / "crds").mkdir(parents=True)
    for name in ("README.md", "Chart.yaml"):
        (chart / name).write_text((generator.CHART / name).read_text())
    monkeypatch.setattr(generator, "CHART", chart)
    assert generator.main([]) == 0
    assert generator.main(["--check"]) == 0
    (chart / "values.yaml").write_text("{}\n")
    (chart / "templates" / "crds" / "old.yaml").write_text("{}\n")
    assert generator.main(["--check"]) == 1
    said = capsys.readouterr().err
    assert "values.yaml is stale: make chart" in said
    assert "old.yaml is stale" in said
    assert generator.main(["--chekc"]) == 2


def test_braces_in_a_description_reach_the_cluster_as_they_are(generator: ModuleType) -> None:
    text = "kind: X\nmetadata:\n  name: a.b\n  labels:\n    c: d\nspec: '{{ x }}'\n"
    assert """spec: '{{ "{{" }} x {{ "}}" }}'""" in generator.crd_template(text)
    with pytest.raises(ValueError, match="allowed is a name and labels"):
        generator.crd_template("kind: X\n")


def test_lists_of_rules_are_left_out_for_servers_that_do_not_know_them(
    generator: ModuleType,
) -> None:
    text = (
        "kind: X\nmetadata:\n  name: a.b\n  labels:\n    c: d\nspec:\n  a:\n"
        "    x-kubernetes-validations:\n    - rule: self\n      message: m\n  b: 1\n"
        "  x-kubernetes-validations:\n  - rule: self\n"
    )
    made = generator.crd_template(text)
    assert made.count("{{- if $cel }}\n") == 2
    assert (
        "{{- if $cel }}\n    x-kubernetes-validations:\n    - rule: self\n      message: m\n"
        "{{- end }}\n  b: 1\n{{- if $cel }}\n  x-kubernetes-validations:\n  - rule: self\n"
        "{{- end }}\n{{- end }}\n"
    ) in made
