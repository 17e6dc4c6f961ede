"""Under which conditions measurements were made: what never changed, and the range of the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from edgetran.profiling import Measurement, Profile
from edgetran.report import wording

_UNITS: Final = {
    "_c": "°C", "_w": "W", "_s": "s", "_ms": "ms", "_mhz": "MHz", "_bytes": "bytes",
}  # fmt: skip
_SKIPPED: Final = ("time_s", "versions")


@dataclass(frozen=True)
class ConditionsOf:
    """The conditions of one device's measurements.

    Attributes:
        device: its name.
        facts: (words, value or range) lines.
        changing: (words, value or range before, and after the measurements) lines.
        measurements: the records themselves, for a table.
    """

    device: str
    facts: tuple[tuple[str, str], ...]
    changing: tuple[tuple[str, str, str], ...]
    measurements: tuple[Measurement, ...]


def conditions_of(profile: Profile) -> ConditionsOf:
    """Sum up the conditions of a profile's measurements."""
    key, records = profile.key, profile.measurements
    workload = key.workload
    facts = [
        ("Engine", f"{key.engine}, {key.precision}, {key.threads} threads"),
        ("Workload", f"batch {workload.batch_size}, {workload.sequence_length} tokens"),
        ("Mode", _counted(m.mode for m in records)),
        ("Stable", f"{sum(m.stable for m in records)} of {len(records)} measurements"),
        ("Failed", str(len(profile.failed))),
        ("Drift of windows", _range([100 * m.drift for m in records if m.drift is not None], "%")),
        ("Versions", ", ".join(f"{name} {version}" for name, version in key.versions)),
    ]
    for measure, reason in profile.missing.items():
        facts.append((wording.hardware_word(measure).capitalize(), f"not measured: {reason}"))
    powers = [m.power for m in records if m.power is not None]
    sensed = _ranges(powers, skip=("energy_j", "mean_power_w", "peak_power_w"))
    facts += [(f"Power sensor, {words.lower()}", value) for words, value in sensed.items()]
    before, after = (
        _ranges([m.conditions[when] for m in records if m.conditions.get(when)])
        for when in ("before", "after")
    )
    return ConditionsOf(
        device=profile.device,
        facts=tuple(fact for fact in facts if fact[1]),
        changing=tuple((words, value, after.get(words, "")) for words, value in before.items()),
        measurements=records,
    )


def flatten(data: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested data as (words, value) lines; entries that are null or empty are left out."""
    lines: list[tuple[str, str]] = []
    for name, value in data.items():
        words = f"{prefix}{_words(name)}"
        if isinstance(value, Mapping):
            lines += flatten(value, f"{words}: ")
        elif isinstance(value, Sequence) and not isinstance(value, str):
            if value and all(isinstance(item, Mapping) for item in value):
                lines += [(words, _inline(item)) for item in value]
            elif value:
                lines.append((words, ", ".join(map(str, value))))
        elif value is not None and value != "":
            lines.append((words, _value(name, value)))
    return lines


def _ranges(
    snapshots: Sequence[Mapping[str, Any]], skip: Sequence[str] = _SKIPPED
) -> dict[str, str]:
    """Each entry of the snapshots in words: its value, or its range over all of them."""
    values: dict[tuple[str, str], list[Any]] = {}
    for snapshot in snapshots:
        for name, value in snapshot.items():
            if name in skip:
                continue
            inner = value.items() if isinstance(value, Mapping) else [("", value)]
            for part, item in inner:
                items = item if isinstance(item, list | tuple) else [item]
                values.setdefault((name, part), []).extend(items)
    lines = {}
    for (name, part), items in values.items():
        known = [item for item in items if item is not None and item != ""]
        numbers = [v for v in known if isinstance(v, int | float) and not isinstance(v, bool)]
        if not known:
            text = "none" if name == "cpu_quota" else "not known on this machine"
        elif len(numbers) == len(known) and name != "pinned_cores":
            text = _range(numbers, _unit(name))
        else:
            text = ", ".join(dict.fromkeys(_value(name, item) for item in known))
        lines[f"{_words(name)} ({part})" if part else _words(name)] = text
    return lines


def _range(values: Sequence[float], unit: str) -> str:
    if not values:
        return ""
    low, high = _number(min(values)), _number(max(values))
    return f"{low} {unit}".strip() if low == high else f"{low} to {high} {unit}".strip()


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _counted(values: Iterable[str]) -> str:
    counts = Counter(values)
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{name} ({number})" for name, number in counts.items())


def _value(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name.endswith("_bytes") and isinstance(value, int | float):
        return f"{value / 2**30:.1f} GiB"
    text = _number(value) if isinstance(value, float) else str(value)
    return f"{text} {_unit(name)}".strip()


def _inline(item: Mapping[str, Any]) -> str:
    """One short line of a list's entry, such as an accelerator with the reason it is missing."""
    return "; ".join(value for _, value in flatten(item))


def _unit(name: str) -> str:
    return next((unit for ending, unit in _UNITS.items() if name.endswith(ending)), "")


def _words(name: str) -> str:
    """A field's name in words: without its unit, camel case and underscores apart."""
    for ending in _UNITS:
        name = name.removesuffix(ending)
    spaced = "".join(f" {c.lower()}" if c.isupper() else c for c in name).replace("_", " ").strip()
    spaced = {
        "os": "OS",
        "cpu model": "CPU",
        "cpu limit": "CPU limit",
        "cpu quota": "CPU quota",
    }.get(spaced, spaced)
    return spaced[:1].upper() + spaced[1:]
