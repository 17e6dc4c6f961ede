"""What a tracking server is shown of a run: one entry per trial, per model of a tree, and a result.

All of it is read from the run's own logs, which hold it whether or not it was ever shown.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from edgetran.records import read_records
from edgetran.runner.folder import RunFolder
from edgetran.runner.phases import first_time
from edgetran.training import ARTIFACTS

RESULT: Final = "result"
RUN_TAG: Final = "edgetran.run"
KEY_TAG: Final = "edgetran.key"

_NOTE: Final = "mlflow.note.content"
_LONGEST_TEXT: Final = 4000
"""Characters of a tag; servers refuse longer ones."""


@dataclass(frozen=True)
class Tracked:
    """One entry.

    Attributes:
        key: what it is within its run, such as `trial-7`.
        name: as it is shown.
        failed: whether it came to nothing.
        params: what was chosen.
        metrics: what came of it, units in the names.
        tags: where it lies, and why it is as it is.
        started: when it began, ms since 1970; None where the log does not say.
        ended: when it ended.
    """

    key: str
    name: str
    failed: bool
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str] = field(default_factory=dict)
    started: int | None = None
    ended: int | None = None

    @property
    def changes(self) -> bool:
        """Whether it may be another one later."""
        return self.key == RESULT

    @property
    def digest(self) -> str:
        """Identity of what came of it, wherever it lies, in hexadecimal digits."""
        told = [self.failed, self.params, self.metrics, self.started, self.ended]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def run_id(folder: RunFolder, name: str) -> str:
    """What tells this run from others of the same name: the same in each session of it."""
    return hashlib.sha256(f"{name} {first_time(folder.log)}".encode()).hexdigest()[:16]


def tracked(folder: RunFolder, place: str) -> Iterator[Tracked]:
    """All that there is to show, as far as the logs are.

    Args:
        folder: the run's.
        place: the folder as whoever looks it up would find it.

    Raises:
        RecordError, KeyError, ValueError: a log that cannot be read.
    """
    for record in read_records(folder.trials):
        yield _trial(record, f"{place}/{_below(folder, folder.search_checkpoints)}")
    nodes = {
        record["id"]: record
        for record in read_records(folder.gptran / "tree.jsonl")
        if record.get("type") == "node"
    }
    for node in nodes.values():
        yield _node(node, f"{place}/{_below(folder, folder.gptran)}")
    if folder.complete:
        yield _result(folder.read_result(), place)


def _trial(record: Mapping[str, Any], place: str) -> Tracked:
    metrics = _judged(record)
    for other in record["other_devices"]:
        metrics |= {f"{name}.{other['device']}": value for name, value in _judged(other).items()}
    for name in ("training_seconds", "attempts", "transfer_ratio", "trained_accuracy"):
        metrics |= _number(name, record.get(name))
    links = {}
    checkpoint = record["checkpoint"]
    if checkpoint is not None:
        links["edgetran.checkpoint"] = f"{place}/{checkpoint}"
        for name, score in (record.get("artifacts") or {}).items():
            path = f"{place}/{checkpoint}/{ARTIFACTS}/{name}"
            links[f"edgetran.artifact.{name}"] = _link(path, score.get("sha256"))
    parent = record["parent"]
    return Tracked(
        key=f"trial-{record['number']}",
        name=f"trial {record['number']}",
        failed=record["error"] is not None,
        params=_texts(
            **_shape(record),
            device=record["device"],
            proposed_by=record["proposed_by"],
            seed=record["seed"],
            inherits_from=None if parent is None else f"trial {parent}",
        ),
        metrics=metrics,
        tags=_texts(**links, **{_NOTE: record["reason"]}),
        started=_milliseconds(record["started"]),
        ended=_milliseconds(record["finished"]),
    )


def _node(record: Mapping[str, Any], place: str) -> Tracked:
    metrics = {"parameters": float(record["parameters"]), **_figures(record["hardware"])}
    for name, value in (("accuracy", "metric"), ("loss", "loss"), ("training_seconds", "seconds")):
        metrics |= _number(name, record[value])
    metrics |= _number("transfer_ratio", record["transfer_ratio"])
    metrics["within_budgets"] = float(record["within_budgets"])
    links = {}
    if record["checkpoint"] is not None:
        own = not record["checkpoint"].startswith("/")
        links["edgetran.checkpoint"] = f"{place}/{record['checkpoint']}" if own else None
    return Tracked(
        key=f"node-{record['id']}",
        name=f"node {record['id']}",
        failed=record["state"] == "failed",
        params=_texts(
            **_shape(record),
            stage=record["stage"],
            cycle=record["cycle"],
            change=record["change"],
            made_from=None if record["parent"] is None else f"node {record['parent']}",
        ),
        metrics=metrics,
        tags=_texts(**links, **{_NOTE: record["reason"], "edgetran.state": record["state"]}),
    )


def _result(result: Mapping[str, Any], place: str) -> Tracked:
    """The result; without parameters, as it may be made again and those can never change."""
    metrics: dict[str, float] = {}
    tags: dict[str, Any] = {_NOTE: "\n".join(result["notes"])}
    for key, before in (("winner", ""), ("searchBest", "search_best."), ("baseline", "baseline.")):
        row = result.get(key)
        if row is None:
            continue
        metrics |= {f"{before}{name}": value for name, value in _figures(row["figures"]).items()}
        words = {f"edgetran.{before}{name}": text for name, text in _shape(row).items()}
        tags |= words | {f"edgetran.{before}device": row["device"]}
        artifact = row.get("artifact")
        if artifact is not None:
            link = _link(f"{place}/{artifact['path']}", artifact.get("sha256"))
            tags[f"edgetran.{before}artifact"] = link
    for each in result.get("exports") or ():
        name = f"edgetran.export.{each['engine']}-{each['precision']}"
        tags[name] = _link(f"{place}/{each['path']}", each.get("sha256"))
    for name in ("report", "model", "spec"):
        if name in result["files"]:
            tags[f"edgetran.{name}"] = f"{place}/{result['files'][name]}"
    return Tracked(
        key=RESULT,
        name=f"{result['name']}: result",
        failed=False,
        params={},
        metrics=metrics,
        tags=_texts(**tags),
        started=_milliseconds(result["startedAt"]),
        ended=_milliseconds(result["finishedAt"]),
    )


def _judged(record: Mapping[str, Any]) -> dict[str, float]:
    """The figures of one judgement; none of a trial that failed."""
    if record["measures"] is None:
        return {}
    metrics = _figures(record["measures"]) | {"feasible": float(record["feasible"])}
    return metrics | _number("objective", record["objective"])


def _figures(figures: Mapping[str, Any]) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for name, figure in figures.items():
        value = figure.get("value") if isinstance(figure, Mapping) else figure
        if not isinstance(value, str | bool):
            metrics |= _number(re.sub(r"(?<=[a-z0-9])[A-Z]", r"_\g<0>", name).lower(), value)
    return metrics


def _number(name: str, value: float | None) -> dict[str, float]:
    return {} if value is None else {name: float(value)}


def _shape(record: Mapping[str, Any]) -> dict[str, Any]:
    """What tells architectures apart at a glance, and the whole where a server takes it."""
    model = record["architecture"]
    hidden = sorted(set(model["h"]))
    text = json.dumps(model, separators=(",", ":"))
    return {
        "graph_hash": record.get("graph_hash") or record.get("graphHash"),
        "layers": model["l"],
        "hidden_size": "–".join(map(str, hidden[:1] + hidden[1:][-1:])),
        "heads": sum(len(heads) for heads in model["o"]),
        "architecture": text if len(text) <= _LONGEST_TEXT else None,
    }


def _texts(**values: Any) -> dict[str, str]:
    """What there is of the values, as text that is not too long."""
    texts = {name: str(value) for name, value in values.items() if value not in (None, "")}
    return {
        name: text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"
        for name, text in texts.items()
    }


def _link(path: str, sha256: str | None) -> str:
    return path if sha256 is None else f"{path} sha256:{sha256}"


def _below(folder: RunFolder, path: Any) -> str:
    return str(path.relative_to(folder.path).as_posix())


def _milliseconds(time: str) -> int:
    return round(datetime.fromisoformat(time).timestamp() * 1000)
