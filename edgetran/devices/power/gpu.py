"""Which GPU CUDA computes on, as NVML knows it.

CUDA numbers the GPUs that `CUDA_VISIBLE_DEVICES` leaves, the fastest first unless
`CUDA_DEVICE_ORDER=PCI_BUS_ID`; NVML numbers all of them, by their place on the PCI bus. So CUDA's
driver is asked where on the bus its device sits. Without the driver's library the variables are
read as CUDA reads them. Source: NVIDIA, CUDA C++ Programming Guide, "CUDA Environment Variables".
"""

from __future__ import annotations

import ctypes
import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from edgetran.devices.power.source import SensorError, reason_of

_LIBRARIES: Final = ("libcuda.so.1", "nvcuda.dll")
_NO_DEVICE: Final = 100
"""CUDA_ERROR_NO_DEVICE."""

_MIG: Final = "the whole GPU is sensed, with its other MIG instances"


@dataclass(frozen=True)
class CudaDevice:
    """A device as CUDA's driver names it.

    Attributes:
        pci_bus_id: such as "0000:3b:00.0".
        uuid: such as "GPU-…"; None where the driver does not tell.
    """

    pci_bus_id: str
    uuid: str | None


@dataclass(frozen=True)
class Gpu:
    """A GPU to read.

    Attributes:
        handle: NVML's.
        words: name and identifier, for the scope of a reading.
        caveats: what a reader of its figures must know.
    """

    handle: Any
    words: str
    caveats: tuple[str, ...] = ()


def computing_gpu(nvml: Any, ordinal: int = 0) -> Gpu:
    """The GPU that CUDA calls `ordinal`, by NVML.

    Args:
        nvml: the module pynvml, initialised.
        ordinal: as in `torch.device("cuda", ordinal)`.

    Raises:
        SensorError: no such device is visible, or NVML does not know it.
    """
    device = cuda_device(ordinal)
    if device is not None:
        handle = _handle_of(nvml, device)
        if handle is not None:
            mode = optional(nvml, "nvmlDeviceGetMigMode", handle)
            sliced = isinstance(mode, list | tuple) and bool(mode) and mode[0] == 1
            return Gpu(handle, _words(nvml, handle, ordinal), (_MIG,) if sliced else ())
    return _by_environment(nvml, ordinal, os.environ)


def cuda_device(ordinal: int) -> CudaDevice | None:
    """Ask CUDA's driver; None where its library is not installed or too old to tell.

    Raises:
        SensorError: the driver sees no device, or fewer.
    """
    driver = _driver()
    if driver is None:
        return None
    count, device = ctypes.c_int(), ctypes.c_int()
    try:
        status = driver.cuInit(0)
        if status == _NO_DEVICE:
            raise SensorError(f"cuda: the driver sees no GPU{_because()}")
        if status or driver.cuDeviceGetCount(ctypes.byref(count)):
            return None
        if ordinal >= count.value:
            raise SensorError(f"cuda: the driver sees {count.value} GPUs, not {ordinal + 1}")
        bus_id = ctypes.create_string_buffer(32)
        if driver.cuDeviceGet(ctypes.byref(device), ordinal) or driver.cuDeviceGetPCIBusId(
            bus_id, len(bus_id), device
        ):
            return None
        return CudaDevice(bus_id.value.decode(errors="replace"), _uuid(driver, device))
    except AttributeError:  # a function that this driver's library does not have
        return None


def _driver() -> Any:
    for name in _LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def _uuid(driver: Any, device: ctypes.c_int) -> str | None:
    content = (ctypes.c_ubyte * 16)()
    if driver.cuDeviceGetUuid(ctypes.byref(content), device):
        return None
    return f"GPU-{uuid.UUID(bytes=bytes(content))}"


def _because() -> str:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return "" if visible is None else f" (CUDA_VISIBLE_DEVICES is {visible!r})"


def _handle_of(nvml: Any, device: CudaDevice) -> Any:
    """NVML's handle; None where this NVML has no function that could find it.

    Raises:
        SensorError: it has, and does not know the device.
    """
    reason = None
    for function, name in (
        ("nvmlDeviceGetHandleByPciBusId", device.pci_bus_id),
        ("nvmlDeviceGetHandleByUUID", device.uuid),
    ):
        if name is None or not hasattr(nvml, function):
            continue
        try:
            return getattr(nvml, function)(name.encode())
        except Exception as error:  # noqa: BLE001  whatever the library raises
            if "FunctionNotFound" not in type(error).__name__:
                reason = f"nvml: does not find the GPU at {device.pci_bus_id}: {reason_of(error)}"
    if reason is not None:
        raise SensorError(reason)
    return None


def _by_environment(nvml: Any, ordinal: int, environ: Mapping[str, str]) -> Gpu:
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    entry = str(ordinal) if visible is None else _entry(visible, ordinal)
    if entry.isdecimal():
        if environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
            _check_alike(nvml, entry)
        handle = nvml.nvmlDeviceGetHandleByIndex(int(entry))
        return Gpu(handle, _words(nvml, handle, ordinal))
    if not entry.startswith("MIG-"):
        handle = _by_uuid(nvml, entry)
        return Gpu(handle, _words(nvml, handle, ordinal))
    older = re.fullmatch(r"MIG-(GPU-[0-9a-fA-F-]+)/\d+/\d+", entry)
    if older:
        handle = _by_uuid(nvml, older[1])
    else:
        instance = nvml.nvmlDeviceGetHandleByUUID(entry.encode())
        handle = nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(instance)
    return Gpu(handle, _words(nvml, handle, ordinal), (_MIG,))


def _entry(visible: str, ordinal: int) -> str:
    """What `CUDA_VISIBLE_DEVICES` has at `ordinal`; an invalid entry hides those after it."""
    entries: list[str] = []
    for word in (word.strip() for word in visible.split(",")):
        valid = (word.isascii() and word.isdecimal() and len(word) < 5) or word.startswith(
            ("GPU-", "MIG-")
        )
        if not valid:
            break
        entries.append(word)
    if ordinal >= len(entries):
        raise SensorError(f"cuda: CUDA_VISIBLE_DEVICES is {visible!r}: no GPU {ordinal} is visible")
    return entries[ordinal]


def _check_alike(nvml: Any, entry: str) -> None:
    """Fastest first is the order of the bus where all GPUs are of one kind."""
    names = {
        str(optional(nvml, "nvmlDeviceGetName", nvml.nvmlDeviceGetHandleByIndex(index)))
        for index in range(optional(nvml, "nvmlDeviceGetCount") or 0)
    }
    if len(names) > 1:
        raise SensorError(
            f"cuda: which of {', '.join(sorted(names))} is CUDA's GPU {entry} is not known; set "
            "CUDA_DEVICE_ORDER=PCI_BUS_ID"
        )


def _by_uuid(nvml: Any, entry: str) -> Any:
    """The GPU of a UUID, or of the beginning of one."""
    if len(entry) >= len("GPU-") + 36:
        return nvml.nvmlDeviceGetHandleByUUID(entry.encode())
    handles = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
    fitting = [h for h in handles if as_text(nvml.nvmlDeviceGetUUID(h)).startswith(entry)]
    if len(fitting) != 1:
        raise SensorError(f"cuda: the UUIDs of {len(fitting)} GPUs begin with {entry}, not of one")
    return fitting[0]


def _words(nvml: Any, handle: Any, ordinal: int) -> str:
    parts = [
        as_text(value)
        for function in ("nvmlDeviceGetName", "nvmlDeviceGetUUID")
        if (value := optional(nvml, function, handle)) is not None
    ]
    return ", ".join([f"gpu {ordinal}", *parts])


def optional(nvml: Any, function: str, *arguments: Any) -> Any:
    """What a function of NVML says; None where this NVML lacks it or it fails."""
    try:
        return getattr(nvml, function)(*arguments)
    except Exception:  # noqa: BLE001  NVML's errors have no base that every version shares
        return None


def as_text(value: Any) -> str:
    """A string of NVML, which older bindings give as bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
