"""A cluster in memory: what the API server, Kubernetes' controllers and workers do, step by step.

The cache, the boards, the gatherer and the reconcilers are the operator's own; only what is
outside of it is played here.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from edgetran.api import API_VERSION, KINDS, Condition, Reason
from edgetran_operator.controller.gather import Gatherer
from edgetran_operator.kube.cache import CHILD_KINDS, Cache, Key
from edgetran_operator.plan import Event, Plan
from edgetran_operator.reconcile import reconcile
from edgetran_operator.scheduling.board_book import BoardBook
from edgetran_operator.settings import Settings
from edgetran_operator.snapshot import Refusal, Snapshot

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MOST_ROUNDS = 60


def spec_of(kind: str, **changes: Any) -> dict[str, Any]:
    """A small valid spec of a kind."""
    specs: dict[str, dict[str, Any]] = {
        "ProfilingJob": {
            "device": {"name": "pi", "nodeSelector": {"edgetran.io/device": "pi"}},
            "designSpace": {"preset": "tiny"},
        },
        "CoDesignSearch": {
            "task": {"name": "movie-reviews"},
            "designSpace": {"preset": "tiny"},
            "devices": [
                {"name": "pi", "nodeSelector": {"edgetran.io/device": "pi"}},
                {"name": "simulated", "simulation": "raspberry-pi-4-cpu"},
            ],
            "storage": {"newClaim": {"size": "1Gi"}},
        },
        "GPTranRun": {"searchRef": {"name": "s"}, "storage": {"newClaim": {"size": "1Gi"}}},
    }
    return {**specs[kind], **changes}


class World:
    """Objects by (kind, namespace, name), time, and an operator that sees them."""

    def __init__(
        self, settings: Settings | None = None, *, pod_failure_policy: bool = True
    ) -> None:
        self.settings = settings or Settings()
        self.pod_failure_policy = pod_failure_policy
        self.now = START
        self.objects: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.events: list[tuple[str, Event]] = []
        self.calls = 0
        self.refused: dict[str, tuple[Reason, str]] = {}
        self.refusals: dict[Key, dict[str, Refusal]] = {}
        self.gone: set[str] = set()
        self._conditions: list[dict[str, str]] = []
        self._numbers = itertools.count(1)
        self.restart_operator()

    # The operator

    def restart_operator(self) -> None:
        """The operator starts anew and learns all from the API server."""
        self.cache = Cache()
        self.boards = BoardBook(self.cache, self.settings)
        self.gatherer = Gatherer(self.cache, self.boards, self.settings)
        self.gatherer.rayjobs_served = True
        self.gatherer.pod_failure_policy = self.pod_failure_policy
        for body in list(self.objects.values()):
            self._tell(body)

    def seen(self, key: Key) -> Snapshot:
        """What the operator sees of a resource."""
        if self.boards.stale:
            self.boards.refresh()
        seen = self.gatherer.snapshot(key, self.refusals.get(key, {}), self.now)
        assert seen is not None
        return seen

    def reconcile(self, key: Key) -> Plan:
        """Decide and carry out once."""
        seen = self.seen(key)
        plan = reconcile(seen)
        assert reconcile(seen) == plan, "the same observation gives the same plan"
        self.carry_out(key, plan)
        return plan

    def settle(self) -> None:
        """Reconcile everything until nothing changes any more."""
        for _ in range(MOST_ROUNDS):
            plans = [
                self.reconcile(key)
                for key in sorted(self.cache.resources)
                if key in self.existing()
            ]
            self._collect_garbage()
            if all(plan.at_rest for plan in plans):
                return
        raise AssertionError(f"not at rest after {MOST_ROUNDS} rounds: {plans}")

    def carry_out(self, key: Key, plan: Plan) -> None:
        """What the API server does with an plan."""
        if plan.status:
            self.calls += 1
            body = self.objects[key]
            status = {**body.get("status", {}), **plan.status}
            body["status"] = {name: value for name, value in status.items() if value is not None}
            self._store(body)
        for child in plan.apply:
            self.calls += 1
            if child.label in self.refused:
                reason, message = self.refused[child.label]
                refusal = Refusal(child.label, self.seen(key).generation, reason, message)
                self.refusals.setdefault(key, {})[child.label] = refusal
                break
            place = (child.kind, key.namespace, child.name)
            body = copy.deepcopy(dict(child.body))
            old = self.objects.get(place)
            if old is not None:
                for field in ("data", "binaryData", "status"):
                    if field in old and field not in body:
                        body[field] = old[field]
                body["metadata"]["uid"] = old["metadata"]["uid"]
                body["metadata"]["generation"] = old["metadata"].get("generation", 1)
                if body.get("spec") != old.get("spec"):
                    body["metadata"]["generation"] += 1
            self._store(body)
        for change in plan.change:
            self.calls += 1
            body = self.objects[change.kind, key.namespace, change.name]
            body["spec"] = {**body["spec"], **change.patch["spec"]}
            self._store(body)
            if body["kind"] == "Job" and body["spec"].get("parallelism") == 0:
                self._end_pods(body["metadata"]["uid"])
        for deletion in plan.delete:
            self.calls += 1
            self.delete(deletion.kind, deletion.name, key.namespace)
        self.events += ((key.name, event) for event in plan.events)
        self.calls += len(plan.events)

    # The API server

    def existing(self) -> set[Key]:
        """The resources that exist."""
        return {Key(*place) for place in self.objects if place[0] in KINDS}

    def apply(
        self, kind: str, name: str, spec: Mapping[str, Any] | None = None, namespace: str = "ns"
    ) -> Key:
        """A user applies a resource."""
        key = Key(kind, namespace, name)
        old = self.objects.get(key)
        metadata: dict[str, Any] = {"name": name, "namespace": namespace, "generation": 1}
        body: dict[str, Any] = {
            "apiVersion": API_VERSION,
            "kind": kind,
            "metadata": metadata,
            "spec": copy.deepcopy(dict(spec if spec is not None else spec_of(kind))),
        }
        if old is not None:
            metadata |= old["metadata"]
            metadata["generation"] = old["metadata"]["generation"] + (old["spec"] != body["spec"])
            body["status"] = old.get("status", {})
        self._store(body)
        return key

    def change(self, key: Key, **fields: Any) -> None:
        """A user changes fields of a spec."""
        self.apply(key.kind, key.name, {**self.objects[key]["spec"], **fields}, key.namespace)

    def delete(self, kind: str, name: str, namespace: str = "ns") -> None:
        """Someone deletes an object; what it owns goes too."""
        body = self.objects.pop((kind, namespace, name))
        self.gone.add(body["metadata"]["uid"])
        if kind in KINDS:
            self._note(self.cache.forget(Key(kind, namespace, name)))
            self.boards.note([Key(kind, namespace, name)])
        elif kind in CHILD_KINDS:
            self._note(self.cache.forget_child(kind, namespace, name))
        if kind == "Job":
            self._end_pods(body["metadata"]["uid"], remove=True)

    def _collect_garbage(self) -> None:
        while True:
            orphans = [
                place
                for place, body in self.objects.items()
                for owner in body["metadata"].get("ownerReferences", ())
                if owner["uid"] in self.gone
            ]
            if not orphans:
                return
            for kind, namespace, name in orphans:
                if (kind, namespace, name) in self.objects:
                    self.delete(kind, name, namespace)

    def _store(self, body: dict[str, Any]) -> None:
        metadata = body["metadata"]
        metadata.setdefault("uid", f"uid-{next(self._numbers):08d}")
        metadata.setdefault("creationTimestamp", self.stamp())
        metadata.setdefault("generation", 1)
        metadata["resourceVersion"] = str(next(self._numbers))
        place = (body["kind"], metadata.get("namespace", ""), metadata["name"])
        self.objects[place] = body
        self._tell(body)

    def _tell(self, body: Mapping[str, Any]) -> None:
        body = copy.deepcopy(dict(body))
        if body["kind"] in KINDS:
            self._note(self.cache.resource(body))
        elif body["kind"] in CHILD_KINDS:
            self._note(self.cache.child(body["kind"], body))
        elif body["kind"] == "Node" and self.cache.node(body):
            self.boards.stale = True

    def _note(self, keys: set[Key]) -> None:
        self.boards.note(keys)

    # Time, nodes, Kubernetes' controllers

    def stamp(self) -> str:
        """Now, as the API server writes it."""
        return self.now.strftime("%Y-%m-%dT%H:%M:%SZ")

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += timedelta(seconds=seconds)

    def node(self, name: str, *, ready: bool = True, **labels: str) -> None:
        """A node comes or changes; `device` is its label edgetran.io/device."""
        found = {"kubernetes.io/arch": "arm64"}
        found |= {
            ("edgetran.io/device" if key == "device" else key): v for key, v in labels.items()
        }
        self._store(
            {
                "kind": "Node",
                "metadata": {"name": name, "labels": found},
                "spec": {},
                "status": {"conditions": [{"type": "Ready", "status": str(ready)}]},
            }
        )

    def remove_node(self, name: str) -> None:
        """A node goes away, and its pods with it."""
        del self.objects["Node", "", name]
        if self.cache.forget_node(name):
            self.boards.stale = True
        for place, body in list(self.objects.items()):
            if place[0] == "Pod" and body["spec"].get("nodeName") == name:
                self.delete(*(place[0], place[2], place[1]))

    def jobs(self) -> list[dict[str, Any]]:
        """All Jobs."""
        return [body for place, body in self.objects.items() if place[0] == "Job"]

    def job_of(self, key: Key) -> dict[str, Any] | None:
        """The Job of a resource."""
        short = KINDS[key.kind].SHORT_NAME
        return self.objects.get(("Job", key.namespace, f"{key.name}-{short}-worker"))

    def start_pods(self) -> None:
        """The Job controller and the scheduler: each unfinished Job has one pod, on its node."""
        for job in self.jobs():
            if _finished(job) or job["spec"]["parallelism"] == 0 or self._live_pods(job):
                continue
            template = job["spec"]["template"]
            affinity = template["spec"].get("affinity", {}).get("nodeAffinity")
            node = "server"
            if affinity is not None:
                required = affinity["requiredDuringSchedulingIgnoredDuringExecution"]
                (term,) = required["nodeSelectorTerms"]
                if "matchFields" in term:  # trainers only keep off boards
                    node = term["matchFields"][0]["values"][0]
            self._store(
                {
                    "kind": "Pod",
                    "metadata": {
                        "name": f"{job['metadata']['name']}-{next(self._numbers)}",
                        "namespace": job["metadata"]["namespace"],
                        "labels": template["metadata"]["labels"],
                        "ownerReferences": [
                            {"uid": job["metadata"]["uid"], "controller": True, "kind": "Job"}
                        ],
                    },
                    "spec": {"nodeName": node},
                    "status": {
                        "phase": "Running",
                        "containerStatuses": [{"name": "worker", "state": {"running": {}}}],
                    },
                }
            )

    def report(self, key: Key, *, finished: bool = False, part: int = 0, **summary: Any) -> None:
        """The worker writes records and a summary into a results ConfigMap."""
        short = KINDS[key.kind].SHORT_NAME
        place = ("ConfigMap", key.namespace, f"{key.name}-{short}-results-{part}")
        body = self.objects[place]
        body["binaryData"] = {"records.jsonl.gz": "H4sI"}
        body["data"] = {"part.json": json.dumps({"records": 3, "closed": False})}
        if part == 0:
            told = {
                "schemaVersion": 1,
                "finished": finished,
                "reason": "TargetErrorReached" if finished else "Running",
                "message": "all is done" if finished else "it goes on",
                "progress": "3/8",
                "stage": "",
                "status": {},
                **summary,
            }
            body["data"]["summary.json"] = json.dumps(told)
        self._store(body)

    def drain(self, key: Key, code: int = 143) -> None:
        """The node that the worker of a resource runs on is drained: its pod ends and goes."""
        job = self.job_of(key)
        assert job is not None
        pods = self._live_pods(job)
        for pod in pods:
            pod["metadata"]["deletionTimestamp"] = self.stamp()
        if self.pod_failure_policy:
            self._conditions = [{"type": "DisruptionTarget", "status": "True"}]
        self.end_pod(key, code)
        self._conditions = []
        self.settle()
        for pod in pods:
            if ("Pod", key.namespace, pod["metadata"]["name"]) in self.objects:
                self.delete("Pod", pod["metadata"]["name"], key.namespace)
        self.settle()

    def end_pod(self, key: Key, code: int, reason: str = "", message: str = "") -> None:
        """The worker of a resource ends; the Job controller takes note."""
        job = self.job_of(key)
        assert job is not None
        for pod in self._live_pods(job):
            told = json.dumps({"reason": reason, "message": message}) if message else ""
            ended = {"exitCode": code, "message": told, "reason": "Error"}
            pod["status"] = {
                "conditions": self._conditions,
                "phase": "Failed" if code else "Succeeded",
                "containerStatuses": [{"name": "worker", "state": {"terminated": ended}}],
            }
            self._store(pod)
            status = job.setdefault("status", {})
            ignored = "podFailurePolicy" in job["spec"] and (code == 143 or self._conditions)
            if code and not ignored:
                status["failed"] = status.get("failed", 0) + 1
            if not code:
                status["completionTime"] = self.stamp()
                self._end_job(job, "Complete")
            elif status.get("failed", 0) > job["spec"]["backoffLimit"]:
                self._end_job(job, "Failed")
            self._store(job)

    def finish(self, key: Key, **summary: Any) -> None:
        """The worker does all its work and ends well."""
        self.start_pods()
        self.report(key, finished=True, **summary)
        self.end_pod(key, 0)
        self.settle()

    def _end_job(self, job: dict[str, Any], type_: str) -> None:
        job["status"]["conditions"] = [
            {"type": type_, "status": "True", "lastTransitionTime": self.stamp(), "message": ""}
        ]

    def _live_pods(self, job: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [
            body
            for place, body in self.objects.items()
            if place[0] == "Pod"
            and body["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]
            and body["status"]["phase"] not in ("Succeeded", "Failed")
        ]

    def _end_pods(self, job_uid: str, *, remove: bool = False) -> None:
        for place, body in list(self.objects.items()):
            if place[0] != "Pod" or body["metadata"]["ownerReferences"][0]["uid"] != job_uid:
                continue
            if remove or body["status"]["phase"] == "Running":
                self.delete("Pod", place[2], place[1])

    # What users read

    def status(self, key: Key) -> dict[str, Any]:
        """The status of a resource."""
        found: dict[str, Any] = self.objects[key].get("status", {})
        return found

    def condition(self, key: Key, type_: str) -> dict[str, Any]:
        """A condition of a resource; empty where it has none."""
        conditions = self.status(key).get("conditions", [])
        return next((each for each in conditions if each["type"] == type_), {})

    def says(self, key: Key, type_: str) -> tuple[str, str]:
        """Status and reason of a condition; empty where it has none."""
        found = self.condition(key, type_)
        return found.get("status", ""), found.get("reason", "")

    def told(self, key: Key) -> list[str]:
        """Reasons of the events about a resource."""
        return [event.reason for name, event in self.events if name == key.name]


def _finished(job: Mapping[str, Any]) -> bool:
    return bool(job.get("status", {}).get("conditions"))


def check_status(status: Mapping[str, Any]) -> None:
    """What holds of every status: valid conditions that kstatus reads right, and a small size."""
    conditions = status.get("conditions", [])
    types = [each["type"] for each in conditions]
    assert len(types) == len(set(types))
    for each in conditions:
        Condition.model_validate(each)
        assert len(each["message"]) <= 1024
        assert each["observedGeneration"] <= status["observedGeneration"]
    found = {each["type"]: each["status"] for each in conditions}
    assert "Succeeded" in found
    assert not (found.get("Reconciling") == "True" and found.get("Stalled") == "True")
    if "completionTime" in status:
        assert found["Succeeded"] in ("True", "False")
        assert "Reconciling" not in found
        assert (found.get("Stalled") == "True") == (found["Succeeded"] == "False")
        assert "activeSince" not in status
    else:
        assert found["Succeeded"] != "True"
    assert len(json.dumps(status, ensure_ascii=False).encode()) <= 10_240
