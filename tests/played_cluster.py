"""Plays what an API server alone lacks: nodes, the Job controller, kubelets, and workers."""

from __future__ import annotations

import base64
import itertools
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cluster_fixtures import ApiServer, wait_until
from kubernetes.client import ApiException

from edgetran.api import API_VERSION, GROUP, KINDS, VERSION

NUMBERS = itertools.count(1)


@dataclass
class Played:
    """One namespace of an API server, with everything played around it.

    Attributes:
        server: the API server.
        namespace: the namespace.
        device: value of the label edgetran.io/device of this namespace's own boards.
    """

    server: ApiServer
    namespace: str
    nodes: list[str] = field(default_factory=list)

    @property
    def device(self) -> str:
        """No other test's job fits this device's boards."""
        return self.namespace[:20].strip("-")

    # Resources

    def path(self, kind: str, name: str = "") -> str:
        """The path of a resource, or of all of a kind."""
        plural = KINDS[kind].PLURAL
        base = f"/apis/{GROUP}/{VERSION}/namespaces/{self.namespace}/{plural}"
        return f"{base}/{name}" if name else base

    def apply(self, kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        """Create a resource."""
        metadata = {"name": name, "namespace": self.namespace}
        body = {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
        created: dict[str, Any] = self.server.call("POST", self.path(kind), body)
        return created

    def profile(self, name: str, **changes: Any) -> dict[str, Any]:
        """Create a ProfilingJob for this namespace's device."""
        device = {"name": self.device, "nodeSelector": {"edgetran.io/device": self.device}}
        return self.apply(
            "ProfilingJob", name, {"device": device, "designSpace": {"preset": "tiny"}, **changes}
        )

    def change(self, kind: str, name: str, **fields: Any) -> None:
        """Change fields of a spec."""
        self.server.call("PATCH", self.path(kind, name), {"spec": fields})

    def status(self, kind: str, name: str) -> dict[str, Any]:
        """The status of a resource."""
        found: dict[str, Any] = self.server.call("GET", self.path(kind, name)).get("status", {})
        return found

    def says(self, kind: str, name: str, type_: str) -> tuple[str, str]:
        """Status and reason of a condition; empty where there is none."""
        for each in self.status(kind, name).get("conditions", ()):
            if each["type"] == type_:
                return each["status"], each["reason"]
        return "", ""

    def wait_for(self, kind: str, name: str, type_: str, status: str, reason: str = "") -> None:
        """Wait until a condition has that status, and that reason where one is given."""

        def reached() -> bool:
            now = self.says(kind, name, type_)
            return now[0] == status and reason in ("", now[1])

        wait_until(reached, f"{kind}/{name} is {type_}={status} {reason}", 30)

    # Nodes

    def node(self, name: str = "", *, ready: bool = True) -> str:
        """A board of this namespace's device; made, or changed where it exists."""
        name = name or f"{self.namespace}-{len(self.nodes)}"
        if name not in self.nodes:
            labels = {"edgetran.io/device": self.device, "kubernetes.io/arch": "arm64"}
            body = {"metadata": {"name": name, "labels": labels}}
            self.server.call("POST", "/api/v1/nodes", body)
            # Nothing of a real cluster takes the taint away that a new node gets.
            self.server.call("PATCH", f"/api/v1/nodes/{name}", {"spec": {"taints": None}})
            self.nodes.append(name)
        condition = {"type": "Ready", "status": str(ready), "reason": "Played", "message": ""}
        status = {"conditions": [condition]}
        self.server.call("PATCH", f"/api/v1/nodes/{name}/status", {"status": status})
        return name

    def remove_nodes(self) -> None:
        """Take the boards away."""
        for name in self.nodes:
            self.server.call("DELETE", f"/api/v1/nodes/{name}")

    # Jobs and pods

    def jobs(self) -> list[dict[str, Any]]:
        """All Jobs."""
        path = f"/apis/batch/v1/namespaces/{self.namespace}/jobs"
        found: list[dict[str, Any]] = self.server.call("GET", path)["items"]
        return found

    def pods(self) -> list[dict[str, Any]]:
        """All pods."""
        path = f"/api/v1/namespaces/{self.namespace}/pods"
        found: list[dict[str, Any]] = self.server.call("GET", path)["items"]
        return found

    def job(self, name: str, seconds: float = 30) -> dict[str, Any]:
        """A Job, once it is there."""
        path = f"/apis/batch/v1/namespaces/{self.namespace}/jobs/{name}"
        wait_until(lambda: self.server.find(path) is not None, f"Job/{name} is there", seconds)
        found: dict[str, Any] = self.server.call("GET", path)
        return found

    def start(self, job_name: str, phase: str = "Running") -> str:
        """The Job's pod is on the node that the Job asks for, and runs; the pod's name."""
        job = self.job(job_name)
        template = job["spec"]["template"]
        affinity = template["spec"].get("affinity", {}).get("nodeAffinity")
        node = "somewhere"
        if affinity is not None:
            required = affinity["requiredDuringSchedulingIgnoredDuringExecution"]
            (term,) = required["nodeSelectorTerms"]
            if "matchFields" in term:  # trainers only keep off boards
                node = term["matchFields"][0]["values"][0]
        name = f"{job_name}-{next(NUMBERS):05d}"  # five characters, as the Job controller has it
        owner = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": job_name,
            "uid": job["metadata"]["uid"],
            "controller": True,
        }
        body = {
            "metadata": {
                "name": name,
                "labels": template["metadata"]["labels"],
                "ownerReferences": [owner],
            },
            "spec": {**template["spec"], "nodeName": node},
        }
        path = f"/api/v1/namespaces/{self.namespace}/pods"
        self._account(template["spec"].get("serviceAccountName", ""))
        self.server.call("POST", path, body)
        state = {"running": {}} if phase == "Running" else {"waiting": {}}
        self._pod_status(name, phase, state)
        return name

    def remove_pods(self, job_name: str) -> None:
        """The pods of a Job that was deleted go, as nothing else here takes them away."""
        for pod in self.pods():
            owners = pod["metadata"].get("ownerReferences", ())
            if any(each["name"] == job_name for each in owners):
                path = f"/api/v1/namespaces/{self.namespace}/pods/{pod['metadata']['name']}"
                self.server.call("DELETE", path, {"gracePeriodSeconds": 0})

    def end(self, job_name: str, pod: str, code: int, message: str = "") -> None:
        """The worker ends; the Job takes note."""
        ended = {"exitCode": code, "message": message, "reason": "Error" if code else "Completed"}
        self._pod_status(pod, "Failed" if code else "Succeeded", {"terminated": ended})
        job = self.job(job_name)
        failed = job.get("status", {}).get("failed", 0) + bool(code)
        status: dict[str, Any] = {"failed": failed}
        end = "Complete" if not code else "Failed" if failed > job["spec"]["backoffLimit"] else ""
        if end:
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            status["conditions"] = [{"type": end, "status": "True", "lastTransitionTime": now}]
        path = f"/apis/batch/v1/namespaces/{self.namespace}/jobs/{job_name}/status"
        self.server.call("PATCH", path, {"status": status})

    def report(
        self, results: str, *, finished: bool = False, part: int = 0, **summary: Any
    ) -> None:
        """The worker writes into a results ConfigMap."""
        told = {
            "schemaVersion": 1,
            "finished": finished,
            "reason": "TargetErrorReached" if finished else "Running",
            "message": "the target error is reached" if finished else "",
            "progress": "4/8",
            "status": {},
            **summary,
        }
        data = {"part.json": json.dumps({"records": 4, "closed": False})}
        if part == 0:
            data["summary.json"] = json.dumps(told)
        body = {
            "binaryData": {"records.jsonl.gz": base64.b64encode(b"records").decode()},
            "data": data,
        }
        path = f"/api/v1/namespaces/{self.namespace}/configmaps/{results}-{part}"
        wait_until(lambda: self.server.find(path) is not None, f"{results}-{part} is there", 30)
        self.server.call("PATCH", path, body)

    def finish(self, name: str, short: str = "pj", **summary: Any) -> None:
        """The worker of a resource does all its work."""
        pod = self.start(f"{name}-{short}-worker")
        self.report(f"{name}-{short}-results", finished=True, **summary)
        self.end(f"{name}-{short}-worker", pod, 0)

    def _account(self, name: str) -> None:
        """Without its controllers an API server gives no ServiceAccount its token."""
        if not name:  # nor does it make the one of pods that name none
            name = "default"
            path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts"
            if self.server.find(f"{path}/{name}") is None:
                self.server.call("POST", path, {"metadata": {"name": name}})
        account = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{name}"
        wait_until(lambda: self.server.find(account) is not None, f"{name} is there", 30)
        if self.server.call("GET", account).get("secrets"):
            return
        secret = {
            "metadata": {
                "name": f"{name}-token",
                "annotations": {"kubernetes.io/service-account.name": name},
            },
            "type": "kubernetes.io/service-account-token",
        }
        path = f"/api/v1/namespaces/{self.namespace}/secrets"
        try:
            self.server.call("POST", path, secret)
        except ApiException as error:
            if error.status != 409:
                raise
        self.server.call("PATCH", account, {"secrets": [{"name": f"{name}-token"}]})

    def _pod_status(self, name: str, phase: str, state: dict[str, Any]) -> None:
        container = {
            "name": "worker",
            "state": state,
            "ready": phase == "Running",
            "restartCount": 0,
            "image": "",
            "imageID": "",
        }
        path = f"/api/v1/namespaces/{self.namespace}/pods/{name}/status"
        status = {"phase": phase, "containerStatuses": [container]}
        self.server.call("PATCH", path, {"status": status})
