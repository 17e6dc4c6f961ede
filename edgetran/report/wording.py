"""Numbers and architectures in words: the same rounding and units in every table and plot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from edgetran.api.measures import BY_NAME, COSTS, HARDWARE
from edgetran.devices import Figure
from edgetran.space import Architecture

MISSING: Final = "—"

MEASURES: Final = {
    "accuracy": "Test accuracy",
    "fp32Accuracy": "Test accuracy in torch fp32",
    "validationAccuracy": "Validation accuracy",
    **{each.alias: each.title for each in COSTS},
    "macs": "MACs",
}
"""Titles of the figures of a result's row, in the order in which they are shown."""

QUALITIES: Final = ("accuracy", "fp32Accuracy", "validationAccuracy")
"""Those of them that are the task's metric."""

HOST_MEASURES: Final = {each.alias: each.title for each in HARDWARE}

SOURCES: Final = {
    "measured": "taken from a run on real hardware or on held-out data",
    "predicted": "by a surrogate fitted to measurements of this device",
    "estimated": "from shared weights or a part of the training",
    "simulated": "by an analytic model of a device that was not present",
    "counted": "exactly, from the architecture",
}
"""What each origin of a figure means, for a legend."""

SHORT_SOURCES: Final = {
    "measured": "meas", "predicted": "pred", "estimated": "est", "simulated": "sim",
    "counted": "count",
}  # fmt: skip
"""The origins where room is scarce."""

HEAD_NAMES: Final = {
    "sa_sdp": "Self-attention, scaled dot product",
    "sa_wma": "Self-attention, weighted multiplicative",
    "l_dft": "Fourier transform",
    "l_dct": "Cosine transform",
    "c_5": "Convolution, kernel 5",
    "c_9": "Convolution, kernel 9",
    "c_13": "Convolution, kernel 13",
}
"""Every head type in words."""

FIDELITY_NAMES: Final = {
    "shared-weights": "estimated (shared weights)",
    "short-training": "estimated (a part of the training)",
    "full-training": "measured",
}
"""What an accuracy rests on, in words."""


def number(value: float | None) -> str:
    """Three significant digits, millions as M, no exponents; `MISSING` for None."""
    if value is None:
        return MISSING
    if value == 0:
        return "0"
    size = abs(value)
    for unit, letter in ((1e9, "G"), (1e6, "M")):
        if size >= unit:
            return f"{value / unit:#.3g}".rstrip(".") + f" {letter}"
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 100:
        return f"{value:.0f}"
    return f"{value:#.3g}".rstrip(".") if size >= 0.001 else f"{value:.2g}"


def count(value: float | None) -> str:
    """A whole number with separators of thousands."""
    return MISSING if value is None else f"{value:,.0f}"


def quality(value: float | None) -> str:
    """A metric between −1 and 1."""
    return MISSING if value is None else f"{value:.4f}".replace("-", "−")


def measure_text(name: str, figure: Figure | None) -> str:
    """A figure's value with its unit, by the name of its measure; `MISSING` where unknown."""
    if figure is None or figure.value is None:
        return MISSING
    if name in QUALITIES:
        return quality(figure.value)
    if name == "parameters":
        return count(figure.value)
    return f"{number(figure.value)} {figure.unit}".strip()


def seconds_text(seconds: float | None) -> str:
    """A duration with a unit that suits its size."""
    if seconds is None:
        return MISSING
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def ratio_text(value: float | None, reference: float | None) -> str:
    """A ratio, value ÷ reference, such as `0.83×`; `MISSING` where it cannot be."""
    if value is None or reference is None or reference <= 0:
        return MISSING
    ratio = value / reference
    return f"{ratio:.2f}×" if 0.01 <= ratio < 100 else f"{ratio:.2g}×"


def figure(row: Mapping[str, Any], name: str, group: str = "figures") -> Figure | None:
    """A figure of a result's row; None where the row has none of that name."""
    data = (row.get(group) or {}).get(name)
    return None if data is None else Figure.from_dict(data)


def artifact_text(row: Mapping[str, Any]) -> str:
    """For which engine and in which precision a row's model is made; `MISSING` where not told."""
    artifact = row.get("artifact")
    return f"{artifact['engine']} {artifact['precision']}" if artifact else MISSING


def shown_measures(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The measures that some row has; fp32 beside the accuracy only where that is of another."""
    precisions = {(row.get("artifact") or {}).get("precision", "fp32") for row in rows}
    return [
        name
        for name in MEASURES
        if any(figure(row, name) is not None for row in rows)
        and (name != "fp32Accuracy" or precisions != {"fp32"})
    ]


def ran_elsewhere(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether rows were run on this host whose figures are those of another device."""
    return any(row.get("onHost") and row["onHost"]["device"] != row["device"] for row in rows)


def metric_title(result: Mapping[str, Any], name: str) -> str:
    """The title of a measure; that of the quality names the task's own metric."""
    title = MEASURES[name]
    metric = str((result.get("task") or {}).get("metric") or "accuracy").replace("_", " ")
    return title.replace("accuracy", metric)


def hardware_word(measure: str) -> str:
    """A hardware measure in words, such as `peak power` for `peak_power_w`."""
    return BY_NAME[measure].words


def describe(architecture: Architecture) -> list[str]:
    """One line per layer: hidden size, heads by type, feed-forward widths."""
    lines = []
    for index, layer in enumerate(architecture.layers, start=1):
        heads = ", ".join(f"{n}×{kind}" for kind, n in Counter(layer.head_types).items())
        widths = " → ".join(map(str, layer.feed_forward))
        lines.append(f"{index}: h {layer.hidden_size} · {heads} (d {layer.head_dim}) · ff {widths}")
    return lines
