"""What this machine is: processor, memory, limits of its container, accelerators, versions."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgetran.cores import cores, group_folders
from edgetran.devices.accelerators import Accelerator, accelerators
from edgetran.devices.isa import instruction_sets
from edgetran.devices.sysfs import read_int, read_label, read_text

PACKAGES: Final = ("edgetran", "torch", "transformers", "numpy", "onnxruntime", "openvino")
"""Packages whose versions change what is measured."""

ARM_CORES: Final = {
    "0xd03": "Cortex-A53", "0xd04": "Cortex-A35", "0xd05": "Cortex-A55", "0xd07": "Cortex-A57",
    "0xd08": "Cortex-A72", "0xd09": "Cortex-A73", "0xd0a": "Cortex-A75", "0xd0b": "Cortex-A76",
    "0xd0c": "Neoverse-N1", "0xd0d": "Cortex-A77", "0xd40": "Neoverse-V1", "0xd41": "Cortex-A78",
    "0xd42": "Cortex-A78AE", "0xd49": "Neoverse-N2", "0xd4f": "Neoverse-V2",
}  # fmt: skip
"""Arm's part numbers, which /proc/cpuinfo prints where it prints no name (Arm's Main ID Register
descriptions)."""

_UNLIMITED_BYTES: Final = 1 << 60


@dataclass(frozen=True)
class HostInfo:
    """One machine, as plain data.

    Attributes:
        hostname: its name.
        os: operating system and kernel.
        architecture: such as x86_64 or aarch64.
        board: model of the board or product, where the firmware tells.
        cpu_model: name of the processor.
        physical_cores: cores; None where unknown.
        logical_cores: hardware threads of the machine.
        usable_cores: cores this process may use; see `edgetran.cores`.
        instruction_sets: those that matter for transformers.
        memory_bytes: memory of the machine.
        memory_limit_bytes: the container's limit; None where there is none.
        cpu_limit: the container's limit in cores; None where there is none.
        virtual: True on a virtual machine, where sensors and counters are usually absent.
        accelerators: every kind, with the reason where it is missing.
        python: version.
        versions: of the packages that change what is measured.
    """

    hostname: str
    os: str
    architecture: str
    board: str | None
    cpu_model: str
    physical_cores: int | None
    logical_cores: int
    usable_cores: float
    instruction_sets: tuple[str, ...]
    memory_bytes: int
    memory_limit_bytes: int | None
    cpu_limit: float | None
    virtual: bool
    accelerators: tuple[Accelerator, ...]
    python: str
    versions: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return dataclasses.asdict(self)


def host_info(root: Path | str = "/") -> HostInfo:
    """Describe this machine; /proc, /sys and /dev are read below `root`."""
    root = Path(root)
    here = cores(root)
    cpuinfo = read_text(root / "proc/cpuinfo") or ""
    return HostInfo(
        hostname=platform.node(),
        os=f"{platform.system()} {platform.release()}",
        architecture=platform.machine(),
        board=_board(root),
        cpu_model=cpu_model(cpuinfo),
        physical_cores=physical_cores(root),
        logical_cores=here.processors,
        usable_cores=here.usable,
        instruction_sets=instruction_sets(root),
        memory_bytes=memory_bytes(root),
        memory_limit_bytes=memory_limit_bytes(root),
        cpu_limit=here.quota,
        virtual=_field(cpuinfo, "flags").split().count("hypervisor") > 0,
        accelerators=accelerators(root),
        python=platform.python_version(),
        versions=package_versions(),
    )


def cpu_model(cpuinfo: str) -> str:
    """The processor's name from the text of /proc/cpuinfo, on x86 and on ARM."""
    name = _field(cpuinfo, "model name")
    if name:
        return name
    part = _field(cpuinfo, "CPU part").lower()
    if part:
        return f"Arm {ARM_CORES.get(part, f'part {part}')}"
    return platform.processor() or platform.machine()


def package_versions() -> dict[str, str]:
    """Installed versions of `PACKAGES`, those that are installed."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def physical_cores(root: Path) -> int | None:
    """Cores, each with one or more hardware threads; None where the system does not tell."""
    cpus = (root / "sys/devices/system/cpu").glob("cpu[0-9]*")
    siblings = {
        text
        for cpu in cpus
        for name in ("core_cpus_list", "thread_siblings_list")
        if (text := read_text(cpu / "topology" / name))
    }
    return len(siblings) or None


def memory_bytes(root: Path) -> int:
    """Memory of the machine."""
    words = _field(read_text(root / "proc/meminfo") or "", "MemTotal").split()
    if words and words[0].isascii() and words[0].isdecimal() and len(words[0]) < 16:
        return int(words[0]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def memory_limit_bytes(root: Path) -> int | None:
    """The tightest memory limit of this process's control groups; None where there is none."""
    limits = (
        read_int(folder / name)
        for folder in group_folders(root)
        for name in ("memory.max", "memory.limit_in_bytes")
    )
    known = [limit for limit in limits if limit is not None and 0 < limit < _UNLIMITED_BYTES]
    return min(known, default=None)


def _board(root: Path) -> str | None:
    """The device tree's model on ARM, the firmware's product on x86."""
    model = read_label(root / "proc/device-tree/model")
    if model is None:
        model = read_label(root / "sys/class/dmi/id/product_name")
    return model or None


def _field(text: str, name: str) -> str:
    """The value of the first `name : value` line; "" where there is none."""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""
