"""Artefacts that are on a volume of another node alone, brought to the board that measures them.

Volumes such as those of K3s' `local-path` exist on one node. Once the scheduler has said that the
board cannot have it, a Job on the volume's node hands the artefacts over, and the worker is made
anew without the volume. That the Job is there is all that is to be known of it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from edgetran.api import Reason
from edgetran.api.wire import WORK_FILE
from edgetran_operator.plan import Deletion, Plan, StatusBuilder, cut
from edgetran_operator.reconcile.spec import spec_of
from edgetran_operator.reconcile.starting import cause
from edgetran_operator.reconcile.worker import (
    Stage,
    WorkerProgress,
    delete_worker,
    refusal_of,
)
from edgetran_operator.resources import Run, reader_address, reader_job
from edgetran_operator.resources.pod import claim_name
from edgetran_operator.snapshot import ReaderPodView, Snapshot

_OUT_OF_REACH: Final = ("volume node affinity conflict", "no available volume zone")
"""How schedulers say that a volume cannot be had on a node, now or ever."""


def is_out_of_reach(message: str) -> bool:
    """Whether a scheduler says that a volume is on other nodes alone."""
    return any(words in message for words in _OUT_OF_REACH)


def handed_over(builder: StatusBuilder, run: Run) -> Run | WorkerProgress:
    """The run with the address of its artefacts where they are handed over.

    Until they are, what is waited for; the run itself where nothing is handed over.
    """
    seen = builder.seen
    reader, worker = seen.reader, seen.worker
    if reader is None:
        return run
    label = f"Job/{reader.name}"
    if reader.deleting:
        return WorkerProgress(Stage.WAITING, Reason.PENDING, f"{label} is ending")
    pods = [each for each in seen.reader_pods if each.pod.worker_uid == reader.uid]
    serving = next((each for each in pods if each.address), None)
    if serving is not None:
        address = reader_address(run, serving.address)
        known = "" if seen.work is None else seen.work.files.get(WORK_FILE, "")
        if worker is not None and not worker.ended and not worker.deleting and address not in known:
            delete_worker(builder)
            message = "the worker is restarted, since its artefacts are handed over elsewhere now"
            return WorkerProgress(Stage.WAITING, Reason.PENDING, message)
        return replace(run, artifacts_from=address)
    if reader.ended:
        builder.delete.append(Deletion("Job", reader.name, reader.uid))
        message = f"{label} ended before everything was handed over; it is made anew"
        return WorkerProgress(Stage.WAITING, Reason.PENDING, message)
    if worker is not None:  # it may have all that it needs
        return run
    return WorkerProgress(Stage.WAITING, *_why_not(seen, label, pods))


def begin_to_hand_over(
    builder: StatusBuilder, run: Run, progress: WorkerProgress
) -> WorkerProgress:
    """`progress`; where the board cannot have the volume, the Job that hands over is made."""
    seen = builder.seen
    source = run.inputs.search
    if seen.reader is not None or seen.worker is None or source is None:
        return progress
    if claim_name(source) is None or not is_out_of_reach(progress.message):
        return progress
    child = reader_job(run)
    refusal = refusal_of(seen, child)
    if refusal is not None and not refusal.passes:
        message = f"{child.label} is refused: {cut(refusal.message, 500)}"
        return WorkerProgress(Stage.HELD_UP, refusal.reason, message)
    builder.apply.append(child)
    delete_worker(builder)
    message = (
        f"the volume with the artefacts is on another node alone, so {child.label} hands them over"
    )
    return WorkerProgress(Stage.WAITING, Reason.PENDING, message)


def without_reader(seen: Snapshot, plan: Plan) -> Plan:
    """The plan, in which nothing is handed over for work that has ended or rests."""
    reader = seen.reader
    if reader is None or reader.deleting or seen.deleting:
        return plan
    resource = seen.resource or seen.first
    rests = resource is not None and bool(spec_of(resource).suspend)
    ended = {**seen.status, **plan.status}.get("completionTime") is not None
    if not (rests or ended):
        return plan
    return replace(plan, delete=(*plan.delete, Deletion("Job", reader.name, reader.uid)))


def _why_not(seen: Snapshot, label: str, pods: list[ReaderPodView]) -> tuple[Reason, str]:
    live = [each.pod for each in pods if each.pod.live and not each.pod.deleting]
    for pod in live:
        known = cause(seen, pod)
        if known is not None:
            return known[0], f"{label} does not hand the artefacts over: {known[1]}"
    return Reason.PENDING, f"{label} is being started; it hands the artefacts over"
