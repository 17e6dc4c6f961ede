"""NVIDIA GPUs through NVML: the energy counter where the GPU has one, else its power reading."""

from __future__ import annotations

from typing import Any, Literal

from edgetran.devices.power.source import PowerSource, SensorError, Unwrapper, checked_watts

PARTIAL_SENSORS = ("A100", "H100", "A30", "GH200")
"""GPUs whose power reading observes 25 of every 100 ms (Yang, Adamek and Armour, "Part-time Power
Measurements", arXiv 2312.02741)."""


class NvmlEnergy(PowerSource):
    """The total-energy counter of Volta and later GPUs, mJ since the driver was loaded."""

    name = "nvml-energy"
    quantity: Literal["power", "energy"] = "energy"

    def __init__(self, index: int = 0) -> None:
        self._index = index
        self._unwrapper = Unwrapper(self.name, None)
        self.scope = f"gpu {index}"

    def available(self) -> str | None:
        """Needs the driver, nvidia-ml-py and a Volta or later GPU."""
        return _why_not(self.counter)

    def counter(self) -> float:
        """Joules since the first reading."""
        energy_mj = _call("nvmlDeviceGetTotalEnergyConsumption", self._index)
        return self._unwrapper.add(float(energy_mj) * 1e-3)


class NvmlPower(PowerSource):
    """The GPU's power reading; on A100 and H100 it observes a quarter of the time."""

    name = "nvml-power"
    quantity: Literal["power", "energy"] = "power"

    def __init__(self, index: int = 0) -> None:
        self._index = index
        self.scope = f"gpu {index}"

    def available(self) -> str | None:
        """Needs the driver and nvidia-ml-py."""
        reason = _why_not(self.sample)
        if reason is None:
            gpu = _call("nvmlDeviceGetName", self._index)
            gpu = gpu.decode() if isinstance(gpu, bytes) else str(gpu)
            self.coverage = 0.25 if any(name in gpu for name in PARTIAL_SENSORS) else 1.0
        return reason

    def sample(self) -> float:
        """Watts of the whole board of the GPU."""
        return checked_watts(self.name, _call("nvmlDeviceGetPowerUsage", self._index) * 1e-3)


def _call(function: str, index: int) -> Any:
    try:
        import pynvml
    except ImportError:
        raise SensorError(
            'nvml: nvidia-ml-py is not installed; pip install "edgetran[nvidia]"'
        ) from None
    try:
        pynvml.nvmlInit()  # counted by NVML; a repeated call is cheap
        return getattr(pynvml, function)(pynvml.nvmlDeviceGetHandleByIndex(index))
    except pynvml.NVMLError as error:
        raise SensorError(f"nvml: gpu {index}: {error}") from None


def _why_not(read: Any) -> str | None:
    try:
        read()
    except SensorError as error:
        return str(error)
    return None
