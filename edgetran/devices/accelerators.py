"""Accelerators that this machine has for models, and why each kind that is missing is missing."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgetran.devices.sysfs import read_text

_GPU_NODES: Final = ("nvidia*", "nvhost*", "nvgpu*", "nvmap", "dxg", "kfd")
"""Devices of NVIDIA's drivers (discrete, Jetson, WSL) and of AMD's, whose torch says cuda too."""

_OPENVINO_NODES: Final = ("dri/renderD*", "accel/accel*", "dxg")
"""Devices that OpenVINO could use beside the processor: graphics and neural processors."""


@dataclass(frozen=True)
class Accelerator:
    """One kind of accelerator.

    Attributes:
        kind: "cuda", "mps", "accel" (the kernel's compute accelerators) or "openvino".
        names: the devices found, by name.
        missing: why there is none; None where there is one.
    """

    kind: str
    names: tuple[str, ...]
    missing: str | None


def accelerators(root: Path | str = "/") -> tuple[Accelerator, ...]:
    """Every kind, found or not; /dev and /sys are read below `root`."""
    root = Path(root)
    return (_cuda(root), _mps(), _kernel_accelerators(root), _openvino(root))


def _any(root: Path, patterns: tuple[str, ...]) -> bool:
    """Whether the kernel has a device of such a name; spares importing a library to be told."""
    return any(any((root / "dev").glob(pattern)) for pattern in patterns)


def _cuda(root: Path) -> Accelerator:
    """CUDA devices as torch sees them; where it sees none, what the driver says."""
    driver = _nvidia_smi()
    if importlib.util.find_spec("torch") is None:
        if driver:
            return Accelerator("cuda", driver, None)
        return Accelerator("cuda", (), "torch is not installed and nvidia-smi finds no GPU")
    if not driver and not _any(root, _GPU_NODES):
        return Accelerator("cuda", (), "no NVIDIA GPU or no driver for it")
    import torch

    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        return Accelerator("cuda", tuple(map(torch.cuda.get_device_name, range(count))), None)
    if driver:
        reason = f"nvidia-smi finds {', '.join(driver)}, but this torch cannot use it"
        if torch.version.cuda is None:
            reason += " (a build for processors alone)"
        return Accelerator("cuda", (), reason)
    return Accelerator("cuda", (), "no NVIDIA GPU or no driver for it")


def _nvidia_smi() -> tuple[str, ...]:
    if shutil.which("nvidia-smi") is None:
        return ()
    try:
        process = subprocess.run(
            ("nvidia-smi", "--query-gpu=name", "--format=csv,noheader"),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    if process.returncode != 0:
        return ()
    return tuple(line.strip() for line in process.stdout.splitlines() if line.strip())


def _mps() -> Accelerator:
    if platform.system() != "Darwin":
        return Accelerator("mps", (), "not macOS on Apple silicon")
    if importlib.util.find_spec("torch") is None:
        return Accelerator("mps", (), "torch is not installed")
    import torch

    if torch.backends.mps.is_available():
        return Accelerator("mps", ("Apple GPU",), None)
    return Accelerator("mps", (), "not macOS on Apple silicon")


def _kernel_accelerators(root: Path) -> Accelerator:
    """Neural processors of the kernel's accel subsystem: /dev/accel/accelN, with their driver."""
    folder = root / "dev/accel"
    names = []
    for node in sorted(folder.glob("accel*")):
        events = read_text(root / "sys/class/accel" / node.name / "device/uevent") or ""
        drivers = [
            line.partition("=")[2] for line in events.splitlines() if line.startswith("DRIVER=")
        ]
        names.append(f"{node.name} ({drivers[0]})" if drivers else node.name)
    missing = None if names else f"{folder} has no device"
    return Accelerator("accel", tuple(names), missing)


def _openvino(root: Path) -> Accelerator:
    if importlib.util.find_spec("openvino") is None:
        reason = 'openvino is not installed; pip install "edgetran[openvino]"'
        return Accelerator("openvino", (), reason)
    alone = Accelerator("openvino", (), "openvino finds no device but the CPU")
    if platform.system() == "Linux" and not _any(root, _OPENVINO_NODES):
        return alone
    try:
        import openvino

        core = openvino.Core()
        others = [name for name in core.available_devices if name != "CPU"]
        names = tuple(f"{name}: {core.get_property(name, 'FULL_DEVICE_NAME')}" for name in others)
    except (ImportError, OSError, RuntimeError) as error:
        words = next(iter(str(error).strip().splitlines()), type(error).__name__)
        return Accelerator("openvino", (), f"openvino cannot look for devices: {words}")
    return Accelerator("openvino", names, None) if names else alone
