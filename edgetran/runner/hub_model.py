"""A model on the Hugging Face hub as a folder: fetched once, then read from the cache."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from typing import Final

from edgetran.cache import cache_folder
from edgetran.training import TaskError
from edgetran.training.hub import reachable

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")

_FILES: Final = (
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
)
"""What a parent is read from; never code, nor weights that are pickled."""


def is_hub_name(model: str) -> bool:
    """Whether a model's name has the form OWNER/NAME."""
    return _NAME.fullmatch(model) is not None


@cache
def hub_model(name: str) -> Path:
    """The folder of a model of the hub; where the hub is out of reach, as it was fetched before.

    Args:
        name: OWNER/NAME.

    Raises:
        TaskError: the hub has no such model, or does not answer and nothing was fetched before.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    folder = cache_folder() / "models" / name
    online = reachable()
    whole = all((folder / each).is_file() for each in _FILES[:2])
    if whole and not online:
        return folder
    try:
        if not online:
            raise OSError("the hub does not answer, and it was not fetched before")
        snapshot_download(
            name,
            local_dir=str(folder),
            allow_patterns=list(_FILES),
            endpoint=os.environ.get("HF_ENDPOINT") or None,
        )
    except Exception as error:  # noqa: BLE001 - the clients below raise dozens of kinds
        if whole:
            return folder
        said = str(error).strip().splitlines()
        raise TaskError(
            f"model: {name} is no folder here and could not be fetched from the Hugging Face hub "
            f"({type(error).__name__}: {said[0] if said else ''}); check the name and the network, "
            "or give a folder"
        ) from None
    return folder
