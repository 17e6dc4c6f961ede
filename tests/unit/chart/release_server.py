"""An API server that serves the groups, versions and kinds of a release of Kubernetes, and no more.

Helm asks it what `.Capabilities` are and applies a chart to it as a server-side dry run. What a
release serves follows from its schemas in kubernetes-validate.
"""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from kubernetes_schemas import SCHEMAS

CLUSTER_SCOPED = {
    *("ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "Namespace", "Node"),
    *("PersistentVolume", "PriorityClass", "StorageClass"),
}
NOT_FOUND = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound"}
DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


@cache
def served(release: str) -> dict[str, set[str]]:
    """The kinds of each group and version that a release serves, such as those of `apps/v1`."""
    found: dict[str, set[str]] = {}
    for file in (SCHEMAS / f"v{release}-local").glob("*.json"):
        for each in json.loads(file.read_text()).get("x-kubernetes-group-version-kind", ()):
            name = "/".join(filter(None, (each["group"], each["version"])))
            found.setdefault(name, set()).add(each["kind"])
    # A release knows how to read Lists of what it serves, and options of versions long gone.
    return {
        name: objects
        for name, kinds in found.items()
        if (objects := {kind for kind in kinds if f"{kind}List" in kinds})
    }


@contextmanager
def release_server(release: str, folder: Path) -> Iterator[Path]:
    """The kubeconfig of a server of that release, on loopback, for as long as the block lasts."""
    handler = type("Handler", (_Handler,), {"release": release})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        cluster = {"server": f"http://127.0.0.1:{server.server_port}"}
        kubeconfig = folder / f"kubeconfig-{release}"
        kubeconfig.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "it",
                    "contexts": [{"name": "it", "context": {"cluster": "it", "user": "me"}}],
                    "clusters": [{"name": "it", "cluster": cluster}],
                    "users": [{"name": "me", "user": {}}],
                }
            )
        )
        yield kubeconfig
        server.shutdown()
        thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    release: str

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].strip("/")
        answer = self._found(path)
        self._answer(NOT_FOUND if answer is None else answer, 404 if answer is None else 200)

    def do_POST(self) -> None:
        assert "dryRun=All" in self.path, self.path
        self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))), 201)

    def _found(self, path: str) -> dict[str, Any] | None:
        known = served(self.release)
        match path.split("/"):
            case ["version"]:
                major, minor, _ = self.release.split(".")
                return {"major": major, "minor": minor, "gitVersion": f"v{self.release}"}
            case ["api"]:
                return _discovery({name: kinds for name, kinds in known.items() if name == "v1"})
            case ["apis"]:
                return _discovery({name: kinds for name, kinds in known.items() if "/" in name})
            case ["openapi", "v3"]:
                places = (f"apis/{name}" if "/" in name else f"api/{name}" for name in known)
                return {
                    "paths": {each: {"serverRelativeURL": f"/openapi/v3/{each}"} for each in places}
                }
            case ["openapi", "v3", _, *name]:
                return _openapi("/".join(name), known["/".join(name)])
            case [*_, "secrets"]:
                return {"kind": "SecretList", "apiVersion": "v1", "items": [], "metadata": {}}
        return None

    def _answer(self, body: Any, code: int) -> None:
        content = json.dumps(body).encode()
        self.send_response(code)
        found = isinstance(body, dict) and body.get("kind") == "APIGroupDiscoveryList"
        self.send_header("Content-Type", DISCOVERY if found else "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _discovery(known: dict[str, set[str]]) -> dict[str, Any]:
    """All groups in one answer, as servers give it since 1.26."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for name in sorted(known, key=lambda name: ("alpha" in name, "beta" in name, name)):
        group, _, version = name.rpartition("/")
        resources = [_resource(group, version, kind) for kind in sorted(known[name])]
        groups.setdefault(group, []).append({"version": version, "resources": resources})
    items = [
        {"metadata": {"name": group} if group else {}, "versions": versions}
        for group, versions in groups.items()
    ]
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "items": items}


def _resource(group: str, version: str, kind: str) -> dict[str, Any]:
    return {
        "resource": _plural(kind.lower()),
        "singularResource": kind.lower(),
        "responseKind": {"group": group, "version": version, "kind": kind},
        "scope": "Cluster" if kind in CLUSTER_SCOPED else "Namespaced",
        "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
    }


def _openapi(name: str, kinds: set[str]) -> dict[str, Any]:
    """That the server checks fields itself, so that a client need not."""
    group, _, version = name.rpartition("/")
    checked = [{"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}]
    paths = {
        f"/{kind}": {
            "patch": {
                "parameters": checked,
                "responses": {},
                "x-kubernetes-group-version-kind": {
                    "group": group,
                    "version": version,
                    "kind": kind,
                },
            }
        }
        for kind in sorted(kinds)
    }
    return {"openapi": "3.0.0", "info": {"title": name, "version": version}, "paths": paths}


def _plural(word: str) -> str:
    if word.endswith("y"):
        return f"{word[:-1]}ies"
    return f"{word}es" if word.endswith(("s", "ss")) else f"{word}s"
