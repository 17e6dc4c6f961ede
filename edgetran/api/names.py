"""Names of resources and of their children: capped so that every child's name fits."""

from __future__ import annotations

from typing import Final

from edgetran.api.scalars import DeviceName, Name

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

SERVED: Final = "served"
"""Suffix of what serves the winner: Deployment, Service, ServiceAccount, Role, RoleBinding, and the
ConfigMap with the verdict."""

READER: Final = "reader"
"""Suffix of the Job that hands a run's artefacts over to a board that cannot mount their volume."""


def results(number: int) -> str:
    """Suffix of a results ConfigMap; they are numbered from 0."""
    return f"results-{number}"


CHILD_SUFFIXES: Final = (WORKER, SPEC, STORAGE, SERVED, READER, results(LAST_RESULTS))
"""What is appended to the name of each resource, the longest where there are several."""


def profiling_job_name(search: Name, device: DeviceName) -> str:
    """The name of the ProfilingJob that a search makes for one of its devices."""
    return capped(f"{search}-{device}")


def refinement_name(search: Name) -> str:
    """The name of the GPTranRun that a search makes for its winner."""
    return capped(f"{search}-refine")


def verification_name(run: Name) -> str:
    """The name of the ProfilingJob that measures the finalists of a search or a refinement.

    No device's job of a search has it: a device's name begins with no dash.
    """
    return capped(f"{run}--verify")


def capped(name: str) -> str:
    """The name itself.

    Raises:
        ValueError: it is longer than `MAX_NAME`, which valid resources never cause.
    """
    if len(name) > MAX_NAME:
        raise ValueError(f"{name}: {len(name)} characters; allowed is {MAX_NAME}")
    return name
