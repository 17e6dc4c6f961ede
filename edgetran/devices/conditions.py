"""The conditions of a measurement: frequency, power mode, temperatures, load, pinning, versions."""

from __future__ import annotations

import dataclasses
import math
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgetran.cores import cores
from edgetran.devices.host import package_versions
from edgetran.devices.sysfs import read_int, read_label, read_text

_CHIPS: Final = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "cpu-thermal")
"""hwmon chips whose temperature is the processor's."""


@dataclass(frozen=True)
class Conditions:
    """A snapshot; None, or an empty collection, where the machine does not tell.

    Attributes:
        time_s: seconds since the epoch.
        governors: frequency governors in use, each once.
        frequencies_mhz: current frequency of each core.
        turbo: whether the processor may exceed its base frequency.
        power_mode: Jetson's nvpmodel mode or the platform profile.
        throttled: the Raspberry Pi firmware's throttling bits; 0 where nothing was throttled.
        temperatures_c: by sensor.
        load_average: over one minute.
        threads: threads that the engine was given.
        pinned_cores: cores this process may run on.
        versions: of the packages that change what is measured.
        usable_cores: cores' worth of time that it may use, a fraction where a quota is one.
        cpu_quota: what the control groups grant of it, in cores; None where they set no limit.
        cores_bound_by: "quota", "affinity" or "processors", whichever is the tightest.
    """

    time_s: float
    governors: tuple[str, ...]
    frequencies_mhz: tuple[float, ...]
    turbo: bool | None
    power_mode: str | None
    throttled: int | None
    temperatures_c: dict[str, float]
    load_average: float | None
    threads: int | None
    pinned_cores: tuple[int, ...]
    versions: dict[str, str]
    usable_cores: float | None = None
    cpu_quota: float | None = None
    cores_bound_by: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return dataclasses.asdict(self)

    @property
    def hottest_c(self) -> float | None:
        """The highest temperature; None where there is no sensor."""
        return max(self.temperatures_c.values(), default=None)


def conditions(root: Path | str = "/", *, threads: int | None = None) -> Conditions:
    """Look at the machine now; /proc and /sys are read below `root`. Starts no process."""
    root = Path(root)
    policies = sorted(
        (root / "sys/devices/system/cpu/cpufreq").glob("policy*"),
        key=lambda path: int(re.sub(r"\D", "", path.name) or 0),
    )
    frequencies = (read_int(policy / "scaling_cur_freq") for policy in policies)
    here = cores(root)
    return Conditions(
        time_s=time.time(),
        governors=tuple(
            sorted({text for p in policies if (text := read_label(p / "scaling_governor"))})
        ),
        frequencies_mhz=tuple(khz / 1000 for khz in frequencies if khz is not None and khz >= 0),
        turbo=turbo_allowed(root),
        power_mode=power_mode(root),
        throttled=_throttled(root),
        temperatures_c=temperatures_c(root),
        load_average=_load_average(root),
        threads=threads,
        pinned_cores=(
            tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()
        ),
        usable_cores=here.usable,
        cpu_quota=here.quota,
        cores_bound_by=here.bound,
        versions=package_versions(),
    )


def turbo_allowed(root: Path) -> bool | None:
    """Whether turbo is on: Intel's driver says when it is off, the others when it is on."""
    cpu = root / "sys/devices/system/cpu"
    no_turbo = read_int(cpu / "intel_pstate/no_turbo")
    if no_turbo is not None:
        return no_turbo == 0
    boost = read_int(cpu / "cpufreq/boost")
    return None if boost is None else boost == 1


def power_mode(root: Path) -> str | None:
    """Jetson's nvpmodel mode (`pmode:0000` names its number), otherwise the platform profile."""
    status = read_label(root / "var/lib/nvpmodel/status")
    if status:
        return f"nvpmodel {status.partition(':')[2] or status}"
    return read_label(root / "sys/firmware/acpi/platform_profile") or None


def temperatures_c(root: Path) -> dict[str, float]:
    """Temperatures of the thermal zones and of the processor's hwmon chips, °C."""
    found: dict[str, float] = {}
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        _add(found, read_label(zone / "type") or zone.name, read_int(zone / "temp"))
    for chip in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        name = read_label(chip / "name") or ""
        if name not in _CHIPS:
            continue
        for path in sorted(chip.glob("temp*_input")):
            label = read_label(path.with_name(path.name.replace("input", "label")))
            _add(found, f"{name} {label or path.name.removesuffix('_input')}", read_int(path))
    return found


def _add(found: dict[str, float], name: str, milli_c: int | None) -> None:
    """Keep a plausible reading; absent sensors read below −40 or above 150 °C."""
    if milli_c is None or not -40_000 <= milli_c <= 150_000:
        return
    unique = name
    while unique in found:
        unique += "'"
    found[unique] = milli_c / 1000


def _throttled(root: Path) -> int | None:
    text = read_label(root / "sys/devices/platform/soc/soc:firmware/get_throttled")
    if text is None or re.fullmatch(r"(0x)?[0-9a-fA-F]{1,8}", text) is None:
        return None
    return int(text, 16)


def _load_average(root: Path) -> float | None:
    words = (read_text(root / "proc/loadavg") or "").split()
    try:
        load = float(words[0]) if words else os.getloadavg()[0]
    except (ValueError, OSError):
        return None
    return load if math.isfinite(load) and load >= 0 else None
