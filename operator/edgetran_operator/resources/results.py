"""Results ConfigMaps: made empty here, filled by the worker alone."""

from __future__ import annotations

from edgetran.api import child_name
from edgetran.api.names import results
from edgetran_operator.plan import Child
from edgetran_operator.resources.run import Run


def results_part(run: Run, number: int) -> Child:
    """The results ConfigMap of that number, with no data of the operator's own."""
    return Child(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": run.metadata(child_name(run.resource, results(number))),
        }
    )
