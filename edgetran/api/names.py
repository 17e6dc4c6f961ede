"""Names of resources and of their children: capped so that every child's name fits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgetran.api.scalars import DeviceName, Name

if TYPE_CHECKING:
    from edgetran.api.resource import Resource

MAX_NAME: Final = 63
"""What a label's value, and so a Job's or a Service's name, may have at most."""

MAX_RAY_JOB_NAME: Final = 47
"""KubeRay appends to a RayJob's name and refuses longer ones."""

NAME_LIMITS: Final = {"ProfilingJob": 47, "CoDesignSearch": 26, "GPTranRun": 36}
"""The longest name of each kind: `NAME-pj-results-999` fits 63 characters, a search's ProfilingJob
`SEARCH-DEVICE` fits its kind, and `NAME-cds-worker` and `NAME-gpt-worker` may be RayJobs."""

LAST_RESULTS: Final = 999
"""The number of the last results ConfigMap that a resource may have."""

WORKER: Final = "worker"
"""Suffix of the Job or RayJob, and of its ServiceAccount, Role and RoleBinding."""

SPEC: Final = "spec"
"""Suffix of the ConfigMap that tells the worker its work."""

STORAGE: Final = "storage"
"""Suffix of the claim that `storage.newClaim` asks for."""


def results(number: int) -> str:
    """Suffix of a results ConfigMap; they are numbered from 0."""
    return f"results-{number}"


CHILD_SUFFIXES: Final = (WORKER, SPEC, STORAGE, results(LAST_RESULTS))
"""What is appended to the name of each resource, the longest where there are several."""


def child_name(resource: Resource, suffix: str) -> str:
    """The deterministic name `NAME-KIND-SUFFIX` of a child, KIND being the kind's short name.

    Children of two resources never share a name, since a short name has no '-' in it.

    Raises:
        ValueError: the name is longer than 63 characters, which valid resources never cause.
    """
    return _capped(f"{resource.name}-{resource.SHORT_NAME}-{suffix}")


def profiling_job_name(search: Name, device: DeviceName) -> str:
    """The name of the ProfilingJob that a search makes for one of its devices."""
    return _capped(f"{search}-{device}")


def refinement_name(search: Name) -> str:
    """The name of the GPTranRun that a search makes for its winner."""
    return _capped(f"{search}-refine")


def _capped(name: str) -> str:
    if len(name) > MAX_NAME:
        raise ValueError(f"{name}: {len(name)} characters; allowed is {MAX_NAME}")
    return name
