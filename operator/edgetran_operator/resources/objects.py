"""Children that are one plain object each: the storage's claim, results, and other resources."""

from __future__ import annotations

from edgetran.api import Resource, child_name, to_dict
from edgetran.api.names import STORAGE, results
from edgetran_operator.plan import Child
from edgetran_operator.resources.run import Run


def claim(run: Run) -> tuple[Child, ...]:
    """The PersistentVolumeClaim of the run; none where the storage is something else."""
    storage = run.spec.storage
    if storage is None or storage.new_claim is None:
        return ()
    wanted = storage.new_claim
    spec = {
        "accessModes": [wanted.access_mode],
        "resources": {"requests": {"storage": wanted.size}},
    }
    if wanted.storage_class_name is not None:
        spec["storageClassName"] = wanted.storage_class_name
    metadata = run.metadata(child_name(run.resource, STORAGE))
    if wanted.retain:
        del metadata["ownerReferences"]  # it would be deleted together with its owner
    return (
        Child(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": metadata,
                "spec": spec,
            }
        ),
    )


def results_part(run: Run, number: int) -> Child:
    """The results ConfigMap of that number, empty: the worker alone fills it."""
    return Child(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": run.metadata(child_name(run.resource, results(number))),
        }
    )


def implied_child(run: Run, resource: Resource) -> Child:
    """A ProfilingJob or GPTranRun that belongs to the run's search."""
    body = to_dict(resource)
    body["metadata"] = run.metadata(resource.name)
    return Child(body)
