"""ONNX Runtime: fp32, int8 and int4 on processors, fp32 on CUDA."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from edgetran.devices.engines.engine import (
    Arrays,
    Engine,
    EngineError,
    Session,
    check_inputs,
    onnx_file,
)
from edgetran.devices.engines.onnxruntime_quantization import quantize, quantize_weights
from edgetran.devices.engines.quantization import Calibration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgetran.devices.figures import Workload

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxRuntimeEngine(Engine):
    """Runs an ONNX file with all graph optimisations."""

    name: ClassVar[str] = "onnxruntime"
    precisions: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "cpu": ("fp32", "int8", "int4"),
        "cuda": ("fp32",),
    }

    def available(self) -> str | None:
        """Needs onnxruntime, and its CUDA build where that is the target; else onnx-ir too."""
        needed = {"onnxruntime": "onnxruntime"}
        if self.precision != "fp32":
            needed |= {"onnx": "onnx", "onnx_ir": "onnx-ir"}
        for module, package in needed.items():
            if importlib.util.find_spec(module) is None:
                return f'{package} is not installed; pip install "edgetran[onnx]"'
        if self.target == "cuda":
            import onnxruntime

            if _PROVIDERS["cuda"] not in onnxruntime.get_available_providers():
                return "this build of onnxruntime has no CUDA provider"
        return None

    def versions(self) -> dict[str, str]:
        """Version of ONNX Runtime."""
        return {"onnxruntime": importlib.metadata.version("onnxruntime")}

    def load(self, model: Any, workload: Workload | None = None) -> Session:  # noqa: ARG002
        """Open the ONNX file as it is; its shapes stay free."""
        self.require()
        import onnxruntime

        path = onnx_file(self.name, model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        providers = [_PROVIDERS[self.target]]
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # noqa: BLE001  the runtime's errors have no common base
            raise EngineError(f"onnxruntime: {path} cannot be loaded: {error}") from None
        return _OnnxRuntimeSession(session, self.precision)

    def convert(
        self,
        source: Path,
        folder: Path,
        calibration: Calibration | None = None,
    ) -> tuple[Path, dict[str, Any] | None]:
        """Write `model.onnx`: the file given, or its int8 or int4 form."""
        path = onnx_file(self.name, source)
        target = folder / "model.onnx"
        if self.precision == "fp32":
            if path.with_name(f"{path.name}.data").exists():  # weights in a file of their own
                import onnx

                onnx.save(onnx.load(path), target)
            else:
                shutil.copyfile(path, target)
            return target, None
        self.require()
        try:
            if self.precision == "int4":
                return target, quantize_weights(path, target, bits=4)
            return target, quantize(path, target, self.method, calibration)
        except Exception as error:  # noqa: BLE001  the quantiser's errors have no common base
            raise EngineError(f"onnxruntime: {path} cannot be quantised: {error}") from None


class _OnnxRuntimeSession(Session):
    def __init__(self, session: Any, precision: str) -> None:
        self._session = session
        self._inputs = [declared.name for declared in session.get_inputs()]
        self.arithmetic = precision

    def accepts(self, name: str) -> bool:
        return name in self._inputs

    def run(self, inputs: Arrays) -> np.ndarray:
        check_inputs(inputs, self._inputs, self._inputs)
        return np.asarray(self._session.run(["logits"], dict(inputs))[0], dtype=np.float32)
