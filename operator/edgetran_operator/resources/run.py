"""What the builders are given: one resource's work, and what is the same in all its children."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from edgetran import __version__
from edgetran.api import API_VERSION, Resource
from edgetran.api.wire import (
    COMPONENT_LABEL,
    COMPONENTS,
    KIND_LABEL,
    NAME_LABEL,
    QUEUE_LABEL,
)
from edgetran_operator.settings import Settings

DISRUPTION: Final = "DisruptionTarget"
"""The condition of a pod that the cluster took away: evicted, drained, preempted."""


@dataclass(frozen=True)
class Inputs:
    """Results of other resources that the work builds on.

    Attributes:
        profiles: names of results ConfigMaps by ProfilingJob.
        dependencies: the resources themselves, in the order in which they are written down.
        search: the run whose winner is refined or measured; None for other work.
        search_uid: its unique identifier.
    """

    profiles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    dependencies: tuple[Resource, ...] = ()
    search: Resource | None = None
    search_uid: str = ""


@dataclass(frozen=True)
class Run:
    """One resource's work.

    Attributes:
        resource: what is asked for.
        namespace: the resource's namespace.
        uid: the resource's unique identifier.
        settings: the administrator's settings.
        inputs: results of other resources.
        node: the board that a measuring pod is pinned to; empty where it is free.
        architecture: the board's processor architecture; empty where it is not known.
        queue: of Kueue, that admits what is made; empty where nothing has to be admitted.
        artifacts_from: address of the pod that hands the finalists' artefacts over; empty where
            their storage is mounted, or is an address itself.
        work_hash: of the files that the worker is given; empty where it is not made yet.
        namespaces_in_affinity: whether pod affinity can look into all namespaces.
        pod_failure_policy: whether a Job can be told which failures are none.
    """

    resource: Resource
    namespace: str
    uid: str
    settings: Settings
    inputs: Inputs = field(default_factory=Inputs)
    node: str = ""
    architecture: str = ""
    queue: str = ""
    artifacts_from: str = ""
    work_hash: str = ""
    namespaces_in_affinity: bool = True
    pod_failure_policy: bool = False

    @property
    def component(self) -> str:
        """profile, search or gptran."""
        return COMPONENTS[self.resource.kind]

    @property
    def spec(self) -> Any:
        """The resource's spec."""
        return self.resource.spec

    def labels(self) -> dict[str, str]:
        """The labels of every child and pod."""
        return {
            "app.kubernetes.io/name": "edgetran",
            "app.kubernetes.io/instance": self.resource.name,
            COMPONENT_LABEL: self.component,
            "app.kubernetes.io/part-of": "edgetran",
            "app.kubernetes.io/managed-by": "edgetran",
            "app.kubernetes.io/version": _label_value(__version__),
            KIND_LABEL: self.resource.kind,
            NAME_LABEL: self.resource.name,
        }

    def owner(self) -> dict[str, Any]:
        """The owner reference of every child."""
        return {
            "apiVersion": API_VERSION,
            "kind": self.resource.kind,
            "name": self.resource.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }

    def metadata(self, name: str, annotations: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Metadata of a child."""
        metadata: dict[str, Any] = {
            "name": name,
            "namespace": self.namespace,
            "labels": self.labels(),
            "ownerReferences": [self.owner()],
        }
        if annotations:
            metadata["annotations"] = dict(annotations)
        return metadata

    def job_metadata(
        self, name: str, annotations: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Metadata of a child that Kueue admits, with its queue where there is one."""
        metadata = self.metadata(name, annotations)
        if self.queue:
            metadata["labels"] |= {QUEUE_LABEL: self.queue}
        return metadata

    @property
    def unadmitted(self) -> dict[str, bool]:
        """What of a Job's spec keeps it from starting until Kueue admits it."""
        return {"suspend": True} if self.queue else {}


def run_folder(resource: Resource, namespace: str, uid: str) -> str:
    """The folder of a run below its storage: runs of one name never meet."""
    return f"{namespace}/{resource.SHORT_NAME}-{resource.name}-{uid[:8]}"


def _label_value(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "-", text)[:63].strip("-_.")
