"""Serving a winner: it begins when the model is known, and follows the spec from then on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from edgetran.api import CoDesignSearch, ConditionType, Device, GPTranRun, Reason, child_name
from edgetran.api.common import CandidateSummary, ServeSpec
from edgetran.api.field_errors import forbidden
from edgetran.api.implied import implied_profiling_jobs, implied_refinement
from edgetran.api.names import SERVED
from edgetran.api.wire import VERDICT_MINUTES, ServedVerdict
from edgetran_operator.plan import Deletion, StatusBuilder, cut, read_status
from edgetran_operator.reconcile.dependencies import succeeded
from edgetran_operator.reconcile.spec import with_storage
from edgetran_operator.reconcile.worker import refusal_of
from edgetran_operator.resources import Run, ServedWinner, made_from_of, serving_children
from edgetran_operator.snapshot import DeploymentView, Snapshot

_TYPE = ConditionType.SERVED_AS_MEASURED


def serve_winner(builder: StatusBuilder, run: Run) -> None:
    """Make, change or take away what serves the winner, and say whether it is as measured."""
    resource = run.resource
    if not isinstance(resource, CoDesignSearch | GPTranRun):
        return
    serve = resource.spec.serve
    if serve is None:
        _take_away(builder, resource)
        return
    if not builder.seen.settings.serving:
        message = f"spec.serve: {forbidden('the administrator has not set rbac.serving')}"
        builder.set(_TYPE, "Unknown", Reason.NOT_COMPARED, message)
        return
    winner = _winner(builder, resource)
    if winner is not None and not _make(builder, run, serve, winner):
        return
    if winner is None and builder.seen.deployment is None:
        message = "the artefact of the winner is not known, so nothing is served"
        builder.set(_TYPE, "Unknown", Reason.NOT_COMPARED, message)
        return
    _tell(builder)


def _take_away(builder: StatusBuilder, resource: CoDesignSearch | GPTranRun) -> None:
    """The Deployment goes last: as long as it is there, the rest is asked to go again."""
    builder.drop(_TYPE)
    deployment = builder.seen.deployment
    if deployment is not None and not deployment.deleting:
        builder.delete.append(Deletion("Service", child_name(resource, SERVED), ""))
        builder.delete.append(Deletion("Deployment", deployment.name, deployment.uid))


def _make(builder: StatusBuilder, run: Run, serve: ServeSpec, winner: ServedWinner) -> bool:
    """Apply what is not as it should be; whether it is worth looking at what is there."""
    children = serving_children(run, serve, winner)
    deployment = builder.seen.deployment
    if deployment is not None and deployment.made_from == made_from_of(children):
        return True
    for child in children:
        refusal = refusal_of(builder.seen, child)
        if refusal is not None:
            message = f"{child.label} is refused: {cut(refusal.message, 500)}"
            builder.set(_TYPE, "Unknown", refusal.reason, message)
            if refusal.passes:
                builder.apply += children
            return False
    builder.apply += children
    if deployment is None:
        builder.set(_TYPE, "Unknown", Reason.PENDING, f"{children[-1].label} is being made")
        return False
    return True


def _winner(builder: StatusBuilder, resource: CoDesignSearch | GPTranRun) -> ServedWinner | None:
    """What is to be served: the refined model once there is one; None where what is served stays.

    None also where no artefact is known.
    """
    seen = builder.seen
    refinement = implied_refinement(resource) if isinstance(resource, CoDesignSearch) else None
    if refinement is not None:
        child = seen.dependencies.get((refinement.kind, refinement.name))
        if child is not None and child.owner == seen.uid and succeeded(child):
            source = child.resource
            status: Any = read_status(refinement.kind, child.status)
            if isinstance(source, GPTranRun) and status.best is not None:
                source = with_storage(source, seen.settings, source)
                return _served(seen, resource, source, child.uid, status.best)
        if builder.ended:
            return None  # it was refined, and the refined model's resource is gone
    best = builder.fields.get("best", getattr(builder.before, "best", None))
    if best is None or resource.spec.storage is None:
        return None
    return _served(seen, resource, resource, seen.uid, best)


def _served(
    seen: Snapshot,
    resource: CoDesignSearch | GPTranRun,
    source: CoDesignSearch | GPTranRun,
    uid: str,
    best: CandidateSummary,
) -> ServedWinner | None:
    if not best.artifact:
        return None
    engine = (best.made_for or "").partition(" ")[0]
    return ServedWinner(source, uid, best.artifact, engine, _device(seen, resource, best.device))


def _device(seen: Snapshot, resource: CoDesignSearch | GPTranRun, name: str) -> Device | None:
    """The board of that name; None where it is simulated, or no longer known."""
    search: Any = resource
    if isinstance(resource, GPTranRun):
        if resource.spec.search_ref is None:
            return _measured(seen, resource.spec.device, None)
        found = seen.dependencies.get(("CoDesignSearch", resource.spec.search_ref.name))
        search = found.resource if found is not None else None
    if not isinstance(search, CoDesignSearch):
        return None
    device = next((each for each in search.spec.devices if each.name == name), None)
    job = implied_profiling_jobs(search).get(name)
    return _measured(seen, device, None if job is None else job.name)


def _measured(seen: Snapshot, device: Any, job: str | None) -> Device | None:
    """The device as the ProfilingJob has it that measured it, where there is one."""
    if device is None or device.simulation is not None:
        return None
    name = device.profile_ref.name if device.profile_ref is not None else job
    found = seen.dependencies.get(("ProfilingJob", name or ""))
    if found is not None and found.resource is not None:
        spec: Any = found.resource.spec
        measured: Device = spec.device
        return measured
    return device if isinstance(device, Device) else None


def _tell(builder: StatusBuilder) -> None:
    deployment = builder.seen.deployment
    if deployment is None:
        return
    verdicts = _current(builder, deployment)
    off = next((each for each in verdicts if each.served_as_measured == "False"), None)
    same = next((each for each in verdicts if each.served_as_measured == "True"), None)
    if not deployment.complete:
        message = f"Deployment/{deployment.name}: {deployment.ready} of {deployment.wanted} pods "
        message += "serve the newest artefact"
        if deployment.trouble:
            message += f"; {deployment.trouble}"
        builder.set(_TYPE, "Unknown", Reason.PENDING, message)
    elif off is not None:
        builder.set(_TYPE, "False", Reason.NOT_AS_MEASURED, off.message)
    elif same is not None:
        builder.set(_TYPE, "True", Reason.AS_MEASURED, same.message)
    else:
        said = next((each.message for each in verdicts), "no pod has told its verdict yet")
        builder.set(_TYPE, "Unknown", Reason.NOT_COMPARED, said)


def _current(builder: StatusBuilder, deployment: DeploymentView) -> list[ServedVerdict]:
    """Verdicts on the newest artefact that are young enough to count."""
    young = timedelta(minutes=VERDICT_MINUTES)
    found = [
        (told, verdict)
        for told, verdict in builder.seen.verdicts.verdicts
        if verdict.artifact == deployment.artifact and builder.now - told < young
    ]
    for told, _ in found:
        builder.look_again_at(told + young)
    return [verdict for _, verdict in found]
