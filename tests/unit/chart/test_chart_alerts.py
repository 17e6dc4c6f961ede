"""The alerts as the chart renders them, judged by Prometheus' own promtool."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from chart_rendering import ROOT, rendered
from helm_python import Chart

TESTS = Path(__file__).parent / "alerts.yaml"
RUNBOOKS = ROOT / "docs" / "runbooks"


@pytest.fixture(scope="module")
def groups(chart: Chart) -> list[dict[str, Any]]:
    spec = rendered(chart, {"prometheusRule": {"enabled": True}}).one("PrometheusRule")["spec"]
    return list(spec["groups"])


@pytest.fixture(scope="module")
def alerts(groups: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def promtool(*words: str | Path) -> str:
    program = shutil.which("promtool")
    assert program is not None, "promtool is missing: hack/setup test installs it"
    done = subprocess.run([program, *words], capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def test_the_rules_are_rules(groups: list[dict[str, Any]], tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": groups}))
    assert "SUCCESS" in promtool("check", "rules", file)
    assert not re.search(r"@\w+@", file.read_text()), "every threshold is put in"


def test_alerts_fire_when_they_must_and_only_then(
    groups: list[dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
    tests = yaml.safe_load(TESTS.read_text())
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], **tests}))
    assert "SUCCESS" in promtool("test", "rules", tmp_path / "tests.yaml")


def test_every_alert_is_tested_to_fire_and_to_be_silent(alerts: dict[str, Any]) -> None:
    tests = yaml.safe_load(TESTS.read_text())["tests"]
    fired = {
        each["alertname"]
        for test in tests
        for each in test["alert_rule_test"]
        if each.get("exp_alerts")
    }
    assert fired == set(alerts)


def test_every_alert_has_severity_summary_description_and_runbook(
    alerts: dict[str, dict[str, Any]],
) -> None:
    for name, rule in alerts.items():
        assert rule["labels"]["severity"] in ("info", "warning", "critical"), name
        annotations = rule["annotations"]
        assert set(annotations) == {"summary", "description", "runbook_url"}
        assert annotations["runbook_url"] == f"https://edgetran.io/runbooks/{name}.md"


def test_every_alert_has_a_runbook_with_meaning_diagnosis_and_mitigation(
    alerts: dict[str, dict[str, Any]],
) -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"} == set(alerts)
    for name in alerts:
        text = (RUNBOOKS / f"{name}.md").read_text()
        headings = re.findall(r"^#+ (.*)$", text, re.M)
        assert headings == [name, "Meaning", "Diagnosis", "Mitigation"], name
        assert f"({name}.md)" in (RUNBOOKS / "README.md").read_text()


def test_thresholds_labels_and_omissions_are_the_users(chart: Chart) -> None:
    spec = rendered(
        chart,
        {
            "prometheusRule": {
                "enabled": True,
                "labels": {"release": "kps"},
                "alertLabels": {"team": "edge", "severity": "none"},
                "disabled": ["EdgeTranOperatorDown", "EdgeTranStorageFilling"],
                "runbookUrl": "https://wiki.example.com/edgetran/",
                "thresholds": {"trialFailureRatio": 0.5, "noProgress": "30m"},
            }
        },
    ).one("PrometheusRule")
    assert spec["metadata"]["labels"]["release"] == "kps"
    rules = {rule["alert"]: rule for group in spec["spec"]["groups"] for rule in group["rules"]}
    assert "EdgeTranOperatorDown" not in rules
    assert "EdgeTranStorageFilling" not in rules
    failing = rules["EdgeTranTrialsFailing"]
    assert "> 0.5" in failing["expr"]
    assert failing["labels"] == {"severity": "warning", "team": "edge"}
    assert failing["annotations"]["runbook_url"].startswith("https://wiki.example.com/edgetran/Ed")
    assert rules["EdgeTranRunWithoutProgress"]["for"] == "30m"


def test_a_group_without_alerts_is_left_out(chart: Chart, groups: list[dict[str, Any]]) -> None:
    first = [rule["alert"] for rule in groups[0]["rules"]]
    values = {"prometheusRule": {"enabled": True, "disabled": first}}
    spec = rendered(chart, values).one("PrometheusRule")["spec"]
    assert [group["name"] for group in spec["groups"]] == [each["name"] for each in groups[1:]]
