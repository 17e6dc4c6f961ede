"""What measuring a device came to, for the terminal: figures, claimed errors, what is not known."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from glob import escape
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edgetran.api.measures import HARDWARE
from edgetran.profiling import Measurement, Profile
from edgetran.profiling.profiling import GOES_ON
from edgetran.report import wording
from edgetran.report.reading import RunRecords
from edgetran.space import Architecture, ArchitectureError, parameter_count

MOST_ROWS: Final = 12
"""Architectures of a design space that are listed; models that were named are all listed."""


def measured_view(
    profiles: Iterable[Profile], names: Mapping[str, str] | None = None
) -> RenderableType:
    """Every profile: each measure's figures and claimed error, then the architectures.

    Args:
        profiles: of the devices that were measured.
        names: what to call architectures, by graph hash; those that have a name are all listed.

    Returns:
        What `rich` can print, from 80 columns on.
    """
    names = names or {}
    return Group(*(part for profile in profiles for part in _profile_parts(profile, names)))


def model_names(run: RunRecords) -> dict[str, str]:
    """The folders of the models that a run's ProfilingJobs measured, by graph hash."""
    names = {}
    for resource in yaml.safe_load_all(run.spec):
        for folder in ((resource or {}).get("spec") or {}).get("models") or ():
            adopted = (run.folder / "checkpoints").glob(f"adopted-{escape(Path(folder).name)}-*")
            for place in (Path(folder), *sorted(adopted)):
                architecture = _architecture_of(place / "config.json")
                if architecture is not None:
                    names[architecture.graph_hash] = str(folder)
    return names


def _architecture_of(config: Path) -> Architecture | None:
    try:
        return Architecture.from_model_dict(json.loads(config.read_text())["architecture"])
    except (OSError, ValueError, KeyError, TypeError, ArchitectureError):
        return None


def _profile_parts(profile: Profile, names: Mapping[str, str]) -> list[RenderableType]:
    key, workload = profile.key, profile.key.workload
    title = Text(profile.device, style="bold")
    threads = "1 thread" if key.threads == 1 else f"{key.threads} threads"
    title.append(
        f"  {key.engine}, {key.precision}, {threads}, batch {workload.batch_size}, "
        f"{workload.sequence_length} tokens; figures per sequence",
        style="dim",
    )
    unstable = sum(not m.stable for m in profile.measured)
    counts = f"{len(profile.measured)} architectures measured"
    counts += f", {unstable} of them unstable" if unstable else ""
    counts += f", {len(profile.failed)} failed" if profile.failed else ""
    stopped = (profile.summary or {}).get("stopped")
    if stopped and stopped != GOES_ON:
        counts += f". It ended because {stopped}."
    return [
        title,
        Text(counts, style="dim"),
        _measures_table(profile),
        *_reasons(profile),
        _architectures_table(profile, names),
        *_failures(profile),
    ]


def _measures_table(profile: Profile) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for title in ("Measured", "Least", "Median", "Most"):
        table.add_column(title, justify="left" if title == "Measured" else "right", no_wrap=True)
    table.add_column("Claimed mean error", justify="right")
    table.add_column("95 % within", justify="right", no_wrap=True)
    claimed, silent = _claims(profile)
    for measure in HARDWARE:
        name, unit = measure.name, measure.unit
        values = [v for m in profile.measured if (v := m.figures.of(measure).value) is not None]
        spread = (
            [f"{wording.number(v)} {unit}" for v in np.quantile(values, [0.0, 0.5, 1.0]).tolist()]
            if values
            else [wording.MISSING] * 3
        )
        quality = claimed.get(name)
        known = quality is not None and name not in silent
        table.add_row(
            measure.title,
            *spread,
            f"{quality['mean_error']:.1%}" if quality and known else _unknown(values),
            f"±{quality['p95_error']:.1%}" if quality and known else wording.MISSING,
        )
    return table


def _claims(profile: Profile) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    """Claimed errors, and why others are not known; of a profile that goes on, as they are now."""
    if profile.summary is not None:
        summary = profile.summary
        return summary.get("claimed_error") or {}, summary.get("not_predictable") or {}
    if not profile.measures:
        return {}, dict(profile.missing)
    quality = profile.quality
    silent = {name: each.reason for name, each in quality.items() if each.reason is not None}
    return {name: each.to_dict() for name, each in quality.items()}, profile.missing | silent


def _unknown(values: Sequence[float]) -> str:
    return "not predictable" if values else "not measured"


def _reasons(profile: Profile) -> list[Text]:
    """Why a measure cannot be predicted, or was not measured at all."""
    _, silent = _claims(profile)
    reasons: dict[str, list[str]] = {}
    for name, reason in silent.items():
        text = str(reason).removeprefix("not predictable: ")
        reasons.setdefault(text, []).append(wording.hardware_word(name))
    return [
        Text(f"{' and '.join(words).capitalize()}: {reason}.", style="yellow")
        for reason, words in reasons.items()
    ]


def _architectures_table(profile: Profile, names: Mapping[str, str]) -> RenderableType:
    rows = sorted(profile.measured, key=_latency_ms)
    named = [m for m in rows if m.architecture.graph_hash in names]
    shown = named or rows[:MOST_ROWS]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("Model" if named else "Quickest architectures", overflow="fold")
    for title in ("Parameters", *(measure.title for measure in HARDWARE)):
        table.add_column(title, justify="right", no_wrap=True)
    for record in shown:
        figures, workload = record.figures.by_alias(), record.workload
        latency, *others = (wording.measure_text(name, each) for name, each in figures.items())
        table.add_row(
            Text(names.get(record.architecture.graph_hash) or _in_short(record.architecture)),
            wording.number(
                parameter_count(
                    record.architecture,
                    vocab_size=workload.vocab_size,
                    max_positions=max(512, workload.sequence_length),
                    num_labels=workload.num_labels,
                )
            ),
            Text(latency if record.stable else f"{latency}, unstable"),
            *others,
        )
    left = len(rows) - len(shown)
    if not left:
        return table
    return Group(table, Text(f" … and {left} more, in profiles/{profile.device}.jsonl", "dim"))


def _failures(profile: Profile) -> list[Text]:
    return [
        Text(f"{_in_short(m.architecture)}: not measured: {m.failure}", style="red")
        for m in profile.failed
    ]


def _latency_ms(record: Measurement) -> float:
    return 0.0 if record.latency_ms is None else record.latency_ms.median


def _in_short(architecture: Architecture) -> str:
    """An architecture in a few words, such as `3 layers, 64–192 wide, 10 heads`."""
    layers = architecture.layers
    widths = sorted({layer.hidden_size for layer in layers})
    wide = f"{widths[0]}" if len(widths) == 1 else f"{widths[0]}–{widths[-1]}"
    heads = sum(layer.num_heads for layer in layers)
    count = "1 layer" if len(layers) == 1 else f"{len(layers)} layers"
    return f"{count}, {wide} wide, {heads} heads"
