"""From a reference (a name, a folder, files or a hub data set) to a checked task."""

from __future__ import annotations

import os
from typing import Any

from edgetran.api.field_errors import unsupported
from edgetran.training import movie_reviews
from edgetran.training.content import check_content
from edgetran.training.glue import load_glue_folder
from edgetran.training.hub import load_hub_task
from edgetran.training.reference import TaskReference
from edgetran.training.tables import load_table_task
from edgetran.training.task import Task, TaskError, check_task, limit_examples


def load_task(
    reference: TaskReference | None = None,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    **source: Any,
) -> Task:
    """Load and check a task.

    Args:
        reference: where it comes from; or give its fields directly, as in
            `load_task(name="movie-reviews")`.
        cache_dir: where downloads are kept; see `edgetran.cache`.
        **source: fields of `TaskReference`.

    Raises:
        TaskError: one sentence saying where, what was given and what is allowed.
    """
    reference = reference or TaskReference.from_dict(source)
    task = check_task(_load(reference, cache_dir))
    if reference.content is not None:
        check_content(reference, task)
    if reference.max_examples is not None:
        task = limit_examples(task, reference.max_examples, reference.seed)
    return task


def _load(reference: TaskReference, cache_dir: str | os.PathLike[str] | None) -> Task:
    if reference.name is not None:
        if reference.name != movie_reviews.NAME:
            raise TaskError(f"task.name: {unsupported(reference.name, [movie_reviews.NAME])}")
        return movie_reviews.load_movie_reviews(cache_dir)
    if reference.folder is not None:
        return load_glue_folder(
            reference.folder,
            reference.glue,
            seed=reference.seed,
            keep_overlap=reference.keeps_overlap,
        )
    if reference.hub is not None:
        return load_hub_task(reference, cache_dir=cache_dir)
    return load_table_task(reference)
