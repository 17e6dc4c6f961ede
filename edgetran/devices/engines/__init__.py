"""Engines behind one interface: PyTorch, ONNX Runtime, OpenVINO; ExecuTorch and LiteRT apart."""

from __future__ import annotations

from typing import Final, Literal

from edgetran.cores import usable_cores
from edgetran.devices.engines.apart import ApartEngine, ExecuTorchEngine, LiteRtEngine
from edgetran.devices.engines.engine import (
    Engine,
    EngineError,
    Session,
    example_inputs,
)
from edgetran.devices.engines.onnxruntime_engine import OnnxRuntimeEngine
from edgetran.devices.engines.openvino_engine import OpenVinoEngine
from edgetran.devices.engines.quantization import FEWEST_EXAMPLES, METHODS, Calibration
from edgetran.devices.engines.torch_engine import TorchEngine
from edgetran.devices.names import unknown_name

ENGINES: Final[dict[str, type[Engine]]] = {
    kind.name: kind for kind in (TorchEngine, OnnxRuntimeEngine, OpenVinoEngine)
}
"""Every engine that devices are measured with, by its name."""

EXPORT_ENGINES: Final[dict[str, type[Engine]]] = ENGINES | {
    kind.name: kind for kind in (ExecuTorchEngine, LiteRtEngine)
}
"""Every engine that models are handed over for, by its name."""

__all__ = [
    "ENGINES",
    "EXPORT_ENGINES",
    "FEWEST_EXAMPLES",
    "METHODS",
    "ApartEngine",
    "Calibration",
    "Engine",
    "EngineError",
    "OnnxRuntimeEngine",
    "OpenVinoEngine",
    "Session",
    "TorchEngine",
    "engine",
    "example_inputs",
    "usable_cores",
]


def engine(
    name: str,
    *,
    precision: str = "fp32",
    threads: int | None = None,
    target: Literal["cpu", "cuda"] = "cpu",
    method: str = "dynamic",
) -> Engine:
    """The engine called `name`; whether it can run here is asked with `available()`.

    Args:
        name: torch, onnxruntime, openvino, executorch or litert.
        precision: fp32, or what else the engine has.
        threads: threads within one operation; all usable cores by default.
        target: where it computes.
        method: by which int8 is made; see `METHODS`.

    Raises:
        EngineError: for a name, precision, target, number of threads or method that does not exist.
    """
    if name not in EXPORT_ENGINES:
        raise EngineError(str(unknown_name("engine", name, EXPORT_ENGINES)))
    return EXPORT_ENGINES[name](precision=precision, threads=threads, target=target, method=method)
