"""The chart on a real cluster: Helm, a real Prometheus, and what the API server saw."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml
from cluster_chain import worker_settings
from cluster_fixtures import ROOT, Cluster, wait_until
from helm_python import Chart
from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

CHART = ROOT / "charts" / "edgetran"
RELEASE = NAMESPACE = "edgetran"
OPERATOR = f"system:serviceaccount:{NAMESPACE}:{RELEASE}"
IMAGE = {"repository": "edgetran.local/host", "tag": "latest"}


def chart_values(cache: Path) -> dict[str, Any]:
    """Values with which the operator and workers run this machine's own Python in real pods.

    Args:
        cache: a folder of this machine that every user may write; pods keep downloads there.
    """
    settings = worker_settings(cache)
    (worker,) = settings["workerPodPatch"]["spec"]["containers"]
    folder = Path(sys.prefix) / "bin"
    return {
        "image": {**IMAGE, "pullPolicy": "Never"},
        "command": [str(folder / "edgetran-operator")],
        "extraEnv": worker["env"],
        "extraVolumes": settings["workerPodPatch"]["spec"]["volumes"],
        "extraVolumeMounts": worker["volumeMounts"],
        "resources": {"requests": {"cpu": "50m"}, "limits": {"memory": "256Mi"}},
        "tests": {"python": str(folder / "python")},
        "operator": {"maxProfileError": settings["maxProfileError"]},
        "workers": {
            "images": dict.fromkeys(settings["images"], IMAGE),
            "imagePullPolicy": "Never",
            "resources": settings["resources"],
            "allow": settings["allow"],
            "terminationGraceSeconds": settings["terminationGraceSeconds"],
            "podPatch": settings["workerPodPatch"],
        },
    }


def earlier_chart(folder: Path) -> Path:
    """The chart as an earlier version of it: what differs is what an upgrade has to change."""
    place = folder / "edgetran"
    shutil.copytree(CHART, place)
    meta = place / "Chart.yaml"
    meta.write_text(re.sub(r"^version: .*$", 'version: "0.0.9"', meta.read_text(), flags=re.M))
    crd = place / "templates" / "crds" / "edgetran.io_profilingjobs.yaml"
    crd.write_text(re.sub(r"^( *- )pj\n", r"\1pj\n\1prof\n", crd.read_text(), flags=re.M))
    return place


def monitoring() -> dict[str, dict[str, Any]]:
    """The objects of the chart that Prometheus' operator reads, by kind."""
    values = {
        "metrics": {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}},
        "prometheusRule": {"enabled": True},
    }
    files = Chart.load(CHART).render(values, name=RELEASE, namespace=NAMESPACE)
    bodies = [
        body
        for path, text in files.items()
        if not path.endswith("NOTES.txt")
        for body in yaml.load_all(text, yaml.CSafeLoader)
        if body is not None
    ]
    kinds = ("ServiceMonitor", "PodMonitor", "PrometheusRule")
    return {
        body["kind"]: body
        for body in bodies
        if body["kind"] in kinds and not body["metadata"]["name"].endswith("-served")
    }


def scrape_configs(found: Mapping[str, Any], folder: Path) -> list[dict[str, Any]]:
    """What Prometheus' operator makes of a ServiceMonitor and a PodMonitor.

    Args:
        found: the monitors by kind.
        folder: where `Discovery` writes what there is to scrape.
    """
    service, pods = found["ServiceMonitor"], found["PodMonitor"]
    (of_service,), (of_pods,) = service["spec"]["endpoints"], pods["spec"]["podMetricsEndpoints"]
    return [
        {
            **_common("service", of_service),
            "file_sd_configs": [_listed(folder, "endpoints")],
            "relabel_configs": [
                *_in_namespaces(service["spec"]["namespaceSelector"]),
                *_selected(service["spec"]["selector"], "service"),
                _keep("__meta_kubernetes_endpoint_port_name", of_service["port"]),
                _copy("__meta_kubernetes_namespace", "namespace"),
                _copy("__meta_kubernetes_service_name", "service"),
                _copy("__meta_kubernetes_pod_name", "pod"),
                _copy("__meta_kubernetes_service_name", "job"),
            ],
        },
        {
            **_common("pods", of_pods),
            "file_sd_configs": [_listed(folder, "pods")],
            "relabel_configs": [
                *_in_namespaces(pods["spec"]["namespaceSelector"]),
                *_selected(pods["spec"]["selector"], "pod"),
                _keep("__meta_kubernetes_pod_container_port_name", of_pods["port"]),
                {
                    "source_labels": ["__meta_kubernetes_pod_phase"],
                    "regex": "(Failed|Succeeded)",
                    "action": "drop",
                },
                _copy("__meta_kubernetes_namespace", "namespace"),
                _copy("__meta_kubernetes_pod_name", "pod"),
                {
                    "target_label": "job",
                    "replacement": f"{NAMESPACE}/{pods['metadata']['name']}",
                },
                *(_snake(each) for each in of_pods.get("relabelings", ())),
            ],
        },
    ]


def _common(name: str, endpoint: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "job_name": name,
        "metrics_path": endpoint["path"],
        "honor_labels": endpoint["honorLabels"],
        "scrape_interval": "2s",
        "scrape_timeout": "2s",
    }


def _listed(folder: Path, role: str) -> dict[str, Any]:
    return {"files": [str(folder / f"{role}.json")], "refresh_interval": "1s"}


def _in_namespaces(selector: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if "matchNames" in selector:
        yield _keep("__meta_kubernetes_namespace", "|".join(selector["matchNames"]))
    else:
        assert selector == {"any": True}


def _selected(selector: Mapping[str, Any], role: str) -> Iterator[dict[str, Any]]:
    for label, value in selector["matchLabels"].items():
        yield _keep(f"__meta_kubernetes_{role}_label_{_plain(label)}", value)
    for each in selector.get("matchExpressions", ()):
        assert each["operator"] == "In"
        source = f"__meta_kubernetes_{role}_label_{_plain(each['key'])}"
        yield _keep(source, "|".join(each["values"]))


def _plain(label: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_]", "_", label)


def _keep(source: str, value: str) -> dict[str, Any]:
    return {"source_labels": [source], "regex": value, "action": "keep"}


def _copy(source: str, target: str) -> dict[str, Any]:
    return {"source_labels": [source], "target_label": target}


def _snake(relabeling: Mapping[str, Any]) -> dict[str, Any]:
    return {
        re.sub("[A-Z]", lambda m: "_" + m[0].lower(), key): value
        for key, value in relabeling.items()
    }


class Discovery(threading.Thread):
    """Lists all endpoints and pods of the cluster for Prometheus, as its own discovery does.

    Debian's Prometheus is built without that of Kubernetes. Labels are those of its documentation.
    """

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        super().__init__(name="discovery", daemon=True)
        self._cluster = cluster
        self._folder = folder
        self._ended = threading.Event()
        self._write("endpoints", [])
        self._write("pods", [])

    def run(self) -> None:
        """List again and again; an API server that is away leaves what was known."""
        while not self._ended.wait(1):
            with suppress(ApiException, HTTPError):
                services = {_place(each): each for each in self._items("services")}
                endpoints = self._items("endpoints")
                self._write("endpoints", [t for e in endpoints for t in _of_service(e, services)])
                self._write("pods", [t for pod in self._items("pods") for t in _of_pod(pod)])

    def end(self) -> None:
        """Stop listing."""
        self._ended.set()
        self.join(30)

    def _items(self, plural: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self._cluster.call("GET", f"/api/v1/{plural}")["items"]
        return items

    def _write(self, role: str, targets: list[dict[str, Any]]) -> None:
        new = self._folder / f"{role}.new"
        new.write_text(json.dumps(targets))
        new.rename(self._folder / f"{role}.json")


def _place(body: Mapping[str, Any]) -> tuple[str, str]:
    return body["metadata"]["namespace"], body["metadata"]["name"]


def _meta(body: Mapping[str, Any], role: str) -> dict[str, str]:
    namespace, name = _place(body)
    labels = body["metadata"].get("labels", {})
    return {
        "__meta_kubernetes_namespace": namespace,
        f"__meta_kubernetes_{role}_name": name,
        **{f"__meta_kubernetes_{role}_label_{_plain(k)}": value for k, value in labels.items()},
    }


def _of_service(
    endpoints: Mapping[str, Any], services: Mapping[tuple[str, str], Any]
) -> Iterator[dict[str, Any]]:
    service = services.get(_place(endpoints))
    for subset in endpoints.get("subsets", ()) if service is not None else ():
        for port in subset.get("ports", ()):
            for address in subset.get("addresses", ()):
                labels = {
                    **_meta(service, "service"),
                    "__meta_kubernetes_endpoint_port_name": port.get("name", ""),
                    "__meta_kubernetes_pod_name": address.get("targetRef", {}).get("name", ""),
                }
                yield {"targets": [f"{address['ip']}:{port['port']}"], "labels": labels}


def _of_pod(pod: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    ip = pod["status"].get("podIP")
    for container in pod["spec"]["containers"] if ip else ():
        for port in container.get("ports", ()):
            labels = {
                **_meta(pod, "pod"),
                "__meta_kubernetes_pod_phase": pod["status"]["phase"],
                "__meta_kubernetes_pod_container_port_name": port.get("name", ""),
            }
            yield {"targets": [f"{ip}:{port['containerPort']}"], "labels": labels}


class Prometheus:
    """A real Prometheus.

    Attributes:
        port: of its API on this machine.
        begun: when it started, seconds since 1970.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.begun = time.time()

    def ask(self, path: str, **query: str) -> Any:
        """The data of an answer; the test fails where the query is refused."""
        text = urllib.parse.urlencode(query)
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{text}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{query}: {error.read().decode()}") from None

    def has_data(self, query: str) -> bool:
        """Whether a query gave anything at any time since the start."""
        found = self.ask(
            "query_range", query=query, start=f"{self.begun}", end=f"{time.time()}", step="5"
        )
        return bool(found["result"])

    def firing(self) -> set[str]:
        """Names of the alerts that fire now."""
        found = self.ask("alerts")["alerts"]
        return {each["labels"]["alertname"] for each in found if each["state"] == "firing"}


@contextmanager
def prometheus(cluster: Cluster, folder: Path) -> Iterator[Prometheus]:
    """A Prometheus that scrapes by the chart's monitors and evaluates its rules at once."""
    program = shutil.which("prometheus")
    assert program is not None, "prometheus is missing: hack/setup test installs it"
    found = monitoring()
    groups = found["PrometheusRule"]["spec"]["groups"]
    for group in groups:
        group["interval"] = "2s"
        for rule in group["rules"]:
            rule["for"] = "4s"  # promtool tests how long each waits; here time is short
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
    config = {
        "global": {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "2s"},
        "rule_files": [str(folder / "rules.yaml")],
        "scrape_configs": scrape_configs(found, folder),
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    port = _free_port()
    command = [
        program,
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    discovery = Discovery(cluster, folder)
    discovery.start()
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until(lambda: _is_ready(port), f"Prometheus is ready: {folder / 'log'}")
        yield Prometheus(port)
    finally:
        discovery.end()
        process.terminate()
        process.wait(30)


def _free_port() -> int:
    with socket.socket() as each:
        each.bind(("127.0.0.1", 0))
        return int(each.getsockname()[1])


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=2):
            return True
    except OSError:
        return False


Permission = tuple[str, str, str]
"""API group, resource (with its part, such as status) and verb."""


def granted(cluster: Cluster) -> set[Permission]:
    """What the release's roles give the operator."""
    found = cluster.call("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles")["items"]
    (role,) = (r for r in found if r["metadata"]["name"] == f"{RELEASE}-{NAMESPACE}")
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def used(requests: Sequence[Mapping[str, Any]], user: str) -> set[Permission]:
    """What a user was allowed and did."""
    found = set()
    for each in requests:
        target = each.get("objectRef", {})
        status = each.get("responseStatus", {}).get("code", 0)
        if each["user"].get("username") != user or "resource" not in target or status >= 400:
            continue
        part = target.get("subresource")
        resource = f"{target['resource']}/{part}" if part else target["resource"]
        place = (target.get("apiGroup", ""), resource)
        found.add((*place, each["verb"]))
        if each["verb"] == "patch" and status == 201:  # an apply that made the object
            found.add((*place, "create"))
    return found


def forbidden(requests: Sequence[Mapping[str, Any]], user: str) -> list[str]:
    """Calls of a user that were refused for want of a right."""
    return [
        f"{each['verb']} {each['requestURI']}"
        for each in requests
        if each["user"].get("username") == user
        and each.get("responseStatus", {}).get("code") == 403
        and "exceeded quota" not in each.get("responseStatus", {}).get("message", "")
    ]


def labelled(cluster: Cluster) -> set[str]:
    """Every object of the release, and of no other, as `KIND/NAME`."""
    kinds = (
        "deployments,replicasets,pods,services,endpoints,configmaps,secrets,serviceaccounts,"
        "roles,rolebindings,clusterroles,clusterrolebindings,poddisruptionbudgets,"
        "networkpolicies,customresourcedefinitions"
    )
    selector = f"app.kubernetes.io/instance={RELEASE}"
    done = cluster.kubectl("get", kinds, "--all-namespaces", "-l", selector, "-o", "name")
    return {line for line in done.stdout.split() if line}
