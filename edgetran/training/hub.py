"""Tasks from the Hugging Face hub through `datasets`: GLUE's nine, or any with text and label."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from edgetran.training.cache import cache_folder
from edgetran.training.glue import GlueTask, arrange, glue_task
from edgetran.training.tables import Row, make_row, task_from_rows
from edgetran.training.task import Example, Task, TaskError

if TYPE_CHECKING:
    from edgetran.training.loading import TaskReference

_GLUE: Final = "nyu-mll/glue"
_CONNECT_TIMEOUT_S: Final = 5.0


def load_hub_task(
    reference: TaskReference, *, cache_dir: str | os.PathLike[str] | None = None
) -> Task:
    """Load `glue/TASK`, or `OWNER/NAME` or `OWNER/NAME/CONFIGURATION`.

    Data sets other than GLUE's need a text and a label column, and at least a train part.

    Raises:
        TaskError: `datasets` is not installed, the hub cannot be reached, or it has no such set.
    """
    path = reference.hub or ""
    words = path.split("/")
    if words[0].lower() == "glue" and len(words) == 2:
        name, task = glue_task(words[1])
        parts = _download(path, _GLUE, name, cache_dir)
        examples = {split: _glue_examples(rows, task) for split, rows in parts.items()}
        for split in ("validation", "test"):
            if f"{split}_matched" in examples:
                examples[split] = examples.pop(f"{split}_matched")
        return arrange(name, examples, source=f"Hugging Face hub, {_GLUE}", seed=reference.seed)
    if len(words) not in (2, 3) or not all(words):
        raise TaskError(
            f"task.hub: {path!r}; allowed is glue/TASK, OWNER/NAME or OWNER/NAME/CONFIGURATION"
        )
    parts = _download(path, "/".join(words[:2]), words[2] if len(words) == 3 else None, cache_dir)
    rows = {
        split: _rows(parts[split], reference, f"{path} ({split})")
        for split in ("train", "validation", "test")
        if split in parts
    }
    if "train" not in rows:
        raise TaskError(f"task.hub: {path} has no train part; it has {', '.join(parts)}")
    return task_from_rows(rows, reference, name=path, source=f"Hugging Face hub, {path}")


def _download(
    path: str, name: str, configuration: str | None, cache_dir: str | os.PathLike[str] | None
) -> Mapping[str, Any]:
    try:
        import datasets
    except ImportError:
        raise TaskError(
            f'task.hub: {path} needs the package datasets: pip install "edgetran[datasets]"'
        ) from None
    try:
        with _quiet(offline=not _reachable()):
            parts: Mapping[str, Any] = datasets.load_dataset(
                name, configuration, cache_dir=str(cache_folder(cache_dir) / "hub")
            )
            return parts
    except Exception as error:  # noqa: BLE001 - the clients below raise dozens of kinds
        reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise TaskError(
            f"task.hub: {path} could not be fetched ({type(error).__name__}: {reason}); check the "
            "name and the network, or give the data as folder or files"
        ) from None


def _reachable() -> bool:
    """Whether the hub's host answers, so that retries of half a minute can be spared.

    Behind a proxy the question cannot be asked; the answer is then yes.
    """
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY")):
        return True
    address = urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
    port = address.port or (80 if address.scheme == "http" else 443)
    try:
        socket.create_connection((address.hostname or "", port), _CONNECT_TIMEOUT_S).close()
    except OSError:
        return False
    return True


@contextmanager
def _quiet(*, offline: bool) -> Iterator[None]:
    """No progress bars, and only what is cached where the hub is out of reach."""
    import datasets
    from huggingface_hub import constants

    shown = datasets.is_progress_bar_enabled()
    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    datasets.disable_progress_bars()
    if offline:
        constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before
        if shown:
            datasets.enable_progress_bars()


def _glue_examples(rows: Any, task: GlueTask) -> tuple[Example, ...]:
    """Examples of the hub's version of GLUE, which writes hidden labels as −1."""
    first, second = task.hub_texts[0], task.hub_texts[1] if len(task.hub_texts) > 1 else None
    return tuple(
        Example(
            row[first].strip(),
            None if second is None else row[second].strip(),
            None if row["label"] == -1 else row["label"],
        )
        for row in rows
    )


def _rows(part: Any, reference: TaskReference, place: str) -> list[Row]:
    """Rows of any data set; classes are called by their names where the set tells them."""
    label = part.features.get(reference.label_column)
    names = getattr(label, "names", None)
    rows = []
    for number, values in enumerate(part, start=1):
        if names and values[reference.label_column] is not None:
            values = values | {reference.label_column: names[values[reference.label_column]]}
        rows.append(make_row(values, reference, f"{place}:{number}"))
    return rows
