"""`measured.json` of an exported folder: what was measured of the model in it, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from edgetran.devices import Workload, host_info

MEASURED: Final = "measured.json"
"""The file's name."""

MEASURED_SCHEMA_VERSION: Final = 1


def measured_record(
    name: str,
    workload: Workload,
    figures: Mapping[str, Mapping[str, Any]],
    predictions: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The record of a model that was measured on this host.

    Args:
        name: of the run.
        workload: what the latency is of.
        figures: as result.json has them, each with the SHA-256 of its artefact.
        predictions: on the test part, in figures.
    """
    return {
        "schemaVersion": MEASURED_SCHEMA_VERSION,
        "name": name,
        "workload": {
            "batchSize": workload.batch_size,
            "sequenceLength": workload.sequence_length,
        },
        "host": {"cpuModel": host_info().cpu_model},
        "figures": {key: dict(figure) for key, figure in figures.items()},
        "testPredictions": None if predictions is None else dict(predictions),
    }
