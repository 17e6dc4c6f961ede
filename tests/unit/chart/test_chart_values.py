"""values.schema.json refuses what would not work, and says where and what is allowed."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from chart_rendering import CHART, EVERYTHING
from helm_python import Chart, HelmValuesError

WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"replicas": 2}, "", "replicas"),
    ({"image": {"pullpolicy": "Always"}}, "/image", "pullpolicy"),
    ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy", "'IfNotPresent'"),
    ({"image": "edgetran:1"}, "/image", "want object"),
    ({"image": {"digest": "0123"}}, "/image/digest", "sha256"),
    ({"image": {"digest": "sha256:XYZ"}}, "/image/digest", "sha256"),
    ({"image": {"tag": "1.0 beta"}}, "/image/tag", "pattern"),
    ({"image": {"tag": 1.2}}, "/image/tag", "want string"),
    ({"image": {"repository": "Edge Tran"}}, "/image/repository", "pattern"),
    ({"imageRegistry": "https://x"}, "/imageRegistry", "pattern"),
    ({"imagePullSecrets": "registry"}, "/imagePullSecrets", "want array"),
    ({"imagePullSecrets": [{"name": "registry"}]}, "/imagePullSecrets/0", "want string"),
    ({"scope": "Namespace"}, "/scope", "'Namespaced'"),
    ({"scope": "Namespaced", "watch": {"namespaces": "a"}}, "/watch/namespaces", "want array"),
    ({"scope": "Namespaced", "watch": {"namespaces": ["A_b"]}}, "/watch/namespaces/0", "pattern"),
    ({"watch": {"namespaces": ["a"]}}, "/watch/namespaces", "maxItems"),
    ({"workers": {"images": {"tpu": {}}}}, "/workers/images", "tpu"),
    ({"workers": {"allow": {"hostPath": "yes"}}}, "/workers/allow/hostPath", "want boolean"),
    ({"workers": {"allow": {"root": True}}}, "/workers/allow", "root"),
    ({"workers": {"allow": {"env": ["A=B"]}}}, "/workers/allow/env", "pattern"),
    ({"workers": {"scratch": {"shm": "much"}}}, "/workers/scratch/shm", "pattern"),
    (
        {"workers": {"terminationGraceSeconds": 0}},
        "/workers/terminationGraceSeconds",
        "minimum",
    ),
    (
        {"workers": {"resources": {"profile": {"requests": {"memory": "2 GB"}}}}},
        "/workers/resources/profile/requests/memory",
        "pattern",
    ),
    ({"workers": {"resources": {"train": {}}}}, "/workers/resources", "train"),
    ({"workers": {"podPatch": ["spec"]}}, "/workers/podPatch", "want object"),
    ({"operator": {"logLevel": "verbose"}}, "/operator/logLevel", "'debug'"),
    ({"operator": {"reconcilers": 0}}, "/operator/reconcilers", "minimum"),
    ({"operator": {"reconcilers": 2.5}}, "/operator/reconcilers", "want integer"),
    ({"operator": {"maxLoopLagSeconds": "10s"}}, "/operator/maxLoopLagSeconds", "want number"),
    ({"crds": {"keep": "true"}}, "/crds/keep", "want boolean"),
    ({"crds": False}, "/crds", "want object"),
    ({"serviceAccount": {"name": "Some One"}}, "/serviceAccount/name", "pattern"),
    ({"rbac": {"rules": []}}, "/rbac", "rules"),
    ({"resources": {"limit": {}}}, "/resources", "limit"),
    ({"resources": {"requests": {"cpu": -1}}}, "/resources/requests/cpu", "minimum"),
    ({"resources": {"requests": {"cpu": "half"}}}, "/resources/requests/cpu", "pattern"),
    ({"probes": {"port": 70000}}, "/probes/port", "maximum"),
    ({"probes": {"liveness": {"periodSeconds": 0}}}, "/probes/liveness/periodSeconds", "minimum"),
    ({"tolerations": [{"key": "a", "effect": "Never"}]}, "/tolerations/0/effect", "'NoExecute'"),
    ({"tolerations": {"key": "a"}}, "/tolerations", "want array"),
    ({"nodeSelector": {"a": True}}, "/nodeSelector/a", "want string"),
    ({"nodeSelector": {"a b": "c"}}, "/nodeSelector", "a b"),
    ({"extraEnv": {"A": "b"}}, "/extraEnv", "want array"),
    ({"extraEnv": [{"name": "A-B"}]}, "/extraEnv/0/name", "pattern"),
    ({"extraEnv": [{"value": "b"}]}, "/extraEnv/0", "name"),
    ({"extraVolumeMounts": [{"name": "a", "mountPath": "b"}]}, "/extraVolumeMounts/0", "pattern"),
    ({"command": "edgetran-operator"}, "/command", "want array"),
    ({"metrics": {"port": "metrics"}}, "/metrics/port", "want integer"),
    (
        {"metrics": {"serviceMonitor": {"interval": 30}}},
        "/metrics/serviceMonitor/interval",
        "want string",
    ),
    (
        {"metrics": {"podMonitor": {"interval": "half a minute"}}},
        "/metrics/podMonitor/interval",
        "pattern",
    ),
    (
        {"prometheusRule": {"thresholds": {"trialFailureRatio": 25}}},
        "/prometheusRule/thresholds/trialFailureRatio",
        "exclusiveMaximum",
    ),
    ({"prometheusRule": {"runbookUrl": "docs"}}, "/prometheusRule/runbookUrl", "pattern"),
    ({"prometheusRule": {"disabled": ["Watchdog"]}}, "/prometheusRule/disabled/0", "pattern"),
    ({"dashboards": {"labels": ["grafana"]}}, "/dashboards/labels", "want object"),
    (
        {"podDisruptionBudget": {"maxUnavailable": 2}},
        "/podDisruptionBudget/maxUnavailable",
        "maximum",
    ),
    (
        {"networkPolicy": {"apiServerCidrs": ["10.0.0.1"]}},
        "/networkPolicy/apiServerCidrs/0",
        "pattern",
    ),
    ({"terminationGracePeriodSeconds": -1}, "/terminationGracePeriodSeconds", "minimum"),
    ({"fullnameOverride": "Edge_Tran"}, "/fullnameOverride", "pattern"),
]


def test_there_are_enough_of_them() -> None:
    assert len(WRONG) >= 30


@pytest.mark.parametrize(("values", "where", "word"), WRONG, ids=[json.dumps(w[0]) for w in WRONG])
def test_wrong_values_are_refused_with_the_place_and_what_is_allowed(
    chart: Chart, values: dict[str, Any], where: str, word: str
) -> None:
    with pytest.raises(HelmValuesError) as refused:
        chart.validate_schema(values)
    said = str(refused.value)
    assert f"at '{where}" in said
    assert word in said


def test_right_values_are_taken(chart: Chart) -> None:
    chart.validate_schema({})
    chart.validate_schema(EVERYTHING)
    chart.validate_schema({"global": {"anything": 1}})
    chart.validate_schema({"resources": {"limits": {"cpu": 1.5, "memory": "1.5Gi"}}})
    chart.validate_schema({"scope": "Namespaced", "watch": {"namespaces": ["a"]}})


def objects(schema: Mapping[str, Any], where: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    if schema.get("type") == "object":
        yield where, schema
    for name, part in schema.get("properties", {}).items():
        yield from objects(part, f"{where}.{name}")
    if "items" in schema:
        yield from objects(schema["items"], f"{where}[]")


FREE = {
    ".global", ".workers.podPatch", ".podSecurityContext", ".securityContext", ".affinity",
    ".extraVolumes[]", ".extraEnv[].valueFrom", ".networkPolicy.metricsFrom[]",
    *(f".metrics.{m}.{r}[]" for m in ("serviceMonitor", "podMonitor")
      for r in ("relabelings", "metricRelabelings")),
}  # fmt: skip
"""Parts of other APIs, whose servers check them."""


def test_unknown_keys_are_refused_everywhere_but_in_parts_of_other_apis() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    free = {
        where
        for where, part in objects(schema)
        if part.get("additionalProperties") is True or "additionalProperties" not in part
    }
    named = {where for where, part in objects(schema) if "properties" in part}
    assert free == FREE
    assert not named & FREE


def test_every_value_is_described() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    for where, part in objects(schema):
        for name, value in part.get("properties", {}).items():
            assert value.get("description"), f"{where}.{name}"
