"""A trained elastic network's folder: the parent's configuration, all weights, what it is."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from edgetran.models import FlexiBertConfig, FlexiBertForSequenceClassification, ModelConfigError
from edgetran.models.elastic import ElasticError, ElasticFlexiBert
from edgetran.training.disk import new_folder
from edgetran.training.optimisation import copy_tensors, restore_tensors

RECORD_NAME: Final = "elastic.json"
WEIGHTS_NAME: Final = "elastic.safetensors"


def save_elastic(
    elastic: ElasticFlexiBert, folder: str | os.PathLike[str], record: Mapping[str, Any]
) -> None:
    """Write a network and JSON-able facts of it, whole or not at all.

    Raises:
        OSError: no space, or no right to write there.
    """
    facts = {**record, "schema_version": 1, "head_types": list(elastic.head_types)}
    with new_folder(folder) as made:
        elastic.parent.config.save_pretrained(made)
        save_file(copy_tensors(elastic), made / WEIGHTS_NAME)
        (made / RECORD_NAME).write_text(json.dumps(facts, indent=1), encoding="utf-8")


def read_record(folder: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The facts that `save_elastic` was given; None where no network is."""
    try:
        record: dict[str, Any] = json.loads(Path(folder, RECORD_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and record.get("schema_version") == 1 else None


def load_elastic(folder: str | os.PathLike[str]) -> ElasticFlexiBert:
    """The network in a folder, on the CPU and in evaluation mode.

    Raises:
        ElasticError: there is none, or its weights are not whole.
    """
    record = read_record(folder)
    if record is None:
        raise ElasticError(f"{folder}: holds no elastic network")
    try:
        config = FlexiBertConfig.from_pretrained(folder, local_files_only=True)
        elastic = ElasticFlexiBert(FlexiBertForSequenceClassification(config), record["head_types"])
        restore_tensors(elastic, load_file(Path(folder, WEIGHTS_NAME)))
    except (OSError, KeyError, RuntimeError, SafetensorError, ModelConfigError) as error:
        raise ElasticError(f"{folder}: the elastic network is incomplete ({error})") from None
    return elastic.train(False)
