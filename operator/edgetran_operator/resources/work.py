"""The spec ConfigMap: a worker's work as files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from edgetran.api import Resource, child_name, to_dict, work_hash
from edgetran.api.names import SPEC
from edgetran.api.wire import (
    CLAIM,
    DEPENDENCIES_FILE,
    RESOURCE_FILE,
    WORK_FILE,
    InputsOrder,
    SearchOrder,
    StorageOrder,
    WorkOrder,
    input_path,
)
from edgetran_operator.plan import Child
from edgetran_operator.resources.run import Run, run_folder
from edgetran_operator.snapshot import WorkFiles

_NOT_YAML: Final = re.compile("[\x7f-\x9f\ufdd0-\ufdef\ufeff\ufffe\uffff\u2028\u2029]")
"""Characters that JSON takes as they are and YAML does not, or not at the start of a file."""


def new_work(run: Run) -> WorkFiles:
    """The files of a run."""
    spec = run.spec
    storage = None
    if spec.storage is not None:
        uri = spec.storage.uri
        storage = StorageOrder(claim=True) if uri is None else StorageOrder(uri=uri)
    inputs = run.inputs
    search = None
    if inputs.search is not None:
        kept = inputs.search.spec.storage
        search = SearchOrder(
            folder=run_folder(inputs.search, run.namespace, inputs.search_uid),
            storage=CLAIM if kept is None or kept.uri is None else kept.uri,
        )
    order = WorkOrder(
        results=child_name(run.resource, "results"),
        namespace=run.namespace,
        storage=storage,
        folder=run_folder(run.resource, run.namespace, run.uid),
        inputs=InputsOrder(
            profiles={
                job: [input_path(job, number) for number in range(len(parts))]
                for job, parts in inputs.profiles.items()
            },
            search=search,
        ),
    )
    work = order.model_dump(mode="json", by_alias=True, exclude_unset=True)
    files = {
        RESOURCE_FILE: _yaml(_document(run.resource, run.namespace, run.uid)),
        WORK_FILE: json.dumps(work, indent=1, sort_keys=True) + "\n",
    }
    if inputs.dependencies:
        files[DEPENDENCIES_FILE] = "".join(
            "---\n" + _yaml(_document(each, run.namespace, "")) for each in inputs.dependencies
        )
    return WorkFiles(files, beside_spec(files))


def beside_spec(files: Mapping[str, str]) -> str:
    """The hash of all files but the resource, which has a hash of its own."""
    return work_hash({name: text for name, text in files.items() if name != RESOURCE_FILE})


def work_child(run: Run, work: WorkFiles) -> Child:
    """The ConfigMap of the files."""
    return Child(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": run.metadata(child_name(run.resource, SPEC)),
            "data": dict(work.files),
        }
    )


def _document(resource: Resource, namespace: str, uid: str) -> dict[str, Any]:
    document = to_dict(resource)
    metadata = {"name": resource.name, "namespace": namespace}
    if uid:
        metadata["uid"] = uid
    document["metadata"] = metadata
    return document


def _yaml(document: Mapping[str, Any]) -> str:
    """JSON that YAML reads the same: written and read a hundred times faster than block style."""
    text = json.dumps(document, indent=1, ensure_ascii=False)
    return _NOT_YAML.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n"
