"""Resources that a search stands for, as its children."""

from __future__ import annotations

from edgetran.api import Resource, to_dict
from edgetran_operator.plan import Child
from edgetran_operator.resources.run import Run


def implied_child(run: Run, resource: Resource) -> Child:
    """A ProfilingJob or GPTranRun that belongs to the run's search."""
    body = to_dict(resource)
    body["metadata"] = run.job_metadata(resource.name)
    return Child(body)
