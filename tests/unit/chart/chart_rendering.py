"""The chart as Helm's own SDK renders it, and values that turn each of its switches."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from helm.values import Values
from helm.values_files import fields, is_part
from helm_python import Chart

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "charts" / "edgetran"
RELEASE, NAMESPACE = "edgetran", "edgetran-system"


class _UniqueKeys(yaml.CSafeLoader):
    """Refuses a key that stands twice, as Kubernetes' strict decoding does."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"a key twice: {sorted(keys)}"
        return super().construct_mapping(node, deep)


@dataclass(frozen=True)
class Rendered:
    """What Helm would apply."""

    objects: tuple[dict[str, Any], ...]
    notes: str

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [each for each in self.objects if each["kind"] == kind]

    def one(self, kind: str) -> dict[str, Any]:
        (found,) = self.of(kind)
        return found


def rendered(
    chart: Chart, values: Mapping[str, Any], *, name: str = RELEASE, namespace: str = NAMESPACE
) -> Rendered:
    chart.validate_schema(dict(values))
    files = chart.render(dict(values), name=name, namespace=namespace)
    notes = files.pop(next(path for path in files if path.endswith("NOTES.txt")))
    objects = [document for _, text in sorted(files.items()) for document in _documents(text)]
    return Rendered(tuple(objects), notes)


@cache  # most of what is rendered is the same for most values
def _documents(text: str) -> tuple[dict[str, Any], ...]:
    documents = yaml.load_all(text, Loader=_UniqueKeys)
    return tuple(document for document in documents if document is not None)


def switched() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every switch and every choice of the values set to each of its other positions."""
    for path, value in _choices(Values, Values()):
        values: dict[str, Any] = {}
        inner = values
        for part in path[:-1]:
            inner = inner.setdefault(part, {})
        inner[path[-1]] = value
        yield f"{'.'.join(path)}={value}", values


def _choices(
    model: type, defaults: Any, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, field in fields(model).items():
        here = (*path, str(field.alias))
        value = getattr(defaults, name)
        if is_part(value):
            yield from _choices(type(value), value, here)
        elif isinstance(value, bool):
            yield here, not value
        elif get_origin(field.annotation) is Literal:
            yield from ((here, each) for each in get_args(field.annotation) if each != value)


DIGEST = "sha256:" + "0123456789abcdef" * 4

EVERYTHING: dict[str, Any] = {
    "commonLabels": {"team": "edge"},
    "commonAnnotations": {"example.com/owner": "edge"},
    "imageRegistry": "registry.lan:5000/edgetran",
    "imagePullSecrets": ["registry"],
    "image": {"digest": DIGEST},
    "workers": {
        "images": {"cuda": {"tag": "dev", "digest": DIGEST}},
        "imagePullSecrets": ["registry"],
        "resources": {"profile": {"limits": {"memory": "2Gi", "cpu": 2}}},
        "podPatch": {"spec": {"priorityClassName": "low"}},
        "allow": {
            "images": True,
            "env": ["HF_*"],
            "priorityClasses": ["high"],
            "meters": ["http://meters.lan:8080/power", "serial:/dev/ttyUSB"],
            "storage": ["s3://models/", "sftp://nas.lan:22/"],
            "rayAddresses": ["ray-head.ray:10001"],
        },
        "scratch": {"shm": "1Gi", "tmp": 10},
    },
    "serviceAccount": {"name": "someone", "annotations": {"example.com/role": "edgetran"}},
    "podLabels": {"sidecar": "no"},
    "podAnnotations": {"example.com/scrape": "no"},
    "priorityClassName": "system-cluster-critical",
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "tolerations": [{"key": "server", "operator": "Exists", "effect": "NoSchedule"}],
    "command": ["python", "-m", "edgetran_operator"],
    "extraArgs": ["--log-level=debug"],
    "extraEnv": [
        {"name": "HTTPS_PROXY", "value": "http://proxy:3128"},
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
    ],
    "extraVolumes": [{"name": "usr", "hostPath": {"path": "/usr"}}],
    "extraVolumeMounts": [{"name": "usr", "mountPath": "/usr", "readOnly": True}],
    "metrics": {
        "service": {"annotations": {"prometheus.io/scrape": "true"}, "labels": {"a": "b"}},
        "serviceMonitor": {
            "enabled": True,
            "labels": {"release": "kps"},
            "metricRelabelings": [{"action": "drop", "regex": "go_.*", "sourceLabels": ["a"]}],
        },
        "podMonitor": {
            "enabled": True,
            "relabelings": [{"targetLabel": "cluster", "replacement": "lab"}],
        },
    },
    "prometheusRule": {"enabled": True, "alertLabels": {"team": "edge"}},
    "dashboards": {"annotations": {"grafana_folder": "EdgeTran"}, "namespace": "monitoring"},
    "podDisruptionBudget": {"enabled": True, "maxUnavailable": 0},
    "networkPolicy": {
        "enabled": True,
        "metricsFrom": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}],
        "apiServerCidrs": ["10.0.0.1/32"],
        "workerNamespaces": ["team-a"],
        "extraEgress": [{"ports": [{"port": 3128, "protocol": "TCP"}]}],
    },
}
"""Every value that may be a list, a map or a name is set."""

NAMESPACED: dict[str, Any] = {
    "scope": "Namespaced",
    "watch": {"namespaces": ["team-a", "team-b"]},
    "metrics": {"podMonitor": {"enabled": True}},
}

NOTHING: dict[str, Any] = {
    "crds": {"enabled": False},
    "serviceAccount": {"create": False},
    "rbac": {"create": False, "aggregate": False},
    "metrics": {"enabled": False, "serviceMonitor": {"enabled": True}},
    "dashboards": {"enabled": False},
    "tests": {"enabled": False},
    "affinity": {},
}
"""Everything that can be turned off is."""

MATRIX: dict[str, dict[str, Any]] = {
    "default": {},
    "everything": EVERYTHING,
    "namespaced": NAMESPACED,
    "own namespace": {"scope": "Namespaced"},
    "nothing": NOTHING,
    "long name": {"fullnameOverride": "a" * 63},
    "other name": {"nameOverride": "tran"},
    **dict(itertools.chain(switched())),
}
