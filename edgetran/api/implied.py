"""The resources that a search stands for besides itself: profiles to make, a winner to refine."""

from __future__ import annotations

from edgetran.api.codesign_search import CoDesignSearch
from edgetran.api.common import CommonSpec, Reference
from edgetran.api.device import Device, SearchDevice
from edgetran.api.gptran_run import GPTranRun, GPTranRunSpec
from edgetran.api.meta import ObjectMeta
from edgetran.api.names import child_name, profiling_job_name
from edgetran.api.profiling_job import ProfilingJob, ProfilingJobSpec
from edgetran.api.resource import API_VERSION, Resource


def implied_profiling_jobs(search: CoDesignSearch) -> dict[str, ProfilingJob]:
    """The ProfilingJobs, by device, of measured devices that refer to none.

    Each is named `SEARCH-DEVICE` and measures over the search's design space and workload.
    """
    return {
        device.name: ProfilingJob(
            api_version=API_VERSION,
            kind="ProfilingJob",
            metadata=_child_metadata(search, profiling_job_name(search.name, device.name)),
            spec=ProfilingJobSpec(
                **_common(search.spec),
                device=_plain_device(device),
                design_space=search.spec.design_space,
                workload=search.spec.workload,
                measurement=search.spec.profiling.measurement,
                sampling=search.spec.profiling.sampling,
                seed=search.spec.seed,
            ),
        )
        for device in search.spec.devices
        if device.simulation is None and device.profile_ref is None
    }


def implied_refinement(search: CoDesignSearch) -> GPTranRun | None:
    """The GPTranRun `SEARCH-refine` of a search's winner; None where none is asked for.

    The search's constraints are its budgets where it has none of its own.
    """
    refine = search.spec.refine
    if refine is None:
        return None
    settings = {name: getattr(refine, name) for name in type(refine).model_fields}
    return GPTranRun(
        api_version=API_VERSION,
        kind="GPTranRun",
        metadata=_child_metadata(search, child_name(search.name, "refine")),
        spec=GPTranRunSpec(
            **_common(search.spec),
            **settings,
            search_ref=Reference(name=search.name),
            ray=search.spec.ray,
            seed=search.spec.seed,
        ),
    )


def _child_metadata(parent: Resource, name: str) -> ObjectMeta:
    return ObjectMeta(name=name, namespace=parent.metadata.namespace)


def _common(spec: CommonSpec) -> dict[str, object]:
    """What children take over from their parent's spec; its deadline and TTL stay with it."""
    return {
        "suspend": spec.suspend,
        "backoff_limit": spec.backoff_limit,
        "pod_template": spec.pod_template,
        "storage": spec.storage,
    }


def _plain_device(device: SearchDevice) -> Device:
    return Device(**{name: getattr(device, name) for name in Device.model_fields})
