"""NVIDIA GPUs through NVML: the energy counter where the GPU has one, else its power reading."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

from edgetran.devices.power.gpu import Gpu, as_text, computing_gpu, optional
from edgetran.devices.power.source import (
    PowerSource,
    SensorError,
    Unwrapper,
    checked_watts,
    reason_of,
)

Answer = TypeVar("Answer")

PARTIAL_SENSORS = ("A100", "H100", "A30", "GH200")
"""GPUs whose power reading observes 25 of every 100 ms (Yang, Adamek and Armour, "Part-time Power
Measurements", arXiv 2312.02741)."""


class _Nvml:
    """The GPU that computes, found when it is first read, and again after an error."""

    def __init__(self, ordinal: int) -> None:
        self._ordinal = ordinal
        self._gpu: Gpu | None = None

    def find(self) -> Gpu:
        """The GPU that CUDA computes on.

        Raises:
            SensorError: no binding, no driver, no such GPU, or a library that does not work.
        """
        self._gpu = None
        return self._guarded(self._found)

    def number(self, function: str) -> float:
        """What a function of NVML says about the GPU.

        Raises:
            SensorError: as `find`, or the function says no number.
        """
        return self._guarded(lambda nvml: float(getattr(nvml, function)(self._found(nvml).handle)))

    def name(self) -> str | None:
        """The GPU's name; None where the library does not tell."""
        return self._guarded(
            lambda nvml: _text(optional(nvml, "nvmlDeviceGetName", self._found(nvml).handle))
        )

    def _found(self, nvml: Any) -> Gpu:
        if self._gpu is None:
            self._gpu = computing_gpu(nvml, self._ordinal)
        return self._gpu

    def _guarded(self, ask: Callable[[Any], Answer]) -> Answer:
        try:
            import pynvml
        except ImportError:
            raise SensorError(
                'nvml: nvidia-ml-py is not installed; pip install "edgetran[nvidia]"'
            ) from None
        try:
            if self._gpu is None:
                pynvml.nvmlInit()  # counted by NVML; a repeated call is cheap
            return ask(pynvml)
        except SensorError:
            raise
        except Exception as error:  # noqa: BLE001  an old, broken or partial library is a reason
            self._gpu = None
            raise SensorError(f"nvml: gpu {self._ordinal}: {reason_of(error)}") from None


class NvmlEnergy(PowerSource):
    """The total-energy counter of Volta and later GPUs, mJ since the driver was loaded."""

    name = "nvml-energy"
    quantity: Literal["power", "energy"] = "energy"

    def __init__(self, index: int = 0) -> None:
        """Read the GPU that CUDA calls `index`."""
        self._nvml = _Nvml(index)
        self._unwrapper = Unwrapper(self.name, None)
        self.scope = f"gpu {index}"

    def available(self) -> str | None:
        """Needs the driver, nvidia-ml-py and a Volta or later GPU."""
        try:
            gpu = self._nvml.find()
            self.counter()
        except SensorError as error:
            return str(error)
        self.scope, self.caveats = gpu.words, gpu.caveats
        return None

    def counter(self) -> float:
        """Joules since the first reading."""
        energy_mj = self._nvml.number("nvmlDeviceGetTotalEnergyConsumption")
        return self._unwrapper.add(energy_mj * 1e-3)


class NvmlPower(PowerSource):
    """The GPU's power reading; on A100 and H100 it observes a quarter of the time."""

    name = "nvml-power"
    quantity: Literal["power", "energy"] = "power"

    def __init__(self, index: int = 0) -> None:
        """Read the GPU that CUDA calls `index`."""
        self._nvml = _Nvml(index)
        self.scope = f"gpu {index}"

    def available(self) -> str | None:
        """Needs the driver and nvidia-ml-py."""
        try:
            gpu = self._nvml.find()
            self.sample()
            name = self._nvml.name()
        except SensorError as error:
            return str(error)
        self.scope, self.caveats = gpu.words, gpu.caveats
        if name is None:
            self.caveats += ("the GPU does not report its name: its sensor may pause at times",)
        self.coverage = 0.25 if any(part in (name or "") for part in PARTIAL_SENSORS) else 1.0
        return None

    def sample(self) -> float:
        """Watts of the whole board of the GPU."""
        return checked_watts(self.name, self._nvml.number("nvmlDeviceGetPowerUsage") * 1e-3)


def _text(value: Any) -> str | None:
    return None if value is None else as_text(value)
