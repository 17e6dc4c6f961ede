"""What a device's profile predicts of one architecture, and why, as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edgetran.api.measures import BY_NAME
from edgetran.api.yaml_text import read_files
from edgetran.profiling import Explanation, Profile, ProfilingError
from edgetran.report.wording import number
from edgetran.space import Architecture

_FAR_FROM_ADDITIVE: Final = 0.25
_SHOWN: Final = 0.005  # smaller shares are added up


def architecture_named(text: str, profile: Profile) -> Architecture:
    """The architecture of a file, or the measured one of a graph hash.

    Args:
        text: a JSON or YAML file of a model dict `{l, h, f, o}`, the folder of a FlexiBERT, or a
            measured architecture's graph hash or the beginning of it.
        profile: where the hash is looked up.

    Raises:
        ProfilingError: neither, or a hash that several architectures share.
        ArchitectureError: a model dict that is none.
    """
    path = Path(text)
    if path.is_dir():
        path = path / "config.json"
    if path.is_file():
        return Architecture.from_model_dict(_model_dict(path))
    found = {
        m.architecture.graph_hash: m.architecture
        for m in profile.measurements
        if m.architecture.graph_hash.startswith(text)
    }
    if len(found) == 1 and text:
        return next(iter(found.values()))
    if text and found:
        raise ProfilingError(
            f"--explain: {len(found)} measured architectures begin with {text}; give more of it"
        )
    raise ProfilingError(
        f"--explain: {text!r} is neither a file nor an architecture measured on {profile.device}; "
        "allowed is a JSON or YAML file of {l, h, f, o}, a model's folder, or a measured graph hash"
    )


def _model_dict(path: Path) -> dict[str, Any]:
    documents = read_files([str(path)])
    data = documents[0].data if len(documents) == 1 else None
    if not isinstance(data, dict):
        raise ProfilingError(f"{path}: holds no architecture; allowed is one of {{l, h, f, o}}")
    inner = data.get("architecture", data.get("model_dict", data))
    if not isinstance(inner, dict):
        raise ProfilingError(f"{path}: holds no architecture; allowed is one of {{l, h, f, o}}")
    return inner


def explanation_view(profile: Profile, explanations: Sequence[Explanation]) -> RenderableType:
    """Prediction and interval, shares per operation, nearest measured architectures."""
    parts: list[RenderableType] = [Text(str(profile.key)), _predictions(explanations)]
    shared = [e for e in explanations if e.shares]
    if shared:
        parts += ["", _shares(shared)]
        parts += [
            Text(
                f"– {BY_NAME[e.measure].title}: the operations' costs alone add up to "
                f"{number(e.additive_value)} {e.unit}; the shares say less here."
            )
            for e in shared
            if e.additive_value is not None
            and abs(e.additive_value / e.value - 1) > _FAR_FROM_ADDITIVE
        ]
    parts += ["", _nearest(explanations)]
    parts += [Text(f"– {BY_NAME[e.measure].title}: {e.reason}") for e in explanations if e.reason]
    return Group(*parts)


def _table(*columns: str) -> Table:
    table = Table(box=box.HORIZONTALS, show_edge=False, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right")
    return table


def _predictions(explanations: Sequence[Explanation]) -> Table:
    level = f"{explanations[0].level:.0%} within"
    table = _table("Predicted", "Value", level, "Measured", "By")
    for e in explanations:
        measured = f"{number(e.measured)} {e.unit}" if e.measured is not None else "—"
        table.add_row(
            BY_NAME[e.measure].title,
            f"{number(e.value)} {e.unit}",
            f"{number(e.low)}–{number(e.high)} {e.unit}",
            measured,
            ", ".join(f"{kind} {share:.0%}" for kind, share in e.members[:3]),
        )
    return table


def _shares(explanations: Sequence[Explanation]) -> Table:
    table = _table("Share", *(BY_NAME[e.measure].title for e in explanations))
    by_measure = [{s.operation: s for s in e.shares} for e in explanations]
    for share in explanations[0].shares:
        if share.share < _SHOWN and all(
            o[share.operation].share < _SHOWN for o in by_measure if share.operation in o
        ):
            continue
        cells = [
            f"{o[share.operation].share:.0%}  {number(o[share.operation].value)} {e.unit}"
            if share.operation in o
            else "—"
            for o, e in zip(by_measure, explanations, strict=True)
        ]
        table.add_row(share.operation.replace("_", " "), *cells)
    return table


def _nearest(explanations: Sequence[Explanation]) -> Table:
    table = _table(
        "Nearest measured", "Distance", *(BY_NAME[e.measure].title for e in explanations)
    )
    by_measure = [{n.graph_hash: n for n in e.nearest} for e in explanations]
    for neighbour in explanations[0].nearest:
        table.add_row(
            neighbour.graph_hash,
            f"{neighbour.distance:.2f}",
            *(
                f"{number(n[neighbour.graph_hash].value)} {e.unit}"
                if neighbour.graph_hash in n
                else "—"
                for n, e in zip(by_measure, explanations, strict=True)
            ),
        )
    return table
