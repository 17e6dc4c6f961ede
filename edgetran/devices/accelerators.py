"""Accelerators that this machine has for models, and why each kind that is missing is missing."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from edgetran.devices.sysfs import read_text


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
    """Every kind, found or not; only kernel accelerators are looked for below `root`."""
    return (_cuda(), _mps(), _kernel_accelerators(Path(root)), _openvino())


def _cuda() -> Accelerator:
    """CUDA devices as torch sees them; where it sees none, what the driver says."""
    driver = _nvidia_smi()
    if importlib.util.find_spec("torch") is None:
        if driver:
            return Accelerator("cuda", driver, None)
        return Accelerator("cuda", (), "torch is not installed and nvidia-smi finds no GPU")
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
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    if process.returncode != 0:
        return ()
    return tuple(line.strip() for line in process.stdout.splitlines() if line.strip())


def _mps() -> Accelerator:
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


def _openvino() -> Accelerator:
    if importlib.util.find_spec("openvino") is None:
        reason = 'openvino is not installed; pip install "edgetran[openvino]"'
        return Accelerator("openvino", (), reason)
    import openvino

    core = openvino.Core()
    others = [name for name in core.available_devices if name != "CPU"]
    if not others:
        return Accelerator("openvino", (), "openvino finds the CPU alone")
    names = tuple(f"{name}: {core.get_property(name, 'FULL_DEVICE_NAME')}" for name in others)
    return Accelerator("openvino", names, None)
