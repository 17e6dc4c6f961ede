"""What Helm makes of the chart on servers of every release of Kubernetes that can be asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from chart_rendering import CHART, NAMESPACE, NAMESPACED, RELEASE
from helm_python import Config
from kubernetes_schemas import RELEASES, check
from pod_security import violations
from release_server import release_server, served

SCOPED = {key: part for key, part in NAMESPACED.items() if key != "metrics"}
"""Without the monitors, which are kinds of Prometheus' operator."""


def installed(release: str, values: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    """The objects that Helm applies to a server of the release."""
    with release_server(release, folder) as kubeconfig:
        config = Config(kubeconfig_path=str(kubeconfig), namespace=NAMESPACE)
        answer = config.install(CHART, RELEASE, values, namespace=NAMESPACE, dry_run="server")
    return [each for each in yaml.load_all(answer["manifest"], yaml.CSafeLoader) if each]


def test_releases_are_those_of_several_years() -> None:
    assert RELEASES[0] == "1.25.0"
    assert len(RELEASES) >= 13
    assert "Job" in served(RELEASES[-1])["batch/v1"]
    assert "policy/v1beta1" not in served(RELEASES[-1])


@pytest.mark.parametrize(
    ("release", "values"),
    [*((release, {}) for release in RELEASES), (RELEASES[0], SCOPED), (RELEASES[-1], SCOPED)],
)
def test_the_chart_installs_and_fits_the_release(
    release: str, values: dict[str, Any], tmp_path: Path
) -> None:
    objects = installed(release, values, tmp_path)
    for body in objects:
        assert body["kind"] in served(release)[body["apiVersion"]]
        check(body, release)
    pods = [body for body in objects if body["kind"] == "Pod"]
    pods += [body["spec"]["template"] for body in objects if body["kind"] == "Deployment"]
    assert pods
    assert [violations(pod) for pod in pods] == [[]] * len(pods)
    definitions = [body for body in objects if body["kind"] == "CustomResourceDefinition"]
    assert len(definitions) == 3
    assert all("x-kubernetes-validations" in json.dumps(each) for each in definitions)
