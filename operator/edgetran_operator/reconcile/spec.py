"""Which spec counts: the one that work began with, and what of a newer one is honoured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic.alias_generators import to_camel

from edgetran.api import (
    CoDesignSearch,
    CoDesignSearchSpec,
    GPTranRun,
    GPTranRunSpec,
    ProfilingJob,
    Resource,
    SpecError,
    field_errors,
    refused_changes,
)
from edgetran.api.allowances import (
    MeterAllowance,
    absolute_paths,
    meter_problems,
    not_begun_by,
    tracker_problems,
)
from edgetran.api.base import BEGUN, ApiModel, immutable_fields
from edgetran.api.common import NewClaim, Storage
from edgetran.api.errors import path_text
from edgetran.api.rules import listed
from edgetran_operator.resources import (
    Run,
    device_problems,
    pod_template,
    podtemplate_problems,
    worker_pod,
)
from edgetran_operator.settings import Allowances, Settings
from edgetran_operator.snapshot import Snapshot

Model = TypeVar("Model", bound=ApiModel)
ResourceT = TypeVar("ResourceT", bound=Resource)


def effective(seen: Snapshot) -> tuple[Resource | None, str | None]:
    """The resource that counts, and what is wrong with the newest one.

    None and a sentence where there is no valid spec; a resource and a sentence where the newest
    spec, or a change in it, is refused and the work goes on with the first one.
    """
    first, newest = seen.first, seen.resource
    if newest is None:
        return first, seen.problem
    newest = with_storage(newest, seen.settings, first)
    if first is None:
        return newest, None
    refused = refused_changes(first, newest, begun=seen.begun)
    if not refused:
        return newest, None
    sentence = "; ".join(f"{problem.path}: {problem.message}" for problem in refused)
    return _with_spec(first, honoured(spec_of(first), spec_of(newest))), sentence


def status_tells_of_work(status: Mapping[str, Any]) -> bool:
    """Whether a status as plain data tells that a worker ever ran."""
    return any(status.get(to_camel(name)) not in (None, before) for name, before in BEGUN.items())


def with_storage(
    resource: ResourceT, settings: Settings, first: Resource | None = None
) -> ResourceT:
    """The resource with the settings' new claim as its storage where it has none and needs one.

    Once its work began (`first`), it is the claim that was made then, whatever the settings are.
    """
    if spec_of(resource).storage is not None or resource.kind == "ProfilingJob":
        return resource
    default = settings.default_storage
    storage: Storage | None = None
    if first is not None:
        before: Storage | None = spec_of(first).storage
        storage = before if before is not None and before.new_claim is not None else None
    elif default.storage_class_name:
        claim = NewClaim(size=default.size, storage_class_name=default.storage_class_name)
        storage = Storage(new_claim=claim)
    spec = spec_of(resource).model_copy(update={"storage": storage})
    return resource.model_copy(update={"spec": spec})


def spec_of(resource: Resource) -> Any:
    """The spec of a resource of any kind."""
    return resource.spec


def honoured(first: Model, newest: Model) -> Model:
    """`first` with those fields of `newest` that may change."""
    fixed = immutable_fields(type(newest))
    fields: dict[str, Any] = {}
    for name in type(newest).model_fields:
        before, after = getattr(first, name), getattr(newest, name)
        if name in fixed:
            continue
        if isinstance(after, ApiModel) and isinstance(before, type(after)) and after.MUTABLE:
            fields[name] = honoured(before, after)
        else:
            fields[name] = after
    return first.model_copy(update=fields)


def _with_spec(resource: Resource, spec: Any) -> Resource:
    return resource.model_copy(update={"spec": spec})


def forbidden(run: Run) -> str | None:
    """Why a valid spec cannot be done in this cluster; None where it can."""
    resource = run.resource
    if isinstance(resource, ProfilingJob) and resource.spec.device.simulation is not None:
        why = "a simulated device is calculated, not measured; use host: true or nodeSelector"
        return f"spec.device.simulation: {field_errors.forbidden(why)}"
    if isinstance(resource, CoDesignSearch | GPTranRun) and resource.spec.storage is None:
        what = (
            "must be a claim, a newClaim or a uri, or the models would be gone with the worker's "
            "pod; it may be left out where the chart's value "
            "workers.defaultStorage.storageClassName is set"
        )
        return f"spec.storage: {field_errors.required(what)}"
    if isinstance(resource, CoDesignSearch | GPTranRun) and _needs_a_claim(resource.spec):
        why = (
            f"with ray.mode {resource.spec.ray.mode}, Ray's workers would not see the models; "
            "use a claim or a newClaim that every Ray worker mounts"
        )
        return f"spec.storage.uri: {field_errors.forbidden(why)}"
    beyond = not_allowed(resource, run.settings.allow)
    if beyond:
        return "; ".join(beyond)
    return pod_problem(run)


def pod_problem(run: Run) -> str | None:
    """What the pod of a run would be and the administrator does not allow; None where nothing."""
    problems = device_problems(run.resource, run.settings)
    patch = pod_template(run)
    if patch:
        base, merged = worker_pod(run, template=False), worker_pod(run)
        found = podtemplate_problems(patch, base, merged, run.settings)
        problems += ((f"spec.podTemplate.{place}", message) for place, message in found)
    return "; ".join(f"{place}: {message}" for place, message in problems) or None


def not_allowed(resource: Resource, allow: Allowances) -> list[str]:
    """What leads where the administrator allows nothing: meters, trackers, paths, addresses."""
    meters = MeterAllowance(allow.commands, allow.meters)
    found = [*meter_problems(resource, meters), *absolute_paths(resource)]
    found += tracker_problems(resource, allow.trackers)
    sentences = [f"{path_text(path)}: {sentence}" for path, sentence in found]
    storage, ray = spec_of(resource).storage, getattr(spec_of(resource), "ray", None)
    uri = None if storage is None else storage.uri
    if uri is not None and not any(_begins(uri, each) for each in allow.storage):
        sentences.append(f"spec.storage.uri: {not_begun_by('storage', allow.storage)}")
    if ray is not None and ray.address is not None:
        place = ray.address.removeprefix("ray://")
        if not {place, place.rpartition(":")[0]} & set(allow.ray_addresses):
            permitted = listed(allow.ray_addresses) or "not set"
            what = f"must be listed in the setting allow.rayAddresses, which is {permitted}"
            sentences.append(f"spec.ray.address: {field_errors.invalid(ray.address, what)}")
    return sentences


def _begins(address: str, beginning: str) -> bool:
    """Whether the address is the beginning or lies below it."""
    if beginning.endswith("/"):
        return address.startswith(beginning)
    return address == beginning or address.startswith(f"{beginning}/")


def _needs_a_claim(spec: CoDesignSearchSpec | GPTranRunSpec) -> bool:
    """Whether trials run in other pods than the one whose folders are its own."""
    ray, storage = spec.ray, spec.storage
    elsewhere = ray.mode == "cluster" or (ray.mode == "kuberay" and ray.workers > 0)
    return elsewhere and storage is not None and storage.uri is not None


def sentences(error: SpecError) -> str:
    """All problems of a resource in one line."""
    return "; ".join(
        f"{problem.path}: {problem.message}" if problem.path else problem.message
        for problem in error.problems
    )
