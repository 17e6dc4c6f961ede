"""Mistakes and faults of users, each with what the headline says, and what helps.

`python tests/unit/operator/user_mistakes.py` writes the table of docs/operations.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from operator_world import World, spec_of
from test_operator_headlines import CLASS, event, pod_of, unschedulable, waiting

from edgetran.api import Reason
from edgetran_operator.kube.cache import Key

JOB: Final = Key("ProfilingJob", "ns", "s-pi")
SIMULATED: Final = [{"name": "simulated", "simulation": "raspberry-pi-4-cpu"}]
BOARD: Final = {"name": "pi", "nodeSelector": {"edgetran.io/device": "pi"}}
METER: Final = {"source": "external", "meter": "command:cat /x"}
OPERATIONS: Final = Path(__file__).resolve().parents[3] / "docs" / "operations.md"
BEGIN: Final = "<!-- made by tests/unit/operator/user_mistakes.py -->\n"
END: Final = "<!-- until here -->\n"


@dataclass(frozen=True)
class Mistake:
    """One mistake.

    Attributes:
        title: what was done, in words.
        make: does it, in a cluster with the board `board-a`; the resource that tells of it.
        reason: the headline's.
        words: a part of its message.
        help: what helps, in words.
        mend: does that.
        mended: the headline's reason soon afterwards; any other than before where None.
    """

    title: str
    make: Callable[[World], Key]
    reason: Reason
    words: str
    help: str
    mend: Callable[[World, Key], None]
    mended: Reason | None = None


def search(world: World, **changes: object) -> Key:
    """A search on a simulated board, whose worker is made at once."""
    spec = spec_of("CoDesignSearch", **{"devices": SIMULATED, **changes})
    key = world.apply("CoDesignSearch", "s", spec)
    world.settle()
    return key


def job(world: World, **changes: object) -> Key:
    """A ProfilingJob for the board."""
    key = world.apply("ProfilingJob", "p", spec_of("ProfilingJob", **changes))
    world.settle()
    return key


def with_pod(world: World, key: Key, **status: object) -> Key:
    """The same with a pod that is pending and says so."""
    pod_of(world, key, **status)
    world.settle()
    return key


def with_volume(world: World, key: Key, reason: str, said: str) -> Key:
    """The same with a pod on a node, to which a volume does not come."""
    name = pod_of(world, key)
    world.cache.troubles.take_in(event("Pod", name, reason, said))
    world.settle()
    return key


def ended(world: World, key: Key, code: int, reason: str, said: str) -> Key:
    """The same with a worker that ends so."""
    world.start_pods()
    world.settle()
    world.end_pod(key, code, reason, said)
    world.settle()
    return key


def refused(world: World, child: str, reason: Reason, said: str) -> None:
    """The API server refuses a child."""
    world.refused[child] = (reason, said)


def runs(world: World, key: Key) -> None:
    """The pod runs after all."""
    pod_of(world, key)
    for place, body in list(world.objects.items()):
        if place[0] == "Pod":
            state = {"name": "worker", "state": {"running": {}}}
            world._store({**body, "status": {"phase": "Running", "containerStatuses": [state]}})


def changed(**fields: object) -> Callable[[World, Key], None]:
    """The spec is corrected."""
    return lambda world, key: world.change(key, **fields)


def anew(world: World, key: Key) -> None:
    """It is deleted."""
    world.delete(key.kind, key.name, key.namespace)


def unsuspended(world: World) -> Key:
    """A search that is suspended."""
    return search(world, suspend=True)


def two_on_one_board(world: World) -> Key:
    """Two searches that want the same board."""
    world.apply("ProfilingJob", "other", spec_of("ProfilingJob"))
    world.settle()
    world.start_pods()
    world.settle()
    world.wait(1)
    return job(world)


def refinement_alone(world: World) -> Key:
    """A refinement of a search that is not there."""
    key = world.apply("GPTranRun", "g")
    world.settle()
    return key


def refinement_of_a_failure(world: World) -> Key:
    """A refinement of a search that failed."""
    ended(world, search(world), 12, "MaxFailedTrialsReached", "4 trials failed")
    return refinement_alone(world)


def lost_board(world: World) -> Key:
    """The board goes away while it is measured on."""
    key = job(world)
    world.start_pods()
    world.settle()
    world.node("board-a", ready=False, device="pi")
    world.settle()
    return key


def two_claims(world: World) -> Key:
    """Storage in two places."""
    return search(world, storage={"newClaim": {"size": "1Gi"}, "claim": {"name": "data"}})


def quota(world: World) -> Key:
    """A quota that is used up."""
    refused(world, "Job/s-cds-worker", Reason.INSUFFICIENT_QUOTA, "exceeded quota: small")
    key = world.apply("CoDesignSearch", "s", spec_of("CoDesignSearch", devices=SIMULATED))
    for _ in range(3):  # it is asked for again and again, so nothing comes to rest
        world.reconcile(key)
    return key


def lift(world: World, key: Key) -> None:
    """Nothing is refused any more."""
    world.refused.clear()
    world.refusals.clear()


def same_name(world: World) -> Key:
    """A job of the name that the search makes one by."""
    world.apply("ProfilingJob", "s-pi", spec_of("ProfilingJob", suspend=True))
    key = world.apply("CoDesignSearch", "s")
    world.settle()
    return key


def taken_away(world: World, key: Key) -> None:
    """What is in the way is deleted."""
    world.delete("ProfilingJob", "s-pi")


def taking_time(world: World) -> Key:
    """A deadline that runs out."""
    key = search(world, activeDeadlineSeconds=60)
    world.start_pods()
    world.settle()
    world.wait(61)
    world.settle()
    return key


def changed_while_it_runs(world: World) -> Key:
    """A spec that is changed under a worker that runs."""
    key = search(world)
    world.start_pods()
    world.settle()
    world.change(key, seed=7)
    world.settle()
    return key


def board_back(world: World, key: Key) -> None:
    """The board is there again."""
    world.node("board-a", device="pi")


def one_class(world: World) -> Key:
    """A storage class that does not exist."""
    storage = {"newClaim": {"size": "1Gi", "storageClassName": "longhorn"}}
    key = search(world, storage=storage)
    told = event("PersistentVolumeClaim", "s-cds-storage", "ProvisioningFailed", CLASS)
    pod_of(world, key, **unschedulable("pod has unbound immediate PersistentVolumeClaims"))
    world.cache.troubles.take_in(told)
    world.settle()
    return key


def by_claim(world: World) -> Key:
    """A claim that does not exist."""
    key = search(world, storage={"claim": {"name": "data"}})
    return with_pod(world, key, **unschedulable('persistentvolumeclaim "data" not found'))


def only_boards(world: World) -> Key:
    """Every node is a board."""
    said = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
    return with_pod(world, search(world), **unschedulable(said))


R = Reason
MISTAKES: Final = (
    Mistake("a word that no field has (`maxTrails`)",
        lambda w: search(w, search={"maxTrails": 4}), R.SPEC_INVALID, "maxTrials",
        "correct and apply it", changed(search={"maxTrials": 4, "initialTrials": 2})),
    Mistake("a value out of range",
        lambda w: search(w, search={"maxTrials": 0}), R.SPEC_INVALID, "maxTrials",
        "correct and apply it", changed(search={"maxTrials": 4, "initialTrials": 2})),
    Mistake("storage in two places", two_claims, R.SPEC_INVALID, "exactly one",
        "name one", changed(storage={"newClaim": {"size": "1Gi"}})),
    Mistake("no storage, and no default in the values",
        lambda w: search(w, storage=None), R.SPEC_INVALID, "newClaim",
        "name one, or set `workers.defaultStorage`",
        changed(storage={"newClaim": {"size": "1Gi"}})),
    Mistake("a simulated device in a ProfilingJob",
        lambda w: job(w, device={"name": "x", "simulation": "raspberry-pi-4-cpu"}),
        R.SPEC_INVALID, "not measured", "a nodeSelector", changed(device=BOARD)),
    Mistake("`host: true`, which in a cluster is any node",
        lambda w: search(w, devices=[{"name": "here", "host": True}]),
        R.SPEC_INVALID, "nodeSelector", "a nodeSelector", changed(devices=SIMULATED)),
    Mistake("a meter that is a program, without consent",
        lambda w: job(w, device={**BOARD, "energy": METER}),
        R.SPEC_INVALID, "allow", "ask the administrator for `workers.allow.commands`",
        changed(device=BOARD)),
    Mistake("a path that leaves the storage",
        lambda w: search(w, task={"folder": "/etc"}), R.SPEC_INVALID, "task.folder",
        "a path below the storage", changed(task={"name": "movie-reviews"})),
    Mistake("a `podTemplate` that asks for more than is allowed",
        lambda w: search(w, podTemplate={"spec": {"hostNetwork": True}}),
        R.SPEC_INVALID, "hostNetwork", "leave it out, or ask the administrator",
        changed(podTemplate=None)),
    Mistake("no node has the board's labels",
        lambda w: job(w, device={"name": "x", "nodeSelector": {"edgetran.io/device": "no"}}),
        R.NO_MATCHING_NODE, "edgetran.io/device", "label a node",
        lambda w, _: w.node("board-x", device="no")),
    Mistake("two jobs for one board", two_on_one_board, R.DEVICE_BUSY, "ns/other",
        "wait: it comes by itself",
        lambda w, _: w.finish(Key("ProfilingJob", "ns", "other"))),
    Mistake("the board is switched off while it is measured on", lost_board, R.DEVICE_LOST,
        "board-a", "switch it on: what was measured is kept", board_back),
    Mistake("a claim that does not exist", by_claim, R.CLAIM_PENDING, '"data" not found',
        "make the claim", runs, R.RUNNING),
    Mistake("a storage class that does not exist", one_class, R.CLAIM_PENDING, "longhorn",
        "make the class, or delete the resource and its claim", runs, R.RUNNING),
    Mistake("a ConfigMap of data that does not exist",
        lambda w: with_volume(w, search(w, data={"configMap": {"name": "t"}}), "FailedMount",
            'configmap "t" not found'),
        R.FAILED_MOUNT, '"t" not found', "make it", runs, R.RUNNING),
    Mistake("a volume that another node holds",
        lambda w: with_volume(w, search(w), "FailedAttachVolume", "Multi-Attach error"),
        R.FAILED_ATTACH_VOLUME, "Multi-Attach", "end what uses it there", runs, R.RUNNING),
    Mistake("a wrong image",
        lambda w: with_pod(w, search(w), **waiting("ErrImagePull")),
        R.ERR_IMAGE_PULL, "registry.lan", "correct `workers.images`: the worker is made anew",
        runs, R.RUNNING),
    Mistake("a Secret of storage that does not exist",
        lambda w: with_pod(w, search(w, storage={"uri": "s3://b/f", "secret": "no"}),
            **waiting("CreateContainerConfigError")),
        R.CREATE_CONTAINER_ERROR, "registry.lan", "make the Secret", runs, R.RUNNING),
    Mistake("more memory or cores than a node has",
        lambda w: with_pod(w, search(w), **unschedulable("0/3 nodes: 3 Insufficient memory.")),
        R.UNSCHEDULABLE, "Insufficient memory", "ask for less, or add a node", runs, R.RUNNING),
    Mistake("a GPU where no node has one",
        lambda w: with_pod(w, search(w, ray={"gpusPerTrial": 1}),
            **unschedulable("0/3 nodes: 3 Insufficient nvidia.com/gpu.")),
        R.NO_GPU, "free GPUs", "`gpusPerTrial: 0`, or add one", runs, R.RUNNING),
    Mistake("every node is a board", only_boards, R.UNSCHEDULABLE, "trainOnBoards",
        "`trainOnBoards: true`, or another node", changed(trainOnBoards=True)),
    Mistake("a quota that is used up", quota, R.INSUFFICIENT_QUOTA, "exceeded quota",
        "raise it, or end other work: it is tried again", lift),
    Mistake("a refinement without its search", refinement_alone, R.DEPENDENCY_MISSING, "s",
        "make the search", lambda w, _: (w.apply("CoDesignSearch", "s"), None)[1]),
    Mistake("a refinement of a search that failed", refinement_of_a_failure,
        R.DEPENDENCY_FAILED, "4 trials failed", "delete both, correct the search", anew),
    Mistake("a job by the name of one that a search makes", same_name, R.SPEC_INVALID,
        "not its own", "another name, or a `profileRef`", taken_away),
    Mistake("a deadline that is too short", taking_time, R.DEADLINE_EXCEEDED,
        "activeDeadlineSeconds", "delete it and give it more", anew),
    Mistake("constraints that nothing meets",
        lambda w: ended(w, search(w), 11, "NoFeasibleCandidate", "latencyMs rules out all"),
        R.NO_FEASIBLE_CANDIDATE, "rules out all", "delete it and relax one", anew),
    Mistake("data that cannot be read",
        lambda w: ended(w, search(w), 10, "SpecInvalid", "spec.task: no column text"),
        R.SPEC_INVALID, "no column text", "delete it and correct the file", anew),
    Mistake("a worker image without the engine",
        lambda w: ended(w, job(w), 13, "ChildFailed", "openvino is not installed"),
        R.CHILD_FAILED, "openvino is not installed", "an image that has it", anew),
    Mistake("storage that is full",
        lambda w: ended(w, search(w, backoffLimit=0), 14, "StorageUnavailable",
            "No space left on device"),
        R.STORAGE_UNAVAILABLE, "No space left", "make room, delete it and apply it again", anew),
    Mistake("`suspend: true` that was forgotten", unsuspended, R.SUSPENDED, "spec.suspend",
        "`suspend: false`", changed(suspend=False)),
)  # fmt: skip


def table() -> str:
    """The mistakes as a table of Markdown."""
    rows = "".join(f"| {each.title} | `{each.reason}` | {each.help} |\n" for each in MISTAKES)
    return f"| Mistake or fault | Headline | What helps |\n|---|---|---|\n{rows}"


if __name__ == "__main__":
    text = OPERATIONS.read_text()
    before, rest = text.split(BEGIN, 1)
    OPERATIONS.write_text(f"{before}{BEGIN}\n{table()}\n{END}{rest.split(END, 1)[1]}")
