"""Names of resources and of their children: capped so that every child's name fits."""

from __future__ import annotations

from typing import Final

from edgetran.api.scalars import DeviceName, Name

MAX_NAME: Final = 63
"""What a label's value, and so a Job's or a Service's name, may have at most."""

MAX_RAY_JOB_NAME: Final = 47
"""KubeRay appends to a RayJob's name and refuses longer ones."""

NAME_LIMITS: Final = {"ProfilingJob": 51, "CoDesignSearch": 30, "GPTranRun": 40}
"""The longest name of each kind: a search's child is a ProfilingJob `SEARCH-DEVICE`, each has
results ConfigMaps `NAME-results-NNN`, and `SEARCH-search` and a GPTranRun may be RayJobs."""

CHILD_SUFFIXES: Final = ("worker", "results-999", "storage", "spec")
"""What is appended to the name of each resource."""

SEARCH_CHILD_SUFFIXES: Final = ("search", "refine")
"""What is appended to a search's name for its worker and its GPTranRun."""


def child_name(parent: Name, suffix: str) -> str:
    """The deterministic name `PARENT-SUFFIX` of a child.

    Raises:
        ValueError: the name is longer than 63 characters, which valid parents never cause.
    """
    name = f"{parent}-{suffix}"
    if len(name) > MAX_NAME:
        raise ValueError(f"{name}: {len(name)} characters; allowed is {MAX_NAME}")
    return name


def profiling_job_name(search: Name, device: DeviceName) -> str:
    """The name of the ProfilingJob that a search makes for one of its devices."""
    return child_name(search, device)
