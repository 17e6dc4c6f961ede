"""What is wrong with data or a model, as a problem of the resource's field that names it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from edgetran import api
from edgetran.models.elastic_parent import ElasticError
from edgetran.training import TaskError


@contextmanager
def problems_of(resource: api.Resource, path: str) -> Iterator[None]:
    """Raise what a block finds wrong as a problem of a field.

    Raises:
        SpecError: a TaskError or ElasticError of the block.
    """
    try:
        yield
    except (TaskError, ElasticError) as error:
        problem = api.SpecProblem(resource.source, resource.label, path, str(error))
        raise api.SpecError([problem]) from None
