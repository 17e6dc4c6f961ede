"""Whatever the values are, what Helm renders is what Kubernetes takes."""

import json
import re
from collections.abc import Iterator
from dataclasses import fields as fields_of
from pathlib import Path
from typing import Any

import pytest
import yaml
from chart_rendering import (
    CHART,
    DIGEST,
    EVERYTHING,
    MATRIX,
    NAMESPACE,
    NAMESPACED,
    NOTHING,
    RELEASE,
    Rendered,
    rendered,
)
from helm_python import Chart, lint
from kubernetes_schemas import RELEASES, check

from edgetran import __version__
from edgetran_operator.settings import LeaderElection, Settings, load_settings

FOREIGN = ("ServiceMonitor", "PodMonitor", "PrometheusRule")
"""Kinds of Prometheus' operator, of which Kubernetes has no schemas."""


@pytest.fixture(scope="module")
def renderings(chart: Chart) -> dict[str, Rendered]:
    return {name: rendered(chart, values) for name, values in MATRIX.items()}


def distinct(renderings: dict[str, Rendered]) -> Iterator[dict[str, Any]]:
    seen = set()
    for each in renderings.values():
        for body in each.objects:
            text = json.dumps(body)
            if text not in seen:
                seen.add(text)
                yield body


@pytest.mark.parametrize("values", [{}, EVERYTHING, NAMESPACED, NOTHING])
def test_lint_finds_nothing(values: dict[str, Any]) -> None:
    found = lint(CHART, values, strict=True)
    said = [message["error"] for message in found["messages"]]
    assert not found["errors"]
    assert said in ([], ["icon is recommended"])


def test_releases_are_those_from_1_25_on() -> None:
    assert RELEASES[0] == "1.25.0"
    assert len(RELEASES) >= 13


@pytest.mark.slow
@pytest.mark.parametrize("release", RELEASES)
def test_objects_of_every_combination_are_valid(
    renderings: dict[str, Rendered], release: str
) -> None:
    checked = 0
    for body in distinct(renderings):
        if body["kind"] not in FOREIGN and body["kind"] != "CustomResourceDefinition":
            check(body, release)
            checked += 1
    assert checked > 50


def test_definitions_are_those_of_crds_with_the_policy_that_keeps_them(
    by_default: Rendered, renderings: dict[str, Rendered]
) -> None:
    ours = [
        yaml.load(path.read_text(), yaml.CSafeLoader)
        for path in CHART.parents[1].glob("crds/*.yaml")
    ]
    theirs = {each["metadata"]["name"]: each for each in by_default.of("CustomResourceDefinition")}
    assert len(theirs) == len(ours) == 3
    for each in ours:
        found = theirs[each["metadata"]["name"]]
        assert found["spec"] == each["spec"]
        assert found["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    for each in renderings["crds.keep=False"].of("CustomResourceDefinition"):
        assert not each["metadata"].get("annotations")
    assert not renderings["crds.enabled=False"].of("CustomResourceDefinition")


def test_names_fit_and_objects_are_of_the_release(renderings: dict[str, Rendered]) -> None:
    for body in distinct(renderings):
        metadata = body["metadata"]
        longest = 253 if body["kind"].startswith("ClusterRole") else 63
        assert len(metadata["name"]) <= longest
        assert metadata["labels"]["app.kubernetes.io/instance"] == RELEASE
        assert metadata["labels"]["app.kubernetes.io/managed-by"] == "Helm"


def test_no_object_stands_twice(renderings: dict[str, Rendered]) -> None:
    for each in renderings.values():
        names = [
            (body["kind"], body["metadata"].get("namespace"), body["metadata"]["name"])
            for body in each.objects
        ]
        assert len(names) == len(set(names))


def test_settings_are_read_by_the_operator_as_they_were_given(
    renderings: dict[str, Rendered], tmp_path: Path
) -> None:
    def settings(name: str) -> Settings:
        (config,) = (
            body
            for body in renderings[name].of("ConfigMap")
            if body["metadata"]["name"].endswith("-settings")
        )
        file = tmp_path / "operator.yaml"
        file.write_text(config["data"]["operator.yaml"])
        return load_settings(file, {})

    for name in renderings:
        settings(name)
    given = yaml.safe_load((tmp_path / "operator.yaml").read_text())
    fields = {re.sub("_[a-z]", lambda m: m[0][1].upper(), f.name) for f in fields_of(Settings)}
    assert set(given) == fields, "every setting can be reached"
    election = LeaderElection(lease=RELEASE, namespace=NAMESPACE)
    assert settings("default") == Settings(leader_election=election)
    everything = settings("everything")
    registry = "registry.lan:5000/edgetran"
    assert everything.images.cpu == f"{registry}/edgetran-worker:{__version__}-cpu"
    assert everything.images.cuda == f"{registry}/edgetran-worker:dev@{DIGEST}"
    assert everything.image_pull_secrets == ("registry",)
    assert everything.allow.images
    assert everything.allow.env == ("HF_*",)
    assert everything.allow.priority_classes == ("high",)
    assert (everything.scratch.shm, everything.scratch.tmp) == ("1Gi", "10")
    assert everything.worker_pod_patch == {"spec": {"priorityClassName": "low"}}
    assert everything.resources.profile["limits"] == {"memory": "2Gi", "cpu": 2}
    assert settings("namespaced").namespaces == ("team-a", "team-b")
    assert settings("own namespace").namespaces == (NAMESPACE,)
    assert settings("metrics.enabled=False").metrics_port == -1
    assert settings("operator.logLevel=debug").log_level == "debug"


def test_other_settings_make_another_pod(renderings: dict[str, Rendered]) -> None:
    def pod(name: str) -> dict[str, Any]:
        template: dict[str, Any] = renderings[name].one("Deployment")["spec"]["template"]
        return template

    assert pod("operator.logLevel=debug") != pod("default")
    assert pod("serviceAccount.create=False")["metadata"] == pod("default")["metadata"]


def test_the_pod_is_kept_to_what_the_restricted_standard_allows(by_default: Rendered) -> None:
    spec = by_default.one("Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate")
    pods = [spec["template"]["spec"], by_default.one("Pod")["spec"]]
    for pod in pods:
        context = pod["securityContext"]
        assert context["runAsNonRoot"]
        assert context["runAsUser"] > 0
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert set(container["resources"]) == {"requests", "limits"}
        assert all("hostPath" not in volume for volume in pod.get("volumes", []))
    ports = {port["name"] for port in pods[0]["containers"][0]["ports"]}
    assert ports == {"probes", "metrics"}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert pods[0]["containers"][0][probe]["httpGet"]["port"] == "probes"


def test_selectors_take_the_operator_and_not_its_workers(by_default: Rendered) -> None:
    worker = {
        "app.kubernetes.io/name": "edgetran",
        "app.kubernetes.io/instance": RELEASE,
        "app.kubernetes.io/component": "search",
        "app.kubernetes.io/managed-by": "edgetran",
    }
    operator = by_default.one("Deployment")["spec"]["template"]["metadata"]["labels"]
    tested = by_default.one("Pod")["metadata"]["labels"]
    selector = by_default.one("Service")["spec"]["selector"]
    assert selector.items() <= operator.items()
    assert not selector.items() <= worker.items()
    assert not selector.items() <= tested.items()


def test_monitors_select_what_they_are_for(renderings: dict[str, Rendered]) -> None:
    everything, namespaced = renderings["everything"], renderings["namespaced"]
    service = everything.one("Service")
    monitor = everything.one("ServiceMonitor")
    labels = service["metadata"]["labels"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert [each["port"] for each in monitor["spec"]["endpoints"]] == [
        each["name"] for each in service["spec"]["ports"]
    ]
    assert monitor["metadata"]["labels"]["release"] == "kps"
    for found, selector in (
        (everything, {"any": True}),
        (namespaced, {"matchNames": ["team-a", "team-b"]}),
    ):
        pods = found.of("PodMonitor")
        assert [each["spec"]["namespaceSelector"] for each in pods] == [selector] * 2
    assert not renderings["nothing"].of("ServiceMonitor"), "there is nothing to scrape"


def test_namespaced_grants_nothing_cluster_wide_but_nodes(renderings: dict[str, Rendered]) -> None:
    each = renderings["namespaced"]
    role = next(
        body
        for body in each.of("ClusterRole")
        if not any("aggregate" in key for key in body["metadata"]["labels"])
    )
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list", "watch"]}
    ]
    assert {body["metadata"]["namespace"] for body in each.of("Role")} == {"team-a", "team-b"}
    cluster_wide = next(
        body for body in renderings["default"].of("ClusterRole") if len(body["rules"]) > 1
    )
    assert each.of("Role")[0]["rules"] == cluster_wide["rules"][1:]
    account = {"kind": "ServiceAccount", "name": RELEASE, "namespace": NAMESPACE}
    for binding in (*each.of("RoleBinding"), *each.of("ClusterRoleBinding")):
        assert binding["subjects"] == [account]
    assert not renderings["default"].of("Role")


def test_no_role_has_a_wildcard_or_reads_secrets(renderings: dict[str, Rendered]) -> None:
    roles = [body for body in distinct(renderings) if body["kind"] in ("Role", "ClusterRole")]
    assert roles
    for role in roles:
        for rule in role["rules"]:
            words = {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
            assert not words & {"*", "secrets", "escalate", "bind", "impersonate", "pods/exec"}


def test_of_several_operators_the_one_with_the_lease_acts(chart: Chart) -> None:
    each = rendered(chart, {"operator": {"replicas": 2}})
    (role,), (deployment,) = each.of("Role"), each.of("Deployment")
    assert deployment["spec"]["replicas"] == 2
    assert deployment["spec"]["strategy"] == {"type": "RollingUpdate"}
    assert role["metadata"]["namespace"] == NAMESPACE
    named = [rule for rule in role["rules"] if "resourceNames" in rule]
    assert [rule["resourceNames"] for rule in named] == [[RELEASE]]


def test_rayjobs_are_only_granted_where_asked(renderings: dict[str, Rendered]) -> None:
    def groups(name: str) -> set[str]:
        rules = [rule for body in renderings[name].of("ClusterRole") for rule in body["rules"]]
        return {group for rule in rules for group in rule["apiGroups"]}

    assert "ray.io" in groups("default")
    assert "ray.io" not in groups("rbac.rayJobs=False")


def test_network_policies_open_what_is_needed(renderings: dict[str, Rendered]) -> None:
    operator, workers, readers = renderings["everything"].of("NetworkPolicy")
    assert readers["metadata"]["namespace"] == "team-a"
    assert workers["metadata"]["namespace"] == "team-a"
    assert workers["spec"]["policyTypes"] == ["Ingress"]
    ports = [port["port"] for rule in operator["spec"]["egress"] for port in rule["ports"]]
    assert ports == [443, 6443, 8443, 16443, 53, 53, 5353, 5353, 3128]
    assert operator["spec"]["egress"][0]["to"] == [{"ipBlock": {"cidr": "10.0.0.1/32"}}]
    scraped = next(rule for rule in operator["spec"]["ingress"] if rule["ports"][0]["port"] == 9090)
    assert scraped["from"] == EVERYTHING["networkPolicy"]["metricsFrom"]


def test_network_policies_are_on_and_reach_the_api_server_of_k3s(
    renderings: dict[str, Rendered],
) -> None:
    (operator,) = renderings["default"].of("NetworkPolicy")
    first, names = operator["spec"]["egress"]
    assert {443, 6443} <= {port["port"] for port in first["ports"]}
    assert "to" not in first, "its address is known to nobody before the release"
    assert {(port["port"], port["protocol"]) for port in names["ports"]} >= {(53, "UDP")}
    opened = {port["port"] for rule in operator["spec"]["ingress"] for port in rule["ports"]}
    assert opened == {8080, 9090}
    assert renderings["networkPolicy.enabled=False"].of("NetworkPolicy") == []


def test_workers_accept_scrapes_alone_in_the_namespaces_that_are_known(
    renderings: dict[str, Rendered],
) -> None:
    _, *others = renderings["namespaced"].of("NetworkPolicy")
    workers = [each for each in others if each["metadata"]["name"].endswith("-workers")]
    assert [each["metadata"]["namespace"] for each in workers] == ["team-a", "team-b"]
    for each in workers:
        (scraped,) = each["spec"]["ingress"]
        assert scraped == {"ports": [{"port": "metrics", "protocol": "TCP"}]}


def test_only_what_measures_reaches_what_hands_artefacts_over(
    renderings: dict[str, Rendered],
) -> None:
    _, *others = renderings["namespaced"].of("NetworkPolicy")
    readers = [each for each in others if each["metadata"]["name"].endswith("-readers")]
    assert [each["metadata"]["namespace"] for each in readers] == ["team-a", "team-b"]
    for each in readers:
        selected = each["spec"]["podSelector"]["matchLabels"]
        assert selected["app.kubernetes.io/component"] == "reader"
        (rule,) = each["spec"]["ingress"]
        (peer,) = rule["from"]
        assert peer.keys() == {"podSelector"}, "pods of the same namespace alone"
        assert peer["podSelector"]["matchLabels"]["edgetran.io/measuring"] == "true"
        assert rule["ports"] == [{"port": "artifacts", "protocol": "TCP"}]
        assert each["spec"]["egress"] == []


def test_policies_of_ray_clusters_are_granted_and_told_to_the_operator(
    renderings: dict[str, Rendered],
) -> None:
    def granted(name: str) -> bool:
        rules = [rule for body in renderings[name].of("ClusterRole") for rule in body["rules"]]
        return any("networkpolicies" in rule["resources"] for rule in rules)

    assert granted("default")
    assert not granted("rbac.rayJobs=False")
    assert not granted("networkPolicy.enabled=False")
    told = settings_of(renderings["everything"])["networkPolicy"]
    assert told["metricsFrom"] == EVERYTHING["networkPolicy"]["metricsFrom"]
    assert (
        settings_of(renderings["networkPolicy.enabled=False"])["networkPolicy"]["enabled"] is False
    )


def settings_of(rendering: Rendered) -> dict[str, Any]:
    (found,) = [
        body for body in rendering.of("ConfigMap") if body["metadata"]["name"].endswith("-settings")
    ]
    settings: dict[str, Any] = yaml.safe_load(found["data"]["operator.yaml"])
    return settings


def test_notes_say_what_comes_next(renderings: dict[str, Rendered]) -> None:
    assert "watches all namespaces" in renderings["default"].notes
    assert "watches team-a, team-b" in renderings["namespaced"].notes
    assert "WARNING: workers.allow.images" in renderings["everything"].notes
    assert "crds.enabled=false" in renderings["crds.enabled=False"].notes
    assert "WARNING" not in renderings["default"].notes


def test_the_chart_has_the_version_of_the_package(chart: Chart) -> None:
    assert chart.version == chart.metadata["appVersion"] == __version__


def test_a_packed_chart_has_nothing_that_does_not_belong(chart: Chart, tmp_path: Path) -> None:
    archive = Path(chart.save(tmp_path))
    assert archive.stat().st_size < 500_000, "a release is one Secret, which has 1 MiB"
    names = [each["name"] for each in (*chart.files, *chart.templates)]
    assert not [name for name in names if re.search(r"\.(pyc|tgz|bak)$|__pycache__", name)]
