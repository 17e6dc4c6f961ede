"""Tasks from the Hugging Face hub through `datasets`: GLUE's nine, or any with text and label."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from edgetran.api.field_errors import invalid
from edgetran.cache import cache_folder
from edgetran.tabular import Table
from edgetran.training.glue import GluePart, GlueTask, arrange, glue_task
from edgetran.training.labels import LabelError, read_label
from edgetran.training.tables import read_part, task_from_parts
from edgetran.training.task import Example, Task, TaskError

if TYPE_CHECKING:
    from edgetran.training.reference import TaskReference

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
        found = {
            split.removesuffix("_matched"): _glue_part(rows, task, f"{path} ({split})")
            for split, rows in parts.items()
        }
        return arrange(
            name,
            found,
            source=f"Hugging Face hub, {_GLUE}",
            seed=reference.seed,
            keep_overlap=reference.keeps_overlap,
        )
    if len(words) not in (2, 3) or not all(words):
        what = "must be glue/TASK, OWNER/NAME or OWNER/NAME/CONFIGURATION"
        raise TaskError(f"task.hub: {invalid(path, what)}")
    parts = _download(path, "/".join(words[:2]), words[2] if len(words) == 3 else None, cache_dir)
    if "train" not in parts:
        raise TaskError(f"task.hub: {path} has no train part; it has {', '.join(parts)}")
    rows = {
        split: read_part(_table(parts[split], reference, f"{path} ({split})"), reference)
        for split in ("train", "validation", "test")
        if split in parts
    }
    return task_from_parts(rows, reference, name=path, source=f"Hugging Face hub, {path}")


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
        with _quiet(offline=not reachable()):
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


def reachable() -> bool:
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


def _glue_part(rows: Any, task: GlueTask, source: str) -> GluePart:
    """Examples of the hub's version of GLUE, which writes hidden labels as −1."""

    def place(index: int) -> str:
        return f"{source}:row {index + 1}"

    examples = []
    for index, row in enumerate(rows):
        texts = [(row[column] or "").strip() for column in task.hub_texts]
        if not all(texts):
            if task.ragged:
                continue
            raise TaskError(f"{place(index)}: the text in {task.hub_texts} is empty")
        try:
            label = None if row["label"] == -1 else read_label(row["label"]).number
        except LabelError as error:
            raise TaskError(f"{place(index)}: the label {error}") from None
        if label is not None and task.label_names is not None:
            label = int(label)
        examples.append(Example(texts[0], texts[1] if len(texts) > 1 else None, label))
    return GluePart(tuple(examples), place)


def _table(part: Any, reference: TaskReference, source: str) -> Table:
    """Any data set; classes are called by their names where the set tells them."""
    column = reference.label_column
    names = getattr(part.features.get(column), "names", None)
    rows = list(part)
    if names:
        # −1 is how hidden labels are written: no class.
        rows = [
            row | {column: None if row[column] in (None, -1) else names[row[column]]}
            for row in rows
        ]
    return Table(source, tuple(part.features), rows, lambda index: f"row {index + 1}")
