"""What is served: an artefact with its tokenizer, and what was measured of it.

It is the winner in a run's folder, or the model in a folder that `edgetran export` wrote, whose
`measured.json` tells what `result.json` tells of a winner.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from edgetran.artifacts import SIDECAR, Artifact, PredictionSummary
from edgetran.devices import Workload, host_info
from edgetran.runner.finalist_rows import measurable_rows
from edgetran.runner.folder import RunFolder
from edgetran.runner.measured import MEASURED, MEASURED_SCHEMA_VERSION

_TOKENIZER: Final = ("tokenizer.json", "tokenizer_config.json")


class ServingError(ValueError):
    """A folder that cannot be served; one sentence."""


@dataclass(frozen=True)
class Expected:
    """What was measured of an artefact.

    Attributes:
        predictions: on the test part; None where it is not known.
        latency_ms: median of a sequence of the workload; None where it was not measured.
        latency_note: of what the latency is, or why there is none.
    """

    predictions: PredictionSummary | None
    latency_ms: float | None
    latency_note: str


@dataclass(frozen=True)
class ServedModel:
    """A model that is ready to be opened.

    Attributes:
        name: in addresses.
        artifact: its content was checked by hash.
        tokenizer: folder with tokenizer.json and tokenizer_config.json.
        class_names: in order of the classes; empty for regression.
        max_length: tokens to which texts are cut.
        pad_token_id: what stands behind shorter texts of a batch.
        workload: batch and length that the latency is of.
        target: what its engine runs on.
        threads: of its engine; None for all cores.
        expected: what was measured.
    """

    name: str
    artifact: Artifact
    tokenizer: Path
    class_names: tuple[str, ...]
    max_length: int
    pad_token_id: int
    workload: Workload
    target: Literal["cpu", "cuda"]
    threads: int | None
    expected: Expected

    @property
    def is_regression(self) -> bool:
        """Whether it predicts a number."""
        return not self.class_names


def find_model(
    folder: Path, *, name: str | None = None, artifact: str | None = None
) -> ServedModel:
    """The model to serve of a run's folder, or of one that `edgetran export` wrote.

    Args:
        folder: either of them.
        name: in addresses; the run's name where None.
        artifact: SHA-256 of the finalist's artefact that is meant; the winner's where None, or
            where no finalist of the run has it.

    Raises:
        ServingError: the run has no winner, or the folder lacks a file.
        ArtifactError: the artefact is missing, or has been changed.
        RunFolderError: no folder of a complete run, and none of an export.
    """
    if (folder / SIDECAR).is_file():
        return _exported(folder, name)
    run = RunFolder(folder)
    result = run.read_result()
    try:
        return _finalist(run, result, name, artifact)
    except (KeyError, TypeError, AttributeError) as error:
        raise ServingError(
            f"{run.result}: is not a result of EdgeTran that tells of an artefact ({error})"
        ) from None


def _finalist(
    run: RunFolder, result: Mapping[str, Any], name: str | None, wanted: str | None
) -> ServedModel:
    winner = result["winner"]
    others = (row for key, row in measurable_rows(result).items() if key != "baseline")
    meant = (row for row in others if wanted and row["artifact"]["sha256"] == wanted)
    winner = next(meant, winner)
    if winner is None:
        raise ServingError(f"{run.path}: this run has no winner, so there is nothing to serve")
    if "artifact" not in winner:
        raise ServingError(
            f"{run.result}: names no artefact, as an earlier version of EdgeTran wrote it; "
            "run the search again in a new folder, or serve what `edgetran export` writes"
        )
    path = run.path / winner["artifact"]["path"]
    artifact = Artifact.load(path.parent)
    if artifact.sha256 != winner["artifact"]["sha256"]:
        raise ServingError(
            f"{path}: its SHA-256 is {artifact.sha256[:12]}…, the result is of "
            f"{winner['artifact']['sha256'][:12]}…; it is not the artefact that was measured"
        )
    devices: dict[str, dict[str, Any]] = {each["name"]: each for each in result["devices"]}
    device = devices.get(winner["device"], {})
    return _model(
        name or result["name"],
        artifact,
        run.model,
        result["workload"],
        target="cuda" if device.get("accelerator") == "cuda" else "cpu",
        threads=device.get("threads"),
        expected=Expected(
            _predictions(winner.get("testPredictions")), *_latency(result, winner, artifact.sha256)
        ),
    )


def _exported(folder: Path, name: str | None) -> ServedModel:
    artifact = Artifact.load(folder)
    path = folder / MEASURED
    if not path.is_file():
        raise ServingError(f"{folder}: holds no {MEASURED}; write it again with `edgetran export`")
    data = _json(path)
    try:
        version = data["schemaVersion"]
        if version != MEASURED_SCHEMA_VERSION:
            raise ServingError(
                f"{path}: schemaVersion is {version}, this version of EdgeTran reads "
                f"{MEASURED_SCHEMA_VERSION}"
            )
        figure = {**data["figures"].get("latencyMs", {}), "cpu": data["host"]["cpuModel"]}
        return _model(
            name or data["name"],
            artifact,
            folder,
            data["workload"],
            target="cpu",
            threads=None,
            expected=Expected(
                _predictions(data["testPredictions"]), *_of_host([figure], artifact.sha256)
            ),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ServingError(f"{path}: is not what `edgetran export` writes ({error})") from None


def _model(
    name: str,
    artifact: Artifact,
    tokenizer: Path,
    workload: Mapping[str, Any],
    *,
    target: Literal["cpu", "cuda"],
    threads: int | None,
    expected: Expected,
) -> ServedModel:
    for each in ("config.json", *_TOKENIZER):
        if not (tokenizer / each).is_file():
            raise ServingError(f"{tokenizer}: holds no {each}")
    config, settings = _json(tokenizer / "config.json"), _json(tokenizer / _TOKENIZER[1])
    labels = config["id2label"]
    regression = config.get("problem_type") == "regression" or len(labels) == 1
    positions = int(config["max_position_embeddings"])
    known = expected.predictions
    if known is not None and len(known.class_shares) != (0 if regression else len(labels)):
        raise ServingError(
            f"{tokenizer}: has {len(labels)} labels, and {len(known.class_shares)} shares of "
            "classes were measured"
        )
    return ServedModel(
        name=name,
        artifact=artifact,
        tokenizer=tokenizer,
        class_names=()
        if regression
        else tuple(str(labels[str(index)]) for index in range(len(labels))),
        max_length=min(positions, int(settings.get("model_max_length") or positions)),
        pad_token_id=int(config.get("pad_token_id") or 0),
        workload=Workload(
            batch_size=int(workload["batchSize"]),
            sequence_length=int(workload["sequenceLength"]),
            vocab_size=int(config["vocab_size"]),
            num_labels=len(labels),
        ),
        target=target,
        threads=threads,
        expected=expected,
    )


def _predictions(data: Any) -> PredictionSummary | None:
    """Of the test part; None where the run did not keep it."""
    return None if data is None else PredictionSummary.from_dict(data)


def _latency(
    result: Mapping[str, Any], winner: Mapping[str, Any], sha256: str
) -> tuple[float | None, str]:
    """The latency of the winner on its device if measured, or else of the artefact on a host."""
    latency = winner["figures"]["latencyMs"]
    if latency["source"] == "measured" and latency["value"] is not None:
        return float(latency["value"]), f"measured on {winner['device']}"
    value, note = _of_host(_host_figures(result), sha256)
    if value is None:
        note = f"on {winner['device']} it is {latency['source']}, not measured; {note}"
    return value, note


def _host_figures(result: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    cpu = result["host"]["cpu_model"]
    on_host = result["winner"].get("onHost") or {}
    rows = [on_host, *(export.get("figures") or {} for export in result.get("exports") or [])]
    for row in rows:
        yield {**(row.get("latencyMs") or {}), "cpu": cpu}


def _of_host(figures: Any, sha256: str) -> tuple[float | None, str]:
    """A figure that was measured on a processor like this host's."""
    here = host_info().cpu_model
    for figure in figures:
        if figure.get("artifact") != sha256 or figure.get("value") is None:
            continue
        if figure["cpu"] == here:
            return float(figure["value"]), f"measured on {here}"
        return None, f"it was measured on {figure['cpu']}, and this is {here}"
    return None, "nothing was measured on a host like this one"


def _json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ServingError(f"{path}: cannot be read as JSON") from None
    if not isinstance(data, dict):
        raise ServingError(f"{path}: is not a JSON object")
    return data
