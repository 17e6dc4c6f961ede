"""What the operator knows of the cluster when it reconciles one resource: plain, frozen data.

The views keep the few fields that decisions need, so that thousands of resources fit in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from edgetran.api import Reason, Resource
from edgetran.api.wire import ServedVerdict, WorkerSummary
from edgetran_operator.settings import Settings


@dataclass(frozen=True, slots=True)
class WorkerView:
    """The Job or RayJob that does a resource's work.

    Attributes:
        kind: Job or RayJob.
        name: the object's name.
        uid: the object's unique identifier.
        deleting: whether its deletion was asked for.
        complete: it ended well.
        failed: it ended badly, all attempts included.
        reason: the controller's word for how it ended; empty while it runs.
        message: the controller's sentence about it.
        finished: when it ended.
        failed_pods: attempts that ended badly.
        failures_before: attempts of earlier workers of the same resource that ended badly.
        node: the board that it is pinned to; empty where it is free.
        backoff_limit: attempts that may fail before it gives up.
        stopped: it starts no further pods.
        made_from: a hash of the pod that it was made with; empty where it is not known.
        work_hash: of the files that it was made for; empty where it is not known.
    """

    kind: str
    name: str
    uid: str
    deleting: bool = False
    complete: bool = False
    failed: bool = False
    reason: str = ""
    message: str = ""
    finished: datetime | None = None
    failed_pods: int = 0
    failures_before: int = 0
    node: str = ""
    backoff_limit: int = 0
    stopped: bool = False
    made_from: str = ""
    work_hash: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing of it runs or will run."""
        return self.complete or self.failed or self.stopped

    @property
    def ran(self) -> bool:
        """Whether its controller knows of an attempt that ended."""
        return self.complete or self.failed or self.failed_pods > 0


@dataclass(frozen=True, slots=True)
class PodView:
    """One pod of a resource's worker.

    Attributes:
        name: the pod's name.
        worker_uid: identifier of the Job that made it; empty where there is none.
        created: when it was made.
        phase: Pending, Running, Succeeded, Failed or Unknown.
        node: the node that it was given; empty before.
        deleting: whether its deletion was asked for.
        unschedulable: the scheduler's sentence where no node takes it; empty otherwise.
        waiting: why its container does not start, such as `ErrImagePull: …`; empty otherwise.
        exit_code: how its container ended; None before.
        message: sentence that the worker left, or what the kubelet says about the end.
        disrupted: whether it was ended from outside: evicted, drained, deleted, stopped.
        problem: reason and sentence where the worker left what cannot be read; None otherwise.
    """

    name: str
    worker_uid: str
    created: datetime
    phase: str
    node: str = ""
    deleting: bool = False
    unschedulable: str = ""
    waiting: str = ""
    exit_code: int | None = None
    message: str = ""
    disrupted: bool = False
    problem: tuple[str, str] | None = None

    @property
    def live(self) -> bool:
        """Whether it runs or may run yet."""
        return self.phase not in ("Succeeded", "Failed")

    @property
    def ran(self) -> bool:
        """Whether its container was ever started."""
        return self.phase != "Pending" or self.exit_code is not None


@dataclass(frozen=True, slots=True)
class PartView:
    """One results ConfigMap.

    Attributes:
        number: its number, from 0.
        name: the object's name.
        used: whether the worker put records or a summary there.
        records: how many records it holds.
        summary: what the worker says of the whole; only in part 0.
        problem: reason and sentence where that cannot be read; None otherwise.
    """

    number: int
    name: str
    used: bool = False
    records: int = 0
    summary: WorkerSummary | None = None
    problem: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class WorkFiles:
    """The data of the ConfigMap that tells a worker its work.

    Attributes:
        files: their contents by name.
        beside_spec: `edgetran.api.work_hash` of those but the resource itself.
        problem: reason and sentence where they cannot be read; None otherwise.
    """

    files: Mapping[str, str]
    beside_spec: str = ""
    problem: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class DeploymentView:
    """The Deployment that serves a winner.

    Attributes:
        name: the object's name.
        uid: its unique identifier.
        deleting: whether its deletion was asked for.
        made_from: a hash of what it was made with, its Service and rights included.
        artifact: SHA-256 of the artefact that its newest pods serve.
        wanted: pods that it is to have.
        ready: pods of the newest kind that are ready.
        trouble: what its controller says where pods do not come; empty otherwise.
    """

    name: str
    uid: str
    deleting: bool = False
    made_from: str = ""
    artifact: str = ""
    wanted: int = 1
    ready: int = 0
    trouble: str = ""

    @property
    def complete(self) -> bool:
        """Whether all its pods serve the newest artefact."""
        return self.ready >= self.wanted


@dataclass(frozen=True, slots=True)
class VerdictsView:
    """What the pods that serve a winner say of it.

    Attributes:
        verdicts: with the time at which each was told, by the pod.
    """

    verdicts: tuple[tuple[datetime, ServedVerdict], ...] = ()


@dataclass(frozen=True, slots=True)
class Taint:
    """A corev1.Taint that keeps pods away: effect NoSchedule or NoExecute."""

    key: str
    value: str
    effect: str


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node, as the choice of boards sees it."""

    name: str
    labels: Mapping[str, str]
    ready: bool = True
    schedulable: bool = True
    taints: tuple[Taint, ...] = ()


@dataclass(frozen=True, slots=True)
class BoardVerdict:
    """Which board a ProfilingJob may use now.

    Attributes:
        node: the board that is its own; None while it waits.
        behind: the ProfilingJob that comes first, as `NAMESPACE/NAME`; None where none does.
        problem: why no node can be the device; None where one can.
        lost: why the board that it has cannot be used at the moment; None where it can.
        architecture: the board's label kubernetes.io/arch; empty where it is not known.
        wanted: whether another job waits for the board that it has.
    """

    node: str | None = None
    behind: str | None = None
    problem: str | None = None
    lost: str | None = None
    architecture: str = ""
    wanted: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """The API server refused one child.

    Attributes:
        child: `KIND/NAME`.
        generation: number of the spec's version that it was made for.
        reason: InsufficientQuota, SpecInvalid, ForeignChild where something else has its name, or
            ChildFailed where something else forbids it.
        message: the API server's sentence.
    """

    child: str
    generation: int
    reason: Reason
    message: str

    @property
    def passes(self) -> bool:
        """Whether it may be another one later though the child is the same."""
        return self.reason is not Reason.SPEC_INVALID


@dataclass(frozen=True, slots=True)
class Dependency:
    """Another resource of the same namespace that the work needs.

    Attributes:
        resource: what it asks for: its first spec where work on it began; None where invalid.
        newest: what the API server has of it; None where it is invalid.
        uid: its unique identifier.
        status: its status as plain data.
        parts: its results ConfigMaps.
        owner: uid of the resource that made it; empty where a user did.
    """

    resource: Resource | None
    newest: Resource | None
    uid: str
    status: Mapping[str, Any]
    parts: tuple[PartView, ...] = ()
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that one reconciliation sees.

    Attributes:
        now: whole seconds, UTC.
        settings: the administrator's settings.
        kind: kind of the resource.
        name: its name.
        namespace: its namespace.
        uid: its unique identifier.
        generation: number of its spec's version.
        deleting: whether its deletion was asked for.
        resource: the newest spec; None where it is invalid.
        problem: what is wrong with the newest spec; None where it is valid.
        status: the status as the API server has it.
        first: the spec that work began with; None where it did not begin.
        work: the spec ConfigMap; None where there is none.
        copy_problem: why what work began with is not known; empty where it is.
        begun: whether a worker of it, or of a resource that was made for it, ever ran.
        worker: the Job or RayJob; None where there is none.
        pods: the worker's pods, those of earlier workers included.
        parts: results ConfigMaps by number.
        deployment: what serves the winner; None where nothing does.
        verdicts: what its pods say.
        board: which board a ProfilingJob may use; None for other kinds and for `host: true`.
        dependencies: resources that exist, by (kind, name).
        left_over: a child, as `KIND/NAME`, of an earlier resource of this name; empty where none.
        pod_trouble: what events say of the newest pod's volumes: reason and sentence, or empty.
        claim_trouble: what events say of a claim of `spec.storage` or `spec.data`, in the same way.
        no_pod: what the Job's controller says where something keeps it from making its pod.
        refusals: children that the API server refused, by `KIND/NAME`.
        rayjobs_served: whether the RayJob API is there; None where it was not asked.
        foreign: a child, as `KIND/NAME`, that belongs to nobody; empty where none.
        namespaces_in_affinity: whether the server knows namespaceSelector in pod affinity.
        pod_failure_policy: whether the server knows which failures of a Job's pods are none.
    """

    now: datetime
    settings: Settings
    kind: str
    name: str
    namespace: str
    uid: str
    generation: int
    resource: Resource | None
    problem: str | None = None
    status: Mapping[str, Any] = field(default_factory=dict)
    deleting: bool = False
    first: Resource | None = None
    work: WorkFiles | None = None
    copy_problem: str = ""
    begun: bool = True
    worker: WorkerView | None = None
    pods: tuple[PodView, ...] = ()
    parts: Sequence[PartView] = ()
    deployment: DeploymentView | None = None
    verdicts: VerdictsView = VerdictsView()
    board: BoardVerdict | None = None
    dependencies: Mapping[tuple[str, str], Dependency] = field(default_factory=dict)
    left_over: str = ""
    foreign: str = ""
    pod_trouble: tuple[str, str] = ("", "")
    claim_trouble: tuple[str, str] = ("", "")
    no_pod: str = ""
    refusals: Mapping[str, Refusal] = field(default_factory=dict)
    rayjobs_served: bool | None = None
    namespaces_in_affinity: bool = True
    pod_failure_policy: bool = False
