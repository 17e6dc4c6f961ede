"""How many cores this process may use: processors, affinity and CPU quota as one number.

The quota is what the kernel's CFS bandwidth control grants per period: `cpu.max` of the control
group and of all groups above it (version 2), `cpu.cfs_quota_us` / `cpu.cfs_period_us` (version 1).
`docker --cpus`, a pod's `limits.cpu` and systemd's `CPUQuota=` all end there. Source: Linux kernel
documentation, admin-guide/cgroup-v2 and scheduler/sched-bwc.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Literal

_MOUNTS: Final = ("", "unified", "cpu", "cpu,cpuacct", "cpuacct,cpu", "memory")
"""Where control groups are mounted below /sys/fs/cgroup where the process's mounts do not tell."""

_LARGEST: Final = 2**63
"""The kernel's numbers have 64 bits; what is larger is not one of them."""


@dataclass(frozen=True)
class Cores:
    """What bounds this process's computing.

    Attributes:
        processors: hardware threads of the machine.
        affinity: hardware threads that this process is pinned to; None where the system has none.
        quota: cores' worth of time that the control groups grant; None where they set no limit.
    """

    processors: int
    affinity: int | None
    quota: float | None

    @property
    def usable(self) -> float:
        """Cores that this process may use, a fraction where the quota is one."""
        pinned = self.processors if self.affinity is None else self.affinity
        return float(pinned) if self.quota is None else min(float(pinned), self.quota)

    @property
    def threads(self) -> int:
        """Threads that can compute all the time: `usable` rounded down, at least 1.

        Rounded up, the quota would be used up before the period ends, and all threads would stand
        still for the rest of it: no speed is won, and latencies jump.
        """
        return max(1, int(self.usable))

    @property
    def bound(self) -> Literal["quota", "affinity", "processors"]:
        """Which of the three is the tightest."""
        if self.quota is not None and self.quota <= self.usable:
            return "quota"
        if self.affinity is not None and self.affinity < self.processors:
            return "affinity"
        return "processors"


def cores(root: Path | str = "/") -> Cores:
    """Look at this process; /proc and /sys are read below `root`."""
    processors = os.cpu_count() or 1
    pinned = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return Cores(processors, pinned, cpu_quota(Path(root)))


def usable_cores(root: Path | str = "/") -> int:
    """Threads that can compute at the same time here: the default of everything that has threads.

    See `Cores.threads`.
    """
    return cores(root).threads


def cpu_quota(root: Path) -> float | None:
    """The tightest CPU limit of this process's control groups, in cores; None where none is set."""
    return min((q for folder in group_folders(root) if (q := _quota(folder))), default=None)


def group_folders(root: Path) -> list[Path]:
    """Folders of this process's control groups, each with those above it, as far as mounted."""
    folders: dict[Path, None] = {}
    groups = _own_groups(root)
    for mount, mounted in _mounts(root):
        for group in groups:
            inside = _below(group, mounted)
            folders.update((mount / parent, None) for parent in (inside, *inside.parents))
    return list(folders)


def _own_groups(root: Path) -> list[PurePosixPath]:
    """Paths of the process's groups in their hierarchies; a container sees itself as `/`."""
    lines = _text(root / "proc/self/cgroup").splitlines()
    paths = (line.split(":", 2)[2] for line in lines if line.count(":") >= 2)
    return list(dict.fromkeys(PurePosixPath(path) for path in ("/", *paths)))


def _mounts(root: Path) -> Iterator[tuple[Path, PurePosixPath]]:
    """Where control groups are mounted, and which group lies at the mount's root."""
    for line in _text(root / "proc/self/mountinfo").splitlines():
        words, _, rest = line.partition(" - ")
        fields = words.split()
        if rest.startswith("cgroup") and len(fields) > 4:
            yield root / fields[4].lstrip("/"), PurePosixPath(fields[3])
    for name in _MOUNTS:
        yield root / "sys/fs/cgroup" / name, PurePosixPath("/")


def _below(group: PurePosixPath, mounted: PurePosixPath) -> PurePosixPath:
    """The group's path below the mount; the mount itself where the group lies elsewhere."""
    if ".." in group.parts or not group.is_relative_to(mounted):
        return PurePosixPath()
    return group.relative_to(mounted)


def _quota(folder: Path) -> float | None:
    words = _text(folder / "cpu.max").split()
    if len(words) < 2:
        words = [_text(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
    quota, period = (_number(word) for word in words[:2])
    return quota / period if quota and period else None


def _number(word: str) -> int | None:
    """A positive number of the kernel's; None for `max`, −1 and what is none."""
    if not (word.isascii() and word.isdecimal() and len(word) < 20):
        return None
    number = int(word)
    return number if number < _LARGEST else None


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except (OSError, ValueError):
        return ""
