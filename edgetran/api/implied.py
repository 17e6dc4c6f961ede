"""The resources that a search stands for besides itself: profiles to make, a winner to refine."""

from __future__ import annotations

from typing import Any

from edgetran.api.base import ApiModel
from edgetran.api.codesign_search import CoDesignSearch, CoDesignSearchSpec
from edgetran.api.common import Reference
from edgetran.api.device import Device
from edgetran.api.gptran_run import GPTranRun, GPTranRunSpec, Refinement
from edgetran.api.meta import ObjectMeta
from edgetran.api.names import profiling_job_name, refinement_name, verification_name
from edgetran.api.profiling_job import FinalistsSource, ProfilingJob, ProfilingJobSpec
from edgetran.api.resource import API_VERSION, Resource


def implied_profiling_jobs(search: CoDesignSearch) -> dict[str, ProfilingJob]:
    """The ProfilingJobs, by device, of measured devices that refer to none.

    Each is named `SEARCH-DEVICE` and measures over the search's design space and workload. None has
    the search's storage, as its records are its results, and a volume of another node would keep
    its board from measuring; but where the space is that of a parent, whose folder lies there.
    """
    parent = search.spec.parent
    shared = {
        **_common(search.spec),
        "design_space": search.spec.design_space,
        "parent": parent,
        "storage": search.spec.storage if parent is not None and parent.model else None,
        "workload": search.spec.workload,
        "measurement": search.spec.profiling.measurement,
        "sampling": search.spec.profiling.sampling,
    }
    return {
        device.name: ProfilingJob(
            api_version=API_VERSION,
            kind="ProfilingJob",
            metadata=_child_metadata(search, profiling_job_name(search.name, device.name)),
            spec=ProfilingJobSpec.model_validate(
                {**shared, "device": Device.model_validate(_fields(device, Device))}
            ),
        )
        for device in search.spec.devices
        if device.simulation is None and device.profile_ref is None
    }


def implied_refinement(search: CoDesignSearch) -> GPTranRun | None:
    """The GPTranRun `SEARCH-refine` of a search's winner; None where none is asked for."""
    refine = search.spec.refine
    if refine is None:
        return None
    return GPTranRun(
        api_version=API_VERSION,
        kind="GPTranRun",
        metadata=_child_metadata(search, refinement_name(search.name)),
        spec=GPTranRunSpec.model_validate(
            {
                **_common(search.spec),
                **_fields(refine, Refinement),
                "storage": search.spec.storage,
                "search_ref": Reference(name=search.name),
                "ray": search.spec.ray,
                "tracking": search.spec.tracking,
                "train_on_boards": search.spec.train_on_boards,
            }
        ),
    )


def implied_verification(run: CoDesignSearch | GPTranRun, profile: ProfilingJob) -> ProfilingJob:
    """The ProfilingJob `RUN--verify` that measures a run's finalists as its device was measured.

    Args:
        run: the search or the refinement.
        profile: the job that measured the device of its winner.
    """
    reference = Reference(name=run.name)
    source = (
        FinalistsSource(search_ref=reference)
        if isinstance(run, CoDesignSearch)
        else FinalistsSource(refinement_ref=reference)
    )
    measured = profile.spec
    return ProfilingJob(
        api_version=API_VERSION,
        kind="ProfilingJob",
        metadata=_child_metadata(run, verification_name(run.name)),
        spec=ProfilingJobSpec(
            suspend=run.spec.suspend,
            backoff_limit=run.spec.backoff_limit,
            pod_template=measured.pod_template,
            seed=measured.seed,
            device=measured.device,
            workload=measured.workload,
            measurement=measured.measurement,
            finalists_of=source,
        ),
    )


def _child_metadata(parent: Resource, name: str) -> ObjectMeta:
    return ObjectMeta(name=name, namespace=parent.metadata.namespace)


def _common(spec: CoDesignSearchSpec) -> dict[str, Any]:
    """What all children take over from the search; its deadline and TTL stay with it."""
    return {
        "suspend": spec.suspend,
        "backoff_limit": spec.backoff_limit,
        "pod_template": spec.pod_template,
        "seed": spec.seed,
    }


def _fields(model: ApiModel, kind: type[ApiModel]) -> dict[str, Any]:
    return {name: getattr(model, name) for name in kind.model_fields}
